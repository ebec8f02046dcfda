import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.compare import compare, comparison_table, group_gain, whole_groups
from training.corpus import Statement

LABELS = ("a", "b")
GOLD = np.array([0] * 50 + [1] * 50)


def _wrong_on(*rows: int) -> np.ndarray:
    said = GOLD.copy()
    said[list(rows)] = 1 - said[list(rows)]
    return said


def test_better_version_is_ahead_by_more_than_chance() -> None:
    found = compare(_wrong_on(*range(40, 60)), _wrong_on(59), GOLD, LABELS)
    assert found.statements == 100
    assert found.accuracy == (0.8, 0.99)
    assert found.recall == {"a": (0.8, 1.0), "b": (0.8, 0.98)}
    assert found.only_right == (0, 19)
    assert found.p_value == pytest.approx(2 / 2**19)
    low, high = found.accuracy_gain
    assert 0.1 < low < 0.19 < high < 0.3
    low, high = found.macro_f1_gain
    assert 0.1 < low < found.macro_f1[1] - found.macro_f1[0] < high < 0.3


def test_versions_that_err_on_other_statements_equally_often_are_alike() -> None:
    found = compare(_wrong_on(*range(10)), _wrong_on(*range(20, 30)), GOLD, LABELS)
    assert found.only_right == (10, 10)
    assert found.p_value == 1.0
    assert found.accuracy_gain[0] < 0 < found.accuracy_gain[1]


def test_fall_of_a_recall_comes_with_its_interval() -> None:
    found = compare(_wrong_on(), _wrong_on(*range(20)), GOLD, LABELS)
    low, high = found.recall_gain["a"]
    assert -0.6 < low < -0.4 < high < -0.2
    assert found.recall_gain["b"] == (0.0, 0.0)


def test_gain_in_whole_groups_is_that_of_groups_and_not_of_statements() -> None:
    statements = [Statement(str(place), "t", "a", group=f"g{place // 2}") for place in range(80)]
    every, none = np.ones(80, dtype=bool), np.zeros(80, dtype=bool)
    half = np.arange(80) % 2 == 0  # one of each pair: no group is whole
    assert group_gain(statements, every, half) == group_gain(statements, every, none) == (-1.0, -1.0)
    some = np.arange(80) < 40
    low, high = group_gain(statements, every, some)
    assert -0.7 < low < -0.5 < high < -0.3
    assert group_gain(statements, some, some) == (0.0, 0.0)


def test_version_against_itself_gains_nothing() -> None:
    found = compare(_wrong_on(3), _wrong_on(3), GOLD, LABELS)
    assert found.only_right == (0, 0)
    assert found.p_value == 1.0
    assert found.accuracy_gain == found.macro_f1_gain == (0.0, 0.0)


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=40))
def test_swapping_the_versions_swaps_the_pairs(rows: list[tuple[int, int, int]]) -> None:
    gold, one, other = np.array(rows).T
    there, back = (compare(first, second, gold, ("a", "b", "c")) for first, second in ((one, other), (other, one)))
    assert there.accuracy == back.accuracy[::-1]
    assert there.macro_f1 == pytest.approx(back.macro_f1[::-1])
    assert there.p_value == pytest.approx(back.p_value)
    assert there.only_right == back.only_right[::-1]
    assert there.recall.keys() == back.recall.keys()


def test_only_groups_of_two_and_more_are_counted_and_one_miss_spoils_one() -> None:
    groups = ["g1", "g1", "g2", "g2", "g3", None]
    statements = [Statement(str(row), "text", "a", group=group) for row, group in enumerate(groups)]
    assert whole_groups(statements, np.array([True, True, True, False, True, True])) == (1, 2)


def test_table_says_what_was_found() -> None:
    found = compare(_wrong_on(*range(40, 60)), _wrong_on(59), GOLD, LABELS)
    shown = comparison_table(found, ("v1", "v2"), [(1, 4), (3, 4)])
    assert "100 statements that neither version was trained or calibrated on" in shown
    assert "| | v1 | v2 | gain, 95% interval |" in shown
    assert "| accuracy | 0.800 | 0.990 | +0.190 [+0.1" in shown
    assert "| recall of b | 0.800 | 0.980 | +0.180 |" in shown
    assert "| right where the other is wrong | 0 | 19 | McNemar's p 3.81e-06 |" in shown
    assert "| contrast groups with every member right | 1 of 4 | 3 of 4 | |" in shown
