"""`POST /v1/predict/stream`: lines of JSON in, lines of JSON out, in order, of any number and in constant memory.

Nothing is refused for want of room: while the queue is full, or the client does not read, no more is taken from it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from email.message import Message as Headers
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from model.classifier import Prediction
from model.errors import UnclassifiableTextError
from service.answers import answer_body
from service.errors import DeadlineError, NotReadyError, OverloadedError
from service.identity import Predictor
from service.problems import PROBLEM_RESPONSES
from service.serving import Serving
from service.state import CurrentState, State
from service.waiting import Answer

__all__ = ["MAX_LINE_BYTES", "PATH", "router"]

PATH = "/v1/predict/stream"

MAX_LINE_BYTES = 256 * 1024
"""Longest line that is read; one of the longest text with every character escaped has half of it."""

_CONTENT_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_GROUP = 64  # lines that are computed together at most; none waits for others to come

router = APIRouter(tags=["predict"])


class _Duplex(StreamingResponse):
    """Sends while the body is still being received.

    The library's own class reads the connection itself to learn that the client has left, and takes what is left of
    the body for itself.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


_LINES: dict[str, Any] = {"schema": {"type": "string", "description": "one JSON value a line"}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {_CONTENT_TYPES[0]: _LINES}, "description": "one answer a line, in the order of the lines"}
}
_RESPONSES |= {status: PROBLEM_RESPONSES[status] for status in (401, 403, 415, 422, 503)}


@router.post(
    PATH,
    response_class=_Duplex,
    responses=_RESPONSES,
    openapi_extra={"requestBody": {"required": True, "content": {_CONTENT_TYPES[0]: _LINES}}},
)
async def predict_stream(
    request: Request, state: CurrentState, _: Predictor, stances_only: bool = False
) -> StreamingResponse:
    """Label line by line: each is a text as a JSON string, or `{"text": ..., "id": ...}`, whose id comes back."""
    headers = Headers()
    headers["content-type"] = request.headers.get("content-type", "")
    if headers.get_content_type() not in _CONTENT_TYPES:
        raise HTTPException(415, f"expected the content type {_CONTENT_TYPES[0]}, one JSON value a line.")
    state.classifier  # noqa: B018  # raises where no model is ready, while an answer with a status is still possible
    return _Duplex(_answers(request, state, stances_only), media_type=_CONTENT_TYPES[0])


async def _answers(request: Request, state: State, stances_only: bool) -> AsyncIterator[bytes]:
    try:
        with state.serving.kept() as serving:  # one model from the first line to the last
            async for lines in _groups(request.stream()):
                yield await _answer(lines, serving, state, stances_only)
    except ClientDisconnect:
        return
    except NotReadyError as error:
        yield _line({"error": {"code": "not_ready", "message": str(error)}})


async def _groups(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes | None]]:
    """Yield the lines that have come so far, at most `_GROUP` at once; None stands for one that is too long."""
    rest, skipping = b"", False
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        found: list[bytes | None] = [None if len(line) > MAX_LINE_BYTES else line for line in lines]
        if found and skipping:  # the end of a line whose beginning was dropped
            found[0], skipping = None, False
        if len(rest) > MAX_LINE_BYTES:
            rest, skipping = b"", True
        elif skipping:
            rest = b""
        for start in range(0, len(found), _GROUP):
            yield found[start : start + _GROUP]
    if rest or skipping:  # the last line need not end
        yield [None if skipping else rest]


async def _answer(lines: Sequence[bytes | None], serving: Serving, state: State, stances_only: bool) -> bytes:
    """Return one line for each line that is not blank."""
    asked = [_parse(line) for line in lines if line is None or line.strip()]
    texts = [text for text, _ in asked if isinstance(text, str)]
    answers = iter(await _submit(texts, serving, state.settings.request_timeout_s))
    classifier, drift = serving.classifier, serving.drift
    out = []
    for text, echoed in asked:
        answer = next(answers) if isinstance(text, str) else text
        drift.note([answer])
        if stances_only and isinstance(answer, Prediction):
            answer = classifier.to_stance(answer)
        body = answer_body(answer).model_dump(exclude_unset=True)
        out.append(_line(echoed | body | {"model": classifier.manifest.version}))
        state.metrics.answered([answer])
    return b"".join(out)


async def _submit(texts: Sequence[str], serving: Serving, timeout_s: float) -> Sequence[Answer]:
    while texts:
        try:
            return await serving.batcher.submit(texts, timeout_s)
        except OverloadedError:
            await asyncio.sleep(0.05)
        except DeadlineError as error:
            return [UnclassifiableTextError("deadline", str(error))] * len(texts)
    return []


def _parse(line: bytes | None) -> tuple[str | UnclassifiableTextError, dict[str, Any]]:
    """Return the text of a line, or what is wrong with it, and its id under that key where it has one."""
    if line is None:
        return _bad(f"expected a line of at most {MAX_LINE_BYTES:,} bytes"), {}
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return _bad(f"expected JSON in UTF-8 ({error})"), {}
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict) or not isinstance(value.get("text"), str) or value.keys() - {"text", "id"}:
        return _bad('expected a text as a JSON string, or {"text": ...} with nothing beside it but "id"'), {}
    echoed = {name: value[name] for name in ("id",) if name in value}
    try:
        _line(echoed)  # from a deeper stack than the answer: what fits here fits there
    except (ValueError, RecursionError) as error:
        return _bad(f"expected an id that can be written as JSON ({error})"), {}
    return value["text"], echoed


def _bad(reason: str) -> UnclassifiableTextError:
    return UnclassifiableTextError("bad_line", f"{reason}.")


def _line(body: dict[str, Any]) -> bytes:
    # The library would write NaN and Infinity, as which it also reads 1e999: then the client could not read its answer.
    return json.dumps(body, allow_nan=False).encode() + b"\n"
