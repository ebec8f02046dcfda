import math
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession
from tokenizers import Tokenizer

from model.artifact import MANIFEST, file_digests, read_manifest, write_manifest
from model.classifier import MAX_CHARACTERS, NETWORK, TOKENIZER, Classifier, Prediction, check_text
from model.errors import ArtifactError, UnclassifiableTextError
from model.labels import LABELS
from tests.tiny import cue_words, tiny_rows

# Sums of float32 in another order; the texts beside a text change nothing else.
ROUNDING = 1e-4

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def classifier(tiny_model: Path) -> Classifier:
    return Classifier.load(tiny_model, threads=1)


@pytest.fixture(scope="module")
def doubtful(tiny_model: Path) -> Classifier:
    """The same network under settings with which it abstains from some answers and not from others."""
    manifest = replace(read_manifest(tiny_model), temperature=1.0, threshold=0.75, set_threshold=0.1)
    return Classifier.open(tiny_model, manifest, threads=1)


def _answer(classifier: Classifier, text: str) -> Prediction:
    (answer,) = classifier.classify([text])
    assert isinstance(answer, Prediction)
    return answer


def _code(classifier: Classifier, text: str) -> str:
    (answer,) = classifier.classify([text])
    assert isinstance(answer, UnclassifiableTextError)
    return answer.code


def _words(count: int) -> list[str]:
    """Return words of which each is one token."""
    return random.Random(count).choices([word for label in LABELS for word in cue_words(label)], k=count)


def test_statements_with_a_labels_words_get_that_label(classifier: Classifier) -> None:
    for label in LABELS:
        assert _answer(classifier, " ".join(cue_words(label))).label == label


def test_answer_agrees_with_its_own_probabilities(doubtful: Classifier) -> None:
    mixed = [" ".join(cue_words(one)[:4] + cue_words(other)[:4]) for one in LABELS for other in LABELS]
    answers = doubtful.classify(mixed)
    for answer in answers:
        assert isinstance(answer, Prediction)
        assert tuple(answer.probabilities) == doubtful.labels == LABELS
        assert math.isclose(sum(answer.probabilities.values()), 1.0, abs_tol=1e-9)
        assert answer.confidence == answer.probabilities[answer.label] == max(answer.probabilities.values())
        assert answer.abstained == (answer.confidence < 0.75)
        assert answer.prediction_set[0] == answer.label
        assert set(answer.prediction_set) == {label for label, value in answer.probabilities.items() if value >= 0.1}
        assert answer.windows == 1
    assert {answer.abstained for answer in answers if isinstance(answer, Prediction)} == {True, False}


def test_act_is_the_likeliest_beneath_its_label_whatever_other_labels_acts_are(classifier: Classifier) -> None:
    manifest = replace(classifier.manifest, acts={"a": ["a1", "a2"], "b": [], "c": ["c1", "c2", "c3"]})
    manifest = replace(manifest, labels=("a", "b", "c"), biases=[0.0] * 3)
    outputs = [np.array([[1.0, 2.0, 3.0]]), np.array([[0.5, 0.2, 9.0, 0.1, 0.3, 0.2]])]
    session = cast(InferenceSession, SimpleNamespace(get_inputs=list, run=lambda names, feed: outputs))
    tokenizer = Tokenizer.from_str(classifier._tokenizer.to_str())
    (answer,) = Classifier(manifest, tokenizer, session).classify(["war"])
    assert isinstance(answer, Prediction)
    assert (answer.label, answer.act) == ("c", "c2")
    assert answer.acts == {"a": "a1", "c": "c2"}


def test_network_without_acts_gives_none(tiny_model: Path) -> None:
    for acts in ({}, {label: [] for label in LABELS}):
        manifest = replace(read_manifest(tiny_model), acts=acts)
        answer = _answer(Classifier.open(tiny_model, manifest), "We will answer.")
        assert (answer.acts, answer.act) == ({}, None)


