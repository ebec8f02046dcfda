"""Two versions side by side on the same statements: what changed, and whether it can be chance.

Intervals by the paired bootstrap (both versions on the same resample), and McNemar's exact test on the statements that
exactly one of them has right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from training.corpus import Statement
from training.metrics import confusion_f1

__all__ = ["Comparison", "compare", "comparison_table", "group_gain", "whole_groups"]

Indices = npt.NDArray[np.integer[Any]]

_RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; every pair is of the first version and of the second.

    Attributes:
        statements: how many both were measured on.
        accuracy: shares of right answers.
        macro_f1: over the labels that occur.
        accuracy_gain: 95% interval of second less first.
        macro_f1_gain: the same of macro-F1.
        recall: pair by label, of the labels that occur.
        recall_gain: 95% interval of second less first, by label.
        only_right: statements that only the first, and only the second, has right.
        p_value: of McNemar's exact test, that both are right equally often.
    """

    statements: int
    accuracy: tuple[float, float]
    macro_f1: tuple[float, float]
    accuracy_gain: tuple[float, float]
    macro_f1_gain: tuple[float, float]
    recall: Mapping[str, tuple[float, float]]
    recall_gain: Mapping[str, tuple[float, float]]
    only_right: tuple[int, int]
    p_value: float


def compare(first: Indices, second: Indices, gold: Indices, labels: Sequence[str]) -> Comparison:
    """Compare two versions' answers.

    Args:
        first: indices of the labels that the first version gave, shape (n,), n > 0.
        second: those of the second.
        gold: the right ones.
        labels: their names.
    """
    generator = np.random.default_rng(0)
    count = len(labels)
    # A statement is one cell of (gold, first, second): resampling statements is drawing cells from a multinomial.
    cells = np.bincount((gold * count + first) * count + second, minlength=count**3)
    drawn = generator.multinomial(len(gold), cells / cells.sum(), size=_RESAMPLES).reshape(-1, count, count, count)
    resampled = drawn.sum(axis=3), drawn.sum(axis=2)  # of the first, of the second: (resamples, gold, said)
    low, high = _interval(_scores(resampled[1]) - _scores(resampled[0]))
    least, most = _interval(_recalls(resampled[1]) - _recalls(resampled[0]))
    whole = cells.reshape(1, count, count, count)
    confusions = whole.sum(axis=3)[0], whole.sum(axis=2)[0]
    (one,), (other,) = _scores(confusions[0][None]), _scores(confusions[1][None])
    only_first = int(((first == gold) & (second != gold)).sum())
    only_second = int(((second == gold) & (first != gold)).sum())
    present = [(index, label) for index, label in enumerate(labels) if confusions[0][index].sum()]
    differing = only_first + only_second
    return Comparison(
        statements=len(gold),
        accuracy=(float(one[0]), float(other[0])),
        macro_f1=(float(one[1]), float(other[1])),
        accuracy_gain=(float(low[0]), float(high[0])),
        macro_f1_gain=(float(low[1]), float(high[1])),
        recall={label: (_recall(confusions[0], index), _recall(confusions[1], index)) for index, label in present},
        recall_gain={label: (float(least[index]), float(most[index])) for index, label in present},
        only_right=(only_first, only_second),
        p_value=float(binomtest(only_second, differing).pvalue) if differing else 1.0,
    )


def _scores(confusions: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return accuracy and macro-F1 of confusion matrices, (n, gold, said) to (n, 2)."""
    present = confusions.sum(axis=2) > 0  # (n, labels)
    accuracy = np.trace(confusions, axis1=1, axis2=2) / confusions.sum(axis=(1, 2))
    macro_f1 = (confusion_f1(confusions) * present).sum(axis=1) / present.sum(axis=1)
    return np.stack([accuracy, macro_f1], axis=1)


def _interval(samples: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the two ends between which 95% of samples lie, (resamples, n) to (2, n)."""
    return np.asarray(np.quantile(samples, [0.025, 0.975], axis=0))


def _recalls(confusions: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return recall by label of confusion matrices, (n, gold, said) to (n, labels); 0 where a label is absent."""
    return np.asarray(np.diagonal(confusions, axis1=1, axis2=2) / np.maximum(confusions.sum(axis=2), 1))


def _recall(confusion: npt.NDArray[Any], label: int) -> float:
    return float(confusion[label, label] / confusion[label].sum())


def whole_groups(statements: Sequence[Statement], right: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return of how many contrast groups every member is right, and how many groups of two or more there are."""
    whole = _whole(statements, right)
    return int(whole.sum()), len(whole)


def group_gain(
    statements: Sequence[Statement], first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the 95% interval of second less first of the share of groups that are wholly right, over resampled groups.

    Args:
        statements: some of them of contrast groups, one of two or more at least.
        first: where the first version is right, shape (statements,).
        second: where the second is.
    """
    gains = _whole(statements, second).astype(int) - _whole(statements, first)
    shares = np.bincount(gains + 1, minlength=3) / len(gains)
    drawn = np.random.default_rng(0).multinomial(len(gains), shares, size=_RESAMPLES)  # (resamples, lost and so on)
    low, high = _interval((drawn[:, 2:] - drawn[:, :1]) / len(gains)).ravel().tolist()
    return low, high


def _whole(statements: Sequence[Statement], right: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return of each contrast group of two or more, in the order of their first members, whether all are right."""
    of_group: dict[str, list[bool]] = {}
    for statement, hit in zip(statements, right.tolist(), strict=True):
        if statement.group is not None:
            of_group.setdefault(statement.group, []).append(hit)
    return np.array([all(members) for members in of_group.values() if len(members) > 1], dtype=bool)


def comparison_table(comparison: Comparison, names: Sequence[str], groups: Sequence[tuple[int, int]]) -> str:
    """Return a comparison as Markdown that is also readable as it stands.

    Args:
        comparison: to show.
        names: of the two versions.
        groups: whole contrast groups of each and their number, as `whole_groups` counts them.
    """
    one, other = names
    lines = [
        f"{comparison.statements:,} statements that neither version was trained or calibrated on.",
        "",
        f"| | {one} | {other} | gain, 95% interval |",
        "| --- | --- | --- | --- |",
        _row("accuracy", comparison.accuracy, comparison.accuracy_gain),
        _row("macro-F1", comparison.macro_f1, comparison.macro_f1_gain),
        *(_row(f"recall of {label}", pair, None) for label, pair in comparison.recall.items()),
        f"| right where the other is wrong | {comparison.only_right[0]} | {comparison.only_right[1]} | "
        f"McNemar's p {comparison.p_value:.3g} |",
    ]
    if groups[0][1]:
        shares = " | ".join(f"{whole} of {number}" for whole, number in groups)
        lines.append(f"| contrast groups with every member right | {shares} | |")
    return "\n".join(lines)


def _row(name: str, pair: tuple[float, float], gain: tuple[float, float] | None) -> str:
    interval = "" if gain is None else f" [{gain[0]:+.3f}, {gain[1]:+.3f}]"
    return f"| {name} | {pair[0]:.3f} | {pair[1]:.3f} | {pair[1] - pair[0]:+.3f}{interval} |"
