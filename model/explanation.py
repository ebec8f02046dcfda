"""Which words carried a label: how much less likely it is without each of them.

Leave-one-out (occlusion, Li et al. 2016, https://arxiv.org/abs/1612.08220): no gradients, so it works on any model that
answers texts with probabilities. Pure functions of strings and probabilities; whoever has a model runs it in between.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["MAX_DELETIONS", "Deletion", "Word", "deletions", "weigh"]

MAX_DELETIONS = 128
"""Most texts that one explanation takes; a longer text is explained by runs of neighbouring words."""

# A word with what is written together with it: don't, no-fly, 3,000.
_WORD = re.compile(r"\w+(?:['\u2019.,-]\w+)*")


@dataclass(frozen=True)
class Deletion:
    """A text without one of its words.

    Attributes:
        start: offset in characters of the word, or of the first of a run of them.
        end: offset of the character behind it.
        text: what is left; empty where the word was all there was.
    """

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Word:
    """A word and how much it carried the label.

    Attributes:
        start: offset in characters.
        end: offset of the character behind it.
        text: the word, as it stands between the two.
        weight: by how much the label is less probable without it, in [-1, 1]; negative where it spoke against it.
    """

    start: int
    end: int
    text: str
    weight: float


def deletions(text: str) -> list[Deletion]:
    """Return the text without each of its words in turn, in their order; none where it has only one."""
    words = list(_WORD.finditer(text))
    if len(words) < 2:
        return []
    together = math.ceil(len(words) / MAX_DELETIONS)
    runs = [words[first : first + together] for first in range(0, len(words), together)]
    spans = [(run[0].start(), run[-1].end()) for run in runs]
    return [Deletion(start, end, f"{text[:start].rstrip()} {text[end:].lstrip()}".strip()) for start, end in spans]


def weigh(
    text: str, label: str, full: Mapping[str, float], left: Sequence[tuple[Deletion, Mapping[str, float] | None]]
) -> list[Word]:
    """Return the words that carried `label`, the heaviest first.

    Args:
        text: the whole.
        label: to explain.
        full: probabilities of the whole text.
        left: each deletion with the probabilities of what it leaves; None where that could not be classified.

    Returns:
        Words of a weight above zero.
    """
    words = [
        Word(each.start, each.end, text[each.start : each.end], full[label] - probabilities[label])
        for each, probabilities in left
        if probabilities is not None
    ]
    return sorted((word for word in words if word.weight > 0), key=lambda word: (-word.weight, word.start))