def test_biases_shift_the_answers(tiny_model: Path) -> None:
    manifest = replace(read_manifest(tiny_model), biases=[0.0, 50.0, 0.0, 0.0])
    assert _answer(Classifier.open(tiny_model, manifest), " ".join(cue_words("none"))).label == LABELS[1]


def test_answers_come_in_the_order_asked(classifier: Classifier) -> None:
    texts = [" ".join(cue_words(LABELS[index % 4])[: 3 + index % 5]) for index in range(70)]
    answers = classifier.classify(texts)
    assert [answer.label for answer in answers if isinstance(answer, Prediction)] == [
        LABELS[index % 4] for index in range(70)
    ]


def test_neighbours_do_not_change_an_answer(classifier: Classifier) -> None:
    texts = [row["text"] for row in tiny_rows(8, seed=6)] + [" ".join(_words(300))]
    for text, among in zip(texts, classifier.classify(texts), strict=True):
        alone = _answer(classifier, text)
        assert isinstance(among, Prediction)
        assert list(among.probabilities.values()) == pytest.approx(list(alone.probabilities.values()), abs=ROUNDING)


def test_no_text_gets_no_answer(classifier: Classifier) -> None:
    assert classifier.classify([]) == []


def test_text_that_cannot_be_classified_gets_its_error_in_its_own_place(classifier: Classifier) -> None:
    answers = classifier.classify(["", " ".join(cue_words("none")), "\ud800", " ".join(cue_words("deterrent"))])
    assert [a.label if isinstance(a, Prediction) else a.code for a in answers] == [
        "empty",
        "none",
        "not_unicode",
        "deterrent",
    ]


@pytest.mark.parametrize("text", ["", " ", "\n\t\u00a0\u2003"])
def test_empty_text_is_refused(text: str) -> None:
    with pytest.raises(UnclassifiableTextError, match="came an empty one or only white space") as caught:
        check_text(text)
    assert caught.value.code == "empty"


def test_too_long_text_is_refused_and_the_longest_is_read(classifier: Classifier) -> None:
    longest = ("bcdalo " * MAX_CHARACTERS)[:MAX_CHARACTERS]
    assert _answer(classifier, longest).windows > 1
    with pytest.raises(UnclassifiableTextError, match="at most 20,000 characters, came 20,001; split") as caught:
        check_text(longest + "a")
    assert caught.value.code == "too_long"


def test_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(UnclassifiableTextError, match="lone surrogate at character 3") as caught:
        check_text("We \udc80 warn.")
    assert caught.value.code == "not_unicode"


@pytest.mark.parametrize("text", ["\x00", "\x00\x01\x02", "\u200b\x00"])
def test_text_of_control_characters_alone_is_refused(classifier: Classifier, text: str) -> None:
    assert _code(classifier, text) == "empty"


def test_nul_within_a_text_changes_nothing(classifier: Classifier) -> None:
    text = " ".join(cue_words("deterrent"))
    assert _answer(classifier, text.replace("a ", "\x00a ")) == _answer(classifier, text)


def test_special_tokens_in_a_text_are_answered(classifier: Classifier) -> None:
    text = " ".join(cue_words("escalatory"))
    assert _answer(classifier, f"[CLS] {text} [SEP] [PAD] [MASK] [UNK]").windows == 1


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.text(st.characters(codec=None)), max_size=4))
def test_any_text_gets_an_answer_or_an_error(classifier: Classifier, texts: list[str]) -> None:
    answers = classifier.classify(texts)
    assert len(answers) == len(texts)
    for answer in answers:
        if isinstance(answer, UnclassifiableTextError):
            assert answer.code in {"empty", "not_unicode"}
        else:
            assert math.isclose(sum(answer.probabilities.values()), 1.0, abs_tol=1e-9)


