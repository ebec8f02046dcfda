"""The plots of the reports, as SVG files that are equal byte for byte when the data are equal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

__all__ = [
    "plot_confusion",
    "plot_counts",
    "plot_curve",
    "plot_lengths",
    "plot_losses",
    "plot_reliability",
    "plot_risk",
]

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.integer[Any]]

# No date, no random ids of elements: the files live in version control.
_STABLE: Any = {"svg.hashsalt": "brink", "svg.fonttype": "none"}
_COLOURS = {"escalatory": "#b2182b", "deterrent": "#2166ac", "de-escalatory": "#1b7837", "none": "#878787"}


def _save(figure: Figure, path: Path) -> None:
    with mpl.rc_context(_STABLE):
        figure.savefig(path, format="svg", metadata={"Date": None})


def plot_counts(counts: Mapping[str, Mapping[str, int]], title: str, path: Path) -> None:
    """Draw stacked bars: how many statements of each label (inner keys) each row (outer keys) has."""
    figure = Figure(figsize=(8, 0.32 * len(counts) + 1.2), layout="constrained")
    axes = figure.subplots()
    names = list(counts)[::-1]
    left = [0] * len(names)
    for label in dict.fromkeys(label for row in counts.values() for label in row):
        widths = [counts[name].get(label, 0) for name in names]
        axes.barh(names, widths, left=left, label=label, color=_COLOURS.get(label))
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_xlabel("statements")
    axes.set_title(title)
    axes.legend(loc="lower right", fontsize="small")
    _save(figure, path)


def plot_lengths(words: Mapping[str, Mapping[str, Sequence[int]]], path: Path) -> None:
    """Draw box plots of words a statement, one panel for each part (outer keys), one box for each label."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    panels = figure.subplots(1, len(words), sharey=True, squeeze=False)[0]
    for axes, (part, of_label) in zip(panels, words.items(), strict=True):
        axes.boxplot(list(of_label.values()), tick_labels=list(of_label), whis=(5, 95), showfliers=False)
        axes.set_title(part)
        axes.tick_params(axis="x", labelrotation=20)
    panels[0].set_ylabel("words (box: quartiles, whiskers: 5% to 95%)")
    _save(figure, path)


def plot_curve(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw macro-F1 over the number of training statements, a panel for each measured set, a line for each origin."""
    measured = list(dict.fromkeys(name for point in points for name in point["macro_f1"]))
    figure = Figure(figsize=(4 * len(measured) + 0.5, 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(measured), sharey=True, squeeze=False)[0], measured, strict=True):
        for origin in dict.fromkeys(point["origin"] for point in points):
            line = sorted(
                (p["size"], p["macro_f1"][name]) for p in points if p["origin"] == origin and name in p["macro_f1"]
            )
            axes.plot([size for size, _ in line], [score for _, score in line], marker="o", label=origin)
        axes.set_xscale("log")
        axes.set_title(name)
        axes.set_xlabel("statements trained on")
        axes.set_ylabel("macro-F1")
        axes.legend(fontsize="small")
    _save(figure, path)


def plot_confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str], path: Path) -> None:
    """Draw a confusion matrix, rows gold and columns said, shaded by the share of the row."""
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.1 * len(labels) + 1.6, 0.9 * len(labels) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*counts.shape):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=20)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("said")
    axes.set_ylabel("gold")
    _save(figure, path)


def plot_reliability(probabilities: Floats, gold: Indices, balance: Floats, path: Path, bins: int = 10) -> None:
    """Draw accuracy over confidence, as the statements lie and with `balance`, their weights, shape (n,)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == gold
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
    for name, weights in (("as the labels lie", np.ones(len(gold))), ("labels weighted alike", balance)):
        filled = [b for b in range(bins) if (bin_of == b).any()]
        points = [
            [np.average(values[bin_of == b], weights=weights[bin_of == b]) for values in (confidence, right)]
            for b in filled
        ]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share right")
    axes.legend(fontsize="small")
    _save(figure, path)


def plot_risk(probabilities: Floats, gold: Indices, threshold: float, path: Path) -> None:
    """Draw the share of wrong answers over the share answered, the surest first, and where `threshold` stands."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    answered = np.arange(1, len(gold) + 1)
    risk = np.cumsum((probabilities.argmax(axis=1) != gold)[order]) / answered
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(answered / len(gold), risk)
    axes.axvline(float((confidence >= threshold).mean()), color="#b2182b", linestyle="--", label="threshold")
    axes.set_xlabel("share answered")
    axes.set_ylabel("share wrong of these")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="small")
    _save(figure, path)


def plot_losses(losses: Sequence[float], path: Path) -> None:
    """Draw the loss of the training steps, in nats, as the mean of up to fifty neighbours."""
    window = min(50, len(losses))
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    # At most 500 points: the file lives in version control.
    kept = np.unique(np.linspace(0, len(smooth) - 1, min(500, len(smooth))).astype(int))
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(kept + window, smooth[kept])
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats)")
    _save(figure, path)
