from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from model.classifier import Classifier, Prediction, _unknown_token
from model.labels import LABELS
from model.reading import Reading, reading_rates
from tests.tiny import cue_words

WORDS = [word for label in LABELS for word in cue_words(label)]


@pytest.fixture(scope="module")
def classifier(tiny_model: Path) -> Classifier:
    return Classifier.load(tiny_model, threads=1)


def _read(classifier: Classifier, text: str) -> Reading:
    (answer,) = classifier.classify([text])
    assert isinstance(answer, Prediction)
    assert answer.reading is not None
    return answer.reading


def test_rates_are_of_all_texts_together() -> None:
    rates = reading_rates([Reading(10, 0, 8), Reading(30, 4, 12)])
    assert rates == {"tokens": 20.0, "unknown_tokens": 0.1, "tokens_per_word": 2.0}
    assert reading_rates([]) is None


def test_known_words_are_a_token_each_and_the_special_ones_are_not_counted(classifier: Classifier) -> None:
    assert _read(classifier, " ".join(WORDS[:9])) == Reading(tokens=9, unknown_tokens=0, words=9)


def test_what_the_vocabulary_lacks_is_unknown_or_falls_into_parts(classifier: Classifier) -> None:
    assert _read(classifier, f"{WORDS[0]} Рада 平") == Reading(tokens=3, unknown_tokens=2, words=3)
    assert _read(classifier, f"{WORDS[0]} abcdefgh") == Reading(tokens=9, unknown_tokens=0, words=2)


def test_tokens_that_two_windows_share_count_once(classifier: Classifier) -> None:
    text = " ".join([*WORDS, "平"] * 30)  # three windows or more
    (answer,) = classifier.classify([text])
    assert isinstance(answer, Prediction)
    assert answer.windows >= 3
    count = 30 * (len(WORDS) + 1)
    assert answer.reading == Reading(tokens=count, unknown_tokens=30, words=count)


def test_tokenizer_that_spells_every_word_knows_no_unknown_token() -> None:
    assert _unknown_token(Tokenizer(models.BPE())) is None
    tokenizer = Tokenizer(models.WordPiece({"<unk>": 0, "[UNK]": 1}, unk_token="[UNK]"))
    assert _unknown_token(tokenizer) == 1  # and not the other that looks like one
