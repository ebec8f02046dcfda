"""What handlers share: nothing before the start, a model in between, another after a promotion, nothing at the end."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from model.classifier import Classifier
from service.database import Database
from service.errors import NotReadyError, OverloadedError
from service.models import Models
from service.serving import Loaded
from service.settings import Settings
from service.state import State
from service.telemetry import Metrics
from tests.service.conftest import FakeClassifier


@pytest.fixture
def state(tmp_path: Path) -> State:
    settings = Settings(models=str(tmp_path / "versions"), max_queued_tokens=1024)
    return State(settings, Metrics(), Database("sqlite://"), Models(settings))


def loaded(classifier: FakeClassifier, version: str | None = None) -> Loaded:
    return Loaded(version, cast(Classifier, classifier))


def assert_not_ready(state: State) -> None:
    with pytest.raises(NotReadyError, match="no model is loaded yet, or the service is shutting down"):
        _ = state.classifier
    with pytest.raises(NotReadyError, match="no model is loaded yet, or the service is shutting down"):
        _ = state.serving
    assert state.queued_texts == 0


def test_model_is_there_between_start_and_stop_only(state: State, classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        assert_not_ready(state)
        state.begin(loaded(classifier))
        assert state.classifier is classifier
        batcher = state.serving.batcher
        [answer] = await batcher.submit(["abc!!!!"], 60)
        assert getattr(answer, "label", None) == "none"
        await state.end()
        assert_not_ready(state)
        with pytest.raises(NotReadyError, match="no model is ready"):
            await batcher.submit(["a"], 60)

    asyncio.run(scenario())


def test_queue_is_counted_while_the_engine_computes(state: State, classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        state.begin(loaded(classifier))
        with classifier.blocked():
            waiting = asyncio.create_task(state.serving.batcher.submit(["a", "b", "c"], 60))
            await asyncio.to_thread(classifier.wait_until_entered)
            assert state.queued_texts == 3
        await waiting
        assert state.queued_texts == 0
        await state.end()

    asyncio.run(scenario())


def test_ending_what_never_began_is_no_error(state: State) -> None:
    asyncio.run(state.end())
    assert_not_ready(state)


def test_request_keeps_its_model_to_its_end_while_the_next_one_answers_others(
    state: State, classifier: FakeClassifier
) -> None:
    other = FakeClassifier()

    async def scenario() -> None:
        state.begin(loaded(classifier))
        with state.serving.kept() as kept:
            with classifier.blocked():
                waiting = asyncio.create_task(kept.batcher.submit(["before"], 60))
                await asyncio.to_thread(classifier.wait_until_entered)
                state.begin(loaded(other, "two"))
                await state.serving.batcher.submit(["after"], 60)
                assert (state.serving.promoted, state.classifier) == ("two", other)
                assert not waiting.done()
            await waiting
            await kept.batcher.submit(["its explanation"], 60)  # the second question of the same request
        while state._drains:
            await asyncio.sleep(0.01)
        with pytest.raises(NotReadyError):
            await kept.batcher.submit(["too late"], 60)
        await state.end()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert (classifier.seen, other.seen) == (["before", "its explanation"], ["after"])


def test_limit_of_waiting_texts_holds_over_both_models(state: State, classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        state.begin(loaded(classifier))
        with state.serving.kept() as kept:
            with classifier.blocked():
                waiting = [asyncio.create_task(kept.batcher.submit(["a" * 100] * 30, 60)) for _ in "ab"]
                await asyncio.to_thread(classifier.wait_until_entered)
                state.begin(loaded(FakeClassifier(), "two"))
                assert state.queued_texts == 60
                with pytest.raises(OverloadedError):
                    await state.serving.batcher.submit(["b" * 20], 60)
            await asyncio.gather(*waiting)
        await state.end()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_stop_ends_a_model_that_is_still_kept(state: State, classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        state.begin(loaded(classifier))
        with state.serving.kept() as kept:
            state.begin(loaded(FakeClassifier(), "two"))
            await state.end()
            with pytest.raises(NotReadyError):
                await kept.batcher.submit(["a"], 60)

    asyncio.run(asyncio.wait_for(scenario(), 60))
