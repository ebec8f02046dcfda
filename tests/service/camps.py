"""A real service of a tiny model with a label set of its own, and statements in which that model is wholly right."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from service.trainings import ENDED
from tests.service.conftest import WAIT_S
from tests.service.test_process import MINUTE_S, Server, running
from tests.tiny import cue_words, tiny_rows

CAMPS = ("hawkish", "dovish", "neutral")
FIRST = "camps-1"

# Reached only where something hangs: a tiny training takes seconds on an idle machine.
MINUTES = 15.0


def clear_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Return statements of the camps, each labelled by its cue words, so that a network can be wholly right."""
    return [
        row | {"label": next(camp for camp in CAMPS if _is_all_of(row["text"], camp))}
        for row in tiny_rows(count, CAMPS, seed)
    ]


def rows_of_a_new_kind(count: int) -> list[dict[str, Any]]:
    """Return statements with cue words that no statement of the camps has, which nobody has labelled yet."""
    return [row for row in tiny_rows(4 * count + 40, seed=5) if _is_all_of(row["text"], "escalatory")][:count]


def _is_all_of(text: str, label: str) -> bool:
    return sum(word in cue_words(label) for word in text.rstrip(".").split()) == 4


@dataclass(frozen=True)
class Folders:
    """What a service is started with, again and again.

    Attributes:
        model: folder of the model that it ships with.
        corpus: on which that was trained.
        base: from which.
        root: folder of all that the service writes.
        database_url: of its database.
    """

    model: Path
    corpus: Path
    base: Path
    root: Path
    database_url: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            "BRINK_MODEL": str(self.model),
            "BRINK_MODELS": str(self.root / "versions"),
            "BRINK_TRAINING": str(self.root / "trainings"),
            "BRINK_DATABASE_URL": self.database_url,
            "BRINK_CORPUS": str(self.corpus),
            "BRINK_SPLITS": "",
        }

    @contextmanager
    def serving(self, **settings: str) -> Iterator["Site"]:
        with (
            running(MINUTES, **(self.settings | settings)) as server,
            httpx2.Client(base_url=server.url, timeout=WAIT_S) as http,
        ):
            yield Site(server, http)


@dataclass(frozen=True)
class Site:
    """A service that runs, and what is asked of it."""

    server: Server
    http: httpx2.Client

    def post(self, rows: Sequence[dict[str, Any]]) -> httpx2.Response:
        statements = [{"text": row["text"], "label": row["label"]} for row in rows]
        return self.http.post("/v1/statements", json={"statements": statements})

    def ask(self, kind: str, **options: object) -> str:
        """Ask for a training whose version serves if the gate lets it; return where it is to be followed."""
        wanted = {"kind": kind, "promote": "auto"} | ({"options": options} if options else {})
        asked = self.http.post("/v1/trainings", json=wanted)
        assert asked.status_code == 202, asked.text
        return asked.headers["location"]

    def run(self, location: str) -> dict[str, Any]:
        """Return a training run as it is now."""
        found: dict[str, Any] = self.http.get(location).raise_for_status().json()
        return found

    def ended(self, location: str) -> dict[str, Any]:
        """Return a training run once it has ended."""
        ends = time.monotonic() + MINUTES * MINUTE_S
        while (run := self.run(location))["state"] not in ENDED:
            assert time.monotonic() < ends, f"the training never ended: {run}"
            time.sleep(0.1)
        return run

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/v1/trainings?limit=1000").raise_for_status().json()["trainings"]
        return found

    def answers(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        answer = self.http.post("/v1/predict", json={"texts": [row["text"] for row in rows]}).raise_for_status()
        return [each["label"] for each in answer.json()["predictions"]]

    def accuracy(self, rows: Sequence[dict[str, Any]]) -> float:
        return sum(said == row["label"] for said, row in zip(self.answers(rows), rows, strict=True)) / len(rows)

    def version(self) -> str:
        return str(self.http.get("/v1/model").raise_for_status().json()["version"])

    def texts(self) -> list[str]:
        """Return the texts of all statements that are kept."""
        lines = self.http.get("/v1/statements/export").raise_for_status().iter_lines()
        return [json.loads(line)["text"] for line in lines]


def fit_camps(base: Path, corpus: Path, folder: Path) -> Path:
    """Train the tiny model in `folder` and return it."""
    from tests.tiny import tiny_config
    from training.fit import fit  # torch takes seconds to load

    fit(tiny_config(base, CAMPS), [corpus], folder, FIRST)
    return folder
