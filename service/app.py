"""The application: what is loaded when it starts, what answers, and in which order a request meets the layers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version as installed_version

import anyio.to_thread
import structlog
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from model.classifier import Classifier
from service.bodies import BodyLimit
from service.database import Database
from service.models import Models
from service.problems import LastResort, document_problems, install_problem_handlers
from service.routes import labelstudio, operations, predict, review, statements, stream, trainings
from service.routes import models as model_routes
from service.settings import Settings
from service.state import State
from service.telemetry import Metrics, RequestLog
from service.watcher import watch

__all__ = ["create_app"]

_log = structlog.get_logger(__name__)


def create_app(
    settings: Settings,
    classifier: Classifier | None = None,
    models: Models | None = None,
    trainer: Sequence[str] | None = None,
    metrics: Metrics | None = None,
) -> FastAPI:
    """Return the application; it loads its model when it starts.

    Args:
        settings: of the service.
        classifier: serves where nothing is promoted, in place of the model that the settings name.
        models: of these settings, where the first one is loaded already.
        trainer: command in place of `python -m training`, its first word the path of a program.
        metrics: of all workers, where this is one of several.
    """
    database = Database(settings.database_url)
    state = State(settings, metrics or Metrics(), database, models or Models(settings, classifier), trainer)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A model that cannot answer stops the start here, before the first request.
        first = await anyio.to_thread.run_sync(state.models.first)
        state.begin(first)
        watcher = asyncio.create_task(watch(state))
        loop = asyncio.get_running_loop()

        def promote(version: str, who: str) -> None:
            move = state.move(lambda: state.models.promote(version, who))
            asyncio.run_coroutine_threadsafe(move, loop).result()

        state.jobs.start(promote)
        _log.info("ready", model=first.classifier.manifest.version, labels=first.classifier.labels)
        yield
        state.is_stopping = True
        await anyio.to_thread.run_sync(state.jobs.stop)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        await state.end()
        database.close()
        _log.info("stopped")

    app = FastAPIOffline(
        redoc_url=None,  # its script fetches a logo from another host
        title="Brink",
        summary="The stance of a statement in a security confrontation.",
        version=installed_version("brink"),
        lifespan=lifespan,
    )
    app.state.brink = state
    app.include_router(operations.router)
    app.include_router(predict.router)
    app.include_router(stream.router)
    app.include_router(statements.router)
    app.include_router(model_routes.router)
    app.include_router(review.router)
    app.include_router(labelstudio.router)
    app.include_router(trainings.router)
    install_problem_handlers(app)
    document_problems(app)
    # The last one added is the outermost: the id is there before the log line, which also counts a refused body.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, unlimited={stream.PATH})
    app.add_middleware(LastResort)
    app.add_middleware(RequestLog, metrics=state.metrics)
    app.add_middleware(CorrelationIdMiddleware)
    return app
