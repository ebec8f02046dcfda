"""`POST /v1/predict`: texts to labels."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request

from model.classifier import Prediction
from model.explanation import Word, deletions, weigh
from service.answers import answer_body
from service.bodies import JsonRoute
from service.connection import while_connected
from service.identity import Predictor
from service.problems import PROBLEM_RESPONSES
from service.schemas import PredictRequest, PredictResponse
from service.serving import Serving
from service.state import CurrentState, State
from service.waiting import Answer

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["predict"], route_class=JsonRoute)


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: PROBLEM_RESPONSES[status] for status in (400, 413, 415, 422, 429, 503, 504)
}


# What is unset is an explanation that nobody asked for.
@router.post("/predict", responses=_ERRORS, response_model_exclude_unset=True)
async def predict(request: PredictRequest, state: CurrentState, connection: Request, who: Predictor) -> PredictResponse:
    """Label one text or several; a text that cannot be classified gets its error in its own place."""
    return await while_connected(connection, _predict(request, state, who))


async def _predict(request: PredictRequest, state: State, who: str) -> PredictResponse:
    texts, timeout_s = request.all_texts, state.settings.request_timeout_s
    with state.serving.kept() as serving:  # one model for all of an answer
        given = answers = await serving.batcher.submit(texts, timeout_s)
        serving.drift.note(given)
        if request.stances_only:
            answers = [serving.classifier.to_stance(each) if isinstance(each, Prediction) else each for each in answers]
        explanations = await _explain(serving, texts, answers, timeout_s) if request.explain else [None] * len(texts)
    model = serving.classifier.manifest.version
    # As the model gave them, a stance or not; and last, so that nothing is kept of a request that fails.
    ids = await _keep(state, texts, given, model, who) if request.keep else [None] * len(texts)
    state.metrics.answered(answers)
    bodies = [answer_body(*each) for each in zip(answers, explanations, ids, strict=True)]
    return PredictResponse(model=model, predictions=bodies)


async def _keep(
    state: State, texts: Sequence[str], answers: Sequence[Answer], model: str, who: str
) -> list[str | None]:
    """Keep the answers and return the id of each; None in the place of a text that could not be classified."""
    answered = [(text, each) for text, each in zip(texts, answers, strict=True) if isinstance(each, Prediction)]
    kept = iter(await state.kept.keep(answered, model, who, state.settings.request_timeout_s) if answered else ())
    return [next(kept) if isinstance(each, Prediction) else None for each in answers]


async def _explain(
    serving: Serving, texts: Sequence[str], answers: Sequence[Answer], timeout_s: float
) -> list[list[Word] | None]:
    """Return the words that carried each answer; None in the place of a text that could not be classified."""
    asked = [
        deletions(text) if isinstance(answer, Prediction) else None for text, answer in zip(texts, answers, strict=True)
    ]
    # All in one go: what is left of each text is an ordinary text in the queue, beside everyone else's.
    shortened = [each.text for group in asked for each in group or ()]
    left = iter(await serving.batcher.submit(shortened, timeout_s) if shortened else ())
    explanations: list[list[Word] | None] = []
    for text, answer, group in zip(texts, answers, asked, strict=True):
        if not isinstance(answer, Prediction) or group is None:
            explanations.append(None)
            continue
        told = [(each, rest.probabilities if isinstance(rest := next(left), Prediction) else None) for each in group]
        explanations.append(weigh(text, answer.label, answer.probabilities, told))
    return explanations
