"""Start the server, `python -m service`, or do what a command says; `python -m service --help` lists them.

Settings come from the environment, `BRINK_*`.
"""

import os
import signal
import sys
from contextlib import closing
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from model.errors import ModelError
from service.access import Keys, check_listening
from service.app import create_app
from service.commands import parse_command
from service.database import Database
from service.errors import ServiceError
from service.models import Models
from service.settings import Settings, load_settings
from service.telemetry import configure_logging

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
    try:
        models = Models(settings)
        models.load_first()
        app = create_app(settings, models=models)
    except ModelError as error:
        _log.error("could not start", reason=str(error))
        return 1
    server = _Server(_server_config(app, settings))
    # uvicorn raises a signal anew once it has stopped; the default handler would then end the process with its number.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    try:
        server.run()
    except SystemExit:  # the port is busy or the warm-up failed; it has logged which, and its own code is not ours
        return 1
    return 0


class _Server(uvicorn.Server):
    """Tells the application at once that it is to stop: it waits for its answers to end, and some end only then."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and do so at once where it is told twice."""
        self.config.app.state.brink.is_stopping = True  # type: ignore[union-attr]  # the application that it was given
        super().handle_exit(sig, frame)


def _server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        log_config=None,  # its lines go through `configure_logging` like all others
        access_log=False,  # `RequestLog` writes one line a request
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
    )


if __name__ == "__main__":
    sys.exit(main())
