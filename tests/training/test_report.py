from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.labels import ACTS, LABELS
from tests.tiny import tiny_rows
from training.agreement import Reading
from training.check import GRID
from training.corpus import Statement
from training.errors import CorpusError
from training.report import ReportInputs, corpus_report
from training.split import split_statements
from training.suspects import Suspect


def _composed() -> list[Statement]:
    return [
        Statement(
            **row | {"id": f"abc-{index:03}"},
            act=ACTS[row["label"]][index % 6],
            **{name: values[index % len(values)] for name, values in GRID.items()},
        )
        for index, row in enumerate(tiny_rows(160))
    ]


def _real() -> list[Statement]:
    return [Statement(**row, source="wire", document=f"{index}.txt") for index, row in enumerate(tiny_rows(80, seed=1))]


def _pointer(each: Statement, **changes: Any) -> dict[str, Any]:
    read = {"first_label": each.label, "second_label": each.label, "first_act": None, "second_act": None, "act": None}
    return {"id": each.id, "source": "wire", "label": each.label, "settled": False} | read | changes


@pytest.fixture
def inputs() -> ReportInputs:
    composed, real = _composed(), _real()
    first = {each.id: Reading(each.label, each.act) for each in composed}
    second = first | {"abc-000": Reading("none", "report")}
    pointers = [_pointer(each) for each in real]
    pointers[0] |= {"first_label": "none", "settled": True}
    pointers.append(_pointer(real[0], id="rx", second_label=None))
    split = split_statements([*composed, *real], 0.2, 0.2)
    return ReportInputs(composed, real, pointers, (first, second), split)


def _sections(inputs: ReportInputs, folder: Path) -> dict[str, str]:
    corpus_report(inputs, folder)
    parts = (folder / "README.md").read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.partition("\n")[0]: part for part in parts}


def test_counts_are_those_of_the_files(inputs: ReportInputs, tmp_path: Path) -> None:
    counts = _sections(inputs, tmp_path)["Counts"]
    assert "160 composed statements and 81 real ones, kept as pointers; the texts of 1 of these" in counts
    assert "| abc | 40 | 40 | 40 | 40 | 160 |" in counts
    assert "| wire | 21 | 20 | 20 | 20 | 81 |" in counts
    assert "81 real statements have no act yet." in counts


def test_agreement_is_given_for_each_part(inputs: ReportInputs, tmp_path: Path) -> None:
    said = _sections(inputs, tmp_path)["Agreement"]
    assert "160 statements read twice, 99.4% alike; alpha 0.99" in said
    assert "80 statements read twice, 98.8% alike; alpha 0.98" in said
    assert "Acts: 160 named by both, 99.4% alike" in said
    assert "1 were settled after readers differed, and 1 were read only once" in said


def test_split_and_bag_of_words_are_shown_by_part(inputs: ReportInputs, tmp_path: Path) -> None:
    sections = _sections(inputs, tmp_path)
    total = sum(len(part) for part in (inputs.split.train, inputs.split.validation, inputs.split.test))
    assert f"| {total} |" in sections["Split"].splitlines()[-1]
    assert "| test, real |" in sections["Split"]
    rows = [line for line in sections["What a bag of words knows"].splitlines() if line.startswith("| both |")]
    assert float(rows[0].split("|")[4]) > 0.5  # tiny statements are made of cue words


def test_near_duplicates_across_parts_of_the_split_are_counted(inputs: ReportInputs, tmp_path: Path) -> None:
    assert "and 0 lie in two parts of the split" in _sections(inputs, tmp_path)["Near duplicates"]
    copy = replace(inputs.composed[0], id="abc-999", text=f"{inputs.composed[0].text[:-1]} too.")
    others = inputs.composed[1:100]
    split = replace(inputs.split, train=[inputs.composed[0], *others], test=[copy])
    leaking = replace(inputs, composed=[*inputs.composed, copy], split=split)
    said = _sections(leaking, tmp_path)["Near duplicates"]
    assert said.splitlines()[2].startswith("1 pairs share")
    assert "1 lie in two parts of the split" in said


def test_curve_and_suspects_are_shown_where_they_were_computed(inputs: ReportInputs, tmp_path: Path) -> None:
    sections = _sections(inputs, tmp_path)
    assert "Not computed yet" in sections["Learning curves"]
    assert "Not computed" in sections["Suspected label errors"]
    point = {"origin": "both", "size": 500, "seed": 17, "base": "b", "macro_f1": {"validation": 0.61234}}
    suspects = [Suspect("x1", "none", "deterrent", 0.01), Suspect("x2", "none", "deterrent", 0.02)]
    sections = _sections(replace(inputs, curve=[point], suspects=suspects, decisions={"x1": "kept"}), tmp_path)
    assert "| both | 500 | 0.612 |" in sections["Learning curves"]
    assert "suspects 2 labels: 1 kept, 1 open" in sections["Suspected label errors"]
    assert "| x1 | none | deterrent | 0.010 | kept |" in sections["Suspected label errors"]


def test_kinds_with_the_most_errors_come_first(inputs: ReportInputs, tmp_path: Path) -> None:
    right = [(each, each.label) for each in inputs.composed]
    assert "Not computed" in _sections(inputs, tmp_path)["What a model gets wrong most"]
    calls = [each for each in inputs.composed if each.act == "call"]
    reassurances = [each for each in inputs.composed if each.act == "reassure"]
    wrong = [*[(each, "none") for each in calls[:3]], (reassurances[0], "deterrent")]
    missed = {each.id for each, _ in wrong}
    answers = [*wrong, *[pair for pair in right if pair[0].id not in missed]]
    said = _sections(replace(inputs, answers=answers), tmp_path)["What a model gets wrong most"]
    assert "Of 160 validation statements 4 are wrong" in said
    share = f"{3 / len(calls):.0%}"
    assert said.splitlines()[6] == f"| composed | de-escalatory | call | {len(calls)} | 3 | {share} | none |"
    assert f"| composed | de-escalatory | reassure | {len(reassurances)} | 1 |" in said


def test_report_without_composed_statements_is_refused(inputs: ReportInputs, tmp_path: Path) -> None:
    with pytest.raises(
        CorpusError, match="expected composed statements, those without a source, to report on, came none"
    ):
        corpus_report(replace(inputs, composed=[]), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_every_plot_that_is_shown_is_there_and_the_same_each_time(inputs: ReportInputs, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        corpus_report(inputs, tmp_path / name)
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    shown = {line.partition("(")[2][:-1] for line in files[0]["README.md"].decode().splitlines() if line[:2] == "!["}
    assert shown == {name for name in files[0] if name.endswith(".svg")}
    assert len(shown) == 2 + len(GRID)
    assert all(label in files[0]["sources.svg"].decode() for label in LABELS)
