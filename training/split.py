"""A deterministic split in which nothing leaks: what belongs together stays together.

Contrast groups, statements of one document and near duplicates are tied, and a hash of the tie decides the split. So
the same statement lies in the same split in every run, and new statements do not move old ones unless they tie two
groups that were apart.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from model.labels import normalise_text
from training.corpus import Statement
from training.errors import CorpusError
from training.similarity import connected_groups, near_duplicates

__all__ = ["NEAR_DUPLICATE", "Split", "split_statements"]

NEAR_DUPLICATE = 0.5
"""Share of common word triples from which two statements are tied."""


@dataclass(frozen=True)
class Split:
    """The three parts of a corpus: `train` fits weights, `validation` fits the calibration, `test` only reports."""

    train: list[Statement]
    validation: list[Statement]
    test: list[Statement]


def split_statements(statements: Sequence[Statement], validation_share: float, test_share: float) -> Split:
    """Split statements, whose order makes no difference; a text that comes twice with the same label is kept once.

    Raises:
        CorpusError: the same text has two labels, or a part would be left without statements.
    """
    kept = _without_repeats(sorted(statements, key=lambda each: each.id))
    parts: dict[str, list[Statement]] = {"train": [], "validation": [], "test": []}
    for statement, key in zip(kept, _keys(kept), strict=True):
        fraction = int.from_bytes(hashlib.sha256(f"split:{key}".encode()).digest()[:8]) / 2**64
        is_held_out = fraction < test_share + validation_share
        parts["test" if fraction < test_share else "validation" if is_held_out else "train"].append(statement)
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise CorpusError(
            f"{len(kept)} statements are too few to split: the {' and the '.join(empty)} part is empty; add statements."
        )
    return Split(**parts)


def _without_repeats(statements: Sequence[Statement]) -> list[Statement]:
    first: dict[str, Statement] = {}
    for statement in statements:
        earlier = first.setdefault(normalise_text(statement.text), statement)
        if earlier.label != statement.label:
            raise CorpusError(
                f"{earlier.id!r} and {statement.id!r} are the same text with the labels {earlier.label} and "
                f"{statement.label}; keep one."
            )
    return list(first.values())


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
