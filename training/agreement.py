"""How far two readers of the same statements agree: Krippendorff's alpha over all values and for each by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.agreement import krippendorff_alpha
from model.labels import label_of_act
from training.corpus import json_rows
from training.errors import CorpusError

__all__ = ["Agreement", "Reading", "agreement", "agreement_table", "read_readings", "shown_alpha"]


@dataclass(frozen=True)
class Reading:
    """What one reader said of a statement: a label, and the act that gave it or None."""

    label: str
    act: str | None = None


@dataclass(frozen=True)
class Agreement:
    """How two readings of the same statements compare.

    Attributes:
        values: that were given, in the order of the rows and columns of `confusion`.
        alpha: over all values: 1 is perfect, 0 is chance; None where only one value was ever given.
        alpha_of: of each value against all others together.
        agreed: share of the statements to which both gave the same.
        confusion: counts, rows the first reader's, columns the second's.
    """

    values: list[str]
    alpha: float | None
    alpha_of: dict[str, float | None]
    agreed: float
    confusion: npt.NDArray[np.int64]


def agreement(first: Sequence[str], second: Sequence[str], values: Sequence[str] | None = None) -> Agreement:
    """Compare two readings of the same statements, in the same order.

    Args:
        first: the values that the first reader gave.
        second: the values that the second reader gave.
        values: all there are, in the order to show them; alphabetical by default. What nobody gave is left out.

    Raises:
        CorpusError: there is nothing to compare.
    """
    if not first:
        raise CorpusError("expected statements that both have read, came none; are the ids the same in both files?")
    given = {*first, *second}
    used = [value for value in values or sorted(given) if value in given]
    place = {value: index for index, value in enumerate(used)}
    confusion = np.zeros((len(used), len(used)), dtype=np.int64)
    np.add.at(confusion, ([place[value] for value in first], [place[value] for value in second]), 1)
    counts = np.array(
        [[(one == value) + (other == value) for value in used] for one, other in zip(first, second, strict=True)]
    )
    alpha_of = {
        value: krippendorff_alpha(np.stack([counts[:, column], 2 - counts[:, column]], axis=1))
        for column, value in enumerate(used)
    }
    agreed = float(np.trace(confusion) / len(first))
    return Agreement(used, krippendorff_alpha(counts), alpha_of, agreed, confusion)


def agreement_table(found: Agreement) -> str:
    """Return the comparison as a Markdown table that is also readable as it stands."""
    heads = " | ".join(found.values)
    lines = [
        f"{found.confusion.sum():,} statements read twice, {found.agreed:.1%} alike; alpha {shown_alpha(found.alpha)}",
        "",
        f"| first, then second | {heads} | alpha |",
        "|" + " --- |" * (len(found.values) + 2),
    ]
    lines += [
        f"| {value} | {' | '.join(map(str, row))} | {shown_alpha(found.alpha_of[value])} |"
        for value, row in zip(found.values, found.confusion.tolist(), strict=True)
    ]
    return "\n".join(lines)


def shown_alpha(alpha: float | None) -> str:
    """Return an alpha for a table: three digits, or `undefined`."""
    return "undefined" if alpha is None else f"{alpha:.3f}"


def read_readings(path: Path) -> dict[str, Reading]:
    """Return what one reader said of each id: its label, and its act or None.

    An act without a label stands for the label that it belongs to.

    Raises:
        CorpusError: naming file and line of what is no reading, contradicts itself or comes twice.
    """
    readings: dict[str, Reading] = {}
    for place, row in json_rows([path]):
        id_, act = row.get("id"), row.get("act")
        label = row.get("label") or label_of_act(act)
        if not isinstance(id_, str) or not isinstance(label, str):
            raise CorpusError(f"{place}: expected an 'id' and a 'label' or an 'act' of the codebook, came {row}")
        if act is not None and label_of_act(act) not in {None, label}:
            raise CorpusError(f"{place}: {id_!r} has the label {label} and the act {act}, which is {label_of_act(act)}")
        if id_ in readings:
            raise CorpusError(f"{place}: {id_!r} was read before; keep one reading")
        readings[id_] = Reading(label, act)
    return readings
