"""Request and response bodies of the HTTP contract."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from model.classifier import MAX_CHARACTERS

__all__ = [
    "MAX_EXPLAINED",
    "MAX_TEXTS",
    "TOO_MANY_TEXTS",
    "AgreementBody",
    "AuditBody",
    "ChangeRequest",
    "LabelBody",
    "ModelBody",
    "PredictRequest",
    "PredictResponse",
    "PredictionBody",
    "Problem",
    "RowBody",
    "StatementBody",
    "StatementsBody",
    "StatusBody",
    "TextError",
    "TextErrorBody",
    "UploadBody",
    "WordBody",
]

MAX_TEXTS = 1024

MAX_EXPLAINED = 8
"""Most texts of a request that asks for explanations: each costs as much as its words are many."""

TOO_MANY_TEXTS = "too_many_texts"
"""Type of the validation error for a batch over `MAX_TEXTS`; the contract answers it with 413."""

# Each unknown key is an error of its own, and a body of the largest size has room for millions: gigabytes of errors.
_MAX_KEYS = 20


def _any_string(value: Any) -> str:
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    return value


# pydantic's own string type rejects lone surrogates for the whole request; here each text is judged by itself.
Text = Annotated[
    str,
    PlainValidator(_any_string),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS}),
]


def _not_too_many(value: Any) -> Any:
    # Before the texts are looked at: each that is no string is an error of its own, as with keys.
    if isinstance(value, list) and len(value) > MAX_TEXTS:
        message = f"expected at most {MAX_TEXTS:,} texts, came {len(value):,}; send several requests."
        raise PydanticCustomError(TOO_MANY_TEXTS, "{message}", {"message": message})
    return value


Texts = Annotated[
    list[Text], Field(min_length=1, json_schema_extra={"maxItems": MAX_TEXTS}), BeforeValidator(_not_too_many)
]


class _RequestBody(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def _few_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > _MAX_KEYS:
            known = ", ".join(cls.model_fields)
            raise PydanticCustomError("too_many_keys", f"expected no keys but {known}, came {len(data):,} keys")
        return data


class PredictRequest(_RequestBody):
    """One text or several to label."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"texts": ["Any aircraft that enters our airspace armed will be shot down."]}],
        },
    )

    text: Text | None = Field(None, description="one text; give this or `texts`")
    texts: Texts | None = Field(None, description=f"1 to {MAX_TEXTS:,} texts, each 1 to {MAX_CHARACTERS:,} characters")
    stances_only: bool = Field(False, strict=True, description="label one of the stances even where none is likeliest")

    explain: bool = Field(
        False,
        strict=True,
        description=f"say which words carried each label; for at most {MAX_EXPLAINED} texts, and as slow as the "
        "text has words",
    )

    keep: bool = Field(
        False, strict=True, description="keep texts and answers in the database, for review; else nothing is kept"
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.text is None) == (self.texts is None):
            raise PydanticCustomError("text_or_texts", "expected either 'text' or 'texts'")
        if self.explain and len(self.all_texts) > MAX_EXPLAINED:
            came = f"{len(self.all_texts):,}"
            message = f"expected at most {MAX_EXPLAINED} texts to explain, came {came}; send several requests."
            raise PydanticCustomError(TOO_MANY_TEXTS, "{message}", {"message": message})
        return self

    @property
    def all_texts(self) -> list[str]:
        """The texts in the order asked for."""
        return [self.text] if self.text is not None else list(self.texts or [])


class WordBody(BaseModel):
    """A word that carried the label, or in a long text a run of words."""

    start: int = Field(description="offset in characters of its first", ge=0)
    end: int = Field(description="offset of the character behind it", ge=0)
    text: str
    weight: float = Field(description="by how much the label is less probable without it", gt=0, le=1)


class PredictionBody(BaseModel):
    """The answer for one text."""

    label: str = Field(description="the likeliest label")
    confidence: float = Field(description="probability of the label", ge=0, le=1)
    abstained: bool = Field(description="the confidence is under the model's threshold: a person should look")
    probabilities: dict[str, float] = Field(description="of every label, calibrated, summing to 1")
    prediction_set: list[str] = Field(description="labels that cannot be ruled out at the model's stated coverage")
    windows: int = Field(description="parts that the text was split into to be read", ge=1)
    act: str | None = Field(description="what the text does, of the acts beneath the label; null without any")
    explanation: list[WordBody] | None = Field(
        None, description="only with `explain`: the words that carried the label, heaviest first"
    )
    id: str | None = Field(None, description="only with `keep`: of the statement, in the review queue and with labels")


