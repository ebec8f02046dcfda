"""A correction felt at once: refits only the head of a shipped version, on features of its encoder that are cached.

The network stays as it was but for its last layer, so that seconds are enough where a training takes an hour. What the
encoder cannot tell apart no head can either; for that there is `training.fit`.
"""

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from model.artifact import MANIFEST, Manifest, file_digests, write_manifest
from model.calibration import softmax
from model.classifier import NETWORK, TOKENIZER, Classifier
from model.labels import text_digest
from training.card import model_card
from training.config import FitConfig
from training.corpus import act_indices, gold_indices, read_statements
from training.errors import CorpusError, OutputError
from training.evaluate import score_answers
from training.features import Features, ShippedEncoder
from training.head import external_files, with_head
from training.own import add_own, read_own
from training.parity import check_parity
from training.progress import Progress
from training.provenance import Provenance, known_to
from training.refit import RefitConfig, Targets, class_weights, refit
from training.split import Split, read_splits, split_statements
from training.version import CARD, calibrated, code, describe_data, describe_own, version_name
from training.version_report import REPORT, version_report

__all__ = ["quick", "settings_of"]

# Of the test split: answered by the written network too. It computes what was computed here, so that few will do.
_PARITY_SAMPLE = 16

# How much all own statements together may count for beside the corpus. Beside one that was as small as they were, to
# count each for four cost the test split more than it brought.
_MOST_OWN = 2.0


@dataclass(frozen=True)
class _Run:
    """One quick training.

    Attributes:
        config: of it.
        parent: the version that is refitted.
        split: with the own statements in its training part.
        own: how many of its last those are.
        features: of the three parts.
    """

    config: RefitConfig
    parent: ShippedEncoder
    split: Split
    own: int
    features: dict[str, list[Features]]


def settings_of(manifest: Manifest) -> RefitConfig:
    """Return the default settings, with those of the loss as the version was trained."""
    names = ("act_weight", "label_smoothing", "class_weight_power")
    return RefitConfig(**{name: manifest.training[name] for name in names if name in manifest.training})


