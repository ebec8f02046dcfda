"""Real databases for tests: a file of SQLite, and a PostgreSQL server that is started for the session."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server that listens on a socket in a folder of its own and yield the URL of its first database."""
    binaries = _binaries()
    # Not pytest's folder: only its owner may enter that, and a socket's path has room for some hundred characters.
    with tempfile.TemporaryDirectory(prefix="brink-pg-") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, _ACCOUNT)
        data, log = folder / "data", folder / "log"
        _run([binaries / "initdb", "-D", data, "-U", "brink", "--auth=trust", "--no-sync", "-E", "UTF8"], folder)
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        _run([binaries / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start"], folder)
        try:
            yield f"postgresql://brink@/postgres?host={folder}"
        finally:
            _run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], folder)


def new_postgres_database(server: str) -> str:
    """Create an empty database on a server and return its URL."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.replace("/postgres?", f"/{name}?")
