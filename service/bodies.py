"""What a body must be before its fields are looked at: small enough, JSON by its type, UTF-8, and there at all."""

import json
from collections.abc import Callable, Coroutine, Set
from email.message import Message as Headers
from typing import Any, NoReturn

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.datastructures import Headers as HttpHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import problem

__all__ = ["BodyLimit", "JsonRoute"]

# With an answer to a body that was not read to its end: the connection cannot carry another request.
_CLOSE = {"Connection": "close"}


class JsonRoute(APIRoute):
    """A route that, where it takes a body, takes JSON: anything else gets 400 or 415 with the reason."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the checks of `_JsonRequest`."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def checked(request: Request) -> Response:
            request = _JsonRequest(request.scope, request.receive)
            _check_content_type(request.headers.get("content-type", ""))
            if not (await request.body()).strip():
                raise HTTPException(400, "expected a JSON body, came an empty one.")
            return await handler(request)

        return checked


def _check_content_type(content_type: str) -> None:
    headers = Headers()
    headers["content-type"] = content_type
    if headers.get_content_type() != "application/json":
        raise HTTPException(415, f"expected the content type application/json, came {content_type[:100] or 'none'}.")


class _JsonRequest(Request):
    async def json(self) -> Any:
        """Return the parsed body; unlike the library's, it takes UTF-8 only, as RFC 8259 says."""
        body = await self.body()
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise HTTPException(400, f"the body is not UTF-8: byte {error.start} is not.") from error
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            raise HTTPException(
                400, f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
            ) from error
        except (RecursionError, ValueError) as error:  # nested too deeply; a number of too many digits
            raise HTTPException(400, f"the body is not JSON that can be read: {error}.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is a number of JavaScript, not of JSON")


class BodyLimit:
    """Middleware: a body over the limit gets 413 as soon as that shows, and is not kept in memory.

    Paths in `unlimited` take bodies of any size; their handlers keep only a part of one at a time.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, unlimited: Set[str] = frozenset()) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._unlimited = unlimited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on, counting what is received."""
        if scope["type"] != "http" or scope["path"] in self._unlimited:
            await self._app(scope, receive, send)
            return
        declared = HttpHeaders(scope=scope).get("content-length", "0")[:20]  # int() refuses thousands of digits
        if declared.isdecimal() and int(declared) > self._max_bytes:
            await problem(413, self._detail(int(declared)), _CLOSE)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, self._detail(received), _CLOSE)
            return message

        await self._app(scope, counted, send)

    def _detail(self, size: int) -> str:
        return f"expected a body of at most {self._max_bytes:,} bytes, came {size:,} or more; send several requests."
