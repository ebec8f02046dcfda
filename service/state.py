"""What the handlers of one application share: settings, metrics, and the model once it is ready."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import anyio.to_thread
import structlog
from fastapi import Depends, Request

from model.classifier import Classifier
from model.errors import ArtifactError, ModelError, StorageError
from model.versions import Pointer
from service.access import Access, Keys
from service.annotations import Annotations
from service.database import Database
from service.errors import DatabaseError, NotReadyError
from service.jobs import Jobs
from service.keeping import KeptPredictions
from service.models import Models
from service.promotions import Promotions
from service.review import ReviewQueue
from service.runs import Tools
from service.serving import Loaded, Serving
from service.settings import Settings
from service.store import Store
from service.telemetry import Metrics
from service.trainings import Trainings
from service.waiting import Room

__all__ = ["CurrentState", "State"]

_log = structlog.get_logger(__name__)

_TRAINER = (sys.executable, "-m", "training")


class State:
    """Everything that lives as long as one application."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        database: Database,
        models: Models,
        trainer: Sequence[str] | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.store = Store(database)
        self.kept = KeptPredictions(database)
        self.review = ReviewQueue(database)
        self.annotations = Annotations(database)
        self.access = Access(Keys(database))
        self.models = models
        self.trainings = Trainings(database)
        self.jobs = Jobs(self.trainings, Tools(settings, self.store, models, trainer or _TRAINER))
        self.is_stopping = False
        self._promotions = Promotions(database)
        self._room = Room(settings.worker_queued_tokens)
        self._serving: Serving | None = None
        self._drains: dict[asyncio.Task[None], Serving] = {}
        self._following = asyncio.Lock()
        self._reported: str | None = None

    def begin(self, loaded: Loaded) -> None:
        """Answer with a model from now on; what the one before it has accepted, it still answers."""
        before, self._serving = self._serving, Serving(loaded, self._room, self.settings.drift_answers)
        self.metrics.serve(loaded.classifier.manifest, self._serving.drift)
        if before is not None:
            drain = asyncio.create_task(before.drain())
            self._drains[drain] = before
            drain.add_done_callback(self._drains.pop)

    async def end(self) -> None:
        """Stop answering."""
        last, self._serving = self._serving, None
        drains = dict(self._drains)
        for drain in drains:
            drain.cancel()
        await asyncio.gather(*drains, return_exceptions=True)
        for serving in (*drains.values(), last):
            if serving is not None:
                await serving.batcher.stop()

    @property
    def serving(self) -> Serving:
        """The model that answers, with its queue; a request asks for it once, and keeps it.

        Raises:
            NotReadyError: no model is warmed up yet, or the service has stopped.
        """
        if self._serving is None:
            raise NotReadyError("no model is loaded yet, or the service is shutting down; ask again in a moment.")
        return self._serving

    @property
    def classifier(self) -> Classifier:
        """The model that answers now, for what needs no queue; raises as `serving` does."""
        return self.serving.classifier

    @property
    def queued_texts(self) -> int:
        """Texts that were accepted and are not answered yet."""
        return self._room.texts

    @property
    def queued_tokens(self) -> int:
        """Tokens of these texts, or as many as they may have."""
        return self._room.tokens

    def measure(self) -> None:
        """Show how much waits in the metrics."""
        self.metrics.queue(self.queued_texts, self.queued_tokens)

    async def move(self, move: Callable[[], Pointer]) -> None:
        """Promote or roll back, note it in the audit, and answer with the result; raises what `move` raises."""
        try:
            await anyio.to_thread.run_sync(move)
        except ArtifactError:
            self.metrics.load_failed()
            raise
        await self._note()
        await self.follow()

    async def follow(self) -> None:
        """Answer with the version that is promoted, once it is loaded and warmed up; one that fails changes nothing."""
        async with self._following:
            try:
                loaded = await anyio.to_thread.run_sync(self.models.newer, self.serving.promoted)
            except ModelError as error:
                self._report(error)
                return
            self._reported = None
            if loaded is None or self._serving is None:
                return
            self.begin(loaded)
            _log.info("serves another model", model=loaded.classifier.manifest.version)
        await self._note()  # who promoted it elsewhere may know of no database

    def _report(self, error: ModelError) -> None:
        if not isinstance(error, StorageError):  # a place that cannot be reached now says nothing of the version
            self.metrics.load_failed()
        if str(error) != self._reported:  # what is asked every second is not told every second
            _log.error("the promoted model was not taken over", reason=str(error))
        self._reported = str(error)

    async def _note(self) -> None:
        try:
            await anyio.to_thread.run_sync(lambda: self._promotions.note(self.models.versions.current().history))
        except (DatabaseError, StorageError) as error:  # the pointer keeps it, and the next time adds what is missing
            _log.error("a promotion is not in the audit yet", reason=str(error))


async def _current(request: Request) -> State:  # a plain function would be run in a thread, at every request
    state: State = request.app.state.brink
    return state


CurrentState = Annotated[State, Depends(_current)]
"""A handler's parameter of this type gets the application's state."""
