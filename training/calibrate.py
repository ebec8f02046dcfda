"""Fits what turns logits into honest confidence: pure functions of arrays, no files and no model.

Temperature and bias after Guo et al. 2017, https://arxiv.org/abs/1706.04599 (vector scaling with one scale for all
labels). Prediction sets by split conformal prediction with the score of the least ambiguous sets, Sadinle et al. 2019,
https://arxiv.org/abs/1609.00451. `model.calibration` applies what is fitted here.

Each function takes one weight a statement, of mean 1: `label_weights` has those under which statements of one mix of
labels stand for another (label shift, Podkopaev and Ramdas 2021, https://arxiv.org/abs/2103.03323).
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from model.calibration import softmax
from training.config import LabelPrior

__all__ = [
    "abstention_threshold",
    "fit_calibration",
    "label_weights",
    "negative_log_likelihood",
    "set_threshold",
]

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.integer[Any]]

_TEMPERATURES = (0.05, 20.0)
_BIAS_WEIGHT = 10.0


def label_weights(gold: Indices, prior: LabelPrior) -> Floats:
    """Return one weight a statement, shape (n,), of mean 1: under `uniform` each label present weighs the same."""
    if prior == "data":
        return np.ones(len(gold))
    _, inverse, counts = np.unique(gold, return_inverse=True, return_counts=True)
    return np.asarray(len(gold) / (len(counts) * counts[inverse]))


def negative_log_likelihood(probabilities: Floats, gold: Indices, weights: Floats | None = None) -> float:
    """Return the mean of -ln p(gold), in nats; a probability of zero counts as 1e-12."""
    surprise = -np.log(np.maximum(probabilities[np.arange(len(gold)), gold], 1e-12))
    return float(np.average(surprise, weights=weights))


def fit_calibration(logits: Floats, gold: Indices, weights: Floats | None = None) -> tuple[float, list[float]]:
    """Return the temperature in [0.05, 20] and the biases, shape (labels,), with the least loss of `gold`.

    The loss is the negative log-likelihood; biases weigh in as ten statements would, so that few do not move them far.

    Args:
        logits: shape (n, labels).
        gold: indices of the right labels, shape (n,), n > 0.
        weights: shape (n,); statements weigh alike without.
    """
    low, high = (math.log(bound) for bound in _TEMPERATURES)

    def loss(parameters: Floats) -> float:
        probabilities = softmax(logits, math.exp(parameters[0]), parameters[1:].tolist())
        return negative_log_likelihood(probabilities, gold, weights) + _BIAS_WEIGHT * float(
            (parameters[1:] ** 2).sum()
        ) / len(gold)

    labels = logits.shape[1]
    bounds = [(low, high), *[(-5.0, 5.0)] * labels]
    fitted = minimize(loss, np.zeros(1 + labels), bounds=bounds, method="L-BFGS-B").x
    return math.exp(fitted[0]), [round(float(bias), 6) for bias in fitted[1:]]


def abstention_threshold(
    probabilities: Floats, gold: Indices, max_error_rate: float, weights: Floats | None = None
) -> float | None:
    """Return the least confidence at and above which at most `max_error_rate` of the answers are wrong.

    Args:
        probabilities: calibrated, shape (n, labels).
        gold: indices of the right labels, shape (n,).
        max_error_rate: share of wrong answers among those given, in [0, 1].
        weights: shape (n,); statements weigh alike without.

    Returns:
        A confidence in [0, 1]; statements below it should be read by a person. None where no threshold that still
        answers something keeps the error rate.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    wrong = (probabilities.argmax(axis=1) != gold)[order]
    weight = np.ones(len(gold)) if weights is None else weights[order]
    error_rate = np.cumsum(wrong * weight) / np.cumsum(weight)  # (n,), among the k most confident
    # Equal confidences are answered or left together, so only the last of a run of equals may end the answered set.
    ends = np.append(confidence[order][:-1] > confidence[order][1:], True)
    kept = np.flatnonzero((error_rate <= max_error_rate) & ends)
    if len(kept) == 0:
        return None
    return 0.0 if kept[-1] == len(wrong) - 1 else float(confidence[order][kept[-1]])


def set_threshold(probabilities: Floats, gold: Indices, coverage: float, weights: Floats | None = None) -> float:
    """Return the least probability of a label in a prediction set that holds the right one at rate `coverage`.

    The guarantee is an average over statements drawn like the `n` used here. It needs n >= coverage / (1 - coverage);
    where there are fewer the threshold is 0 and every label stays in.
    """
    of_gold = probabilities[np.arange(len(gold)), gold]
    order = np.argsort(-of_gold, kind="stable")
    weight = np.ones(len(gold)) if weights is None else weights[order]
    # The statement to come is one more, with the largest weight that it may have.
    needed = coverage * (weight.sum() + weight.max())
    rank = int(np.searchsorted(np.cumsum(weight), needed - 1e-9))
    return float(of_gold[order][rank]) if rank < len(gold) else 0.0
