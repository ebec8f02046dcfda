"""What is logged: one line a request with its id, and nothing of the texts."""

import logging
from uuid import uuid4

import pytest
import structlog
from starlette.applications import Starlette
from starlette.testclient import TestClient

from service.telemetry import Metrics, RequestLog
from tests.service.conftest import PREDICT, FakeClassifier, Log, post_bytes

SECRET = "Zanzibar"


def test_request_is_one_json_line_with_its_id(client: TestClient, log: Log) -> None:
    log.configure()
    request_id = uuid4().hex
    client.post(PREDICT, json={"texts": ["a", "b"]}, headers={"X-Request-ID": request_id})
    [line] = log.lines("request")  # a library may speak up as well, of what an earlier test left to be collected
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "method": "POST",
        "path": PREDICT,
        "status": 200,
        "request_id": request_id,
    }


def test_requests_have_lines_and_ids_of_their_own(client: TestClient, log: Log) -> None:
    log.configure()
    ids = [client.get(path).headers["x-request-id"] for path in ("/healthz", "/nope", "/healthz")]
    assert [(line["request_id"], line["status"]) for line in log.lines("request")] == list(
        zip(ids, [200, 404, 200], strict=True)
    )


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("level", ["debug", "info"])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_of_the_texts_is_logged(
    client: TestClient, classifier: FakeClassifier, log: Log, log_format: str, level: str, fails: bool
) -> None:
    log.configure(level, log_format)
    classifier.failure = RuntimeError("the engine broke") if fails else None
    client.post(PREDICT, json={"texts": [SECRET, f"{SECRET}\ud7ff" * 5000]})
    post_bytes(client, f'{{"text": "{SECRET}", "{SECRET}": 1}}'.encode())
    post_bytes(client, f'{{"text": "{SECRET}'.encode())
    client.get(f"{PREDICT}?text={SECRET}")
    assert log.text.count(PREDICT) == 4
    assert ("the engine broke" in log.text) == fails
    assert SECRET not in log.text


def test_path_cannot_forge_a_line(client: TestClient, log: Log) -> None:
    log.configure()
    client.get("/a%0A%7B%22event%22:%22forged%22%7D")
    assert "forged" not in {line["event"] for line in log.lines()}
    [line] = log.lines("request")
    assert (line["event"], line["path"]) == ("request", '/a\n{"event":"forged"}')


def test_lines_under_the_level_are_left_out(client: TestClient, log: Log) -> None:
    log.configure("warning")
    client.get("/healthz")
    assert log.text == ""


def test_lines_of_libraries_have_the_same_form(log: Log) -> None:
    log.configure()
    logging.getLogger("uvicorn.error").warning("listening on %d", 8000)
    [line] = log.lines()
    assert (line["event"], line["level"]) == ("listening on 8000", "warning")


def test_traceback_is_part_of_the_line(log: Log) -> None:
    log.configure()
    try:
        raise ValueError("broken")
    except ValueError as error:
        structlog.get_logger("any").error("failed", exc_info=error)
    [line] = log.lines()
    assert (line["event"], line["exception"].splitlines()[-1]) == ("failed", "ValueError: broken")


def test_console_is_for_a_person(client: TestClient, log: Log) -> None:
    log.configure("info", "console")
    client.get("/healthz")
    [line] = log.text.splitlines()
    assert "request" in line
    assert "path" in line
    assert not line.startswith("{")


def test_configuring_twice_doubles_no_line(client: TestClient, log: Log) -> None:
    log.configure()
    log.configure()
    client.get("/healthz")
    assert len(log.lines()) == 1


def test_start_and_stop_pass_the_request_log_by(log: Log) -> None:
    log.configure()
    with TestClient(RequestLog(Starlette(), Metrics())):
        pass
    assert log.lines() == []
