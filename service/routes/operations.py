"""What operators and orchestrators ask: alive, ready, metrics, which model, and whether it still fits."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from service.drift_schemas import DriftBody
from service.identity import Predictor
from service.problems import PROBLEM_RESPONSES
from service.schemas import ModelBody, StatusBody
from service.state import CurrentState

__all__ = ["router"]

router = APIRouter(tags=["operations"])

_NOT_READY: dict[int | str, dict[str, Any]] = {503: PROBLEM_RESPONSES[503]}
_GUARDED = _NOT_READY | {status: PROBLEM_RESPONSES[status] for status in (401, 403)}


@router.get("/healthz")
async def healthz() -> StatusBody:
    """Say that the process lives."""
    return StatusBody(status="alive")


@router.get("/readyz", responses=_NOT_READY)
async def readyz(state: CurrentState) -> StatusBody:
    """Say whether a model is loaded and warmed up."""
    _ = state.classifier  # raises where it is not
    return StatusBody(status="ready")


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(state: CurrentState) -> Response:
    """Return the metrics of all workers in Prometheus' text format; of drift, those of the one that answers."""
    state.measure()
    return Response(generate_latest(state.metrics.shown()), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/model", responses=_GUARDED)
async def model(state: CurrentState, _: Predictor) -> ModelBody:
    """Describe the model that answers now."""
    manifest = state.classifier.manifest
    return ModelBody(
        version=manifest.version,
        labels=list(manifest.labels),
        acts=manifest.acts,
        threshold=manifest.threshold,
        set_coverage=manifest.set_coverage,
        max_tokens=manifest.max_tokens,
        base=manifest.base,
        metrics=manifest.metrics,
        data_fingerprint=manifest.data["fingerprint"],
        trained_on=manifest.data["splits"],
    )


@router.get("/v1/drift", responses=_GUARDED)
async def drift(state: CurrentState, _: Predictor) -> DriftBody:
    """Say whether the last answers still look like what the model was made of; of one worker alone.

    The verdict is `steady` below a population stability index of 0.1, of the labels or of abstention whichever is
    larger, `drifting` from 0.25 and `shifting` between; `too few` below 200 answers.
    """
    return DriftBody(**asdict(state.serving.drift.report()))
