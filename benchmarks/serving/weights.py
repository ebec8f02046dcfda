"""Writes one encoder in the three ways that the services compared read it: same weights, same size of head.

    .venv/bin/python benchmarks/serving/weights.py --model fast --out models/benchmark

- `transformers/`: a Hugging Face folder for sequence classification, float32, which the peers load;
- `float32/`: the same encoder as a version of Brink, fused but not quantised;
- `int8/`: the same encoder as Brink ships it;
- `statements.json`: short statements of the corpus, always the same, to ask them about.

The heads are random: an encoder's speed does not depend on what its head says. Nobody should ask these for an answer.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from contestants import FORMS, PEERS, STATEMENTS
from statements import short_statements
from transformers import AutoModelForSequenceClassification

from model.artifact import Manifest, file_digests, locate_model, read_manifest, write_manifest
from model.classifier import NETWORK, TOKENIZER
from training.base import LARGER_BASE, locate_base
from training.config import DEFAULT_BASE
from training.export import export_network, fuse
from training.network import MeanPoolClassifier

BASES = {"fast": DEFAULT_BASE, "accurate": LARGER_BASE}
"""The encoder that each shipped model was trained from."""


def main() -> None:
    """Write the folders and the statements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=BASES, default="fast")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    location = Path(locate_base(BASES[options.model]).location)
    shipped = read_manifest(locate_model(options.model))
    _write_for_peers(location, shipped.labels, options.out / PEERS)
    network = MeanPoolClassifier.from_encoder(str(location), shipped.labels, shipped.acts)
    for form, export in zip(FORMS, (export_network, fuse), strict=True):
        _write_version(network, export, shipped, location, options.out / form)
    texts, lengths = short_statements(location)
    (options.out / STATEMENTS).write_text(json.dumps({"texts": texts, "lengths": lengths}))


def _write_for_peers(location: Path, labels: tuple[str, ...], target: Path) -> None:
    names = dict(enumerate(labels))
    network = AutoModelForSequenceClassification.from_pretrained(
        location, num_labels=len(labels), id2label=names, label2id={label: index for index, label in names.items()}
    )
    network.save_pretrained(target)
    # Copied, not saved anew: the peers' release of transformers is older than ours, and reads only the older form.
    for name in (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(location / name, target / name)


def _write_version(
    network: MeanPoolClassifier,
    export: Callable[[MeanPoolClassifier, Path], None],
    shipped: Manifest,
    location: Path,
    target: Path,
) -> None:
    """Write a version whose manifest is the shipped one's: labels, windows and thresholds are the same work."""
    target.mkdir(parents=True)
    export(network, target / NETWORK)
    for left in target.glob("exported-*"):  # what `fuse` began from
        left.unlink()
    shutil.copyfile(location / TOKENIZER, target / TOKENIZER)
    write_manifest(target, replace(shipped, version=f"benchmark-{target.name}", files=file_digests(target)))


if __name__ == "__main__":
    main()
