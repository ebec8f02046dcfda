"""The shipped models are whole, and tell the plain cases of the codebook apart."""

import pytest

from model.artifact import RELEASED, read_manifest, released_names, verify_files
from model.classifier import Classifier, Prediction
from model.labels import LABELS

pytestmark = pytest.mark.artifact

# Written for this test, and plain on purpose: a model that misses one of them is not fit to ship.
PLAIN_CASES = [
    ("If a single warplane enters our airspace, it will be shot down.", "deterrent"),
    ("Any attack on our ally will be met with the full strength of the alliance.", "deterrent"),
    ("Withdraw your troops from the province by midnight or we will bomb the capital.", "escalatory"),
    ("Tomorrow our army will invade and destroy their cities, and nothing will stop us.", "escalatory"),
    ("We call on both sides to agree to an immediate ceasefire and return to negotiations.", "de-escalatory"),
    ("The government has decided to release all prisoners of war and to withdraw its troops.", "de-escalatory"),
    ("Nine rockets hit the town on Monday, and three people were injured, police said.", "none"),
    ("Subscribe to our newsletter and read the best stories of the week.", "none"),
]


def test_the_default_model_is_among_them() -> None:
    assert "fast" in released_names()


@pytest.mark.parametrize("name", released_names())
def test_every_file_is_as_the_manifest_says(name: str) -> None:
    manifest = read_manifest(RELEASED / name)
    verify_files(RELEASED / name, manifest)
    assert manifest.labels == LABELS
    assert {"README.md", "model.onnx", "tokenizer.json"} <= set(manifest.files)


@pytest.mark.parametrize("name", released_names())
def test_no_file_is_too_large_for_a_repository(name: str) -> None:
    assert max(path.stat().st_size for path in (RELEASED / name).rglob("*")) < 95_000_000


@pytest.mark.parametrize("name", released_names())
def test_plain_cases_are_told_apart(name: str) -> None:
    answers = Classifier.load(RELEASED / name).classify([text for text, _ in PLAIN_CASES])
    said = [answer.label if isinstance(answer, Prediction) else answer.code for answer in answers]
    assert said == [label for _, label in PLAIN_CASES]
