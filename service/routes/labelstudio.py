"""The protocol of Label Studio's machine-learning backends: a project connects to this service as it is.

The paths and the fields of bodies are Label Studio's, and so is that they stand outside `/v1`. Of what it sends beside,
nothing is kept; `/setup` comes with a token of its user, which is not even read.
"""

from collections.abc import Sequence
from typing import Any, Literal

import structlog
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from model.errors import UnclassifiableTextError
from service.bodies import JsonRoute
from service.connection import while_connected
from service.errors import InvalidError
from service.identity import Labeller, Predictor
from service.imports import LABEL_STUDIO
from service.labelling import LabelSet, check_row
from service.labelstudio import Event, Question, find_question, prediction_of, read_events
from service.problems import PROBLEM_RESPONSES
from service.schemas import MAX_TEXTS
from service.serving import Serving
from service.state import CurrentState, State
from service.waiting import Answer

__all__ = ["router"]

_log = structlog.get_logger(__name__)

router = APIRouter(tags=["label studio"])
_posts = APIRouter(route_class=JsonRoute)

_GUARDED: dict[int | str, dict[str, Any]] = {status: PROBLEM_RESPONSES[status] for status in (401, 403, 503)}
_ERRORS = _GUARDED | {status: PROBLEM_RESPONSES[status] for status in (400, 413, 415, 422)}
_OF_QUEUE = _ERRORS | {status: PROBLEM_RESPONSES[status] for status in (429, 504)}

# Parsed with each request: a hundred times what a person writes, and some milliseconds.
_MAX_CONFIG = 1_000_000


class HealthBody(BaseModel):
    """The service is up."""

    status: Literal["UP"] = "UP"
    model_class: str = "Brink"


class SetupRequest(BaseModel):
    """A project that is being connected."""

    label_config: str = Field(alias="schema", max_length=_MAX_CONFIG, description="labelling configuration, XML")


class SetupBody(BaseModel):
    """The project fits the model."""

    model_version: str


class TasksRequest(BaseModel):
    """Tasks to label."""

    tasks: list[Any] = Field(description="each with `data`, in which the text is")
    label_config: str = Field(max_length=_MAX_CONFIG, description="labelling configuration, XML")


class TasksBody(BaseModel):
    """One prediction a task, in the order asked."""

    results: list[dict[str, Any]] = Field(description="each with `result`, empty where a text cannot be classified")
    model_version: str


class WebhookRequest(BaseModel):
    """Something that happened in Label Studio; which other fields there are depends on the action."""

    model_config = ConfigDict(extra="allow")

    action: str


class AnnotationBody(BaseModel):
    """What became of one annotation."""

    annotation: str
    status: Literal["accepted", "duplicate", "conflicting", "rejected", "withdrawn", "ignored"]
    id: str | None = Field(description="of the statement; null where there is none")
    reason: str | None = Field(description="why it was not accepted; null where it was")


class WebhookBody(BaseModel):
    """What became of the annotations of an event; events of other things are ignored and have none."""

    annotations: list[AnnotationBody]


@router.get("/health", responses=_GUARDED)
async def health(state: CurrentState, _: Predictor) -> HealthBody:
    """Say that a model is ready; it asks for a key, as Label Studio tells its user of a wrong password only here."""
    state.classifier  # noqa: B018  # raises where there is none
    return HealthBody()


@_posts.post("/setup", responses=_ERRORS)
async def setup(request: SetupRequest, state: CurrentState, _: Predictor) -> SetupBody:
    """Check that a project asks for the labels of the model."""
    classifier = state.classifier
    try:
        find_question(request.label_config, classifier.labels)
    except InvalidError as error:
        # Label Studio shows its user the status only, and points to this log.
        _log.warning("label studio project refused", reason=str(error))
        raise
    return SetupBody(model_version=classifier.manifest.version)


@_posts.post("/predict", responses=_OF_QUEUE)
async def predict(request: TasksRequest, state: CurrentState, connection: Request, _: Predictor) -> TasksBody:
    """Label the texts of tasks, of which there may be any number."""
    return await while_connected(connection, _predict(request, state))


async def _predict(request: TasksRequest, state: State) -> TasksBody:
    with state.serving.kept() as serving:  # one model for all tasks of a request
        question = find_question(request.label_config, serving.classifier.labels)
        answers = await _answers(question, request.tasks, serving, state.settings.request_timeout_s)
    serving.drift.note(answers)
    state.metrics.answered(answers)
    version = serving.classifier.manifest.version
    return TasksBody(results=[prediction_of(question, each, version) for each in answers], model_version=version)


async def _answers(question: Question, tasks: Sequence[object], serving: Serving, timeout_s: float) -> list[Answer]:
    """Return one answer a task; a few at a time, as a whole project may not fit into the queue."""
    missing = UnclassifiableTextError("empty", "the task has no text.")
    answers: list[Answer] = []
    for start in range(0, len(tasks), MAX_TEXTS):
        texts = [question.text_of(task) for task in tasks[start : start + MAX_TEXTS]]
        asked = [text for text in texts if text is not None]
        found = iter(await serving.batcher.submit(asked, timeout_s) if asked else ())
        answers += [missing if text is None else next(found) for text in texts]
    return answers


@_posts.post("/webhook", responses=_ERRORS)
def webhook(request: WebhookRequest, state: CurrentState, who: Labeller) -> WebhookBody:
    """Add what an annotation says to the labelled statements, correct it, or take it back.

    The same event again changes nothing. Events of anything but annotations are ignored.
    """
    label_set = LabelSet.of_model(state.classifier.labels)
    events = list(read_events(request.model_dump(), label_set.labels))
    annotations = [_handle(event, label_set, state, who) for event in events]
    for each in annotations:
        if each.status in ("conflicting", "rejected"):  # Label Studio looks at no answer, and asks once
            _log.warning("label studio annotation not taken", **each.model_dump())
    return WebhookBody(annotations=annotations)


def _handle(event: Event, label_set: LabelSet, state: State, who: str) -> AnnotationBody:
    if event.found is None:
        id_ = state.annotations.take_back(event.annotation, who)
        status: Literal["withdrawn", "ignored"] = "withdrawn" if id_ else "ignored"
        return AnnotationBody(annotation=event.annotation, status=status, id=id_, reason=None)
    try:
        row = check_row(event.found, label_set, who, LABEL_STUDIO)
    except (InvalidError, UnclassifiableTextError) as error:
        return AnnotationBody(annotation=event.annotation, status="rejected", id=None, reason=str(error))
    outcome = state.annotations.follow(event.annotation, row, who, event.corrects)
    return AnnotationBody(annotation=event.annotation, status=outcome.status, id=outcome.id, reason=outcome.reason)


router.include_router(_posts)
