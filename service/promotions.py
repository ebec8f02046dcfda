"""The audit of promotions and rollbacks in the database, from the history that the pointer keeps."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from model.versions import Promotion
from service.database import Database
from service.records import PromotionRecord

__all__ = ["Promotions"]


class Promotions:
    """The promotions of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, history: Sequence[Promotion]) -> None:
        """Add what is not there yet: what another process has promoted, or while the database was away, is added too.

        Raises:
            DatabaseError: it cannot be written now.
        """
        if not history:
            return
        with self._database.writing() as session:
            known = {(at, who) for at, who in session.execute(select(PromotionRecord.at, PromotionRecord.who))}
            for each in history:
                at = datetime.fromisoformat(each.at)
                if (at, each.by) not in known:
                    session.add(PromotionRecord(at=at, who=each.by, action=each.action, version=each.version))

    def all(self) -> list[Promotion]:
        """Return every promotion and rollback, the oldest first."""
        with self._database.reading() as session:
            records = session.scalars(select(PromotionRecord).order_by(PromotionRecord.number))
            return [
                Promotion(each.version, each.at.isoformat(timespec="microseconds"), each.who, each.action)  # type: ignore[arg-type]  # one of two words
                for each in records
            ]
