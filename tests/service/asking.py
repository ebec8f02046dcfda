"""A client that asks a real service fifty times a second and keeps every answer."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2

from tests.service.conftest import WAIT_S

ASKED = {"texts": ["We will answer.", "Both sides should talk."]}
EVERY_S = 1 / 50
# Questions that are open at once. Beyond them a beat is left out: a backlog would take the processor from all else.
OPEN = 8


class Client:
    """Asks fifty times a second until its block ends.

    Attributes:
        answered: the version and the surest label's confidence of each answer.
        errors: everything that was no answer.
    """

    def __init__(self, url: str) -> None:
        self.answered: list[tuple[str, float]] = []
        self.errors: list[str] = []
        self._stopped, self._open = threading.Event(), threading.Semaphore(OPEN)
        self._http = httpx2.Client(base_url=url, timeout=WAIT_S)

    @contextmanager
    def asking(self) -> Iterator[None]:
        with self._http, ThreadPoolExecutor(OPEN + 1) as executor:
            clock = executor.submit(self._keep_asking, executor)
            try:
                yield
            finally:
                self._stopped.set()
                clock.result(WAIT_S)

    def _keep_asking(self, executor: ThreadPoolExecutor) -> None:
        while not self._stopped.wait(EVERY_S):
            if self._open.acquire(blocking=False):
                executor.submit(self._ask)

    def _ask(self) -> None:
        try:
            response = self._http.post("/v1/predict", json=ASKED)
            body = response.json()
            self.answered.append((body["model"], body["predictions"][0]["confidence"]))
        except Exception as error:
            self.errors.append(repr(error))
        finally:
            self._open.release()

    def wait_for(self, version: str) -> float:
        """Return the seconds until an answer is of a version."""
        started, seen = time.monotonic(), len(self.answered)
        while version not in {each for each, _ in self.answered[seen:]}:
            assert time.monotonic() - started < WAIT_S, f"{version} never answered"
            time.sleep(0.01)
        return time.monotonic() - started

    def confidences(self) -> dict[str, set[float]]:
        """Return what each version said of one text: one number, unless answers were mixed."""
        said: dict[str, set[float]] = {}
        for version, confidence in self.answered:
            said.setdefault(version, set()).add(round(confidence, 3))
        return said
