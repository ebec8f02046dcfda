"""Start the server, `python -m service`, or do what a command says; `python -m service --help` lists them.

Settings come from the environment, `BRINK_*`.
"""

import os
import sys
from contextlib import closing

import structlog

from model.errors import ModelError
from service.access import Keys, check_listening
from service.commands import parse_command
from service.database import Database
from service.errors import ServiceError
from service.server import serve
from service.settings import Settings, load_settings
from service.telemetry import configure_logging
from service.workers import Workers, bind

_log = structlog.get_logger(__name__)


def main() -> int:
    """Do what the command line says; return 0, or 1 with the reason on standard error."""
    options = parse_command()
    try:
        settings = load_settings(os.environ)
        return _serve(settings) if options.run is None else int(options.run(settings, options))
    except (ServiceError, ModelError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


def _serve(settings: Settings) -> int:
    """Serve until a signal and answer what was accepted; return 0, or 1 where the service could not start."""
    with closing(Database(settings.database_url)) as database:
        check_listening(settings.host, settings.allow_anonymous, Keys(database))
    configure_logging(settings.log_level, settings.log_format)
    return serve(settings) if settings.workers == 1 else _serve_by_workers(settings)


def _serve_by_workers(settings: Settings) -> int:
    try:
        bound = bind(settings.host, settings.port)
    except OSError as error:
        _log.error(
            "could not start", reason=f"{(settings.host, settings.port)}: {os.strerror(error.errno or 0).lower()}"
        )
        return 1
    with bound:
        host, port = bound.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return Workers(settings.workers, bound, lambda: _log.info(f"{settings.workers} workers running on {url}")).run()


if __name__ == "__main__":
    sys.exit(main())
