"""Several worker processes on one socket: they share the work, add up their metrics, come back and stop together."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from model.versions import Versions
from tests.service.asking import ASKED
from tests.service.conftest import WAIT_S
from tests.service.test_process import Server, reasons, refused, running
from tests.service.test_swap import version_of

WORKERS = 3


def workers_of(server: Server) -> set[int]:
    """Return the process numbers of the workers that live."""
    found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    return {int(each) for each in found.stdout.split()}


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends, "it never came about"
        time.sleep(0.05)


def ask(server: Server, path: str = "/v1/predict") -> httpx2.Response:
    """Ask on a connection of its own, which any worker may take."""
    if path != "/v1/predict":
        return httpx2.get(f"{server.url}{path}", timeout=WAIT_S)
    return httpx2.post(f"{server.url}{path}", json=ASKED, timeout=WAIT_S)


def sums(server: Server) -> dict[str, float]:
    """Return each metric, summed over its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(ask(server, "/metrics").text):
        for each in family.samples:
            found[each.name] = found.get(each.name, 0.0) + each.value
    return found


def settings_of(tiny_model: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "BRINK_WORKERS": str(WORKERS),
        "BRINK_MODEL": str(tiny_model),
        "BRINK_MODELS": str(tmp_path / "versions"),
        "BRINK_DATABASE_URL": f"sqlite:///{tmp_path}/brink.db",
    }


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path) -> Iterator[Server]:
    with running(**settings_of(tiny_model, tmp_path)) as server:
        yield server


def test_workers_answer_add_up_and_stop_together(server: Server) -> None:
    workers = workers_of(server)
    assert len(workers) == WORKERS
    with ThreadPoolExecutor(16) as executor:
        answers = list(executor.map(lambda _: ask(server), range(200)))
    assert [each.status_code for each in answers] == [200] * 200
    said = [[round(one["confidence"], 3) for one in each.json()["predictions"]] for each in answers]
    assert said == [said[0]] * 200  # whichever worker, and whatever else was in its batch
    for _ in range(10):  # whichever worker is asked
        found = sums(server)
        assert found["brink_predictions_total"] == 400
        assert found["brink_model_info"] == 1
    assert found["brink_http_request_duration_seconds_count"] >= 209
    until(
        lambda: (now := sums(server))["brink_queued_texts"] == now["brink_queued_tokens"] == 0
    )  # each says it in turn
    assert server.stop(signal.SIGTERM) == 0
    assert not [each for each in workers if Path(f"/proc/{each}").exists()]
    assert server.events().count("stopped") == WORKERS


def test_killed_worker_comes_back_and_takes_nothing_but_its_own_with_it(server: Server) -> None:
    before = workers_of(server)
    ask(server)
    errors: list[str] = []

    def keep_asking(_: int) -> int:
        answered = 0
        for _ in range(40):
            try:
                assert ask(server).status_code == 200
                answered += 1
            except httpx2.TransportError as error:
                errors.append(repr(error))
        return answered

    with ThreadPoolExecutor(4) as executor:
        counts = executor.map(keep_asking, range(4))
        time.sleep(0.2)
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        assert sum(counts) + len(errors) == 160
    assert len(errors) <= 4  # a request of each client at most: those that the worker had taken
    until(lambda: len(workers_of(server) - {killed}) == WORKERS)
    assert sums(server)["brink_predictions_total"] >= 2 * (160 - len(errors))  # what it had counted still counts
    assert "a worker ended and is started again" in server.events()
    until(lambda: server.events().count("ready") == WORKERS + 1)
    assert server.stop(signal.SIGINT) == 0


def test_promotion_reaches_every_worker(server: Server, tiny_model: Path, tmp_path: Path) -> None:
    Versions(tmp_path / "versions").publish(version_of(tmp_path / "made", tiny_model, "tiny-2"))
    httpx2.post(f"{server.url}/v1/models/tiny-2/promote", timeout=WAIT_S).raise_for_status()
    until(lambda: server.events().count("serves another model") == WORKERS)
    assert {ask(server).json()["model"] for _ in range(30)} == {"tiny-2"}


def test_workers_end_with_the_process_that_looks_after_them(server: Server) -> None:
    workers = workers_of(server)
    server.process.kill()
    until(lambda: not [each for each in workers if Path(f"/proc/{each}").exists()])


def test_workers_stop_at_once_where_they_are_told_twice(server: Server) -> None:
    with socket.create_connection(server.url.removeprefix("http://").split(":"), WAIT_S) as connection:  # type: ignore[arg-type]
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n")
        connection.sendall(b"content-length: 100\r\n\r\n{")
        time.sleep(0.5)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "Shutting down" in server.events())
        time.sleep(0.5)
        assert server.process.poll() is None  # it waits for the rest of the request, up to a minute
        started = time.monotonic()
        assert server.stop(signal.SIGTERM) == 0
        assert time.monotonic() - started < WAIT_S / 3


def test_model_that_is_none_and_busy_port_are_named(tmp_path: Path) -> None:
    ended = refused(BRINK_WORKERS="2", BRINK_MODEL=str(tmp_path))
    assert ended.returncode == 1
    assert [each for each in reasons(ended.stdout) if "is not a complete model" in each]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = refused(BRINK_WORKERS="2", BRINK_PORT=str(port))
    assert (ended.returncode, ended.stderr) == (1, "")
    assert reasons(ended.stdout) == [f"('127.0.0.1', {port}): address already in use"]


def test_worker_whose_parent_has_ended_does_not_begin() -> None:
    done = subprocess.run([sys.executable, "-m", "service.worker", "1", "0", "1"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
