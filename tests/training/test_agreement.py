from pathlib import Path

import numpy as np
import pytest

from model.agreement import krippendorff_alpha
from model.labels import LABELS
from tests.tiny import write_rows
from training.agreement import Reading, agreement, agreement_table, read_readings
from training.errors import CorpusError

# The two nominal examples of Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), with his results.
FOUR_READERS = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")


def _counts(readers: tuple[str, ...]) -> np.ndarray:
    values = sorted({value for reader in readers for value in reader} - {"."})
    units = zip(*readers, strict=True)
    return np.array([[unit.count(value) for value in values] for unit in units])


def test_alpha_of_two_readers_is_that_of_the_published_example() -> None:
    # Krippendorff 2011, section B: a coincidence matrix with 12 units and alpha 0.692.
    first, second = "aabbdcccedda", "babbbcccedd" + "d"
    assert krippendorff_alpha(_counts((first, second))) == pytest.approx(0.692, abs=5e-4)


def test_alpha_of_several_readers_with_gaps_is_that_of_the_published_example() -> None:
    assert krippendorff_alpha(_counts(FOUR_READERS)) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_one_for_the_same_and_about_zero_for_chance() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 4, size=(2, 4000))
    eye = np.eye(4, dtype=int)
    assert krippendorff_alpha(eye[first] * 2) == 1.0
    assert krippendorff_alpha(eye[first] + eye[second]) == pytest.approx(0.0, abs=0.02)


def test_alpha_of_one_value_alone_is_undefined() -> None:
    assert krippendorff_alpha(np.array([[2, 0], [2, 0]])) is None


def test_agreement_counts_and_scores_each_value() -> None:
    found = agreement(["none", "none", "deterrent", "none"], ["none", "deterrent", "deterrent", "none"], LABELS)
    assert found.values == ["deterrent", "none"]
    assert found.confusion.tolist() == [[1, 0], [1, 2]]
    assert found.agreed == 0.75
    # With two values each is the other's rest, so all three alphas are one number: 1 - 7 * 2 / (64 - 9 - 25).
    assert found.alpha == pytest.approx(1 - 14 / 30)
    assert found.alpha_of == pytest.approx({"deterrent": 1 - 14 / 30, "none": 1 - 14 / 30})


def test_values_stand_in_order_where_none_are_given() -> None:
    assert agreement(["b", "c"], ["a", "c"]).values == ["a", "b", "c"]


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(CorpusError, match="expected statements that both have read, came none"):
        agreement([], [])


def test_table_shows_counts_shares_and_alphas() -> None:
    lines = agreement_table(agreement(["a", "a", "b"], ["a", "b", "b"])).splitlines()
    assert lines[0] == "3 statements read twice, 66.7% alike; alpha 0.444"
    assert lines[2:] == [
        "| first, then second | a | b | alpha |",
        "| --- | --- | --- | --- |",
        "| a | 1 | 1 | 0.444 |",
        "| b | 0 | 1 | 0.444 |",
    ]


def test_table_says_that_an_alpha_is_undefined() -> None:
    assert "alpha undefined" in agreement_table(agreement(["a"], ["a"]))


def test_readings_take_the_label_from_the_act(tmp_path: Path) -> None:
    rows = [{"id": "1", "act": "warn"}, {"id": "2", "label": "none"}, {"id": "3", "label": "none", "act": "report"}]
    assert read_readings(write_rows(tmp_path / "a.jsonl", rows)) == {
        "1": Reading("deterrent", "warn"),
        "2": Reading("none"),
        "3": Reading("none", "report"),
    }


def test_readings_by_another_codebook_keep_their_acts(tmp_path: Path) -> None:
    rows = [{"id": "1", "label": "hawkish", "act": "boast"}]
    assert read_readings(write_rows(tmp_path / "a.jsonl", rows)) == {"1": Reading("hawkish", "boast")}


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{"id": "1"}], r"a\.jsonl:1: expected an 'id' and a 'label' or an 'act' of the codebook, came"),
        ([{"label": "none"}], "expected an 'id'"),
        ([{"id": "1", "label": "none", "act": "warn"}], "'1' has the label none and the act warn, which is deterrent"),
        ([{"id": "1", "label": "none"}] * 2, r"a\.jsonl:2: '1' was read before; keep one reading"),
    ],
)
def test_bad_readings_are_refused(tmp_path: Path, rows: list[dict[str, str]], reason: str) -> None:
    with pytest.raises(CorpusError, match=reason):
        read_readings(write_rows(tmp_path / "a.jsonl", rows))
