import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import TableError
from service.tables import KINDS, batches, read_rows, scan, write_rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=30)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back_as_they_were_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows{kind}"
    rows = [{"id": f"{index}", "text": f'a "quoted", text\nof {index} lines; ünïcode'} for index in range(3000)]
    write_rows(path, iter(rows), ["id", "text"])
    assert [dict(row.fields) for row in read_rows(path)] == rows
    assert [row.number for row in read_rows(path)] == list(range(1, 3001))
    assert scan(path) == (["id", "text"], 3000)


@given(st.lists(st.fixed_dictionaries({"a": TEXTS, "b": TEXTS}), max_size=5))
def test_any_text_survives_csv(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    write_rows(path, rows, ["a", "b"])
    assert [dict(row.fields) for row in read_rows(path)] == rows


@pytest.mark.parametrize("kind", KINDS)
def test_file_without_rows_is_written_and_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows{kind}"
    write_rows(path, [], ["text"])
    assert list(read_rows(path)) == []


def test_bad_line_of_json_lines_is_a_row_with_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_bytes(b'{"text": "a"}\n\n[1]\nno json\n\xff\n{"more": 1}\n')
    rows = list(read_rows(path))
    assert [row.number for row in rows] == [1, 3, 4, 5, 6]
    assert [row.problem is None for row in rows] == [True, False, False, False, True]
    assert rows[1].problem == "expected a JSON object, came list"
    assert scan(path) == (["text", "more"], 5)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", r"expected a name that ends in \.csv, \.jsonl, \.parquet or \.ndjson"),
        ("a.csv", b"", "expected a first line of different column names, came"),
        ("a.csv", b"text,text\n", "expected a first line of different column names, came"),
        ("a.csv", b"text,id\n1,2\nonly one\n", "line 3: expected 2 columns as in the first line, came 1"),
        ("a.csv", b"text\n\xff\xfe\n", "expected UTF-8"),
        ("a.csv", b'text\n"open', "not CSV"),
        ("a.parquet", b"text", "is no Parquet file"),
    ],
)
def test_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=reason):
        list(read_rows(tmp_path / name))


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read: No such file"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_csv_of_a_spreadsheet_and_of_long_fields_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,id\r\n" + "x" * 200_000 + ",1\r\n", encoding="utf-8-sig")
    (row,) = read_rows(path)
    assert (len(row.fields["text"]), row.fields["id"]) == (200_000, "1")


def test_lists_and_truth_in_csv_are_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, [{"a": ["x", "ü"], "b": True, "c": None, "d": {"e": 1}}], ["a", "b", "c", "d"])
    (row,) = read_rows(path)
    assert row.fields == {"a": '["x", "ü"]', "b": "true", "c": "", "d": '{"e": 1}'}


def test_parquet_of_mixed_types_is_refused_with_advice(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": 1}, {"a": "text"}]
    with pytest.raises(TableError, match=r"several types, which Parquet cannot .*; write \.jsonl"):
        write_rows(tmp_path / "rows.parquet", rows, ["a"])


def test_what_cannot_be_text_in_json_stays_escaped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [{"text": "\ud800"}], ["text"])
    assert json.loads(path.read_text(encoding="ascii")) == {"text": "\ud800"}


def test_batches_hold_all_in_order() -> None:
    assert list(batches(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batches([], 3)) == []
