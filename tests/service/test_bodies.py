"""What a body must be before its fields are looked at: 400, 413 and 415."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from tests.service.conftest import PREDICT, FakeClassifier, Log, application, assert_problem, post_bytes

LIMIT = 10_000


def nested(depth: int) -> bytes:
    return b'{"text": ' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "expected a JSON body, came an empty one."),
        (b" \r\n", "expected a JSON body, came an empty one."),
        (b"{", "Expecting property name enclosed in double quotes at line 1, column 2."),
        (b'{"text": "a"', "Expecting ',' delimiter at line 1, column 13."),
        (b'{"text": "a"} {}', "Extra data at line 1, column 15."),
        (b'{"text": "a\nb"}', "Invalid control character at at line 1, column 12."),
        (b"text=a", "Expecting value at line 1, column 1."),
        (b'\xef\xbb\xbf{"text": "a"}', "Unexpected UTF-8 BOM"),
        ('{"text": "\u00e9"}'.encode("latin-1"), "the body is not UTF-8: byte 10 is not."),
        ('{"text": "a"}'.encode("utf-16"), "the body is not UTF-8: byte 0 is not."),
        ('{"text": "a"}'.encode("utf-16-le"), "the body is not JSON"),
        (b'{"text": "\xed\xa0\x80"}', "the body is not UTF-8: byte 10 is not."),
        (nested(100_000), "the body is not JSON that can be read: maximum recursion depth exceeded"),
        (b"[" * 100_000, "the body is not JSON that can be read: maximum recursion depth exceeded"),
        (b'{"text": ' + b"9" * 10_000 + b"}", "the body is not JSON that can be read: Exceeds the limit (4300 digits)"),
        (b'{"text": NaN}', "NaN is a number of JavaScript, not of JSON."),
        (b'{"text": -Infinity}', "-Infinity is a number of JavaScript, not of JSON."),
    ],
)
def test_body_that_is_no_json_gets_400(client: TestClient, body: bytes, detail: str) -> None:
    assert detail in assert_problem(post_bytes(client, body), 400)["detail"]


@pytest.mark.parametrize("depth", range(850, 1000, 10))
def test_depth_about_the_limit_gets_400_or_422(client: TestClient, depth: int) -> None:
    response = post_bytes(client, nested(depth))
    assert assert_problem(response, response.status_code)["status"] in (400, 422)


@pytest.mark.parametrize("value", [b"1e999", b"-0", b"1" * 4300, b"0." + b"1" * 9000])
def test_odd_number_is_json_and_no_text(client: TestClient, value: bytes) -> None:
    assert_problem(post_bytes(client, b'{"text": ' + value + b"}"), 422)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonl",
        "application/problem+json",
        "application",
        ";",
    ],
)
def test_another_content_type_gets_415_with_its_name(client: TestClient, content_type: str) -> None:
    problem = assert_problem(post_bytes(client, b'{"text": "a"}', content_type), 415)
    assert problem["detail"] == f"expected the content type application/json, came {content_type}."


def test_missing_content_type_gets_415(client: TestClient) -> None:
    problem = assert_problem(client.post(PREDICT, content=b'{"text": "a"}'), 415)
    assert problem["detail"] == "expected the content type application/json, came none."


@pytest.mark.parametrize("count", [1025, 2000])
def test_batch_over_the_limit_gets_413(client: TestClient, classifier: FakeClassifier, count: int) -> None:
    problem = assert_problem(client.post(PREDICT, json={"texts": ["a"] * count}), 413)
    assert problem["detail"] == f"expected at most 1,024 texts, came {count:,}; send several requests."
    assert "a" not in classifier.seen


def in_chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


@pytest.mark.parametrize("split", [bytes, in_chunks], ids=["with a length", "chunked"])
def test_body_over_the_limit_gets_413_and_the_connection_ends(
    serve: Callable[..., TestClient], split: Callable[[bytes], Any]
) -> None:
    client = serve(max_body_bytes=LIMIT)
    body = json.dumps({"text": "a" * LIMIT}).encode()
    response = client.post(PREDICT, content=split(body), headers={"content-type": "application/json"})
    assert ("content-length" in response.request.headers) == (split is bytes)
    assert "expected a body of at most 10,000 bytes, came " in assert_problem(response, 413)["detail"]
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("split", [bytes, in_chunks], ids=["with a length", "chunked"])
def test_body_of_just_the_limit_is_taken(serve: Callable[..., TestClient], split: Callable[[bytes], Any]) -> None:
    client = serve(max_body_bytes=LIMIT)
    body = json.dumps({"text": "a" * (LIMIT - len('{"text": ""}'))}).encode()
    assert len(body) == LIMIT
    response = client.post(PREDICT, content=split(body), headers={"content-type": "application/json"})
    assert response.status_code == 200


@pytest.mark.parametrize("length", ["9" * 25, "9" * 5000])
def test_declared_length_of_any_size_gets_413(client: TestClient, length: str) -> None:
    headers = {"content-type": "application/json", "content-length": length}
    assert_problem(client.post(PREDICT, content=b"{}", headers=headers), 413)


def test_limit_counts_for_every_route(serve: Callable[..., TestClient]) -> None:
    client = serve(max_body_bytes=LIMIT)
    assert_problem(client.request("GET", "/healthz", content=b"x" * (LIMIT + 1)), 413)


def test_body_that_breaks_off_is_no_error_of_the_service(classifier: FakeClassifier, log: Log) -> None:
    log.configure()
    messages: list[Message] = [
        {"type": "http.request", "body": b'{"te', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": PREDICT,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(application(classifier)(scope, receive, send))
    assert sent[0]["status"] == 400
    assert [line["status"] for line in log.lines()] == [400]
