import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.similarity import connected_groups, near_duplicates

WORDS = st.lists(st.sampled_from("abcd"), min_size=0, max_size=8)


def _triples(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + 3]) for start in range(len(words) - 2)}


def test_overlap_is_the_share_of_common_word_triples() -> None:
    # Triples: abc bcd cde / abc bcd cdx / pqr; two in common of four in all.
    texts = ["a b c d e", "a b c d x", "p q r"]
    assert near_duplicates(texts, 0.5) == [(0, 1, 0.5)]
    assert near_duplicates(texts, 0.51) == []


def test_case_and_punctuation_do_not_hide_a_duplicate() -> None:
    assert near_duplicates(["Stop, or we fire!", "unlike", "stop or we FIRE"], 1.0) == [(0, 2, 1.0)]


def test_texts_of_fewer_than_three_words_pair_with_nothing() -> None:
    assert near_duplicates(["one two", "one two", "one two three", ""], 0.1) == []
    assert near_duplicates(["one two", "one two"], 0.1) == []
    assert near_duplicates([], 0.5) == []


@given(st.lists(WORDS, max_size=6), st.sampled_from([0.2, 0.5, 1.0]))
def test_pairs_are_those_that_counting_one_by_one_finds(texts: list[list[str]], threshold: float) -> None:
    expected = {}
    for (i, one), (j, other) in combinations(enumerate(map(_triples, texts)), 2):
        if one & other and len(one & other) / len(one | other) >= threshold:
            expected[i, j] = len(one & other) / len(one | other)
    found = near_duplicates([" ".join(words) for words in texts], threshold)
    assert {(i, j): overlap for i, j, overlap in found} == pytest.approx(expected)


def test_groups_join_whatever_a_chain_of_pairs_ties() -> None:
    groups = connected_groups(6, [(0, 3), (3, 5), (1, 2)])
    assert groups[0] == groups[3] == groups[5]
    assert groups[1] == groups[2]
    assert len({groups[0], groups[1], groups[4]}) == 3


def test_without_pairs_every_item_is_its_own_group() -> None:
    assert sorted(connected_groups(3, [])) == [0, 1, 2]
    assert connected_groups(0, []) == []


def test_groups_do_not_depend_on_the_direction_of_pairs() -> None:
    pairs = [(i, (i * 7 + 3) % 20) for i in range(12)]
    turned = [(j, i) for i, j in random.Random(1).sample(pairs, len(pairs))]
    one, other = connected_groups(20, pairs), connected_groups(20, turned)
    assert [[a == b for b in one] for a in one] == [[a == b for b in other] for a in other]
