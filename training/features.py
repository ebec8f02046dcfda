"""What the encoder of a shipped version makes of texts, computed once: mean-pooled features, kept in a cache folder.

A text is known by the digest of its words and an encoder by the digest of all but its head, so that versions that were
refitted from one another share what was computed, and a changed text is computed anew.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from tqdm import tqdm

from model.artifact import Manifest, read_manifest, verify_files
from model.classifier import TOKENIZER, Classifier, Prediction, answer
from model.errors import UnclassifiableTextError
from model.labels import text_digest
from model.processor import session_options
from training.corpus import Statement
from training.errors import CorpusError, NetworkError
from training.head import Head, encoder_digest, feature_network, find_head, read_network
from training.progress import Progress

__all__ = ["Features", "ShippedEncoder"]

Floats = npt.NDArray[np.floating[Any]]

# Texts read between two savings: a run that is killed loses at most these.
_CHUNK = 1024
_PROGRESS_FROM = 2048


@dataclass(frozen=True)
class Features:
    """What an encoder makes of one text.

    Attributes:
        rows: float32, one for each window of the text, shape (windows, width).
        lengths: of the windows, in tokens.
    """

    rows: Floats
    lengths: tuple[int, ...]


@dataclass(frozen=True)
class ShippedEncoder:
    """A version as it is served, opened so that its features can be read before its head.

    Attributes:
        folder: of the version.
        manifest: of it.
        network: its graph; weights in other files stay there.
        head: its last layer.
    """

    folder: Path
    manifest: Manifest
    network: onnx.ModelProto
    head: Head

    @classmethod
    def open(cls, folder: Path) -> "ShippedEncoder":
        """Verify and open a version.

        Raises:
            ArtifactError: the folder is incomplete or altered.
            NetworkError: its network has no head that can be told from the rest.
        """
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        network = read_network(folder)
        return cls(folder, manifest, network, find_head(network, folder, manifest))

    @cached_property
    def digest(self) -> str:
        """What tells this encoder from every other, whatever its head."""
        return encoder_digest(self.network, self.head, self.manifest)

    def answers(self, features: Iterable[Features]) -> list[Prediction]:
        """Return what the version answers to the texts whose features these are."""
        return [answer(self.manifest, each.lengths, self.head.logits(each.rows)) for each in features]

    def read(self, statements: Sequence[Statement], cache: Path, progress: Progress | None = None) -> list[Features]:
        """Return the features of statements; what the cache lacks is computed and added to it.

        Args:
            statements: to read; two of the same text have the same features.
            cache: folder, made where it is not there.
            progress: to note in how many are read.

        Raises:
            CorpusError: a text cannot be classified.
        """
        path = cache / f"{self.digest}.safetensors"
        known = _load(path)
        digests = [text_digest(each.text) for each in statements]
        new = {digest: each for digest, each in zip(digests, statements, strict=True) if digest not in known}
        if new:
            self._compute(new, known, path, progress or Progress())
        return [known[digest] for digest in digests]

    def _compute(
        self, new: Mapping[str, Statement], known: dict[str, Features], path: Path, progress: Progress
    ) -> None:
        """Add the features of new texts, by digest, to those known and to their file."""
        reader = _Reader.over(self)
        digests = list(new)
        progress.report(0, len(new))
        with tqdm(total=len(new), unit=" statements", desc="reading", disable=len(new) <= _PROGRESS_FROM) as bar:
            for start in range(0, len(digests), _CHUNK):
                chunk = digests[start : start + _CHUNK]
                known |= zip(chunk, reader.features([new[digest] for digest in chunk]), strict=True)
                _save(path, known)
                bar.update(len(chunk))
                progress.report(start + len(chunk), len(new))


class _Reader(Classifier):
    """A classifier whose network ends before its head."""

    @classmethod
    def over(cls, encoder: ShippedEncoder) -> "_Reader":
        options = session_options()
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(encoder.folder.resolve())
        )
        try:
            session = onnxruntime.InferenceSession(
                feature_network(encoder.network, encoder.head), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises bare Exception subclasses of its own
            raise NetworkError(f"the network of {encoder.folder} cannot be run up to its head: {error}") from error
        reader = cls(encoder.manifest, Tokenizer.from_file(str(encoder.folder / TOKENIZER)), session)
        reader._outputs = [encoder.head.features]
        reader._width = encoder.head.weight.shape[1]
        return reader

    def features(self, statements: Sequence[Statement]) -> list[Features]:
        windows = [self._windows(each) for each in statements]
        rows = self.run([window for each in windows for window in each])  # (windows of all texts, width)
        ends = np.cumsum([len(each) for each in windows])
        return [
            Features(part, tuple(len(window) for window in each))
            for part, each in zip(np.split(rows, ends[:-1]), windows, strict=True)
        ]

    def _windows(self, statement: Statement) -> Sequence[npt.NDArray[np.int64]]:
        try:
            return self._encode(statement.text).windows
        except UnclassifiableTextError as error:
            raise CorpusError(f"{statement.id!r} cannot be classified: {error}") from error


def _load(path: Path) -> dict[str, Features]:
    try:
        tensors = load_file(path)
    except (FileNotFoundError, SafetensorError):  # a cache: what cannot be read is computed anew and written over
        return {}
    ends = np.cumsum(tensors["windows"])[:-1]
    parts = zip(np.split(tensors["features"], ends), np.split(tensors["lengths"], ends), strict=True)
    digests = (digest.tobytes().hex() for digest in tensors["digests"])
    return {
        digest: Features(rows, tuple(lengths.tolist())) for digest, (rows, lengths) in zip(digests, parts, strict=True)
    }


def _save(path: Path, known: Mapping[str, Features]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    save_file(
        {
            "digests": np.array([list(bytes.fromhex(digest)) for digest in known], dtype=np.uint8),
            "windows": np.array([len(each.lengths) for each in known.values()]),
            "lengths": np.concatenate([each.lengths for each in known.values()]),
            "features": np.concatenate([each.rows for each in known.values()]),
        },
        unfinished,
    )
    os.replace(unfinished, path)
