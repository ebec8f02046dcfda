"""Labelled statements: adding, finding, correcting, deleting, and a line in the audit for every change.

Knows nothing of HTTP and of files. Each method is one transaction.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from model.agreement import krippendorff_alpha
from model.labels import normalise_text, text_digest
from service.database import Database
from service.errors import ConflictError, MissingError
from service.records import ChangeRecord, LabelRecord, StatementRecord

__all__ = [
    "AgreementSummary",
    "Filters",
    "Labelled",
    "Outcome",
    "Statement",
    "Store",
    "StoredLabel",
    "add_row",
    "by_digest",
    "stored_labels",
    "withdraw",
]

# Rows looked up together: SQLite takes no more than some thousand parameters.
_CHUNK = 500


@dataclass(frozen=True)
class Labelled:
    """One row that somebody sends: a text and what one annotator says of it; checked already."""

    text: str
    label: str
    annotator: str
    act: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a row.

    Attributes:
        status: `accepted`; `duplicate`, which says what is known already; or `conflicting` with what the same annotator
            said before, which is left as it is.
        id: of the statement.
        reason: why, where it was not accepted.
    """

    status: Literal["accepted", "duplicate", "conflicting"]
    id: str
    reason: str | None = None


@dataclass(frozen=True)
class StoredLabel:
    """What one annotator says of a statement."""

    annotator: str
    label: str
    act: str | None
    changed_at: datetime


@dataclass(frozen=True)
class Statement:
    """A statement as the database holds it; see `service.records`."""

    number: int
    id: str
    text: str
    source: str | None
    status: str
    label: str | None
    act: str | None
    created_at: datetime
    created_by: str
    labels: list[StoredLabel]


@dataclass(frozen=True)
class Filters:
    """Which statements are wanted; None stands for all. `contains` is a part of the text, in any case."""

    label: str | None = None
    status: str | None = None
    source: str | None = None
    annotator: str | None = None
    contains: str | None = None


@dataclass(frozen=True)
class AgreementSummary:
    """How far annotators agree.

    Attributes:
        statements: with at least two labels.
        alpha: Krippendorff's, of the labels; None where it is undefined.
        alpha_of: of each label against all others.
        disagreed: statements whose labels differ and that nobody has settled.
    """

    statements: int
    alpha: float | None
    alpha_of: dict[str, float | None]
    disagreed: int


