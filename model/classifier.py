"""Texts to labels with probabilities, on ONNX Runtime and tokenizers: no torch, no files but one model folder.

Knows nothing of HTTP, queues or training. Thread-safe: one instance may serve several threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import onnxruntime
from tokenizers import Encoding, Tokenizer

from model.artifact import Manifest, read_manifest, verify_files
from model.batches import batches_of
from model.calibration import prediction_set, softmax
from model.errors import ArtifactError, UnclassifiableTextError
from model.labels import ABSTENTION_LABEL
from model.processor import session_options
from model.reading import Reading
from model.sharing import shared_network

__all__ = ["MAX_CHARACTERS", "NETWORK", "TOKENIZER", "Classifier", "Encoded", "Prediction", "answer", "check_text"]

MAX_CHARACTERS = 20_000
"""Longest text that is classified; a longer one is a document, to be split by whoever knows its parts."""

NETWORK = "model.onnx"
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Prediction:
    """The answer for one text.

    Attributes:
        label: the likeliest label; the likeliest stance after `Classifier.to_stance`.
        confidence: probability of that label.
        abstained: the confidence is under the model's threshold: a person should look.
        probabilities: of every label, calibrated, summing to 1.
        prediction_set: labels that cannot be ruled out at the model's coverage, likeliest first.
        windows: into how many parts the text was split to be read.
        acts: the likeliest act beneath each label; a label without acts is not among them.
        reading: how the text looked to the tokenizer; None where nobody counted.
    """

    label: str
    confidence: float
    abstained: bool
    probabilities: dict[str, float]
    prediction_set: list[str]
    windows: int
    acts: dict[str, str] = field(default_factory=dict)
    reading: Reading | None = None

    @property
    def act(self) -> str | None:
        """The likeliest act beneath the label: why it has that label. None for a label without acts."""
        return self.acts.get(self.label)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A text as the network reads it.

    Attributes:
        windows: the token ids of each part into which it was split, shape (tokens,).
        reading: how it looked to the tokenizer.
    """

    windows: tuple[npt.NDArray[np.int64], ...]
    reading: Reading

    @property
    def tokens(self) -> int:
        """Tokens that the network reads: the special ones too, and those that two windows share twice."""
        return sum(len(window) for window in self.windows)


def check_text(text: str) -> None:
    """Check that a text can be classified.

    Raises:
        UnclassifiableTextError: it is empty or only white space, longer than `MAX_CHARACTERS`, or no valid Unicode.
    """
    if len(text) > MAX_CHARACTERS:
        raise UnclassifiableTextError(
            "too_long", f"expected at most {MAX_CHARACTERS:,} characters, came {len(text):,}; split the text."
        )
    if not text.strip():
        raise UnclassifiableTextError("empty", "expected a text, came an empty one or only white space.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UnclassifiableTextError(
            "not_unicode", f"expected valid Unicode, came a lone surrogate at character {error.start}; encode it anew."
        ) from None


