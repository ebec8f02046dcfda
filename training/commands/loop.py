"""Commands of the learning loop: quick, gate, promote."""

import argparse
import getpass
import json
from dataclasses import replace
from pathlib import Path

from model.artifact import locate_model
from model.versions import Versions
from training.evaluate import table
from training.gate import judge
from training.limits import GateLimits, default_limits
from training.progress import Progress
from training.verdict import Verdict

__all__ = ["REFUSED", "add_loop_commands"]

REFUSED = 2
"""Exit code of a challenger that was measured and refused, where 1 is an error and 0 a promotion."""


def add_loop_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add quick, gate and promote."""
    refit = commands.add_parser("quick", help="refit only the head of a version, in seconds")
    refit.add_argument("--model", required=True, help="name of a shipped model, or a folder")
    _add_statements(refit)
    refit.add_argument("--cache", type=Path, required=True, help="folder of what the encoder made of texts before")
    refit.add_argument("--out", type=Path, required=True, help="new folder")
    refit.add_argument("--version", help="name of the version; today's date and the time by default")
    refit.add_argument("--progress", type=Path, help="file to append to how far it is, as JSON Lines")
    refit.add_argument("--verdict", type=Path, help="file to write: what the gate says of it against --model, as JSON")
    refit.set_defaults(run=_quick)

    gate = commands.add_parser("gate", help="challenger against champion; exit code 0 passed, 2 refused, 1 error")
    _add_judgement(gate)
    gate.set_defaults(run=_gate)

    promote = commands.add_parser("promote", help="the gate, and behind it the folder of versions that are served")
    _add_judgement(promote)
    promote.add_argument("--models", required=True, help="folder of versions, or its URL")
    promote.add_argument("--who", default=getpass.getuser(), help="whose decision it is; default %(default)s")
    promote.set_defaults(run=_promote)


def _add_statements(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", type=Path, nargs="+", required=True, help="files or folders of labelled statements")
    command.add_argument("--splits", type=Path, help="folder of split files; what they do not name is split by hash")
    command.add_argument("--own", type=Path, nargs="+", default=[], help="the users' own, as the service exports them")


def _add_judgement(command: argparse.ArgumentParser) -> None:
    command.add_argument("challenger", help="name of a shipped model, or a folder")
    command.add_argument("--champion", required=True, help="name of a shipped model, or a folder")
    _add_statements(command)
    command.add_argument("--cache", type=Path, help="folder of features that a quick training has left")
    margin = GateLimits.overall_margin
    command.add_argument("--margin", type=float, default=margin, help=f"of macro-F1, test split; default {margin}")
    command.add_argument("--json", action="store_true", help="print JSON in place of a table")


def _judge(options: argparse.Namespace) -> Verdict:
    verdict = judge(
        locate_model(options.challenger),
        locate_model(options.champion),
        options.data,
        options.splits,
        options.own,
        replace(default_limits(), overall_margin=options.margin),
        options.cache,
    )
    print(json.dumps(verdict.to_json(), indent=2) if options.json else verdict.table(), flush=True)
    return verdict


def _gate(options: argparse.Namespace) -> int:
    return 0 if _judge(options).promoted else REFUSED


def _promote(options: argparse.Namespace) -> int:
    versions = Versions(options.models)  # first: where they cannot be reached, nothing need be measured
    if not _judge(options).promoted:
        return REFUSED
    versions.promote(versions.publish(locate_model(options.challenger)), options.who)
    return 0


def _quick(options: argparse.Namespace) -> int:
    from training.quick import quick  # matplotlib takes a second to import

    model, progress = locate_model(options.model), Progress(options.progress)
    manifest = quick(
        model,
        options.data,
        options.out,
        options.cache,
        options.own,
        options.splits,
        options.version,
        progress,
    )
    print(f"version {manifest.version} in {options.out}\n\n{table(manifest.metrics)}")
    if options.verdict is not None:
        progress.begin("judging")
        limits = default_limits()
        verdict = judge(options.out, model, options.data, options.splits, options.own, limits, options.cache)
        unfinished = options.verdict.with_name(f"{options.verdict.name}.part")
        unfinished.write_text(json.dumps(verdict.to_json(), indent=2), encoding="utf-8")
        unfinished.replace(options.verdict)
    return 0
