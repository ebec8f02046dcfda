"""`/v1/models`: the versions of the model, which of them serves, and changing that."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service.catalogue import Described, describe, describe_all, read_report
from service.identity import Admin, Predictor
from service.model_schemas import ModelsBody, PromotionBody, VersionBody
from service.problems import PROBLEM_RESPONSES
from service.state import CurrentState, State

__all__ = ["router"]

router = APIRouter(prefix="/v1/models", tags=["models"])

Version = Annotated[str, Path(min_length=1)]
_ERRORS: dict[int | str, dict[str, Any]] = {status: PROBLEM_RESPONSES[status] for status in (401, 403, 503)}
_OF_ONE = _ERRORS | {status: PROBLEM_RESPONSES[status] for status in (404, 422)}
_MOVE = _ERRORS | {status: PROBLEM_RESPONSES[status] for status in (404, 409)}
_MARKDOWN: dict[int | str, dict[str, Any]] = {200: {"content": {"text/markdown": {}}}}
_SVG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/svg+xml": {}}}}
# A plot is a document too: one that somebody prepared must run nothing in the name of this host.
_INERT = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


@router.get("", responses=_ERRORS)
def models(state: CurrentState, _: Predictor) -> ModelsBody:
    """List every version and say which of them serves."""
    return _body(state)


@router.post("/rollback", responses=_MOVE)
async def rollback(state: CurrentState, who: Admin) -> ModelsBody:
    """Serve again what served before the last promotion that was not rolled back."""
    await state.move(lambda: state.models.rollback(who))
    return await run_in_threadpool(_body, state)


@router.get("/{version}", responses=_OF_ONE)
def version(version: Version, state: CurrentState, _: Predictor) -> VersionBody:
    """Describe one version."""
    return _version_body(describe(state.models, version))


@router.post("/{version}/promote", responses=_MOVE | _OF_ONE)
async def promote(version: Version, state: CurrentState, who: Admin) -> ModelsBody:
    """Let a version serve, once it has loaded and answered here; no request is dropped, and none answered by two."""
    await state.move(lambda: state.models.promote(version, who))
    return await run_in_threadpool(_body, state)


@router.get("/{version}/report", response_class=Response, responses=_OF_ONE | _MARKDOWN)
def report(version: Version, state: CurrentState, _: Predictor) -> Response:
    """Return a version's report: its scores by kind of statement, and its surest errors."""
    return Response(read_report(state.models, version), media_type="text/markdown; charset=utf-8", headers=_INERT)


@router.get("/{version}/report/{file}", response_class=Response, responses=_OF_ONE | _SVG)
def plot(version: Version, file: str, state: CurrentState, _: Predictor) -> Response:
    """Return one of the plots that a report shows."""
    return Response(read_report(state.models, version, file), media_type="image/svg+xml", headers=_INERT)


def _body(state: State) -> ModelsBody:
    known, pointer = state.models, state.models.versions.current()
    return ModelsBody(
        serving=state.classifier.manifest.version,
        current=known.name_of(pointer.version),
        previous=known.name_of(pointer.previous) if pointer.can_roll_back else None,
        versions=[_version_body(each) for each in describe_all(known)],
        history=[PromotionBody.model_validate(asdict(each)) for each in pointer.history],
    )


def _version_body(described: Described) -> VersionBody:
    manifest = described.manifest
    return VersionBody(
        version=described.version,
        state=described.state,
        reason=described.reason,
        published_at=described.published_at,
        labels=list(manifest.labels) if manifest else [],
        metrics=manifest.metrics if manifest else {},
        base=manifest.base if manifest else {},
        training=manifest.training if manifest else {},
        trained_on=manifest.data.get("splits", {}) if manifest else {},
        has_report=manifest is not None and "report/README.md" in manifest.files,
    )
