"""What the gate found of a challenger: every check with its numbers, as JSON and as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "Verdict"]


@dataclass(frozen=True)
class Check:
    """One condition of being promoted.

    Attributes:
        name: what is checked.
        passed: whether it holds.
        numbers: what was measured, JSON-ready; floats are shares or scores unless the name says otherwise.
        limit: what was asked for, in words and numbers.
        reason: what came, in words and numbers.
    """

    name: str
    passed: bool
    numbers: Mapping[str, Any]
    limit: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Whether a challenger may take the champion's place.

    Attributes:
        challenger: name of the version.
        champion: name of the version that serves.
        statements: how many of the test split, and of the users' own, both were measured on.
        checks: all of them, failed ones too.
    """

    challenger: str
    champion: str
    statements: Mapping[str, int]
    checks: Sequence[Check]

    @property
    def promoted(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return {
            "challenger": self.challenger,
            "champion": self.champion,
            "promoted": self.promoted,
            "statements": dict(self.statements),
            "checks": [{**vars(check), "numbers": dict(check.numbers)} for check in self.checks],
        }

    def table(self) -> str:
        """Return it as Markdown that is also readable as it stands."""
        failed = sum(not check.passed for check in self.checks)
        end = "promoted" if self.promoted else f"refused: {failed} of {len(self.checks)} checks failed"
        lines = [
            f"{self.challenger} against {self.champion}: {end}",
            "",
            f"{self.statements['test']:,} statements of the test split, {self.statements['own']:,} own ones held out.",
            "",
            "| check | | found | limit |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {check.name} | {'passed' if check.passed else 'FAILED'} | {check.reason} | {check.limit} |"
            for check in self.checks
        ]
        return "\n".join(lines)
