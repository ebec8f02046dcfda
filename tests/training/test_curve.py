import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tiny import tiny_config, tiny_rows
from training.corpus import Statement
from training.curve import learning_curve, read_curve, sample
from training.errors import CorpusError
from training.split import Split

STATEMENTS = [Statement(**row, source="wire" if index % 3 == 0 else None) for index, row in enumerate(tiny_rows(240))]
SPLIT = Split(STATEMENTS[:160], STATEMENTS[160:200], STATEMENTS[200:])


def test_samples_are_of_their_origin_and_nested() -> None:
    composed, real = (sample(STATEMENTS, origin, 40) for origin in ("composed", "real"))
    assert {each.source for each in composed} == {None}
    assert {each.source for each in real} == {"wire"}
    assert sample(STATEMENTS, "composed", 20) == composed[:20]
    assert {each.id for each in sample(STATEMENTS, "both", None)} == {each.id for each in STATEMENTS}


def test_sample_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(CorpusError, match="expected 81 statements of origin 'real' to train on, came 80"):
        sample(STATEMENTS, "real", 81)
    with pytest.raises(CorpusError, match="expected some statements of origin 'real' to train on, came 0"):
        sample([replace(each, source=None) for each in STATEMENTS], "real", None)


def test_curve_grows_and_is_taken_up_where_it_stopped(tiny_base: Path, tmp_path: Path) -> None:
    config, path = tiny_config(tiny_base), tmp_path / "report" / "curve.jsonl"
    measured = {"test": SPLIT.test}
    first = list(learning_curve(config, SPLIT, [("both", 16)], measured, path))
    rest = list(learning_curve(config, SPLIT, [("both", 16), ("both", None), ("real", 32)], measured, path))
    assert [(point["origin"], point["size"]) for point in [*first, *rest]] == [
        ("both", 16),
        ("both", 160),
        ("real", 32),
    ]
    assert read_curve(path) == [*first, *rest]
    assert rest[0]["macro_f1"]["validation"] > first[0]["macro_f1"]["validation"] + 0.2
    assert set(rest[0]["macro_f1"]) == {"validation", "test"}
    assert (rest[0]["seed"], rest[0]["base"]) == (config.seed, tiny_base.name)


def test_point_is_the_same_when_it_is_computed_again(tiny_base: Path, tmp_path: Path) -> None:
    config = replace(tiny_config(tiny_base), epochs=2)
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        list(learning_curve(config, SPLIT, [("composed", 48)], {}, path))
    assert json.loads(paths[0].read_text()) == json.loads(paths[1].read_text())


def test_point_is_computed_anew_where_a_label_or_a_setting_has_changed(tiny_base: Path, tmp_path: Path) -> None:
    config, path = replace(tiny_config(tiny_base), epochs=1), tmp_path / "curve.jsonl"
    relabelled = replace(SPLIT, train=[replace(each, label="none") for each in SPLIT.train])
    for changed, split in ((config, SPLIT), (config, relabelled), (replace(config, epochs=2), SPLIT), (config, SPLIT)):
        list(learning_curve(changed, split, [("both", None)], {}, path))
    assert len(path.read_text().splitlines()) == 4  # the last is computed again: the point in its place was another


def test_further_set_to_measure_on_or_a_changed_act_computes_a_point_anew_in_place_of_the_old(
    tiny_base: Path, tmp_path: Path
) -> None:
    config, path = replace(tiny_config(tiny_base), epochs=1), tmp_path / "curve.jsonl"
    acted = replace(SPLIT, train=[replace(each, act="x") if each.label == "none" else each for each in SPLIT.train])
    runs = []
    for split, measured in ((SPLIT, {}), (SPLIT, {"test": SPLIT.test}), (acted, {"test": SPLIT.test})):
        runs += list(learning_curve(config, split, [("both", None)], measured, path))
        assert read_curve(path) == runs[-1:]
    assert len({each["run"] for each in runs}) == 3


def test_file_that_is_missing_or_empty_has_no_points(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    assert read_curve(tmp_path / "empty.jsonl") == read_curve(tmp_path / "none.jsonl") == []
