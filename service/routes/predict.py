"""`POST /v1/predict`: texts to labels."""

from dataclasses import asdict

from fastapi import APIRouter

from model.classifier import Prediction
from service.bodies import JsonRoute
from service.problems import PROBLEM_RESPONSES
from service.schemas import PredictionBody, PredictRequest, PredictResponse, TextError, TextErrorBody
from service.state import Answer, CurrentState

__all__ = ["router"]

router = APIRouter(prefix="/v1", tags=["predict"], route_class=JsonRoute)


@router.post("/predict", responses=PROBLEM_RESPONSES)
async def predict(request: PredictRequest, state: CurrentState) -> PredictResponse:
    """Label one text or several; a text that cannot be classified gets its error in its own place."""
    texts = request.all_texts
    classifier = state.classifier
    answers = await state.batcher.submit(texts, state.settings.request_timeout_s)
    if request.stances_only:
        answers = [classifier.to_stance(each) if isinstance(each, Prediction) else each for each in answers]
    state.metrics.answered(answers)
    return PredictResponse(model=classifier.manifest.version, predictions=[_body(answer) for answer in answers])


def _body(answer: Answer) -> PredictionBody | TextErrorBody:
    if isinstance(answer, Prediction):
        return PredictionBody(**asdict(answer))
    return TextErrorBody(error=TextError(code=answer.code, message=str(answer)))
