"""The queue before the engine: order, fairness, and what becomes of requests that end early."""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.classifier import Prediction
from service.batching import Batcher
from service.errors import DeadlineError, NotReadyError, OverloadedError
from service.waiting import Answer, Room
from tests.service.conftest import WAIT_S, FakeClassifier


def started(classifier: FakeClassifier, room: Room | None = None) -> Batcher:
    """Return a running batcher, for which a token is a character; call from the event loop."""
    batcher = Batcher(classifier, room or Room(1_000_000))
    batcher.start()
    return batcher


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, WAIT_S))


async def entered(classifier: FakeClassifier) -> None:
    await asyncio.to_thread(classifier.wait_until_entered)


async def queued(batcher: Batcher, texts: int) -> None:
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


def test_small_request_is_computed_before_most_of_a_large_one_that_came_first(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            large = asyncio.create_task(batcher.submit(["large"] * 3000, 60))
            await entered(classifier)
            small = asyncio.create_task(batcher.submit(["small"], 60))
            await queued(batcher, 3001)
        await asyncio.wait({large, small})
        # In the first batch of the round after the one that had begun, or of a later one where it was not encoded yet:
        # by the turns, whatever the threads of a busy machine do, long before the large one's last.
        [place] = [place for place, batch in enumerate(classifier.batches) if "small" in batch]
        assert place % 5 == 0
        assert place < len(classifier.batches) / 2
        assert len(await large) == 3000
        await batcher.stop()

    run(scenario())


def test_long_text_does_not_hold_up_a_short_one_of_its_own_round(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            tasks = [asyncio.create_task(batcher.submit(["first"], 60))]
            await entered(classifier)
            tasks += [asyncio.create_task(batcher.submit([text], 60)) for text in ("short", "x" * 2000, "other")]
            await queued(batcher, 4)
        await asyncio.gather(*tasks)
        assert classifier.batches == [["first"], ["short", "other"], ["x" * 2000]]
        await batcher.stop()

    run(scenario())


@pytest.mark.parametrize(("length", "sizes"), [(8, [128, 2]), (300, [3] * 43 + [1]), (20_000, [1] * 130)])
def test_batch_ends_by_its_tokens(classifier: FakeClassifier, length: int, sizes: list[int]) -> None:
    async def scenario() -> None:
        batcher = started(classifier, Room(10_000_000))
        with classifier.blocked():
            first = asyncio.create_task(batcher.submit(["first"], 60))
            await entered(classifier)
            others = asyncio.create_task(batcher.submit(["x" * length] * 130, 60))
            await queued(batcher, 131)
        await asyncio.gather(first, others)
        came = [len(batch) for batch in classifier.batches[1:]]
        assert sum(came) == 130
        assert max(came) == sizes[0]
        assert sum(count < sizes[0] for count in came) <= 130 * length // 4096 + 1  # the last of each round
        await batcher.stop()

    run(scenario())


def test_texts_are_encoded_while_the_engine_computes(classifier: FakeClassifier) -> None:
    encoded: list[str] = []
    encode = classifier.encode

    def noted(texts: Sequence[str]) -> list[Any]:
        encoded.extend(texts)
        return encode(texts)

    classifier.encode = noted  # type: ignore[method-assign]  # to see when it is called

    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            first = asyncio.create_task(batcher.submit(["first"], 60))
            await entered(classifier)
            small = asyncio.create_task(batcher.submit(["a", "b"], 60))
            while "b" not in encoded:
                await asyncio.sleep(0.001)
            assert not first.done()
            large = asyncio.create_task(batcher.submit(["x" * 100] * 1000, 60))
            while len(encoded) < 43:
                await asyncio.sleep(0.001)
            late = asyncio.create_task(batcher.submit(["late"], 60))  # a large one holds up nobody here either
            while "late" not in encoded:
                await asyncio.sleep(0.001)
            assert encoded.count("x" * 100) < 100  # no further ahead than a round
        await asyncio.gather(first, small, large, late)
        await batcher.stop()

    run(scenario())


def test_text_that_cannot_be_classified_is_answered_without_the_engine(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        answers = await batcher.submit(["", "a", "x" * 20_001], 60)
        assert [getattr(each, "code", None) for each in answers] == ["empty", None, "too_long"]
        assert [getattr(each, "code", None) for each in await batcher.submit([" "], 60)] == ["empty"]
        assert await batcher.submit([], 60) == []
        assert classifier.seen == ["a"]
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
        assert classifier.seen == ["gone"] * 256 + ["after"]
        assert batcher.queued_texts == 0
        await batcher.stop()

    run(scenario())


def test_failure_reaches_every_request_of_the_batch_and_the_next_is_answered(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        with classifier.blocked():
            tasks = [asyncio.create_task(batcher.submit(["a"] * 3000, 60))]
            await entered(classifier)
            classifier.failure = RuntimeError("the engine broke")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes == [classifier.failure]
        assert [len(batch) for batch in classifier.batches] == [1024]  # the rest was dropped
        assert batcher.queued_texts == 0
        classifier.failure = None
        with classifier.blocked():
            tasks = [asyncio.create_task(batcher.submit(["first"], 60))]
            await entered(classifier)
            tasks += [asyncio.create_task(batcher.submit(["a"] * count, 60)) for count in (2, 1)]
            await queued(batcher, 4)
            classifier.failure = RuntimeError("it broke again")
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {str(each) for each in outcomes} == {"it broke again"}
        classifier.failure = None
        assert lengths(await batcher.submit(["abc"], 60)) == [3]
        await batcher.stop()

    run(scenario())


@pytest.mark.parametrize(("rows", "reason"), [(0, "shorter"), (2, "longer")])
def test_wrong_number_of_rows_reaches_the_caller_and_the_next_is_answered(
    classifier: FakeClassifier, rows: int, reason: str
) -> None:
    async def scenario() -> None:
        batcher = started(classifier)
        sound = classifier.run
        classifier.run = lambda _: np.zeros((rows, 1), dtype=np.float32)  # type: ignore[method-assign]
        with pytest.raises(ValueError, match=f"{reason} than argument 1"):
            await batcher.submit(["a"], 60)
        classifier.run = sound  # type: ignore[method-assign]
        assert lengths(await batcher.submit(["ab"], 60)) == [2]
        await batcher.stop()

    run(scenario())


@pytest.mark.parametrize("step", ["encode", "answer"])
def test_failure_of_any_step_reaches_the_caller_and_the_next_is_answered(classifier: FakeClassifier, step: str) -> None:
    def broken(*_: object) -> NoReturn:
        raise RuntimeError("it broke")

    async def scenario() -> None:
        batcher = started(classifier)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(classifier, step, broken)
            with pytest.raises(RuntimeError, match="it broke"):
                await batcher.submit(["a"], 60)
        assert lengths(await batcher.submit(["ab"], 60)) == [2]
        await batcher.stop()

    run(scenario())


def test_request_that_does_not_fit_is_refused_with_the_time_to_wait(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        room = Room(20_000, tokens_per_character=1.0)
        batcher = started(classifier, room)
        with classifier.blocked():
            waiting = [asyncio.create_task(batcher.submit(["a" * 100] * 80, 60)) for _ in "ab"]
            await entered(classifier)
            with pytest.raises(
                OverloadedError, match=r"16,000 tokens are waiting and some 10,000 more do not fit into 20,000"
            ) as caught:
                await batcher.submit(["b" * 100] * 100, 60)
            assert caught.value.retry_after_s == 3  # 6,000 tokens too many at the first guess of 2,000 a second
            waiting.append(asyncio.create_task(batcher.submit(["c" * 100] * 40, 60)))
            await queued(batcher, 200)
        await asyncio.gather(*waiting)
        assert {text[0] for text in classifier.seen} == {"a", "c"}
        assert (batcher.queued_texts, room.tokens) == (0, 0)
        await batcher.stop()

    run(scenario())


def test_request_larger_than_the_room_is_taken_and_leaves_room_for_others(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        room = Room(4000, tokens_per_character=1.0)
        batcher = started(classifier, room)
        with classifier.blocked():
            waiting = [asyncio.create_task(batcher.submit(["a" * 100] * 1000, 60))]
            await entered(classifier)
            assert room.tokens == 2000
            waiting.append(asyncio.create_task(batcher.submit(["b" * 100], 60)))
            await queued(batcher, 1001)
            with pytest.raises(OverloadedError):
                await batcher.submit(["c" * 100] * 1000, 60)
        await asyncio.gather(*waiting)
        assert (batcher.queued_texts, room.tokens) == (0, 0)
        await batcher.stop()

    run(scenario())


def test_room_is_counted_by_the_tokens_that_there_are_once_they_are_known(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        room = Room(100_000, tokens_per_character=0.1)
        batcher = started(classifier, room)
        with classifier.blocked():
            waiting = asyncio.create_task(batcher.submit(["a" * 100] * 20, 60))
            while room.tokens != 2000:  # it was taken for 240
                await asyncio.sleep(0.001)
            assert room.tokens_per_character > 0.2  # and the next is guessed better
        await waiting
        assert room.tokens == 0
        await batcher.stop()

    run(scenario())


def test_room_comes_back_text_by_text(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        room = Room(100_000, tokens_per_character=1.0)
        batcher = started(classifier, room)
        sound = classifier.run
        classifier.run = lambda windows: (time.sleep(0.02), sound(windows))[1]  # type: ignore[method-assign]
        waiting = asyncio.create_task(batcher.submit(["a" * 100] * 100, 60))
        seen = set()
        while not waiting.done():
            await asyncio.sleep(0)
            seen.add(room.texts)
        assert len(seen) > 3
        assert (room.texts, room.tokens) == (0, 0)
        await batcher.stop()

    run(scenario())


def test_queues_that_share_their_room_share_its_limit(classifier: FakeClassifier) -> None:
    async def scenario() -> None:
        room = Room(1000, tokens_per_character=1.0)
        one, other = started(classifier, room), started(FakeClassifier(), room)
        with classifier.blocked():
            waiting = [asyncio.create_task(one.submit(["a" * 100] * 5, 60)) for _ in "ab"]
            await entered(classifier)
            with pytest.raises(OverloadedError, match="1,000 tokens are waiting and some 2 more do not fit into 1,000"):
                await other.submit(["bb"], 60)
        await asyncio.gather(*waiting)
        assert lengths(await other.submit(["bb"] * 2, 60)) == [2, 2]
        assert (room.texts, room.tokens) == (0, 0)
        await one.stop()
        await other.stop()

    run(scenario())


def test_time_to_wait_follows_the_measured_speed(classifier: FakeClassifier) -> None:
    sound = classifier.run

    def slow(windows: Sequence[Any]) -> Any:
        time.sleep(0.05)
        return sound(windows)

    classifier.run = slow  # type: ignore[method-assign]  # 100 tokens in 50 ms: 2,000 a second at most

    async def scenario() -> None:
        batcher = started(classifier, Room(30_000, tokens_per_character=1.0))
        batcher._waiting.computed(10_000_000, 1.0)  # as if it had been a thousand times as fast
        for _ in range(100):
            await batcher.submit(["a" * 100], 60)
        with classifier.blocked():
            waiting = [asyncio.create_task(batcher.submit(["a" * 100] * 150, 60)) for _ in "ab"]
            await entered(classifier)
            with pytest.raises(OverloadedError) as caught:
                await batcher.submit(["b" * 100] * 150, 60)
        assert caught.value.retry_after_s >= 6  # 15,000 tokens at 2,000 a second are 7.5 s; some of the past remains
        for task in waiting:
            task.cancel()
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
        batcher = Batcher(classifier, Room(10))
        with pytest.raises(NotReadyError, match="no model is ready; ask again in a moment"):
            await batcher.submit(["a"], 60)
        batcher.start()
        await batcher.stop()
        await batcher.stop()
        with pytest.raises(NotReadyError, match="no model is ready; ask again in a moment"):
            await batcher.submit(["a"], 60)
        assert (classifier.seen, batcher.queued_texts) == ([], 0)

    run(scenario())
