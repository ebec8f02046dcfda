"""Which statements of a pool to label next: the likeliest of the rare labels, the doubtful, and some at random.

Pool-based active learning after Lewis and Gale 1994 (uncertainty) with a share for the rare labels, which uncertainty
alone finds too slowly where most of the pool takes no stance. Runs no network: probabilities come in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from model.classifier import Prediction
from model.labels import normalise_text, text_digest
from training.corpus import json_rows
from training.errors import CorpusError
from training.similarity import near_duplicates
from training.split import NEAR_DUPLICATE

__all__ = ["Pick", "Reason", "label_shares", "read_pool", "reason_row", "select"]

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.integer[Any]]
Reason = Literal["likely", "doubtful", "random"]

# Of a round: half for the labels that are short, a third for what the model cannot tell apart, and the rest unbiased,
# so that what the model is wrongly sure of has a chance to be read.
_DOUBTFUL_SHARE = 0.35
_RANDOM_SHARE = 0.15


@dataclass(frozen=True)
class Pick:
    """A statement chosen to be read.

    Attributes:
        index: its place in the pool.
        reason: `likely` to have a rare label, `doubtful` between two labels, or drawn at `random`.
        label: that is likely, where that is the reason.
    """

    index: int
    reason: Reason
    label: str | None = None


def read_pool(paths: Iterable[Path], labelled: Iterable[Path] = ()) -> list[dict[str, Any]]:
    """Read statements to choose from: each row has a `text`, and whatever else stands in it is kept.

    Args:
        paths: JSON Lines files, or folders of them.
        labelled: files of statements (`text`) or of pointers (`sha256`) that were labelled before; their texts are left
            out, as is a text that comes twice.

    Raises:
        CorpusError: naming file and line of what has no text, or an id that another text has.
    """
    ids: set[str] = set()
    seen = {_digest(row, place) for place, row in json_rows(labelled)}
    pool = []
    for place, row in json_rows(paths):
        if not isinstance(text := row.get("text"), str) or not text.strip():
            raise CorpusError(f"{place}: expected 'text' to be a string with something in it, came {text!r}")
        digest = text_digest(text)
        if digest not in seen:
            seen.add(digest)
            pool.append({"id": f"r{digest[:12]}"} | row | {"text": normalise_text(text)})
            if (id_ := pool[-1]["id"]) in ids:
                raise CorpusError(f"{place}: the id {id_!r} was used before, for another text; give each its own")
            ids.add(id_)
    return pool


def _digest(row: Mapping[str, Any], place: str) -> str:
    if isinstance(row.get("sha256"), str):
        return str(row["sha256"])
    if isinstance(row.get("text"), str):
        return text_digest(row["text"])
    raise CorpusError(f"{place}: expected a labelled statement with 'text', or a pointer with 'sha256', came neither")


def label_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """Return the share that each label gets of the `likely` picks: what it lacks to the commonest one, summing to 1.

    Where all labels are equally common, each gets the same.
    """
    most = max(counts.values())
    lack = {label: most - count for label, count in counts.items()}
    total = sum(lack.values())
    return {label: each / total if total else 1 / len(counts) for label, each in lack.items()}


def select(
    texts: Sequence[str], probabilities: Floats, shares: Mapping[str, float], count: int, seed: int
) -> list[Pick]:
    """Choose `count` statements, or all where there are fewer, no two of them near duplicates; in random order.

    Args:
        texts: of the pool.
        probabilities: of each text, shape (texts, labels), columns in the order of `shares`.
        shares: of each label among the `likely` picks.
        count: how many to choose.
        seed: of the random picks and of the order.

    Raises:
        CorpusError: fewer than one was asked for.
    """
    if count < 1:
        raise CorpusError(f"expected to choose one statement or more, came a count of {count}.")
    generator = np.random.default_rng(seed)
    picks: dict[int, Pick] = {}
    for reason, label, order, wanted in _queues(probabilities, shares, count, generator):
        fresh = [index for index in order.tolist() if index not in picks]
        chosen = _distinct(texts, list(picks), fresh, min(wanted, count - len(picks)))
        picks |= {index: Pick(index, reason, label) for index in chosen}
    return [list(picks.values())[place] for place in generator.permutation(len(picks))]


def _queues(
    probabilities: Floats, shares: Mapping[str, float], count: int, generator: np.random.Generator
) -> Iterator[tuple[Reason, str | None, Indices, int]]:
    """Yield for each reason the texts in the order in which it wants them, and how many; the rarest label first."""
    doubtful, drawn = round(count * _DOUBTFUL_SHARE), round(count * _RANDOM_SHARE)
    columns = {label: column for column, label in enumerate(shares)}
    for label in sorted(shares, key=lambda each: -shares[each]):
        wanted = round((count - doubtful - drawn) * shares[label])
        yield "likely", label, np.argsort(-probabilities[:, columns[label]], kind="stable"), wanted
    ranked = np.sort(probabilities, axis=1)
    yield "doubtful", None, np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable"), doubtful
    # The last queue takes what rounding and near duplicates have left over.
    yield "random", None, generator.permutation(len(probabilities)), count


def _distinct(texts: Sequence[str], taken: list[int], candidates: list[int], wanted: int) -> list[int]:
    """Return the first `wanted` candidates that are no near duplicates of those taken or of one another."""
    chosen: list[int] = []
    for start in range(0, len(candidates), max(wanted, 1)):
        if len(chosen) >= wanted:
            break
        part = candidates[start : start + max(wanted, 1)]
        known = [*taken, *chosen]
        both = [*known, *part]
        twins: dict[int, set[int]] = {}
        for i, j, _ in near_duplicates([texts[index] for index in both], NEAR_DUPLICATE):
            twins.setdefault(j, set()).add(i)
        kept = set(range(len(known)))
        for place in range(len(known), len(both)):
            if not twins.get(place, set()) & kept:
                kept.add(place)
                chosen.append(both[place])
    return chosen[:wanted]


def reason_row(pick: Pick, row: Mapping[str, Any], prediction: Prediction) -> dict[str, Any]:
    """Return why a row of the pool was chosen, JSON-ready: for the record, not for who is to read it blind."""
    return {
        "id": row["id"],
        "reason": pick.reason,
        "likely_label": pick.label,
        "probabilities": {label: round(value, 4) for label, value in prediction.probabilities.items()},
    }
