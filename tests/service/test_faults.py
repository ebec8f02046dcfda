"""Whatever is killed, full or gone: no label is lost, a model always answers, and a restart finds all in order.

`make faults` kills twenty times where the tests kill twice.
"""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.trainings import ENDED, MAX_RESTARTS
from tests.conftest import DEFAULT_KILLS
from tests.service.camps import CAMPS, FIRST, Folders, Site, clear_rows
from tests.service.conftest import assert_problem
from tests.service.databases import Postgres, new_postgres_database

# Longer than a tiny training with its gate takes, so that the moments fall into every part of it.
LATEST_S = 12.0


@pytest.fixture
def moments(request: pytest.FixtureRequest) -> list[float]:
    """Return after how many seconds something is killed, each time."""
    kills = int(request.config.getoption("--kills"))
    generator = random.Random(kills)
    return [generator.uniform(0.0, LATEST_S) for _ in range(kills)]


@pytest.fixture
def _thorough(request: pytest.FixtureRequest) -> None:
    if int(request.config.getoption("--kills")) <= DEFAULT_KILLS:
        pytest.skip("`make faults` does it, which has the time")


class Writer:
    """Sends one label after the other, each under a text of its own, until the service is gone.

    Attributes:
        accepted: texts of which the service has said that it keeps them.
    """

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self._rows = iter(clear_rows(20_000, seed=11))

    def write(self, site: Site) -> None:
        with suppress(httpx2.TransportError):
            while True:
                row = next(self._rows)
                if site.post([row]).raise_for_status().json()["accepted"]:
                    self.accepted.append(row["text"])
                time.sleep(0.02)


def assert_in_order(site: Site, accepted: list[str]) -> None:
    kept = site.texts()
    assert len(kept) == len(set(kept))
    assert set(accepted) <= set(kept)
    assert site.accuracy(clear_rows(30, seed=3)) > 0.9
    runs = site.runs()
    assert sum(run["state"] in {"running", "cancelling"} for run in runs) <= 1
    assert site.version() in {FIRST, *(run["version"] for run in runs)}


