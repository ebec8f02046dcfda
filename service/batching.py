"""Waiting requests to batches: one thread computes, the event loop only queues.

Nothing waits while the engine is free. When it becomes free, the next batch takes a text of every waiting request in
turn, so that a large request cannot hold up small ones. Knows nothing of HTTP.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

from service.errors import DeadlineError, NotReadyError, OverloadedError

__all__ = ["Batcher", "Room"]

Answer = TypeVar("Answer")

# A batch ends when either is reached. Nothing else is answered while one is computed, so its length is what a small
# request may have to wait: 16,000 characters are some 4,000 tokens, 100 statements.
_BATCH_TEXTS = 64
_BATCH_CHARACTERS = 16_000


@dataclass
class Room:
    """How many texts may wait at once, in one queue or in several that share it.

    Attributes:
        max_texts: that may wait.
        taken: texts that were accepted and are not answered yet.
    """

    max_texts: int
    taken: int = 0


@dataclass(eq=False)
class _Job(Generic[Answer]):
    texts: Sequence[str]
    done: "asyncio.Future[list[Answer]]"
    taken: int = 0
    answers: list[Answer] = field(default_factory=list)


class Batcher(Generic[Answer]):
    """A queue before one function that answers several texts at once."""

    def __init__(self, classify: Callable[[Sequence[str]], list[Answer]], room: Room) -> None:
        self._classify = classify
        self._room = room
        self._jobs: set[_Job[Answer]] = set()  # every request that is not answered yet
        self._waiting: deque[_Job[Answer]] = deque()  # those of them with texts that were not taken yet
        self._wake = asyncio.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._worker: asyncio.Task[None] | None = None
        self._texts_per_s = 50.0  # a first guess for Retry-After, replaced by what is measured

    @property
    def queued_texts(self) -> int:
        """Texts that were accepted and are not answered yet, here and in the queues that share the room."""
        return self._room.taken

    def start(self) -> None:
        """Begin to compute; call from the event loop."""
        self._worker = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Stop after the batch that is being computed; every request that waits gets `NotReadyError` at once."""
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        for job in self._jobs:
            self._fail(job, NotReadyError("the service is shutting down; ask again later."))
        self._waiting.clear()
        await asyncio.to_thread(self._executor.shutdown)

    async def submit(self, texts: Sequence[str], timeout_s: float) -> list[Answer]:
        """Return one answer a text, in order.

        Raises:
            NotReadyError: the batcher is not running.
            OverloadedError: there is no room for so many texts now.
            DeadlineError: `timeout_s` seconds passed first; what was not computed yet is dropped.
        """
        if self._worker is None:
            raise NotReadyError("no model is ready; ask again in a moment.")
        if self._room.taken + len(texts) > self._room.max_texts:
            wait_s = math.ceil(self._room.taken / self._texts_per_s)
            raise OverloadedError(
                f"{self._room.taken} texts are waiting and {len(texts)} more do not fit into "
                f"{self._room.max_texts}; ask again after {max(1, wait_s)} s.",
                retry_after_s=max(1, wait_s),
            )
        job = _Job(texts, asyncio.get_running_loop().create_future())
        self._room.taken += len(texts)
        self._jobs.add(job)
        self._waiting.append(job)
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await job.done
        except TimeoutError:
            raise DeadlineError(
                f"{len(job.answers)} of {len(texts)} texts were computed within {timeout_s:g} s; send fewer at once."
            ) from None
        finally:
            job.done.cancel()  # no effect on one that is done; tells the worker to drop the rest of any other
            self._jobs.discard(job)
            self._room.taken -= len(texts)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = self._next_batch()
            if not batch:
                self._wake.clear()
                await self._wake.wait()
                continue
            started = monotonic()
            try:
                answers = await loop.run_in_executor(self._executor, self._classify, [text for _, text in batch])
                self._texts_per_s += 0.2 * (len(batch) / max(monotonic() - started, 1e-6) - self._texts_per_s)
                # All paired before any is delivered: with an answer too many or too few, none can be trusted.
                for (job, _), answer in list(zip(batch, answers, strict=True)):
                    self._deliver(job, answer)
            except Exception as error:  # whatever it is, the callers that wait must learn of it
                for job, _ in batch:
                    self._fail(job, error)

    def _next_batch(self) -> list[tuple[_Job[Answer], str]]:
        """Take one text of each waiting job in turn until the batch is full or nothing waits."""
        batch: list[tuple[_Job[Answer], str]] = []
        characters = 0
        while self._waiting and len(batch) < _BATCH_TEXTS and characters < _BATCH_CHARACTERS:
            job = self._waiting.popleft()
            if job.done.done():  # cancelled, expired or failed
                continue
            text = job.texts[job.taken]
            job.taken += 1
            characters += len(text)
            batch.append((job, text))
            if job.taken < len(job.texts):
                self._waiting.append(job)
        return batch

    @staticmethod
    def _deliver(job: _Job[Answer], answer: Answer) -> None:
        job.answers.append(answer)
        if len(job.answers) == len(job.texts) and not job.done.done():
            job.done.set_result(job.answers)

    @staticmethod
    def _fail(job: _Job[Answer], error: Exception) -> None:
        if not job.done.done():
            job.done.set_exception(error)
