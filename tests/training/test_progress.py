"""What a run notes of how far it is: who follows it sees its phases, and no more lines than a person can read."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import tiny_config
from training.fit import fit
from training.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_rate_and_time_left_count_what_this_run_has_done(tmp_path: Path) -> None:
    clock = Clock()
    progress = Progress(tmp_path / "progress.jsonl", clock)
    progress.begin("training")
    progress.report(100, 400, epoch=1, step=1, steps=4, loss=1.23456789)  # of these an earlier run did a hundred
    clock.now = 10.0
    progress.report(200, 400, epoch=2, step=2, steps=4, loss=0.5)
    assert lines(tmp_path / "progress.jsonl") == [
        {"phase": "training"},
        {
            "phase": "training",
            "epoch": 2,
            "step": 2,
            "steps": 4,
            "loss": 0.5,
            "statements_per_s": 10.0,
            "seconds_left": 20.0,
        },
    ]


def test_at_most_one_line_a_second_is_written_and_the_last_one_always(tmp_path: Path) -> None:
    clock = Clock()
    progress = Progress(tmp_path / "progress.jsonl", clock)
    progress.begin("reading")
    for done in range(1, 101):
        clock.now = done / 20
        progress.report(done, 100)
    written = lines(tmp_path / "progress.jsonl")
    assert 4 <= len(written) <= 7
    assert written[-1]["seconds_left"] == 0


def test_file_that_cannot_be_written_stops_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path / "none" / "progress.jsonl")
    progress.begin("reading")
    progress.begin("training")
    assert capsys.readouterr().err.count("progress is not written any more") == 1


def test_training_notes_its_phases_and_its_steps(tiny_base: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    fit(tiny_config(tiny_base), [tiny_corpus], tmp_path / "model", progress=Progress(file))
    written = lines(file)
    assert list(dict.fromkeys(each["phase"] for each in written)) == ["reading", "training", "exporting", "measuring"]
    last = [each for each in written if each["phase"] == "training"][-1]
    assert (last["epoch"], last["step"], last["seconds_left"]) == (12, last["steps"], 0)
