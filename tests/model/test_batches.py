from hypothesis import given
from hypothesis import strategies as st

from model.batches import BATCH_TOKENS, batches_of


@given(st.lists(st.integers(1, 2000), max_size=300))
def test_every_window_is_in_one_batch_of_alike_lengths_within_the_limit(lengths: list[int]) -> None:
    batches = list(batches_of(lengths))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        longest, shortest = max(lengths[place] for place in batch), min(lengths[place] for place in batch)
        assert len(batch) == 1 or len(batch) * longest <= BATCH_TOKENS
        assert 2 * shortest >= longest


def test_windows_of_one_length_fill_their_batches() -> None:
    assert [len(batch) for batch in batches_of([38] * 60)] == [26, 26, 8]
    assert list(batches_of([])) == []
