"""Waiting requests to batches: one thread computes, another encodes ahead of it, the event loop only queues.

Nothing waits while the engine is free: its thread then encodes by itself and computes. Knows nothing of HTTP.
"""

import asyncio
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.classifier import Encoded, Prediction
from model.errors import UnclassifiableTextError
from service.errors import DeadlineError, NotReadyError
from service.waiting import Answer, Job, Room, Text, Waiting, Window

__all__ = ["Batcher", "Engine"]

_Answered = tuple[Job, int, Answer, Encoded | None]
"""A text, by its request and place, with its answer; and as it was computed, where it was."""


class Engine(Protocol):
    """The three steps from texts to answers; see `model.classifier.Classifier`."""

    def encode(self, texts: Sequence[str]) -> list[Encoded | UnclassifiableTextError]:
        """Return each text as `run` takes it, or what is wrong with it."""

    def run(self, windows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        """Return a row of logits a window."""

    def answer(self, encoded: Encoded, logits: npt.NDArray[np.float32]) -> Prediction:
        """Return the answer for one text, from the rows of its windows."""


class Batcher:
    """A queue before one engine."""

    def __init__(self, engine: Engine, room: Room) -> None:
        self._engine = engine
        self._waiting = Waiting(room)
        self._lock = room.lock
        self._for_engine, self._for_helper = threading.Condition(room.lock), threading.Condition(room.lock)
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # of the requests, while this runs
        self._futures: dict[Job, asyncio.Future[list[Answer]]] = {}  # of the event loop's thread
        self._is_computing = False
        self._is_stopping = False
        self._computed: list[Text] = []  # whose answers are to be made
        self._measured_at = 0.0

    @property
    def queued_texts(self) -> int:
        """Texts that were accepted and are not answered yet, here and in the queues that share the room."""
        return self._waiting.room.texts

    def start(self) -> None:
        """Begin to compute; call from the event loop."""
        self._loop = asyncio.get_running_loop()
        self._measured_at = monotonic()
        for name, work in (("engine", self._compute), ("tokenizer", self._help)):
            self._threads.append(threading.Thread(target=work, name=name, daemon=True))
            self._threads[-1].start()

    async def stop(self) -> None:
        """Stop after the batch that is being computed; every request that waits gets `NotReadyError` at once."""
        self._loop = None
        with self._lock:
            self._is_stopping = True
            self._for_engine.notify_all()
            self._for_helper.notify_all()
            jobs = list(self._waiting.jobs)
            for job in jobs:
                job.is_over = True
        self._fail(jobs, NotReadyError("the service is shutting down; ask again later."))
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def submit(self, texts: Sequence[str], timeout_s: float) -> list[Answer]:
        """Return one answer a text, in order.

        Raises:
            NotReadyError: the batcher is not running.
            OverloadedError: there is no room for so many texts now.
            DeadlineError: `timeout_s` seconds passed first; what was not computed yet is dropped.
        """
        if self._loop is None:
            raise NotReadyError("no model is ready; ask again in a moment.")
        if not texts:
            return []
        job = Job(texts, monotonic() + timeout_s)
        with self._lock:
            self._waiting.add(job)
            (self._for_helper if self._is_computing else self._for_engine).notify()
        future: asyncio.Future[list[Answer]] = self._loop.create_future()
        self._futures[job] = future
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise DeadlineError(
                f"{len(job.answers)} of {len(texts)} texts were computed within {timeout_s:g} s; send fewer at once."
            ) from None
        finally:
            del self._futures[job]
            with self._lock:
                self._waiting.end(job)

    def _compute(self) -> None:
        """Compute what waits until the stop: the engine's thread."""
        while batches := self._next_batches():
            for batch in batches:
                if wanted := [window for window in batch if window.text.job.is_wanted]:
                    self._run(wanted)
                with self._lock:
                    has_more = batch is not batches[-1] or self._waiting.has_windows or self._waiting.has_texts
                    if has_more:
                        self._for_helper.notify()
                if not has_more:
                    self._answer()

    def _next_batches(self) -> list[list[Window]]:
        """Wait for something to compute and return it, encoded here where it is not yet; nothing at the stop."""
        while True:
            with self._lock:
                self._is_computing = False
                while not (self._waiting.has_windows or self._waiting.has_texts or self._is_stopping):
                    self._for_engine.wait()
                    self._measured_at = monotonic()
                if self._is_stopping:
                    return []
                if batches := self._waiting.take_batches():
                    self._is_computing = True
                    self._for_helper.notify()
                    return batches
                texts = self._waiting.take_texts()
            self._encode(texts)

    def _help(self) -> None:
        """Make answers, and encode ahead, while the engine computes: the other thread."""
        while True:
            with self._lock:
                while not (self._computed or (self._is_computing and self._waiting.has_texts) or self._is_stopping):
                    self._for_helper.wait()
                if self._is_stopping:
                    return
                texts = [] if self._computed else self._waiting.take_texts()
            if texts:
                self._encode(texts)
            else:
                self._answer()

    def _encode(self, texts: Sequence[tuple[Job, int]]) -> None:
        try:
            encoded = list(zip(texts, self._engine.encode([job.texts[place] for job, place in texts]), strict=True))
        except Exception as error:  # whatever it is, the callers that wait must learn of it
            self._post_failure([job for job, _ in texts], error)
            return
        with self._lock:
            for (job, place), each in encoded:
                if isinstance(each, Encoded):
                    self._waiting.put(job, place, each)
            if not self._is_computing:
                self._for_engine.notify()
        self._post([(job, place, each, None) for (job, place), each in encoded if not isinstance(each, Encoded)])

    def _run(self, windows: Sequence[Window]) -> None:
        try:
            # All paired before any is kept: with a row too many or too few, none can be trusted.
            rows = list(zip(windows, self._engine.run([window.ids for window in windows]), strict=True))
        except Exception as error:
            self._post_failure([window.text.job for window in windows], error)
            return
        now = monotonic()
        texts = {window.text: None for window in windows}
        for window, row in rows:
            window.text.rows[window.rank] = row
        with self._lock:
            self._waiting.computed(sum(len(window.ids) for window in windows), now - self._measured_at)
            self._measured_at = now
            self._computed += [text for text in texts if text.logits is not None]

    def _answer(self) -> None:
        """Make the answers of all texts that are computed; in whichever thread is free."""
        with self._lock:
            texts, self._computed = self._computed, []
        answers: list[_Answered] = []
        for text in texts:
            try:
                assert text.logits is not None
                answer = self._engine.answer(text.encoded, text.logits)
                answers.append((text.job, text.place, answer, text.encoded))
            except Exception as error:
                self._post_failure([text.job], error)
        self._post(answers)

    def _post(self, answers: Sequence[_Answered]) -> None:
        if answers and (loop := self._loop) is not None:
            loop.call_soon_threadsafe(self._deliver, answers)

    def _post_failure(self, jobs: Sequence[Job], error: Exception) -> None:
        with self._lock:
            for job in jobs:
                job.is_over = True
        if (loop := self._loop) is not None:
            loop.call_soon_threadsafe(self._fail, jobs, error)

    def _deliver(self, answers: Sequence[_Answered]) -> None:
        with self._lock:
            for each in answers:
                self._waiting.answer(*each)
        for job, *_ in answers:
            future = self._futures.get(job)
            if future is not None and len(job.answers) == len(job.texts) and not future.done():
                future.set_result([job.answers[place] for place in range(len(job.texts))])

    def _fail(self, jobs: Sequence[Job], error: Exception) -> None:
        for job in jobs:
            future = self._futures.get(job)
            if future is not None and not future.done():
                future.set_exception(error)
