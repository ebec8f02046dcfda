"""What the tools that people label with export, as their documentation shows it and as their programs write it."""

import csv
import io
import json
import tracemalloc
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from service.errors import InvalidError
from service.imports import Found, read_upload

EXPECTED = [("We will strike.", "escalatory"), ('A "quoted", text\nof two lines', "none")]
TEXTS = [text for text, _ in EXPECTED]


def pairs(content: bytes) -> list[tuple[str | None, str | None]]:
    return [(each.text, each.label) for each in read_upload(content)]


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def as_csv(names: list[str], *rows: list[object]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([names, *rows])
    return stream.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    return written(pyarrow.Table.from_pylist(rows))


def written(table: pyarrow.Table) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(table, stream)
    return stream.getvalue()


PLAIN = [{"text": text, "label": label} for text, label in EXPECTED]
LABEL_STUDIO = [
    {
        "id": number,
        "annotations": [
            {
                "id": 7,
                "completed_by": by,
                "result": [
                    {"value": {"choices": [label]}, "from_name": "stance", "to_name": "text", "type": "choices"},
                    {"value": {"text": ["why"]}, "from_name": "why", "to_name": "text", "type": "textarea"},
                ],
                "was_cancelled": False,
            },
            {"id": 8, "completed_by": by, "result": [], "was_cancelled": True},
        ],
        "data": {"text": text},
        "predictions": [],
    }
    for number, (by, (text, label)) in enumerate(zip([1, {"id": 2, "email": "k@x.org"}], EXPECTED, strict=True))
]
LABEL_STUDIO_MIN = [
    {"text": text, "id": 1, "stance": label, "annotator": 1, "annotation_id": 3, "created_at": "2026-01-01T00:00:00Z",
     "updated_at": "2026-01-01T00:00:00Z", "lead_time": 4.2}
    for text, label in EXPECTED
]  # fmt: skip
PRODIGY_TEXTCAT = [
    {"text": text, "label": label, "_input_hash": 1, "_task_hash": 2, "answer": "accept", "_annotator_id": "db-kim"}
    for text, label in EXPECTED
]
PRODIGY_CHOICE = [
    {"text": text, "options": [{"id": "none", "text": "none"}], "accept": [label], "answer": "accept"}
    for text, label in EXPECTED
]
ARGILLA_1 = [
    {"text": text, "annotation": label, "annotation_agent": "argilla", "prediction": None} for text, label in EXPECTED
]
ARGILLA_2 = [
    {
        "id": "1",
        "fields": {"text": text},
        "responses": {"stance": [{"value": label, "user_id": "u1"}]},
        "status": "done",
    }
    for text, label in EXPECTED
]

UPLOADS = {
    "plain JSON Lines": lines(*PLAIN),
    "plain JSON": json.dumps(PLAIN, indent=2).encode(),
    "the body of the contract": json.dumps({"statements": PLAIN}).encode(),
    "plain CSV": as_csv(["text", "label"], *([text, label] for text, label in EXPECTED)),
    "CSV of a spreadsheet": b"\xef\xbb\xbf" + as_csv(["label", "text"], *([label, text] for text, label in EXPECTED)),
    "Parquet": as_parquet(PLAIN),
    "Label Studio JSON": json.dumps(LABEL_STUDIO).encode(),
    "Label Studio JSON-MIN": json.dumps(LABEL_STUDIO_MIN).encode(),
    "Label Studio CSV": as_csv(
        ["annotation_id", "annotator", "created_at", "id", "lead_time", "stance", "text", "updated_at"],
        *(
            [3, 1, "2026-01-01", number, 4.2, label, text, "2026-01-01"]
            for number, (text, label) in enumerate(EXPECTED)
        ),
    ),
    "doccano JSONL": lines(*({"id": 1, "text": text, "label": [label], "Comments": []} for text, label in EXPECTED)),
    "doccano CSV": as_csv(["id", "text", "label"], *([1, text, label] for text, label in EXPECTED)),
    "Prodigy textcat": lines(*PRODIGY_TEXTCAT),
    "Prodigy choice": lines(*PRODIGY_CHOICE),
    "Argilla 1": json.dumps(ARGILLA_1).encode(),
    "Argilla 2": json.dumps(ARGILLA_2).encode(),
    "Argilla 2 in an object": json.dumps({"records": ARGILLA_2}).encode(),
}


@pytest.mark.parametrize("kind", UPLOADS)
def test_export_is_recognised_by_its_content(kind: str) -> None:
    assert pairs(UPLOADS[kind]) == EXPECTED


@pytest.mark.parametrize(
    ("kind", "annotators"),
    [
        ("Label Studio JSON", ["label-studio:1", "label-studio:k@x.org"]),
        ("Label Studio CSV", ["label-studio:1", "label-studio:1"]),
        ("Label Studio JSON-MIN", ["label-studio:1", "label-studio:1"]),
        ("Prodigy textcat", ["db-kim", "db-kim"]),
        ("Argilla 1", ["argilla", "argilla"]),
        ("Argilla 2", ["u1", "u1"]),
        ("plain CSV", [None, None]),
    ],
)
def test_annotators_are_those_of_the_tool(kind: str, annotators: list[str | None]) -> None:
    assert [each.annotator for each in read_upload(UPLOADS[kind])] == annotators


@pytest.mark.parametrize("kind", UPLOADS)
def test_source_is_named_as_where_label_studio_tells_of_each_annotation(kind: str) -> None:
    source = "label-studio" if kind.startswith("Label Studio") else None
    assert [each.source for each in read_upload(UPLOADS[kind])] == [source] * 2


def test_plain_row_may_say_more() -> None:
    row = {"text": "A.", "label": " none ", "act": "report", "annotator": "kim", "source": "desk", "id": 5}
    assert list(read_upload(lines(row))) == [Found(1, "A.", "none", "kim", "report", "desk")]


def test_task_of_several_annotators_gives_a_label_each() -> None:
    task = LABEL_STUDIO[0] | {"annotations": [LABEL_STUDIO[0]["annotations"][0], LABEL_STUDIO[1]["annotations"][0]]}
    found = list(read_upload(json.dumps([task]).encode()))
    assert [(each.line, each.label, each.annotator) for each in found] == [
        (1, "escalatory", "label-studio:1"),
        (1, "none", "label-studio:k@x.org"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"text": "A."},
        {"label": "none"},
        {"text": 5, "label": "none"},
        {"text": "A.", "label": ["none", "deterrent"]},
        {"text": "A.", "label": []},
        {"text": "A.", "label": " "},
        {"text": "A.", "label": "none", "answer": "reject", "_input_hash": 1},
        {"text": "A.", "label": "none", "answer": "ignore"},
        {"data": {"text": "A."}, "annotations": []},
        {"data": {"text": "A."}, "annotations": [5, {"result": 5}, {"result": [5, {"type": "choices", "value": 5}]}]},
        {"data": {"text": "A."}, "annotations": [{"result": [{"type": "choices", "value": {"choices": {"a": 1}}}]}]},
        {"fields": {"text": "A."}, "responses": [1]},
        {"fields": {"text": "A."}, "responses": {}},
        {"fields": {"text": "A."}, "responses": None},
        {"fields": {"text": "A."}, "responses": {"stance": ["none"]}},
    ],
)
def test_row_without_a_label_is_a_problem_of_its_own(row: dict[str, Any]) -> None:
    before, bad, after = read_upload(lines(PLAIN[0], row, PLAIN[1]))
    assert (before.text, after.text) == (TEXTS[0], TEXTS[1])
    assert (bad.line, bad.problem) == (2, "expected `text` and `label`, came a row without")


