"""From logits to probabilities, and from probabilities to prediction sets: pure functions of arrays.

Only applies what `training.calibrate` has fitted and a manifest has kept.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["prediction_set", "softmax"]

Floats = npt.NDArray[np.floating[Any]]


def softmax(logits: Floats, temperature: float = 1.0, biases: Sequence[float] = (0.0,)) -> npt.NDArray[np.float64]:
    """Return probabilities, shape (n, labels), of `logits` / `temperature` + `biases`, (n, labels) and (labels,)."""
    scaled = logits.astype(np.float64) / temperature + np.asarray(biases)
    exponentials = np.exp(scaled - scaled.max(axis=-1, keepdims=True))  # (n, labels); the shift keeps exp finite
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def prediction_set(probabilities: Floats, threshold: float) -> list[int]:
    """Return the labels that cannot be ruled out, likeliest first and at least one: shape (labels,) to indices."""
    order = np.argsort(-probabilities, kind="stable")
    return [int(index) for rank, index in enumerate(order) if rank == 0 or probabilities[index] >= threshold]
