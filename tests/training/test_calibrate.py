import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.calibration import prediction_set, softmax
from training.calibrate import (
    abstention_threshold,
    fit_calibration,
    label_weights,
    negative_log_likelihood,
    set_threshold,
)

SEEDS = st.integers(0, 2**32 - 1)


def _answers(confidence: list[float], right: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of two labels, the first always the likelier, and gold labels."""
    return np.array([[value, 1 - value] for value in confidence]), 1 - np.array(right)


def _drawn(seed: int, count: int, levels: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of three labels and gold labels; few `levels` make many equal confidences."""
    generator = np.random.default_rng(seed)
    weights = generator.integers(1, levels + 1, size=(count, 3)).astype(float)
    return weights / weights.sum(axis=1, keepdims=True), generator.integers(0, 3, size=count)


def test_likelihood_of_known_probabilities() -> None:
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8]])
    assert negative_log_likelihood(probabilities, np.array([0, 1])) == pytest.approx((math.log(2) - math.log(0.8)) / 2)


def test_likelihood_of_an_impossible_label_is_finite() -> None:
    assert negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-math.log(1e-12))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_temperature_and_biases_that_made_the_labels_are_found(temperature: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(20_000, 4)) * 2
    made = np.array([0.6, -0.6, 0.3, -0.3])
    gold = (logits / temperature + made + generator.gumbel(size=logits.shape)).argmax(axis=1)  # draws from the softmax
    fitted, biases = fit_calibration(logits, gold)
    assert fitted == pytest.approx(temperature, rel=0.05)
    assert biases == pytest.approx(made, abs=0.1)


def test_temperature_undoes_a_scaling_of_the_logits() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(500, 3)) * 2
    gold = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    (one, biases), (three, others) = fit_calibration(logits, gold), fit_calibration(logits * 3, gold)
    assert three == pytest.approx(3 * one, rel=1e-2)
    assert others == pytest.approx(biases, abs=1e-2)


def test_temperature_stays_within_its_bounds_and_few_statements_move_no_bias_far() -> None:
    logits = np.array([[0.1, 0.0], [0.0, 0.1]])
    for gold in (np.array([0, 1]), np.array([1, 0])):
        temperature, biases = fit_calibration(logits, gold)
        assert 0.05 <= temperature <= 20 * (1 + 1e-9)
        assert biases == pytest.approx([0.0, 0.0], abs=0.05)
    temperature, biases = fit_calibration(np.zeros((2, 3)), np.array([0, 0]))
    assert max(abs(bias) for bias in biases) < 0.2


@settings(max_examples=50)
@given(SEEDS)
def test_no_other_temperature_is_likelier(seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(40, 3)) * generator.uniform(0.5, 5)
    gold = generator.integers(0, 3, size=40)
    temperature, biases = fit_calibration(logits, gold)
    penalty = 10 * sum(bias**2 for bias in biases) / 40
    fitted = negative_log_likelihood(softmax(logits, temperature, biases), gold) + penalty
    others = [
        negative_log_likelihood(softmax(logits, other, biases), gold) + penalty for other in np.geomspace(0.05, 20, 60)
    ]
    assert fitted <= min(others) + 1e-3


def test_weights_of_labels_make_up_for_their_mix() -> None:
    gold = np.array([0] * 6 + [1] * 2 + [3] * 1)
    weights = label_weights(gold, "uniform")
    assert weights.mean() == pytest.approx(1.0)
    assert [weights[gold == label].sum() for label in (0, 1, 3)] == pytest.approx([3.0, 3.0, 3.0])
    assert label_weights(gold, "data").tolist() == [1.0] * 9


def test_weighted_calibration_is_that_of_the_other_mix() -> None:
    # One text for all: nothing can be learnt but how common the labels are, and under `uniform` they are alike.
    gold = np.array([0] * 9000 + [1] * 1000)
    logits = np.zeros((10_000, 2))
    assert softmax(logits[:1], *fit_calibration(logits, gold))[0] == pytest.approx([0.9, 0.1], abs=0.01)
    fitted = fit_calibration(logits, gold, label_weights(gold, "uniform"))
    assert softmax(logits[:1], *fitted)[0] == pytest.approx([0.5, 0.5], abs=0.01)


@pytest.mark.parametrize(
    ("max_error_rate", "expected"),
    [
        (0.0, 0.8),  # the two surest are right
        (0.25, 0.6),  # one wrong of four
        (0.33, 0.6),  # one of four, but two of five
        (0.4, 0.0),  # two of five are all
        (1.0, 0.0),
    ],
)
def test_abstention_threshold_of_known_answers(max_error_rate: float, expected: float) -> None:
    probabilities, gold = _answers([0.9, 0.8, 0.7, 0.6, 0.55], [1, 1, 0, 1, 0])
    assert abstention_threshold(probabilities, gold, max_error_rate) == expected


