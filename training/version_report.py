"""The training report of a version: how right, how sure, where it errs, how fast, from what. Markdown and plots.

The version's folder may be published and the texts of others may not: only statements that were composed for a corpus,
and say so by their register, are quoted; every other one is named by its id and source.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, f1_score

from model.artifact import Manifest
from model.classifier import Prediction
from training.calibrate import label_weights
from training.compare import whole_groups
from training.corpus import Statement, gold_indices
from training.evaluate import COMPOSED, table
from training.plots import plot_confusion, plot_losses, plot_reliability, plot_risk

__all__ = ["REPORT", "version_report"]

REPORT = "report"
"""Sub-folder of a version with its report: `README.md` and the plots that it shows."""

_ERRORS = 30
_MAX_QUOTED = 240
# Scores of fewer statements would be mostly chance.
_MIN_STATEMENTS = 20


def version_report(
    manifest: Manifest,
    statements: Sequence[Statement],
    predictions: Sequence[Prediction],
    losses: Sequence[float],
    seconds: float,
    folder: Path,
) -> None:
    """Write the report of a version.

    Args:
        manifest: of the version, complete but for the digests of its files.
        statements: the test split.
        predictions: the version's answer to each.
        losses: of the training steps, in nats; none where they were taken by an earlier call.
        seconds: that the answers took.
        folder: new folder to write it into.
    """
    folder.mkdir(parents=True, exist_ok=True)
    gold = gold_indices(statements, manifest.labels)
    probabilities = np.array([list(each.probabilities.values()) for each in predictions])
    said = probabilities.argmax(axis=1)
    plot_confusion(manifest.metrics["confusion"], manifest.labels, folder / "confusion.svg")
    plot_reliability(probabilities, gold, label_weights(gold, "uniform"), folder / "reliability.svg")
    plot_risk(probabilities, gold, manifest.threshold, folder / "risk.svg")
    if losses:
        plot_losses(losses, folder / "losses.svg")
    kinds: dict[str, Sequence[str | None]] = {
        "source": [each.source or COMPOSED for each in statements],
        "register": [each.register for each in statements],
        "act": [each.act for each in statements],
    }
    sections = [
        f"# Training report of version {manifest.version}",
        _origin(manifest),
        f"## Scores on the test split\n\n{table(manifest.metrics)}\n\n![Confusion matrix](confusion.svg)",
        _confidence(manifest),
        _groups(statements, said == gold),
        "## By kind of statement\n\nKinds with at least "
        f"{_MIN_STATEMENTS} statements of the test split.\n\n{_by_kind(kinds, gold, said)}",
        _errors(manifest, statements, predictions),
        f"## Speed\n\n{len(statements) / seconds:.0f} statements a second of the served network on the machine that "
        "trained it, all in one call.",
        f"## Training\n\n{'![Loss of the steps](losses.svg)' if losses else ''}\n\n{_settings(manifest)}",
    ]
    (folder / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _origin(manifest: Manifest) -> str:
    return (
        f"From `{manifest.base['name']}`, by Brink {manifest.code['version']} (commit "
        f"{manifest.code['commit'] or 'not recorded'}), torch {manifest.code['torch']}. Data: fingerprint "
        f"`{manifest.data['fingerprint']}`, "
        + ", ".join(f"{part} {each['statements']:,}" for part, each in manifest.data["splits"].items())
        + " statements."
    )


def _confidence(manifest: Manifest) -> str:
    metrics = manifest.metrics
    prior = manifest.training["label_prior"]
    mix = "every label is as common as any other" if prior == "uniform" else "labels are as common as in validation"
    return (
        f"## Confidence\n\nProbabilities are calibrated for text in which {mix}. Expected calibration error "
        f"{metrics['balanced_calibration_error']:.3f} with the labels of the test split weighted alike, "
        f"{metrics['calibration_error']:.3f} as they lie.\n\n![Reliability](reliability.svg)\n\n"
        f"Under the threshold {manifest.threshold:.3f} an answer is marked as abstained; it was chosen on validation "
        f"for at most {manifest.training['max_error_rate']:.0%} wrong among the answered. Prediction sets hold the "
        f"right label at {metrics['balanced_set_coverage']:.1%} with the labels weighted alike, at "
        f"{metrics['set_coverage']:.1%} as they lie, with {metrics['set_size']:.2f} labels on average; meant are "
        f"{manifest.set_coverage:.0%}.\n\n![Risk and coverage](risk.svg)"
    )


def _groups(statements: Sequence[Statement], right: npt.NDArray[np.bool_]) -> str:
    whole, number = whole_groups(statements, right)
    if not number:
        return "## Contrast groups\n\nThe test split has none."
    return f"## Contrast groups\n\nIn {whole} of {number} groups ({whole / number:.1%}) every member is right."


def _by_kind(kinds: Mapping[str, Sequence[str | None]], gold: Any, said: Any) -> str:
    lines = ["| | | statements | accuracy | macro-F1 |", "| --- | --- | --- | --- | --- |"]
    for kind, values in kinds.items():
        names = np.array([value or "" for value in values])
        for name in sorted(set(names) - {""}):
            inside = names == name
            if inside.sum() < _MIN_STATEMENTS:
                continue
            present = np.unique(gold[inside])
            f1 = f1_score(gold[inside], said[inside], average="macro", labels=present)
            shown = f"{f1:.3f}" if len(present) > 1 else ""
            accuracy = accuracy_score(gold[inside], said[inside])
            lines.append(f"| {kind} | {name} | {inside.sum()} | {accuracy:.3f} | {shown} |")
    return "\n".join(lines)


def _errors(manifest: Manifest, statements: Sequence[Statement], predictions: Sequence[Prediction]) -> str:
    wrong = [pair for pair in zip(statements, predictions, strict=True) if pair[0].label != pair[1].label]
    shown = sorted(wrong, key=lambda pair: -pair[1].confidence)[:_ERRORS]
    lines = [
        f"## The {len(shown)} most confident errors\n",
        "| confidence | said | label | act | id | statement |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for statement, answer in shown:
        act = "" if answer.act is None else f" ({answer.act})"
        is_composed = statement.source is None and statement.register is not None
        text = _cell(statement.text) if is_composed else f"real, {statement.source or 'of no named source'}"
        lines.append(
            f"| {answer.confidence:.2f} | {answer.label}{act} | {statement.label} | {statement.act or ''} | "
            f"{statement.id} | {text} |"
        )
    return "\n".join(lines)


def _cell(text: str) -> str:
    short = text if len(text) <= _MAX_QUOTED else text[: _MAX_QUOTED - 1] + "…"
    return short.replace("|", "\\|").replace("\n", " ")


def _settings(manifest: Manifest) -> str:
    rows = "\n".join(f"| {name} | {_cell(str(value))} |" for name, value in manifest.training.items())
    return f"| setting | value |\n| --- | --- |\n{rows}"
