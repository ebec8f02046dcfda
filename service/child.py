"""A child process: a command with its own log, in a group of its own, that is asked to end and then made to."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Child"]

_LAUNCH = Path(__file__).with_name("launch.py")
_LAST_LINES_BYTES = 4096


class Child:
    """One run of a command. Start it from a thread that outlives it: the kernel ends it with that thread."""

    def __init__(self, command: Sequence[str], log: Path, out: Path | None = None) -> None:
        """Start it.

        Args:
            command: its first word is the path of a program.
            log: file to append to what it says, on both its streams.
            out: new file for its standard output instead.

        Raises:
            OSError: it cannot be started, or a file cannot be written.
        """
        self._log = log
        launch = [sys.executable, "-I", str(_LAUNCH), str(os.getpid()), *command]
        with log.open("ab") as said, (out or log).open("wb" if out else "ab") as printed:
            self._process = subprocess.Popen(
                launch, stdin=subprocess.DEVNULL, stdout=printed, stderr=said, start_new_session=True
            )

    def code(self, wait_s: float) -> int | None:
        """Return the exit code, minus the signal's number where one ended it; None where it runs on after `wait_s`."""
        try:
            return self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, grace_s: float) -> None:
        """End it and whatever it has started: politely, and after `grace_s` seconds without asking."""
        self._signal(signal.SIGTERM)
        if self.code(grace_s) is None:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._signal(signal.SIGKILL)  # what it has started and left

    def why(self, code: int) -> str:
        """Return why it ended with that code, in the last words of its log."""
        with self._log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _LAST_LINES_BYTES))
            lines = stream.read().decode("utf-8", errors="replace").replace("\r", "\n").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        if code >= 0:
            return last.removeprefix("error: ")
        name = signal.Signals(-code).name
        return f"it was ended by {name}, as where memory runs out; the last that it said: {last}"

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # the whole group has ended
            os.killpg(self._process.pid, number)
