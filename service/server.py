"""One process that answers: it loads the model, listens, and at the end answers what it had accepted."""

import signal
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from model.classifier import Classifier
from model.errors import ModelError
from service.app import create_app
from service.models import Models
from service.settings import Settings
from service.telemetry import Metrics

__all__ = ["serve"]

_log = structlog.get_logger(__name__)


def serve(
    settings: Settings,
    metrics: Metrics | None = None,
    sockets: list[socket.socket] | None = None,
    shared: Path | None = None,
    ready: Callable[[], object] = lambda: None,
) -> int:
    """Serve until a signal and answer what was accepted; return 0, or 1 where the service could not start.

    Args:
        settings: of the service.
        metrics: of all workers, where this is one of several.
        sockets: to answer on, in place of the address that the settings name.
        shared: folder through which the workers hold the weights in memory once.
        ready: called once it answers.
    """
    try:
        models = Models(settings, load=partial(Classifier.load, shared=shared))
        models.load_first()
        app = create_app(settings, models=models, metrics=metrics)
    except ModelError as error:
        _log.error("could not start", reason=str(error))
        return 1
    server = _Server(_server_config(app, settings), ready)
    # uvicorn raises a signal anew once it has stopped; the default handler would then end the process with its number.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    try:
        server.run(sockets)
    except SystemExit:  # the port is busy or the warm-up failed; it has logged which, and its own code is not ours
        return 1
    return 0


class _Server(uvicorn.Server):
    """Tells the application at once that it is to stop: it waits for its answers to end, and some end only then."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await super().startup(sockets)
        self._ready()

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
