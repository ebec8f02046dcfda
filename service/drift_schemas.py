"""Bodies of the drift report in the HTTP contract."""

from pydantic import BaseModel, Field

from service.drift import Verdict

__all__ = ["ComparedBody", "DriftBody"]


class ComparedBody(BaseModel):
    """A number of the last answers beside the one that the model's manifest holds."""

    now: float | None = Field(description="null before the first answer")
    expected: float | None = Field(description="null where the manifest does not hold it")


class DriftBody(BaseModel):
    """The last answers of this process beside what the model was made of."""

    model: str = Field(description="version that gave the answers; a new one begins anew")
    answers: int = Field(description="how many are counted", ge=0)
    window: int = Field(description="how many are counted at most")
    verdict: Verdict = Field(
        description="by the larger index: steady below 0.1, drifting from 0.25, shifting between; too few below 200 "
        "answers; unknown where the manifest holds nothing to compare with"
    )
    labels: dict[str, ComparedBody] = Field(description="share of each label, beside that in the training split")
    labels_psi: float | None = Field(description="population stability index of these")
    abstained: ComparedBody = Field(description="share of abstentions, beside that in the test split")
    abstained_psi: float | None = Field(description="population stability index of these")
    confidence: ComparedBody = Field(description="the mean, beside that in the test split")
    reading: dict[str, ComparedBody] = Field(
        description="how the texts look to the tokenizer, beside the test split: `unknown_tokens`, the share of what "
        "its vocabulary lacks; `tokens_per_word`, higher for another language; `tokens` a text"
    )