class Store:
    """The labelled statements of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[Labelled], who: str) -> list[Outcome]:
        """Add rows, all or, where an error is raised, none, and return what became of each."""
        outcomes: list[Outcome] = []
        with self._database.writing() as session:
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                known = by_digest(session, [text_digest(row.text) for row in chunk])
                outcomes += [add_row(session, row, who, known) for row in chunk]
                session.flush()
        return outcomes

    def get(self, id_: str) -> Statement:
        """Return one statement; raises `MissingError` where there is none."""
        with self._database.reading() as session:
            return _statement(_find(session, id_))

    def find(self, filters: Filters, after: int = 0, limit: int = 100) -> list[Statement]:
        """Return up to `limit` statements with numbers above `after`, in their order."""
        with self._database.reading() as session:
            query = _filtered(select(StatementRecord), filters).where(StatementRecord.number > after)
            return [_statement(each) for each in session.scalars(query.order_by(StatementRecord.number).limit(limit))]

    def count(self, filters: Filters) -> int:
        """Return how many statements there are."""
        with self._database.reading() as session:
            return session.scalar(_filtered(select(func.count()).select_from(StatementRecord), filters)) or 0

    def export(self, filters: Filters) -> Iterator[Statement]:
        """Yield the statements that have a label, a few at a time; those on which annotators disagree have none."""
        after = 0
        while batch := self.find(filters, after, _CHUNK):
            yield from (each for each in batch if each.label is not None)
            after = batch[-1].number

    def correct(self, id_: str, annotator: str, label: str, act: str | None, who: str) -> Statement:
        """Set what one annotator says of a statement, whatever that annotator said before."""
        with self._database.writing() as session:
            record = _find(session, id_)
            before = _shown(record)
            _label_of(record, annotator, label, act)
            _agree(record)
            _note(session, who, "correct", record, before, _shown(record))
            session.flush()
            return _statement(record)

    def settle(self, id_: str, label: str, act: str | None, who: str) -> Statement:
        """Give a statement its label, whatever its annotators say."""
        with self._database.writing() as session:
            record = _find(session, id_)
            before = _shown(record)
            record.status, record.label, record.act = "settled", label, act
            _note(session, who, "settle", record, before, _shown(record))
            return _statement(record)

    def reopen(self, id_: str, who: str) -> Statement:
        """Take back what was settled: the label is again what the annotators agree on."""
        with self._database.writing() as session:
            record = _find(session, id_)
            if record.status != "settled":
                raise ConflictError(f"the statement {id_!r} is not settled.")
            before = _shown(record)
            record.status = "agreed"
            _agree(record)
            _note(session, who, "reopen", record, before, _shown(record))
            return _statement(record)

    def delete(self, id_: str, who: str) -> None:
        """Delete a statement with its labels; the audit keeps what it was."""
        with self._database.writing() as session:
            record = _find(session, id_)
            _note(session, who, "delete", record, _shown(record), None)
            session.delete(record)

    def history(self, id_: str) -> list[dict[str, Any]]:
        """Return the audit of a statement, the oldest change first; it outlives the statement."""
        with self._database.reading() as session:
            query = select(ChangeRecord).where(ChangeRecord.statement == id_).order_by(ChangeRecord.number)
            found = [
                {"at": each.at, "who": each.who, "action": each.action, "before": each.before, "after": each.after}
                for each in session.scalars(query)
            ]
        if not found:
            raise MissingError(f"there is and was no statement {id_!r}.")
        return found

    def agreement(self) -> AgreementSummary:
        """Return how far annotators agree on the statements that several have labelled."""
        given = select(LabelRecord.statement_number, LabelRecord.label)
        several = select(LabelRecord.statement_number).group_by(LabelRecord.statement_number).having(func.count() > 1)
        with self._database.reading() as session:
            pairs = session.execute(given.where(LabelRecord.statement_number.in_(several))).all()
            disagreed = select(func.count()).where(StatementRecord.status == "disagreed")
            undecided = session.scalar(disagreed) or 0
        statements = {number: row for row, number in enumerate(dict.fromkeys(number for number, _ in pairs))}
        labels = {label: column for column, label in enumerate(sorted({label for _, label in pairs}))}
        counts = np.zeros((len(statements), len(labels)), dtype=np.int64)
        for number, label in pairs:
            counts[statements[number], labels[label]] += 1
        against_rest = {
            label: krippendorff_alpha(np.stack([counts[:, column], counts.sum(axis=1) - counts[:, column]], axis=1))
            for label, column in labels.items()
        }
        alpha = krippendorff_alpha(counts) if len(counts) else None
        return AgreementSummary(len(statements), alpha, against_rest, undecided)


def by_digest(session: Session, digests: Sequence[str]) -> dict[str, StatementRecord]:
    """Return the statements with these digests that are there."""
    found = session.scalars(select(StatementRecord).where(StatementRecord.digest.in_(digests)))
    return {each.digest: each for each in found}


def add_row(
    session: Session, row: Labelled, who: str, known: dict[str, StatementRecord], corrects: bool = False
) -> Outcome:
    """Add one row to the session.

    Args:
        session: that writes.
        row: to add.
        who: is sending it.
        known: the statements of its chunk that are there; it gets what is new.
        corrects: whether what the annotator said before gives way, and is not left as it is.
    """
    action = "add"
    digest = text_digest(row.text)
    record = known.get(digest)
    if record is None:
        now = datetime.now(UTC)
        text = normalise_text(row.text)
        record = known[digest] = StatementRecord(digest=digest, text=text, source=row.source, status="agreed")
        record.created_at, record.created_by = now, who
        session.add(record)
        before = None
    else:
        said = next((each for each in record.labels if each.annotator == row.annotator), None)
        if said is not None and (said.label, said.act) == (row.label, row.act or said.act):
            return Outcome("duplicate", record.id, f"{row.annotator} has said {row.label} of this text already.")
        contradicted = said
        if said is not None and said.label == row.label and said.act is None:  # a first act contradicts nothing
            contradicted = None
        if contradicted is not None and not corrects:
            differs = contradicted.label != row.label
            before_said = contradicted.label if differs else f"{contradicted.label} ({contradicted.act})"
            return Outcome(
                "conflicting",
                record.id,
                f"{row.annotator} has said {before_said} of this text; PATCH /v1/statements/{record.id} with "
                f'"annotator": {json.dumps(row.annotator)} corrects it.',
            )
        before = _shown(record)
        action = "add" if contradicted is None else "correct"
    _label_of(record, row.annotator, row.label, row.act)
    _agree(record)
    _note(session, who, action, record, before, _shown(record))
    return Outcome("accepted", record.id)


def withdraw(session: Session, record: StatementRecord, annotator: str, who: str) -> None:
    """Take back what one annotator says; a statement that was never settled goes with its last label."""
    before = _shown(record)
    record.labels = [each for each in record.labels if each.annotator != annotator]
    if record.labels or record.status == "settled":
        _agree(record)
        _note(session, who, "withdraw", record, before, _shown(record))
    else:
        _note(session, who, "withdraw", record, before, None)
        session.delete(record)


def _label_of(record: StatementRecord, annotator: str, label: str, act: str | None) -> None:
    said = next((each for each in record.labels if each.annotator == annotator), None)
    if said is None:
        said = LabelRecord(annotator=annotator)
        record.labels.append(said)
    said.label, said.act, said.changed_at = label, act, datetime.now(UTC)


def _agree(record: StatementRecord) -> None:
    """Set label and status from the annotators' labels, unless a person has settled them."""
    if record.status == "settled":
        return
    labels, acts = {each.label for each in record.labels}, {each.act for each in record.labels}
    record.status = "agreed" if len(labels) == 1 else "disagreed"
    record.label = labels.pop() if len(labels) == 1 else None
    record.act = acts.pop() if record.label is not None and len(acts) == 1 else None


