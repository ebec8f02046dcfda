"""Windows to batches: those of alike lengths together, so that little is padded."""

from collections.abc import Iterator, Sequence

__all__ = ["BATCH_TOKENS", "batches_of"]

BATCH_TOKENS = 1024
"""Most tokens of a batch, padding included, unless one window alone has more: 27 statements.

Larger ones are hardly faster a token, and hold up for longer whoever comes next. Of activations a batch needs 1,024
tokens x 1,536 floats, 6 MB, at the widest layer.
"""


def batches_of(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the places of the windows of each batch, the longest windows first; none is shorter than half of another.

    Args:
        lengths: of the windows, in tokens.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        longest = lengths[batch[0]] if batch else 0
        if batch and ((len(batch) + 1) * longest > BATCH_TOKENS or 2 * lengths[place] < longest):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
