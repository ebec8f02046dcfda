"""One training run from statements to a complete model folder. Each step is another module's; the order is here."""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.metadata import version as installed_version
from pathlib import Path
from subprocess import CalledProcessError
from subprocess import run as run_process
from time import monotonic
from typing import Any

import numpy as np
import torch
import transformers

from model.artifact import MANIFEST, STATEMENTS, Manifest, file_digests, write_manifest
from model.calibration import softmax
from model.classifier import NETWORK, TOKENIZER, Classifier, Prediction
from model.labels import text_digest
from training.base import BaseWeights, locate_base
from training.calibrate import abstention_threshold, fit_calibration, label_weights, set_threshold
from training.card import model_card
from training.checkpoint import CHECKPOINT
from training.config import FitConfig
from training.corpus import Statement, fingerprint, gold_indices, read_statements
from training.errors import ConfigError, OutputError
from training.evaluate import evaluate, predict
from training.export import WEIGHTS, check_parity, export_network
from training.finetune import finetune, predict_logits
from training.inputs import acts_of, load_encoder, tokenise
from training.split import PARTS, Split, read_splits, split_statements
from training.teacher import ANSWERS, TRANSFORMER, Teachers, read_unlabelled
from training.version_report import REPORT, version_report

__all__ = ["CARD", "fit"]

CARD = "README.md"
_OWN = {
    CARD, STATEMENTS, TRANSFORMER, NETWORK, TOKENIZER, REPORT, CHECKPOINT, f"{CHECKPOINT}.part", ANSWERS,
    f"{ANSWERS}.part", f"{MANIFEST}.part",
}  # fmt: skip


def fit(
    config: FitConfig,
    data: Sequence[Path],
    out: Path,
    version: str | None = None,
    splits: Path | None = None,
    teacher: Sequence[Path] = (),
    unlabelled: Sequence[Path] = (),
) -> Manifest:
    """Train, export, calibrate and measure one version; its manifest is written last and completes the folder.

    Args:
        config: of the run.
        data: files and folders of labelled statements.
        out: folder to write; where a killed run of the same settings and data has left a checkpoint, it goes on.
        version: name of the version; today's date by default.
        splits: folder of split files; what they do not name is split by hash.
        teacher: folders of versions, with their trained weights, whose answers are learnt beside the labels.
        unlabelled: files and folders of texts that the teachers alone answer.

    Raises:
        TrainingError: with the reason; `out` is then not loadable as a model.
    """
    _check_output(out)
    base = locate_base(config.base)
    known = read_splits(splits) if splits else {}
    statements = read_statements(data, config.labels)
    split = split_statements(statements, config.validation_share, config.test_share, known)
    lesson = _lesson(config, teacher, unlabelled, data, split)
    out.mkdir(parents=True, exist_ok=True)
    losses, test_logits = _train(config, split, base, out, lesson)
    manifest = _calibrate(_draft(config, split, base, version, lesson), split, out)
    manifest.data["absent"] = len(known.keys() - {each.id for each in statements})
    (out / STATEMENTS).write_text(json.dumps(_ids(split)) + "\n", encoding="utf-8")
    classifier = Classifier.open(out, manifest)
    started = monotonic()
    answers = predict(classifier, {each.id: each.text for each in split.test})
    seconds = monotonic() - started
    trained = softmax(test_logits, manifest.temperature, manifest.biases)
    served = _first_windows(classifier, split.test, answers)
    metrics = evaluate(classifier, split.test, answers)
    manifest = replace(manifest, parity=check_parity(trained, served), metrics=metrics)
    version_report(manifest, split.test, answers, losses, seconds, out / REPORT)
    (out / CARD).write_text(model_card(manifest), encoding="utf-8")
    for left in (
        CHECKPOINT,
        f"{CHECKPOINT}.part",
        ANSWERS,
        f"{ANSWERS}.part",
        f"{MANIFEST}.part",
    ):  # of this run, or of one that was killed
        (out / left).unlink(missing_ok=True)
    manifest = replace(manifest, files=file_digests(out))
    write_manifest(out, manifest)
    return manifest


def _first_windows(classifier: Classifier, statements: Sequence[Statement], answers: Sequence[Prediction]) -> Any:
    """Return the probabilities of the first window of each statement, which is all that was trained on."""
    if all(answer.windows == 1 for answer in answers):
        return np.array([list(answer.probabilities.values()) for answer in answers])
    logits = classifier.logits([each.text for each in statements])
    return softmax(logits, classifier.manifest.temperature, classifier.manifest.biases)


def _check_output(out: Path) -> None:
    if (out / MANIFEST).exists():
        raise OutputError(f"{out} already holds a complete version, which is never overwritten; choose another --out.")
    if out.exists() and not out.is_dir():
        raise OutputError(f"expected a folder as --out, came the file {out}.")
    names = sorted(path.name for path in out.iterdir()) if out.exists() else []
    foreign = [name for name in names if name not in _OWN and not fnmatch(name, WEIGHTS.format("*"))]
    if foreign:
        raise OutputError(
            f"{out} holds files that no training run writes ({', '.join(foreign[:5])}), and nothing of yours is "
            "overwritten; choose an empty or a new folder as --out."
        )


