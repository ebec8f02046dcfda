"""How a text looks to a tokenizer: the signs that it is of another language or kind than what a model was made of."""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Reading", "reading_rates"]


@dataclass(frozen=True)
class Reading:
    """The counts of one text; no more of it is known.

    Attributes:
        tokens: without the special ones, those that two windows share once.
        unknown_tokens: those of them that stand for what the vocabulary lacks.
        words: runs of characters between white space, at least one.
    """

    tokens: int
    unknown_tokens: int
    words: int


def reading_rates(readings: Iterable[Reading]) -> dict[str, float] | None:
    """Return `tokens` (a text), `unknown_tokens` (share of the tokens) and `tokens_per_word`; None of no text.

    Of a vocabulary of parts of words hardly anything is unknown, but what it was not made for falls into more parts.
    """
    counted = list(readings)
    if not counted:
        return None
    tokens = sum(each.tokens for each in counted)
    return {
        "tokens": tokens / len(counted),
        "unknown_tokens": sum(each.unknown_tokens for each in counted) / tokens,
        "tokens_per_word": tokens / sum(each.words for each in counted),
    }
