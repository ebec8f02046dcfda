"""Real databases for tests: a file of SQLite, and a PostgreSQL server that is started for the session."""

import os
import shutil
import subprocess
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

import psycopg
import pytest

_ACCOUNT = "postgres"


def _binaries() -> Path:
    """Return the folder of PostgreSQL's programs; skips where there is none, but not where CI must have one."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        reason = "PostgreSQL is not installed; on Debian `apt-get install postgresql` brings it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folders[-1]


def _run(command: list[str | Path], folder: Path) -> None:
    # PostgreSQL refuses to run as root.
    account = ["runuser", "-u", _ACCOUNT, "--"] if os.geteuid() == 0 else []
    done = subprocess.run([*account, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"


class Postgres:
    """A real server of its own, with its data in a temporary folder; a context manager that starts and ends it.

    Attributes:
        url: of its first database.
    """

    def __init__(self) -> None:
        self._binaries = _binaries()

    def __enter__(self) -> Self:
        # Not pytest's folder: only its owner may enter that, and a socket's path has room for some hundred characters.
        self._temporary = tempfile.TemporaryDirectory(prefix="brink-pg-")
        self._folder = Path(self._temporary.name)
        if os.geteuid() == 0:
            shutil.chown(self._folder, _ACCOUNT)
        create = [self._binaries / "initdb", "-D", self._data, "-U", "brink", "--auth=trust", "--no-sync", "-E", "UTF8"]
        _run(create, self._folder)
        self.url = f"postgresql://brink@/postgres?host={self._folder}"
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(AssertionError):  # a test has stopped it
            self.stop()
        self._temporary.cleanup()

    def start(self) -> None:
        """Start it and return once it takes connections."""
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off"
        log = self._folder / "log"
        _run([*self._control, "-l", log, "-w", "-o", options, "start"], self._folder)

    def stop(self) -> None:
        """End it as a crash would."""
        _run([*self._control, "-m", "immediate", "-w", "stop"], self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _control(self) -> list[str | Path]:
        return [self._binaries / "pg_ctl", "-D", self._data]


def new_postgres_database(server: str) -> str:
    """Create an empty database on a server and return its URL."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.replace("/postgres?", f"/{name}?")
