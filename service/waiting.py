"""What waits for the engine, and whose turn it is: texts, then the windows that they were encoded to.

Every request in turn gives one text to the tokenizer and one window to the engine, so that a large one cannot hold up
small ones. Knows nothing of threads and event loops: whoever uses it from several threads holds the room's lock.
"""

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
import numpy.typing as npt

from model.batches import BATCH_TOKENS, batches_of
from model.classifier import MAX_CHARACTERS, Encoded, Prediction
from model.errors import UnclassifiableTextError
from service.errors import OverloadedError

__all__ = ["ROUND_TOKENS", "Answer", "Job", "Room", "Text", "Waiting", "Window"]

Answer = Prediction | UnclassifiableTextError

ROUND_TOKENS = 4 * BATCH_TOKENS
"""Tokens that are taken at once and sorted by length: what comes meanwhile waits until they are computed."""

_ENCODE_CHARACTERS = 4 * BATCH_TOKENS  # encoded before anybody looks again whose turn it is: about a batch


@dataclass
class Room:
    """How many tokens may wait at once, in one queue or in several that share it, and the lock of them all.

    A request counts for no more than half of it: so the largest is not refused for ever, and leaves room for others.

    Attributes:
        max_tokens: that may wait.
        tokens: that were accepted and are not answered yet; of a text that is not encoded yet, as many as it may have.
        texts: that were accepted and are not answered yet.
        tokens_per_character: of the texts so far.
    """

    max_tokens: int
    tokens: int = 0
    texts: int = 0
    tokens_per_character: float = 0.25
    lock: threading.Lock = field(default_factory=threading.Lock)

    def share(self, tokens: int) -> int:
        """Return what a request of so many tokens counts for."""
        return min(tokens, self.max_tokens // 2)


@dataclass(eq=False)
class Job:
    """One request.

    Attributes:
        texts: of it.
        deadline: by `monotonic`.
        answers: of those of its texts that are answered, by their places.
        is_over: it is answered, cancelled or failed, and nothing more of it is computed.
    """

    texts: Sequence[str]
    deadline: float = math.inf
    answers: dict[int, Answer] = field(default_factory=dict)
    is_over: bool = False
    _rate: float = 0.0  # tokens a character, as it was guessed when it came
    _begun: int = 0  # texts that were taken to be encoded
    _tokens: int = 0  # not answered yet
    _ready: deque["Window"] = field(default_factory=deque)
    _ready_tokens: int = 0

    @property
    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.is_over and monotonic() < self.deadline


@dataclass(eq=False)
class Text:
    """One encoded text of a request, and the logits of those of its windows that were computed."""

    job: Job
    place: int
    encoded: Encoded
    rows: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    @property
    def logits(self) -> npt.NDArray[np.float32] | None:
        """Those of all its windows in order, shape (windows, outputs); None before the last is computed."""
        count = len(self.encoded.windows)
        return np.stack([self.rows[rank] for rank in range(count)]) if len(self.rows) == count else None


@dataclass(frozen=True, eq=False)
class Window:
    """One window of a text, which the engine may compute."""

    text: Text
    rank: int

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """Its tokens, shape (tokens,)."""
        return self.text.encoded.windows[self.rank]


class Waiting:
    """The requests of one queue that are not answered yet."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.jobs: set[Job] = set()
        self._unencoded: deque[Job] = deque()  # with texts that were not taken yet
        self._ready: deque[Job] = deque()  # with windows that were not taken yet
        # Of the last batches, the older the less; at first a guess.
        self._computed_tokens, self._computed_s = 2000.0, 1.0

    @property
    def tokens_per_s(self) -> float:
        """The measured speed."""
        return self._computed_tokens / self._computed_s

    def computed(self, tokens: int, seconds: float) -> None:
        """Measure: so many tokens took so long."""
        self._computed_tokens = 0.9 * self._computed_tokens + tokens
        self._computed_s = 0.9 * self._computed_s + max(seconds, 1e-6)

    def add(self, job: Job) -> None:
        """Accept a request.

        Raises:
            OverloadedError: there is no room for it now.
        """
        job._rate = self.room.tokens_per_character
        tokens = sum(_guess(job, place) for place in range(len(job.texts)))
        excess = self.room.tokens + self.room.share(tokens) - self.room.max_tokens
        if excess > 0:
            wait_s = max(1, math.ceil(excess / self.tokens_per_s))
            raise OverloadedError(
                f"{self.room.tokens:,} tokens are waiting and some {tokens:,} more do not fit into "
                f"{self.room.max_tokens:,}; ask again after {wait_s} s.",
                retry_after_s=wait_s,
            )
        self.room.texts += len(job.texts)
        self._set_tokens(job, tokens)
        self.jobs.add(job)
        self._unencoded.append(job)

    def answer(self, job: Job, place: int, answer: Answer, encoded: Encoded | None) -> None:
        """Note the answer of a text; `encoded` is None for one that cannot be."""
        job.answers[place] = answer
        if job in self.jobs:
            self.room.texts -= 1
            self._set_tokens(job, job._tokens - (_guess(job, place) if encoded is None else encoded.tokens))

    def end(self, job: Job) -> None:
        """Forget a request, whether it is answered or not."""
        job.is_over = True
        if job in self.jobs:
            self.jobs.remove(job)
            self.room.texts -= len(job.texts) - len(job.answers)
            self._set_tokens(job, 0)

    @property
    def has_texts(self) -> bool:
        """Whether there is a text to encode; a request is encoded no further ahead than one round."""
        return any(job._ready_tokens < ROUND_TOKENS for job in self._unencoded)

    @property
    def has_windows(self) -> bool:
        """Whether there is a window to compute."""
        return bool(self._ready)

    def take_texts(self) -> list[tuple[Job, int]]:
        """Take a text of each request in turn, by their places; about a batch."""
        taken: list[tuple[Job, int]] = []
        characters = passed = 0
        while self._unencoded and characters < _ENCODE_CHARACTERS and passed < len(self._unencoded):
            job = self._unencoded.popleft()
            if not job.is_wanted:
                continue
            if job._ready_tokens >= ROUND_TOKENS:
                passed += 1
            else:
                passed = 0
                characters += len(job.texts[job._begun])
                taken.append((job, job._begun))
                job._begun += 1
            if job._begun < len(job.texts):
                self._unencoded.append(job)
        return taken

    def put(self, job: Job, place: int, encoded: Encoded) -> None:
        """Let the windows of a text be computed."""
        text = Text(job, place, encoded)
        if not job._ready:
            self._ready.append(job)
        job._ready.extend(Window(text, rank) for rank in range(len(encoded.windows)))
        job._ready_tokens += encoded.tokens
        if job in self.jobs:
            self._set_tokens(job, job._tokens + encoded.tokens - _guess(job, place))
        seen = encoded.tokens / len(job.texts[place])
        self.room.tokens_per_character += 0.01 * (seen - self.room.tokens_per_character)

    def take_batches(self) -> list[list[Window]]:
        """Take a window of each request in turn, a round of them; those of alike lengths together, the first first."""
        taken: list[Window] = []
        tokens = 0
        while self._ready and tokens < ROUND_TOKENS:
            job = self._ready.popleft()
            if not job.is_wanted:
                job._ready.clear()
                job._ready_tokens = 0
                continue
            taken.append(window := job._ready.popleft())
            tokens += len(window.ids)
            job._ready_tokens -= len(window.ids)
            if job._ready:
                self._ready.append(job)
        # By the turn of the first of each: who has waited longest is not last.
        return [[taken[turn] for turn in batch] for batch in sorted(batches_of([len(w.ids) for w in taken]), key=min)]

    def _set_tokens(self, job: Job, tokens: int) -> None:
        before, job._tokens = job._tokens, max(0, tokens)
        self.room.tokens += self.room.share(job._tokens) - self.room.share(before)


def _guess(job: Job, place: int) -> int:
    """Return how many tokens a text may have; one that is too long is never computed."""
    return math.ceil(min(len(job.texts[place]), MAX_CHARACTERS) * job._rate)
