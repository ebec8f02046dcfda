import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.calibration import prediction_set, softmax

FINITE = st.floats(-1e4, 1e4, allow_nan=False)
LOGITS = arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 5)), elements=FINITE)
WEIGHTS = arrays(np.float64, st.integers(2, 6), elements=st.floats(0, 1))
TEMPERATURES = st.floats(0.05, 20)


def test_softmax_of_known_logits() -> None:
    logits = np.log(np.array([[1.0, 2.0, 5.0], [4.0, 4.0, 8.0]]))
    assert softmax(logits) == pytest.approx(np.array([[0.125, 0.25, 0.625], [0.25, 0.25, 0.5]]))


def test_temperature_divides_the_logits() -> None:
    assert softmax(np.array([[0.0, math.log(9)]]), 2.0) == pytest.approx(np.array([[0.25, 0.75]]))


def test_biases_are_added_after_the_division() -> None:
    shifted = softmax(np.array([[0.0, math.log(9)]]), 2.0, [math.log(3), 0.0])
    assert shifted == pytest.approx(np.array([[0.5, 0.5]]))


def test_huge_logits_stay_finite() -> None:
    assert softmax(np.array([[1e30, -1e30]])).tolist() == [[1.0, 0.0]]


def test_float32_logits_give_float64_probabilities() -> None:
    assert softmax(np.zeros((1, 4), dtype=np.float32)).dtype == np.float64


@given(LOGITS, TEMPERATURES)
def test_probabilities_sum_to_one_and_keep_the_likeliest(logits: np.ndarray, temperature: float) -> None:
    probabilities = softmax(logits, temperature)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(logits)))
    assert (probabilities >= 0).all()
    best = logits.argmax(axis=1)
    assert (probabilities[np.arange(len(logits)), best] == probabilities.max(axis=1)).all()


@given(LOGITS, FINITE)
def test_adding_a_constant_to_all_logits_changes_nothing(logits: np.ndarray, constant: float) -> None:
    assert softmax(logits + constant) == pytest.approx(softmax(logits), abs=1e-9)


@given(LOGITS, TEMPERATURES, TEMPERATURES)
def test_higher_temperature_is_never_more_confident(logits: np.ndarray, one: float, other: float) -> None:
    cold, warm = (softmax(logits, temperature).max(axis=1) for temperature in sorted((one, other)))
    assert (warm <= cold + 1e-12).all()


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.0, [2, 0, 1, 3]), (0.2, [2, 0, 1]), (0.21, [2]), (0.55, [2]), (1.0, [2])]
)
def test_prediction_set_of_known_probabilities(threshold: float, expected: list[int]) -> None:
    assert prediction_set(np.array([0.2, 0.2, 0.55, 0.05]), threshold) == expected


@given(WEIGHTS, st.floats(0, 1))
def test_prediction_set_holds_the_likeliest_and_all_at_the_threshold(weights: np.ndarray, threshold: float) -> None:
    chosen = prediction_set(weights, threshold)
    assert weights[chosen[0]] == weights.max()
    assert [weights[index] for index in chosen] == sorted((weights[index] for index in chosen), reverse=True)
    assert set(chosen) >= set(np.flatnonzero(weights >= threshold).tolist())
    assert all(weights[index] >= threshold for index in chosen[1:])


@given(WEIGHTS, st.floats(0, 1), st.floats(0, 1))
def test_lower_threshold_never_drops_a_label(weights: np.ndarray, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert set(prediction_set(weights, high)) <= set(prediction_set(weights, low))
