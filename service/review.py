"""The statements that are worth a person's time, from what was labelled and what callers chose to keep.

Knows nothing of HTTP. Nothing is stored of the queue but what was taken out of it: an entry is there for as long as its
reason holds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

from sqlalchemy import Double, Select, Subquery, case, cast, exists, func, literal, or_, select, tuple_, union_all
from sqlalchemy.orm import Session

from service.database import Database
from service.errors import InvalidError, MissingError
from service.records import ChangeRecord, DismissalRecord, LabelRecord, PredictionRecord, StatementRecord, id_of
from service.store import StoredLabel, stored_labels

__all__ = ["CLOSE_MARGIN", "REASONS", "SURE", "Entry", "KeptPrediction", "Place", "Reason", "ReviewQueue"]

Reason = Literal["disagreement", "suspected", "margin", "abstained"]

REASONS: tuple[Reason, ...] = get_args(Reason)
"""Those most worth a person's time first: what is wrong among the labels teaches a model wrong things, then what it
hesitates over.

- `disagreement`: annotators differ and nobody has settled it; the oldest first.
- `suspected`: all agree on a label, and an answer that was kept after the last of them said so gives another, with a
  confidence of at least `SURE`; the surest first. A label that came after the answer was given knowing it, and is not
  suspected.
- `margin`: without a label, and its two likeliest lie less than `CLOSE_MARGIN` apart; the closest first.
- `abstained`: without a label, and the model abstains though one label leads; the closest first.
"""

SURE = 0.9
"""Confidence from which a model's other label makes one suspected: then the given label has at most a tenth."""

CLOSE_MARGIN = 0.2
"""Difference of the two likeliest labels under which an answer hesitates between them."""


_PLACE = re.compile(
    rf"(?P<reason>{'|'.join(REASONS)}):(?P<worth>-?[0-9]+(\.[0-9]+)?(e-[0-9]+)?):(?P<digest>[0-9a-f]{{64}})"
)


@dataclass(frozen=True)
class Place:
    """Where an entry stands in the queue, whoever joins or leaves it before.

    Attributes:
        reason: why it is there.
        worth: of the entries of one reason the smallest comes first.
        digest: SHA-256 of the text; decides where the worth is equal.
    """

    reason: Reason
    worth: float
    digest: str

    def __str__(self) -> str:
        """Return the place as clients send it back."""
        return f"{self.reason}:{self.worth!r}:{self.digest}"

    @classmethod
    def parse(cls, written: str) -> Self:
        """Return the place that `str` has written; raises `InvalidError` for anything else."""
        found = _PLACE.fullmatch(written)
        place = None if found is None else cls(found["reason"], float(found["worth"]), found["digest"])  # type: ignore[arg-type]
        if place is None or str(place) != written:
            raise InvalidError("expected as `after` the `next` of the page before, as it came.")
        return place


@dataclass(frozen=True)
class KeptPrediction:
    """What a model said; see `service.records`."""

    model: str
    label: str
    act: str | None
    confidence: float
    abstained: bool
    probabilities: dict[str, float]
    kept_at: datetime


@dataclass(frozen=True)
class Entry:
    """A statement that is worth a person's time.

    Attributes:
        place: in the queue, with the reason.
        id: of the statement, which it has before it has a label too.
        text: normalised.
        prediction: that was kept; None where annotators differ on what nobody has asked to keep.
        labels: given so far.
    """

    place: Place
    id: str
    text: str
    prediction: KeptPrediction | None
    labels: list[StoredLabel]


