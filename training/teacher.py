"""What a student learns besides its labels: how larger trained versions answer the same texts, and unlabelled ones.

Knowledge distillation after Hinton, Vinyals and Dean 2015 (arXiv 1503.02531). The answers of several teachers are
averaged. No temperature: the outputs are acts, some six beneath each label, and already soft.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from transformers import AutoTokenizer

from model.artifact import MANIFEST, Manifest, read_manifest
from model.classifier import MAX_CHARACTERS, Classifier
from training.corpus import Statement
from training.errors import ConfigError
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

_SERVED_TOGETHER = 128


@dataclass(frozen=True)
class Teachers:
    """Trained versions whose answers are learnt.

    Attributes:
        folders: of the versions.
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
            ConfigError: their labels are not `labels`, or their acts differ.
            ModelError: a folder holds no version.
        """
        manifests = tuple(read_manifest(folder) for folder in folders)
        for folder, manifest in zip(folders, manifests, strict=True):
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
        opened = zip(self.folders, self.manifests, strict=True)
        mean = torch.stack([_answers(folder, manifest, texts, max_tokens) for folder, manifest in opened]).mean(dim=0)
        unfinished = cache.with_name(f"{cache.name}.part")
        save_file({"probabilities": mean.contiguous()}, unfinished, {"run": run})
        os.replace(unfinished, cache)
        return mean


def _answers(folder: Path, manifest: Manifest, texts: Sequence[str], max_tokens: int) -> Tensor:
    """Return a version's probabilities, by its trained weights or, where only what is served is left, by that."""
    weights = folder / TRANSFORMER
    if weights.is_dir():
        tokenizer, network = AutoTokenizer.from_pretrained(weights), MeanPoolClassifier.from_pretrained(weights)
        ids = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
        return predict_act_logits(network, ids).softmax(dim=1)
    served = Classifier.open(folder, replace(manifest, max_tokens=min(max_tokens, manifest.max_tokens)))
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # alike lengths, little padding
    answers = torch.empty(len(texts), sum(len(acts) or 1 for acts in manifest.acts.values()) or len(manifest.labels))
    for start in tqdm(range(0, len(order), _SERVED_TOGETHER), desc=f"{manifest.version} answers"):
        places = order[start : start + _SERVED_TOGETHER]
        logits = served.act_logits([texts[place][:MAX_CHARACTERS] for place in places])
        answers[places] = torch.from_numpy(logits).softmax(dim=1)
    return answers


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
