"""Fits what turns logits into honest confidence: pure functions of arrays, no files and no model.

Temperature scaling after Guo et al. 2017, https://arxiv.org/abs/1706.04599. Prediction sets by split conformal
prediction with the score of the least ambiguous sets, Sadinle et al. 2019, https://arxiv.org/abs/1609.00451.
`model.calibration` applies what is fitted here.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from model.calibration import softmax

__all__ = ["abstention_threshold", "fit_temperature", "negative_log_likelihood", "set_threshold"]

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.integer[Any]]

_TEMPERATURES = (0.05, 20.0)


def negative_log_likelihood(probabilities: Floats, gold: Indices) -> float:
    """Return the mean of -ln p(gold), in nats; a probability of zero counts as 1e-12."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(gold)), gold], 1e-12)).mean())


def fit_temperature(logits: Floats, gold: Indices) -> float:
    """Return the temperature in [0.05, 20] with the least negative log-likelihood of `gold`.

    Args:
        logits: shape (n, labels).
        gold: indices of the right labels, shape (n,), n > 0.
    """

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(softmax(logits, math.exp(log_temperature)), gold)

    low, high = (math.log(bound) for bound in _TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x)


def abstention_threshold(probabilities: Floats, gold: Indices, max_error_rate: float) -> float | None:
    """Return the least confidence at and above which at most `max_error_rate` of the answers are wrong.

    Args:
        probabilities: calibrated, shape (n, labels).
        gold: indices of the right labels, shape (n,).
        max_error_rate: share of wrong answers among those given, in [0, 1].

    Returns:
        A confidence in [0, 1]; statements below it should be read by a person. None where no threshold that still
        answers something keeps the error rate.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = (probabilities.argmax(axis=1) != gold)[order]
    error_rate = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)  # (n,), among the k most confident
    # Equal confidences are answered or left together, so only the last of a run of equals may end the answered set.
    ends = np.append(confidence[order][:-1] > confidence[order][1:], True)
    kept = np.flatnonzero((error_rate <= max_error_rate) & ends)
    if len(kept) == 0:
        return None
    return 0.0 if kept[-1] == len(wrong) - 1 else float(confidence[order][kept[-1]])


def set_threshold(probabilities: Floats, gold: Indices, coverage: float) -> float:
    """Return the least probability of a label in a prediction set that holds the right one at rate `coverage`.

    The guarantee is an average over statements drawn like the `n` used here. It needs n >= coverage / (1 - coverage);
    where there are fewer the threshold is 0 and every label stays in.
    """
    of_gold = np.sort(probabilities[np.arange(len(gold)), gold])[::-1]
    rank = math.ceil((len(gold) + 1) * coverage)
    return float(of_gold[rank - 1]) if rank <= len(gold) else 0.0
