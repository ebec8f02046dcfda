import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.explanation import MAX_DELETIONS, Deletion, Word, deletions, weigh


def test_each_word_is_left_out_once_with_its_offsets() -> None:
    text = "We don't seek war -- yet."
    assert deletions(text) == [
        Deletion(0, 2, "don't seek war -- yet."),
        Deletion(3, 8, "We seek war -- yet."),
        Deletion(9, 13, "We don't war -- yet."),
        Deletion(14, 17, "We don't seek -- yet."),
        Deletion(21, 24, "We don't seek war -- ."),
    ]


@pytest.mark.parametrize("text", ["", "war", " war! ", "-- ..."])
def test_text_of_one_word_or_none_is_not_taken_apart(text: str) -> None:
    assert deletions(text) == []


@given(st.text(alphabet="ab -.,'\u2019\n", max_size=80))
def test_offsets_are_of_words_and_what_is_left_is_the_rest(text: str) -> None:
    for each in deletions(text):
        word = text[each.start : each.end]
        assert word
        assert not any(letter.isspace() for letter in word)
        # Nothing but the word and white space beside it is gone.
        assert "".join(each.text.split()) == "".join((text[: each.start] + text[each.end :]).split())


@pytest.mark.parametrize("count", [MAX_DELETIONS, MAX_DELETIONS + 1, 3000])
def test_long_text_is_explained_by_runs_of_words(count: int) -> None:
    text = " ".join(f"word{number}" for number in range(count))
    found = deletions(text)
    assert len(found) <= MAX_DELETIONS
    assert " ".join(text[each.start : each.end] for each in found) == text


def test_words_are_given_by_how_much_less_probable_the_label_is_without_them() -> None:
    text = "we will strike"
    we, will, strike = deletions(text)
    left = [(we, {"a": 0.75, "b": 0.25}), (will, {"a": 0.9, "b": 0.1}), (strike, {"a": 0.2, "b": 0.8})]
    found = weigh(text, "a", {"a": 0.8, "b": 0.2}, left)
    assert [(word.text, word.start, word.end) for word in found] == [("strike", 8, 14), ("we", 0, 2)]
    assert [word.weight for word in found] == pytest.approx([0.6, 0.05])


def test_rest_that_cannot_be_classified_is_passed_over() -> None:
    one, other = deletions("a b")
    assert weigh("a b", "x", {"x": 0.5}, [(one, None), (other, {"x": 0.25})]) == [Word(2, 3, "b", 0.25)]
