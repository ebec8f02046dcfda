"""Checks of the project's own corpus: what data/README.md promises of it, a program holds it to."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline

from model.labels import LABELS, normalise_text
from training.config import FitConfig
from training.corpus import (
    CONFRONTATIONS,
    ERAS,
    EXPLICITNESS,
    REGIONS,
    REGISTERS,
    SPEAKERS,
    Statement,
    read_statements,
)
from training.similarity import near_duplicates
from training.split import NEAR_DUPLICATE, split_statements

__all__ = ["GRID", "check_corpus", "cue_pipeline", "cue_score"]

_MAX_OPENING_SHARE = 0.01
_MAX_IMBALANCE = 0.02
_WORDS = (3, 75)
_GROUP_SIZES = range(2, 5)
_MAX_MEDIAN_LENGTH_RATIO = 1.25
# Near duplicates, as `training.similarity` returns them: two indices and the overlap.
_Pairs = Sequence[tuple[int, int, float]]

GRID = {  # fields of a composed statement, and what each may be
    "region": REGIONS,
    "era": ERAS,
    "register": REGISTERS,
    "confrontation": CONFRONTATIONS,
    "speaker": SPEAKERS,
    "explicitness": EXPLICITNESS,
}


def check_corpus(paths: Sequence[Path], known: Mapping[str, str] | None = None) -> tuple[list[str], list[str]]:
    """Return what is wrong with a corpus, and a description of it, each as lines for a person.

    Args:
        paths: files and folders of statements.
        known: the part of each statement that has one, as `training.split.read_splits` returns it.

    Raises:
        CorpusError: a line breaks the schema.
    """
    statements = read_statements(paths, LABELS)
    alike = near_duplicates([each.text for each in statements], NEAR_DUPLICATE)
    problems = [problem for check in _CHECKS for problem in check(statements)]
    problems += [*_check_duplicates(statements, alike), *_check_leaks(statements, alike, known or {})]
    return problems, _describe(statements)


def _check_fields(statements: Sequence[Statement]) -> Iterator[str]:
    for statement in statements:
        if statement.act is None:
            yield f"{statement.id}: expected an act, came none"
        for name, values in GRID.items():
            if (came := getattr(statement, name)) not in values:
                yield f"{statement.id}: expected {name} to be one of {', '.join(values)}, came {came!r}"
        words = len(statement.text.split())
        if not _WORDS[0] <= words <= _WORDS[1]:
            yield f"{statement.id}: expected {_WORDS[0]} to {_WORDS[1]} words, came {words}"
        if normalise_text(statement.text) != statement.text:
            yield f"{statement.id}: expected NFC and single spaces; write {normalise_text(statement.text)!r}"


def _check_duplicates(statements: Sequence[Statement], alike: _Pairs) -> Iterator[str]:
    first: dict[str, str] = {}
    for statement in statements:
        text = normalise_text(statement.text).casefold()
        if (earlier := first.setdefault(text, statement.id)) != statement.id:
            yield f"{statement.id} repeats {earlier}"
    for i, j, overlap in alike:
        one, other = statements[i], statements[j]
        # The members of a contrast group are meant to be alike, and are kept in one split.
        if one.group is None or one.group != other.group:
            yield f"{one.id} and {other.id} share {overlap:.0%} of their word triples; rewrite or drop one"


def _check_groups(statements: Sequence[Statement]) -> Iterator[str]:
    groups: dict[str, list[Statement]] = {}
    for statement in statements:
        if statement.group is not None:
            groups.setdefault(statement.group, []).append(statement)
    for name, members in groups.items():
        if len(members) not in _GROUP_SIZES:
            yield f"group {name}: expected 2 to 4 statements, came {len(members)}"
        if len({member.label for member in members}) < 2:
            yield f"group {name}: expected at least two labels, came only {members[0].label}"


def _check_leaks(statements: Sequence[Statement], alike: _Pairs, known: Mapping[str, str]) -> Iterator[str]:
    config = FitConfig()
    split = split_statements(statements, config.validation_share, config.test_share, known)
    part_of = {each.id: name for name in ("train", "validation", "test") for each in getattr(split, name)}
    part_of_group: dict[str, str] = {}
    for statement in statements:
        part = part_of.get(statement.id)
        if statement.group is not None and part is not None and part_of_group.setdefault(statement.group, part) != part:
            yield f"group {statement.group} spans the splits {part_of_group[statement.group]} and {part}"
    for i, j, overlap in alike:
        one, other = statements[i].id, statements[j].id
        if one in part_of and other in part_of and part_of[one] != part_of[other]:
            yield f"{one} in {part_of[one]} and {other} in {part_of[other]} share {overlap:.0%} of their word triples"


def _check_openings(statements: Sequence[Statement]) -> Iterator[str]:
    openings = Counter(" ".join(each.text.casefold().split()[:2]) for each in statements)
    allowed = max(2, int(len(statements) * _MAX_OPENING_SHARE))
    for opening, count in openings.most_common():
        if count > allowed:
            yield f"{count} statements begin with {opening!r}; expected at most {allowed}, 1% of {len(statements)}"


def _check_balance(statements: Sequence[Statement]) -> Iterator[str]:
    counts = Counter(each.label for each in statements)
    lengths = {label: _median_words(statements, label) for label in LABELS if counts[label]}
    for label in LABELS:
        share = counts[label] / len(statements)
        if abs(share - 1 / len(LABELS)) > _MAX_IMBALANCE:
            yield f"{label} has {share:.1%} of the statements; expected within 2 points of {1 / len(LABELS):.0%}"
    if max(lengths.values()) > _MAX_MEDIAN_LENGTH_RATIO * min(lengths.values()):
        yield f"the length gives the label away: median words {lengths}; expected them within 25% of each other"


def _median_words(statements: Sequence[Statement], label: str) -> float:
    return median(len(each.text.split()) for each in statements if each.label == label)


_CHECKS = (_check_fields, _check_groups, _check_openings, _check_balance)


def cue_pipeline() -> Pipeline:
    """Return the unfitted bag of words: single words and word pairs, weighted by rarity, under logistic regression."""
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(max_iter=1000, C=5.0)
    )


def cue_score(statements: Sequence[Statement]) -> float:
    """Return the macro-F1 that single words and word pairs reach alone, cross-validated with groups kept together.

    The higher, the more the words give the label away without the sense.
    """
    texts, gold = [each.text for each in statements], [each.label for each in statements]
    groups = [each.group or each.id for each in statements]
    said = cross_val_predict(cue_pipeline(), texts, gold, groups=groups, cv=GroupKFold(5))
    return float(f1_score(gold, said, average="macro"))


def _describe(statements: Sequence[Statement]) -> list[str]:
    grouped = sum(each.group is not None for each in statements)
    lines = [
        f"{len(statements)} statements, {grouped / len(statements):.0%} of them in "
        f"{len({each.group for each in statements} - {None})} contrast groups; macro-F1 of a bag of words alone "
        f"{cue_score(statements):.3f}",
        "",
        "| label | statements | median words | acts |",
        "| --- | --- | --- | --- |",
    ]
    for label in LABELS:
        acts = Counter(each.act for each in statements if each.label == label)
        shown = ", ".join(f"{act} {count}" for act, count in acts.most_common())
        words = _median_words(statements, label) if acts else 0
        lines.append(f"| {label} | {acts.total()} | {words:.0f} | {shown} |")
    for name in GRID:
        lines += ["", f"| {name} | " + " | ".join(LABELS) + " |", "|" + " --- |" * (len(LABELS) + 1)]
        counts = Counter((getattr(each, name), each.label) for each in statements)
        for value in sorted({str(getattr(each, name)) for each in statements}):
            lines.append(f"| {value} | " + " | ".join(str(counts[value, label]) for label in LABELS) + " |")
    return lines