class Classifier:
    """A loaded model folder."""

    def __init__(self, manifest: Manifest, tokenizer: Tokenizer, session: onnxruntime.InferenceSession) -> None:
        self.manifest = manifest
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest.max_tokens, stride=manifest.window_overlap_tokens)
        self._unknown = _unknown_token(tokenizer)
        self._session = session
        self._inputs = {each.name for each in session.get_inputs()}
        self._outputs = ["logits", "act_logits"] if manifest.acts else ["logits"]
        self._width = len(manifest.labels) + sum(len(acts) or 1 for acts in manifest.acts.values())

    @classmethod
    def load(cls, folder: Path, threads: int = 0, shared: Path | None = None) -> Self:
        """Verify and load a model folder.

        Args:
            folder: as `training` writes it.
            threads: of the engine for one batch; 0 takes every processor that this process may use.
            shared: folder through which several processes of this machine hold the weights in memory once.

        Raises:
            ArtifactError: the folder is incomplete, altered or cannot be loaded.
        """
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        return cls.open(folder, manifest, threads, shared)

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, threads: int = 0, shared: Path | None = None) -> Self:
        """Load the files of a folder under a manifest that need not stand in it yet; see `load`."""
        try:
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            network = folder / NETWORK if shared is None else shared_network(folder / NETWORK, manifest.files, shared)
            session = onnxruntime.InferenceSession(
                str(network), sess_options=session_options(threads), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise bare Exception subclasses of their own
            raise ArtifactError(f"{folder} cannot be loaded: {error}") from error
        return cls(manifest, tokenizer, session)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the network's outputs."""
        return self.manifest.labels

    def classify(self, texts: Sequence[str]) -> list[Prediction | UnclassifiableTextError]:
        """Return one answer a text, in order; a text that cannot be classified gets its error in its own place."""
        encoded = self.encode(texts)
        windows = [window for each in encoded if isinstance(each, Encoded) for window in each.windows]
        logits = iter(self.run(windows))
        return [
            self.answer(each, np.stack([next(logits) for _ in each.windows])) if isinstance(each, Encoded) else each
            for each in encoded
        ]

    def encode(self, texts: Sequence[str]) -> list[Encoded | UnclassifiableTextError]:
        """Return each text as `run` takes it, or what is wrong with it; leaves other threads the interpreter."""
        return [self._encode_or_error(text) for text in texts]

    def run(self, windows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Return the logits of labels and, after them, acts, shape (windows, labels + acts)."""
        logits = np.empty((len(windows), self._width), dtype=np.float32)
        for batch in batches_of([len(window) for window in windows]):
            outputs = self._session.run(self._outputs, self._feed([windows[index] for index in batch]))
            logits[batch] = np.concatenate(outputs, axis=1)
        return logits

    def answer(self, encoded: Encoded, logits: npt.NDArray[np.float32]) -> Prediction:
        """Return the answer for one text.

        Args:
            encoded: the text.
            logits: of its windows, as `run` returns them.
        """
        lengths = [len(window) for window in encoded.windows]
        return replace(answer(self.manifest, lengths, logits), reading=encoded.reading)

    def to_stance(self, prediction: Prediction) -> Prediction:
        """Return `prediction` with the likeliest stance as its label, even where no stance is likelier."""
        stances = {name: value for name, value in prediction.probabilities.items() if name != ABSTENTION_LABEL}
        label = max(stances, key=stances.__getitem__)
        confidence = stances[label]
        return replace(prediction, label=label, confidence=confidence, abstained=confidence < self.manifest.threshold)

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the network's raw outputs for the first window of each text, shape (texts, labels)."""
        return self.run([self._encode(text).windows[0] for text in texts])[:, : len(self.labels)]

    def act_logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return as `logits` the outputs of the acts, shape (texts, acts); those of the labels in a model without."""
        outputs = self.run([self._encode(text).windows[0] for text in texts])
        return outputs[:, len(self.labels) :] if self.manifest.acts else outputs

    def _encode(self, text: str) -> Encoded:
        check_text(text)
        encoding = self._tokenizer.encode(text)
        if not any(mask == 0 for mask in encoding.special_tokens_mask):
            raise UnclassifiableTextError("empty", "expected a text, came only characters that carry none.")
        windows = [encoding, *encoding.overflowing]
        return Encoded(tuple(np.array(each.ids, dtype=np.int64) for each in windows), self._read(text, windows))

    def _encode_or_error(self, text: str) -> Encoded | UnclassifiableTextError:
        try:
            return self._encode(text)
        except UnclassifiableTextError as error:
            return error

    def _read(self, text: str, windows: Sequence[Encoding]) -> Reading:
        ids: list[int] = []
        for rank, window in enumerate(windows):
            own = [id_ for id_, special in zip(window.ids, window.special_tokens_mask, strict=True) if not special]
            ids += own[self.manifest.window_overlap_tokens if rank else 0 :]
        return Reading(len(ids), 0 if self._unknown is None else ids.count(self._unknown), len(text.split()))

    def _feed(self, windows: Sequence[npt.NDArray[np.int64]]) -> dict[str, npt.NDArray[np.int64]]:
        width = max(len(window) for window in windows)
        ids = np.zeros((len(windows), width), dtype=np.int64)  # (windows, tokens); masked, so any id pads
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: array for name, array in feed.items() if name in self._inputs}


def answer(manifest: Manifest, lengths: Sequence[int], logits: npt.NDArray[np.float32]) -> Prediction:
    """Return the answer for one text.

    Args:
        manifest: of the version that read it.
        lengths: of the windows into which it was split, in tokens.
        logits: of each window, those of the acts after those of the labels, shape (windows, labels + acts).
    """
    labels = manifest.labels
    of_labels = softmax(logits[:, : len(labels)], manifest.temperature, manifest.biases)
    # (labels,); a text of several windows is the mean of them, each weighted by its tokens. Nearly all have one.
    probabilities = of_labels[0] if len(lengths) == 1 else np.average(of_labels, axis=0, weights=lengths)
    best = int(probabilities.argmax())
    confidence = float(probabilities[best])
    return Prediction(
        label=labels[best],
        confidence=confidence,
        abstained=confidence < manifest.threshold,
        probabilities=dict(zip(labels, probabilities.tolist(), strict=True)),
        prediction_set=[labels[i] for i in prediction_set(probabilities, manifest.set_threshold)],
        windows=len(lengths),
        acts={
            label: manifest.acts[label][_likeliest(logits[:, columns], lengths)]
            for label, columns in _act_columns(manifest).items()
        },
    )


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """Return the id of what stands for a word that the vocabulary lacks; None where it can spell every word."""
    name = getattr(tokenizer.model, "unk_token", None)  # a vocabulary may hold others of such a name
    return None if name is None else tokenizer.token_to_id(name)


def _likeliest(act_logits: npt.NDArray[np.float32], lengths: Sequence[int]) -> int:
    """Return the place of the likeliest act of a label: shape (windows, acts), windows weighted by their tokens."""
    if len(lengths) == 1:
        return int(act_logits[0].argmax())
    return int(np.average(softmax(act_logits), axis=0, weights=lengths).argmax())


def _act_columns(manifest: Manifest) -> dict[str, slice]:
    """Return where the acts of each label stand among a network's outputs, labels' logits first."""
    columns: dict[str, slice] = {}
    start = len(manifest.labels)
    for label in manifest.labels if manifest.acts else ():
        stop = start + (len(manifest.acts[label]) or 1)
        if manifest.acts[label]:
            columns[label] = slice(start, stop)
        start = stop
    return columns
