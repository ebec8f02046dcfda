"""`python -m service` as a process of its own: how it starts, answers, refuses to start, and stops."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from model.artifact import locate_model
from tests.service.conftest import WAIT_S, assert_problem

ROOT = Path(__file__).parents[2]
MODEL = "fast"
MINUTE_S = 60.0
STATEMENT = "Any aircraft that enters our airspace armed will be shot down. "


class Server:
    """A running service and its log."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.url = self._read_until_listening()
        # All the while: a pipe that nobody empties stops the service once 64 kB of log lines are in it.
        self._reader = threading.Thread(target=self._read_to_end, daemon=True)
        self._reader.start()

    def _read_until_listening(self) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            if found := re.search(r"running on (http://\S+)", self.lines[-1]["event"]):
                return found[1]
        pytest.fail(f"it did not start: {self.lines}")

    def _read_to_end(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def stop(self, number: signal.Signals) -> int:
        """Send a signal, read the log to its end and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        self.read()
        return self.process.wait(WAIT_S)

    def read(self) -> None:
        """Read the log of a service that has ended, or is ending, to its end."""
        self._reader.join(5 * MINUTE_S)

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]


def environment(settings: dict[str, str]) -> dict[str, str]:
    of_the_tests = {"BRINK_MODEL": MODEL, "BRINK_MODELS": "/no/versions", "BRINK_PORT": "0"}
    return {"PATH": os.environ["PATH"]} | of_the_tests | settings


@contextmanager
def running(minutes: float = 5, **settings: str) -> Iterator[Server]:
    """Start the service; it is killed where a test leaves it running, or hangs for so many minutes."""
    command = [sys.executable, "-m", "service"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        guard = threading.Timer(minutes * MINUTE_S, process.kill)
        guard.start()
        server = None
        try:
            server = Server(process)
            yield server
        finally:
            guard.cancel()
            process.kill()
            if server is not None:
                server.read()


def refused(**settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a service that is expected not to start."""
    return subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=2 * MINUTE_S,
    )


def reasons(log: str) -> list[str]:
    """Return the reasons of the errors in a log, which holds nothing but JSON lines."""
    lines = [json.loads(line) for line in log.splitlines()]
    return [line.get("reason", line["event"]) for line in lines if line["level"] == "error"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BRINK_MODLE", "fast", "error: unknown setting BRINK_MODLE: did you mean BRINK_MODEL?\n"),
        ("BRINK_PORT", "http", "error: bad settings: BRINK_PORT='http': Input should be a valid integer"),
        (
            "BRINK_PORT",
            "70000",
            "error: bad settings: BRINK_PORT='70000': Input should be less than or equal to 65535\n",
        ),
    ],
)
def test_bad_setting_is_named_on_the_error_stream(name: str, value: str, message: str) -> None:
    ended = refused(**{name: value})
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1


def test_missing_folder_is_named(tmp_path: Path) -> None:
    ended = refused(BRINK_MODEL=str(tmp_path / "none"))
    assert (ended.returncode, ended.stderr) == (1, "")
    [reason] = reasons(ended.stdout)
    assert reason.startswith(f"no model '{tmp_path}/none': expected a shipped model")


def test_incomplete_folder_is_refused(tmp_path: Path) -> None:
    ended = refused(BRINK_MODEL=str(tmp_path))
    assert ended.returncode == 1
    [reason] = reasons(ended.stdout)
    assert reason.startswith(f"{tmp_path} is not a complete model: expected manifest.json in it and found none.")


@pytest.mark.artifact
def test_altered_network_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(locate_model(MODEL), tmp_path / "model")
    with (folder / "model.onnx").open("r+b") as network:
        network.seek(-1, os.SEEK_END)
        last = network.read(1)
        network.seek(-1, os.SEEK_END)
        network.write(bytes([last[0] ^ 1]))
    ended = refused(BRINK_MODEL=str(folder))
    assert ended.returncode == 1
    [reason] = reasons(ended.stdout)
    assert reason.startswith(f"{folder}/model.onnx was altered after the model was written: expected sha256 ")


