"""How much worse than the champion a challenger may be, in one record, each number with its reason."""

import math
from dataclasses import dataclass

from training.errors import ConfigError
from training.smoke import PLAIN_STATEMENTS

__all__ = ["GateLimits", "default_limits"]


@dataclass(frozen=True)
class GateLimits:
    """The limits of the gate. Shares and scores are in [0, 1].

    Attributes:
        overall_margin: largest loss of macro-F1 on the test split that the 95% interval may leave open. A hundredth
            is what readers would not notice; a challenger that differs on many statements must be better to show it.
        own_margin: the same on the users' own share, which is smaller, so that its intervals are wider.
        own_enough: own statements from which the interval is used: of fewer it says little but its own width.
        own_max_drop: where they are fewer, largest drop of their accuracy: one in ten, which may be one statement.
        recall_margin: of a label, largest fall of recall that may be certain: the whole 95% interval of the fall must
            not lie above it. A label of some 140 statements swings by as much without reason, so that the margin is
            added to the noise and not hidden in it.
        group_margin: the same of the share of contrast groups that are wholly right.
        calibration_floor: expected calibration error up to which nothing is asked: what chance makes of some 500
            statements of a calibrated version.
        calibration_margin: above that floor, by how much the challenger's may exceed the champion's.
        plain_statements: with their labels; at least as many must be right as of the champion's.
    """

    overall_margin: float = 0.01
    own_margin: float = 0.02
    own_enough: int = 30
    own_max_drop: float = 0.1
    recall_margin: float = 0.03
    group_margin: float = 0.03
    calibration_floor: float = 0.05
    calibration_margin: float = 0.01
    plain_statements: tuple[tuple[str, str], ...] = PLAIN_STATEMENTS

    def __post_init__(self) -> None:
        """Refuse margins that would let everything through or nothing.

        Raises:
            ConfigError: naming each.
        """
        named = {name: value for name, value in vars(self).items() if isinstance(value, float)}
        broken = [f"{name} {value}" for name, value in named.items() if not (math.isfinite(value) and 0 <= value < 1)]
        if broken or self.own_enough < 1:
            raise ConfigError(
                f"expected margins from 0 to below 1 and own_enough of 1 or more, came "
                f"{', '.join(broken) or f'own_enough {self.own_enough}'}."
            )


def default_limits() -> GateLimits:
    """Return the limits of a gate that was told none."""
    return GateLimits()
