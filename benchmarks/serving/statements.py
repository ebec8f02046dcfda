"""The statements that the benchmarks of serving ask about: short ones of the corpus, always the same."""

import random
from pathlib import Path

from tokenizers import Tokenizer

from model.classifier import TOKENIZER
from model.labels import LABELS
from training.corpus import read_statements

_CORPUS = Path("data/statements")
_COUNT = 2048
_MAX_TOKENS = 45
"""Statements of at most so many have 38 in the mean."""


def short_statements(model: Path) -> tuple[list[str], list[int]]:
    """Return texts in a fixed random order, and of how many tokens each is to the model of a folder."""
    tokenizer = Tokenizer.from_file(str(model / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lengths = {each.text: len(tokenizer.encode(each.text).ids) for each in read_statements([_CORPUS], LABELS)}
    texts = sorted(text for text, length in lengths.items() if length <= _MAX_TOKENS)
    random.Random(0).shuffle(texts)
    chosen = texts[:_COUNT]
    return chosen, [lengths[text] for text in chosen]
