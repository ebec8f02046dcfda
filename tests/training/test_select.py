from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from model.classifier import Prediction
from model.labels import text_digest
from tests.tiny import tiny_rows, write_rows
from training.errors import CorpusError
from training.select import Pick, label_shares, read_pool, reason_row, select

TEXTS = [row["text"] for row in tiny_rows(400)]
SHARES = {"a": 0.75, "b": 0.25, "c": 0.0}


def _probabilities(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet([0.3, 0.3, 1.0], size=len(TEXTS))


def test_picks_are_likely_doubtful_and_random_in_their_shares() -> None:
    picks = select(TEXTS, _probabilities(), SHARES, 100, seed=1)
    counts = Counter((pick.reason, pick.label) for pick in picks)
    # Half of 100 in the shares of the labels (38 and 12), 35 doubtful, the rest at random.
    assert counts == {("likely", "a"): 38, ("likely", "b"): 12, ("doubtful", None): 35, ("random", None): 15}
    assert len({pick.index for pick in picks}) == 100


def test_likely_picks_are_the_likeliest_and_doubtful_ones_have_the_least_margin() -> None:
    probabilities = _probabilities()
    picks = select(TEXTS, probabilities, SHARES, 100, seed=1)
    likely = [pick.index for pick in picks if pick.label == "a"]
    rest = [index for index in range(len(TEXTS)) if index not in {pick.index for pick in picks}]
    assert probabilities[likely, 0].min() >= probabilities[rest, 0].max()
    margin = np.diff(np.sort(probabilities, axis=1)[:, 1:], axis=1)[:, 0]
    doubtful = [pick.index for pick in picks if pick.reason == "doubtful"]
    assert margin[doubtful].max() <= margin[rest].min()


def test_order_gives_no_reason_away() -> None:
    reasons = [pick.reason for pick in select(TEXTS, _probabilities(), SHARES, 100, seed=1)]
    assert len(set(reasons[:20])) > 1
    assert len(set(reasons[-20:])) > 1


def test_seed_decides_what_is_random() -> None:
    first, again, other = (select(TEXTS, _probabilities(), SHARES, 60, seed) for seed in (1, 1, 2))
    assert first == again
    drawn = [{pick.index for pick in picks if pick.reason == "random"} for picks in (first, other)]
    assert drawn[0] != drawn[1]


def test_near_duplicates_are_picked_once() -> None:
    copies = [f"{TEXTS[0][:-1]} once more {number}." for number in range(50)]
    picks = select([*TEXTS[:20], *copies], _probabilities()[:70], SHARES, 40, seed=1)
    chosen = [pick.index for pick in picks]
    assert len([index for index in chosen if index == 0 or index >= 20]) == 1
    assert len(chosen) == 20


def test_pool_that_is_smaller_than_the_round_is_taken_whole() -> None:
    assert sorted(pick.index for pick in select(TEXTS[:30], _probabilities()[:30], SHARES, 100, 1)) == list(range(30))


def test_label_shares_follow_what_each_label_lacks() -> None:
    shares = label_shares({"escalatory": 100, "deterrent": 300, "none": 500})
    assert shares == pytest.approx({"escalatory": 400 / 600, "deterrent": 200 / 600, "none": 0.0})
    assert sum(label_shares({"a": 7, "b": 7}).values()) == 1.0
    assert label_shares({"a": 7, "b": 7}) == {"a": 0.5, "b": 0.5}


def test_pool_keeps_its_fields_and_loses_what_was_labelled_or_comes_twice(tmp_path: Path) -> None:
    rows = [{"text": "One  text.", "source": "s"}, {"text": "Two."}, {"text": "Three."}, {"text": "One text."}]
    pool = write_rows(tmp_path / "pool.jsonl", rows)
    pointers = write_rows(tmp_path / "pointers.jsonl", [{"sha256": text_digest("Two.")}])
    statements = write_rows(tmp_path / "statements.jsonl", [{"text": "Three.", "label": "none"}])
    expected = {"id": f"r{text_digest('One text.')[:12]}", "text": "One text.", "source": "s"}
    assert read_pool([pool], [pointers, statements]) == [expected]


def test_pool_keeps_the_ids_that_it_has(tmp_path: Path) -> None:
    assert read_pool([write_rows(tmp_path / "p.jsonl", [{"id": "x1", "text": "t"}])])[0]["id"] == "x1"


@pytest.mark.parametrize("row", [{}, {"text": " "}, {"text": 3}])
def test_row_of_a_pool_without_text_is_refused(tmp_path: Path, row: dict[str, object]) -> None:
    with pytest.raises(CorpusError, match=r"p\.jsonl:1: expected 'text' to be a string with something in it"):
        read_pool([write_rows(tmp_path / "p.jsonl", [row])])


def test_id_of_two_texts_is_refused(tmp_path: Path) -> None:
    rows = [{"id": "x1", "text": "one"}, {"id": "x1", "text": "two"}]
    with pytest.raises(CorpusError, match=r"p\.jsonl:2: the id 'x1' was used before, for another text"):
        read_pool([write_rows(tmp_path / "p.jsonl", rows)])


@pytest.mark.parametrize("count", [0, -5])
def test_round_of_nothing_is_refused(count: int) -> None:
    with pytest.raises(CorpusError, match=f"expected to choose one statement or more, came a count of {count}"):
        select(TEXTS, _probabilities(), SHARES, count, 1)


def test_labelled_row_without_text_or_hash_is_refused(tmp_path: Path) -> None:
    pool = write_rows(tmp_path / "p.jsonl", [{"text": "t"}])
    with pytest.raises(CorpusError, match=r"l\.jsonl:1: expected a labelled statement with 'text', or a pointer"):
        read_pool([pool], [write_rows(tmp_path / "l.jsonl", [{"id": "1"}])])


def test_reason_row_says_why_and_with_which_probabilities() -> None:
    prediction = Prediction("a", 0.61234, True, {"a": 0.61234, "b": 0.38766}, ["a"], 1)
    assert reason_row(Pick(0, "likely", "a"), {"id": "x", "text": "t"}, prediction) == {
        "id": "x",
        "reason": "likely",
        "likely_label": "a",
        "probabilities": {"a": 0.6123, "b": 0.3877},
    }
