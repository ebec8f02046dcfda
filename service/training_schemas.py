"""Request and response bodies of `/v1/trainings`."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["FitOptions", "ProgressBody", "TrainingBody", "TrainingRequest", "TrainingsBody"]

Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class FitOptions(BaseModel):
    """Settings of a full training, as `python -m training fit --help` describes them; null takes the default."""

    model_config = ConfigDict(extra="forbid")

    base: str | None = Field(None, min_length=1, max_length=1000, description="name, folder or Hugging Face id")
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    epochs: int | None = Field(None, ge=1, le=1000)
    batch_size: int | None = Field(None, ge=1, le=4096)
    learning_rate: Finite | None = None
    class_weight_power: float | None = Field(None, ge=-10, le=10)
    label_cap: int | None = Field(None, ge=0, le=2**31 - 1)
    act_weight: Finite | None = None
    frozen_layers: int | None = Field(None, ge=0, le=1000)
    checkpoint_every_s: Finite | None = None

    @model_validator(mode="after")
    def _printable_base(self) -> Self:
        if self.base is not None and not self.base.isprintable():
            raise ValueError("expected a base of printable characters.")
        return self


class TrainingRequest(BaseModel):
    """Which training is wanted, and what becomes of a version that passes the gate."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"kind": "quick", "promote": "auto"}]})

    kind: Literal["quick", "full"] = Field(
        description="quick: refits the last layer of the version that serves, in seconds; full: trains all from a base"
    )
    promote: Literal["auto", "manual"] = Field(
        "manual", description="auto: a version that passes the gate serves; manual: it is published and waits"
    )
    options: FitOptions | None = Field(None, description="of a full training")

    @model_validator(mode="after")
    def _options_of_a_full_one(self) -> Self:
        if self.kind == "quick" and self.options is not None:
            raise ValueError("expected no options with a quick training, which has none.")
        return self

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given."""
        return {} if self.options is None else self.options.model_dump(exclude_none=True)


class ProgressBody(BaseModel):
    """How far a run is; null where that is not known, or not in this phase."""

    phase: str | None = Field(None, description="collecting, starting, those of the training, judging, promoting")
    epoch: int | None = Field(None, description="from 1")
    step: int | None = None
    steps: int | None = Field(None, description="of the whole training")
    loss: float | None = Field(None, description="mean of the last steps, in nats")
    statements_per_s: float | None = None
    seconds_left: float | None = Field(None, description="of the phase")


class TrainingBody(BaseModel):
    """One training run."""

    id: str
    kind: Literal["quick", "full"]
    promote: Literal["auto", "manual"]
    options: dict[str, Any]
    state: Literal["queued", "running", "cancelling", "cancelled", "failed", "refused", "finished", "promoted"] = Field(
        description="refused: by the gate; finished: passed it and waits for a person to promote the version"
    )
    reason: str | None = Field(description="why it failed or was refused, in numbers")
    progress: ProgressBody
    verdict: dict[str, Any] | None = Field(description="of the gate: every check with its numbers")
    version: str | None = Field(description="that it made")
    asked_by: str
    asked_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cancelled_by: str | None
    restarts: int = Field(description="how often it went on after the service had ended")


class TrainingsBody(BaseModel):
    """Training runs, the newest first."""

    trainings: list[TrainingBody]
