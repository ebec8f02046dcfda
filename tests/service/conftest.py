"""A classifier without a network, the application around it, and what the tests of an answer share."""

import io
import json
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx2
import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
import structlog
from fastapi import FastAPI
from starlette.testclient import TestClient

from model.artifact import Manifest
from model.classifier import Classifier, Encoded, Prediction, check_text
from model.errors import UnclassifiableTextError
from model.labels import ACTS, LABELS
from model.reading import Reading
from service.app import create_app
from service.settings import Settings
from service.telemetry import configure_logging
from tests.service.databases import Postgres, new_postgres_database

if TYPE_CHECKING:
    from tests.service.camps import Folders

# Time is no property of what is tested: a busy machine answers later.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

WAIT_S = 60.0
"""Longest wait for an event of another thread: reached only where something hangs."""

PREDICT = "/v1/predict"

_FOLDER = tempfile.TemporaryDirectory(prefix="brink-tests-")

MANIFEST = Manifest(
    version="2026-11-24.7",
    labels=LABELS,
    acts={label: list(acts) for label, acts in ACTS.items()},
    max_tokens=256,
    window_overlap_tokens=32,
    temperature=1.0,
    biases=[0.0] * 4,
    threshold=0.8,
    set_threshold=0.05,
    set_coverage=0.9,
    base={"name": "fake", "sha256": "0" * 64},
    data={"fingerprint": "f" * 64, "splits": {"train": {"statements": 3}}},
    training={"seed": 0},
    code={"version": "0.1.0"},
    metrics={"macro_f1": 0.5},
    parity={"agreement": 1.0},
)


class FakeClassifier:
    """Answers from the text alone: its length names the label and the windows, a last `!` makes the answer sure.

    Attributes:
        batches: the texts of every call, in order.
        failure: raised by every call instead of an answer, while set.
        fail_after: calls that are answered before the others fail; None for no end.
        entered: set once a call has begun since the last `blocked`.
    """

    manifest = MANIFEST
    labels = MANIFEST.labels

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.failure: Exception | None = None
        self.fail_after: int | None = None
        self.entered = threading.Event()
        self._free = threading.Event()
        self._free.set()

    @property
    def seen(self) -> list[str]:
        """Every text that was computed, in order."""
        return [text for batch in self.batches for text in batch]

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Hold every call until the block ends."""
        self._free.clear()
        self.entered.clear()
        try:
            yield
        finally:
            self._free.set()

    def wait_until_entered(self) -> None:
        assert self.entered.wait(WAIT_S), "the classifier was not called"

    def classify(self, texts: Sequence[str]) -> list[Prediction | UnclassifiableTextError]:
        encoded = self.encode(texts)
        rows = iter(self.run([each.windows[0] for each in encoded if isinstance(each, Encoded)]))
        return [self.answer(each, np.array([next(rows)])) if isinstance(each, Encoded) else each for each in encoded]

    def encode(self, texts: Sequence[str]) -> list[Encoded | UnclassifiableTextError]:
        return [self._encode(text) for text in texts]

    def run(self, windows: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float32]:
        if self.fail_after is not None and len(self.batches) >= self.fail_after:
            raise RuntimeError("failed on purpose")
        self.batches.append([_decode(window) for window in windows])
        self.entered.set()
        assert self._free.wait(WAIT_S), "the classifier was not freed"
        if self.failure is not None:
            raise self.failure
        return np.array([[len(window)] for window in windows], dtype=np.float32)

    def answer(self, encoded: Encoded, logits: npt.NDArray[np.float32]) -> Prediction:
        [[length]] = logits
        assert length == encoded.tokens, "the row is of another text"
        return self._answer(_decode(encoded.windows[0]))

    def to_stance(self, prediction: Prediction) -> Prediction:
        stances = {name: value for name, value in prediction.probabilities.items() if name != "none"}
        label = max(stances, key=stances.__getitem__)
        return replace(prediction, label=label, confidence=stances[label], abstained=stances[label] < 0.8)

    def _encode(self, text: str) -> Encoded | UnclassifiableTextError:
        try:
            check_text(text)
            check_text(text.replace("\0", ""))  # as the tokenizer, which drops what is no character
        except UnclassifiableTextError as error:
            return error
        # A token a character, of which the vocabulary lacks snowmen.
        reading = Reading(len(text), text.count("\u2603"), len(text.split()))
        return Encoded((np.array([ord(character) for character in text]),), reading)

    def _answer(self, text: str) -> Prediction:
        rest = 0.02 if text.endswith("!") else 0.1
        label = self.labels[len(text) % 4]
        probabilities = dict.fromkeys(self.labels, rest) | {label: 1 - 3 * rest}
        acts = {each: names[0] for each, names in ACTS.items()}
        reading = Reading(len(text), text.count("\u2603"), len(text.split()))
        return Prediction(label, 1 - 3 * rest, 1 - 3 * rest < 0.8, probabilities, [label], len(text), acts, reading)


def _decode(window: npt.NDArray[np.int64]) -> str:
    return "".join(map(chr, window))


def application(classifier: FakeClassifier, **settings: Any) -> FastAPI:
    """Return the application around a fake; `settings` replace the defaults; database and versions are of the tests."""
    places = {"database_url": f"sqlite:///{_FOLDER.name}/brink.db", "models": f"{_FOLDER.name}/versions"}
    return create_app(Settings(**(places | settings)), classifier=cast(Classifier, classifier))


@pytest.fixture
def classifier() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture
def serve(classifier: FakeClassifier) -> Iterator[Callable[..., TestClient]]:
    """Start applications around the fake, with settings as keywords."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(TestClient(application(classifier, **settings)))