def quick(
    model: Path,
    data: Sequence[Path],
    out: Path,
    cache: Path,
    own: Sequence[Path] = (),
    splits: Path | None = None,
    version: str | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Refit the head of a version, calibrate and measure it, and write the whole of it as a new version.

    Args:
        model: folder of the version; nothing but what is served needs to be in it.
        data: files and folders of labelled statements, which keep the head right in what it was right in.
        out: new or empty folder to write; it is there only once it is complete.
        cache: folder of the features that were computed before.
        own: files and folders of the users' own labelled statements; one in five is never trained on.
        splits: folder of split files; what they do not name is split by hash.
        version: name of the version; today's date and the time of day by default.
        progress: to note in how far it is.

    Raises:
        TrainingError: with the reason; nothing is at `out` then.
    """
    _check_output(out)
    progress = progress or Progress()
    progress.begin("reading")
    parent = ShippedEncoder.open(model)
    config, labels = settings_of(parent.manifest), parent.manifest.labels
    statements = read_statements(data, labels)
    known = read_splits(splits) if splits else {}
    whole = split_statements(statements, FitConfig.validation_share, FitConfig.test_share, known)
    mine = read_own(own, labels)
    split, added = add_own(whole, mine)
    run = _Run(config, parent, split, len(added), _features(parent, split, cache, progress))
    progress.begin("fitting")
    child = _refitted(run, version or version_name(f"{datetime.now(UTC):%H%M%S}"))
    child.manifest.data["absent"] = len(known.keys() - {each.id for each in statements})
    child.manifest.data["own"] = describe_own(len(added), len(mine.training) - len(added), len(mine.held_out))
    unfinished = out.with_name(f"{out.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)  # left by a run that was killed
    progress.begin("measuring")
    manifest = _write(run, child, unfinished)
    unfinished.replace(out)
    return manifest


def _check_output(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"expected a new or an empty folder as --out, came {out}, which holds something.")


def _features(parent: ShippedEncoder, split: Split, cache: Path, progress: Progress) -> dict[str, list[Features]]:
    features = parent.read([*split.train, *split.validation, *split.test], cache, progress)
    first, second = len(split.train), len(split.train) + len(split.validation)
    return {"train": features[:first], "validation": features[first:second], "test": features[second:]}


def _refitted(run: _Run, version: str) -> ShippedEncoder:
    """Return the version with its head refitted and calibrated; its scores are not known yet."""
    labels = run.parent.manifest.labels
    head = refit(run.parent.head, _first_windows(run.features["train"]), _targets(run), run.config)
    manifest = replace(
        run.parent.manifest,
        version=version,
        data=describe_data(run.split),
        training=_training(run),
        code=code(run.parent.manifest.code.get("torch")),
    )
    # Not on the own statements: of those the head was fitted to it would be too sure. On a kind of 160 that the
    # version had wrong, to calibrate on them too moved the error of the test split from 0.03 to 0.05.
    logits = head.logits(_first_windows(run.features["validation"]))[:, : len(labels)]
    manifest = calibrated(manifest, logits, gold_indices(run.split.validation, labels))
    return replace(run.parent, head=head, manifest=manifest)


def _first_windows(features: Sequence[Features]) -> npt.NDArray[np.floating[Any]]:
    """Return the features of the first window of each text, which is all that is trained on, shape (texts, width)."""
    return np.stack([each.rows[0] for each in features])


def _targets(run: _Run) -> Targets:
    manifest = run.parent.manifest
    labels = gold_indices(run.split.train, manifest.labels)
    corpus = run.split.train[: len(labels) - run.own]
    counted = np.ones(len(labels))
    counted[len(corpus) :] = min(run.config.own_weight, _MOST_OWN * len(corpus) / max(run.own, 1))
    learnt = known_to(run.parent.folder)
    kept = np.array([place for place, each in enumerate(corpus) if text_digest(each.text) in learnt], dtype=np.int64)
    features = _first_windows(run.features["train"])[kept]
    return Targets(
        labels,
        act_indices(run.split.train, manifest.labels, manifest.acts),
        counted * class_weights(labels, counted, run.config.class_weight_power),
        kept,
        softmax(run.parent.head.outputs(features)),
    )


def _training(run: _Run) -> dict[str, Any]:
    digest = hashlib.sha256((run.parent.folder / MANIFEST).read_bytes()).hexdigest()
    refitted = {"from": run.parent.manifest.version, "sha256": digest} | asdict(run.config)
    # Versions of the first format were trained before there was a choice of these.
    defaults = {"label_prior": FitConfig.label_prior, "max_error_rate": FitConfig.max_error_rate}
    return defaults | run.parent.manifest.training | {"refitted": refitted}


def _write(run: _Run, child: ShippedEncoder, folder: Path) -> Manifest:
    """Write everything of a version, its manifest last."""
    folder.mkdir(parents=True)
    (folder / NETWORK).write_bytes(with_head(run.parent.network, child.head))
    for name in (TOKENIZER, *external_files(run.parent.network)):
        shutil.copyfile(run.parent.folder / name, folder / name)
    with ThreadPoolExecutor(1) as executor:  # to load it takes a second, in which this measures what is fitted
        loading = executor.submit(Classifier.open, folder, child.manifest)
        answers = child.answers(run.features["test"])
        metrics = score_answers(child.manifest, run.split.test, answers)
        _provenance(run).write(folder)
        served = loading.result()
    parity, seconds = _check_served(run, child, served)
    manifest = replace(child.manifest, parity=parity, metrics=metrics, files={})
    version_report(manifest, run.split.test, answers, [], seconds * len(answers), folder / REPORT)
    (folder / CARD).write_text(model_card(manifest), encoding="utf-8")
    manifest = replace(manifest, files=file_digests(folder))
    write_manifest(folder, manifest)
    return manifest


def _check_served(run: _Run, child: ShippedEncoder, served: Classifier) -> tuple[dict[str, float], float]:
    """Return the parity of the network as it was written with what was fitted, and its seconds a statement."""
    texts = [each.text for each in run.split.test[:_PARITY_SAMPLE]]
    started = monotonic()
    logits = served.logits(texts)
    seconds = (monotonic() - started) / len(texts)
    fitted = child.head.logits(_first_windows(run.features["test"][: len(texts)]))[:, : logits.shape[1]]
    settings = child.manifest.temperature, child.manifest.biases
    return check_parity(softmax(fitted, *settings), softmax(logits, *settings)), seconds


def _provenance(run: _Run) -> Provenance:
    try:
        earlier = Provenance.read(run.parent.folder)
    except CorpusError:  # a version of an old release; the gate will say that nobody knows what it learnt from
        earlier = None
    return Provenance.of_split(run.split).after(earlier)
