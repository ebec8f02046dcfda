import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model.labels import ACTS, LABELS
from tests.tiny import tiny_rows, write_rows
from training.check import check_corpus, cue_score
from training.corpus import CONFRONTATIONS, ERAS, EXPLICITNESS, REGIONS, REGISTERS, SPEAKERS, Statement
from training.errors import CorpusError

Rows = list[dict[str, Any]]


def _good() -> Rows:
    """Return a corpus with nothing wrong in it: fifty statements a label, twenty contrast groups of two."""
    rows = tiny_rows(200)
    for index, row in enumerate(rows):
        row["act"] = ACTS[row["label"]][index % 6]
        row["group"] = f"g{index // 2}" if index < 40 else None
        row |= {"region": REGIONS[index % 10], "era": ERAS[index % 5], "register": REGISTERS[index % 15]}
        row |= {"confrontation": CONFRONTATIONS[index % 13], "speaker": SPEAKERS[index % 10]}
        row["explicitness"] = EXPLICITNESS[index % 2]
    return rows


def _problems(rows: Rows, tmp_path: Path) -> list[str]:
    return check_corpus([write_rows(tmp_path / "corpus.jsonl", rows)])[0]


def _set(index: int, **changes: Any) -> Callable[[Rows], None]:
    return lambda rows: rows[index].update(changes)


def _repeat(rows: Rows) -> None:
    rows[104]["text"] = rows[100]["text"].upper()


def _resemble(rows: Rows) -> None:
    words = rows[100]["text"].split()
    rows[104]["text"] = " ".join([*words[:8], "instead."])


def _lengthen(rows: Rows) -> None:
    for index, row in enumerate(rows):
        if row["label"] == "none":
            row["text"] += f" More{index} words{index} here."


def _drop(rows: Rows) -> None:
    rows[:] = [row for index, row in enumerate(rows) if row["label"] != "none" or index < 120]


def _open_alike(rows: Rows) -> None:
    for index in (50, 51, 52):
        rows[index]["text"] = "The Minister " + rows[index]["text"]


def test_good_corpus_has_no_problem(tmp_path: Path) -> None:
    assert _problems(_good(), tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_set(50, act=None), "tiny-0-050: expected an act, came none"),
        (_set(50, region=None), "tiny-0-050: expected region to be one of africa, .*, came None"),
        (_set(50, region="mars"), "tiny-0-050: expected region to be one of africa, .*, came 'mars'"),
        (_set(50, era="1990s"), "tiny-0-050: expected era to be one of pre-1945, .*, came '1990s'"),
        (_set(50, register="tweet"), "tiny-0-050: expected register to be one of archaic, .*, came 'tweet'"),
        (_set(50, text="Two words."), "tiny-0-050: expected 3 to 75 words, came 2"),
        (_set(50, text=" ".join(map(str, range(76)))), "tiny-0-050: expected 3 to 75 words, came 76"),
        (_set(50, text="We  will answer."), "tiny-0-050: expected NFC and single spaces; write 'We will answer.'"),
        (_set(50, text="A cafe\u0301 again."), "tiny-0-050: expected NFC and single spaces; write 'A café again.'"),
        (_repeat, "tiny-0-104 repeats tiny-0-100"),
        (_repeat, "tiny-0-100 and tiny-0-104 share 100% of their word triples; rewrite or drop one"),
        (_resemble, "tiny-0-100 and tiny-0-104 share 67% of their word triples; rewrite or drop one"),
        (_set(50, group="alone"), "group alone: expected 2 to 4 statements, came 1"),
        (_set(4, group="g0"), "group g2: expected 2 to 4 statements, came 1"),
        (_set(1, label="escalatory", act="attack"), "group g0: expected at least two labels, came only escalatory"),
        (_open_alike, "3 statements begin with 'the minister'; expected at most 2, 1% of 200"),
        (_drop, "none has 16.7% of the statements; expected within 2 points of 25%"),
        (_lengthen, "the length gives the label away: median words {.*'none': 13.*}; expected them within 25%"),
    ],
)
def test_problem_is_found_and_named(tmp_path: Path, spoil: Callable[[Rows], None], expected: str) -> None:
    rows = _good()
    spoil(rows)
    pattern = re.escape(expected).replace(r"\.\*", ".*")
    assert [each for each in _problems(rows, tmp_path) if re.match(pattern, each)]


def test_group_of_five_is_too_large(tmp_path: Path) -> None:
    rows = _good()
    for row in rows[60:65]:
        row["group"] = "crowd"
    assert _problems(rows, tmp_path) == ["group crowd: expected 2 to 4 statements, came 5"]


def test_members_of_one_contrast_group_may_be_alike(tmp_path: Path) -> None:
    rows = _good()
    rows[1]["text"] = " ".join([*rows[0]["text"].split()[:8], "instead."])
    assert _problems(rows, tmp_path) == []


def test_leak_between_given_splits_is_found(tmp_path: Path) -> None:
    rows = _good()
    rows[1]["text"] = " ".join([*rows[0]["text"].split()[:8], "instead."])
    known = {row["id"]: ("test", "validation")[index] if index < 2 else "train" for index, row in enumerate(rows)}
    problems, _ = check_corpus([write_rows(tmp_path / "corpus.jsonl", rows)], known)
    assert problems == [
        "group g0 spans the splits test and validation",
        "tiny-0-000 in test and tiny-0-001 in validation share 67% of their word triples",
    ]


def test_label_without_statements_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    rows = [row | {"group": None} for row in _good() if row["label"] != "none"]
    problems, description = check_corpus([write_rows(tmp_path / "corpus.jsonl", rows)])
    assert "none has 0.0% of the statements; expected within 2 points of 25%" in problems
    assert "| none | 0 | 0 |  |" in description


def test_line_that_breaks_the_schema_stops_the_check(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"corpus\.jsonl:200: expected one of the labels"):
        _problems([*_good()[:199], _good()[199] | {"label": "war"}], tmp_path)


def test_description_counts_what_is_there(tmp_path: Path) -> None:
    description = check_corpus([write_rows(tmp_path / "corpus.jsonl", _good())])[1]
    assert re.match(r"200 statements, 20% of them in 20 contrast groups; .* of words alone 0\.\d{3}$", description[0])
    assert "| escalatory | 50 | 10 | attack 17, incite 17, hostility 16 |" in description
    assert "| wire | 3 | 3 | 4 | 3 |" in description
    for name in ("region", "era", "register"):
        assert f"| {name} | " + " | ".join(LABELS) + " |" in description


def test_words_that_give_the_label_away_raise_the_cue_score() -> None:
    telling = [Statement(**row) for row in tiny_rows(200)]
    labels = random.Random(0).sample([each.label for each in telling], len(telling))
    by_chance = [Statement(each.id, each.text, label) for each, label in zip(telling, labels, strict=True)]
    assert cue_score(telling) > 0.8
    assert cue_score(by_chance) < 0.4
