"""The connection to the database: SQLite in a file by default, PostgreSQL by its URL, and the same tables in both."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from service.errors import DatabaseError, InvalidError

__all__ = ["Database"]

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_MS = 30_000
_CONNECT_TIMEOUT_S = 5
# Any number of one's own. Writers take turns, as SQLite's do: a label is a person's, and two that came to one statement
# at once would each judge it agreed on without the other.
_WRITERS_LOCK = 7_243_316_841


class Database:
    """One database; its tables are created or brought up to date before it is first used."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Args:
            url: as SQLAlchemy takes it, for example `sqlite:///brink.db` or `postgresql://user:password@host/name`.

        Raises:
            DatabaseError: it is no such URL, or its driver is not installed.
        """
        try:
            parsed = sqlalchemy.make_url(url)
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            waits = {"connect_timeout": _CONNECT_TIMEOUT_S} if parsed.get_backend_name() == "postgresql" else {}
            self._engine = sqlalchemy.create_engine(parsed, pool_pre_ping=True, connect_args=waits)
        except (SQLAlchemyError, ImportError) as error:
            raise DatabaseError(
                "expected a database URL such as sqlite:///brink.db or postgresql://user:password@host/name; "
                f"PostgreSQL needs `pip install 'brink[postgres]'` ({error})."
            ) from error
        if self._engine.dialect.name == "sqlite":
            _prepare_sqlite(self._engine)
        self._is_migrated = False

    def exists(self) -> bool:
        """Return whether there may be anything in it: a file of SQLite that is not there is not made for a question."""
        name = self._engine.url.database
        is_plain_file = self._engine.dialect.name == "sqlite" and name and not name.startswith(("file:", ":memory:"))
        return not is_plain_file or Path(str(name)).exists()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Yield a session that sees one state of the database and writes nothing."""
        with self._session(writes=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Yield a session whose changes are all kept at the end, or none where an error is raised."""
        with self._session(writes=True) as session:
            yield session
            session.commit()

    @contextmanager
    def _session(self, writes: bool) -> Iterator[Session]:
        try:
            self.migrate()
            options: dict[str, Any] = {"writes": writes}
            if not writes and self._engine.dialect.name == "postgresql":
                options["isolation_level"] = "REPEATABLE READ"  # one state for all of a session's queries
            with self._engine.connect().execution_options(**options) as connection, Session(connection) as session:
                if writes:
                    _lock_writers(session.connection())
                yield session
        except sqlalchemy.exc.IntegrityError:  # a fault of the program, not of the database
            raise
        except sqlalchemy.exc.DataError as error:
            raise InvalidError(f"a value cannot be kept or looked for: {error.orig}") from error
        except (DBAPIError, OSError, sqlalchemy.exc.TimeoutError, CommandError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise DatabaseError(f"the database cannot be used now: {cause}") from error

    def migrate(self) -> None:
        """Bring the tables up to date, once in the life of this object."""
        if self._is_migrated:
            return
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with self._engine.connect().execution_options(writes=False) as connection:
            # Without the writers' lock, which is needed only where there is something to do.
            if MigrationContext.configure(connection).get_current_revision() == _newest(config):
                self._is_migrated = True
                return
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            _lock_writers(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        self._is_migrated = True


def _newest(config: Config) -> str | None:
    return ScriptDirectory.from_config(config).get_current_head()


def _lock_writers(connection: Connection) -> None:
    """Wait until no other transaction writes; SQLite does so when the transaction begins."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS_LOCK})


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions by itself, and too late
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")  # readers do not wait for the writer
        cursor.execute("PRAGMA synchronous = FULL")  # what was accepted outlives a loss of power
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A writer takes its lock at once: two that have both read could not both go on.
        writes = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