def test_kills_of_the_service_lose_nothing(camps: Folders, moments: list[float]) -> None:
    writer = Writer()
    for moment in moments:
        with camps.serving() as site:
            assert_in_order(site, writer.accepted)
            site.post(clear_rows(1, seed=4)).raise_for_status()
            if all(run["state"] in ENDED for run in site.runs()):
                site.ask("quick")
            writing = threading.Thread(target=writer.write, args=[site])
            writing.start()
            time.sleep(moment)
            site.server.process.kill()
            writing.join()
    with camps.serving() as site:
        assert_in_order(site, writer.accepted)
        for run in site.runs():
            ended = site.ended(f"/v1/trainings/{run['id']}")
            assert ended["state"] in {"promoted", "refused"} or ended["restarts"] == MAX_RESTARTS, ended["reason"]
        last = site.ended(site.ask("quick"))
        assert last["state"] == "promoted", last["reason"]
        assert site.version() == last["version"]
        assert_in_order(site, writer.accepted)


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if fields[1] == str(process) and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def test_kills_of_a_training_are_failures_that_change_nothing(camps: Folders, moments: list[float]) -> None:
    if camps.database_url.startswith("sqlite") and len(moments) <= DEFAULT_KILLS:
        pytest.skip("on SQLite `make faults` does it, which has the time")
    with camps.serving() as site:
        accepted = [row["text"] for row in clear_rows(60, seed=4)]
        site.post(clear_rows(60, seed=4)).raise_for_status()
        for moment in moments:
            version = site.version()
            asked = [site.ask("quick"), site.ask("quick")]
            time.sleep(moment)
            assert sum(site.run(each)["state"] == "running" for each in asked) <= 1
            site.http.post(f"{asked[1]}/cancel")  # too late where the first one ended early
            killed = children(site.server.process.pid)
            for child in killed:
                os.kill(child, signal.SIGKILL)
            first, second = (site.ended(each) for each in asked)
            assert second["state"] in {"cancelled", "promoted", "failed"}, second
            if first["state"] == "failed":
                assert "SIGKILL" in first["reason"]
                assert second["state"] != "cancelled" or site.version() == version
            assert_in_order(site, accepted)
        last = site.ended(site.ask("quick"))
        assert last["state"] == "promoted", last["reason"]
        assert_in_order(site, accepted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for some megabytes; skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system may be mounted here; it takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Take all room that is left on a disk."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(b"." * 1024)
    return ballast


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_full_disk_refuses_labels_with_the_reason_and_goes_on_answering(camps: Folders, small_disk: Path) -> None:
    folders = replace(camps, root=small_disk, database_url=f"sqlite:///{small_disk}/brink.db")
    rows = clear_rows(60, seed=4)
    with folders.serving() as site:
        site.post(rows[:30]).raise_for_status()
        ballast = fill(small_disk)
        assert "full" in assert_problem(site.post(rows[30:]), 503)["detail"]
        assert_problem(site.http.post("/v1/trainings", json={"kind": "quick"}), 503)
        assert_in_order(site, [row["text"] for row in rows[:30]])
        ballast.unlink()
        site.post(rows[30:]).raise_for_status()
        assert_in_order(site, [row["text"] for row in rows])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_training_on_a_full_disk_fails_with_the_reason_and_the_next_one_does_not(
    camps: Folders, small_disk: Path
) -> None:
    rows = clear_rows(60, seed=4)
    folders = {"BRINK_TRAINING": str(small_disk / "trainings"), "BRINK_MODELS": str(small_disk / "versions")}
    with camps.serving(**folders) as site:
        site.post(rows).raise_for_status()
        ballast = fill(small_disk)
        failed = site.ended(site.ask("quick"))
        assert failed["state"] == "failed"
        assert "No space left on device" in failed["reason"]
        assert site.version() == FIRST
        ballast.unlink()
        ended = site.ended(site.ask("quick"))
        assert ended["state"] == "promoted", ended["reason"]
        assert_in_order(site, [row["text"] for row in rows])


@pytest.mark.usefixtures("_thorough")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_version_that_the_disk_has_no_room_for_is_not_promoted(camps: Folders, small_disk: Path) -> None:
    rows = clear_rows(60, seed=4)
    with camps.serving(BRINK_MODELS=str(small_disk / "versions")) as site:
        site.post(rows).raise_for_status()
        ballast = fill(small_disk)
        failed = site.ended(site.ask("quick"))
        assert failed["state"] == "failed"
        assert "No space left on device" in failed["reason"]
        assert_in_order(site, [row["text"] for row in rows])
        ballast.unlink()
        ended = site.ended(site.ask("quick"))
        assert ended["state"] == "promoted", ended["reason"]
        assert site.version() == ended["version"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_database_that_goes_and_comes_back_loses_nothing(camps: Folders) -> None:
    rows = clear_rows(60, seed=4)
    with Postgres() as postgres:
        folders = replace(camps, database_url=new_postgres_database(postgres.url))
        with folders.serving() as site:
            site.post(rows[:30]).raise_for_status()
            run = site.ask("quick")
            while site.run(run)["state"] == "queued":
                time.sleep(0.05)
            postgres.stop()
            assert_problem(site.post(rows[30:]), 503)
            assert_problem(site.http.get(run), 503)
            assert site.accuracy(clear_rows(30, seed=3)) > 0.9
            time.sleep(2.0)
            postgres.start()
            site.post(rows[30:]).raise_for_status()
            ended = site.ended(run)
            assert ended["state"] == "promoted", ended["reason"]
            assert_in_order(site, [row["text"] for row in rows])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_upload_that_breaks_off_adds_nothing_and_is_whole_the_second_time(camps: Folders) -> None:
    body = "".join(f'{{"text": "{row["text"]}", "label": "{row["label"]}"}}\n' for row in clear_rows(200, seed=4))
    content = body.encode()
    head = (
        f"POST /v1/statements HTTP/1.1\r\nhost: brink\r\ncontent-type: application/x-ndjson\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    )
    with camps.serving() as site:
        address = (site.http.base_url.host, site.http.base_url.port)
        for sent in (0, 1, len(content) // 2, len(content) - 1):
            with socket.create_connection(address) as connection:
                connection.sendall(head.encode() + content[:sent])
            assert site.texts() == []
        whole: dict[str, Any] = site.http.post(
            "/v1/statements", content=content, headers={"content-type": "application/x-ndjson"}
        ).json()
        assert (whole["accepted"], whole["rejected"]) == (200, 0)
        assert len(site.texts()) == 200
    assert not [line for line in site.server.lines if line["level"] == "error"]


@pytest.mark.usefixtures("_thorough")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_version_that_is_damaged_while_it_serves_goes_on_and_the_next_start_takes_the_one_before(
    camps: Folders,
) -> None:
    with camps.serving() as site:
        site.post(clear_rows(60, seed=4)).raise_for_status()
        made = site.ended(site.ask("quick"))["version"]
        network = camps.root / "versions" / made / "model.onnx"
        network.write_bytes(network.read_bytes()[:1000])
        assert site.version() == made
        assert site.accuracy(clear_rows(30, seed=3)) > 0.9
    with camps.serving() as site:
        assert site.version() == FIRST
        assert site.http.get("/v1/model").json()["labels"] == list(CAMPS)
        assert len(site.texts()) == 60
