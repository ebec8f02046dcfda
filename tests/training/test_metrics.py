import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics import confusion_f1, expected_calibration_error, score

LABELS = ("a", "b", "c")

# Eight statements: said is the largest of the row.
#   gold a a a b b c c c
#   said a a b b c c c a
PROBABILITIES = np.array(
    [
        [0.90, 0.05, 0.05],
        [0.60, 0.30, 0.10],
        [0.30, 0.50, 0.20],
        [0.10, 0.80, 0.10],
        [0.20, 0.30, 0.50],
        [0.00, 0.00, 1.00],
        [0.05, 0.05, 0.90],
        [0.60, 0.00, 0.40],
    ]
)
GOLD = np.array([0, 0, 0, 1, 1, 2, 2, 2])
CONFUSION = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 2]])


def test_scores_of_eight_statements_worked_out_by_hand() -> None:
    scores = score(PROBABILITIES, GOLD, LABELS, threshold=0.6)
    assert scores["statements"] == 8
    assert scores["confusion"] == CONFUSION.tolist()
    assert scores["accuracy"] == 0.625  # 5 of 8
    assert scores["per_label"] == {
        "a": {"precision": 0.6667, "recall": 0.6667, "f1": 0.6667, "statements": 3},  # 2 of 3 said, 2 of 3 gold
        "b": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "statements": 2},
        "c": {"precision": 0.6667, "recall": 0.6667, "f1": 0.6667, "statements": 3},
    }
    assert scores["macro_f1"] == 0.6111  # (2/3 + 1/2 + 2/3) / 3
    assert scores["answered"] == 0.75  # 6 of 8 at 0.6 or above; the two at 0.5 are not
    assert scores["answered_accuracy"] == 0.8333  # 5 of these 6
    # Bins (0.4, 0.5]: |1.0 - 0|; (0.5, 0.6]: |1.2 - 1|; (0.7, 0.8]: |0.8 - 1|; (0.8, 0.9]: |1.8 - 2|; top: 0.
    assert scores["calibration_error"] == 0.2  # (1.0 + 0.2 + 0.2 + 0.2) / 8


def test_scores_can_be_written_as_json() -> None:
    scores = score(PROBABILITIES, GOLD, LABELS, threshold=0.6)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_answer_at_the_threshold_is_answered() -> None:
    assert score(PROBABILITIES, GOLD, LABELS, threshold=1.0)["answered"] == 0.125


def test_where_nothing_is_answered_there_is_no_accuracy_of_it() -> None:
    scores = score(PROBABILITIES[:5], GOLD[:5], LABELS, threshold=0.95)
    assert scores["answered"] == 0.0
    assert scores["answered_accuracy"] is None


def test_macro_f1_leaves_out_labels_without_statements() -> None:
    scores = score(PROBABILITIES[:4], GOLD[:4], LABELS, threshold=0.0)
    assert scores["per_label"]["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "statements": 0}
    # a: 2 said, both right, of 3, F1 0.8; b: 2 said, 1 right, of 1, F1 2/3.
    assert scores["macro_f1"] == 0.7333


def test_perfect_and_wrong_answers() -> None:
    sure = np.eye(3)[GOLD]
    perfect, wrong = (score(each, GOLD, LABELS, 0.5) for each in (sure, np.roll(sure, 1, axis=1)))
    assert (perfect["accuracy"], perfect["macro_f1"], perfect["calibration_error"]) == (1.0, 1.0, 0.0)
    assert perfect["accuracy_95"] == perfect["macro_f1_95"] == [1.0, 1.0]
    assert (wrong["accuracy"], wrong["macro_f1"], wrong["calibration_error"]) == (0.0, 0.0, 1.0)


def test_accuracy_interval_is_that_of_a_binomial() -> None:
    gold = np.zeros(400, dtype=int)
    probabilities = np.tile([[0.9, 0.1]], (400, 1))
    probabilities[:80] = [0.1, 0.9]
    low, high = score(probabilities, gold, ("a", "b"), 0.0)["accuracy_95"]
    # 0.8 plus and minus 1.96 * sqrt(0.8 * 0.2 / 400) = 0.0392
    assert low == pytest.approx(0.7608, abs=0.006)
    assert high == pytest.approx(0.8392, abs=0.006)


def test_interval_is_the_same_in_every_call_and_holds_the_score() -> None:
    one, other = (score(PROBABILITIES, GOLD, LABELS, 0.5) for _ in range(2))
    assert one == other
    for name in ("accuracy", "macro_f1"):
        low, high = one[f"{name}_95"]
        assert low <= one[name] <= high


def test_f1_of_a_confusion_matrix() -> None:
    assert confusion_f1(CONFUSION) == pytest.approx([2 / 3, 0.5, 2 / 3])


def test_f1_of_many_confusion_matrices_at_once() -> None:
    both = confusion_f1(np.stack([CONFUSION, np.diag([5, 0, 1])]))
    assert both.tolist() == pytest.approx(np.array([[2 / 3, 0.5, 2 / 3], [1.0, 0.0, 1.0]]))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_f1_agrees_with_the_per_label_scores(pairs: list[tuple[int, int]]) -> None:
    gold, said = np.array(pairs).T
    scores = score(np.eye(3)[said], gold, LABELS, 0.0)
    expected = [round(float(f1), 4) for f1 in confusion_f1(np.array(scores["confusion"]))]
    assert [each["f1"] for each in scores["per_label"].values()] == expected


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0], 0.0), ([0.9, 0.9], [1, 0], 0.4), ([0.55, 0.95], [0, 1], 0.3)],
)
def test_calibration_error_of_known_confidences(confidence: list[float], right: list[int], expected: float) -> None:
    probabilities = np.array([[value, 1 - value] for value in confidence])
    assert expected_calibration_error(probabilities, 1 - np.array(right)) == pytest.approx(expected)


def test_with_one_bin_the_calibration_error_is_confidence_less_accuracy() -> None:
    # (0.9 + 0.6 + 0.5 + 0.8 + 0.5 + 1.0 + 0.9 + 0.6) / 8 = 0.725, and 5 of 8 are right.
    assert expected_calibration_error(PROBABILITIES, GOLD, bins=1) == pytest.approx(0.1)