class ReviewQueue:
    """The queue of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, reason: Reason | None = None, after: Place | None = None, limit: int = 100) -> list[Entry]:
        """Return up to `limit` entries behind a place, all reasons or one."""
        with self._database.reading() as session:
            return _entries(session, _places(session, _behind(_queue(), reason, after).limit(limit)))

    def counts(self) -> dict[Reason, int]:
        """Return how many entries there are of each reason."""
        queue = _queue()
        with self._database.reading() as session:
            counts = session.execute(select(queue.c.rank, func.count()).group_by(queue.c.rank)).all()
        found = {REASONS[rank]: count for rank, count in counts}
        return {reason: found.get(reason, 0) for reason in REASONS}

    def dismiss(self, id_: str, who: str) -> None:
        """Take an entry out without a label; the audit says who did. Another label brings its statement back.

        Raises:
            MissingError: it is not in the queue.
        """
        queue = _queue()
        # As in the store: every digest that begins with the id lies between it and it with a letter behind.
        query = select(queue).where(queue.c.digest.between(id_, f"{id_}g"))
        with self._database.writing() as session:
            place = next((each for each in _places(session, query) if id_of(each.digest) == id_), None)
            if place is None:
                raise MissingError(f"there is no {id_!r} in the review queue, or no longer.")
            now = datetime.now(UTC)
            record = session.scalar(select(DismissalRecord).where(DismissalRecord.digest == place.digest))
            if record is None:
                record = DismissalRecord(digest=place.digest)
                session.add(record)
            record.at = now
            change = ChangeRecord(at=now, who=who, action="dismiss", statement=id_, before={"reason": place.reason})
            session.add(change)


def _queue() -> Subquery:
    """Return every entry as its place: columns `rank` (of the reason), `worth` and `digest`."""
    return union_all(_disagreed(), _suspected(), _unlabelled()).subquery("queue")


def _disagreed() -> Select[Any]:
    worth = cast(StatementRecord.number, Double)
    query = _columns(REASONS.index("disagreement"), worth, StatementRecord.digest)
    return query.where(StatementRecord.status == "disagreed", ~_dismissed_since())


def _suspected() -> Select[Any]:
    query = _columns(REASONS.index("suspected"), -PredictionRecord.confidence, StatementRecord.digest)
    return query.join(PredictionRecord, PredictionRecord.digest == StatementRecord.digest).where(
        StatementRecord.status == "agreed",
        StatementRecord.label != PredictionRecord.label,
        PredictionRecord.confidence >= SURE,
        PredictionRecord.kept_at > _last_label(),
        ~_dismissed_since(),
    )


def _unlabelled() -> Select[Any]:
    close = PredictionRecord.margin < CLOSE_MARGIN
    rank = case((close, REASONS.index("margin")), else_=REASONS.index("abstained"))
    return _columns(rank, PredictionRecord.margin, PredictionRecord.digest).where(
        or_(close, PredictionRecord.abstained),
        ~exists().where(StatementRecord.digest == PredictionRecord.digest),
        ~exists().where(DismissalRecord.digest == PredictionRecord.digest),
    )


def _columns(rank: Any, worth: Any, digest: Any) -> Select[Any]:
    rank = literal(rank) if isinstance(rank, int) else rank
    return select(rank.label("rank"), worth.label("worth"), digest.label("digest"))


def _last_label() -> Any:
    """Return when somebody last said something of a statement, as a column of its row."""
    last = select(func.max(LabelRecord.changed_at)).where(LabelRecord.statement_number == StatementRecord.number)
    return last.correlate(StatementRecord).scalar_subquery()


def _dismissed_since() -> Any:
    """Return whether a statement was dismissed as it is now: no label came or changed after that."""
    dismissed = select(DismissalRecord.number).where(
        DismissalRecord.digest == StatementRecord.digest, DismissalRecord.at >= _last_label()
    )
    return dismissed.correlate(StatementRecord).exists()


def _behind(queue: Subquery, reason: Reason | None, after: Place | None) -> Select[Any]:
    order = (queue.c.rank, queue.c.worth, queue.c.digest)
    query = select(queue).order_by(*order)
    if reason is not None:
        query = query.where(queue.c.rank == REASONS.index(reason))
    if after is not None:
        query = query.where(tuple_(*order) > (REASONS.index(after.reason), after.worth, after.digest))
    return query


def _places(session: Session, query: Select[Any]) -> list[Place]:
    return [Place(REASONS[rank], worth, digest) for rank, worth, digest in session.execute(query)]


def _entries(session: Session, places: Sequence[Place]) -> list[Entry]:
    digests = [place.digest for place in places]
    of_predictions = session.scalars(select(PredictionRecord).where(PredictionRecord.digest.in_(digests)))
    predictions = {each.digest: each for each in of_predictions}
    of_statements = session.scalars(select(StatementRecord).where(StatementRecord.digest.in_(digests)))
    statements = {each.digest: each for each in of_statements}
    entries = []
    for place in places:
        said, statement = predictions.get(place.digest), statements.get(place.digest)
        text = (statement or said).text  # type: ignore[union-attr]  # an entry comes from one of the two
        labels = [] if statement is None else stored_labels(statement)
        prediction = None if said is None else _kept(said)
        entries.append(Entry(place, id_of(place.digest), text, prediction, labels))
    return entries


def _kept(record: PredictionRecord) -> KeptPrediction:
    return KeptPrediction(**{name: getattr(record, name) for name in KeptPrediction.__dataclass_fields__})
