import asyncio
import json
import socket
import threading
import time

import pytest
import uvicorn
from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message

from service.connection import while_connected
from tests.service.conftest import PREDICT, WAIT_S, FakeClassifier, application


def _request(left: asyncio.Event) -> Request:
    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http"}, receive)


def test_result_comes_back_and_so_does_an_error() -> None:
    async def fail() -> None:
        raise ValueError("reason")

    async def run() -> None:
        request = _request(asyncio.Event())
        assert await while_connected(request, asyncio.sleep(0, "done")) == "done"
        with pytest.raises(ValueError, match="reason"):
            await while_connected(request, fail())

    asyncio.run(run())


def test_work_is_cancelled_when_the_client_leaves() -> None:
    async def run() -> None:
        left, cancelled = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(WAIT_S)
            finally:
                cancelled.set()

        asyncio.get_running_loop().call_later(0.01, left.set)
        with pytest.raises(ClientDisconnect):
            await while_connected(_request(left), work())
        assert cancelled.is_set()

    asyncio.run(run())


def test_work_is_cancelled_with_its_request() -> None:
    async def run() -> None:
        cancelled = asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(WAIT_S)
            finally:
                cancelled.set()

        waiting = asyncio.create_task(while_connected(_request(asyncio.Event()), work()))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert cancelled.is_set()

    asyncio.run(run())


def test_texts_of_a_client_that_left_are_not_computed(classifier: FakeClassifier) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application(classifier), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            address = listener.getsockname()[:2]
            warmed_up = len(_computed_after(address, classifier, "first"))
            with classifier.blocked():
                blocking = _ask(address, "blocks the engine")
                classifier.wait_until_entered()
                _ask(address, "left").close()
                waiting = _ask(address, "stays")
                time.sleep(0.3)  # until the server has seen all three
            for connection in (blocking, waiting):
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
                connection.close()
            assert classifier.seen[warmed_up:] == ["blocks the engine", "stays"]
        finally:
            server.should_exit = True
            thread.join(WAIT_S)


def _ask(address: tuple[str, int], text: str) -> socket.socket:
    connection = socket.create_connection(address, timeout=WAIT_S)
    body = json.dumps({"text": text}).encode()
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def _computed_after(address: tuple[str, int], classifier: FakeClassifier, text: str) -> list[str]:
    """Return what was computed once `text` was answered: the server is up."""
    with _ask(address, text) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    return classifier.seen