@pytest.fixture
def client(serve: Callable[..., TestClient]) -> TestClient:
    return serve()


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Threads for requests that wait while the test goes on."""
    with ThreadPoolExecutor(8) as executor:
        yield executor


def post_bytes(client: TestClient, body: bytes, content_type: str = "application/json") -> httpx2.Response:
    return client.post(PREDICT, content=body, headers={"content-type": content_type})


def assert_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    """Check that an answer is a whole problem of that status and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    body: dict[str, Any] = response.json()
    assert body.keys() - {"errors"} == {"type", "title", "status", "detail"}
    assert (body["type"], body["title"], body["status"]) == ("about:blank", HTTPStatus(status).phrase, status)
    assert body["detail"]
    return body


class Log:
    """What the service logs; `configure` chooses the level and the form."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._stream = io.StringIO()
        self._monkeypatch = monkeypatch

    def configure(self, level: str = "info", log_format: str = "json") -> None:
        with self._monkeypatch.context() as patch:
            patch.setattr("sys.stdout", self._stream)
            configure_logging(level, log_format)

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the JSON lines, or those of one event."""
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if event in (None, line["event"])]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []
    monkeypatch.setattr(logging.getLogger("httpx2"), "disabled", True)  # the test's client, not the service
    yield Log(monkeypatch)
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL server, as the URL of a database of it."""
    with Postgres() as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'brink.db'}"
    return new_postgres_database(request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def camps_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.service.camps import clear_rows
    from tests.tiny import write_rows

    return write_rows(tmp_path_factory.mktemp("camps") / "statements.jsonl", clear_rows(600, seed=1))


@pytest.fixture(scope="session")
def camps_model(tiny_base: Path, camps_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a label set of its own; tests read it and never write to it."""
    from tests.service.camps import fit_camps

    return fit_camps(tiny_base, camps_corpus, tmp_path_factory.mktemp("camps-model"))


@pytest.fixture
def camps(camps_model: Path, camps_corpus: Path, tiny_base: Path, tmp_path: Path, database_url: str) -> "Folders":
    """What a real service of the tiny model is started with, on each kind of database in turn."""
    from tests.service.camps import Folders

    return Folders(camps_model, camps_corpus, tiny_base, tmp_path, database_url)
