"""What handlers share: nothing before the start, the model in between, nothing after the stop."""

import asyncio
from typing import cast

import pytest

from model.classifier import Classifier
from service.batching import Batcher
from service.database import Database
from service.errors import NotReadyError
from service.settings import Settings
from service.state import Answer, State
from service.telemetry import Metrics
from tests.service.conftest import FakeClassifier

DATABASE = Database("sqlite://")


def assert_not_ready(state: State) -> None:
    with pytest.raises(NotReadyError, match="no model is loaded yet, or the service is shutting down"):
        _ = state.classifier
    with pytest.raises(NotReadyError, match="no model is loaded yet, or the service is shutting down"):
        _ = state.batcher
    assert state.queued_texts == 0


def test_model_is_there_between_start_and_stop_only(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        state = State(Settings(), Metrics(), DATABASE)
        assert_not_ready(state)
        batcher: Batcher[Answer] = Batcher(classifier.classify, 10)
        state.begin(cast(Classifier, classifier), batcher)
        assert state.classifier is classifier
        [answer] = await state.batcher.submit(["abc!!!!"], 60)
        assert getattr(answer, "label", None) == "none"
        await state.end()
        assert_not_ready(state)
        with pytest.raises(NotReadyError, match="no model is ready"):
            await batcher.submit(["a"], 60)

    asyncio.run(scenario())


def test_queue_is_counted_while_the_engine_computes(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        state = State(Settings(), Metrics(), DATABASE)
        state.begin(cast(Classifier, classifier), Batcher(classifier.classify, 10))
        with classifier.blocked():
            waiting = asyncio.create_task(state.batcher.submit(["a", "b", "c"], 60))
            await asyncio.to_thread(classifier.wait_until_entered)
            assert state.queued_texts == 3
        await waiting
        assert state.queued_texts == 0
        await state.end()

    asyncio.run(scenario())


def test_ending_what_never_began_is_no_error() -> None:
    state = State(Settings(), Metrics(), DATABASE)
    asyncio.run(state.end())
    assert_not_ready(state)
