"""One model and the queue before it: what a request takes once and keeps to its end, whatever is promoted meanwhile."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from model.classifier import Classifier
from service.batching import Batcher
from service.drift import Drift
from service.waiting import Room

__all__ = ["Loaded", "Serving"]


@dataclass(frozen=True)
class Loaded:
    """A model that was loaded and warmed up.

    Attributes:
        version: as the pointer names it; None for the model that serves where nothing is promoted.
        classifier: the model.
    """

    version: str | None
    classifier: Classifier


class Serving:
    """A model that answers, with its queue. Of the event loop: not safe to use from several threads."""

    def __init__(self, loaded: Loaded, room: Room, drift_answers: int = 1000) -> None:
        """Begin to answer; call from the event loop.

        Args:
            loaded: the model.
            room: shared with the model that this one follows, while both answer.
            drift_answers: how many of its last answers are watched.
        """
        self.promoted = loaded.version
        self.classifier = loaded.classifier
        self.drift = Drift(loaded.classifier.manifest, drift_answers)
        self.batcher = Batcher(loaded.classifier, room)
        self.batcher.start()
        self._requests = 0
        self._left = asyncio.Event()

    @contextmanager
    def kept(self) -> Iterator[Self]:
        """Keep this model until the block ends: it is not stopped before."""
        self._requests += 1
        try:
            yield self
        finally:
            self._requests -= 1
            self._left.set()

    async def drain(self) -> None:
        """Stop once no request keeps it; call when no new one can come."""
        while self._requests:
            self._left.clear()
            await self._left.wait()
        await self.batcher.stop()
