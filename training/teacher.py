"""What a student learns besides its labels: how larger trained versions answer the same texts, and unlabelled ones.

Knowledge distillation after Hinton, Vinyals and Dean 2015 (arXiv 1503.02531). The answers of several teachers are
averaged. No temperature: the outputs are acts, some six beneath each label, and already soft.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from model.artifact import MANIFEST, Manifest, read_manifest
from training.corpus import Statement
from training.errors import BaseWeightsError, ConfigError
from training.finetune import predict_act_logits
from training.network import MeanPoolClassifier
from training.select import read_pool
from training.similarity import repeating
from training.split import NEAR_DUPLICATE, Split

__all__ = ["ANSWERS", "TRANSFORMER", "Teachers", "read_unlabelled"]

TRANSFORMER = "transformer"
"""Sub-folder of a version: its trained weights as Hugging Face saves them, to train further, not to serve."""

ANSWERS = "teacher.safetensors"
"""The teachers' answers, kept while a run is unfinished: they take minutes, and a killed run goes on with them."""


@dataclass(frozen=True)
class Teachers:
    """Trained versions whose answers are learnt.

    Attributes:
        folders: of the versions, with their trained weights.
        manifests: of each.
        acts: the acts of each label that all of them, and so the student, tell apart.
    """

    folders: tuple[Path, ...]
    manifests: tuple[Manifest, ...]
    acts: Mapping[str, Sequence[str]]

    @classmethod
    def open(cls, folders: Sequence[Path], labels: Sequence[str]) -> "Teachers":
        """Read what the versions are; their weights only when they are asked.

        Raises:
            BaseWeightsError: a folder has no trained weights, but perhaps only the network that is served.
            ConfigError: their labels are not `labels`, or their acts differ.
            ModelError: a folder holds no version.
        """
        manifests = tuple(read_manifest(folder) for folder in folders)
        for folder, manifest in zip(folders, manifests, strict=True):
            if not (folder / TRANSFORMER).is_dir():
                raise BaseWeightsError(
                    f"the teacher {folder} has no folder {TRANSFORMER!r}, in which its training left the weights that "
                    "are asked; take the folder that `training fit` wrote."
                )
            if tuple(manifest.labels) != tuple(labels):
                raise ConfigError(
                    f"expected a teacher of the labels {', '.join(labels)}; {folder} knows {', '.join(manifest.labels)}"
                )
            if manifest.acts != manifests[0].acts:
                raise ConfigError(f"expected teachers with the same acts; those of {folder} and {folders[0]} differ")
        return cls(tuple(folders), manifests, manifests[0].acts)

    @property
    def digests(self) -> list[str]:
        """SHA-256 of each manifest, and so of everything in its version."""
        return [hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest() for folder in self.folders]

    def answer(self, texts: Sequence[str], max_tokens: int, cache: Path, run: str) -> Tensor:
        """Return the mean of the teachers' probabilities, float32, shape (texts, outputs).

        Args:
            texts: to answer, each cut to one window.
            max_tokens: of a window.
            cache: file of answers, read if `run` wrote it and written otherwise.
            run: identity of the training run.
        """
        if (known := _read(cache, run)) is not None:
            return known
        total: Tensor | None = None
        for tokenizer, network in self._networks():
            ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
            answers = predict_act_logits(network, ids).softmax(dim=1)
            total = answers if total is None else total + answers
        assert total is not None, "one teacher at least"
        mean = total / len(self.folders)
        unfinished = cache.with_name(f"{cache.name}.part")
        save_file({"probabilities": mean.contiguous()}, unfinished, {"run": run})
        os.replace(unfinished, cache)
        return mean

    def _networks(self) -> Iterator[tuple[PreTrainedTokenizerBase, MeanPoolClassifier]]:
        for folder in self.folders:
            location = folder / TRANSFORMER
            yield AutoTokenizer.from_pretrained(location), MeanPoolClassifier.from_pretrained(location)


def _read(cache: Path, run: str) -> Tensor | None:
    if not cache.is_file():
        return None
    with safe_open(cache, framework="pt") as stream:
        if stream.metadata().get("run") != run:
            return None
        answers: Tensor = stream.get_tensor("probabilities")
        return answers


def read_unlabelled(paths: Sequence[Path], data: Sequence[Path], split: Split) -> list[str]:
    """Return texts that only the teachers have answered, without what is labelled or would leak what is measured.

    Args:
        paths: JSON Lines files or folders with `text`, and perhaps `source` and `document`.
        data: the labelled statements, whose texts are left out.
        split: whose validation and test documents, and what nearly repeats their statements, are left out too.

    Raises:
        CorpusError: a line has no text.
    """
    held_out: list[Statement] = [*split.validation, *split.test]
    documents = {(each.source, each.document) for each in held_out if each.document}
    texts = [
        str(row["text"])
        for row in read_pool(paths, data)
        if (row.get("source"), row.get("document")) not in documents
    ]  # fmt: skip
    repeats = repeating([each.text for each in held_out], texts, NEAR_DUPLICATE)
    return [text for place, text in enumerate(texts) if place not in repeats]
