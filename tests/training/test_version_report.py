import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from model.artifact import read_manifest
from model.classifier import Classifier, Prediction
from tests.tiny import tiny_rows
from training.corpus import Statement
from training.evaluate import evaluate, predict
from training.plots import plot_losses
from training.version_report import version_report

SECRET = "the words of somebody else"


@pytest.fixture
def report(tiny_model: Path, tmp_path: Path) -> str:
    """The report of the tiny model on 60 statements, half of them real, of which it errs on the first of each half."""
    classifier = Classifier.load(tiny_model)
    statements = [Statement(**row, register="wire") for row in tiny_rows(60, seed=9)]
    statements = [replace(each, source="news" if index >= 30 else None) for index, each in enumerate(statements)]
    answers = predict(classifier, {each.id: each.text for each in statements})
    for index, text in ((0, "composed | words"), (30, SECRET)):
        wrong = next(label for label in classifier.labels if label != answers[index].label)
        statements[index] = replace(statements[index], label=wrong, act=None, text=text)
    manifest = replace(read_manifest(tiny_model), metrics=evaluate(classifier, statements, answers))
    version_report(manifest, statements, answers, [2.0, 1.5, 1.0], 4.0, tmp_path / "report")
    return (tmp_path / "report" / "README.md").read_text(encoding="utf-8")


def test_report_shows_the_plots_that_lie_beside_it(report: str, tmp_path: Path) -> None:
    shown = set(re.findall(r"\]\((\w+\.svg)\)", report))
    assert shown == {"confusion.svg", "reliability.svg", "risk.svg", "losses.svg"}
    for name in shown:
        assert ElementTree.parse(tmp_path / "report" / name).getroot().tag.endswith("svg")


def test_errors_quote_composed_statements_and_never_real_ones(report: str) -> None:
    assert "composed \\| words" in report
    assert SECRET not in report
    assert "| tiny-9-030 | real, news |" in report


def test_errors_come_the_surest_first(report: str) -> None:
    section = report.split("most confident errors")[1].split("## Speed")[0]
    confidences = [float(value) for value in re.findall(r"^\| (\d\.\d\d) \|", section, flags=re.MULTILINE)]
    assert len(confidences) >= 2
    assert confidences == sorted(confidences, reverse=True)


def test_kinds_of_few_statements_are_left_out_and_speed_is_given(report: str) -> None:
    assert "| register | wire | 60 |" in report
    assert "| source | news | 30 |" in report
    assert "\n| act |" not in report  # fewer than twenty of each
    assert "15 statements a second" in report


def test_report_of_a_fit_lies_in_its_folder_and_is_covered_by_the_manifest(tiny_model: Path) -> None:
    assert (tiny_model / "report" / "README.md").is_file()
    assert {"report/README.md", "report/risk.svg"} <= read_manifest(tiny_model).files.keys()


def test_evaluation_takes_answers_that_are_at_hand(tiny_model: Path) -> None:
    classifier = Classifier.load(tiny_model)
    statements = [Statement(**row) for row in tiny_rows(8, seed=4)]
    sure = Prediction("none", 1.0, False, {label: float(label == "none") for label in classifier.labels}, ["none"], 1)
    assert evaluate(classifier, statements, [sure] * 8)["accuracy"] == 0.25


def test_losses_of_a_short_and_of_a_long_run_are_drawn(tmp_path: Path) -> None:
    for steps in (1, 5000):
        plot_losses(np.linspace(2, 1, steps).tolist(), tmp_path / "losses.svg")
        assert (tmp_path / "losses.svg").stat().st_size < 60_000
