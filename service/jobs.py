"""Training runs one after the other, in a thread of the service: the queue is the database's, the work of children.

Of several processes of the service each has such a thread, and the database says whose turn it is.
"""

import threading
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

import structlog

from model.errors import ModelError
from service.errors import ConflictError, DatabaseError, ServiceError
from service.holder import holder_name
from service.runs import Ending, Place, Run, Tools
from service.store import Filters
from service.trainings import HOLD_S, LostError, State, Training, Trainings

__all__ = ["Jobs", "Promote"]

_log = structlog.get_logger(__name__)

_POLL_S = 1.0
_SAY_S = 1.0
# What the extra `train` brings, of which each kind needs most.
_NEEDED = ("torch", "transformers", "datasets", "onnx", "safetensors", "sklearn", "scipy", "matplotlib")

Promote = Callable[[str, str], None]
"""Lets a published version serve: takes its name and who decided it."""


class _StoppedError(Exception):
    """The service stops."""


class _CancelledError(Exception):
    """Somebody has cancelled the run."""


class Jobs:
    """The training runs that this process of the service carries out."""

    def __init__(self, trainings: Trainings, tools: Tools) -> None:
        """Begin nothing yet.

        Args:
            trainings: that were asked for.
            tools: that runs work with.
        """
        self._trainings, self._tools = trainings, tools
        self._holder = holder_name()
        self._promote: Promote | None = None
        self._thread: threading.Thread | None = None
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._reported: str | None = None

    def check(self, kind: str) -> None:
        """Raise `ConflictError` where such a run cannot be carried out here, with what to do."""
        if missing := [name for name in ("training", *_NEEDED) if find_spec(name) is None]:
            raise ConflictError(
                f"training is not installed here ({', '.join(missing)}); run `pip install 'brink[train]'` where the "
                "service runs, and start it anew."
            )
        settings = self._tools.settings
        for name, value in (("BRINK_CORPUS", settings.corpus), ("BRINK_SPLITS", settings.splits)):
            if value and not Path(value).exists():
                raise ConflictError(f"there is no {value!r} to train from; set {name} to where it is.")
        if kind == "quick" and not self._tools.store.count(Filters()):
            raise ConflictError("there is no labelled statement to learn from; send some to /v1/statements first.")

    def start(self, promote: Promote) -> None:
        """Carry out what waits from now on, until `stop`."""
        self._promote = promote
        self._thread = threading.Thread(target=self._work, name="trainings", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for work now: there is some."""
        self._woken.set()

    def stop(self) -> None:
        """End the run that is being carried out, which goes on when the service is back, and return then."""
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
                self._reported = None
            except DatabaseError as error:
                if str(error) != self._reported:  # what is asked every second is not told every second
                    _log.error("trainings cannot be looked for", reason=str(error))
                self._reported = str(error)
            except Exception as error:  # a fault here must not end it: no run would ever begin again
                _log.error("unexpected error", exc_info=error)
            self._woken.wait(_POLL_S)
            self._woken.clear()

    def _look(self) -> None:
        while not self._stopping.is_set() and not self._trainings.is_idle():
            training = self._trainings.take(self._holder)
            if training is None:
                return
            _log.info("training begins", training=training.id, kind=training.kind, restarts=training.restarts)
            self._carry_out(training)

    def _carry_out(self, training: Training) -> None:
        assert self._promote is not None  # `start` has set it
        try:
            ending = self._ending(Run(training, self._tools, _Pulse(self, training), self._promote))
            self._end(training, ending.state, **ending.found)
        except _StoppedError:
            self._trainings.put_back(training.id, self._holder)
        except LostError:
            _log.error("a training was taken over by another process", training=training.id)

    def _ending(self, run: Run) -> Ending:
        try:
            return run.carry_out()
        except _CancelledError:
            return Ending("cancelled")
        except DatabaseError:  # no fault of the run: it is taken up again
            raise
        except (ServiceError, ModelError, OSError) as error:
            return Ending("failed", {"reason": str(error)})
        except (_StoppedError, LostError):
            raise
        except Exception as error:
            _log.error("unexpected error", exc_info=error)
            return Ending("failed", {"reason": f"an error that should not happen; see the service's log: {error!r}"})

    def _end(self, training: Training, state: State, **found: Any) -> None:
        ended = self._trainings.end(training.id, self._holder, state, **found)
        _log.info("training ended", training=ended.id, state=ended.state, reason=ended.reason, version=ended.version)
        if state not in {"refused", "failed"}:  # somebody may want to look at those
            Place(self._tools.settings.training, training.id).discard_model()


class _Pulse:
    """Says for one run, once a second, that it goes on, and hears whether it shall."""

    def __init__(self, jobs: Jobs, training: Training) -> None:
        self._jobs, self._id = jobs, training.id
        self._said_at, self._phase = monotonic(), None

    def __call__(self, progress: dict[str, Any] | None, must: bool = False) -> None:
        """See `service.runs.Beat`."""
        if self._jobs._stopping.is_set():
            raise _StoppedError
        phase, age_s = (progress or {}).get("phase"), monotonic() - self._said_at
        if age_s < _SAY_S and phase == self._phase:
            return
        try:
            said = self._jobs._trainings.say(self._id, self._jobs._holder, progress)
        except DatabaseError:
            # Away for a moment: the run goes on while no other process can think that it is abandoned.
            if must or age_s > HOLD_S / 2:
                raise
            return
        self._said_at, self._phase = monotonic(), phase
        if said.state == "cancelling":
            raise _CancelledError
