"""Every error as a problem: which exception becomes which status, and what an answer tells."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

import service.errors
from service.errors import (
    ConflictError,
    DatabaseError,
    DeadlineError,
    InvalidError,
    MissingError,
    NotReadyError,
    OverloadedError,
    ServiceError,
    SettingsError,
    TableError,
    TrainingFailedError,
)
from service.problems import LastResort, install_problem_handlers, problem
from tests.service.conftest import PREDICT, WAIT_S, FakeClassifier, Log, application, assert_problem
from tests.service.test_operations import scrape, value


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/predict/x", "/healthz/x", "/%00", "/a%3Fb", "/caf%C3%A9", "//x"])
def test_unknown_path_gets_404(client: TestClient, path: str) -> None:
    assert assert_problem(client.get(path), 404)["detail"].endswith("; /docs lists the routes.")


def test_404_names_the_path_even_under_a_broken_host_header(client: TestClient) -> None:
    problem_404 = assert_problem(client.get("/nope?text=a", headers={"host": "["}), 404)
    assert problem_404["detail"] == "no such thing: /nope; /docs lists the routes."


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", PREDICT, "POST"),
        ("PUT", PREDICT, "POST"),
        ("DELETE", PREDICT, "POST"),
        ("OPTIONS", PREDICT, "POST"),
        ("POST", "/healthz", "GET"),
        ("POST", "/readyz", "GET"),
        ("PATCH", "/metrics", "GET"),
        ("POST", "/v1/model", "GET"),
        ("BREW", "/v1/model", "GET"),
        ("PUT", "/v1/statements", "GET, POST"),
        ("PUT", "/v1/statements/0", "DELETE, GET, PATCH"),
        ("PATCH", "/v1/trainings/0", "DELETE, GET"),
        ("DELETE", "/v1/models/rollback", "GET, POST"),
        ("GET", "/webhook", "POST"),
        ("POST", "/static-offline-docs/swagger-ui.css", "GET, HEAD"),
    ],
)
def test_wrong_method_gets_405_and_the_right_ones(client: TestClient, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert assert_problem(response, 405)["detail"] == f"{path} takes {allowed}."
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize(("path", "allowed"), [("/healthz", "GET"), (PREDICT, "POST")])
def test_head_is_refused_without_a_body(client: TestClient, path: str, allowed: str) -> None:
    response = client.head(path)
    assert (response.status_code, response.headers["allow"], response.content) == (405, allowed, b"")


def test_full_queue_gets_429_and_when_to_ask_again(
    serve: Callable[..., TestClient], classifier: FakeClassifier, background: ThreadPoolExecutor
) -> None:
    client = serve(max_queued_tokens=2048)
    with classifier.blocked():
        accepted = [background.submit(client.post, PREDICT, json={"texts": ["a" * 10] * 512}) for _ in "ab"]
        classifier.wait_until_entered()
        while value(scrape(client), "brink_queued_tokens") < 2048:
            pass
        response = client.post(PREDICT, json={"text": "b" * 2})
        detail = assert_problem(response, 429)["detail"]
        assert detail.startswith("2,048 tokens are waiting and some ")
        assert detail.endswith(" more do not fit into 2,048; ask again after 1 s.")
        assert response.headers["retry-after"] == "1"
    assert [each.result(WAIT_S).status_code for each in accepted] == [200, 200]
    assert client.post(PREDICT, json={"text": "b"}).status_code == 200


def test_passed_deadline_gets_504_and_the_next_request_is_answered(
    serve: Callable[..., TestClient], classifier: FakeClassifier
) -> None:
    client = serve(request_timeout_s=0.05)
    with classifier.blocked():
        response = client.post(PREDICT, json={"texts": ["late"] * 100})
    assert assert_problem(response, 504)["detail"] == (
        "0 of 100 texts were computed within 0.05 s; send fewer at once."
    )
    assert client.post(PREDICT, json={"text": "a"}).status_code == 200
    assert classifier.seen.count("late") == 100  # the batch that was under way


@pytest.mark.parametrize("path", ["/readyz", "/v1/model"])
def test_before_the_start_is_503(classifier: FakeClassifier, path: str) -> None:
    response = TestClient(application(classifier)).get(path)
    assert assert_problem(response, 503)["detail"].startswith("no model is loaded yet")
    assert response.headers["retry-after"] == "2"


def test_predict_before_the_start_and_after_the_stop_is_503(classifier: FakeClassifier) -> None:
    app = application(classifier)
    before = TestClient(app).post(PREDICT, json={"text": "a"})
    with TestClient(app) as client:
        assert client.post(PREDICT, json={"text": "a"}).status_code == 200
    after = TestClient(app).post(PREDICT, json={"text": "a"})
    for response in (before, after):
        assert_problem(response, 503)
        assert response.headers["retry-after"] == "2"


def test_raising_classifier_gets_500_with_the_id_that_is_logged_and_the_next_request_works(
    client: TestClient, classifier: FakeClassifier, log: Log
) -> None:
    log.configure()
    classifier.failure = RuntimeError("the engine broke")
    response = client.post(PREDICT, json={"texts": ["a"] * 200})
    assert assert_problem(response, 500)["detail"] == (
        "an error that should not happen; the log has it under this answer's X-Request-ID."
    )
    [line] = log.lines("unexpected error")
    assert line["request_id"] == response.headers["x-request-id"]
    assert line["exception"].endswith("RuntimeError: the engine broke")
    assert [(each["status"], each["request_id"]) for each in log.lines("request")] == [(500, line["request_id"])]
    classifier.failure = None
    assert client.post(PREDICT, json={"text": "a"}).status_code == 200


def test_failure_of_one_batch_reaches_every_request_that_waits(
    client: TestClient, classifier: FakeClassifier, background: ThreadPoolExecutor, log: Log
) -> None:
    log.configure()
    with classifier.blocked():
        waiting = [background.submit(client.post, PREDICT, json={"texts": ["a"] * 100}) for _ in range(5)]
        classifier.wait_until_entered()
        classifier.failure = RuntimeError("the engine broke")
    for each in waiting:
        assert_problem(each.result(WAIT_S), 500)
    assert len({line["request_id"] for line in log.lines("unexpected error")}) == 5


def answer_of(error: Exception) -> Any:
    """Return the answer of an application whose one route raises `error`."""
    app = FastAPI()
    install_problem_handlers(app)

    @app.get("/")
    async def fail() -> None:
        raise error

    return TestClient(app).get("/")


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (NotReadyError("not yet"), 503, "2"),
        (OverloadedError("full", retry_after_s=7), 429, "7"),
        (DeadlineError("late"), 504, None),
        (DatabaseError("away"), 503, "2"),
        (MissingError("nowhere"), 404, None),
        (ConflictError("not now"), 409, None),
        (InvalidError("unfit"), 422, None),
    ],
)
def test_error_of_the_service_has_a_status(error: ServiceError, status: int, retry_after: str | None) -> None:
    response = answer_of(error)
    assert (response.status_code, response.json()["detail"]) == (status, str(error))
    assert response.headers.get("retry-after") == retry_after


def test_no_error_of_the_service_is_without_a_status() -> None:
    kinds = {each for each in vars(service.errors).values() if isinstance(each, type) and each is not ServiceError}
    of_the_command_line = {SettingsError, TableError}  # raised where nothing is served
    of_a_run = {TrainingFailedError}  # kept as the run's reason, on a thread of its own
    of_the_queue, of_the_store = (
        {NotReadyError, OverloadedError, DeadlineError},
        {DatabaseError, MissingError, ConflictError, InvalidError},
    )
    assert kinds == of_the_queue | of_the_store | of_the_command_line | of_a_run


def test_broken_json_gets_400_on_a_plain_route_too() -> None:
    app = FastAPI()
    install_problem_handlers(app)

    @app.post("/")
    async def take(body: dict[str, Any]) -> None:
        del body

    response = TestClient(app).post("/", content=b"{", headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["detail"].startswith("the body is not JSON: ")


def test_problem_is_ascii_whatever_it_tells() -> None:
    response = problem(422, "\ud800 é \0", {"X-A": "1"}, [{"field": "\udfff"}])
    assert bytes(response.body).isascii()
    assert json.loads(bytes(response.body))["detail"] == "\ud800 é \0"
    assert response.headers["x-a"] == "1"


def answers_to_cancelling(begun: bool) -> list[Message]:
    """Return what is sent for a request that is cancelled, as the server does when its time to stop has run out."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200})
        await asyncio.Event().wait()

    async def scenario() -> None:
        scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
        task = asyncio.create_task(LastResort(wait)(scope, unused, send))
        await asyncio.sleep(0)
        task.cancel()
        await task

    asyncio.run(scenario())
    return sent


async def unused() -> Message:
    raise AssertionError("nothing is left to receive")


def test_cancelled_request_gets_503() -> None:
    start, body = answers_to_cancelling(begun=False)
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"2")
    assert json.loads(body["body"])["detail"] == "the service is shutting down; ask again later."


def test_cancelled_answer_that_has_begun_ends() -> None:
    with pytest.raises(asyncio.CancelledError):
        answers_to_cancelling(begun=True)


async def _start_and_fail(scope: Scope, receive: Receive, send: Send) -> None:
    await Response("begun")(scope, receive, send)
    raise RuntimeError("too late")


def test_error_after_the_answer_has_begun_is_left_to_the_server() -> None:
    with pytest.raises(RuntimeError, match="too late"):
        TestClient(LastResort(_start_and_fail)).get("/")


def test_last_resort_leaves_what_is_not_http_alone() -> None:
    with TestClient(LastResort(Starlette())) as client:
        assert client.get("/").status_code == 404
