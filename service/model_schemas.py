"""Response bodies of `/v1/models`."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

__all__ = ["ModelsBody", "PromotionBody", "VersionBody"]


class VersionBody(BaseModel):
    """One version of the model."""

    version: str
    state: Literal["current", "available", "shipped", "failed"] = Field(
        description="current: promoted, or serving because nothing is; failed: it does not load, and never serves"
    )
    reason: str | None = Field(description="why it failed; null where it did not")
    published_at: datetime | None = Field(description="null for a shipped version, or where nobody knows")
    labels: list[str]
    metrics: dict[str, Any] = Field(description="on the test split")
    base: dict[str, Any]
    training: dict[str, Any] = Field(description="every setting of the run")
    trained_on: dict[str, Any] = Field(description="statements by split, label and source")
    has_report: bool = Field(description="whether /v1/models/{version}/report has one")


class PromotionBody(BaseModel):
    """One promotion or rollback."""

    version: str | None = Field(description="that served from then on; null for the shipped model")
    at: datetime
    by: str
    action: Literal["promote", "rollback"]


class ModelsBody(BaseModel):
    """Every version, and which of them serves."""

    serving: str = Field(description="what this process answers with: it follows `current` within seconds")
    current: str | None = Field(description="the promoted version, or the shipped one where none is")
    previous: str | None = Field(description="what a rollback returns to; null where there is nothing to roll back to")
    versions: list[VersionBody]
    history: list[PromotionBody] = Field(description="promotions and rollbacks, the oldest first")
