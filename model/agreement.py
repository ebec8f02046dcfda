"""How far readers of the same statements agree, beyond what chance would give: a pure function of counts.

Nominal alpha after Krippendorff, *Computing Krippendorff's Alpha-Reliability* (2011). The packages that compute it are
under licences that do not fit this project's, or bring far more than the ten lines that it takes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["krippendorff_alpha"]


def krippendorff_alpha(counts: npt.NDArray[np.integer[Any]]) -> float | None:
    """Return nominal alpha, or None where it is undefined because only one value was ever given.

    Args:
        counts: how many readers gave each value to each statement, shape (statements, values). Statements with fewer
            than two readers say nothing and are passed over, so readers may have skipped some.
    """
    counts = counts[counts.sum(axis=1) >= 2].astype(float)
    readers = counts.sum(axis=1, keepdims=True)  # (statements, 1)
    # Pairs of values that two readers gave to one statement; each statement counts as often as it was read.
    coincidences = (counts / (readers - 1)).T @ counts - np.diag((counts / (readers - 1)).sum(axis=0))
    given = coincidences.sum(axis=1)  # (values,)
    total = given.sum()
    expected = total**2 - (given**2).sum()
    if expected == 0:
        return None
    observed = total - np.trace(coincidences)
    return float(1 - (total - 1) * observed / expected)