def test_long_text_is_its_rows_fault_alone() -> None:
    long, short = read_upload(b"text,label\n" + b"x" * 200_000 + b",none\nA.,none\n")
    assert (len(long.text or ""), short.text) == (200_000, "A.")


def test_line_that_is_no_object_is_a_problem_of_its_own() -> None:
    found = list(read_upload(lines(PLAIN[0]) + b"no json\n5\n" + lines(PLAIN[1])))
    assert [(each.line, each.problem is None) for each in found] == [(1, True), (2, False), (3, False), (4, True)]
    assert found[2].problem == "expected an object, came int"


def test_row_of_csv_with_other_columns_is_a_problem_of_its_own() -> None:
    found = list(read_upload(b"text,label\nA.,none\nB.\nC.,none\n"))
    assert [(each.line, each.problem) for each in found] == [(2, None), (3, "expected 2 columns, came 1"), (4, None)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\x00", "expected UTF-8 or Parquet: byte 0 is neither"),
        (b"PAR1 and no more", "it begins as Parquet does and cannot be read"),
        (b"[1, 2", "it begins as a JSON array does and is none"),
        (b"[" * 100_000, "it begins as a JSON array does and is none"),
        (b"one word", "expected CSV with a first line of column names, JSON, JSON Lines or Parquet; came"),
        (b"a,a\n1,2\n", "expected CSV with a first line of column names"),
        (b'text,label\n"open,none', "is not CSV"),
    ],
)
def test_upload_of_no_known_kind_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        list(read_upload(content))


def test_parquet_with_a_date_that_is_none_is_refused() -> None:
    table = pyarrow.table({"text": ["A."], "label": ["none"], "at": pyarrow.array([2**62], pyarrow.timestamp("us"))})
    with pytest.raises(InvalidError, match="it begins as Parquet does and cannot be read"):
        list(read_upload(written(table)))


def test_parquet_with_two_columns_of_one_name_is_refused() -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["A."])] * 2, names=["text", "text"])
    with pytest.raises(InvalidError, match="expected different names of columns, came 'text, text'"):
        list(read_upload(written(table)))


def test_parquet_of_many_batches_keeps_its_rows_and_lines() -> None:
    found = list(read_upload(as_parquet([{"text": f"T {number}.", "label": "none"} for number in range(1, 101)])))
    assert [(each.line, each.text) for each in found] == [(number, f"T {number}.") for number in range(1, 101)]


def test_repeated_value_of_parquet_takes_no_more_memory_than_some_rows_need() -> None:
    long = "x" * 1_000_000  # once in the file, and 2 GB in memory if all rows were unpacked at once
    content = written(pyarrow.table({"text": [long] * 2_000, "label": ["none"] * 2_000}))
    assert len(content) < 2 * len(long)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_upload(content)) == 2_000
        assert tracemalloc.get_traced_memory()[1] < 100 * len(long)
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_anything_is_read_or_refused(content: bytes) -> None:
    try:
        found = list(read_upload(content))
    except InvalidError:
        return
    assert all((each.problem is None) == (each.text is not None) for each in found)


KEYS = ("text", "label", "annotations", "data", "result", "value", "choices", "fields", "responses", "answer")
MORE_KEYS = ("accept", "annotation", "annotation_agent", "completed_by", "type", "records", "statements")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["choices", "accept", "A."]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(KEYS + MORE_KEYS), each, max_size=4),
)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    try:
        found = list(read_upload(json.dumps(value).encode()))
    except InvalidError:
        return
    assert all((each.problem is None) == (each.text is not None) for each in found)
