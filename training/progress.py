"""How far a run has come, as JSON Lines in a file that others read while it grows.

Without a file it writes nothing, so that whoever computes need not ask whether somebody looks.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

__all__ = ["Progress"]

# Between two lines of one phase: a person who looks sees no more, and a run of hours writes a megabyte.
_EVERY_S = 1.0


class Progress:
    """Notes the phases of one run and how far each is."""

    def __init__(self, file: Path | None = None, clock: Callable[[], float] = monotonic) -> None:
        """Write nothing yet.

        Args:
            file: to append to; None for a run that nobody follows.
            clock: in seconds.
        """
        self._file = file
        self._clock = clock
        self._phase = ""
        self._began: tuple[float, int] | None = None
        self._written_at = clock()

    def begin(self, phase: str) -> None:
        """Note that a phase begins."""
        self._phase, self._began = phase, None
        self._write({})

    def report(
        self,
        done: int,
        total: int,
        *,
        epoch: int | None = None,
        step: int | None = None,
        steps: int | None = None,
        loss: float | None = None,
    ) -> None:
        """Note how far the phase is; at most once a second, but its end always.

        Args:
            done: statements, those of an earlier run that this one goes on from included.
            total: statements of the phase.
            epoch: from 1.
            step: optimiser steps taken.
            steps: of the whole run.
            loss: mean of the last steps, in nats.
        """
        now = self._clock()
        if self._began is None:
            self._began = (now, done)
        if now - self._written_at < _EVERY_S and done < total:
            return
        started_at, before = self._began
        rate = (done - before) / (now - started_at) if now > started_at else None
        self._write(
            {
                "epoch": epoch,
                "step": step,
                "steps": steps,
                "loss": loss,
                "statements_per_s": rate,
                "seconds_left": (total - done) / rate if rate else None,
            }
        )

    def _write(self, numbers: dict[str, Any]) -> None:
        self._written_at = self._clock()
        if self._file is None:
            return
        known = {name: _short(value) for name, value in numbers.items() if value is not None}
        try:
            with self._file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"phase": self._phase} | known) + "\n")
        except OSError as error:  # no reason to lose the hours that it tells of
            sys.stderr.write(f"progress is not written any more: {error}\n")
            self._file = None


def _short(value: float) -> float:
    return round(value, 4) if isinstance(value, float) else value
