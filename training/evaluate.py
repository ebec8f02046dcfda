"""Scores of a model folder on labelled statements: of the very network that is served, over whole texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from model.artifact import Manifest
from model.classifier import Classifier, Prediction
from model.reading import reading_rates
from training.calibrate import label_weights
from training.corpus import Statement, gold_indices
from training.errors import CorpusError
from training.metrics import score

__all__ = ["COMPOSED", "evaluate", "predict", "score_answers", "table"]

COMPOSED = "composed"
"""Stands for the statements without a source: those that were written for a corpus."""


# Texts classified at once, and from how many on a bar is worth its line.
_CHUNK = 256
_PROGRESS_FROM = 2048


def evaluate(
    classifier: Classifier, statements: Sequence[Statement], predictions: Sequence[Prediction] | None = None
) -> dict[str, Any]:
    """Return the scores of `score_answers`; where the `predictions` are at hand, they are not computed again.

    Raises:
        CorpusError: there is no statement, or one cannot be classified.
    """
    predictions = predictions or predict(classifier, {each.id: each.text for each in statements})
    return score_answers(classifier.manifest, statements, predictions)


def score_answers(
    manifest: Manifest, statements: Sequence[Statement], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """Return the scores of `training.metrics.score` over all statements, set coverage and size, and `by_origin`.

    `balanced_set_coverage` weighs the labels alike. The mean `confidence` and `reading`, the rates of
    `model.reading`, are what a service compares the texts that it is asked about with. `by_origin` scores the composed
    statements and the real ones apart, where there are both.

    Args:
        manifest: of the version that answered.
        statements: with their labels.
        predictions: the answer to each.

    Raises:
        CorpusError: there is no statement.
    """
    if not statements:
        raise CorpusError("expected at least one statement to measure on, came none.")
    probabilities = np.array([list(each.probabilities.values()) for each in predictions])
    gold = gold_indices(statements, manifest.labels)
    threshold = manifest.threshold
    held = [each.label in said.prediction_set for each, said in zip(statements, predictions, strict=True)]
    origins = np.array([COMPOSED if each.source is None else "real" for each in statements])
    return score(probabilities, gold, manifest.labels, threshold) | {
        "set_coverage": round(float(np.mean(held)), 4),
        "balanced_set_coverage": round(float(np.average(held, weights=label_weights(gold, "uniform"))), 4),
        "set_size": round(float(np.mean([len(said.prediction_set) for said in predictions])), 4),
        "confidence": round(float(probabilities.max(axis=1).mean()), 4),
        "reading": _reading(predictions),
        "by_origin": {
            str(origin): score(probabilities[origins == origin], gold[origins == origin], manifest.labels, threshold)
            for origin in np.unique(origins)
        }
        if len(np.unique(origins)) > 1
        else {},
    }


def _reading(predictions: Sequence[Prediction]) -> dict[str, float] | None:
    rates = reading_rates(each.reading for each in predictions if each.reading is not None)
    return None if rates is None else {name: round(value, 6) for name, value in rates.items()}


def predict(classifier: Classifier, texts: Mapping[str, str]) -> list[Prediction]:
    """Return the answer for each text of `texts`, which maps ids to texts; a progress bar shows where there are many.

    Raises:
        CorpusError: one cannot be classified.
    """
    predictions = []
    ids = list(texts)
    with tqdm(total=len(ids), unit=" statements", desc="reading", disable=len(ids) <= _PROGRESS_FROM) as bar:
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            for id_, answer in zip(chunk, classifier.classify([texts[each] for each in chunk]), strict=True):
                if not isinstance(answer, Prediction):
                    raise CorpusError(f"{id_!r} cannot be classified: {answer}")
                predictions.append(answer)
            bar.update(len(chunk))
    return predictions


def table(metrics: dict[str, Any]) -> str:
    """Return the scores as a Markdown table that is also readable as it stands."""
    lines = [
        "| statements | accuracy | macro-F1 | calibration error, balanced | answered | right of these |",
        "|" + " --- |" * 6,
    ]
    lines += [_row("all", metrics)] + [_row(name, each) for name, each in metrics.get("by_origin", {}).items()]
    lines += ["", "| label | precision | recall | F1 | statements |", "|" + " --- |" * 5]
    lines += [
        f"| {label} | {each['precision']:.3f} | {each['recall']:.3f} | {each['f1']:.3f} | {each['statements']} |"
        for label, each in metrics["per_label"].items()
    ]
    labels = list(metrics["per_label"])
    lines += ["", "| gold, then said | " + " | ".join(labels) + " |", "|" + " --- |" * (len(labels) + 1)]
    lines += [
        f"| {label} | " + " | ".join(map(str, row)) + " |"
        for label, row in zip(labels, metrics["confusion"], strict=True)
    ]
    return "\n".join(lines)


def _row(name: str, metrics: dict[str, Any]) -> str:
    right = "none answered" if metrics["answered_accuracy"] is None else f"{metrics['answered_accuracy']:.3f}"
    return (
        f"| {name}: {metrics['statements']} | {_with_interval(metrics, 'accuracy')} | "
        f"{_with_interval(metrics, 'macro_f1')} | {metrics['calibration_error']:.3f}, "
        f"{metrics['balanced_calibration_error']:.3f} | {metrics['answered']:.0%} | "
        f"{right} |"
    )


def _with_interval(metrics: dict[str, Any], name: str) -> str:
    low, high = metrics[f"{name}_95"]
    return f"{metrics[name]:.3f} [{low:.3f}, {high:.3f}]"
