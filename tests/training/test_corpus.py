import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.labels import ACTS, LABELS
from tests.tiny import write_rows
from training.corpus import Statement, fingerprint, gold_indices, read_statements, statement_files
from training.errors import CorpusError

STATEMENTS = [
    Statement("a", "We will answer.", "deterrent"),
    Statement("b", "Both sides should talk.", "de-escalatory"),
    Statement("c", "Talks were held.", "none"),
    Statement("d", "We will strike tonight.", "escalatory"),
]


def _row(**changes: Any) -> dict[str, Any]:
    return {"id": "a-1", "text": "We will answer.", "label": "deterrent"} | changes


def _bad(tmp_path: Path, *lines: bytes) -> str:
    """Return what is said of the file `bad.jsonl` that holds `lines`."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(CorpusError) as caught:
        read_statements([path], LABELS)
    return str(caught.value)


def test_own_file_needs_only_id_text_and_label(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "own.jsonl", [_row(note=["kept", "out"])])
    assert read_statements([path], LABELS) == [Statement("a-1", "We will answer.", "deterrent")]


def test_text_that_no_version_could_classify_is_named_before_any_training(tmp_path: Path) -> None:
    line = json.dumps(_row(id="book", text="word " * 5000)).encode()
    expected = "bad.jsonl:1: 'book': expected at most 20,000 characters, came 25,000; split the text."
    assert expected in _bad(tmp_path, line)


def test_every_field_is_read(tmp_path: Path) -> None:
    row = _row(act="pledge", group="g", region="europe", era="future", register="wire", source="s", document="d")
    assert read_statements([write_rows(tmp_path / "f.jsonl", [row])], LABELS) == [Statement(**row)]


def test_folder_is_read_file_by_file_in_the_order_of_their_names(tmp_path: Path) -> None:
    write_rows(tmp_path / "b.jsonl", [_row(id="3")])
    write_rows(tmp_path / "a.jsonl", [_row(id="1"), _row(id="2")])
    (tmp_path / "notes.txt").write_text("not read", encoding="utf-8")
    assert [each.id for each in read_statements([tmp_path], LABELS)] == ["1", "2", "3"]
    assert statement_files([tmp_path]) == [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]


def test_blank_lines_and_line_endings_are_of_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b"\n" + json.dumps(_row()).encode() + b"\r\n\r\n  \n" + json.dumps(_row(id="a-2")).encode())
    assert [each.id for each in read_statements([path], LABELS)] == ["a-1", "a-2"]


@pytest.mark.parametrize("name", ["missing.jsonl", "empty"])
def test_place_without_statements_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=f"no statements at .*{name}: expected a .jsonl file or a folder"):
        read_statements([tmp_path / name], LABELS)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "expected a JSON object in UTF-8 (Expecting property name"),
        (b'{"id": "\xff"}', "expected a JSON object in UTF-8 ('utf-8' codec can't decode"),
        (b"[]", "expected a JSON object, came list"),
        (b"null", "expected a JSON object, came NoneType"),
        (b'{"text": "t", "label": "none"}', "expected 'id' to be a string with something in it, came None"),
        (b'{"id": 7, "text": "t", "label": "none"}', "expected 'id' to be a string with something in it, came 7"),
        (b'{"id": "a", "label": "none"}', "expected 'text' to be a string with something in it, came None"),
        (b'{"id": "a", "text": " \\n", "label": "none"}', "expected 'text' to be a string with something in it"),
        (b'{"id": "a", "text": "\\ud800", "label": "none"}', "'text' holds a lone surrogate; expected valid Unicode"),
        (b'{"id": "a", "text": "t"}', "expected 'label' to be a string with something in it, came None"),
        (b'{"id": "a", "text": "t", "label": "None"}', "expected one of the labels escalatory, deterrent, de-esc"),
        (b'{"id": "a", "text": "t", "label": "none", "group": ""}', "expected 'group' to be a string with something"),
        (
            b'{"id": "a", "text": "t", "label": "none", "act": "warn"}',
            "the act 'warn' is none of none: expected one of",
        ),
    ],
)
def test_bad_line_is_refused_with_file_line_and_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    good = json.dumps(_row()).encode()
    assert f"{tmp_path}/bad.jsonl:3: {reason}" in _bad(tmp_path, good, b"", line)


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    message = _bad(tmp_path, b"{", json.dumps(_row()).encode(), b"[]")
    assert message.startswith("bad statements; nothing was read:\n")
    assert "bad.jsonl:1: " in message
    assert "bad.jsonl:2: " not in message
    assert "bad.jsonl:3: " in message


def test_twenty_bad_lines_are_named_and_the_others_counted(tmp_path: Path) -> None:
    message = _bad(tmp_path, *[b"[]"] * 23)
    assert message.count("came list") == 20
    assert message.endswith("\nand 3 more")


def test_id_used_twice_is_refused_across_files(tmp_path: Path) -> None:
    paths = [write_rows(tmp_path / name, [_row(text=name)]) for name in ("a.jsonl", "b.jsonl")]
    with pytest.raises(CorpusError, match=r"b\.jsonl:1: the id 'a-1' was used before"):
        read_statements(paths, LABELS)


def test_any_act_of_its_label_is_accepted(tmp_path: Path) -> None:
    rows = [_row(id=act, label=label, act=act) for label, acts in ACTS.items() for act in acts]
    assert len(read_statements([write_rows(tmp_path / "f.jsonl", rows)], LABELS)) == 24


def test_other_label_set_has_its_own_labels_and_acts(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "f.jsonl", [_row(label="hawkish", act="boast")])
    assert read_statements([path], ("hawkish", "dovish"))[0].act == "boast"
    with pytest.raises(CorpusError, match="expected one of the labels dovish, neutral, came 'hawkish'"):
        read_statements([path], ("dovish", "neutral"))


@given(st.permutations(STATEMENTS))
def test_fingerprint_does_not_depend_on_order(order: list[Statement]) -> None:
    assert fingerprint(order) == fingerprint(STATEMENTS)


@pytest.mark.parametrize("change", [{"id": "x"}, {"text": "We will answer!"}, {"label": "none"}])
def test_fingerprint_changes_with_id_text_and_label(change: dict[str, str]) -> None:
    changed = Statement(**({"id": "a", "text": "We will answer.", "label": "deterrent"} | change))
    assert fingerprint([changed, *STATEMENTS[1:]]) != fingerprint(STATEMENTS)


def test_fingerprint_does_not_depend_on_spacing_or_other_fields() -> None:
    respaced = Statement("a", " We  will answer.", "deterrent", act="pledge", group="g")
    assert fingerprint([respaced, *STATEMENTS[1:]]) == fingerprint(STATEMENTS)


def test_fingerprint_changes_with_a_statement_more() -> None:
    assert len({fingerprint(STATEMENTS[:count]) for count in range(5)}) == 5


def test_gold_is_the_place_among_the_labels() -> None:
    assert gold_indices(STATEMENTS, LABELS).tolist() == [1, 2, 3, 0]
    assert gold_indices(STATEMENTS, LABELS[::-1]).tolist() == [2, 1, 0, 3]
    assert gold_indices([], LABELS).shape == (0,)
