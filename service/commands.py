"""The commands of `python -m service` beside serving: label a file, labelled statements, keys, versions."""

import argparse
import getpass
import json
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from model.artifact import locate_model, read_manifest
from model.classifier import Classifier
from service.access import SCOPES, Keys
from service.database import Database
from service.errors import TableError
from service.imports import read_upload
from service.labelling import LabelSet, add_found, export_line
from service.models import Models
from service.score import score_file
from service.settings import Settings
from service.store import Filters, Store
from service.version_commands import add_version_commands

__all__ = ["parse_command"]

_SHOWN = 20


def parse_command() -> argparse.Namespace:
    """Return what the command line says; `run` is None where it is to serve."""
    parser = argparse.ArgumentParser("python -m service", description="Serve; or, with a command, do that.")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands")
    score = commands.add_parser("score", help="label every row of a file")
    score.add_argument("file", type=Path, help="CSV with a header, JSON Lines or Parquet")
    score.add_argument("--out", type=Path, required=True, help="new file; run again to go on after a kill")
    score.add_argument("--column", default="text", help="column with the texts; default text")
    score.add_argument("--model", help="name of a shipped model, or a folder; default the one that serves")
    score.set_defaults(run=_score)

    labels = commands.add_parser("labels", help="labelled statements of the database").add_subparsers(
        title="commands", required=True
    )
    add = labels.add_parser("add", help="add those of a file; the same file again adds nothing")
    add.add_argument("file", type=Path, help="as `POST /v1/statements` takes it")
    add.add_argument("--annotator", help="of rows that name none; default you")
    add.add_argument("--source", help="of rows that name none")
    add.set_defaults(run=_add)
    export = labels.add_parser("export", help="write those that have a label as JSON Lines for `python -m training`")
    export.add_argument("--out", type=Path, required=True, help="new file")
    export.set_defaults(run=_export)

    keys = commands.add_parser("keys", help="API keys; once there is one, every caller needs one")
    kinds = keys.add_subparsers(title="commands", required=True)
    create = kinds.add_parser("create", help="make a key and print it: the only time that it is seen")
    create.add_argument("name", help="of whom or what it is for; the audit names it")
    create.add_argument("--scopes", nargs="+", choices=SCOPES, required=True, help="admin has all")
    create.set_defaults(run=_create_key)
    revoke = kinds.add_parser("revoke", help="make a key worthless, within seconds")
    revoke.add_argument("name")
    revoke.set_defaults(run=_revoke_key)
    kinds.add_parser("list", help="names, scopes and times, never keys").set_defaults(run=_list_keys)

    add_version_commands(commands)
    return parser.parse_args()


def _score(settings: Settings, options: argparse.Namespace) -> int:
    folder = locate_model(options.model) if options.model else Models(settings).folder()
    classifier = Classifier.load(folder, settings.threads)
    if errors := score_file(classifier, options.file, options.out, options.column):
        sys.stderr.write(f"{errors:,} rows could not be labelled; brink_error in {options.out} says why.\n")
    return 0


def _add(settings: Settings, options: argparse.Namespace) -> int:
    label_set = LabelSet.of_model(read_manifest(Models(settings).folder()).labels)
    try:
        content = options.file.read_bytes()
    except OSError as error:
        raise TableError(f"{options.file} cannot be read: {error.strerror}.") from error
    with closing(Database(settings.database_url)) as database:
        outcomes = add_found(
            Store(database), read_upload(content), label_set, getpass.getuser(), options.annotator, options.source
        )
    counts = Counter(each.status for each in outcomes)
    print(", ".join(f"{counts[status]} {status}" for status in ("accepted", "duplicate", "conflicting", "rejected")))
    refused = [each for each in outcomes if each.status in {"conflicting", "rejected"}]
    for each in refused[:_SHOWN]:
        sys.stderr.write(f"{options.file}:{each.line}: {each.status}: {each.reason}\n")
    if len(refused) > _SHOWN:
        sys.stderr.write(f"and {len(refused) - _SHOWN} more\n")
    return 1 if refused else 0


def _export(settings: Settings, options: argparse.Namespace) -> int:
    out: Path = options.out
    if out.exists():
        raise TableError(f"{out} is there already and is not overwritten; choose another --out.")
    unfinished = out.with_name(f"{out.name}.part")
    count = 0
    try:
        with closing(Database(settings.database_url)) as database, unfinished.open("w", encoding="utf-8") as stream:
            for statement in Store(database).export(Filters()):
                stream.write(json.dumps(export_line(statement), ensure_ascii=False) + "\n")
                count += 1
        unfinished.replace(out)
    except OSError as error:
        raise TableError(f"{out} cannot be written: {error.strerror}.") from error
    print(f"{count} labelled statements in {out}")
    return 0


def _create_key(settings: Settings, options: argparse.Namespace) -> int:
    with closing(Database(settings.database_url)) as database:
        print(Keys(database).create(options.name, options.scopes))
    sys.stderr.write("keep it: it cannot be shown again. Callers send `Authorization: Bearer KEY`.\n")
    return 0


def _revoke_key(settings: Settings, options: argparse.Namespace) -> int:
    with closing(Database(settings.database_url)) as database:
        Keys(database).revoke(options.name)
    return 0


def _list_keys(settings: Settings, _: argparse.Namespace) -> int:
    with closing(Database(settings.database_url)) as database:
        for key in Keys(database).all():
            state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M} UTC" if key.revoked_at else "holds"
            print(f"{key.name}: {', '.join(key.scopes)}; made {key.created_at:%Y-%m-%d %H:%M} UTC; {state}")
    return 0
