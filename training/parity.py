"""Whether the network that is served answers like the one that was trained."""

from typing import Any

import numpy as np
import numpy.typing as npt

from training.errors import ParityError

__all__ = ["MAX_DIFFERENCE", "MIN_AGREEMENT", "check_parity"]

MIN_AGREEMENT = 0.97
"""Share of the test split on which the exported network must give the trained network's label."""

MAX_DIFFERENCE = 0.3
"""Largest change of any probability that quantisation may cause on the test split. A few statements near a decision
boundary move most; the scores in the manifest are measured after quantisation, so that what remains is in them."""

Floats = npt.NDArray[np.floating[Any]]


def check_parity(trained: Floats, served: Floats) -> dict[str, float]:
    """Compare the probabilities of the trained and of the served network, both of shape (statements, labels).

    Returns:
        `statements`, `label_agreement` and `max_difference` of any probability.

    Raises:
        ParityError: a limit of this module is passed.
    """
    agreement = float((trained.argmax(axis=1) == served.argmax(axis=1)).mean())
    difference = float(np.abs(trained - served).max())
    if not (agreement >= MIN_AGREEMENT and difference <= MAX_DIFFERENCE):  # not a number is refused too
        raise ParityError(
            f"the exported network differs from the trained one on the {len(trained)} statements of the test split: "
            f"expected the same label on at least {MIN_AGREEMENT:.0%} and no probability changed by more than "
            f"{MAX_DIFFERENCE}, came {agreement:.1%} and {difference:.3f}. No version was written."
        )
    return {
        "statements": len(trained),
        "label_agreement": round(agreement, 4),
        "max_difference": round(difference, 4),
    }
