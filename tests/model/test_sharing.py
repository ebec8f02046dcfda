"""A network whose weights are shared answers to the last bit as the one that it is a copy of."""

from pathlib import Path

import pytest

from model.artifact import locate_model
from model.classifier import Classifier

TEXTS = [
    "Any aircraft that enters our airspace armed will be shot down.",
    "Both sides should return to the table. " * 60,
]


@pytest.mark.artifact
def test_shared_network_answers_to_the_last_bit_and_maps_its_weights(tmp_path: Path) -> None:
    folder = locate_model("fast")
    alone = Classifier.load(folder, 1).classify(TEXTS)
    assert Classifier.load(folder, 1, tmp_path).classify(TEXTS) == alone
    [made] = tmp_path.glob("*/model.onnx")
    at = made.stat().st_mtime_ns
    second = Classifier.load(folder, 1, tmp_path)
    assert second.classify(TEXTS) == alone
    assert made.stat().st_mtime_ns == at  # made once
    assert str(made.parent / "weights") in Path("/proc/self/maps").read_text()
