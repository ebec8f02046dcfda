"""`python -m service models`: the same as over HTTP, from the command line."""

import getpass
import json
import re
import sys
from contextlib import closing
from pathlib import Path

import pytest

from model.versions import Versions
from service.__main__ import main
from service.database import Database
from service.promotions import Promotions
from tests.service.test_swap import version_of

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_model: Path) -> None:
    monkeypatch.setenv("BRINK_DATABASE_URL", f"sqlite:///{tmp_path}/brink.db")
    monkeypatch.setenv("BRINK_MODELS", str(tmp_path / "versions"))
    monkeypatch.setenv("BRINK_MODEL", str(tiny_model))


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    return version_of(tmp_path / "made", tiny_model, "tiny-2")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["service", *map(str, arguments)])
    return main()


def test_version_is_published_promoted_listed_and_rolled_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, capsys: Captured
) -> None:
    assert run(monkeypatch, "models", "publish", folder) == 0
    assert capsys.readouterr().out == "tiny-2\n"
    assert run(monkeypatch, "models", "promote", "tiny-2") == 0
    assert capsys.readouterr() == ("tiny-2 serves now; a service that runs follows within seconds.\n", "")
    assert run(monkeypatch, "models", "list") == 0
    listed = {line.split(":")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert re.fullmatch(r"tiny-2: current; macro-F1 0\.\d{3}; published [\d :-]+ UTC", listed["tiny-2"])
    assert re.fullmatch(r"tiny-1: shipped; macro-F1 0\.\d{3}", listed["tiny-1"])
    assert run(monkeypatch, "models", "rollback") == 0
    assert capsys.readouterr().out.startswith("tiny-1 serves now")
    with closing(Database(f"sqlite:///{tmp_path}/brink.db")) as database:
        told = [(each.version, each.by, each.action) for each in Promotions(database).all()]
    assert told == [("tiny-2", getpass.getuser(), "promote"), (None, getpass.getuser(), "rollback")]


def test_move_that_does_not_fit_is_named_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, capsys: Captured
) -> None:
    run(monkeypatch, "models", "publish", folder)
    (tmp_path / "versions" / "tiny-2" / "model.onnx").write_bytes(b"damaged")
    capsys.readouterr()
    for arguments, reason in (
        (("rollback",), "error: there is nothing to roll back to"),
        (("promote", "none"), "error: there is no complete version 'none'"),
        (("promote", "tiny-1"), "error: tiny-1 serves already"),
        (("promote", "tiny-2"), "was altered after the model was written"),
        (("publish", tmp_path), "is not a complete model"),
        (("publish", folder), "error: there is a version 'tiny-2' in"),
    ):
        assert run(monkeypatch, "models", *arguments) == 1
        assert reason in capsys.readouterr().err
    assert Versions(tmp_path / "versions").current().history == ()


def test_audit_that_cannot_be_written_stops_no_promotion(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, capsys: Captured
) -> None:
    (tmp_path / "brink.db").write_bytes(b"no database" * 1000)
    run(monkeypatch, "models", "publish", folder)
    assert run(monkeypatch, "models", "promote", "tiny-2") == 0
    assert "not in the audit yet" in capsys.readouterr().err


def test_file_is_labelled_by_the_version_that_serves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "We will answer."}\n', encoding="utf-8")
    run(monkeypatch, "score", tmp_path / "in.jsonl", "--out", tmp_path / "before.jsonl")
    run(monkeypatch, "models", "publish", folder)
    run(monkeypatch, "models", "promote", "tiny-2")
    run(monkeypatch, "score", tmp_path / "in.jsonl", "--out", tmp_path / "after.jsonl")
    before, after = (
        json.loads((tmp_path / f"{name}.jsonl").read_text(encoding="utf-8")) for name in ("before", "after")
    )
    assert before["brink_confidence"] != after["brink_confidence"]
