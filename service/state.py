"""What the handlers of one application share: settings, metrics, and the model once it is ready."""

from typing import Annotated, TypeVar

from fastapi import Depends, Request

from model.classifier import Classifier, Prediction
from model.errors import UnclassifiableTextError
from service.access import Access, Keys
from service.batching import Batcher
from service.database import Database
from service.errors import NotReadyError
from service.settings import Settings
from service.store import Store
from service.telemetry import Metrics

__all__ = ["CurrentState", "State"]

Answer = Prediction | UnclassifiableTextError

Part = TypeVar("Part")


class State:
    """Everything that lives as long as one application."""

    def __init__(self, settings: Settings, metrics: Metrics, database: Database) -> None:
        self.settings = settings
        self.metrics = metrics
        self.store = Store(database)
        self.access = Access(Keys(database))
        self._classifier: Classifier | None = None
        self._batcher: Batcher[Answer] | None = None

    def begin(self, classifier: Classifier, batcher: Batcher[Answer]) -> None:
        """Answer with `classifier` from now on; it has been warmed up."""
        batcher.start()
        self._classifier, self._batcher = classifier, batcher
        self.metrics.serve(classifier.manifest)

    async def end(self) -> None:
        """Stop answering."""
        batcher, self._classifier, self._batcher = self._batcher, None, None
        if batcher is not None:
            await batcher.stop()

    @property
    def classifier(self) -> Classifier:
        """The model that answers; raises `NotReadyError` before it is warmed up and after the service has stopped."""
        return _ready(self._classifier)

    @property
    def batcher(self) -> Batcher[Answer]:
        """The queue before the model; raises `NotReadyError` as `classifier` does."""
        return _ready(self._batcher)

    @property
    def queued_texts(self) -> int:
        """Texts that were accepted and are not answered yet."""
        return 0 if self._batcher is None else self._batcher.queued_texts


def _ready(part: Part | None) -> Part:
    if part is None:
        raise NotReadyError("no model is loaded yet, or the service is shutting down; ask again in a moment.")
    return part


def _current(request: Request) -> State:
    state: State = request.app.state.brink
    return state


CurrentState = Annotated[State, Depends(_current)]
"""A handler's parameter of this type gets the application's state."""
