import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import tiny_rows
from training.corpus import Statement
from training.errors import CorpusError
from training.similarity import near_duplicates
from training.split import (
    NEAR_DUPLICATE,
    PARTS,
    Split,
    assign_splits,
    read_splits,
    split_statements,
    write_splits,
)

STATEMENTS = [Statement(**row) for row in tiny_rows(300)]


def _part_of(split: Split) -> dict[str, str]:
    return {each.id: part for part in PARTS for each in getattr(split, part)}


def _with(changes: dict[int, dict[str, str]]) -> list[Statement]:
    return [replace(each, **changes.get(index, {})) for index, each in enumerate(STATEMENTS)]


def test_every_statement_lies_in_one_part_of_about_its_share() -> None:
    split = split_statements(STATEMENTS, 0.1, 0.2)
    assert sorted(each.id for part in PARTS for each in getattr(split, part)) == sorted(s.id for s in STATEMENTS)
    counts = Counter(_part_of(split).values())
    assert 15 <= counts["validation"] <= 45
    assert 40 <= counts["test"] <= 80


def test_hash_of_the_id_decides_so_that_every_run_splits_alike() -> None:
    part_of = _part_of(split_statements(STATEMENTS, 0.1, 0.1))
    # The first eight bytes of sha256("split:tiny-0-000") are 0.43 of 2^64, and so on: 0.14, 0.07, 0.01, 0.19.
    expected = ["train", "validation", "test", "test", "validation"]
    assert [part_of[f"tiny-0-{index:03}"] for index in range(5)] == expected


@settings(max_examples=20)
@given(st.randoms(use_true_random=False))
def test_order_of_the_statements_makes_no_difference(generator: random.Random) -> None:
    shuffled = generator.sample(STATEMENTS, len(STATEMENTS))
    assert split_statements(shuffled, 0.1, 0.1) == split_statements(STATEMENTS, 0.1, 0.1)


def test_new_statements_do_not_move_old_ones() -> None:
    before = _part_of(split_statements(STATEMENTS[:150], 0.1, 0.1))
    after = _part_of(split_statements(STATEMENTS, 0.1, 0.1))
    assert before.items() <= after.items()


def test_larger_share_only_adds_to_a_part() -> None:
    small, large = (split_statements(STATEMENTS, 0.1, share) for share in (0.1, 0.3))
    assert {each.id for each in small.test} < {each.id for each in large.test}


@pytest.mark.parametrize("name", ["group", "document"])
def test_what_has_one_group_or_document_stays_together(name: str) -> None:
    statements = _with({index: {name: f"g{index // 10}"} for index in range(200)})
    part_of = _part_of(split_statements(statements, 0.2, 0.2))
    parts = [{part_of[each.id] for each in statements[start : start + 10]} for start in range(0, 200, 10)]
    assert all(len(part) == 1 for part in parts)
    assert len(set().union(*parts)) == 3


def test_documents_of_two_sources_with_one_name_are_two() -> None:
    changes = {index: {"source": f"s{index}", "document": "1.txt"} for index in range(100)}
    part_of = _part_of(split_statements(_with(changes), 0.2, 0.2))
    assert len({part_of[STATEMENTS[index].id] for index in range(100)}) == 3


def test_group_and_document_of_one_statement_both_tie_it() -> None:
    # Ten statements of a document, each in a contrast group with another outside it: all twenty are tied.
    changes = {index: {"document": "d", "group": f"g{index}"} for index in range(10)}
    changes |= {index + 10: {"group": f"g{index}"} for index in range(10)}
    part_of = _part_of(split_statements(_with(changes), 0.2, 0.2))
    assert len({part_of[STATEMENTS[index].id] for index in range(20)}) == 1


def test_near_duplicates_stay_together_even_in_a_chain() -> None:
    # Each copy changes one word more of its forerunner: neighbours are alike, the first and the last are not.
    words = [f"w{index}" for index in range(30)]
    chain = []
    for index in range(30):
        words[index] = f"x{index}"
        chain.append(Statement(f"chain-{index:02}", " ".join(words), "none"))
    texts = [each.text for each in chain]
    assert (0, 29) not in {(i, j) for i, j, _ in near_duplicates(texts, NEAR_DUPLICATE)}
    part_of = _part_of(split_statements([*STATEMENTS, *chain], 0.2, 0.2))
    assert len({part_of[each.id] for each in chain}) == 1


def test_no_near_duplicate_spans_two_parts() -> None:
    generator = random.Random(3)
    words = [word for each in STATEMENTS[:4] for word in each.text.rstrip(".").split()]
    crowded = [Statement(f"c{i}", " ".join(generator.sample(words[:6], 5)), "none") for i in range(200)]
    part_of = _part_of(split_statements([*STATEMENTS, *crowded], 0.2, 0.2))
    kept = [each for each in [*STATEMENTS, *crowded] if each.id in part_of]
    pairs = near_duplicates([each.text for each in kept], NEAR_DUPLICATE)
    assert len(pairs) > 20
    assert all(part_of[kept[i].id] == part_of[kept[j].id] for i, j, _ in pairs)


def test_text_that_comes_twice_with_one_label_is_kept_once() -> None:
    repeated = replace(STATEMENTS[0], id="zz", text=f" {STATEMENTS[0].text.replace(' ', '  ')} ")
    part_of = _part_of(split_statements([repeated, *STATEMENTS], 0.1, 0.1))
    assert STATEMENTS[0].id in part_of
    assert "zz" not in part_of


