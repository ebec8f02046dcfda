from pathlib import Path
from typing import Any

import pytest

from model.labels import LABELS, text_digest
from tests.tiny import write_rows
from training.corpus import Statement, read_statements
from training.errors import CorpusError
from training.rehydrate import rehydrate

TEXTS = ["We will answer any attack.", "Café talks were held.", "Both sides should talk."]


def _pointer(number: int, source: str = "wire", **changes: Any) -> dict[str, Any]:
    text = TEXTS[number] if number < len(TEXTS) else f"a text that nobody has {number}"
    row = {"id": f"r{number}", "source": source, "document": "1.txt", "sha256": text_digest(text), "label": "none"}
    return row | {"second_label": "deterrent", "settled": True} | changes


def test_pointers_get_their_texts_back_in_their_own_order(tmp_path: Path) -> None:
    pointers = write_rows(tmp_path / "pointers.jsonl", [_pointer(2), _pointer(0)])
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": text, "url": "x"} for text in TEXTS])
    joined = rehydrate([pointers], [texts])
    assert joined.missing == {}
    assert joined.statements == [
        {"id": "r2", "source": "wire", "document": "1.txt", "label": "none", "act": None, "text": TEXTS[2]},
        {"id": "r0", "source": "wire", "document": "1.txt", "label": "none", "act": None, "text": TEXTS[0]},
    ]


def test_joined_rows_are_statements(tmp_path: Path) -> None:
    pointers = write_rows(tmp_path / "pointers.jsonl", [_pointer(0)])
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": TEXTS[0]}])
    joined = write_rows(tmp_path / "joined.jsonl", rehydrate([pointers], [texts]).statements)
    expected = Statement("r0", TEXTS[0], "none", source="wire", document="1.txt")
    assert read_statements([joined], LABELS) == [expected]


def test_act_comes_along_and_a_document_need_not_be_known(tmp_path: Path) -> None:
    pointers = write_rows(tmp_path / "pointers.jsonl", [_pointer(0, act="report", document=None)])
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": TEXTS[0]}])
    joined = write_rows(tmp_path / "joined.jsonl", rehydrate([pointers], [texts]).statements)
    assert read_statements([joined], LABELS) == [Statement("r0", TEXTS[0], "none", act="report", source="wire")]


def test_spacing_and_composition_of_accents_do_not_matter(tmp_path: Path) -> None:
    pointers = write_rows(tmp_path / "pointers.jsonl", [_pointer(1)])
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": " Cafe\u0301\n talks   were held.\n"}])
    assert [each["text"] for each in rehydrate([pointers], [texts]).statements] == ["Café talks were held."]


def test_pointers_without_a_text_are_counted_by_source(tmp_path: Path) -> None:
    rows = [_pointer(7, "few"), _pointer(0), _pointer(8, "many"), _pointer(9, "many")]
    pointers = write_rows(tmp_path / "pointers.jsonl", rows)
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": text} for text in TEXTS])
    joined = rehydrate([pointers], [texts])
    assert list(joined.missing.items()) == [("many", 2), ("few", 1)]
    assert [each["id"] for each in joined.statements] == ["r0"]


def test_rows_without_a_text_are_passed_over(tmp_path: Path) -> None:
    pointers = write_rows(tmp_path / "pointers.jsonl", [_pointer(0)])
    texts = write_rows(tmp_path / "texts.jsonl", [{"title": "x"}, {"text": None}, {"text": 3}, {"text": TEXTS[0]}])
    assert len(rehydrate([pointers], [texts]).statements) == 1


def test_folders_of_pointers_and_texts_are_read(tmp_path: Path) -> None:
    for name in ("pointers", "texts"):
        (tmp_path / name).mkdir()
    for number in range(3):
        write_rows(tmp_path / "pointers" / f"round-{number}.jsonl", [_pointer(number)])
        write_rows(tmp_path / "texts" / f"{number}.jsonl", [{"text": TEXTS[number]}])
    joined = rehydrate([tmp_path / "pointers"], [tmp_path / "texts"])
    assert [each["id"] for each in joined.statements] == ["r0", "r1", "r2"]


@pytest.mark.parametrize("name", ["id", "source", "sha256", "label"])
def test_pointer_that_lacks_something_is_refused(tmp_path: Path, name: str) -> None:
    pointers = write_rows(tmp_path / "pointers.jsonl", [_pointer(0, **{name: None})])
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": TEXTS[0]}])
    with pytest.raises(CorpusError, match=f"a pointer lacks {name}: "):
        rehydrate([pointers], [texts])


@pytest.mark.parametrize(
    ("line", "reason"), [("{", r"expected a JSON object in UTF-8 \("), ("[]", "JSON object, came list")]
)
def test_line_that_is_no_object_is_refused_with_file_and_line(tmp_path: Path, line: str, reason: str) -> None:
    good = write_rows(tmp_path / "good.jsonl", [_pointer(0)])
    bad = tmp_path / "bad.jsonl"
    bad.write_text(f"\n{line}\n", encoding="utf-8")
    for pointers, texts in ((good, bad), (bad, good)):
        with pytest.raises(CorpusError, match=rf"bad\.jsonl:2: .*{reason}"):
            rehydrate([pointers], [texts])


def test_missing_texts_are_refused(tmp_path: Path) -> None:
    pointers = write_rows(tmp_path / "pointers.jsonl", [_pointer(0)])
    with pytest.raises(CorpusError, match=r"no statements at .*texts"):
        rehydrate([pointers], [tmp_path / "texts"])
