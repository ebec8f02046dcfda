"""`python -m service labels`: the same store as over HTTP, from the command line."""

import getpass
import json
import sys
from pathlib import Path

import pytest

from service.__main__ import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BRINK_DATABASE_URL", f"sqlite:///{tmp_path}/brink.db")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["service", *map(str, arguments)])
    return main()


def write(path: Path, *rows: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_what_is_added_is_exported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured) -> None:
    rows = [{"text": "We will strike.", "label": "escalatory", "act": "attack"}, {"text": "A.", "label": "none"}]
    file = write(tmp_path / "mine.jsonl", *rows)
    assert run(monkeypatch, "labels", "add", file, "--source", "desk") == 0
    assert capsys.readouterr() == ("2 accepted, 0 duplicate, 0 conflicting, 0 rejected\n", "")
    assert run(monkeypatch, "labels", "add", file) == 0
    assert capsys.readouterr().out.startswith("0 accepted, 2 duplicate")
    out = tmp_path / "out.jsonl"
    assert run(monkeypatch, "labels", "export", "--out", out) == 0
    exported = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [{name: row[name] for name in ("text", "label")} for row in exported] == [
        {name: row[name] for name in ("text", "label")} for row in rows
    ]
    assert {row["source"] for row in exported} == {"desk"}
    assert capsys.readouterr().out == f"2 labelled statements in {out}\n"


def test_rows_that_are_not_taken_are_named_and_the_others_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    good = {"text": "A.", "label": "none"}
    file = write(tmp_path / "mine.jsonl", good, good | {"label": "deterrent"}, *[{"text": "B.", "label": "?"}] * 25)
    assert run(monkeypatch, "labels", "add", file) == 1
    out, err = capsys.readouterr()
    assert out == "1 accepted, 0 duplicate, 1 conflicting, 25 rejected\n"
    lines = err.splitlines()
    assert lines[0].startswith(f"{file}:2: conflicting: {getpass.getuser()} has said none of this text")
    assert lines[1].startswith(f"{file}:3: rejected: expected one of the labels")
    assert lines[-1] == "and 6 more"
    assert len(lines) == 21


def test_output_that_is_there_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    out = write(tmp_path / "out.jsonl", {"mine": "yes"})
    assert run(monkeypatch, "labels", "export", "--out", out) == 1
    assert "is there already and is not overwritten" in capsys.readouterr().err
    assert json.loads(out.read_text(encoding="utf-8")) == {"mine": "yes"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("add", "none.csv"), "none.csv cannot be read: No such file or directory."),
        (("export", "--out", "no/such/folder/out.jsonl"), "cannot be written: No such file or directory."),
    ],
)
def test_file_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, arguments: tuple[str, ...], reason: str
) -> None:
    assert run(monkeypatch, "labels", *arguments) == 1
    assert reason in capsys.readouterr().err


def test_database_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.setenv("BRINK_DATABASE_URL", "oracle://x")
    assert run(monkeypatch, "labels", "export", "--out", tmp_path / "out.jsonl") == 1
    assert capsys.readouterr().err.startswith("error: expected a database URL such as sqlite:///brink.db")
    assert not list(tmp_path.glob("out*"))
