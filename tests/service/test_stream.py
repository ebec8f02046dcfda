import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

import service.routes.stream
from service.routes.stream import MAX_LINE_BYTES, PATH, _groups
from tests.service.conftest import WAIT_S, FakeClassifier, application, assert_problem

NDJSON = {"content-type": "application/x-ndjson"}
PAUSE_S = 0.5
"""Long enough for what is not held back to happen."""


def lines(client: TestClient, body: bytes, **query: str) -> list[dict[str, Any]]:
    response = client.post(PATH, content=body, headers=NDJSON, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line, parse_constant=pytest.fail) for line in response.text.splitlines()]


def test_each_line_is_answered_in_its_order(client: TestClient) -> None:
    body = b"".join(
        json.dumps({"id": number, "text": "x" * (1 + number % 50)}).encode() + b"\n" for number in range(500)
    )
    answers = lines(client, body)
    assert [answer["id"] for answer in answers] == list(range(500))
    assert [answer["windows"] for answer in answers] == [1 + number % 50 for number in range(500)]
    whole = client.post("/v1/predict", json={"text": "x"}).json()
    assert answers[0] == {"id": 0, **whole["predictions"][0], "model": whole["model"]}


def test_line_may_be_a_string_blank_lines_are_passed_over_and_the_last_need_not_end(client: TestClient) -> None:
    answers = lines(client, b'"abcd!"\n\n  \r\n{"text": "ab"}\r\n"abc"')
    assert [answer["windows"] for answer in answers] == [5, 2, 3]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"no json", "bad_line"),
        (b"\xff", "bad_line"),
        (b"[" * 100_000, "bad_line"),
        (b"5", "bad_line"),
        (b'{"text": 5}', "bad_line"),
        (b'{"text": "a", "txt": "b"}', "bad_line"),
        (b'{"text": "a", "id": NaN}', "bad_line"),
        (b'{"text": "a", "id": [{"b": 1e999}]}', "bad_line"),
        (b'"' + b"x" * MAX_LINE_BYTES + b'"', "bad_line"),
        (b'"' + b"x" * (3 * MAX_LINE_BYTES) + b'"', "bad_line"),
        (b'"' + b"x" * 20_001 + b'"', "too_long"),
        (b'" "', "empty"),
        (b'"\\ud800"', "not_unicode"),
    ],
)
def test_bad_line_gets_an_error_in_its_place_and_its_neighbours_are_answered(
    client: TestClient, line: bytes, code: str
) -> None:
    before, bad, after = lines(client, b'"a"\n' + line + b'\n"abc"\n')
    assert (before["windows"], after["windows"]) == (1, 3)
    assert bad["error"]["code"] == code
    assert bad["error"]["message"]
    (alone,) = lines(client, line)  # the last line, and not ended
    assert alone["error"]["code"] == code


def test_id_of_a_bad_text_comes_back_too(client: TestClient) -> None:
    (answer,) = lines(client, b'{"id": {"any": [1]}, "text": ""}')
    assert (answer["id"], answer["error"]["code"]) == ({"any": [1]}, "empty")


def test_stances_only_holds_for_every_line(client: TestClient) -> None:
    assert [each["label"] for each in lines(client, b'"abc"\n"abc"\n')] == ["none"] * 2
    assert [each["label"] for each in lines(client, b'"abc"\n"abc"\n', stances_only="true")] == ["escalatory"] * 2


def test_nothing_asked_is_nothing_answered(client: TestClient) -> None:
    assert lines(client, b"") == lines(client, b"\n\n") == []


def test_other_content_type_is_refused(client: TestClient) -> None:
    response = client.post(PATH, content=b'"a"', headers={"content-type": "application/json"})
    assert "expected the content type application/x-ndjson" in assert_problem(response, 415)["detail"]


def test_body_may_be_larger_than_any_other(serve: Callable[..., TestClient]) -> None:
    assert len(lines(serve(max_body_bytes=1024), b'"a statement"\n' * 500)) == 500


def test_full_queue_holds_the_stream_back_and_refuses_nothing(
    serve: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.routes.stream, "_GROUP", 700)
    client = serve(max_queued_tokens=1024)
    # Three streams of groups of 700 do not fit into the queue together: each counts for half of it.
    with ThreadPoolExecutor(3) as executor:
        answered = list(executor.map(lambda body: len(lines(client, body)), [b'"a"\n' * 1400] * 3))
    assert answered == [1400] * 3


CHUNKS = st.lists(st.binary(max_size=30).map(lambda each: each.replace(b"x", b"\n")), max_size=10)


@given(CHUNKS)
def test_lines_are_the_same_however_the_body_is_cut(chunks: list[bytes]) -> None:
    async def cut(parts: list[bytes]) -> list[bytes | None]:
        async def stream() -> AsyncIterator[bytes]:
            for part in parts:
                yield part

        return [line async for group in _groups(stream()) for line in group]

    whole = b"".join(chunks)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert asyncio.run(cut(chunks)) == asyncio.run(cut([whole])) == expected


@contextmanager
def real_server(classifier: FakeClassifier) -> Iterator[socket.socket]:
    """A real server, and a connection to it with the head of a request sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(application(classifier), log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with socket.create_connection(listener.getsockname()[:2], timeout=WAIT_S) as connection:
                head = f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n"
                connection.sendall(head.encode() + b"transfer-encoding: chunked\r\n\r\n")
                yield connection
        finally:
            server.should_exit = True
            thread.join(WAIT_S)


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def test_answers_come_while_the_body_is_still_being_sent(classifier: FakeClassifier) -> None:
    with real_server(classifier) as connection, connection.makefile("rb") as answers:
        _send(connection, b'"first"\n"sec')
        while b"chunked" not in answers.readline():
            pass
        while (line := answers.readline()) and not line.startswith(b"{"):
            pass
        assert json.loads(line)["windows"] == len("first")
        _send(connection, b'ond"\n')
        while (line := answers.readline()) and not line.startswith(b"{"):
            pass
        assert json.loads(line)["windows"] == len("second")


def _sent_until_held_back(connection: socket.socket, body: bytes, most: int) -> int:
    for sent in range(most):
        try:
            _send(connection, body)
        except TimeoutError:
            return sent
    return most


def test_client_that_does_not_read_is_not_read_from(classifier: FakeClassifier) -> None:
    body = b'"a statement"\n' * 4000
    with real_server(classifier) as connection:
        connection.settimeout(PAUSE_S)
        sent = _sent_until_held_back(connection, body, most=2000)
        assert sent < 2000
        computed = -1
        while computed != len(classifier.seen):  # until the answers, too, are held back
            computed = len(classifier.seen)
            time.sleep(PAUSE_S)
        assert computed < sent * 4000


def test_client_that_leaves_ends_its_stream_and_others_are_answered(classifier: FakeClassifier) -> None:
    with real_server(classifier) as connection:
        _send(connection, b'"first"\n')
        address = cast(tuple[str, int], connection.getpeername())
        connection.close()
        with socket.create_connection(address, timeout=WAIT_S) as other:
            other.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert other.recv(1000).startswith(b"HTTP/1.1 200")
