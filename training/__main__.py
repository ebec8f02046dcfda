"""The command line: parse, call, exit code. `python -m training --help` lists the commands."""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from model.artifact import MANIFEST, file_digests, locate_model, read_manifest, verify_files, write_manifest
from model.classifier import Classifier
from model.errors import ModelError
from training.card import model_card
from training.check import check_corpus
from training.config import FitConfig
from training.corpus import read_statements
from training.errors import OutputError, TrainingError
from training.evaluate import evaluate, table
from training.rehydrate import rehydrate

_OPTIONS = ("base", "seed", "epochs", "batch_size", "learning_rate", "checkpoint_every_s")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 with the reason on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (TrainingError, ModelError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make, measure and check models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train, calibrate, export and measure one version")
    fit.add_argument("--data", type=Path, nargs="+", required=True, help="files or folders of labelled statements")
    fit.add_argument("--out", type=Path, required=True, help="folder to write; run again to go on after a kill")
    fit.add_argument("--labels", nargs="+", help="the label set, in the order of the outputs")
    fit.add_argument("--version", help="name of the version; today's date by default")
    for name in _OPTIONS:
        default = FitConfig.__dataclass_fields__[name].default
        fit.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=f"default {default}")
    fit.set_defaults(run=_fit)

    evaluate_command = commands.add_parser("evaluate", help="scores of a model on labelled statements")
    evaluate_command.add_argument("--model", required=True, help="name of a shipped model, or a folder")
    evaluate_command.add_argument("--data", type=Path, nargs="+", required=True)
    evaluate_command.add_argument("--json", action="store_true", help="print JSON in place of a table")
    evaluate_command.set_defaults(run=_evaluate)

    check = commands.add_parser("check", help="check a corpus that has every field of data/README.md")
    check.add_argument("data", type=Path, nargs="+")
    check.set_defaults(run=_check)

    join = commands.add_parser("rehydrate", help="join labels and pointers with texts that are kept elsewhere")
    join.add_argument("--pointers", type=Path, nargs="+", default=[Path("data/real")], help="default data/real")
    join.add_argument("--texts", type=Path, nargs="+", required=True, help="JSON Lines files or folders with the texts")
    join.add_argument("--out", type=Path, required=True, help="file of statements to write")
    join.set_defaults(run=_rehydrate)

    release = commands.add_parser("release", help="copy what serving needs of a version into a new folder")
    release.add_argument("--model", type=Path, required=True, help="folder that `fit` has written")
    release.add_argument("--out", type=Path, required=True, help="new folder")
    release.set_defaults(run=_release)
    return parser


def _fit(options: argparse.Namespace) -> int:
    from training.fit import fit  # torch and transformers take seconds to import, which no other command needs

    config = FitConfig(**{name: getattr(options, name) for name in _OPTIONS})
    if options.labels:
        config = replace(config, labels=tuple(options.labels))
    manifest = fit(config, options.data, options.out, options.version)
    print(f"version {manifest.version} in {options.out}\n\n{table(manifest.metrics)}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    classifier = Classifier.load(locate_model(options.model))
    metrics = evaluate(classifier, read_statements(options.data, classifier.labels))
    print(json.dumps(metrics, indent=2) if options.json else table(metrics))
    return 0


def _check(options: argparse.Namespace) -> int:
    problems, description = check_corpus(options.data)
    print("\n".join(description))
    if problems:
        sys.stderr.write("\n".join([f"\n{len(problems)} problems:", *problems]) + "\n")
    return 1 if problems else 0


def _rehydrate(options: argparse.Namespace) -> int:
    joined = rehydrate(options.pointers, options.texts)
    if options.out.exists():
        raise OutputError(f"{options.out} exists and is not overwritten; choose another --out or remove it.")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(statement, ensure_ascii=False) + "\n" for statement in joined.statements]
    options.out.write_text("".join(lines), encoding="utf-8")
    absent = ", ".join(f"{source} {count}" for source, count in joined.missing.items())
    print(f"{len(lines)} statements in {options.out}; without a text: {absent or 'none'}")
    return 0


def _release(options: argparse.Namespace) -> int:
    from training.fit import CARD, TRANSFORMER  # see _fit

    manifest = read_manifest(options.model)
    verify_files(options.model, manifest)
    if options.out.exists():
        raise OutputError(f"{options.out} exists, and a model is never overwritten; choose a new folder as --out.")
    shutil.copytree(options.model, options.out, ignore=shutil.ignore_patterns(TRANSFORMER, MANIFEST))
    (options.out / CARD).write_text(model_card(manifest), encoding="utf-8")
    write_manifest(options.out, replace(manifest, files=file_digests(options.out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
