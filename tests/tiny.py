"""A transformer of 40,000 random weights and statements that it can learn, so that training needs no download."""

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from model.labels import LABELS
from training.config import FitConfig

_WORDS_OF_A_LABEL = 8
_NEUTRAL = [f"{first}{second}" for first in "bcdfghjklm" for second in ("alo", "enu", "iro", "osa")]
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def cue_words(label: str) -> list[str]:
    """Return the words that only statements of `label` hold."""
    stem = "".join(letter for letter in label if letter.isalpha())
    return [f"{stem}{letter}" for letter in "abcdefghijk"[:_WORDS_OF_A_LABEL]]


def tiny_rows(count: int, labels: Sequence[str] = LABELS, seed: int = 0) -> list[dict[str, Any]]:
    """Return labelled statements, the labels in turn: four cue words among six others, no two texts alike.

    Every seventh statement has the next label's cue words, so that no network can be sure of all.
    """
    generator = random.Random(seed)
    rows = []
    for index in range(count):
        label = labels[index % len(labels)]
        cue = labels[(index + (index % 7 == 3)) % len(labels)]
        words = generator.sample(cue_words(cue), 4) + generator.sample(_NEUTRAL, 6)
        generator.shuffle(words)
        rows.append({"id": f"tiny-{seed}-{index:03}", "text": " ".join(words) + ".", "label": label})
    return rows


def write_rows(path: Path, rows: Iterable[object]) -> Path:
    """Write `rows` to `path` as JSON Lines and return it."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def build_base(folder: Path, labels: Sequence[str] = (*LABELS, "hawkish", "dovish", "neutral")) -> Path:
    """Save a random BERT and a word tokenizer that knows every word of `tiny_rows`, as a base for `fit`."""
    letters = [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz.,-'" for mark in ("", "##")]
    words = [word for label in labels for word in cue_words(label)]
    vocabulary = {token: index for index, token in enumerate([*_SPECIAL, *letters, *_NEUTRAL, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token="[MASK]", **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def tiny_config(base: Path, labels: tuple[str, ...] = LABELS) -> FitConfig:
    """Return settings under which a tiny network learns `tiny_rows` in a second or two."""
    return FitConfig(
        base=str(base),
        labels=labels,
        epochs=12,
        batch_size=16,
        learning_rate=3e-3,
    )