@pytest.mark.artifact
def test_busy_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = refused(BRINK_PORT=str(port))
    assert (ended.returncode, ended.stderr) == (1, "")
    [reason] = reasons(ended.stdout)
    assert re.search(rf"'127\.0\.0\.1', {port}\): address already in use", reason)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One service for the tests that only ask."""
    with running(BRINK_MAX_BODY_BYTES="100000") as server:
        yield server


@pytest.mark.artifact
def test_started_service_answers(server: Server) -> None:
    assert "ready" in server.events()
    answers = {
        path: httpx2.get(server.url + path) for path in ("/healthz", "/readyz", "/metrics", "/v1/model", "/docs")
    }
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(answers, 200)
    model = answers["/v1/model"].json()
    response = httpx2.post(f"{server.url}/v1/predict", json={"text": STATEMENT}, timeout=MINUTE_S)
    assert (response.status_code, response.json()["model"]) == (200, model["version"])
    [prediction] = response.json()["predictions"]
    assert list(prediction["probabilities"]) == model["labels"]
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert prediction["confidence"] == max(prediction["probabilities"].values())
    assert prediction["abstained"] == (prediction["confidence"] < model["threshold"])


@pytest.mark.artifact
def test_bad_texts_get_errors_in_place_from_the_network_too(server: Server) -> None:
    texts = [STATEMENT, "", " ", "\0", "\u200b", "\ud800", "x" * 20_001, STATEMENT]
    body = json.dumps({"texts": texts})
    headers = {"content-type": "application/json"}
    response = httpx2.post(f"{server.url}/v1/predict", content=body, headers=headers, timeout=MINUTE_S)
    first, *errors, last = response.json()["predictions"]
    codes = [each["error"]["code"] for each in errors]
    assert codes == ["empty", "empty", "empty", "empty", "not_unicode", "too_long"]
    assert first["label"] == last["label"]
    assert first["confidence"] == pytest.approx(last["confidence"])


@pytest.mark.artifact
def test_chunked_upload_over_the_limit_is_cut_off(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), MINUTE_S) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n186a1\r\n{'x' * 100_001}\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))  # until the service closes the connection
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"content-type: application/problem+json" in answer


@pytest.mark.artifact
def test_terminated_service_answers_fully_what_it_had_accepted() -> None:
    patience = {"BRINK_REQUEST_TIMEOUT_S": "300", "BRINK_SHUTDOWN_TIMEOUT_S": "300"}
    with running(**patience) as server, ThreadPoolExecutor() as background:
        body = {"texts": [f"{index}. {STATEMENT}" for index in range(500)]}
        request = background.submit(httpx2.post, f"{server.url}/v1/predict", json=body, timeout=5 * MINUTE_S)
        while "brink_queued_texts 500.0" not in httpx2.get(f"{server.url}/metrics").text:
            assert not request.done()
        assert server.stop(signal.SIGTERM) == 0
    assert request.result().status_code == 200
    assert len(request.result().json()["predictions"]) == 500
    answered = [line["event"] for line in server.lines if line.get("path") in (None, "/v1/predict")]
    assert answered.index("Shutting down") < answered.index("request") < answered.index("stopped")


@pytest.mark.artifact
def test_interrupted_service_ends_in_order() -> None:
    with running() as server:
        assert server.stop(signal.SIGINT) == 0
    assert server.events()[-1].startswith("Finished server process")


@pytest.mark.artifact
def test_service_that_is_out_of_time_answers_503_and_stops() -> None:
    with running(BRINK_SHUTDOWN_TIMEOUT_S="0") as server, ThreadPoolExecutor() as background:
        body = {"texts": [STATEMENT * 100] * 1000}
        request = background.submit(httpx2.post, f"{server.url}/v1/predict", json=body, timeout=5 * MINUTE_S)
        while "brink_queued_texts 1000.0" not in httpx2.get(f"{server.url}/metrics").text:
            assert not request.done()
        assert server.stop(signal.SIGTERM) == 0
    assert_problem(request.result(), 503)
    assert [each["status"] for each in server.lines if each.get("path") == "/v1/predict"] == [503]
    assert not [each for each in server.lines if "exception" in each]
