"""Scores of predicted probabilities against the right labels: pure functions of arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from training.calibrate import label_weights

__all__ = ["confusion_f1", "expected_calibration_error", "score"]

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.integer[Any]]

_RESAMPLES = 1000


def score(probabilities: Floats, gold: Indices, labels: Sequence[str], threshold: float) -> dict[str, Any]:
    """Return every score that a report shows.

    Args:
        probabilities: calibrated, shape (n, labels), n > 0.
        gold: indices of the right labels, shape (n,).
        labels: names of the columns.
        threshold: confidence under which the model abstains.

    Returns:
        JSON-ready: `statements`, `accuracy`, `macro_f1`, each of the two with its 95% bootstrap interval
        (`accuracy_95`, `macro_f1_95`), `calibration_error`, `balanced_accuracy` and `balanced_calibration_error` (each
        label that occurs weighs the same), `answered` (share not abstained), `answered_accuracy` and
        `balanced_answered_accuracy` (None where nothing is answered), `per_label`, and `confusion` (rows gold, columns
        said). Macro-F1 averages over the labels that occur in `gold`.
    """
    said = probabilities.argmax(axis=1)
    indices = list(range(len(labels)))
    precision, recall, f1, support = precision_recall_fscore_support(gold, said, labels=indices, zero_division=0.0)
    confusion = confusion_matrix(gold, said, labels=indices)
    answered = probabilities.max(axis=1) >= threshold
    spread = _bootstrap(gold, said, len(labels))
    balance = label_weights(gold, "uniform")
    return {
        "statements": len(gold),
        "accuracy": _rounded((said == gold).mean()),
        "accuracy_95": [_rounded(bound) for bound in np.quantile(spread[:, 0], [0.025, 0.975])],
        "macro_f1": _rounded(_macro(f1, support)),
        "macro_f1_95": [_rounded(bound) for bound in np.quantile(spread[:, 1], [0.025, 0.975])],
        "calibration_error": _rounded(expected_calibration_error(probabilities, gold)),
        "balanced_accuracy": _rounded(np.average(said == gold, weights=balance)),
        "balanced_calibration_error": _rounded(expected_calibration_error(probabilities, gold, balance)),
        "answered": _rounded(answered.mean()),
        "answered_accuracy": _rounded((said == gold)[answered].mean()) if answered.any() else None,
        "balanced_answered_accuracy": (
            _rounded(np.average((said == gold)[answered], weights=balance[answered])) if answered.any() else None
        ),
        "per_label": {
            label: {
                "precision": _rounded(precision[i]),
                "recall": _rounded(recall[i]),
                "f1": _rounded(f1[i]),
                "statements": int(support[i]),
            }
            for i, label in enumerate(labels)
        },
        "confusion": confusion.tolist(),
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)


def confusion_f1(confusion: npt.NDArray[Any]) -> Floats:
    """Return F1 per label of confusion matrices, (..., gold, said) to (..., labels); 0 where a label is absent."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    counted = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray(2 * hits / np.maximum(counted, 1))


def _macro(f1: Floats, support: Indices) -> float:
    return float(f1[support > 0].mean())


def _bootstrap(gold: Indices, said: Indices, labels: int) -> Floats:
    """Return accuracy and macro-F1 of resamples of the statements, shape (resamples, 2)."""
    generator = np.random.default_rng(0)
    cells = np.bincount(gold * labels + said, minlength=labels * labels)
    # Drawing n statements with replacement is drawing the cells of the confusion matrix from a multinomial.
    drawn = generator.multinomial(len(gold), cells / cells.sum(), size=_RESAMPLES)
    confusions = drawn.reshape(_RESAMPLES, labels, labels)
    accuracy = np.trace(confusions, axis1=1, axis2=2) / len(gold)
    f1, support = confusion_f1(confusions), confusions.sum(axis=2)
    return np.stack([accuracy, [_macro(f, s) for f, s in zip(f1, support, strict=True)]], axis=1)


def expected_calibration_error(
    probabilities: Floats, gold: Indices, weights: Floats | None = None, bins: int = 10
) -> float:
    """Return the mean gap between confidence and accuracy over `bins` equal confidence bins, weighted by their size.

    Args:
        probabilities: shape (n, labels).
        gold: indices of the right labels, shape (n,).
        weights: of the statements, shape (n,), of mean 1; they weigh alike without.
        bins: of the confidence, from 0 to 1.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == gold
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=(confidence - right) * (1.0 if weights is None else weights), minlength=bins)
    return float(np.abs(gaps).sum() / len(gold))