def test_text_with_two_labels_is_refused() -> None:
    other = replace(STATEMENTS[0], id="zz", label="none")
    with pytest.raises(CorpusError, match=r"'tiny-0-000' and 'zz' are the same text with the labels esc.* and none"):
        split_statements([*STATEMENTS, other], 0.1, 0.1)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_statements_are_refused(count: int) -> None:
    with pytest.raises(CorpusError, match=f"{count} statements are too few to split: the .* part is empty"):
        split_statements(STATEMENTS[:count], 0.1, 0.1)


def test_one_group_of_all_statements_is_refused() -> None:
    statements = [replace(each, group="g") for each in STATEMENTS]
    with pytest.raises(CorpusError, match=r"300 statements are too few to split: the .* and the .* part is empty; add"):
        split_statements(statements, 0.1, 0.1)


def test_known_part_of_a_statement_stands() -> None:
    known = {each.id: PARTS[index % 3] for index, each in enumerate(STATEMENTS[:90])}
    part_of = _part_of(split_statements(STATEMENTS, 0.1, 0.1, known))
    assert known.items() <= part_of.items()
    hashed = _part_of(split_statements(STATEMENTS, 0.1, 0.1))
    rest = {each.id for each in STATEMENTS[90:]}
    assert {id_: part_of[id_] for id_ in rest} == {id_: hashed[id_] for id_ in rest}


def test_new_statement_joins_the_part_of_what_it_is_tied_to() -> None:
    statements = [*_with({0: {"group": "g"}}), Statement("new", "Something else altogether.", "none", group="g")]
    for part in PARTS:
        assert _part_of(split_statements(statements, 0.1, 0.1, {"tiny-0-000": part}))["new"] == part


def test_new_statement_tied_to_two_parts_is_left_out() -> None:
    bridge = Statement("new", "Something else altogether.", "none", group="g", document="d")
    statements = [*_with({0: {"group": "g"}, 1: {"document": "d"}}), bridge]
    part_of = _part_of(split_statements(statements, 0.1, 0.1, {"tiny-0-000": "train", "tiny-0-001": "test"}))
    assert (part_of["tiny-0-000"], part_of["tiny-0-001"]) == ("train", "test")
    assert "new" not in part_of


def test_assigned_parts_are_a_tenth_each_with_the_shares_of_label_and_origin() -> None:
    real = {index: {"source": "wire", "document": f"d{index // 3}"} for index in range(150)}
    statements = _with(real)
    part_of = assign_splits(statements, {}, 10, 17)
    assert part_of.keys() == {each.id for each in statements}
    counts = Counter((part_of[each.id], each.label, each.source) for each in statements)
    for label in {each.label for each in statements}:
        for source in ("wire", None):
            assert 2 <= counts["test", label, source] <= 6
            assert 2 <= counts["validation", label, source] <= 6
    documents = {index: part_of[STATEMENTS[index].id] for index in range(150)}
    assert all(len({documents[index] for index in range(start, start + 3)}) == 1 for start in range(0, 150, 3))


def test_assigning_again_moves_nothing_and_keeps_ties() -> None:
    before = assign_splits(STATEMENTS[:200], {}, 10, 17)
    new = replace(STATEMENTS[250], group="g")
    old = replace(STATEMENTS[0], group="g")
    after = assign_splits([old, *STATEMENTS[1:250], new, *STATEMENTS[251:]], before, 10, 17)
    assert before.items() <= after.items()
    assert after[new.id] == before[old.id]
    assert len(after) == 300


@pytest.mark.parametrize("new", [0, 1, 12])
def test_few_new_statements_are_assigned_by_hash(new: int) -> None:
    known = assign_splits(STATEMENTS[:200], {}, 10, 17)
    hashed = _part_of(split_statements(STATEMENTS[: 200 + new], 0.1, 0.1))
    fresh = {each.id: hashed[each.id] for each in STATEMENTS[200 : 200 + new]}
    assert assign_splits(STATEMENTS[: 200 + new], known, 10, 17) == known | fresh


def test_split_files_give_back_what_was_written(tmp_path: Path) -> None:
    part_of = {"a": "train", "c": "test", "b": "validation", "d": "train"}
    write_splits(tmp_path / "splits", part_of)
    assert (tmp_path / "splits" / "train.txt").read_text() == "a\nd\n"
    assert read_splits(tmp_path / "splits") == part_of


def test_id_in_two_split_files_is_refused(tmp_path: Path) -> None:
    write_splits(tmp_path, {"a": "train", "b": "test"})
    (tmp_path / "test.txt").write_text("a\n")
    with pytest.raises(CorpusError, match=r"test\.txt: 'a' stands in train\.txt as well"):
        read_splits(tmp_path)


def test_missing_split_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no file .*train\.txt: expected train\.txt, validation\.txt and test\.txt"):
        read_splits(tmp_path)


def test_repeat_of_a_tested_text_does_not_move_it_to_training() -> None:
    known = {each.id: PARTS[index % 3] for index, each in enumerate(STATEMENTS)}
    repeats = [replace(each, id=f"0{each.id}") for each in STATEMENTS[:30]]  # ids that sort before
    part_of = _part_of(split_statements([*repeats, *STATEMENTS], 0.1, 0.1, known))
    assert part_of == known