class TextError(BaseModel):
    """Why one text cannot be classified."""

    code: str = Field(description="empty, too_long or not_unicode")
    message: str


class TextErrorBody(BaseModel):
    """Stands in the place of a text that cannot be classified."""

    error: TextError


class PredictResponse(BaseModel):
    """One answer a text, in the order asked."""

    model: str = Field(description="version of the model that answered")
    predictions: list[PredictionBody | TextErrorBody]


class ModelBody(BaseModel):
    """The model that answers now."""

    version: str
    labels: list[str]
    acts: dict[str, list[str]] = Field(description="what an answer's `act` may be, by label; empty where it has none")
    threshold: float = Field(description="confidence under which an answer is marked as abstained")
    set_coverage: float = Field(description="share of right labels that the prediction sets are meant to hold")
    max_tokens: int = Field(description="tokens in one window")
    base: dict[str, Any]
    metrics: dict[str, Any] = Field(description="on the test split")
    data_fingerprint: str
    trained_on: dict[str, Any] = Field(description="statements by split, label and source")


class RowBody(BaseModel):
    """What became of one row of an upload."""

    line: int = Field(description="of the upload, from 1; in a JSON array the place of the row")
    status: Literal["accepted", "duplicate", "conflicting", "rejected"]
    id: str | None = Field(description="of the statement; null where the row was rejected")
    reason: str | None = Field(description="why it was not accepted; null where it was")


class UploadBody(BaseModel):
    """What became of an upload."""

    accepted: int
    duplicate: int = Field(description="rows that say what is known already")
    conflicting: int = Field(description="rows against what the same annotator said before, which stays as it is")
    rejected: int
    rows: list[RowBody]


class LabelBody(BaseModel):
    """What one annotator says of a statement."""

    annotator: str
    label: str
    act: str | None
    changed_at: datetime


class StatementBody(BaseModel):
    """A statement and what its labels amount to."""

    id: str
    text: str
    source: str | None
    status: Literal["agreed", "disagreed", "settled"]
    label: str | None = Field(description="settled, or agreed on by all; null while annotators disagree")
    act: str | None
    created_at: datetime
    created_by: str
    labels: list[LabelBody]


class StatementsBody(BaseModel):
    """A page of statements."""

    total: int = Field(description="of all pages")
    statements: list[StatementBody]
    next: int | None = Field(description="`after` of the next page; null on the last")


class ChangeRequest(_RequestBody):
    """A new label of a statement, or that its settled one is open again."""

    model_config = ConfigDict(extra="forbid")

    label: str | None = Field(None, min_length=1, max_length=200)
    act: str | None = Field(None, min_length=1, max_length=200)
    annotator: str | None = Field(None, min_length=1, max_length=200, description="whose label it is")
    settle: bool | None = Field(
        None, strict=True, description="true: the label holds whatever annotators say; false: what was settled is open"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.settle is False and (self.label or self.act or self.annotator):
            raise PydanticCustomError("reopen", "expected nothing beside 'settle': false")
        if self.settle is not False and self.label is None:
            raise PydanticCustomError("label", "expected a 'label', or 'settle': false to open a settled statement")
        if self.settle and self.annotator:
            raise PydanticCustomError("settle", "expected no 'annotator' beside 'settle': true")
        return self


class AuditBody(BaseModel):
    """One change of a statement."""

    at: datetime
    who: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AgreementBody(BaseModel):
    """How far annotators agree."""

    statements: int = Field(description="with at least two labels")
    alpha: float | None = Field(description="Krippendorff's: 1 is perfect, 0 is chance; null where it is undefined")
    alpha_of: dict[str, float | None] = Field(description="of each label against all others")
    disagreed: int = Field(description="statements whose labels differ and that nobody has settled")


class StatusBody(BaseModel):
    """One word."""

    status: str


class Problem(BaseModel):
    """An error after RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = Field(None, description="with 422: each field that does not fit")
