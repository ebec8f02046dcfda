"""Prints how faithful explanations are: deleting the words that carried a label against deleting words at random.

    .venv/bin/python benchmarks/accuracy/explanations.py [--model fast] [--data data/statements] [--count 200]

Measured on statements of the test split. An explanation that names what the model looks at lowers the label's
probability more, by deleting as many words, than chance does (comprehensiveness, DeYoung et al. 2020,
https://arxiv.org/abs/1911.03429).
"""

import argparse
import random
import statistics
from collections.abc import Sequence
from pathlib import Path

from model.artifact import locate_model
from model.classifier import Classifier, Prediction
from model.explanation import Word, deletions, weigh
from training.corpus import read_statements
from training.split import read_splits

SEED = 17
DRAWS = 5
"""Random deletions of a statement, whose mean is compared."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--data", type=Path, nargs="+", default=[Path("data/statements")])
    parser.add_argument("--splits", type=Path, default=Path("data/splits"))
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    classifier = Classifier.load(locate_model(options.model))
    part_of = read_splits(options.splits)
    tested = [each.text for each in read_statements(options.data, classifier.labels) if part_of.get(each.id) == "test"]
    generator = random.Random(SEED)
    texts = generator.sample(tested, min(options.count, len(tested)))
    print(
        "| words deleted | statements | label less probable by, the carrying words | random words | carrying is more |"
    )
    print("| --- | --- | --- | --- | --- |")
    explained = [(text, *_explain(classifier, text)) for text in texts]
    for count in (1, 2, 3):
        drops = [
            _drops(classifier, text, answer, words, count, generator)
            for text, answer, words in explained
            if len(words) >= count and len(deletions(text)) > 2 * count
        ]
        top, chance = (statistics.fmean(each) for each in zip(*drops, strict=True))
        ahead = statistics.fmean(one > other for one, other in drops)
        print(f"| {count} | {len(drops)} | {top:.3f} | {chance:.3f} | {ahead:.0%} |")


def _classify(classifier: Classifier, texts: Sequence[str]) -> list[Prediction]:
    return [each for each in classifier.classify(texts) if isinstance(each, Prediction)]


def _explain(classifier: Classifier, text: str) -> tuple[Prediction, list[Word]]:
    left = deletions(text)
    full, *rest = _classify(classifier, [text, *(each.text for each in left)])
    return full, weigh(text, full.label, full.probabilities, [
        (each, answer.probabilities) for each, answer in zip(left, rest, strict=True)
    ])  # fmt: skip


def _drops(
    classifier: Classifier, text: str, answer: Prediction, words: Sequence[Word], count: int, generator: random.Random
) -> tuple[float, float]:
    """Return by how much the label is less probable without `count` carrying words, and without random ones."""
    spans = [(each.start, each.end) for each in deletions(text)]
    chosen = [[(each.start, each.end) for each in words[:count]]]
    chosen += [generator.sample(spans, count) for _ in range(DRAWS)]
    told = _classify(classifier, [_without(text, each) for each in chosen])
    drop, *others = (answer.confidence - each.probabilities[answer.label] for each in told)
    return drop, statistics.fmean(others)


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    for start, end in sorted(spans, reverse=True):
        text = f"{text[:start].rstrip()} {text[end:].lstrip()}"
    return text.strip()


if __name__ == "__main__":
    main()
