"""Every error as `application/problem+json` (RFC 9457): the one place where exceptions become answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.errors import ArtifactError, PromotionError, StorageError, UnknownVersionError
from service.errors import (
    ConflictError,
    DatabaseError,
    DeadlineError,
    InvalidError,
    MissingError,
    NotReadyError,
    OverloadedError,
)
from service.schemas import TOO_MANY_TEXTS, Problem

__all__ = ["PROBLEM_RESPONSES", "LastResort", "document_problems", "install_problem_handlers", "problem"]

_log = structlog.get_logger(__name__)

_NOT_READY_RETRY_S = 2
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, errors: list[dict[str, Any]] | None = None
) -> Response:
    """Return an answer with a problem as its body; what the client sent comes back escaped, so any text is safe."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    # ASCII only: a lone surrogate in a field's name has no UTF-8, but has an escape.
    content = json.dumps(body.model_dump(exclude_none=True), ensure_ascii=True)
    return Response(content, status, headers, media_type="application/problem+json")


def _document(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


PROBLEM_RESPONSES = _document(400, 401, 403, 404, 409, 413, 415, 422, 429, 503, 504)
"""What OpenAPI says of each error; a route names those that it answers."""


def document_problems(app: FastAPI) -> None:
    """Put the schema that `PROBLEM_RESPONSES` refer to into the OpenAPI document; call after the last route."""
    app.openapi()["components"]["schemas"]["Problem"] = Problem.model_json_schema()


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every exception of `app` that is expected with a problem; `LastResort` does the others."""
    for exception, handler in _HANDLERS.items():
        app.add_exception_handler(exception, handler)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # Starlette calls a handler with its own exception only
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == HTTPStatus.NOT_FOUND.phrase:
        return problem(404, f"no such thing: {request.url.path}; /docs lists the routes.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed(request) or (error.headers or {}).get("Allow")
        return problem(405, f"{request.url.path} takes {allowed}.", {"Allow": str(allowed)})
    return problem(error.status_code, str(error.detail), error.headers)


def _allowed(request: Request) -> str:
    """Return the methods of a path; the library names those of the first route alone that has it."""
    routes = [route for route in request.app.routes if not isinstance(route, Mount)]  # those take any method
    takes = {name: [route.matches({**request.scope, "method": name})[0] for route in routes] for name in _METHODS}
    return ", ".join(name for name, matches in takes.items() if Match.FULL in matches)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(each["type"] == "json_invalid" for each in error.errors()):
        return problem(400, f"the body is not JSON: {error.errors()[0].get('ctx', {}).get('error')}.")
    if too_many := [each["msg"] for each in error.errors() if each["type"] == TOO_MANY_TEXTS]:
        return problem(413, too_many[0])
    # The input itself stays out: it may be as large as the body.
    errors = [{"field": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()]
    return problem(422, "the JSON does not fit the schema; see errors, and /docs for the schema.", errors=errors[:20])


async def _overloaded(_: Request, error: Exception) -> Response:
    assert isinstance(error, OverloadedError)
    return problem(429, str(error), {"Retry-After": str(error.retry_after_s)})


async def _not_ready(_: Request, error: Exception) -> Response:
    return problem(503, str(error), {"Retry-After": str(_NOT_READY_RETRY_S)})


def _with_status(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_: Request, error: Exception) -> Response:
        return problem(status, str(error))

    return answer


async def _disconnected(_: Request, __: Exception) -> Response:
    return problem(400, "the connection closed before the body had ended.")  # seen by nobody but the log


_HANDLERS = {
    HTTPException: _http,
    RequestValidationError: _invalid,
    OverloadedError: _overloaded,
    NotReadyError: _not_ready,
    DatabaseError: _not_ready,
    StorageError: _not_ready,
    MissingError: _with_status(404),
    UnknownVersionError: _with_status(404),
    ConflictError: _with_status(409),
    PromotionError: _with_status(409),
    ArtifactError: _with_status(409),  # a version that does not load is not promoted
    InvalidError: _with_status(422),
    DeadlineError: _with_status(504),
    ClientDisconnect: _disconnected,
}


class LastResort:
    """Middleware: an exception that no handler knows gets 500 and a log line, both with the request's id.

    A request that the server cancels, because its time to stop has run out, gets 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on and answer where nothing else did."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except asyncio.CancelledError:
            if started:
                raise
            answer = await _not_ready(Request(scope), NotReadyError("the service is shutting down; ask again later."))
            await answer(scope, receive, send)
        except Exception as error:
            if started:  # too late for another answer; the server closes the connection
                raise
            _log.error("unexpected error", exc_info=error)
            answer = problem(500, "an error that should not happen; the log has it under this answer's X-Request-ID.")
            await answer(scope, receive, send)
