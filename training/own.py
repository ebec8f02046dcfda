"""The users' own labelled statements: which are learnt from, and which are kept to measure on.

A hash of the text alone decides, so that a statement lies on the same side in every training and in every measurement,
whenever it was labelled and whatever else there is. Statements that say nearly the same may lie on both sides: this
share measures whether what people keep correcting is answered right, and the test split whether all else still is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.labels import text_digest
from training.corpus import Statement, one_of_each_text, read_statements
from training.similarity import repeating
from training.split import NEAR_DUPLICATE, Split

__all__ = ["HELD_OUT_SHARE", "OwnStatements", "add_own", "is_held_out", "read_own"]

HELD_OUT_SHARE = 0.2
"""Of the own statements: of 200, 40 to measure on, which tell a kind that is answered wrong from one answered right."""


@dataclass(frozen=True)
class OwnStatements:
    """The two sides of the own statements: `training` may be learnt from, `held_out` is only measured on."""

    training: list[Statement]
    held_out: list[Statement]


def is_held_out(text: str) -> bool:
    """Return whether an own statement of this text is kept to measure on: by its digest, for one in five."""
    return int(text_digest(text)[:16], 16) < HELD_OUT_SHARE * 2**64


def read_own(paths: Iterable[Path], labels: Sequence[str]) -> OwnStatements:
    """Read own statements; a text that comes twice with the same label is kept once.

    Raises:
        CorpusError: a line is bad, or the same text has two labels.
    """
    sides = OwnStatements([], [])
    for statement in one_of_each_text(read_statements(paths, labels)):
        (sides.held_out if is_held_out(statement.text) else sides.training).append(statement)
    return sides


def add_own(split: Split, own: OwnStatements) -> tuple[Split, list[Statement]]:
    """Add own statements to the training part of a split.

    Where the corpus has the same text the own label counts. Left out are own statements that the corpus measures or
    calibrates on, or that nearly repeat one of those, and from the corpus what the own statements are measured on.

    Returns:
        The split, its test part as it was, and the own statements that joined it.
    """
    added = _new_to([*split.validation, *split.test], own.training)
    held_out = {text_digest(each.text) for each in own.held_out}
    spoken_for = held_out | {text_digest(each.text) for each in added}
    train = [each for each in split.train if text_digest(each.text) not in spoken_for]
    validation = [each for each in split.validation if text_digest(each.text) not in held_out]
    return Split([*train, *added], validation, split.test), added


def _new_to(measured: Sequence[Statement], statements: Sequence[Statement]) -> list[Statement]:
    if not statements:
        return []
    known = {text_digest(each.text) for each in measured}
    repeats = repeating([each.text for each in measured], [each.text for each in statements], NEAR_DUPLICATE)
    return [
        each
        for place, each in enumerate(statements)
        if place not in repeats and text_digest(each.text) not in known
    ]  # fmt: skip
