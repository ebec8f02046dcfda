from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.classifier import Classifier, Prediction
from model.labels import LABELS
from tests.tiny import cue_words, tiny_rows
from training.corpus import Statement
from training.errors import CorpusError
from training.evaluate import evaluate, table
from training.metrics import score

STATEMENTS = [Statement(**row) for row in tiny_rows(42, seed=7)]
REAL = [replace(each, id=f"r{each.id}", source="wire") for each in STATEMENTS[:14]]


@pytest.fixture(scope="module")
def classifier(tiny_model: Path) -> Classifier:
    return Classifier.load(tiny_model, threads=1)


def test_scores_are_those_of_the_answers_that_are_served(classifier: Classifier) -> None:
    answers = [each for each in classifier.classify([s.text for s in STATEMENTS]) if isinstance(each, Prediction)]
    metrics = evaluate(classifier, STATEMENTS)
    right = [answer.label == each.label for answer, each in zip(answers, STATEMENTS, strict=True)]
    held = [each.label in answer.prediction_set for answer, each in zip(answers, STATEMENTS, strict=True)]
    assert metrics["statements"] == 42
    assert metrics["accuracy"] == round(sum(right) / 42, 4)
    assert metrics["answered"] == round(1 - sum(answer.abstained for answer in answers) / 42, 4)
    assert metrics["set_coverage"] == round(sum(held) / 42, 4)
    assert metrics["set_size"] == round(float(np.mean([len(answer.prediction_set) for answer in answers])), 4)
    assert metrics["confidence"] == round(float(np.mean([answer.confidence for answer in answers])), 4)
    assert metrics["reading"] == {"tokens": 11.0, "unknown_tokens": 0.0, "tokens_per_word": 1.1}  # ten words and a dot
    assert tuple(metrics["per_label"]) == LABELS
    assert metrics["by_origin"] == {}


def test_classifier_has_learnt_and_the_six_mislabelled_statements_are_its_errors(classifier: Classifier) -> None:
    # Every seventh statement has the words of another label; see tests/tiny.py.
    assert evaluate(classifier, STATEMENTS)["accuracy"] == round(36 / 42, 4)


def test_composed_and_real_statements_are_scored_apart(classifier: Classifier) -> None:
    metrics = evaluate(classifier, [*STATEMENTS, *REAL])
    assert metrics["statements"] == 56
    assert {origin: each["statements"] for origin, each in metrics["by_origin"].items()} == {"composed": 42, "real": 14}
    for origin, part in (("composed", STATEMENTS), ("real", REAL)):
        assert metrics["by_origin"][origin]["confusion"] == evaluate(classifier, part)["confusion"]


def test_long_statement_is_measured_whole(classifier: Classifier) -> None:
    text = " ".join(cue_words("none") * 32 + cue_words("deterrent") * 90)
    assert evaluate(classifier, [Statement("long", text, "deterrent")])["accuracy"] == 1.0


def test_no_statement_is_refused(classifier: Classifier) -> None:
    with pytest.raises(CorpusError, match="expected at least one statement to measure on, came none"):
        evaluate(classifier, [])


def test_statement_that_cannot_be_classified_is_named(classifier: Classifier) -> None:
    with pytest.raises(CorpusError, match="'bad' cannot be classified: expected at most 20,000 characters"):
        evaluate(classifier, [*STATEMENTS, Statement("bad", "a " * 10_001, "none")])


def test_table_of_known_scores() -> None:
    gold = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8], [0.2, 0.8]])
    metrics = score(probabilities, gold, ("yes", "no"), threshold=0.7)
    metrics |= {"accuracy_95": [0.25, 1.0], "macro_f1_95": [0.2, 1.0]}
    real = score(probabilities[:2], gold[:2], ("yes", "no"), threshold=0.9) | {
        "accuracy_95": [0.0, 1.0],
        "macro_f1_95": [0.0, 1.0],
    }
    assert table(metrics | {"by_origin": {"real": real}}).splitlines() == [
        "| statements | accuracy | macro-F1 | calibration error, balanced | answered | right of these |",
        "| --- | --- | --- | --- | --- | --- |",
        "| all: 4 | 0.750 [0.250, 1.000] | 0.733 [0.200, 1.000] | 0.300, 0.300 | 75% | 1.000 |",
        "| real: 2 | 0.500 [0.000, 1.000] | 0.667 [0.000, 1.000] | 0.400, 0.400 | 0% | none answered |",
        "",
        "| label | precision | recall | F1 | statements |",
        "| --- | --- | --- | --- | --- |",
        "| yes | 1.000 | 0.500 | 0.667 | 2 |",
        "| no | 0.667 | 1.000 | 0.800 | 2 |",
        "",
        "| gold, then said | yes | no |",
        "| --- | --- | --- |",
        "| yes | 1 | 1 |",
        "| no | 0 | 2 |",
    ]
