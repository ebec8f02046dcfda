"""Whether what is asked about still looks like what the model was made of: of the last answers numbers only, no texts.

Knows nothing of HTTP. Kept in memory, for one process and one model: another process has its own, and a new model
begins anew.
"""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from model.artifact import Manifest
from model.classifier import Prediction
from model.errors import UnclassifiableTextError
from model.reading import Reading, reading_rates

__all__ = [
    "DRIFTING_PSI",
    "MIN_ANSWERS",
    "STEADY_PSI",
    "Compared",
    "Drift",
    "DriftReport",
    "Verdict",
    "stability_index",
]

Verdict = Literal["too few", "steady", "shifting", "drifting", "unknown"]

STEADY_PSI = 0.1
"""Stability index under which nothing has changed, by the usual rule of those who watch scores with it."""

DRIFTING_PSI = 0.25
"""Stability index from which it is another population."""

MIN_ANSWERS = 200
"""Answers under which chance alone may look like a shift: with n answers and 4 labels of unchanged shares, n times the
index is about chi-squared with 3 degrees of freedom, under 16.3 in 999 cases of 1,000, and 16.3 / 200 is 0.08."""


@dataclass(frozen=True)
class Compared:
    """A number of the last answers beside the one that its model's manifest holds; None where it is not known."""

    now: float | None
    expected: float | None


@dataclass(frozen=True)
class DriftReport:
    """The last answers beside what the model was made of.

    Attributes:
        model: version that gave the answers.
        answers: how many are counted.
        window: how many are counted at most.
        verdict: `too few` answers to tell; `steady`, `shifting` or `drifting` by the larger index; `unknown` where the
            manifest holds nothing to compare with.
        labels: share of each label, beside that in the training split.
        labels_psi: population stability index of these.
        abstained: share of the answers, beside that in the test split.
        abstained_psi: of these.
        confidence: the mean, beside that in the test split.
        reading: the rates of `model.reading`, beside those of the test split.
    """

    model: str
    answers: int
    window: int
    verdict: Verdict
    labels: dict[str, Compared]
    labels_psi: float | None
    abstained: Compared
    abstained_psi: float | None
    confidence: Compared
    reading: dict[str, Compared]


@dataclass(frozen=True)
class _Seen:
    label: str
    confidence: float
    abstained: bool
    reading: Reading | None


class Drift:
    """The last answers of one model; noted and asked for on the event loop."""

    def __init__(self, manifest: Manifest, window: int) -> None:
        """Begin with no answer.

        Args:
            manifest: of the model that answers.
            window: how many of the last answers count.
        """
        self._manifest = manifest
        self._window = window
        self._seen: deque[_Seen] = deque(maxlen=window)

    def note(self, answers: Sequence[Prediction | UnclassifiableTextError]) -> None:
        """Count a request's answers, as the model gave them: not forced to a stance."""
        self._seen.extend(
            _Seen(each.label, each.confidence, each.abstained, each.reading)
            for each in answers
            if isinstance(each, Prediction)
        )

    def report(self) -> DriftReport:
        """Return the last answers beside what the model was made of."""
        metrics, count = self._manifest.metrics, len(self._seen)
        labels = self._labels()
        answered = _number(metrics, "answered")
        abstained = Compared(self._mean("abstained"), None if answered is None else 1 - answered)
        labels_psi = stability_index(list(labels.values()), count)
        abstained_psi = stability_index([abstained, _rest(abstained)], count)
        return DriftReport(
            model=self._manifest.version,
            answers=count,
            window=self._window,
            verdict=_verdict(count, [each for each in (labels_psi, abstained_psi) if each is not None]),
            labels=labels,
            labels_psi=labels_psi,
            abstained=abstained,
            abstained_psi=abstained_psi,
            confidence=Compared(self._mean("confidence"), _number(metrics, "confidence")),
            reading=self._reading(),
        )

    def _labels(self) -> dict[str, Compared]:
        said = Counter(each.label for each in self._seen)
        trained: Mapping[str, int] = self._manifest.data.get("splits", {}).get("train", {}).get("labels", {})
        return {
            label: Compared(
                said[label] / len(self._seen) if self._seen else None,
                trained.get(label, 0) / sum(trained.values()) if trained else None,
            )
            for label in self._manifest.labels
        }

    def _mean(self, name: str) -> float | None:
        return sum(getattr(each, name) for each in self._seen) / len(self._seen) if self._seen else None

    def _reading(self) -> dict[str, Compared]:
        rates = reading_rates(each.reading for each in self._seen if each.reading is not None) or {}
        tested = self._manifest.metrics.get("reading") or {}
        return {
            name: Compared(rates.get(name), tested.get(name))
            for name in ("unknown_tokens", "tokens_per_word", "tokens")
        }


def _number(metrics: Mapping[str, Any], name: str) -> float | None:
    value = metrics.get(name)
    return None if value is None else float(value)


def _rest(share: Compared) -> Compared:
    return Compared(*(None if each is None else 1 - each for each in (share.now, share.expected)))


def stability_index(shares: Sequence[Compared], answers: int) -> float | None:
    """Return the population stability index, the sum of (a - b) ln(a / b): 0 for equal shares, without an upper bound.

    A share of less than half an answer counts as that, as nobody could have seen it; else one that is 0 would make the
    index infinite.

    Args:
        shares: of every kind; those of now sum to 1, and those that are expected likewise.
        answers: how many those of now are of.

    Returns:
        None where a share is not known.
    """
    total = 0.0
    for each in shares:
        if each.now is None or each.expected is None:
            return None
        least = 0.5 / answers
        here, there = max(each.now, least), max(each.expected, least)
        total += (here - there) * math.log(here / there)
    return total


def _verdict(answers: int, indices: Sequence[float]) -> Verdict:
    if answers < MIN_ANSWERS:
        return "too few"
    if not indices:
        return "unknown"
    largest = max(indices)
    return "steady" if largest < STEADY_PSI else "shifting" if largest < DRIFTING_PSI else "drifting"
