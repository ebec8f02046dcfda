"""Every error as `application/problem+json` (RFC 9457): the one place where exceptions become answers."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.errors import DeadlineError, NotReadyError, OverloadedError
from service.schemas import Problem

__all__ = ["PROBLEM_RESPONSES", "install_problem_handlers", "problem"]

_log = structlog.get_logger(__name__)

_NOT_READY_RETRY_S = 2


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


PROBLEM_RESPONSES = _document(400, 413, 415, 422, 429, 503, 504)
"""What OpenAPI says of the errors of a route that takes a body and computes."""


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every exception of `app` with a problem."""
    for exception, handler in _HANDLERS.items():
        app.add_exception_handler(exception, handler)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # Starlette calls a handler with its own exception only
    if error.status_code == HTTPStatus.NOT_FOUND and error.detail == HTTPStatus.NOT_FOUND.phrase:
        return problem(404, f"no such thing: {request.url.path}; /docs lists the routes.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(405, f"{request.url.path} takes {(error.headers or {}).get('Allow')}.", error.headers)
    return problem(error.status_code, str(error.detail), error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if any(each["type"] == "json_invalid" for each in error.errors()):
        return problem(400, f"the body is not JSON: {error.errors()[0].get('ctx', {}).get('error')}.")
    # The input itself stays out: it may be as large as the body.
    errors = [{"field": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()]
    return problem(422, "the JSON does not fit the schema; see errors, and /docs for the schema.", errors=errors[:20])


async def _overloaded(_: Request, error: Exception) -> Response:
    assert isinstance(error, OverloadedError)
    return problem(429, str(error), {"Retry-After": str(error.retry_after_s)})


async def _not_ready(_: Request, error: Exception) -> Response:
    return problem(503, str(error), {"Retry-After": str(_NOT_READY_RETRY_S)})


async def _deadline(_: Request, error: Exception) -> Response:
    return problem(504, str(error))


async def _unexpected(_: Request, error: Exception) -> Response:
    _log.error("unexpected error", exc_info=error)
    return problem(500, "an error that should not happen; the log has it under this answer's X-Request-ID.")


_HANDLERS = {
    HTTPException: _http,
    RequestValidationError: _invalid,
    OverloadedError: _overloaded,
    NotReadyError: _not_ready,
    DeadlineError: _deadline,
    Exception: _unexpected,
}
