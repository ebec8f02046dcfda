"""Commands on the corpus: check, rehydrate, select, agreement, split, curve, corpus-report."""

import argparse
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.artifact import STATEMENTS, locate_model
from model.classifier import Classifier, check_text
from model.errors import UnclassifiableTextError
from training.agreement import Reading, agreement, agreement_table, read_readings
from training.commands.files import refuse_existing, write_new
from training.commands.versions import add_config_options, config_from
from training.config import FitConfig
from training.corpus import Statement, json_rows, read_statements
from training.evaluate import predict
from training.rehydrate import rehydrate
from training.select import label_shares, read_pool, reason_row, select
from training.split import PARTS, Split, assign_splits, read_splits, split_statements, write_splits

if TYPE_CHECKING:
    from training.suspects import Suspect

__all__ = ["add_corpus_commands"]


def add_corpus_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add every command on the corpus."""
    check = commands.add_parser("check", help="check a corpus that has every field of data/README.md")
    check.add_argument("data", type=Path, nargs="+")
    check.add_argument("--splits", type=Path, help="folder of split files; what they do not name is split by hash")
    check.set_defaults(run=_check)

    join = commands.add_parser("rehydrate", help="join labels and pointers with texts that are kept elsewhere")
    join.add_argument("--pointers", type=Path, nargs="+", default=[Path("data/real")], help="default data/real")
    join.add_argument("--texts", type=Path, nargs="+", required=True, help="JSON Lines files or folders with the texts")
    join.add_argument("--out", type=Path, required=True, help="file of statements to write")
    join.set_defaults(run=_rehydrate)

    choose = commands.add_parser("select", help="choose what to label next from an unlabelled pool")
    choose.add_argument("--pool", type=Path, nargs="+", required=True, help="JSON Lines files or folders with `text`")
    choose.add_argument("--model", required=True, help="name of a shipped model, or a folder")
    choose.add_argument("--count", type=int, required=True, help="how many to choose")
    choose.add_argument("--labelled", type=Path, nargs="+", default=[], help="statements or pointers to leave out")
    choose.add_argument("--seed", type=int, default=FitConfig.seed, help=f"default {FitConfig.seed}")
    choose.add_argument("--out", type=Path, required=True, help="file to write: the statements, in random order")
    choose.add_argument("--reasons", type=Path, help="file to write: why each was chosen; keep it from blind readers")
    choose.set_defaults(run=_select)

    compare = commands.add_parser("agreement", help="how far two readers of the same statements agree")
    compare.add_argument("first", type=Path, help="file or folder of rows with `id`, `label` and, if any, `act`")
    compare.add_argument("second", type=Path, help="the same, of the second reader")
    compare.add_argument("--disagreements", type=Path, help="file to write: what the two read differently, to settle")
    compare.set_defaults(run=_agreement)

    divide = commands.add_parser("split", help="give every statement that has none a part: train, validation or test")
    divide.add_argument("--data", type=Path, nargs="+", required=True, help="files or folders of labelled statements")
    divide.add_argument("--splits", type=Path, required=True, help="folder of split files to extend, or a new one")
    divide.add_argument("--seed", type=int, default=FitConfig.seed, help=f"default {FitConfig.seed}")
    divide.set_defaults(run=_split)

    curve = commands.add_parser("curve", help="how scores grow with the corpus; goes on where it was interrupted")
    _add_corpus(curve)
    curve.add_argument(
        "--sizes", type=int, nargs="+", default=[500, 1000, 2000, 4000], help="default 500 1000 2000 4000"
    )
    curve.add_argument("--all", action="store_true", help="a point for all statements of each origin as well")
    curve.add_argument(
        "--measure", action="append", default=[], metavar="NAME=FILE", help="a further set to measure on"
    )
    curve.add_argument("--out", type=Path, required=True, help="file of points to extend")
    add_config_options(curve)
    curve.set_defaults(run=_curve)

    report = commands.add_parser("corpus-report", help="what the corpus holds and how good it is: Markdown and plots")
    _add_corpus(report)
    report.add_argument("--annotations", type=Path, default=Path("data/annotations"), help="default data/annotations")
    report.add_argument("--pointers", type=Path, default=Path("data/real"), help="default data/real")
    report.add_argument("--model", type=Path, help="version that suspects labels: a folder that `fit` has written")
    report.add_argument("--out", type=Path, default=Path("data/report"), help="default data/report")
    report.set_defaults(run=_report)


def _add_corpus(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, nargs="+", required=True, help="files or folders of labelled statements")
    command.add_argument("--splits", type=Path, default=Path("data/splits"), help="default data/splits")


def _check(options: argparse.Namespace) -> int:
    from training.check import check_corpus  # this and cleanlab take a second to import, which a quick training has not

    problems, description = check_corpus(options.data, read_splits(options.splits) if options.splits else None)
    print("\n".join(description))
    if problems:
        sys.stderr.write("\n".join([f"\n{len(problems)} problems:", *problems]) + "\n")
    return 1 if problems else 0


def _rehydrate(options: argparse.Namespace) -> int:
    joined = rehydrate(options.pointers, options.texts)
    write_new(options.out, joined.statements)
    absent = ", ".join(f"{source} {count}" for source, count in joined.missing.items())
    print(f"{len(joined.statements)} statements in {options.out}; without a text: {absent or 'none'}")
    return 0


def _select(options: argparse.Namespace) -> int:
    for path in filter(None, (options.out, options.reasons)):
        refuse_existing(path)
    classifier = Classifier.load(locate_model(options.model))
    pool = [row for row in read_pool(options.pool, options.labelled) if _is_readable(row)]
    predictions = predict(classifier, {row["id"]: row["text"] for row in pool})
    probabilities = np.array([list(each.probabilities.values()) for each in predictions])
    trained_on = classifier.manifest.data["splits"]["train"]["labels"]
    shares = label_shares({label: trained_on.get(label, 0) for label in classifier.labels})
    picks = select([row["text"] for row in pool], probabilities, shares, options.count, options.seed)
    write_new(options.out, [pool[pick.index] for pick in picks])
    if options.reasons:
        write_new(options.reasons, [reason_row(pick, pool[pick.index], predictions[pick.index]) for pick in picks])
    counts = Counter(pick.reason if pick.label is None else f"{pick.reason} {pick.label}" for pick in picks)
    chosen = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
    print(f"{len(picks)} of {len(pool)} statements in {options.out}: {chosen}")
    return 0


def _is_readable(row: dict[str, Any]) -> bool:
    """Return whether a row of a pool can be classified; one that cannot is named, and is no reason to stop."""
    try:
        check_text(row["text"])
    except UnclassifiableTextError as error:
        sys.stderr.write(f"left out: {row['id']!r}: {error}\n")
        return False
    return True


def _agreement(options: argparse.Namespace) -> int:
    first, second = (read_readings(path) for path in (options.first, options.second))
    both = [id_ for id_ in first if id_ in second]
    labels = [(first[id_].label, second[id_].label) for id_ in both]
    acts = [(one, other) for id_ in both if (one := first[id_].act) and (other := second[id_].act)]
    for level, pairs in (("labels", labels), ("acts", acts)):
        if pairs or level == "labels":
            found = agreement([one for one, _ in pairs], [other for _, other in pairs])
            print(f"{level}: {agreement_table(found)}\n")
    apart = [id_ for id_ in both if first[id_].label != second[id_].label]
    if options.disagreements:
        write_new(
            options.disagreements,
            [{"id": id_, "first": asdict(first[id_]), "second": asdict(second[id_])} for id_ in apart],
        )
    print(f"{len(first) - len(both)} read only by the first, {len(second) - len(both)} only by the second")
    return 0


def _split(options: argparse.Namespace) -> int:
    known = read_splits(options.splits) if options.splits.exists() else {}
    config = FitConfig()
    statements = read_statements(options.data, config.labels)
    part_of = assign_splits(statements, known, round(1 / config.test_share), options.seed)
    write_splits(options.splits, part_of)
    counts = Counter(part_of.values())
    shown = ", ".join(f"{part} {counts[part]}" for part in PARTS)
    print(f"{len(part_of) - len(known)} statements added to {options.splits}: now {shown}")
    return 0


def _corpus(options: argparse.Namespace) -> tuple[list[Statement], Split]:
    config = FitConfig()
    statements = read_statements(options.data, config.labels)
    known = read_splits(options.splits)
    return statements, split_statements(statements, config.validation_share, config.test_share, known)


def _curve(options: argparse.Namespace) -> int:
    from training.curve import ORIGINS, learning_curve  # torch takes seconds to import

    config = config_from(options)
    _, split = _corpus(options)
    measured = {}
    for each in options.measure:
        name, _, file = each.partition("=")
        measured[name] = read_statements([Path(file)], config.labels)
    real = sum(each.source is not None for each in split.train)
    there = {"composed": len(split.train) - real, "real": real, "both": len(split.train)}
    points = [(origin, size) for size in options.sizes for origin in ORIGINS if size <= there[origin]]
    points += [(origin, None) for origin in ORIGINS if options.all and there[origin]]
    for point in learning_curve(config, split, points, measured, options.out):
        scores = ", ".join(f"{name} {score:.3f}" for name, score in point["macro_f1"].items())
        print(f"{point['origin']} {point['size']}: {scores}", flush=True)
    return 0


def _report(options: argparse.Namespace) -> int:
    from training.curve import read_curve  # torch and matplotlib take seconds to import
    from training.report import ReportInputs, corpus_report

    statements, split = _corpus(options)
    composed = [each for each in statements if each.source is None]
    decisions = options.out / "decisions.jsonl"
    suspects, answers = _unseen(options.model, statements) if options.model else ([], [])
    inputs = ReportInputs(
        composed=composed,
        real=[each for each in statements if each.source is not None],
        pointers=[row for _, row in json_rows([options.pointers])],
        readings=({each.id: Reading(each.label, each.act) for each in composed}, _annotations(options.annotations)),
        split=split,
        curve=read_curve(options.out / "curve.jsonl"),
        suspects=suspects,
        answers=answers,
        decisions={row["id"]: row["decision"] for _, row in json_rows([decisions])} if decisions.exists() else {},
    )
    corpus_report(inputs, options.out)
    print(f"report in {options.out}")
    return 0


def _annotations(folder: Path) -> dict[str, Reading]:
    return {row["id"]: Reading(row["second_label"], row["second_act"]) for _, row in json_rows([folder])}


def _unseen(model: Path, statements: list[Statement]) -> tuple[list["Suspect"], list[tuple[Statement, str]]]:
    """Return what a version, as it records itself, was not trained on: the suspects, and its answers on validation."""
    from training.suspects import find_suspects  # see _check

    classifier = Classifier.load(model)
    parts: dict[str, Any] = json.loads((model / STATEMENTS).read_text(encoding="utf-8"))
    validation, test = set(parts["validation"]), set(parts["test"])
    held = [each for each in statements if each.id in validation | test]
    predictions = predict(classifier, {each.id: each.text for each in held})
    pairs = zip(held, predictions, strict=True)
    answers = [(each, said.label) for each, said in pairs if each.id in validation]
    return find_suspects(held, predictions, classifier.labels), answers
