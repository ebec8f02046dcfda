"""The environment as typed settings: read once, in `__main__`, and passed down. Each default lives here."""

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.processor import available_processors
from service.errors import SettingsError

__all__ = ["PREFIX", "Settings", "load_settings"]

PREFIX = "BRINK_"

# The largest request of the contract: 1,024 texts x 20,000 characters x 3 bytes (all of the Basic Multilingual Plane
# in UTF-8) is 61.4 MB.
_MAX_BODY_BYTES = 64 * 1024 * 1024


class Settings(BaseModel):
    """What the service can be told, each by the variable of its name in capitals after `BRINK_`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    allow_anonymous: bool = Field(False, description="listen beyond this machine even where there is no API key")
    model: str = Field("fast", min_length=1, description="name of a shipped model, or a folder of one")
    models: str = Field("models/versions", min_length=1, description="folder or URL of the versions to promote")
    models_cache: str = Field("models/cache", min_length=1, description="folder for copies of what a URL holds")
    database_url: str = Field("sqlite:///brink.db", min_length=1, description="where labelled statements are kept")
    training: str = Field("models/trainings", min_length=1, description="folder of training runs and their caches")
    corpus: str = Field("data/statements", min_length=1, description="statements that every training run learns from")
    splits: str = Field("data/splits", description="folder of split files of the corpus; empty to split it by hash")
    threads: int = Field(
        0, ge=0, le=1024, description="threads of the engine; 0 takes every processor, shared by the workers"
    )
    workers: int = Field(1, ge=1, le=256, description="processes that answer; each has its share of the processors")
    max_body_bytes: int = Field(_MAX_BODY_BYTES, ge=1024, description="larger request bodies get 413")
    max_queued_tokens: int = Field(131_072, ge=1024, description="tokens waiting at once; beyond it 429")
    request_timeout_s: float = Field(60.0, gt=0, le=3600, description="older requests get 504")
    shutdown_timeout_s: int = Field(60, ge=0, le=3600, description="time to answer what was accepted before it stops")
    drift_answers: int = Field(1000, ge=200, le=10_000, description="last answers that are compared with the training")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severity that is logged")
    log_format: Literal["json", "console"] = Field("json", description="one JSON object a line, or text for a person")

    @property
    def engine_threads(self) -> int:
        """Threads of the engine of one worker; 0 for every processor."""
        if self.threads or self.workers == 1:
            return self.threads
        return max(1, available_processors() // self.workers)

    @property
    def worker_queued_tokens(self) -> int:
        """Tokens that may wait in one worker: its share, as it has its share of the speed."""
        return max(1, self.max_queued_tokens // self.workers)


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings of `environment`; variables without the prefix are left alone.

    Raises:
        SettingsError: a variable with the prefix is unknown, or a value does not fit.
    """
    given = {name: value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    known = {f"{PREFIX}{field}".upper(): field for field in Settings.model_fields}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            # Without the prefix, which would make every name like every other.
            close = difflib.get_close_matches(name.lower().removeprefix(PREFIX.lower()), known.values(), n=1)
            hint = f"did you mean {PREFIX}{close[0].upper()}?" if close else f"known are {', '.join(known)}."
            raise SettingsError(f"unknown setting {name}: {hint}")
        values[known[name]] = value
    try:
        return Settings(**values)
    except ValidationError as error:
        problems = [
            f"{PREFIX}{str(each['loc'][0]).upper()}={each['input']!r}: {each['msg']}" for each in error.errors()
        ]
        raise SettingsError("bad settings: " + "; ".join(problems)) from error
