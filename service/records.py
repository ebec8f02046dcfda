"""What the database holds, as SQLAlchemy maps it: labels, the audit, what people keep, training runs and API keys."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Double, ForeignKey, MetaData, String, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = [
    "AnnotationRecord",
    "ChangeRecord",
    "DismissalRecord",
    "KeyRecord",
    "LabelRecord",
    "PredictionRecord",
    "PromotionRecord",
    "Record",
    "StatementRecord",
    "TrainingRecord",
    "id_of",
]

_NAME = 200


def id_of(digest: str) -> str:
    """Return what clients call a text, labelled or kept, of a digest."""
    return digest[:32]


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its time zone, UTC, in databases that keep none too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC."""
        return None if value is None else (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)


class Record(DeclarativeBase):
    """Base of every table; constraints are named, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class StatementRecord(Record):
    """A text, once, and what its labels amount to.

    Attributes:
        number: in the order in which they came.
        digest: SHA-256 of the normalised text; its first half is the id that clients see.
        text: as it came first.
        source: where it comes from, as its sender says.
        status: `agreed` (all labels are alike), `disagreed`, or `settled` by a person.
        label: the settled one, or the one that all agree on; None while they disagree.
        act: likewise.
        created_at: when it came.
        created_by: who sent it.
        labels: one an annotator.
    """

    __tablename__ = "statements"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    text: Mapped[str] = mapped_column(Text)
    source: Mapped[str | None] = mapped_column(String(_NAME), index=True)
    status: Mapped[str] = mapped_column(String(10), index=True)
    label: Mapped[str | None] = mapped_column(String(_NAME), index=True)
    act: Mapped[str | None] = mapped_column(String(_NAME))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(_NAME))
    labels: Mapped[list["LabelRecord"]] = relationship(
        back_populates="statement", cascade="all, delete-orphan", order_by="LabelRecord.number", lazy="selectin"
    )

    @property
    def id(self) -> str:
        """What clients call it."""
        return id_of(self.digest)


class LabelRecord(Record):
    """What one annotator says of one statement."""

    __tablename__ = "labels"
    __table_args__ = (UniqueConstraint("statement_number", "annotator"),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    statement_number: Mapped[int] = mapped_column(ForeignKey("statements.number", ondelete="CASCADE"))
    annotator: Mapped[str] = mapped_column(String(_NAME), index=True)
    label: Mapped[str] = mapped_column(String(_NAME))
    act: Mapped[str | None] = mapped_column(String(_NAME))
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    statement: Mapped[StatementRecord] = relationship(back_populates="labels")


class AnnotationRecord(Record):
    """An annotation in another tool, which a label here follows; it goes with its label.

    Attributes:
        key: what the annotation is called there, different from every other of any tool.
        label_number: of the label that it gave.
    """

    __tablename__ = "annotations"

    key: Mapped[str] = mapped_column(String(_NAME), primary_key=True)
    label_number: Mapped[int] = mapped_column(ForeignKey("labels.number", ondelete="CASCADE"), index=True)


class ChangeRecord(Record):
    """One line of the audit: what was before and after, who did it and when. Never changed, never deleted."""

    __tablename__ = "changes"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(String(_NAME))
    action: Mapped[str] = mapped_column(String(20))
    statement: Mapped[str] = mapped_column(String(32), index=True)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class PromotionRecord(Record):
    """One line of the audit of models: which version served from then on; None for the shipped one."""

    __tablename__ = "promotions"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    who: Mapped[str] = mapped_column(String(_NAME))
    action: Mapped[str] = mapped_column(String(20))
    version: Mapped[str | None] = mapped_column(String(100))


class PredictionRecord(Record):
    """What a model said of a text that its sender chose to keep; the latest answer alone, one a text.

    Attributes:
        digest: SHA-256 of the normalised text, as of a statement, which finds one by the other.
        model: version that answered.
        confidence: probability of the label.
        margin: how much less probable the next label is.
        probabilities: of every label.
    """

    __tablename__ = "predictions"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    text: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(String(_NAME))
    label: Mapped[str] = mapped_column(String(_NAME))
    act: Mapped[str | None] = mapped_column(String(_NAME))
    confidence: Mapped[float] = mapped_column(Double)
    margin: Mapped[float] = mapped_column(Double, index=True)
    abstained: Mapped[bool]
    probabilities: Mapped[dict[str, float]] = mapped_column(JSON)
    kept_at: Mapped[datetime] = mapped_column(UtcDateTime)
    kept_by: Mapped[str] = mapped_column(String(_NAME))


class DismissalRecord(Record):
    """A text that was taken out of the review queue without a label; holds until somebody labels it after that."""

    __tablename__ = "dismissals"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class KeyRecord(Record):
    """An API key, by its digest; a revoked one stays, so that its name tells one person for ever."""

    __tablename__ = "keys"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    name: Mapped[str] = mapped_column(String(_NAME), unique=True)
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TrainingRecord(Record):
    """A training run: what was asked, how far it is, and what came of it.

    Attributes:
        number: in the order in which they were asked for, which is that in which they are carried out.
        id: what clients call it.
        kind: `quick` or `full`.
        promote: `auto` or `manual`.
        options: of the command line, by field.
        state: see `service.trainings`.
        reason: why it failed or was refused.
        progress: the last line that the run has written of how far it is.
        verdict: of the gate.
        version: that it made.
        cancelled_by: who asked for its end.
        restarts: how often it was begun anew because the service ended.
        holder: the process of the service that carries it out.
        held_until: after that moment the holder has lost it, unless it has said more.
    """

    __tablename__ = "trainings"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[str] = mapped_column(String(10))
    promote: Mapped[str] = mapped_column(String(10))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String(10), index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    progress: Mapped[dict[str, Any]] = mapped_column(JSON)
    verdict: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    version: Mapped[str | None] = mapped_column(String(100))
    asked_by: Mapped[str] = mapped_column(String(_NAME))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancelled_by: Mapped[str | None] = mapped_column(String(_NAME))
    restarts: Mapped[int]
    holder: Mapped[str | None] = mapped_column(String(300))
    held_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