def _find(session: Session, id_: str) -> StatementRecord:
    # Every digest that begins with the id lies between it and it with a letter behind the hexadecimal ones.
    digests = StatementRecord.digest.between(id_, f"{id_}g")
    record = session.scalar(select(StatementRecord).where(digests).limit(1))
    if record is None or record.id != id_:
        raise MissingError(f"there is no statement {id_!r}.")
    return record


def _filtered(query: Select[Any], filters: Filters) -> Select[Any]:
    for name in ("label", "status", "source"):
        if (value := getattr(filters, name)) is not None:
            query = query.where(getattr(StatementRecord, name) == value)
    if filters.annotator is not None:
        query = query.where(StatementRecord.labels.any(LabelRecord.annotator == filters.annotator))
    if filters.contains is not None:
        query = query.where(StatementRecord.text.icontains(filters.contains, autoescape=True))
    return query


def stored_labels(record: StatementRecord) -> list[StoredLabel]:
    """Return what annotators say of a statement, in the order in which they first did."""
    return [StoredLabel(each.annotator, each.label, each.act, each.changed_at) for each in record.labels]


def _statement(record: StatementRecord) -> Statement:
    names = [name for name in Statement.__dataclass_fields__ if name != "labels"]
    return Statement(**{name: getattr(record, name) for name in names}, labels=stored_labels(record))


def _shown(record: StatementRecord) -> dict[str, Any]:
    """Return a statement as the audit keeps it: everything that a change can take away."""
    labels = [
        {"annotator": each.annotator, "label": each.label, "act": each.act, "changed_at": each.changed_at.isoformat()}
        for each in record.labels
    ]
    kept = {name: getattr(record, name) for name in ("text", "source", "status", "label", "act", "created_by")}
    return kept | {"labels": labels}


def _note(
    session: Session,
    who: str,
    action: str,
    record: StatementRecord,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    session.add(
        ChangeRecord(at=datetime.now(UTC), who=who, action=action, statement=record.id, before=before, after=after)
    )
