"""`/v1/trainings`: asking for a training run, following it, ending it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from time import monotonic
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from service.bodies import JsonRoute
from service.errors import DatabaseError, MissingError
from service.identity import Admin
from service.problems import PROBLEM_RESPONSES
from service.runs import Place
from service.state import CurrentState, State
from service.training_schemas import ProgressBody, TrainingBody, TrainingRequest, TrainingsBody
from service.trainings import ENDED, Training

__all__ = ["router"]

router = APIRouter(prefix="/v1/trainings", tags=["trainings"], route_class=JsonRoute)

_POLL_S = 0.5
# Proxies close a connection that is silent for a minute or less.
_HEARTBEAT_S = 10.0
_LOG_BYTES = 1024 * 1024

Id = Annotated[str, Path(min_length=1, max_length=32)]
_ERRORS: dict[int | str, dict[str, Any]] = {status: PROBLEM_RESPONSES[status] for status in (401, 403, 422, 503)}
_OF_ONE = _ERRORS | {404: PROBLEM_RESPONSES[404]}
_OF_ASKING = _ERRORS | {status: PROBLEM_RESPONSES[status] for status in (400, 409, 413, 415)}
_EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}


@router.post("", status_code=202, responses=_OF_ASKING)
def ask(body: TrainingRequest, response: Response, state: CurrentState, who: Admin) -> TrainingBody:
    """Ask for a training run; one is carried out at a time, others wait in the order in which they came."""
    state.jobs.check(body.kind)
    training = state.trainings.ask(body.kind, body.promote, body.given, who)
    state.jobs.wake()
    response.headers["location"] = f"{router.prefix}/{training.id}"
    return _body(training)


@router.get("", responses=_ERRORS)
def latest(state: CurrentState, _: Admin, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> TrainingsBody:
    """List the training runs that were asked for last, the newest first."""
    return TrainingsBody(trainings=[_body(each) for each in state.trainings.latest(limit)])


@router.get("/{id}", responses=_OF_ONE)
def get(id: Id, state: CurrentState, _: Admin) -> TrainingBody:
    """Return one run: how far it is, and what came of it."""
    return _body(state.trainings.get(id))


@router.delete("/{id}", status_code=202, responses=_OF_ONE | {409: PROBLEM_RESPONSES[409]})
def delete(id: Id, state: CurrentState, who: Admin) -> TrainingBody:
    """Cancel a run; see `POST /v1/trainings/{id}/cancel`. What it was stays."""
    return cancel(id, state, who)


@router.post("/{id}/cancel", status_code=202, responses=_OF_ONE | {409: PROBLEM_RESPONSES[409]})
def cancel(id: Id, state: CurrentState, who: Admin) -> TrainingBody:
    """Cancel a run: at once where it waits, within seconds where it runs."""
    return _body(state.trainings.cancel(id, who))


@router.get("/{id}/log", response_class=Response, responses=_OF_ONE | _TEXT)
def log(id: Id, state: CurrentState, _: Admin) -> Response:
    """Return what the run has said, its last megabyte; nothing before it has begun."""
    training = state.trainings.get(id)
    path = Place(state.settings.training, training.id).log
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _LOG_BYTES))
            content = stream.read()
    except FileNotFoundError:
        if training.started_at is not None and training.state in ENDED:
            raise MissingError(f"the log of the training {id} is not on this machine any more.") from None
        content = b""
    headers = {"x-content-type-options": "nosniff"}
    return Response(content, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/{id}/events", response_class=StreamingResponse, responses=_OF_ONE | _EVENTS)
async def events(id: Id, state: CurrentState, _: Admin) -> StreamingResponse:
    """Send the run as a server-sent event whenever it has changed, until it has ended."""
    first = await anyio.to_thread.run_sync(state.trainings.get, id)  # where there is none, say so with a status
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_events(state, first), media_type="text/event-stream", headers=headers)


async def _events(state: State, training: Training) -> AsyncIterator[str]:
    sent: str | None = None
    sent_at = monotonic()
    while True:
        body = _body(training).model_dump_json()
        if body != sent:
            yield f"event: training\ndata: {body}\n\n"
            sent, sent_at = body, monotonic()
        elif monotonic() - sent_at > _HEARTBEAT_S:
            yield ": still there\n\n"
            sent_at = monotonic()
        if training.state in ENDED or state.is_stopping:
            return
        await asyncio.sleep(_POLL_S)
        try:
            training = await anyio.to_thread.run_sync(state.trainings.get, training.id)
        except DatabaseError:
            continue  # away for a moment; a client that sees no more events asks again


def _body(training: Training) -> TrainingBody:
    known = asdict(training)
    progress = {name: known["progress"].get(name) for name in ProgressBody.model_fields}
    return TrainingBody(**known | {"progress": ProgressBody(**progress)})
