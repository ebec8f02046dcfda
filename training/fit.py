"""One training run from statements to a complete model folder. Each step is another module's; the order is here."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
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
from training.card import model_card
from training.checkpoint import CHECKPOINT
from training.config import FitConfig
from training.corpus import Statement, fingerprint, gold_indices, read_statements
from training.errors import ConfigError, OutputError
from training.evaluate import evaluate, predict
from training.export import WEIGHTS, export_network
from training.finetune import finetune, predict_logits
from training.inputs import acts_of, load_encoder, tokenise
from training.own import add_own, read_own
from training.parity import check_parity
from training.progress import Progress
from training.provenance import Provenance
from training.split import Split, read_splits, split_statements
from training.teacher import ANSWERS, TRANSFORMER, Teachers, read_unlabelled
from training.version import CARD, calibrated, code, describe_data, describe_own, version_name
from training.version_report import REPORT, version_report

__all__ = ["fit"]

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
    own: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Manifest:
    """Train, export, calibrate and measure one version; its manifest is written last and completes the folder.

    Args:
        config: of the run.
        data: files and folders of labelled statements.
        out: folder to write; where a killed run of the same settings and data has left a checkpoint, it goes on.
        version: name of the version; today's date by default.
        splits: folder of split files; what they do not name is split by hash.
        teacher: folders of versions whose answers are learnt beside the labels.
        unlabelled: files and folders of texts that the teachers alone answer.
        own: files and folders of the users' own labelled statements; one in five is never trained on.
        progress: to note in how far it is.

    Raises:
        TrainingError: with the reason; `out` is then not loadable as a model.
    """
    _check_output(out)
    progress = progress or Progress()
    progress.begin("reading")
    base = locate_base(config.base)
    known = read_splits(splits) if splits else {}
    statements = read_statements(data, config.labels)
    split = split_statements(statements, config.validation_share, config.test_share, known)
    mine = read_own(own, config.labels)
    split, added = add_own(split, mine)
    lesson = _lesson(config, teacher, unlabelled, [*data, *own], split)
    out.mkdir(parents=True, exist_ok=True)
    losses, test_logits = _train(config, split, base, out, lesson, progress)
    progress.begin("measuring")
    draft = _draft(config, split, base, version, lesson)
    logits = Classifier.open(out, draft).logits([each.text for each in split.validation])
    manifest = calibrated(draft, logits, gold_indices(split.validation, draft.labels))
    manifest.data["absent"] = len(known.keys() - {each.id for each in statements})
    if own:
        manifest.data["own"] = describe_own(len(added), len(mine.training) - len(added), len(mine.held_out))
    Provenance.of_split(split).write(out)
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
    config: FitConfig, split: Split, base: BaseWeights, out: Path, lesson: _Lesson | None, progress: Progress
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
    progress.begin("training")
    losses = finetune(network, train, config, out, run, taught, progress)
    progress.begin("exporting")
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
        version=version or version_name(),
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
        data=describe_data(split),
        training=asdict(config) | {"base": base.name} | (lesson.describe() if lesson else {}),
        code=code(torch.__version__),
        metrics={},
        parity={},
    )
