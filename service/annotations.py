"""Labels that follow an annotation in another tool: given by it, corrected with it, and taken back with it.

Knows nothing of the tools. Each method is one transaction, and the same call again changes nothing.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from model.labels import text_digest
from service.database import Database
from service.records import AnnotationRecord, LabelRecord
from service.store import Labelled, Outcome, add_row, by_digest, withdraw

__all__ = ["Annotations"]


class Annotations:
    """What the annotations of other tools say, in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def follow(self, key: str, row: Labelled, who: str, corrects: bool) -> Outcome:
        """Add what an annotation says now; what it said of another text, or for another annotator, is taken back.

        Args:
            key: of the annotation.
            row: what it says.
            who: tells of it.
            corrects: whether what the annotator said of this text before gives way; where it does not and differs,
                the row is conflicting and nothing changes.
        """
        with self._database.writing() as session:
            known = by_digest(session, [text_digest(row.text)])
            outcome = add_row(session, row, who, known, corrects)
            if outcome.status == "conflicting":
                return outcome
            session.flush()  # a new label has its number from here on
            labels = known[text_digest(row.text)].labels
            number = next(each.number for each in labels if each.annotator == row.annotator)
            annotation = session.get(AnnotationRecord, key)
            if annotation is None:
                session.add(AnnotationRecord(key=key, label_number=number))
            elif annotation.label_number != number:
                left, annotation.label_number = annotation.label_number, number
                _withdraw_unheld(session, left, who)
            return outcome

    def take_back(self, key: str, who: str) -> str | None:
        """Take back the label that an annotation gave, unless another gave it too.

        Returns:
            The id of its statement; None where no label follows the annotation.
        """
        with self._database.writing() as session:
            annotation = session.get(AnnotationRecord, key)
            if annotation is None:
                return None
            session.delete(annotation)
            return _withdraw_unheld(session, annotation.label_number, who)


def _withdraw_unheld(session: Session, label_number: int, who: str) -> str:
    """Withdraw a label that no annotation gives any more, and return the id of its statement."""
    session.flush()
    label = session.get_one(LabelRecord, label_number)
    id_ = label.statement.id
    held = select(AnnotationRecord.key).where(AnnotationRecord.label_number == label_number).limit(1)
    if session.scalar(held) is None:
        withdraw(session, label.statement, label.annotator, who)
    return id_
