"""From an answer of the model to its body in the contract."""

from collections.abc import Sequence
from dataclasses import asdict

from model.classifier import Prediction
from model.explanation import Word
from service.schemas import PredictionBody, TextError, TextErrorBody, WordBody
from service.waiting import Answer

__all__ = ["answer_body"]


def answer_body(
    answer: Answer, words: Sequence[Word] | None = None, id_: str | None = None
) -> PredictionBody | TextErrorBody:
    """Return the body of one answer; an explanation where there are `words` and an id where it was kept, else neither.

    What is unset is not sent.
    """
    if not isinstance(answer, Prediction):
        return TextErrorBody(error=TextError(code=answer.code, message=str(answer)))
    kept_back = {"acts", "reading"}
    fields = {name: value for name, value in asdict(answer).items() if name not in kept_back} | {"act": answer.act}
    if words is not None:
        fields["explanation"] = [WordBody(**asdict(word)) for word in words]
    if id_ is not None:
        fields["id"] = id_
    return PredictionBody(**fields)
