"""Commands on versions of the model: fit, evaluate, compare, release."""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from model.artifact import MANIFEST, file_digests, locate_model, read_manifest, verify_files, write_manifest
from model.classifier import Classifier
from training.card import is_described, model_card
from training.commands.files import refuse_existing
from training.compare import compare, comparison_table, whole_groups
from training.config import FitConfig
from training.corpus import gold_indices, read_statements
from training.errors import CorpusError
from training.evaluate import evaluate, predict, table
from training.progress import Progress
from training.provenance import Provenance
from training.version import CARD

__all__ = ["OPTIONS", "add_config_options", "add_version_commands", "config_from"]

OPTIONS = (
    "base", "seed", "epochs", "batch_size", "learning_rate", "class_weight_power", "label_cap", "act_weight",
    "frozen_layers", "teacher_weight", "checkpoint_every_s",
)  # fmt: skip
"""Fields of `FitConfig` that the command line sets."""


def add_version_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add fit, evaluate, compare and release."""
    fit = commands.add_parser("fit", help="train, calibrate, export and measure one version")
    fit.add_argument("--data", type=Path, nargs="+", required=True, help="files or folders of labelled statements")
    fit.add_argument("--out", type=Path, required=True, help="folder to write; run again to go on after a kill")
    fit.add_argument("--splits", type=Path, help="folder of split files; what they do not name is split by hash")
    fit.add_argument("--labels", nargs="+", help="the label set, in the order of the outputs")
    fit.add_argument("--teacher", type=Path, nargs="+", default=[], help="folders of versions, to learn from")
    fit.add_argument("--unlabelled", type=Path, nargs="+", default=[], help="texts that only the teachers answer")
    fit.add_argument("--own", type=Path, nargs="+", default=[], help="the users' own, of which one in five is held out")
    fit.add_argument("--version", help="name of the version; today's date by default")
    fit.add_argument("--progress", type=Path, help="file to append to how far it is, as JSON Lines")
    add_config_options(fit)
    fit.set_defaults(run=_fit)

    evaluate_command = commands.add_parser("evaluate", help="scores of a model on labelled statements")
    evaluate_command.add_argument("--model", required=True, help="name of a shipped model, or a folder")
    evaluate_command.add_argument("--data", type=Path, nargs="+", required=True)
    evaluate_command.add_argument("--json", action="store_true", help="print JSON in place of a table")
    evaluate_command.set_defaults(run=_evaluate)

    compare_command = commands.add_parser("compare", help="two versions side by side on statements new to both")
    compare_command.add_argument("models", nargs=2, metavar="MODEL", help="name of a shipped model, or a folder")
    compare_command.add_argument("--data", type=Path, nargs="+", required=True)
    compare_command.set_defaults(run=_compare)

    release = commands.add_parser("release", help="copy what serving needs of a version into a new folder")
    release.add_argument("--model", type=Path, required=True, help="folder that `fit` has written")
    release.add_argument("--out", type=Path, required=True, help="new folder")
    release.add_argument(
        "--texts", type=Path, nargs="+", default=[], help="statements or pointers: notes digests of what was learnt"
    )
    release.set_defaults(run=_release)


def add_config_options(command: argparse.ArgumentParser) -> None:
    """Add the settings of a training run."""
    for name in OPTIONS:
        default = FitConfig.__dataclass_fields__[name].default
        command.add_argument(
            f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"default {default}"
        )


def config_from(options: argparse.Namespace) -> FitConfig:
    """Return the settings that the command line gave."""
    return FitConfig(**{name: getattr(options, name) for name in OPTIONS})


def _fit(options: argparse.Namespace) -> int:
    from training.fit import fit  # torch and transformers take seconds to import, which no other command needs

    config = config_from(options)
    if options.labels:
        config = replace(config, labels=tuple(options.labels))
    manifest = fit(
        config,
        options.data,
        options.out,
        options.version,
        options.splits,
        options.teacher,
        options.unlabelled,
        options.own,
        Progress(options.progress),
    )
    print(f"version {manifest.version} in {options.out}\n\n{table(manifest.metrics)}")
    if absent := manifest.data["absent"]:
        print(f"\n{absent:,} statements that {options.splits} names were not in --data: this version did without them.")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    classifier = Classifier.load(locate_model(options.model))
    metrics = evaluate(classifier, read_statements(options.data, classifier.labels))
    print(json.dumps(metrics, indent=2) if options.json else table(metrics))
    return 0


def _compare(options: argparse.Namespace) -> int:
    folders = [locate_model(name) for name in options.models]
    classifiers = [Classifier.load(folder) for folder in folders]
    labels = classifiers[0].labels
    if classifiers[1].labels != labels:
        raise CorpusError(f"expected two models of the same labels, came {labels} and {classifiers[1].labels}.")
    known = set().union(*(Provenance.read(folder).learnt_ids for folder in folders))
    statements = [each for each in read_statements(options.data, labels) if each.id not in known]
    if not statements:
        raise CorpusError("expected statements that neither model was trained or calibrated on, came none in --data.")
    gold = gold_indices(statements, labels)
    texts = {each.id: each.text for each in statements}
    said = [np.array([labels.index(answer.label) for answer in predict(each, texts)]) for each in classifiers]
    names = [f"{name} ({each.manifest.version})" for name, each in zip(options.models, classifiers, strict=True)]
    groups = [whole_groups(statements, each == gold) for each in said]
    print(comparison_table(compare(said[0], said[1], gold, labels), names, groups))
    return 0


def _release(options: argparse.Namespace) -> int:
    from training.teacher import TRANSFORMER  # see _fit

    manifest = read_manifest(options.model)
    verify_files(options.model, manifest)
    provenance = Provenance.read(options.model).with_digests(options.texts, manifest) if options.texts else None
    refuse_existing(options.out)
    shutil.copytree(options.model, options.out, ignore=shutil.ignore_patterns(TRANSFORMER, MANIFEST))
    if is_described(manifest):  # a version of the first format keeps the card that it came with
        (options.out / CARD).write_text(model_card(manifest), encoding="utf-8")
    if provenance:
        provenance.write(options.out)
    write_manifest(options.out, replace(manifest, files=file_digests(options.out)))
    return 0
