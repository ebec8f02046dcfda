"""What this repository promises of its own data; see data/README.md and data/real/README.md."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from model.labels import ACTS, LABELS, text_digest
from training.check import check_corpus
from training.split import read_splits

DATA = Path(__file__).parents[2] / "data"
POINTERS = sorted((DATA / "real").glob("*.jsonl"))


def _rows(folder: str) -> list[dict[str, Any]]:
    files = sorted((DATA / folder).glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.skipif(not list((DATA / "statements").glob("*.jsonl")), reason="this checkout holds no statements")
def test_composed_statements_keep_what_the_data_card_promises() -> None:
    problems, _ = check_corpus([DATA / "statements"], read_splits(DATA / "splits"))
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
    readings = {f"{reader}_{level}" for reader in ("first", "second") for level in ("label", "act")}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert set(row) == {"id", "source", "document", "sha256", "label", "act", "settled"} | readings
        assert re.fullmatch(r"[0-9a-f]{64}", row["sha256"])
        assert row["id"] == f"r{row['sha256'][:12]}"
        assert {row["label"], row["first_label"], row["second_label"]} <= {*LABELS, None}
        assert None not in (row["label"], row["first_label"])
        assert isinstance(row["settled"], bool)
        assert row["source"]
        assert row["document"] is None or row["document"]


def test_labels_of_real_statements_follow_from_their_acts() -> None:
    for row in _rows("real"):
        for reader in ("", "first_", "second_"):
            assert row[f"{reader}act"] is None or row[f"{reader}act"] in ACTS[row[f"{reader}label"]], row["id"]


def test_every_real_stance_and_two_thousand_others_have_an_act() -> None:
    rows = _rows("real")
    assert [row["id"] for row in rows if row["label"] != "none" and row["act"] is None] == []
    assert sum(row["label"] == "none" and row["act"] is not None for row in rows) >= 2000


def test_what_two_readers_read_differently_was_settled() -> None:
    # By a third, from the codebook. An agreed label may also have been settled against an earlier reading.
    for row in _rows("real"):
        if not row["settled"]:
            assert row["second_label"] in {row["label"], None}, row["id"]


def test_every_statement_has_a_part_of_the_split_and_no_document_or_group_has_two() -> None:
    part_of = read_splits(DATA / "splits")
    parts_of_tie: dict[tuple[str, str], set[str]] = {}
    for row in [*_rows("statements"), *_rows("real")]:
        part = part_of[row["id"]]
        for tie in ((row.get("source"), row.get("document")), ("group", row.get("group"))):
            if tie[1] is not None:
                parts_of_tie.setdefault((str(tie[0]), str(tie[1])), set()).add(part)
    assert [tie for tie, parts in parts_of_tie.items() if len(parts) > 1] == []


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
        assert "\n" not in (row["document"] or "")
        assert len((row["document"] or "").split()) <= 30


def test_no_composed_statement_is_a_real_one() -> None:
    real = {row["sha256"] for row in _rows("real")}
    assert [row["id"] for row in _rows("statements") if text_digest(row["text"]) in real] == []


def test_report_is_of_the_corpus_as_it_is() -> None:
    # Whoever changes the data makes the report again: `python -m training corpus-report`.
    report = (DATA / "report" / "README.md").read_text(encoding="utf-8")
    composed, real = len(_rows("statements")), len(_rows("real"))
    assert f"{composed:,} composed statements and {real:,} real ones" in report
    assert set(re.findall(r"\]\((\w+\.svg)\)", report)) <= {path.name for path in (DATA / "report").iterdir()}
