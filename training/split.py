"""A split in which nothing leaks: what belongs together stays together, and what was split once stays where it is.

Contrast groups, statements of one document and near duplicates are tied. A tie goes where the split files say; one that
they do not know goes where a hash of it says, so that it lies in the same part in every run. `assign_splits` makes such
files, stratified by origin and label. Tied to statements of a known part, new ones join it: what resembles a test
statement is never trained on.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from training.corpus import Statement, one_of_each_text
from training.errors import CorpusError
from training.similarity import connected_groups, near_duplicates

__all__ = ["NEAR_DUPLICATE", "PARTS", "Split", "assign_splits", "read_splits", "split_statements", "write_splits"]

NEAR_DUPLICATE = 0.5
"""Share of common word triples from which two statements are tied."""

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The three parts of a corpus: `train` fits weights, `validation` fits the calibration, `test` only reports."""

    train: list[Statement]
    validation: list[Statement]
    test: list[Statement]


def read_splits(folder: Path) -> dict[str, str]:
    """Return the part of each id that `train.txt`, `validation.txt` and `test.txt` in `folder` list, one a line.

    Raises:
        CorpusError: a file is missing or an id stands in two places.
    """
    part_of: dict[str, str] = {}
    for part in PARTS:
        path = folder / f"{part}.txt"
        if not path.is_file():
            raise CorpusError(f"no file {path}: expected train.txt, validation.txt and test.txt in {folder}.")
        for id_ in path.read_text(encoding="utf-8").splitlines():
            if part_of.setdefault(id_, part) != part:
                raise CorpusError(f"{path}: {id_!r} stands in {part_of[id_]}.txt as well; keep one.")
    return part_of


def write_splits(folder: Path, part_of: Mapping[str, str]) -> None:
    """Write the files that `read_splits` reads, ids in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        ids = sorted(id_ for id_, other in part_of.items() if other == part)
        (folder / f"{part}.txt").write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8")


def split_statements(
    statements: Sequence[Statement],
    validation_share: float,
    test_share: float,
    known: Mapping[str, str] | None = None,
) -> Split:
    """Split statements, whose order makes no difference; a text that comes twice with the same label is kept once.

    Args:
        statements: to split.
        validation_share: of the ties that no one has split yet.
        test_share: of the same.
        known: the part of each id that was split before, as `read_splits` returns it. A statement that is tied to
            several parts at once would leak whichever it went to, and is left out.

    Raises:
        CorpusError: the same text has two labels, or a part would be left without statements.
    """
    known = known or {}
    kept = _without_repeats(statements, known)
    # Ties matter to those alone whose part is not known: finding them takes seconds.
    keys = [each.id for each in kept] if all(each.id in known for each in kept) else _keys(kept)
    parts_of_key = _parts_of_keys(kept, keys, known)
    parts: dict[str, list[Statement]] = {part: [] for part in PARTS}
    for statement, key in zip(kept, keys, strict=True):
        tied = parts_of_key.get(key) or {_hashed_part(key, validation_share, test_share)}
        part = known.get(statement.id) or (next(iter(tied)) if len(tied) == 1 else None)
        if part is not None:
            parts[part].append(statement)
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise CorpusError(
            f"{len(kept)} statements are too few to split: the {' and the '.join(empty)} part is empty; add statements."
        )
    return Split(**parts)


def _parts_of_keys(
    statements: Sequence[Statement], keys: Sequence[str], known: Mapping[str, str]
) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {}
    for statement, key in zip(statements, keys, strict=True):
        if statement.id in known:
            parts.setdefault(key, set()).add(known[statement.id])
    return parts


def _hashed_part(key: str, validation_share: float, test_share: float) -> str:
    fraction = int.from_bytes(hashlib.sha256(f"split:{key}".encode()).digest()[:8]) / 2**64
    is_held_out = fraction < test_share + validation_share
    return "test" if fraction < test_share else "validation" if is_held_out else "train"


def assign_splits(statements: Sequence[Statement], known: Mapping[str, str], folds: int, seed: int) -> dict[str, str]:
    """Return the part of every statement: as known, else one of `folds` equal folds to each of validation and test.

    The folds keep ties whole and have the shares of labels and origins of all, as nearly as that allows. Where too few
    are new to fill the folds, a hash of the tie decides, as in `split_statements`.

    Raises:
        CorpusError: the same text has two labels.
    """
    kept = _without_repeats(statements, known)
    keys = _keys(kept)
    parts_of_key = _parts_of_keys(kept, keys, known)
    fresh = [index for index, key in enumerate(keys) if key not in parts_of_key]
    part_of = dict(known)
    for index, key in enumerate(keys):
        if len(tied := parts_of_key.get(key, set())) == 1:
            part_of.setdefault(kept[index].id, next(iter(tied)))
    strata = [f"{kept[index].source or ''}/{kept[index].label}" for index in fresh]
    strata = _merge_rare(strata, folds)
    if max(Counter(strata).values(), default=0) < folds:
        return part_of | {kept[index].id: _hashed_part(keys[index], 1 / folds, 1 / folds) for index in fresh}
    folder = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for number, (_, held) in enumerate(folder.split(np.zeros(len(fresh)), strata, [keys[index] for index in fresh])):
        part = {0: "test", 1: "validation"}.get(number, "train")
        part_of |= {kept[fresh[place]].id: part for place in held}
    return part_of


def _merge_rare(strata: Sequence[str], folds: int) -> list[str]:
    """Drop the origin from strata of fewer statements than folds, which cannot be spread evenly."""
    counts = Counter(strata)
    return [name if counts[name] >= folds else name.rpartition("/")[2] for name in strata]


def _without_repeats(statements: Iterable[Statement], known: Mapping[str, str]) -> list[Statement]:
    """Return each text once, by id; of repeats the one whose part is known: no tested text moves to training."""
    by_right = sorted(statements, key=lambda each: (each.id not in known, each.id))
    return sorted(one_of_each_text(by_right), key=lambda each: each.id)


def _keys(statements: Sequence[Statement]) -> list[str]:
    """Return for each statement the least group, document or id among all that it is tied to."""
    own = [_names(statement) for statement in statements]
    first_with: dict[str, int] = {}
    ties = [(first_with.setdefault(name, index), index) for index, names in enumerate(own) for name in names]
    ties += [(i, j) for i, j, _ in near_duplicates([each.text for each in statements], NEAR_DUPLICATE)]
    groups = connected_groups(len(statements), ties)
    least: dict[int, str] = {}
    for group, names in zip(groups, own, strict=True):
        least[group] = min(*names, least.get(group, names[0]))
    return [least[group] for group in groups]


def _names(statement: Statement) -> list[str]:
    """Return the names of what a statement belongs to, its group and its document; its id where it has neither."""
    document = f"{statement.source}/{statement.document}" if statement.document else None
    return [name for name in (statement.group, document) if name] or [statement.id]
