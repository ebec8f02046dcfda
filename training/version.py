"""What every way to make a version writes alike: what it was made from, its calibration, its name."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from subprocess import CalledProcessError
from subprocess import run as run_process
from typing import Any

import numpy as np
import numpy.typing as npt

from model.artifact import Manifest
from model.calibration import softmax
from training.calibrate import abstention_threshold, fit_calibration, label_weights, set_threshold
from training.corpus import Statement, fingerprint
from training.split import PARTS, Split

__all__ = ["CARD", "calibrated", "code", "describe_data", "describe_own", "version_name"]

CARD = "README.md"
"""File of a version: its model card."""

Floats = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.integer[Any]]


def version_name(number: str = "1") -> str:
    """Return the name of a version that nobody has named: today's date and `number`."""
    return f"{datetime.now(UTC):%Y-%m-%d}.{number}"


def describe_data(split: Split) -> dict[str, Any]:
    """Return what a manifest says of the statements."""
    parts: dict[str, list[Statement]] = {part: getattr(split, part) for part in PARTS}
    return {
        "fingerprint": fingerprint([each for part in parts.values() for each in part]),
        "splits": {
            name: {
                "fingerprint": fingerprint(part),
                "statements": len(part),
                "labels": dict(sorted(Counter(each.label for each in part).items())),
                "sources": dict(sorted(Counter(each.source or "composed" for each in part).items())),
            }
            for name, part in parts.items()
        },
    }


def describe_own(trained: int, left_out: int, held_out: int) -> dict[str, int]:
    """Return what a manifest says of the users' own statements: how many were trained on, left out, held out."""
    return {"trained": trained, "left_out": left_out, "held_out": held_out}


def code(torch: str | None) -> dict[str, Any]:
    """Return what a manifest says of the program; `torch` is the version that trained the encoder."""
    return {"version": installed_version("brink"), "commit": _commit(), "torch": torch}


def _commit() -> str | None:
    """Return the commit of this checkout, with `-dirty` where it was changed; None outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return run_process(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, CalledProcessError):
        return None


def calibrated(manifest: Manifest, logits: Floats, gold: Indices) -> Manifest:
    """Return a manifest with the temperature, biases and thresholds that fit statements it was not trained on.

    Args:
        manifest: whose settings `label_prior` and `max_error_rate` say what for.
        logits: of the very network that is served, shape (statements, labels).
        gold: indices of the right labels, shape (statements,).
    """
    weights = label_weights(gold, manifest.training["label_prior"])
    temperature, biases = fit_calibration(logits, gold, weights)
    probabilities = softmax(logits, temperature, biases)
    threshold = abstention_threshold(probabilities, gold, manifest.training["max_error_rate"], weights)
    return replace(
        manifest,
        temperature=temperature,
        biases=biases,
        # Where no threshold keeps the error rate, every answer is one for a person to look at.
        threshold=1.0 if threshold is None else threshold,
        set_threshold=set_threshold(probabilities, gold, manifest.set_coverage, weights),
    )
