import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.labels import ABSTENTION_LABEL, ACTS, LABELS, label_of_act, normalise_text, text_digest

SPACES = st.sampled_from([" ", "\n", "\t", "\u00a0", "\u2003", "\r\n", " \n "])


def test_the_label_set_and_its_order_are_fixed() -> None:
    assert LABELS == ("escalatory", "deterrent", "de-escalatory", "none")
    assert ABSTENTION_LABEL == "none"


def test_every_label_has_acts_and_no_act_has_two_labels() -> None:
    assert tuple(ACTS) == LABELS
    acts = [act for of_label in ACTS.values() for act in of_label]
    assert len(acts) == len(set(acts)) == 24


def test_label_follows_from_the_act() -> None:
    assert [label_of_act(act) for act in ("rupture", "stop", "ease", "other")] == list(LABELS)
    assert [label_of_act(act) for act in ("boast", None, 3)] == [None, None, None]


def test_acts_cannot_be_changed() -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        ACTS["none"] = ()  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We  will\tanswer.", "We will answer."),
        ("\n We will answer.\r\n", "We will answer."),
        ("We\u00a0will\u2003answer.", "We will answer."),
        ("Caf\u0065\u0301", "Caf\u00e9"),
        (" \n\t ", ""),
        ("", ""),
        ("Case and \u201cquotes\u201d stay", "Case and \u201cquotes\u201d stay"),
    ],
)
def test_normalising_folds_white_space_and_composes_accents(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


@given(st.text())
def test_normalised_text_stays_as_it_is(text: str) -> None:
    once = normalise_text(text)
    assert normalise_text(once) == once
    assert unicodedata.is_normalized("NFC", once)


def test_digest_is_the_sha256_of_the_normalised_utf8() -> None:
    assert text_digest(" Caf\u0065\u0301  talks ") == hashlib.sha256("Caf\u00e9 talks".encode()).hexdigest()


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1), min_size=1), st.data())
def test_digest_does_not_depend_on_spacing(words: list[str], data: st.DataObject) -> None:
    spaced = "".join(word + data.draw(SPACES) for word in words)
    assert text_digest(spaced) == text_digest(" ".join(words))


def test_digest_tells_different_texts_apart() -> None:
    assert len({text_digest(text) for text in ("We strike.", "we strike.", "We strike", "Westrike.")}) == 4


def test_lone_surrogate_has_a_digest() -> None:
    assert text_digest("\ud800") == hashlib.sha256(b"\xed\xa0\x80").hexdigest()
