"""`python -m service models`: list, publish, promote and roll back versions without HTTP.

A service that runs takes the result over within seconds.
"""

import argparse
import getpass
import sys
from contextlib import closing
from pathlib import Path

from service.catalogue import describe_all
from service.database import Database
from service.errors import DatabaseError
from service.models import Models
from service.promotions import Promotions
from service.settings import Settings

__all__ = ["add_version_commands"]


def add_version_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `models` and its commands."""
    models = commands.add_parser("models", help="versions of the model, in BRINK_MODELS")
    kinds = models.add_subparsers(title="commands", required=True)
    kinds.add_parser("list", help="every version, and which of them serves").set_defaults(run=_list)
    publish = kinds.add_parser("publish", help="copy a finished version in; it does not serve yet")
    publish.add_argument("folder", type=Path, help="that `python -m training fit` wrote")
    publish.set_defaults(run=_publish)
    promote = kinds.add_parser("promote", help="let a version serve, once it has loaded and answered here")
    promote.add_argument("version")
    promote.set_defaults(run=_promote)
    kinds.add_parser("rollback", help="serve again what served before").set_defaults(run=_rollback)


def _list(settings: Settings, _: argparse.Namespace) -> int:
    for each in describe_all(Models(settings)):
        score = each.manifest.metrics.get("macro_f1") if each.manifest else None
        shown = f"macro-F1 {score:.3f}" if isinstance(score, (int, float)) else "macro-F1 unknown"
        when = f"; published {each.published_at:%Y-%m-%d %H:%M} UTC" if each.published_at else ""
        print(f"{each.version}: {each.state}; {shown}{when}{f'; {each.reason}' if each.reason else ''}")
    return 0


def _publish(settings: Settings, options: argparse.Namespace) -> int:
    print(Models(settings).versions.publish(options.folder))
    return 0


def _promote(settings: Settings, options: argparse.Namespace) -> int:
    models = Models(settings)
    models.promote(options.version, getpass.getuser())
    return _moved(settings, models)


def _rollback(settings: Settings, _: argparse.Namespace) -> int:
    models = Models(settings)
    models.rollback(getpass.getuser())
    return _moved(settings, models)


def _moved(settings: Settings, models: Models) -> int:
    pointer = models.versions.current()
    print(f"{models.name_of(pointer.version)} serves now; a service that runs follows within seconds.")
    try:
        with closing(Database(settings.database_url)) as database:
            Promotions(database).note(pointer.history)
    except DatabaseError as error:
        sys.stderr.write(f"not in the audit yet, the next promotion will add it: {error}\n")
    return 0
