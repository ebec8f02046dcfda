"""`/v1/statements`: labelled statements that people send, correct, settle and take away again."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from service.bodies import JsonRoute
from service.errors import InvalidError
from service.identity import Labeller
from service.imports import read_upload
from service.labelling import LabelSet, add_found, check_name, export_line
from service.problems import PROBLEM_RESPONSES
from service.schemas import (
    AgreementBody,
    AuditBody,
    ChangeRequest,
    StatementBody,
    StatementsBody,
    UploadBody,
)
from service.state import CurrentState, State
from service.store import Filters, Statement, Store

__all__ = ["router"]

router = APIRouter(prefix="/v1/statements", tags=["statements"], route_class=JsonRoute)

Id = Annotated[str, Path(min_length=1, max_length=32)]
# SQLite looks for what stands before a NUL, and PostgreSQL for nothing.
_NO_NUL = r"^[^\x00]*$"
Name = Annotated[str | None, Query(min_length=1, max_length=200, pattern=_NO_NUL)]
_ERRORS: dict[int | str, dict[str, Any]] = {status: PROBLEM_RESPONSES[status] for status in (401, 403, 422, 503)}
_OF_ONE = _ERRORS | {404: PROBLEM_RESPONSES[404]}
_OF_CHANGE = _OF_ONE | {status: PROBLEM_RESPONSES[status] for status in (400, 409, 413, 415)}
_EXPORT: dict[int | str, dict[str, Any]] = {200: {"content": {"application/x-ndjson": {}}}}
_UPLOAD = {"requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("", responses=_ERRORS | {413: PROBLEM_RESPONSES[413]}, openapi_extra=_UPLOAD)
async def add(
    request: Request, state: CurrentState, who: Labeller, annotator: Name = None, source: Name = None
) -> UploadBody:
    """Add labelled statements; the kind of file is recognised by its content, and each row is judged by itself.

    `annotator` and `source` stand for rows that name none. The same upload again adds nothing.
    """
    content = await request.body()
    if not content.strip():
        raise InvalidError("expected rows with a text and a label, came an empty body.")
    label_set, store = _label_set(state), state.store
    outcomes = await anyio.to_thread.run_sync(
        lambda: add_found(store, read_upload(content), label_set, who, annotator, source)
    )
    counts = Counter(each.status for each in outcomes)
    return UploadBody(
        accepted=counts["accepted"],
        duplicate=counts["duplicate"],
        conflicting=counts["conflicting"],
        rejected=counts["rejected"],
        rows=[asdict(each) for each in outcomes],  # type: ignore[misc]  # pydantic makes rows of them
    )


@router.get("", responses=_ERRORS)
def find(
    state: CurrentState,
    _: Labeller,
    label: Name = None,
    status: Annotated[str | None, Query(pattern="^(agreed|disagreed|settled)$")] = None,
    source: Name = None,
    annotator: Name = None,
    contains: Annotated[str | None, Query(min_length=1, max_length=1000, pattern=_NO_NUL)] = None,
    after: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> StatementsBody:
    """Return statements in the order in which they came; `next` is the `after` of the next page."""
    filters = Filters(label, status, source, annotator, contains)
    found = state.store.find(filters, after, limit)
    return StatementsBody(
        total=state.store.count(filters),
        statements=[_body(each) for each in found],
        next=found[-1].number if len(found) == limit else None,
    )


@router.get("/export", response_class=StreamingResponse, responses=_ERRORS | _EXPORT)
def export(state: CurrentState, _: Labeller, label: Name = None, source: Name = None) -> StreamingResponse:
    """Return every statement that has a label as JSON Lines that `python -m training` reads."""
    store = state.store
    store.count(Filters())  # a database that cannot be read says so now, not after the answer has begun
    return StreamingResponse(_lines(store, Filters(label=label, source=source)), media_type="application/x-ndjson")


def _lines(store: Store, filters: Filters) -> Iterator[str]:
    return (json.dumps(export_line(each), ensure_ascii=False) + "\n" for each in store.export(filters))


@router.get("/agreement", responses=_ERRORS)
def agreement(state: CurrentState, _: Labeller) -> AgreementBody:
    """Return how far annotators agree where several have labelled the same statement."""
    return AgreementBody(**asdict(state.store.agreement()))


@router.get("/{id}", responses=_OF_ONE)
def get(id: Id, state: CurrentState, _: Labeller) -> StatementBody:
    """Return one statement."""
    return _body(state.store.get(id))


@router.get("/{id}/history", responses=_OF_ONE)
def history(id: Id, state: CurrentState, _: Labeller) -> list[AuditBody]:
    """Return every change of a statement, the oldest first; it outlives the statement."""
    return [AuditBody(**each) for each in state.store.history(id)]


@router.patch("/{id}", responses=_OF_CHANGE)
def change(id: Id, body: ChangeRequest, state: CurrentState, who: Labeller) -> StatementBody:
    """Correct what an annotator said, settle a statement, or open a settled one again; the audit keeps what was."""
    if body.annotator is not None:
        check_name("annotator", body.annotator)
    if body.label is None:
        return _body(state.store.reopen(id, who))
    _label_set(state).check(body.label, body.act)
    if body.settle:
        return _body(state.store.settle(id, body.label, body.act, who))
    return _body(state.store.correct(id, body.annotator or who, body.label, body.act, who))


@router.delete("/{id}", status_code=204, responses=_OF_ONE)
def delete(id: Id, state: CurrentState, who: Labeller) -> Response:
    """Delete a statement with its labels; its history stays."""
    state.store.delete(id, who)
    return Response(status_code=204)


def _label_set(state: State) -> LabelSet:
    return LabelSet.of_model(state.classifier.labels)


def _body(statement: Statement) -> StatementBody:
    return StatementBody(**{name: value for name, value in asdict(statement).items() if name != "number"})
