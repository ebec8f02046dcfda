"""Several processes that answer on one socket, and the one that looks after them: this one, which answers nothing.

A worker that ends is started again. Whoever is free takes the next connection: they share one listening socket, so
that none is lost with a worker but those that it had taken.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from select import select
from tempfile import TemporaryDirectory
from threading import Event
from types import FrameType

import structlog
from prometheus_client.multiprocess import mark_process_dead

__all__ = ["METRICS_FOLDER", "Workers", "bind"]

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client learns where the workers of one service add up their metrics."""

_log = structlog.get_logger(__name__)

_POLL_S = 0.1
# Between two starts of one that ends before it is ready: what it lacks will not be there sooner.
_PAUSE_POLLS = 20


def bind(host: str, port: int) -> socket.socket:
    """Return a socket at an address, on which nobody listens yet; raises `OSError`."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    says_ready: int  # end of a pipe into which it writes once it answers
    is_ready: bool = False
    pause_polls: int = _PAUSE_POLLS

    def look(self) -> int | None:
        """Return its exit code once it has ended; notice whether it is ready."""
        if not self.is_ready and select([self.says_ready], [], [], 0)[0]:
            self.is_ready = bool(os.read(self.says_ready, 1))
        return self.process.poll()


class Workers:
    """The workers of one service."""

    def __init__(self, count: int, bound: socket.socket, ready: Callable[[], None]) -> None:
        """Start nothing yet.

        Args:
            count: of workers.
            bound: socket on which they are to answer.
            ready: called once, when all of them answer.
        """
        self._bound, self._count, self._ready = bound, count, ready
        self._workers: list[_Worker] = []
        self._folder = ""
        self._stopping = Event()

    def run(self) -> int:
        """Keep them running until a signal; return 0, or 1 where one ends before all have answered."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        with ExitStack() as stack:
            self._folder = stack.enter_context(TemporaryDirectory(prefix="brink-workers-"))
            self._workers = [self._start() for _ in range(self._count)]
            failed = self._keep()
            self._stopping.set()
            for each in self._workers:
                each.process.terminate()
            for each in self._workers:
                each.process.wait()
        return int(failed)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self._stopping.is_set():  # told twice: the workers, too, are to stop at once
            for each in self._workers:
                each.process.send_signal(signal.SIGINT)
        self._stopping.set()

    def _keep(self) -> bool:
        """Start again what ends until the stop; return whether one has ended before all were ready."""
        told = False
        while not self._stopping.wait(_POLL_S):
            for place, each in enumerate(self._workers):
                code = each.look()
                if code is None or self._stopping.is_set():
                    continue
                if not told:
                    _log.error("could not start", reason=f"a worker ended with code {code} before it was ready")
                    return True
                if not each.is_ready and each.pause_polls:
                    each.pause_polls -= 1
                    continue
                _log.error("a worker ended and is started again", process=each.process.pid, code=code)
                self._forget(each)
                self._workers[place] = self._start()
            if not told and all(each.is_ready for each in self._workers):
                told = True
                self._ready()
        return False

    def _forget(self, worker: _Worker) -> None:
        mark_process_dead(worker.process.pid, self._folder)  # type: ignore[no-untyped-call]  # the library's
        os.close(worker.says_ready)

    def _start(self) -> _Worker:
        says_ready, told = os.pipe()
        words = [str(number) for number in (os.getpid(), self._bound.fileno(), told)]
        process = subprocess.Popen(
            [sys.executable, "-m", "service.worker", *words],
            env={**os.environ, METRICS_FOLDER: self._folder},
            pass_fds=(self._bound.fileno(), told),
            start_new_session=True,  # what a terminal sends to all of a group comes from this process, once
        )
        os.close(told)
        return _Worker(process, says_ready)
