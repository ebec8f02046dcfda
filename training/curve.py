"""How a model's scores grow with its corpus: composed statements alone, real ones alone, and both.

Every point is a network of its own, fine-tuned by the same recipe on a nested sample of the training split and scored
on the validation split; the test split has no part in it. Points are appended to a file as they come, and those that
stand there already are not computed again, so that a curve of hours may be interrupted.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from sklearn.metrics import f1_score

from training.base import BaseWeights, locate_base
from training.config import FitConfig
from training.corpus import Statement, fingerprint, json_rows
from training.errors import CorpusError
from training.finetune import finetune, predict_logits
from training.inputs import acts_of, load_encoder, tokenise
from training.split import Split

__all__ = ["ORIGINS", "Origin", "learning_curve", "read_curve", "sample"]

Origin = Literal["composed", "real", "both"]
ORIGINS: tuple[Origin, ...] = ("composed", "real", "both")


def sample(statements: Sequence[Statement], origin: Origin, size: int | None) -> list[Statement]:
    """Return `size` statements of an origin, or all for None; a smaller sample lies within a larger one.

    Raises:
        CorpusError: there are not so many.
    """
    kept = [each for each in statements if origin == "both" or (origin == "composed") == (each.source is None)]
    if not kept or (size is not None and size > len(kept)):
        raise CorpusError(f"expected {size or 'some'} statements of origin {origin!r} to train on, came {len(kept)}.")
    by_hash = sorted(kept, key=lambda each: hashlib.sha256(f"curve:{each.id}".encode()).digest())
    return by_hash[:size]


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Return the points that stand in a file, the last of each origin, size, base and seed; none without a file."""
    rows = (row for _, row in json_rows([path])) if path.exists() and path.stat().st_size else ()
    return list({(row["origin"], row["size"], row["base"], row["seed"]): row for row in rows}.values())


def learning_curve(
    config: FitConfig,
    split: Split,
    points: Sequence[tuple[Origin, int | None]],
    measured: Mapping[str, Sequence[Statement]],
    path: Path,
) -> Iterator[dict[str, Any]]:
    """Compute the points that `path` lacks, append each to it, and yield it.

    Args:
        config: of every network.
        split: whose training part is sampled; `validation` is always measured.
        points: origin and size of each sample; None for all there is.
        measured: further sets to measure on, by name.
        path: file of points, one JSON object a line: `origin`, `size`, `seed`, `base`, `macro_f1` by set, and `run`,
            which tells sample, settings and measured sets: where any has changed, a point is computed anew.
    """
    base = locate_base(config.base)
    done = {row["run"] for row in read_curve(path)}
    sets = {"validation": split.validation, **measured}
    for origin, size in points:
        chosen = sample(split.train, origin, size)
        run = _identity(config, base, [origin, *_digests(chosen), *([name, *_digests(sets[name])] for name in sets)])
        if run not in done:
            scores = _scores(config, base, chosen, sets, run)
            row: dict[str, Any] = {"origin": origin, "size": len(chosen), "seed": config.seed, "base": base.name}
            row |= {"macro_f1": scores, "run": run}
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            yield row


def _identity(config: FitConfig, base: BaseWeights, rest: Sequence[Any]) -> str:
    # The weights, not where they lie on one machine.
    settings = asdict(config) | {"base": base.sha256 or base.name}
    return hashlib.sha256(json.dumps([settings, *rest]).encode()).hexdigest()


def _digests(statements: Sequence[Statement]) -> list[str]:
    acts = sorted((each.id, each.act) for each in statements if each.act)
    return [fingerprint(statements), hashlib.sha256(json.dumps(acts).encode()).hexdigest()]


def _scores(
    config: FitConfig,
    base: BaseWeights,
    chosen: Sequence[Statement],
    measured: Mapping[str, Sequence[Statement]],
    run: str,
) -> dict[str, float]:
    torch.manual_seed(config.seed)
    acts = acts_of(chosen, config.labels)
    tokenizer, network = load_encoder(base, config.labels, acts)
    with TemporaryDirectory() as scratch:  # a point is short: nothing of it is kept but its scores
        finetune(network, tokenise(chosen, tokenizer, config, acts), config, Path(scratch), run)
    scores = {}
    for name, statements in measured.items():
        tokens = tokenise(statements, tokenizer, config, acts)
        said = predict_logits(network, tokens["input_ids"]).argmax(dim=1).numpy()
        present = sorted(set(tokens["label"]))
        scores[name] = round(float(f1_score(tokens["label"], said, labels=present, average="macro")), 4)
    return scores
