"""One service that a benchmark has started: its processes, what they hold in memory, what they took of the processor.

Reads `/proc`, so it needs Linux. Standard library only.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 30


@dataclass(frozen=True)
class Running:
    """A service and every process that it has started."""

    pid: int

    def memory_mb(self, kind: str = "Pss") -> float:
        """Return what its processes hold: in `Pss`, a page that several share is counted once, in `Rss` for each."""
        return sum(_memory_kb(pid, kind) for pid in self._pids()) / 1000

    def processor_s(self) -> float:
        """Return how long processors have worked for it, threads and living child processes included."""
        return sum(_ticks(pid) for pid in self._pids()) / _TICKS_PER_S

    def _pids(self) -> list[int]:
        found, places = [self.pid], 0
        while places < len(found):
            found += _children(found[places])
            places += 1
        return found


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> Iterator[Running]:
    """Start a service and end it, with all that it has started, when the block does, or this process is told to.

    What it prints is added to the file `log`, or goes where this process's own does.
    """
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with log.open("ab") if log else nullcontext() as stream:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=stream,
            stderr=subprocess.STDOUT if stream else None,
            start_new_session=True,  # a group of its own, so that nothing of it stays behind
        )
    try:
        yield Running(process.pid)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        with suppress(ProcessLookupError):  # all of it has ended
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, path.read_text().split())
        except OSError:  # a thread that has ended meanwhile
            continue
    return found


def _memory_kb(pid: int, kind: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return int(text.split(f"\n{kind}:")[1].split()[0])


def _ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    user, system = text.rpartition(")")[2].split()[11:13]
    return int(user) + int(system)