def test_equal_confidences_are_answered_together_or_not_at_all() -> None:
    # The stable order would put the right one of the three at 0.8 first, but 0.8 answers all three.
    probabilities, gold = _answers([0.9, 0.8, 0.8, 0.8], [1, 1, 0, 0])
    assert abstention_threshold(probabilities, gold, 0.0) == 0.9
    assert abstention_threshold(probabilities, gold, 0.5) == 0.0


def test_there_is_no_threshold_where_the_surest_are_wrong() -> None:
    probabilities, gold = _answers([0.9, 0.8, 0.7], [0, 1, 1])
    assert abstention_threshold(probabilities, gold, 0.3) is None


def test_threshold_passes_over_a_stretch_of_errors_that_later_answers_make_good() -> None:
    probabilities, gold = _answers([0.9, 0.8, 0.7, 0.6], [0, 1, 1, 1])
    assert abstention_threshold(probabilities, gold, 0.25) == 0.0


@given(SEEDS, st.integers(1, 30), st.sampled_from([2, 5, 1000]), st.sampled_from([0.0, 0.1, 0.3, 0.5]))
def test_threshold_is_the_least_that_keeps_the_error_rate(seed: int, count: int, levels: int, rate: float) -> None:
    probabilities, gold = _drawn(seed, count, levels)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != gold
    allowed = [value for value in np.unique(confidence) if wrong[confidence >= value].mean() <= rate]
    threshold = abstention_threshold(probabilities, gold, rate)
    if threshold is None:
        assert allowed == []
    else:
        assert (confidence >= threshold).sum() == (confidence >= min(allowed)).sum()


def test_set_threshold_of_known_probabilities() -> None:
    # Nine statements at a coverage of 0.8: the rank is ceil(10 * 0.8) = 8, the eighth largest of the right labels'.
    probabilities, gold = _answers([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55], [1] * 9)
    assert set_threshold(probabilities, gold, 0.8) == 0.6
    assert set_threshold(probabilities, gold, 0.5) == 0.75


def test_weights_count_as_so_many_statements() -> None:
    probabilities, gold = _answers([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1])
    thrice = np.array([1.0, 1.0, 1.0, 3.0])
    repeated = [0, 1, 2, 3, 3, 3]
    for rate in (0.1, 0.2, 0.3, 0.4):
        assert abstention_threshold(probabilities, gold, rate, thrice) == abstention_threshold(
            probabilities[repeated], gold[repeated], rate
        )
    # Of the weight 1 + 1 + 1 + 3, and 3 for the statement to come, 4.5 are half.
    assert set_threshold(probabilities, np.zeros(4, dtype=int), 0.5, thrice) == 0.6
    assert set_threshold(probabilities, np.zeros(4, dtype=int), 0.9, thrice) == 0.0


def test_too_few_statements_for_a_coverage_leave_every_label_in() -> None:
    probabilities, gold = _answers([0.9] * 8, [1] * 8)
    assert set_threshold(probabilities, gold, 0.9) == 0.0
    assert prediction_set(probabilities[0], 0.0) == [0, 1]


@given(SEEDS, st.integers(1, 60), st.sampled_from([3, 1000]), st.sampled_from([0.5, 0.8, 0.9]))
def test_sets_hold_the_right_label_of_the_statements_they_were_fitted_on(
    seed: int, count: int, levels: int, coverage: float
) -> None:
    probabilities, gold = _drawn(seed, count, levels)
    threshold = set_threshold(probabilities, gold, coverage)
    held = [right in prediction_set(row, threshold) for row, right in zip(probabilities, gold, strict=True)]
    assert np.mean(held) >= coverage


@given(SEEDS, st.integers(20, 60))
def test_set_threshold_is_no_lower_than_it_must_be(seed: int, count: int) -> None:
    probabilities, gold = _drawn(seed, count)
    of_gold = probabilities[np.arange(count), gold]
    assume(len(np.unique(of_gold)) == count)
    # One statement fewer would fall short of the rank ceil((n + 1) * coverage).
    assert (of_gold >= set_threshold(probabilities, gold, 0.8)).sum() == math.ceil((count + 1) * 0.8)


def test_sets_hold_the_right_label_of_new_statements_at_the_coverage() -> None:
    generator = np.random.default_rng(2)
    rates = []
    for _ in range(300):
        logits = generator.normal(size=(60, 4)) * 2
        gold = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
        probabilities = softmax(logits, 0.5)  # overconfident; the sets hold all the same
        threshold = set_threshold(probabilities[:30], gold[:30], 0.9)
        rates.append((probabilities[np.arange(30, 60), gold[30:]] >= threshold).mean())
    assert 0.89 <= np.mean(rates) <= 0.95  # between 0.9 and 0.9 + 1/31, and the noise of 9,000 draws
