"""The plots of the corpus report, as SVG files that are equal byte for byte when the data are equal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

__all__ = ["plot_counts", "plot_curve", "plot_lengths"]

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
            line = sorted((p["size"], p["macro_f1"][name]) for p in points if p["origin"] == origin)
            axes.plot([size for size, _ in line], [score for _, score in line], marker="o", label=origin)
        axes.set_xscale("log")
        axes.set_title(name)
        axes.set_xlabel("statements trained on")
        axes.set_ylabel("macro-F1")
        axes.legend(fontsize="small")
    _save(figure, path)
