import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import pytest

import service.score
from model.classifier import Classifier
from service.errors import TableError
from service.score import JOURNAL, score_file
from service.tables import KINDS, read_rows, write_rows
from tests.service.conftest import WAIT_S, FakeClassifier

TEXTS = ["x" * (1 + index % 9) + "!" for index in range(20)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return _write(tmp_path / "in.csv", [{"id": str(index), "text": text} for index, text in enumerate(TEXTS)])


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    write_rows(path, rows, list(rows[0]))
    return path


def _score(classifier: FakeClassifier, source: Path, out: Path, column: str = "text") -> int:
    return score_file(cast(Classifier, classifier), source, out, column, quiet=True)


def _rows(path: Path) -> list[dict[str, Any]]:
    return [dict(row.fields) for row in read_rows(path)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("out_kind", KINDS)
def test_every_row_keeps_its_columns_and_gets_its_answer(
    classifier: FakeClassifier, tmp_path: Path, kind: str, out_kind: str
) -> None:
    source = _write(tmp_path / f"in{kind}", [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)])
    out = tmp_path / f"out{out_kind}"
    assert _score(classifier, source, out) == 0
    rows = _rows(out)
    assert [row["id"] for row in rows] == [str(index) for index in range(20)]
    assert [row["text"] for row in rows] == TEXTS
    assert [row["brink_label"] for row in rows] == [classifier.labels[len(text) % 4] for text in TEXTS]
    assert {float(row["brink_confidence"]) for row in rows} == {0.94}
    assert {float(row[f"brink_p_{row['brink_label']}"]) for row in rows} == {0.94}
    assert rows[0]["brink_act"] == "call"
    assert rows[0]["brink_set"] == rows[0]["brink_label"] == "de-escalatory"
    assert rows[0]["brink_abstained"] in {False, "false"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, out.name])


def test_rows_that_cannot_be_labelled_say_why_and_cost_no_other(classifier: FakeClassifier, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": " "}\n{"text": 5}\n{"other": "x"}\nno json\n{"text": "abc!"}\n', encoding="utf-8")
    assert _score(classifier, source, tmp_path / "out.jsonl") == 4
    rows = _rows(tmp_path / "out.jsonl")
    assert rows[0]["brink_error"].startswith("empty: ")
    assert rows[1]["brink_error"] == "not_a_text: expected 'text' to be a text, came int."
    assert rows[2] == {"other": "x", "brink_error": "not_a_text: expected 'text' to be a text, came NoneType."}
    assert rows[3]["brink_error"].startswith("not_a_row: line 4: expected a JSON object in UTF-8")
    assert rows[4]["brink_label"] == "escalatory"


def test_run_that_failed_goes_on_where_it_stopped(
    classifier: FakeClassifier, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.score, "_CHUNK", 6)
    classifier.fail_after = 2
    out = tmp_path / "out.csv"
    with pytest.raises(RuntimeError, match="failed on purpose"):
        _score(classifier, source, out)
    assert not out.exists()
    journal = tmp_path / f"out.csv{JOURNAL}"
    with journal.open("ab") as stream:
        stream.write(b'{"brink_label": "esc')  # a line that a kill cut short
    classifier.fail_after = None
    assert _score(classifier, source, out) == 0
    assert classifier.seen == [*TEXTS[:12], *TEXTS[12:]]  # none computed twice: the failing call is not among them
    assert [row["id"] for row in _rows(out)] == [str(index) for index in range(20)]
    assert not journal.exists()


def test_run_that_was_killed_before_its_last_step_computes_nothing_again(
    classifier: FakeClassifier, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(service.score, "write_rows", die)
        with pytest.raises(KeyboardInterrupt):
            _score(classifier, source, tmp_path / "out.csv")
    before = len(classifier.seen)
    _score(classifier, source, tmp_path / "out.csv")
    assert len(classifier.seen) == before == 20


def test_journal_of_something_else_is_refused_and_kept(
    classifier: FakeClassifier, source: Path, tmp_path: Path
) -> None:
    journal = tmp_path / f"out.csv{JOURNAL}"
    journal.write_bytes(b'{"input": "another"}\n{"brink_label": "none"}\n')
    before = journal.read_bytes()
    with pytest.raises(TableError, match="is of another input, column or model; delete it to begin anew"):
        _score(classifier, source, tmp_path / "out.csv")
    assert journal.read_bytes() == before


def test_two_processes_do_not_write_one_journal(classifier: FakeClassifier, source: Path, tmp_path: Path) -> None:
    with (tmp_path / f"out.csv{JOURNAL}").open("a+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TableError, match="is being written by another process"):
            _score(classifier, source, tmp_path / "out.csv")


def test_journal_that_was_killed_within_its_first_line_is_begun_anew(
    classifier: FakeClassifier, source: Path, tmp_path: Path
) -> None:
    (tmp_path / f"out.csv{JOURNAL}").write_bytes(b'{"input": "')
    assert _score(classifier, source, tmp_path / "out.csv") == 0


@pytest.mark.parametrize("name", ["out.part.csv", "in.csv", "out.txt", "none/out.csv"])
def test_output_that_cannot_be_or_is_another_file_costs_nothing(
    classifier: FakeClassifier, source: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "out.part.csv").write_bytes(source.read_bytes())
    before = source.read_bytes()
    with pytest.raises(TableError):
        _score(classifier, source, tmp_path / name)
    assert classifier.seen == []
    _score(classifier, tmp_path / "out.part.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.part.csv").read_bytes() == source.read_bytes() == before


def test_output_that_is_there_is_not_overwritten(classifier: FakeClassifier, source: Path, tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(TableError, match=r"out\.csv is there already and is not overwritten"):
        _score(classifier, source, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "mine"


def test_column_that_is_not_there_is_named_beside_those_that_are(
    classifier: FakeClassifier, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(TableError, match="expected a column 'body' with the texts, came id, text; name yours with"):
        _score(classifier, source, tmp_path / "out.csv", "body")
    assert not list(tmp_path.glob("out*"))


def test_labelled_file_is_not_labelled_again(classifier: FakeClassifier, source: Path, tmp_path: Path) -> None:
    _score(classifier, source, tmp_path / "out.csv")
    with pytest.raises(TableError, match="was labelled before: it has the columns brink_label, "):
        _score(classifier, tmp_path / "out.csv", tmp_path / "again.csv")


@pytest.mark.artifact
def test_process_that_is_killed_goes_on_without_a_lost_or_doubled_row(tmp_path: Path) -> None:
    rows = [{"id": index, "text": f"Statement {index}: we will answer any attack."} for index in range(700)]
    source, out = _write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "service", "score", str(source), "--out", str(out)]
    journal = tmp_path / f"out.jsonl{JOURNAL}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BRINK_")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + WAIT_S
        while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
            assert time.monotonic() < deadline, "nothing was written"
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    kept = journal.read_bytes().count(b"\n") - 1
    assert 0 < kept < 700
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert [row["id"] for row in map(json.loads, out.read_text(encoding="utf-8").splitlines())] == list(range(700))


def test_refusal_reaches_the_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "service", "score", str(tmp_path / "none.csv"), "--out", str(tmp_path / "out.csv")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("error: ")
    assert "cannot be read: No such file or directory" in refused.stderr
