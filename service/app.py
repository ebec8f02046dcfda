"""The application: what is loaded when it starts, what answers, and in which order a request meets the layers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version as installed_version

import anyio.to_thread
import structlog
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from model.artifact import locate_model
from model.classifier import Classifier
from service.batching import Batcher
from service.bodies import BodyLimit
from service.database import Database
from service.problems import LastResort, document_problems, install_problem_handlers
from service.routes import operations, predict, statements, stream
from service.settings import Settings
from service.state import State
from service.telemetry import Metrics, RequestLog

__all__ = ["create_app", "load_classifier"]

_log = structlog.get_logger(__name__)

_WARM_UP = ["Any aircraft that enters our airspace armed will be shot down.", "Both sides should return to the table."]


def create_app(settings: Settings, classifier: Classifier | None = None) -> FastAPI:
    """Return the application; it loads the model of `settings` when it starts, unless a classifier is given."""
    database = Database(settings.database_url)
    state = State(settings, Metrics(), database)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loaded = await anyio.to_thread.run_sync(load_classifier, settings) if classifier is None else classifier
        # A model that cannot answer stops the start here, before the first request.
        await anyio.to_thread.run_sync(loaded.classify, _WARM_UP)
        state.begin(loaded, Batcher(loaded.classify, settings.max_queued_texts))
        _log.info("ready", model=loaded.manifest.version, labels=loaded.labels)
        yield
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
    install_problem_handlers(app)
    document_problems(app)
    # The last one added is the outermost: the id is there before the log line, which also counts a refused body.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes, unlimited={stream.PATH})
    app.add_middleware(LastResort)
    app.add_middleware(RequestLog, metrics=state.metrics)
    app.add_middleware(CorrelationIdMiddleware)
    return app


def load_classifier(settings: Settings) -> Classifier:
    """Return the model that `settings` name; raises `ArtifactError` where there is none that can be loaded."""
    return Classifier.load(locate_model(settings.model), settings.threads)
