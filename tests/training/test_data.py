"""What this repository promises of its own data; see data/README.md and data/real/README.md."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from model.labels import ACTS, LABELS, text_digest
from training.check import check_corpus

DATA = Path(__file__).parents[2] / "data"
POINTERS = sorted((DATA / "real").glob("*.jsonl"))


def _rows(folder: str) -> list[dict[str, Any]]:
    files = sorted((DATA / folder).glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.skipif(not list((DATA / "statements").glob("*.jsonl")), reason="this checkout holds no statements")
def test_composed_statements_keep_what_the_data_card_promises() -> None:
    problems, _ = check_corpus([DATA / "statements"])
    assert problems == []


def test_annotations_are_second_readings_of_the_composed_statements() -> None:
    annotations = _rows("annotations")
    assert {frozenset(row) for row in annotations} <= {frozenset({"id", "second_label", "second_act"})}
    assert all(row["second_act"] in ACTS[row["second_label"]] for row in annotations)
    ids = [row["id"] for row in annotations]
    assert len(ids) == len(set(ids))
    assert set(ids) <= {row["id"] for row in _rows("statements")}


@pytest.mark.parametrize("path", POINTERS, ids=lambda path: path.name)
def test_pointers_have_their_keys_and_nothing_more(path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert set(row) == {"id", "source", "document", "sha256", "label", "second_label", "settled"}
        assert re.fullmatch(r"[0-9a-f]{64}", row["sha256"])
        assert row["id"] == f"r{row['sha256'][:12]}"
        assert row["label"] in LABELS
        assert row["second_label"] in LABELS
        assert isinstance(row["settled"], bool)
        assert row["source"]
        assert row["document"]


def test_pointers_have_unique_ids_and_texts() -> None:
    rows = _rows("real")
    assert len(rows) > 0
    for key in ("id", "sha256"):
        assert [value for value, count in Counter(row[key] for row in rows).items() if count > 1] == []


def test_pointers_hold_no_text() -> None:
    # The text would be the value whose hash is the pointer's. Names of documents are names: short, on one line.
    for row in _rows("real"):
        values = [value for value in row.values() if isinstance(value, str)]
        assert row["sha256"] not in {text_digest(value) for value in values}
        assert "\n" not in row["document"]
        assert len(row["document"].split()) <= 30


def test_no_composed_statement_is_a_real_one() -> None:
    real = {row["sha256"] for row in _rows("real")}
    assert [row["id"] for row in _rows("statements") if text_digest(row["text"]) in real] == []
