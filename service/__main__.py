"""Start the server: `python -m service`. Settings come from the environment, `BRINK_*`."""

import os
import sys

import structlog
import uvicorn

from model.errors import ModelError
from service.app import create_app
from service.errors import SettingsError
from service.settings import Settings, load_settings
from service.telemetry import configure_logging

_log = structlog.get_logger(__name__)


def main() -> int:
    """Serve until a signal; return 0, or 1 where the service could not start."""
    try:
        settings = load_settings(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    configure_logging(settings.log_level, settings.log_format)
    server = uvicorn.Server(_server_config(settings))
    try:
        server.run()
    except ModelError as error:
        _log.error("could not start", reason=str(error))
    return 0 if server.started else 1


def _server_config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
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
