"""`/v1/review`: the statements that are worth a person's time, and how one is taken out without a label."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from service.identity import Labeller
from service.problems import PROBLEM_RESPONSES
from service.review import Entry, Place, Reason
from service.review_schemas import EntryBody, ReviewBody
from service.state import CurrentState

__all__ = ["router"]

router = APIRouter(prefix="/v1/review", tags=["review"])

_ERRORS: dict[int | str, dict[str, Any]] = {status: PROBLEM_RESPONSES[status] for status in (401, 403, 422, 503)}


@router.get("", responses=_ERRORS)
def review(
    state: CurrentState,
    _: Labeller,
    reason: Reason | None = None,
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> ReviewBody:
    """Return the review queue, what is most worth a person's time first.

    A statement leaves it when somebody sends a label of its text to `/v1/statements`, or settles it there. Others may
    do so between two pages: none is missed for that, and none comes twice.
    """
    place = None if after is None else Place.parse(after)
    found = state.review.page(reason, place, limit)
    return ReviewBody(
        counts=state.review.counts(),
        entries=[_body(each) for each in found],
        next=str(found[-1].place) if len(found) == limit else None,
    )


@router.post("/{id}/dismiss", status_code=204, responses=_ERRORS | {404: PROBLEM_RESPONSES[404]})
def dismiss(id: Annotated[str, Path(min_length=1, max_length=32)], state: CurrentState, who: Labeller) -> Response:
    """Take a statement out of the queue without a label; its history says who did. Another label brings it back."""
    state.review.dismiss(id, who)
    return Response(status_code=204)


def _body(entry: Entry) -> EntryBody:
    fields = {name: value for name, value in asdict(entry).items() if name != "place"}
    return EntryBody(**fields, reason=entry.place.reason)
