"""The head of a shipped version learns a correction in a moment, and the gate stands between it and the users."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import training.features
from model.artifact import MANIFEST, read_manifest, verify_files, write_manifest
from model.classifier import NETWORK, Classifier, Prediction
from model.labels import LABELS, text_digest
from tests.tiny import cue_words, tiny_rows, write_rows
from tests.training.variants import exam_files
from training.__main__ import main
from training.corpus import Statement, read_statements
from training.errors import CorpusError, NetworkError, OutputError
from training.features import ShippedEncoder
from training.gate import judge
from training.limits import GateLimits
from training.own import add_own, is_held_out, read_own
from training.provenance import Provenance
from training.quick import quick
from training.split import Split
from training.verdict import Verdict

LIMITS = GateLimits(plain_statements=tuple((" ".join(cue_words(label)), label) for label in LABELS))


@pytest.fixture(scope="module")
def shipped(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped") / "shipped"
    assert main(["release", "--model", str(tiny_model), "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def corpus(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], Path]:
    """The tiny corpus to train on, and 400 more statements that are tested."""
    folder = tmp_path_factory.mktemp("exam")
    exam, splits = exam_files(folder, tiny_rows(400, seed=11))
    for part in ("train", "validation"):
        rows = [json.loads(line) for line in tiny_corpus.read_text(encoding="utf-8").splitlines()]
        ids = [row["id"] for place, row in enumerate(rows) if (place // 4 % 5 == 0) == (part == "validation")]
        with (splits / f"{part}.txt").open("a", encoding="utf-8") as stream:
            stream.write("".join(f"{id_}\n" for id_ in ids))
    return [tiny_corpus, exam], splits


def _new_kind(count: int = 200) -> list[dict[str, str]]:
    """Statements in words that no training has shown to the network: they deter."""
    return [row | {"label": "deterrent", "source": "labelled"} for row in tiny_rows(count, ("hawkish",), seed=21)]


def _mislabelled(count: int = 200) -> list[dict[str, str]]:
    rows = tiny_rows(count, seed=31)
    return [row | {"label": LABELS[(LABELS.index(row["label"]) + 1) % 4], "source": "labelled"} for row in rows]


def _judge(challenger: Path, champion: Path, corpus: tuple[list[Path], Path], own: Path) -> Verdict:
    return judge(challenger, champion, corpus[0], corpus[1], [own], LIMITS)


def test_corrected_kind_is_answered_right_and_passes_the_gate(
    shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path
) -> None:
    own = write_rows(tmp_path / "own.jsonl", _new_kind())
    quick(shipped, corpus[0], tmp_path / "new", cache, [own], corpus[1], "new")
    held_out = [row["text"] for row in _new_kind() if is_held_out(row["text"])]
    before, after = (_share_deterrent(folder, held_out) for folder in (shipped, tmp_path / "new"))
    assert before < 0.5
    assert after > 0.9
    verdict = _judge(tmp_path / "new", shipped, corpus, own)
    assert [check for check in verdict.checks if not check.passed] == []
    assert verdict.statements["own"] == len(held_out)


def _share_deterrent(folder: Path, texts: list[str]) -> float:
    answers = Classifier.load(folder).classify(texts)
    return sum(isinstance(each, Prediction) and each.label == "deterrent" for each in answers) / len(texts)


def test_mislabelled_statements_make_a_challenger_that_is_refused(
    shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path
) -> None:
    own = write_rows(tmp_path / "own.jsonl", _mislabelled())
    quick(shipped, corpus[0], tmp_path / "new", cache, [own], corpus[1], "new")
    verdict = _judge(tmp_path / "new", shipped, corpus, own)
    assert not verdict.promoted
    failed = {check.name: check.numbers for check in verdict.checks if not check.passed}
    assert failed["macro-F1, test split"]["gain_95"][0] < -0.01


def test_version_is_whole_and_says_what_it_was_refitted_from(
    shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path
) -> None:
    own = write_rows(tmp_path / "own.jsonl", _new_kind(50))
    written = quick(shipped, corpus[0], tmp_path / "new", cache, [own], corpus[1])
    manifest = read_manifest(tmp_path / "new")
    assert manifest == written
    verify_files(tmp_path / "new", manifest)
    assert set(manifest.files) >= {"README.md", "report/README.md", "statements.json", "model.onnx", "tokenizer.json"}
    assert manifest.training["refitted"]["from"] == "tiny-1"
    assert manifest.version != "tiny-1"
    assert manifest.metrics["statements"] == 398
    held_out = sum(is_held_out(row["text"]) for row in _new_kind(50))
    assert manifest.data["own"] == {"trained": 50 - held_out, "left_out": 0, "held_out": held_out}
    assert "Only its last layer was fitted anew, from version tiny-1" in (tmp_path / "new" / "README.md").read_text()
    learnt = Provenance.read(tmp_path / "new").learnt_digests
    assert learnt is not None
    assert learnt >= (Provenance.read(shipped).learnt_digests or set())
    told = {text_digest(row["text"]): is_held_out(row["text"]) for row in _new_kind(50)}
    assert {digest for digest in told if digest in learnt} == {digest for digest, held in told.items() if not held}


def test_scores_are_those_of_the_network_that_is_written(
    shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path
) -> None:
    manifest = quick(shipped, corpus[0], tmp_path / "new", cache, splits=corpus[1])
    classifier = Classifier.load(tmp_path / "new")
    ids = set(Provenance.read(tmp_path / "new").ids["test"])
    tested = [each for each in read_statements(corpus[0], LABELS) if each.id in ids]
    said = classifier.classify([each.text for each in tested])
    right = [
        isinstance(answer, Prediction) and answer.label == each.label for answer, each in zip(said, tested, strict=True)
    ]
    assert manifest.metrics["accuracy"] == pytest.approx(np.mean(right), abs=1e-4)
    assert manifest.parity["max_difference"] <= 1e-4


def test_second_run_computes_only_new_texts_and_so_does_one_from_its_successor(
    shipped: Path, corpus: tuple[list[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    compute = training.features._Reader.features

    def count(self: training.features._Reader, statements: list[Statement]) -> list[training.features.Features]:
        computed.append(len(statements))
        return compute(self, statements)

    monkeypatch.setattr(training.features._Reader, "features", count)
    quick(shipped, corpus[0], tmp_path / "first", tmp_path / "cache", splits=corpus[1])
    assert computed == [600]
    own = write_rows(tmp_path / "own.jsonl", rows := _new_kind(50))
    quick(tmp_path / "first", corpus[0], tmp_path / "second", tmp_path / "cache", [own], corpus[1])
    assert computed == [600, sum(not is_held_out(row["text"]) for row in rows)]
    quick(tmp_path / "second", corpus[0], tmp_path / "third", tmp_path / "cache", [own], corpus[1])
    assert len(computed) == 2


def test_cache_that_cannot_be_read_is_computed_anew(shipped: Path, tmp_path: Path) -> None:
    encoder = ShippedEncoder.open(shipped)
    statements = [Statement(**row) for row in tiny_rows(5)]
    before = encoder.read(statements, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"cut short")
    after = encoder.read(statements, tmp_path)
    assert all(np.array_equal(one.rows, other.rows) for one, other in zip(before, after, strict=True))
    assert file.stat().st_size > 100


def test_answers_from_features_are_those_of_the_classifier_windows_included(shipped: Path, tmp_path: Path) -> None:
    texts = [" ".join(cue_words(label) * 90) for label in LABELS] + [row["text"] for row in tiny_rows(40, seed=3)]
    statements = [Statement(str(place), text, "none") for place, text in enumerate(texts)]
    encoder = ShippedEncoder.open(shipped)
    answers = encoder.answers(encoder.read(statements, tmp_path))
    for answer, expected in zip(answers, Classifier.load(shipped).classify(texts), strict=True):
        assert isinstance(expected, Prediction)
        assert (answer.label, answer.windows, answer.acts) == (expected.label, expected.windows, expected.acts)
        assert list(answer.probabilities.values()) == pytest.approx(list(expected.probabilities.values()), abs=1e-5)
    assert answers[0].windows > 1


def test_network_without_such_a_head_is_refused(
    shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(shipped, tmp_path / "other"))
    network = onnx.load(other / NETWORK)
    (node,) = (node for node in network.graph.node if "act_logits" in node.output)
    node.op_type = "MatMul"
    onnx.save(network, other / NETWORK)
    write_manifest(other, replace(read_manifest(other), files={}))
    with pytest.raises(NetworkError, match=r"expected a Gemm node with stored weight and bias .* came a MatMul node"):
        quick(other, corpus[0], tmp_path / "new", cache)
    assert not (tmp_path / "new").exists()


def test_nothing_is_overwritten(shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(OutputError, match="expected a new or an empty folder"):
        quick(shipped, corpus[0], tmp_path, cache)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_verdict_that_is_asked_for_is_that_of_the_gate(
    shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = write_rows(tmp_path / "own.jsonl", _new_kind())
    statements = ["--data", *map(str, corpus[0]), "--splits", str(corpus[1]), "--own", str(own), "--cache", str(cache)]
    made, said = tmp_path / "new", tmp_path / "verdict.json"
    refit = ["quick", "--model", str(shipped), "--out", str(made), "--verdict", str(said), *statements]
    assert main(refit) == 0
    capsys.readouterr()
    main(["gate", str(made), "--champion", str(shipped), "--json", *statements])
    assert json.loads(said.read_text(encoding="utf-8")) == json.loads(capsys.readouterr().out)


def test_run_that_was_killed_leaves_nothing_that_stops_the_next(
    shipped: Path, cache: Path, corpus: tuple[list[Path], Path], tmp_path: Path
) -> None:
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / NETWORK).write_bytes(b"left")
    quick(shipped, corpus[0], tmp_path / "new", cache, splits=corpus[1])
    assert (tmp_path / "new" / MANIFEST).is_file()
    assert not (tmp_path / "new.part").exists()


def test_own_statement_takes_the_place_of_the_corpus_and_never_of_what_is_measured(tmp_path: Path) -> None:
    rows = tiny_rows(60, seed=41)
    train, validation, test = ([Statement(**row) for row in rows[start : start + 20]] for start in (0, 20, 40))
    mine = [Statement(f"own-{each.id}", each.text, "none", source="labelled") for each in (*train, *validation, *test)]
    path = write_rows(
        tmp_path / "own.jsonl", [{"id": each.id, "text": each.text, "label": each.label} for each in mine]
    )
    split, added = add_own(Split(train, validation, test), own := read_own([path], LABELS))
    held_out = {each.text for each in own.held_out}
    assert 0 < len(held_out) < 30
    assert split.test == test
    assert {each.text for each in split.train} == {each.text for each in train} - held_out
    assert all(each.id.startswith("own-") for each in split.train)
    assert split.train == added
    assert {each.text for each in split.validation} == {each.text for each in validation} - held_out


def test_own_text_with_two_labels_is_refused(tmp_path: Path) -> None:
    row = tiny_rows(1)[0]
    path = write_rows(tmp_path / "own.jsonl", [row, row | {"id": "again", "label": "none"}])
    with pytest.raises(CorpusError, match="are the same text with the labels escalatory and none; keep one"):
        read_own([path], LABELS)


def test_one_in_five_is_held_out_by_its_text_alone() -> None:
    texts = [f"statement {number}" for number in range(2000)]
    held = [is_held_out(text) for text in texts]
    assert 0.17 < sum(held) / len(held) < 0.23
    assert held == [is_held_out(f" {text.replace(' ', '  ')}") for text in texts]
