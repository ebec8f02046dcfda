"""What the tests of the loop start from: token ids of tiny statements, and the same random numbers in torch."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoTokenizer

from model.labels import LABELS
from tests.tiny import tiny_rows


@pytest.fixture(autouse=True)
def _torch_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_tokens(tiny_base: Path) -> Dataset:
    """Token ids and label indices of 64 statements."""
    rows = tiny_rows(64)
    ids = AutoTokenizer.from_pretrained(tiny_base)([row["text"] for row in rows])["input_ids"]
    return Dataset.from_dict(
        {"input_ids": ids, "label": [LABELS.index(row["label"]) for row in rows], "act": [-1] * 64}
    )
