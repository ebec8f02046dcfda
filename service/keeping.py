"""Predictions that callers chose to keep: written beside the event loop, one transaction a request.

Knows nothing of HTTP. What is kept is read back by `service.review`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import anyio
import anyio.to_thread
from sqlalchemy import select

from model.classifier import Prediction
from model.labels import normalise_text, text_digest
from service.database import Database
from service.errors import DatabaseError
from service.records import PredictionRecord, id_of

__all__ = ["KeptPredictions"]

# Threads that wait for the database at once. They are few, so that a database that is away holds up nothing else: the
# threads and connections that remain are those of requests that keep nothing.
_WRITERS = 4

# Rows looked up together: SQLite takes no more than some thousand parameters.
_CHUNK = 500


class KeptPredictions:
    """The kept predictions of one database, the latest of each text."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._writers = anyio.CapacityLimiter(_WRITERS)

    async def keep(
        self, answered: Sequence[tuple[str, Prediction]], model: str, who: str, timeout_s: float
    ) -> list[str]:
        """Keep what was answered, all of it or nothing, and return the id of each text.

        Args:
            answered: texts with the model's own answers. Characters that databases do not keep, NUL, are left out, as
                the model leaves them out.
            model: version that answered.
            who: asked to keep it.
            timeout_s: seconds to wait until it is one's turn to write.

        Raises:
            DatabaseError: the database is away, or others kept it busy for too long.
        """
        texts = [(text.replace("\0", ""), answer) for text, answer in answered]
        try:
            with anyio.fail_after(timeout_s):
                return await anyio.to_thread.run_sync(self.write, texts, model, who, limiter=self._writers)
        except TimeoutError:
            raise DatabaseError(
                f"the database cannot be used now: others kept it busy for {timeout_s:g} s; nothing was kept."
            ) from None

    def write(self, answered: Sequence[tuple[str, Prediction]], model: str, who: str) -> list[str]:
        """Keep what was answered, from the thread that calls; see `keep`."""
        digests = [text_digest(text) for text, _ in answered]
        with self._database.writing() as session:
            known: dict[str, PredictionRecord] = {}
            for start in range(0, len(digests), _CHUNK):
                chunk = PredictionRecord.digest.in_(digests[start : start + _CHUNK])
                known |= {each.digest: each for each in session.scalars(select(PredictionRecord).where(chunk))}
            for digest, (text, answer) in zip(digests, answered, strict=True):
                if digest not in known:
                    known[digest] = PredictionRecord(digest=digest, text=normalise_text(text))
                    session.add(known[digest])
                _fill(known[digest], answer, model, who)
        return [id_of(digest) for digest in digests]


def _fill(record: PredictionRecord, answer: Prediction, model: str, who: str) -> None:
    likeliest, second = sorted(answer.probabilities.values(), reverse=True)[:2]
    record.model, record.label, record.act = model, answer.label, answer.act
    record.confidence, record.margin, record.abstained = answer.confidence, likeliest - second, answer.abstained
    record.probabilities = answer.probabilities
    record.kept_at, record.kept_by = datetime.now(UTC), who
