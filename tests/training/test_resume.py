import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from model.artifact import read_manifest
from model.classifier import Classifier
from model.errors import ArtifactError
from training.__main__ import main
from training.checkpoint import CHECKPOINT

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0


def _kill_after_a_checkpoint(command: list[str], out: Path) -> int:
    """Start `command`, kill it when it has written a checkpoint, and return its exit status."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not (out / CHECKPOINT).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        process.communicate()
    return process.returncode


def _step_of_the_checkpoint(out: Path) -> int:
    with safe_open(out / CHECKPOINT, framework="pt") as stream:
        step: int = json.loads(stream.metadata()["position"])["step"]
    return step


def test_killed_run_is_refused_and_the_same_command_completes_it(
    tiny_base: Path, tiny_corpus: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    places = ["--data", str(tiny_corpus), "--out", str(out), "--base", str(tiny_base), "--version", "tiny-1"]
    options = ["--epochs", "12", "--batch-size", "16", "--learning-rate", "0.003", "--checkpoint-every-s", "0"]
    command = [sys.executable, "-m", "training", "fit", *places, *options]

    assert _kill_after_a_checkpoint(command, out) == -signal.SIGKILL
    steps = 12 * -(-read_manifest(tiny_model).data["splits"]["train"]["statements"] // 16)
    assert 1 <= (killed_at := _step_of_the_checkpoint(out)) < steps
    with pytest.raises(ArtifactError, match=r"is not a complete model: .* run it again with the same --out to go on"):
        Classifier.load(out)
    assert main(["evaluate", "--model", str(out), "--data", str(tiny_corpus)]) == 1
    assert "is not a complete model" in capsys.readouterr().err

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    began_at = re.search(r"training: .*? (\d+)/\d+ ", done.stderr)
    assert began_at is not None
    assert (killed_at - 1) * 16 < int(began_at[1]) <= killed_at * 16
    assert not (out / CHECKPOINT).exists()

    # What was never killed, in one process, has the same weights and the same answers.
    weights = [(folder / "transformer" / "model.safetensors").read_bytes() for folder in (out, tiny_model)]
    assert weights[0] == weights[1]
    one, other = (read_manifest(folder) for folder in (out, tiny_model))
    assert one.files["model.onnx"] == other.files["model.onnx"]
    assert (one.temperature, one.threshold, one.metrics) == (other.temperature, other.threshold, other.metrics)
    assert main(["evaluate", "--model", str(out), "--data", str(tiny_corpus)]) == 0