@pytest.mark.parametrize(("words", "windows"), [(1, 1), (254, 1), (255, 2), (476, 2), (477, 3), (1000, 5)])
def test_long_text_is_read_in_overlapping_windows(classifier: Classifier, words: int, windows: int) -> None:
    # A window holds 256 tokens, two of them special, and 32 of them are the last of the window before.
    assert _answer(classifier, " ".join(_words(words))).windows == windows


def test_long_text_is_the_mean_of_its_windows_weighted_by_their_tokens(classifier: Classifier) -> None:
    words = cue_words("escalatory") * 32 + cue_words("deterrent") * 16
    parts = [words[:254], words[222:]]
    probabilities = [list(_answer(classifier, " ".join(part)).probabilities.values()) for part in parts]
    expected = np.average(probabilities, axis=0, weights=[256, 2 + 384 - 222])
    came = list(_answer(classifier, " ".join(words)).probabilities.values())
    assert came == pytest.approx(expected.tolist(), abs=ROUNDING)


def test_end_of_a_long_text_counts(classifier: Classifier) -> None:
    start = cue_words("none") * 32
    one, other = (_answer(classifier, " ".join(start + cue_words(end) * 60)) for end in ("deterrent", "escalatory"))
    assert one.label == "deterrent"
    assert other.label == "escalatory"


def test_logits_are_of_the_first_window(classifier: Classifier) -> None:
    words = _words(600)
    logits = classifier.logits([" ".join(words), " ".join(words[:254])])
    assert logits.shape == (2, 4)
    assert logits[0] == pytest.approx(logits[1], abs=1e-4)


def test_logits_of_an_unclassifiable_text_are_refused(classifier: Classifier) -> None:
    with pytest.raises(UnclassifiableTextError, match="empty"):
        classifier.logits(["bcdalo", " "])


def test_stance_is_the_likeliest_of_the_three_even_where_none_is_likelier(doubtful: Classifier) -> None:
    answer = _answer(doubtful, " ".join(cue_words("none")))
    stance = doubtful.to_stance(answer)
    assert answer.label == "none"
    assert stance.label == max(LABELS[:3], key=answer.probabilities.__getitem__)
    assert stance.confidence == answer.probabilities[stance.label]
    assert stance.abstained
    assert stance == replace(answer, label=stance.label, confidence=stance.confidence, abstained=True)


def test_stance_leaves_a_stance_as_it_is(classifier: Classifier) -> None:
    answer = _answer(classifier, " ".join(cue_words("de-escalatory")))
    assert classifier.to_stance(answer) == answer


def test_threads_share_one_classifier(classifier: Classifier) -> None:
    texts = [" ".join(cue_words(label) * (1 + index)) for index in range(20) for label in LABELS]
    expected = [_answer(classifier, text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda text: _answer(classifier, text), texts)) == expected


def test_incomplete_folder_is_not_loaded(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    (folder / MANIFEST).unlink()
    with pytest.raises(ArtifactError, match="is not a complete model"):
        Classifier.load(folder)


@pytest.mark.parametrize("name", [NETWORK, TOKENIZER])
def test_altered_folder_is_not_loaded(tiny_model: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    with (folder / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(ArtifactError, match=f"{name} was altered"):
        Classifier.load(folder)


@pytest.mark.parametrize("name", [NETWORK, TOKENIZER])
def test_file_that_is_no_network_or_tokenizer_is_refused(tiny_model: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    (folder / name).write_bytes(b"{}")
    write_manifest(folder, replace(read_manifest(folder), files=file_digests(folder)))
    with pytest.raises(ArtifactError, match="copy cannot be loaded: "):
        Classifier.load(folder)


def test_serving_needs_no_training_library(tiny_model: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from model.classifier import Classifier
(answer,) = Classifier.load(Path({str(tiny_model)!r})).classify([{" ".join(cue_words("deterrent"))!r}])
print(answer.label, *sorted({{"torch", "transformers", "datasets", "sklearn", "scipy", "onnx"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode) == (["deterrent"], 0), done.stderr
