"""Training runs as the database keeps them: asking for one, following it, cancelling it, and whose turn it is.

Of all processes of the service on one database one carries out a run, and only one run at a time: it holds the run's
row, and says so again every few seconds. Knows nothing of processes and files. Each method is one transaction.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.database import Database
from service.errors import ConflictError, MissingError
from service.holder import is_gone
from service.records import TrainingRecord

__all__ = ["ENDED", "HOLD_S", "MAX_RESTARTS", "PROMOTING", "LostError", "State", "Training", "Trainings"]

State = Literal["queued", "running", "cancelling", "cancelled", "failed", "refused", "finished", "promoted"]

ENDED = ("cancelled", "failed", "refused", "finished", "promoted")
"""States that a run stays in. `finished` has passed the gate and waits for a person to promote it."""

PROMOTING = "promoting"
"""The phase that is not cancelled any more."""

HOLD_S = 15.0
"""A holder that has said nothing for so long has lost the run: longer than a database is away for a moment."""

MAX_RESTARTS = 3

_BEGUN = ("running", "cancelling")


class LostError(Exception):
    """Another process of the service holds the run."""


@dataclass(frozen=True)
class Training:
    """A run as the database holds it; see `service.records`."""

    id: str
    kind: Literal["quick", "full"]
    promote: Literal["auto", "manual"]
    options: dict[str, Any]
    state: State
    reason: str | None
    progress: dict[str, Any]
    verdict: dict[str, Any] | None
    version: str | None
    asked_by: str
    asked_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancelled_by: str | None
    restarts: int

    @property
    def version_name(self) -> str:
        """What the version that it makes is called: the same after every restart, and like no other's."""
        return f"{self.asked_at:%Y-%m-%d}.{self.kind}-{self.id[:8]}"


class Trainings:
    """The training runs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, kind: str, promote: str, options: dict[str, Any], who: str) -> Training:
        """Add a run to the end of the queue."""
        record = TrainingRecord(id=secrets.token_hex(8), kind=kind, promote=promote, options=options, asked_by=who)
        record.state, record.progress, record.restarts = "queued", {}, 0
        record.asked_at = datetime.now(UTC)
        with self._database.writing() as session:
            session.add(record)
            session.flush()
            return _training(record)

    def get(self, id_: str) -> Training:
        """Return one run; raises `MissingError` where there is none."""
        with self._database.reading() as session:
            return _training(_find(session, id_))

    def latest(self, limit: int) -> list[Training]:
        """Return the runs that were asked for last, the newest first."""
        with self._database.reading() as session:
            query = select(TrainingRecord).order_by(TrainingRecord.number.desc()).limit(limit)
            return [_training(each) for each in session.scalars(query)]

    def is_idle(self) -> bool:
        """Return whether nothing waits and nothing runs."""
        if not self._database.exists():
            return True
        with self._database.reading() as session:
            unfinished = TrainingRecord.state.in_(("queued", *_BEGUN))
            return not session.scalar(select(func.count()).select_from(TrainingRecord).where(unfinished))

    def cancel(self, id_: str, who: str) -> Training:
        """End a run that waits at once, and let the one that runs be ended.

        Raises:
            MissingError: there is none of that id.
            ConflictError: it has ended, or is being promoted.
        """
        with self._database.writing() as session:
            record = _find(session, id_)
            if record.state in ENDED:
                raise ConflictError(f"the training {id_} has ended already: it is {record.state}.")
            if record.state == "running" and record.progress.get("phase") == PROMOTING:
                raise ConflictError(f"the training {id_} is being promoted; roll back afterwards.")
            record.cancelled_by = record.cancelled_by or who
            if record.state == "queued":
                _end(record, "cancelled")
            else:
                record.state = "cancelling"
            return _training(record)

    def take(self, holder: str) -> Training | None:
        """Begin the run whose turn it is; None where none waits, or another process carries one out.

        A run that was begun by a process that is gone comes first, `MAX_RESTARTS` times, and fails then.
        """
        now = datetime.now(UTC)
        with self._database.writing() as session:
            begun = session.scalars(select(TrainingRecord).where(TrainingRecord.state.in_(_BEGUN))).all()
            if any(not _is_abandoned(each, holder, now) for each in begun):
                return None
            for each in begun:
                _take_up(each)
            session.flush()
            queued = select(TrainingRecord).where(TrainingRecord.state == "queued")
            record = session.scalar(queued.order_by(TrainingRecord.number).limit(1))
            if record is None:
                return None
            record.state, record.started_at, record.progress = "running", record.started_at or now, {}
            _hold(record, holder)
            return _training(record)

    def say(self, id_: str, holder: str, progress: dict[str, Any] | None = None) -> Training:
        """Hold a run for longer, with how far it is where that is new, and return it.

        Raises:
            LostError: another process holds it.
        """
        with self._database.writing() as session:
            record = _held(session, id_, holder)
            _hold(record, holder)
            # Whoever cancels before this is heard; whoever cancels after is told that it is too late.
            if progress is not None and not (record.state == "cancelling" and progress.get("phase") == PROMOTING):
                record.progress = progress
            return _training(record)

    def end(self, id_: str, holder: str, state: State, **found: Any) -> Training:
        """End a run with its `reason`, `verdict` and `version` as far as there are any; raises `LostError`."""
        with self._database.writing() as session:
            record = _held(session, id_, holder)
            for name, value in found.items():
                setattr(record, name, value)
            _end(record, state)
            return _training(record)

    def put_back(self, id_: str, holder: str) -> None:
        """Let a run wait for the next process: this one stops, which is no fault of the run; raises `LostError`."""
        with self._database.writing() as session:
            record = _held(session, id_, holder)
            if record.state == "cancelling":
                _end(record, "cancelled")
            else:
                record.state, record.holder, record.held_until = "queued", None, None


def _is_abandoned(record: TrainingRecord, holder: str, now: datetime) -> bool:
    if record.holder is None or record.held_until is None or record.holder == holder:
        return True  # of this process itself: it would not ask for another if it still carried it out
    return record.held_until < now or is_gone(record.holder)


def _take_up(record: TrainingRecord) -> None:
    """Let an abandoned run wait again, or end it."""
    if record.state == "cancelling":
        _end(record, "cancelled")
    elif record.restarts >= MAX_RESTARTS:
        record.reason = (
            f"the service ended {record.restarts + 1} times while it ran; see its log, and look for what ends the "
            "service, such as too little memory, before you ask for it again."
        )
        _end(record, "failed")
    else:
        record.restarts += 1
        record.state, record.holder, record.held_until = "queued", None, None


def _hold(record: TrainingRecord, holder: str) -> None:
    record.holder, record.held_until = holder, datetime.now(UTC) + timedelta(seconds=HOLD_S)


def _end(record: TrainingRecord, state: State) -> None:
    record.state, record.ended_at, record.holder, record.held_until = state, datetime.now(UTC), None, None


def _find(session: Session, id_: str) -> TrainingRecord:
    record = session.scalar(select(TrainingRecord).where(TrainingRecord.id == id_))
    if record is None:
        raise MissingError(f"there is no training {id_[:100]!a}.")
    return record


def _held(session: Session, id_: str, holder: str) -> TrainingRecord:
    record = _find(session, id_)
    if record.holder != holder or record.state not in _BEGUN:
        raise LostError(id_)
    return record


def _training(record: TrainingRecord) -> Training:
    return Training(**{name: getattr(record, name) for name in Training.__dataclass_fields__})
