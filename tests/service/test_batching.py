"""The queue before the engine: order, fairness, and what becomes of requests that end early."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.classifier import Prediction
from model.errors import UnclassifiableTextError
from service.batching import Batcher, Room
from service.errors import DeadlineError, NotReadyError, OverloadedError
from tests.service.conftest import WAIT_S, FakeClassifier

Answer = Prediction | UnclassifiableTextError


def started(classifier: FakeClassifier, room: Room | None = None) -> Batcher[Answer]:
    """Return a running batcher; call from the event loop."""
    batcher = Batcher(classifier.classify, room or Room(4096))
    batcher.start()
    return batcher


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, WAIT_S))


async def entered(classifier: FakeClassifier) -> None:
    await asyncio.to_thread(classifier.wait_until_entered)


async def queued(batcher: Batcher[Answer], texts: int) -> None:
    """Wait until so many texts are accepted."""
    while batcher.queued_texts != texts:
        await asyncio.sleep(0)


def lengths(answers: Sequence[Answer]) -> list[int]:
    return [answer.windows for answer in answers if isinstance(answer, Prediction)]


@given(requests=st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=150), min_size=1, max_size=8))
def test_every_request_gets_its_own_answers_in_order(requests: list[list[int]]) -> None:
    async def scenario() -> None:
        batcher = started(FakeClassifier())
        answers = await asyncio.gather(*(batcher.submit(["x" * length for length in each], 60) for each in requests))
        assert [lengths(each) for each in answers] == requests
        assert batcher.queued_texts == 0
        await batcher.stop()

    run(scenario())


def test_nothing_waits_for_company_while_the_engine_is_free(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        await batcher.submit(["a"], 60)
        await batcher.submit(["b"], 60)
        assert classifier.batches == [["a"], ["b"]]
        await batcher.stop()

    run(scenario())


def test_requests_that_wait_are_computed_together(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            tasks = [asyncio.create_task(batcher.submit(["first"], 60))]
            await entered(classifier)
            tasks += [asyncio.create_task(batcher.submit([f"{name}1", f"{name}2"], 60)) for name in "ab"]
            await queued(batcher, 5)
        await asyncio.gather(*tasks)
        assert classifier.batches == [["first"], ["a1", "b1", "a2", "b2"]]
        await batcher.stop()

    run(scenario())


def test_small_request_is_answered_before_a_large_one_that_came_first(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            large = asyncio.create_task(batcher.submit(["large"] * 1000, 60))
            await entered(classifier)
            small = asyncio.create_task(batcher.submit(["small"], 60))
            await queued(batcher, 1001)
        done, _ = await asyncio.wait({large, small}, return_when=asyncio.FIRST_COMPLETED)
        assert done == {small}
        assert "small" in classifier.batches[1]
        assert len(await large) == 1000
        await batcher.stop()

    run(scenario())


@pytest.mark.parametrize(("length", "sizes"), [(1, [64, 64, 2]), (4_000, [4] * 32 + [2]), (20_000, [1] * 130)])
def test_batch_ends_by_texts_or_by_characters(classifier: FakeClassifier, length: int, sizes: list[int]) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        await batcher.submit(["x" * length] * 130, 60)
        assert [len(batch) for batch in classifier.batches] == sizes
        await batcher.stop()

    run(scenario())


def test_expired_request_is_dropped_before_it_is_computed(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            first = asyncio.create_task(batcher.submit(["first"], 60))
            await entered(classifier)
            with pytest.raises(DeadlineError, match=r"^0 of 2 texts were computed within 0\.01 s; send fewer at once"):
                await batcher.submit(["late"] * 2, 0.01)
            assert batcher.queued_texts == 1
        await first
        await batcher.submit(["after"], 60)
        assert classifier.seen == ["first", "after"]
        await batcher.stop()

    run(scenario())


def test_cancelled_request_is_dropped_before_it_is_computed(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            first = asyncio.create_task(batcher.submit(["first"], 60))
            await entered(classifier)
            gone = asyncio.create_task(batcher.submit(["gone"] * 100, 60))
            await queued(batcher, 101)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            assert batcher.queued_texts == 1
        await first
        await batcher.submit(["after"], 60)
        assert classifier.seen == ["first", "after"]
        await batcher.stop()

    run(scenario())


def test_rest_of_a_request_that_ends_midway_is_dropped(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            gone = asyncio.create_task(batcher.submit(["gone"] * 1000, 60))
            await entered(classifier)
            gone.cancel()
            await asyncio.wait({gone})
        await batcher.submit(["after"], 60)
        assert classifier.seen == ["gone"] * 64 + ["after"]
        assert batcher.queued_texts == 0
        await batcher.stop()

    run(scenario())


def test_failure_reaches_every_request_of_the_batch_and_the_next_is_answered(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            tasks = [asyncio.create_task(batcher.submit(["a"] * count, 60)) for count in (1000, 1, 2)]
            await entered(classifier)
            await queued(batcher, 1003)
            classifier.failure = RuntimeError("the engine broke")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes == [classifier.failure] * 3
        assert [len(batch) for batch in classifier.batches] == [64]  # the rest of the thousand was dropped
        assert batcher.queued_texts == 0
        classifier.failure = None
        assert lengths(await batcher.submit(["abc"], 60)) == [3]
        await batcher.stop()

    run(scenario())


@pytest.mark.parametrize(("answers", "reason"), [([], "shorter"), (["one", "too many"], "longer")])
def test_wrong_number_of_answers_reaches_the_caller_and_the_next_is_answered(answers: list[str], reason: str) -> None:
    given_answers = [answers, ["right"]]

    async def scenario() -> None:
        batcher = Batcher(lambda _: given_answers.pop(0), Room(10))
        batcher.start()
        with pytest.raises(ValueError, match=f"{reason} than argument 1"):
            await batcher.submit(["a"], 60)
        assert await batcher.submit(["a"], 60) == ["right"]
        await batcher.stop()

    run(scenario())


def test_request_that_does_not_fit_is_refused_with_the_time_to_wait(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier, Room(110))
        with classifier.blocked():
            waiting = [asyncio.create_task(batcher.submit(["a"] * 100, 60))]
            await entered(classifier)
            with pytest.raises(
                OverloadedError, match="100 texts are waiting and 11 more do not fit into 110"
            ) as caught:
                await batcher.submit(["b"] * 11, 60)
            assert caught.value.retry_after_s == 2  # 100 texts at the first guess of 50 a second
            waiting.append(asyncio.create_task(batcher.submit(["c"] * 10, 60)))
            await queued(batcher, 110)
            with pytest.raises(OverloadedError, match="110 texts are waiting and 1 more do not fit"):
                await batcher.submit(["d"], 60)
        await asyncio.gather(*waiting)
        assert set(classifier.seen) == {"a", "c"}
        assert batcher.queued_texts == 0
        await batcher.stop()

    run(scenario())


def test_queues_that_share_their_room_share_its_limit(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        room = Room(10)
        one, other = started(classifier, room), started(FakeClassifier(), room)
        with classifier.blocked():
            waiting = asyncio.create_task(one.submit(["a"] * 8, 60))
            await entered(classifier)
            with pytest.raises(OverloadedError, match="8 texts are waiting and 3 more do not fit into 10"):
                await other.submit(["b"] * 3, 60)
            assert lengths(await other.submit(["bb"] * 2, 60)) == [2, 2]
        await waiting
        assert room.taken == 0
        await one.stop()
        await other.stop()

    run(scenario())


def test_time_to_wait_follows_the_measured_speed(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier, Room(1000))
        for _ in range(20):
            await batcher.submit(["a"] * 64, 60)
        with classifier.blocked():
            waiting = asyncio.create_task(batcher.submit(["a"] * 1000, 60))
            await entered(classifier)
            with pytest.raises(OverloadedError) as caught:
                await batcher.submit(["b"], 60)
        assert caught.value.retry_after_s < 20  # what the first guess of 50 a second would say
        await waiting
        await batcher.stop()

    run(scenario())


def test_stopping_answers_every_request_at_once_even_one_under_way(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            under_way = asyncio.create_task(batcher.submit(["a"], 60))
            await entered(classifier)
            waiting = asyncio.create_task(batcher.submit(["b"] * 100, 60))
            await queued(batcher, 101)
            stopping = asyncio.create_task(batcher.stop())
            for task in (under_way, waiting):
                with pytest.raises(NotReadyError, match="the service is shutting down; ask again later"):
                    await task
            assert batcher.queued_texts == 0
            assert not stopping.done()
        await stopping
        assert classifier.seen == ["a"]

    run(scenario())


def test_nothing_is_taken_before_the_start_and_after_the_stop(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = Batcher(classifier.classify, Room(10))
        with pytest.raises(NotReadyError, match="no model is ready; ask again in a moment"):
            await batcher.submit(["a"], 60)
        batcher.start()
        await batcher.stop()
        await batcher.stop()
        with pytest.raises(NotReadyError, match="no model is ready; ask again in a moment"):
            await batcher.submit(["a"], 60)
        assert (classifier.seen, batcher.queued_texts) == ([], 0)

    run(scenario())
