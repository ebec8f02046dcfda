"""A better challenger passes; one that is worse in any way that matters is refused, and told in numbers why."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import training.commands.loop
from model.artifact import read_manifest, write_manifest
from model.labels import LABELS, text_digest
from tests.tiny import cue_words, tiny_rows, write_rows
from tests.training.variants import exam_files, learnt_from, noisy, variant, without_label
from training.__main__ import main
from training.errors import ConfigError, CorpusError
from training.gate import judge
from training.limits import GateLimits
from training.own import is_held_out
from training.smoke import PLAIN_STATEMENTS
from training.verdict import Check, Verdict

Captured = pytest.CaptureFixture[str]
PLAIN = tuple((" ".join(cue_words(label)), label) for label in LABELS)
LIMITS = GateLimits(plain_statements=PLAIN)
ROWS = tiny_rows(400, seed=11)


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return exam_files(tmp_path_factory.mktemp("exam"), ROWS)


def _judge(challenger: Path, champion: Path, exam: tuple[Path, Path], own: Path | None = None) -> Verdict:
    return judge(challenger, champion, [exam[0]], exam[1], [own] if own else [], LIMITS)


def _failed(verdict: Verdict) -> dict[str, Check]:
    return {check.name: check for check in verdict.checks if not check.passed}


def test_better_challenger_passes_every_check(tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]) -> None:
    verdict = _judge(tiny_model, variant(tiny_model, tmp_path / "old", "old", noisy(6.0)), exam)
    assert _failed(verdict) == {}
    assert verdict.promoted
    assert (verdict.challenger, verdict.champion) == ("tiny-1", "old")
    assert verdict.statements == {"test": 398, "own": 0}
    found = verdict.checks[0]
    assert found.name == "macro-F1, test split"
    assert found.numbers["challenger"] > found.numbers["champion"] + 0.05
    assert found.numbers["gain_95"][0] > 0


def test_challenger_that_is_the_champion_passes(tiny_model: Path, exam: tuple[Path, Path]) -> None:
    verdict = _judge(tiny_model, tiny_model, exam)
    assert verdict.promoted
    assert verdict.checks[0].numbers["gain_95"] == [0, 0]


def test_worse_challenger_is_refused_with_its_loss(tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]) -> None:
    verdict = _judge(variant(tiny_model, tmp_path / "new", "new", noisy(6.0)), tiny_model, exam)
    assert not verdict.promoted
    check = _failed(verdict)["macro-F1, test split"]
    assert check.numbers["gain_95"][0] < -0.01
    assert check.limit == "a loss of at most 0.010, with 95% certainty"
    assert re.fullmatch(r"0\.\d{3} after 0\.\d{3}; gain in \[-0\.\d{3}, [-+]0\.\d{3}\]", check.reason)


def test_fallen_recall_of_one_label_is_named(tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]) -> None:
    verdict = _judge(variant(tiny_model, tmp_path / "new", "new", without_label(1)), tiny_model, exam)
    failed = _failed(verdict)
    assert "recall of deterrent" in failed
    assert "recall of none" not in failed
    numbers = failed["recall of deterrent"].numbers
    assert numbers["gain_95"][1] < -0.03
    assert numbers["challenger"] < numbers["champion"]


def test_miscalibrated_challenger_is_refused_although_its_answers_are_the_same(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]
) -> None:
    temperature = read_manifest(tiny_model).temperature * 20
    verdict = _judge(
        variant(tiny_model, tmp_path / "new", "new", temperature=temperature, biases=[0.0] * 4), tiny_model, exam
    )
    failed = _failed(verdict)
    assert "calibration error, test split" in failed
    numbers = failed["calibration error, test split"].numbers
    assert numbers["challenger"] > numbers["limit"] >= max(0.05, numbers["champion"] + 0.01) - 1e-4


def test_challenger_that_learnt_from_a_tested_text_is_refused_whatever_it_was_called(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]
) -> None:
    challenger = variant(tiny_model, tmp_path / "new", "new")
    learnt_from(challenger, [text_digest(f"  {ROWS[7]['text']} "), text_digest("another")])
    check = _failed(_judge(challenger, tiny_model, exam))["measured texts in its training data"]
    assert check.numbers == {"seen": 1, "texts": 398}
    assert check.reason == f"1: {ROWS[7]['id']}"


def test_challenger_that_does_not_say_what_it_learnt_from_is_refused(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]
) -> None:
    challenger = learnt_from(variant(tiny_model, tmp_path / "new", "new"), None)
    check = _failed(_judge(challenger, tiny_model, exam))["measured texts in its training data"]
    assert check.reason.startswith("it does not say by digest which texts it")
    (challenger / "statements.json").unlink()
    write_manifest(challenger, replace(read_manifest(challenger), files={}))
    check = _failed(_judge(challenger, tiny_model, exam))["measured texts in its training data"]
    assert "lacks statements.json" in check.reason


@pytest.mark.parametrize(
    ("parity", "reason"),
    [({"label_agreement": 0.9, "max_difference": 0.1}, "90.0%, 0.100"), ({}, "its manifest does not say how")],
)
def test_challenger_without_parity_is_refused(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path], parity: dict[str, float], reason: str
) -> None:
    challenger = variant(tiny_model, tmp_path / "new", "new", parity=parity)
    assert reason in _failed(_judge(challenger, tiny_model, exam))["parity"].reason


def test_plain_statement_that_the_champion_had_right_must_stay_right(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]
) -> None:
    challenger = variant(tiny_model, tmp_path / "new", "new", without_label(1))
    verdict = _judge(challenger, variant(tiny_model, tmp_path / "old", "old"), exam)
    check = _failed(verdict)["plain statements"]
    assert check.numbers == {"champion": 4, "challenger": 3, "statements": 4}
    assert "wrong: 'deterrent" in check.reason


@pytest.mark.parametrize(("count", "name"), [(300, "macro-F1, own statements"), (60, "accuracy, own statements")])
def test_own_statements_that_are_held_out_are_measured_too(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path], count: int, name: str
) -> None:
    rows = [row | {"label": "deterrent"} for row in tiny_rows(count, ("deterrent",), seed=5)]
    own = write_rows(tmp_path / "own.jsonl", rows)
    verdict = _judge(variant(tiny_model, tmp_path / "new", "new", without_label(1)), tiny_model, exam, own)
    assert verdict.statements["own"] == sum(is_held_out(row["text"]) for row in rows) > 0
    check = _failed(verdict)[name]
    assert check.numbers["challenger"] < check.numbers["champion"]
    assert check.numbers["statements"] == verdict.statements["own"]


def test_own_statements_that_the_champion_learnt_from_are_not_measured(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]
) -> None:
    rows = tiny_rows(100, seed=5)
    own = write_rows(tmp_path / "own.jsonl", rows)
    champion = learnt_from(variant(tiny_model, tmp_path / "old", "old"), [text_digest(row["text"]) for row in rows])
    assert _judge(tiny_model, champion, exam, own).statements["own"] == 0


def test_versions_of_other_labels_cannot_be_compared(tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]) -> None:
    other = variant(tiny_model, tmp_path / "new", "new", labels=("a", "b", "c", "d"), acts={})
    with pytest.raises(CorpusError, match="expected two models of the same labels"):
        _judge(other, tiny_model, exam)


def test_verdict_is_the_same_from_cached_features(tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path]) -> None:
    challenger = variant(tiny_model, tmp_path / "new", "new", noisy(0.5))
    plain = judge(challenger, tiny_model, [exam[0]], exam[1], limits=LIMITS)
    cached = judge(challenger, tiny_model, [exam[0]], exam[1], limits=LIMITS, cache=tmp_path / "cache")
    assert cached.to_json() == plain.to_json()
    assert len(list((tmp_path / "cache").iterdir())) == 1  # both have the same encoder


def test_command_says_the_verdict_by_its_exit_code(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.commands.loop, "default_limits", lambda: LIMITS)
    worse = variant(tiny_model, tmp_path / "new", "new", noisy(6.0))
    files = ["--data", str(exam[0]), "--splits", str(exam[1])]
    assert main(["gate", str(tiny_model), "--champion", str(worse), *files]) == 0
    assert capsys.readouterr().out.startswith("tiny-1 against new: promoted\n")
    assert main(["gate", str(worse), "--champion", str(tiny_model), *files, "--json"]) == 2
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["promoted"] is False
    assert {"name", "passed", "numbers", "limit", "reason"} == set(verdict["checks"][0])
    assert main(["gate", "nothing", "--champion", str(tiny_model), *files]) == 1
    assert "no model 'nothing'" in capsys.readouterr().err


class FakeVersions:
    def __init__(self) -> None:
        self.published: list[Path] = []
        self.promoted: list[tuple[str, str]] = []

    def publish(self, folder: Path) -> str:
        self.published.append(folder)
        return read_manifest(folder).version

    def promote(self, version: str, who: str) -> None:
        self.promoted.append((version, who))


def test_promote_publishes_only_what_the_gate_has_passed(
    tiny_model: Path, tmp_path: Path, exam: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = FakeVersions()
    monkeypatch.setattr(training.commands.loop, "Versions", lambda location: versions)
    monkeypatch.setattr(training.commands.loop, "default_limits", lambda: LIMITS)
    worse = variant(tiny_model, tmp_path / "new", "new", noisy(6.0))
    options = ["--data", str(exam[0]), "--splits", str(exam[1]), "--models", str(tmp_path / "m"), "--who", "kim"]
    assert main(["promote", str(worse), "--champion", str(tiny_model), *options]) == 2
    assert versions.published == []
    assert main(["promote", str(tiny_model), "--champion", str(worse), *options]) == 0
    assert (versions.published, versions.promoted) == ([tiny_model], [("tiny-1", "kim")])


@pytest.mark.parametrize("wrong", [{"overall_margin": -0.1}, {"own_margin": float("nan")}, {"own_enough": 0}])
def test_margins_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"came {next(iter(wrong))} "):
        GateLimits(**wrong)  # type: ignore[arg-type]  # on purpose


def test_plain_statements_are_a_dozen_of_every_label() -> None:
    assert len(PLAIN_STATEMENTS) == len({text for text, _ in PLAIN_STATEMENTS}) == 12
    assert {label for _, label in PLAIN_STATEMENTS} == set(LABELS)