@dataclass(frozen=True)
class _Lesson:
    """What is learnt beside the labels.

    Attributes:
        teachers: that are asked.
        unlabelled: texts that they alone answer.
    """

    teachers: Teachers
    unlabelled: list[str]

    def describe(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        versions = zip(self.teachers.manifests, self.teachers.digests, strict=True)
        digest = hashlib.sha256("\n".join(sorted(map(text_digest, self.unlabelled))).encode()).hexdigest()
        return {
            "teachers": [{"version": each.version, "sha256": sha256} for each, sha256 in versions],
            "unlabelled": {"texts": len(self.unlabelled), "fingerprint": digest},
        }


def _lesson(
    config: FitConfig, teacher: Sequence[Path], unlabelled: Sequence[Path], data: Sequence[Path], split: Split
) -> _Lesson | None:
    if not teacher:
        if unlabelled:
            raise ConfigError("expected a teacher for the unlabelled texts, came none; name its folder as --teacher.")
        return None
    teachers = Teachers.open(teacher, config.labels)
    for label, acts in acts_of(split.train, config.labels).items():
        if foreign := set(acts) - set(teachers.acts.get(label, ())):
            raise ConfigError(
                f"the statements have acts of {label} that the teacher does not know: {', '.join(sorted(foreign))}; "
                "train the teacher on the same statements first."
            )
    return _Lesson(teachers, read_unlabelled(unlabelled, data, split) if unlabelled else [])


def _train(
    config: FitConfig, split: Split, base: BaseWeights, out: Path, lesson: _Lesson | None
) -> tuple[list[float], Any]:
    """Fine-tune, save and export; return the losses, and the network's logits on the test split, (texts, labels)."""
    torch.manual_seed(config.seed)
    acts = lesson.teachers.acts if lesson else acts_of(split.train, config.labels)
    tokenizer, network = load_encoder(base, config.labels, acts)
    unlabelled = lesson.unlabelled if lesson else []
    train = tokenise(split.train, tokenizer, config, acts, unlabelled)
    test = tokenise(split.test, tokenizer, config, acts)
    run = _identity(config, split, base, lesson)
    taught = None
    if lesson:
        texts = [*(each.text for each in split.train), *unlabelled]
        taught = lesson.teachers.answer(texts, config.max_tokens, out / ANSWERS, run)
    losses = finetune(network, train, config, out, run, taught)
    network.to(torch.device("cpu"))  # type: ignore[arg-type]  # see finetune
    network.save_pretrained(out / TRANSFORMER)
    tokenizer.save_pretrained(out / TRANSFORMER)
    shutil.copyfile(out / TRANSFORMER / TOKENIZER, out / TOKENIZER)
    export_network(network, out / NETWORK)
    return losses, predict_logits(network, test["input_ids"]).numpy()


def _identity(config: FitConfig, split: Split, base: BaseWeights, lesson: _Lesson | None) -> str:
    """Return what tells this run from every other: a checkpoint goes on only where all of it is the same."""
    acts = sorted((each.id, each.act) for each in split.train if each.act)
    parts = [asdict(config), fingerprint(split.train), acts, base.sha256, torch.__version__, transformers.__version__]
    parts += [lesson.describe()] if lesson else []
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _draft(config: FitConfig, split: Split, base: BaseWeights, version: str | None, lesson: _Lesson | None) -> Manifest:
    acts = lesson.teachers.acts if lesson else acts_of(split.train, config.labels)
    return Manifest(
        version=version or f"{datetime.now(UTC):%Y-%m-%d}.1",
        labels=config.labels,
        max_tokens=config.max_tokens,
        window_overlap_tokens=config.window_overlap_tokens,
        acts={label: list(each) for label, each in acts.items()},
        temperature=1.0,
        biases=[0.0] * len(config.labels),
        threshold=0.0,
        set_threshold=0.0,
        set_coverage=config.set_coverage,
        base={"name": base.name, "sha256": base.sha256},
        data=_describe(split),
        training=asdict(config) | {"base": base.name} | (lesson.describe() if lesson else {}),
        code={"version": installed_version("brink"), "commit": _commit(), "torch": torch.__version__},
        metrics={},
        parity={},
    )


def _parts(split: Split) -> dict[str, list[Statement]]:
    return {part: getattr(split, part) for part in PARTS}


def _ids(split: Split) -> dict[str, list[str]]:
    return {name: [each.id for each in part] for name, part in _parts(split).items()}


def _describe(split: Split) -> dict[str, Any]:
    parts = _parts(split)
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


def _commit() -> str | None:
    """Return the commit of this checkout, with `-dirty` where it was changed; None outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return run_process(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, CalledProcessError):
        return None


def _calibrate(manifest: Manifest, split: Split, out: Path) -> Manifest:
    """Fit temperature, biases and thresholds on the validation split, with the very network that is served."""
    logits = Classifier.open(out, manifest).logits([each.text for each in split.validation])
    gold = gold_indices(split.validation, manifest.labels)
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
