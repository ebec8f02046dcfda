"""Bodies of the review queue in the HTTP contract."""

from datetime import datetime

from pydantic import BaseModel, Field

from service.review import Reason
from service.schemas import LabelBody

__all__ = ["EntryBody", "KeptPredictionBody", "ReviewBody"]


class KeptPredictionBody(BaseModel):
    """What a model said of a text that its sender chose to keep."""

    model: str = Field(description="version that answered")
    label: str
    act: str | None
    confidence: float = Field(ge=0, le=1)
    abstained: bool
    probabilities: dict[str, float]
    kept_at: datetime


class EntryBody(BaseModel):
    """A statement that is worth a person's time."""

    id: str = Field(description="of the statement, which it has before it has a label too")
    text: str
    reason: Reason
    prediction: KeptPredictionBody | None = Field(description="null where nobody has asked to keep one")
    labels: list[LabelBody] = Field(description="given so far")


class ReviewBody(BaseModel):
    """A page of the review queue, what is most worth a person's time first."""

    counts: dict[Reason, int] = Field(description="entries of each reason, of all pages")
    entries: list[EntryBody]
    next: str | None = Field(description="`after` of the next page; null on the last")
