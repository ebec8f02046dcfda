import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import training.fit
from model.artifact import MANIFEST, Manifest, file_digest, file_digests, read_manifest, verify_files
from model.classifier import NETWORK, Classifier, Prediction
from model.errors import ArtifactError
from model.labels import ACTS, LABELS, text_digest
from tests.tiny import cue_words, tiny_config, tiny_rows, write_rows
from training.__main__ import main
from training.card import model_card
from training.corpus import fingerprint, read_statements
from training.errors import BaseWeightsError, CorpusError, OutputError, ParityError
from training.fit import fit
from training.network import MeanPoolClassifier
from training.own import is_held_out
from training.provenance import Provenance
from training.split import split_statements, write_splits

CAMPS = ("hawkish", "dovish", "neutral")


@pytest.fixture(scope="module")
def manifest(tiny_model: Path) -> Manifest:
    return read_manifest(tiny_model)


def _everything_under(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_holds_what_serving_needs_and_the_trained_weights(tiny_model: Path) -> None:
    assert set(_everything_under(tiny_model)) == {
        "README.md",
        "statements.json",
        "manifest.json",
        "model.onnx",
        "report/README.md",
        "report/confusion.svg",
        "report/losses.svg",
        "report/reliability.svg",
        "report/risk.svg",
        "tokenizer.json",
        "transformer/config.json",
        "transformer/model.safetensors",
        "transformer/tokenizer.json",
        "transformer/tokenizer_config.json",
    }


def test_manifest_names_every_file(tiny_model: Path, manifest: Manifest) -> None:
    assert manifest.files == file_digests(tiny_model)
    verify_files(tiny_model, manifest)


def test_manifest_says_how_the_version_was_made(manifest: Manifest, tiny_base: Path) -> None:
    config = tiny_config(tiny_base)
    assert manifest.version == "tiny-1"
    assert manifest.labels == config.labels
    assert (manifest.max_tokens, manifest.window_overlap_tokens) == (256, 32)
    assert manifest.training == json.loads(json.dumps(asdict(config))) | {"base": tiny_base.name}
    assert manifest.base == {"name": tiny_base.name, "sha256": file_digest(tiny_base / "model.safetensors")}
    assert set(manifest.code) == {"version", "commit", "torch"}


def test_manifest_says_what_it_was_trained_on(manifest: Manifest, tiny_corpus: Path) -> None:
    statements = read_statements([tiny_corpus], manifest.labels)
    split = split_statements(statements, 0.1, 0.1)
    assert manifest.data["fingerprint"] == fingerprint(statements)
    for name, part in manifest.data["splits"].items():
        assert part["fingerprint"] == fingerprint(getattr(split, name))
        assert part["statements"] == len(getattr(split, name)) == sum(part["labels"].values())
        assert part["sources"] == {"composed": part["statements"]}
    assert manifest.metrics["statements"] == manifest.parity["statements"] == len(split.test)
    assert manifest.data["absent"] == 0


def test_folder_names_every_statement_of_every_part(tiny_model: Path, manifest: Manifest, tiny_corpus: Path) -> None:
    split = split_statements(read_statements([tiny_corpus], manifest.labels), 0.1, 0.1)
    ids = json.loads((tiny_model / "statements.json").read_text(encoding="utf-8"))
    parts = {part: getattr(split, part) for part in ("train", "validation", "test")}
    digests = ids.pop("digests")
    assert ids == {part: [each.id for each in statements] for part, statements in parts.items()}
    assert digests == {part: sorted(text_digest(each.text) for each in parts[part]) for part in parts}


def test_own_statements_are_trained_on_but_for_those_held_out(
    tiny_base: Path, tiny_corpus: Path, tmp_path: Path
) -> None:
    rows = tiny_rows(60, seed=8)
    config = replace(tiny_config(tiny_base), epochs=1)
    own = write_rows(tmp_path / "own.jsonl", rows)
    manifest = fit(config, [tiny_corpus], tmp_path / "out", own=[own])
    learnt = Provenance.read(tmp_path / "out").learnt_digests
    assert learnt is not None
    held_out = {text_digest(row["text"]) for row in rows if is_held_out(row["text"])}
    assert held_out & learnt == set()
    assert {text_digest(row["text"]) for row in rows} - held_out <= learnt
    assert manifest.data["own"] == {"trained": 60 - len(held_out), "left_out": 0, "held_out": len(held_out)}


def test_calibration_is_that_of_a_network_that_has_learnt(manifest: Manifest) -> None:
    assert 0.05 < manifest.temperature < 20
    assert 0 <= manifest.threshold <= 1
    assert 0 < manifest.set_threshold <= 1
    assert manifest.metrics["accuracy"] > 0.7
    assert manifest.parity["label_agreement"] >= 0.97


def test_no_file_of_a_version_says_where_it_was_made(tiny_model: Path, tiny_base: Path) -> None:
    for name, content in _everything_under(tiny_model).items():
        for place in (
            tiny_base.parent,
            tiny_model.parent,
            Path(training.fit.__file__).parents[1],
            Path(torch.__file__).parents[1],
        ):
            assert str(place).encode() not in content, (name, place)


def test_card_is_written_from_the_manifest(tiny_model: Path, manifest: Manifest) -> None:
    assert (tiny_model / "README.md").read_text(encoding="utf-8") == model_card(manifest)


def test_trained_weights_load_for_further_training(tiny_model: Path, tiny_base: Path) -> None:
    network = MeanPoolClassifier.from_pretrained(tiny_model / "transformer")
    assert network.labels == 4
    before, after = load_file(tiny_base / "model.safetensors"), network.encoder.state_dict()
    assert any((after[name] != value).any() for name, value in before.items())


def test_acts_of_the_data_are_those_of_the_answers(tiny_base: Path, tmp_path: Path) -> None:
    # Deterrent has no acts, and of the others some statements have none.
    rows = [
        row | ({} if row["label"] == "deterrent" or index % 5 == 0 else {"act": ACTS[row["label"]][index // 4 % 2]})
        for index, row in enumerate(tiny_rows(200))
    ]
    fit(tiny_config(tiny_base), [write_rows(tmp_path / "acts.jsonl", rows)], tmp_path / "out")
    classifier = Classifier.load(tmp_path / "out")
    acts = {label: [] if label == "deterrent" else [*ACTS[label][:2]] for label in LABELS}
    assert classifier.manifest.acts == acts
    for answer in classifier.classify([" ".join(cue_words(label)) for label in LABELS]):
        assert isinstance(answer, Prediction)
        assert answer.acts.keys() == set(LABELS) - {"deterrent"}
        assert answer.act in (acts[answer.label] or [None])


def test_complete_version_is_refused_and_untouched(tiny_base: Path, tiny_corpus: Path, tiny_model: Path) -> None:
    before = _everything_under(tiny_model)
    with pytest.raises(OutputError, match="already holds a complete version, which is never overwritten; choose"):
        fit(tiny_config(tiny_base), [tiny_corpus], tiny_model)
    assert _everything_under(tiny_model) == before


@pytest.mark.parametrize("name", ["thesis.docx", ".git/config", "model.onnx.bak", "transformers/x"])
def test_folder_with_files_of_others_is_refused_and_untouched(
    tiny_base: Path, tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    (tmp_path / NETWORK).write_bytes(b"left by a killed run")
    before = _everything_under(tmp_path)
    with pytest.raises(
        OutputError, match=rf"holds files that no training run writes \({re.escape(name.split('/')[0])}\)"
    ):
        fit(tiny_config(tiny_base), [tiny_corpus], tmp_path)
    assert _everything_under(tmp_path) == before


def test_file_in_place_of_the_folder_is_refused(tiny_base: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(OutputError, match="expected a folder as --out, came the file"):
        fit(tiny_config(tiny_base), [tiny_corpus], tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_run_that_cannot_begin_writes_nothing(tiny_base: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    few = write_rows(tmp_path / "few.jsonl", tiny_rows(2))
    out = tmp_path / "out"
    with pytest.raises(CorpusError, match="2 statements are too few to split"):
        fit(tiny_config(tiny_base), [few], out)
    with pytest.raises(BaseWeightsError, match=r"holds no model\.safetensors"):
        fit(tiny_config(tmp_path), [tiny_corpus], out)
    with pytest.raises(CorpusError, match="expected one of the labels hawkish, dovish, neutral, came 'escalatory'"):
        fit(tiny_config(tiny_base, CAMPS), [tiny_corpus], out)
    assert not out.exists()


@pytest.mark.parametrize("base", ["no/such-encoder", "no such folder", "weights alone"])
def test_base_that_cannot_be_loaded_is_named(tiny_base: Path, tiny_corpus: Path, tmp_path: Path, base: str) -> None:
    alone = tmp_path / "weights alone"
    alone.mkdir()
    shutil.copyfile(tiny_base / "model.safetensors", alone / "model.safetensors")
    name = str(alone) if base == alone.name else base
    with pytest.raises(BaseWeightsError, match=f"the base '{name}' cannot be loaded: "):
        fit(tiny_config(Path(name)), [tiny_corpus], tmp_path / "out")
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_version_that_answers_otherwise_than_the_trained_network_is_not_written(
    tiny_base: Path, tiny_corpus: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def export_another(network: MeanPoolClassifier, target: Path) -> None:
        shutil.copyfile(tiny_model / NETWORK, target)  # of a run with the labels in another order

    monkeypatch.setattr(training.fit, "export_network", export_another)
    config = tiny_config(tiny_base, ("none", "deterrent", "de-escalatory", "escalatory"))
    with pytest.raises(ParityError, match=r"expected the same label on at least 97% .* No version was written"):
        fit(config, [tiny_corpus], tmp_path)
    assert not (tmp_path / MANIFEST).exists()
    with pytest.raises(ArtifactError, match="is not a complete model"):
        Classifier.load(tmp_path)


def test_test_split_changes_nothing_but_the_scores(
    tiny_base: Path, tiny_corpus: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_the_same(network: MeanPoolClassifier, target: Path) -> None:
        shutil.copyfile(tiny_model / NETWORK, target)  # spares the export: the weights are the same, as is seen below

    monkeypatch.setattr(training.fit, "export_network", copy_the_same)
    manifest = read_manifest(tiny_model)
    statements = read_statements([tiny_corpus], manifest.labels)
    tested = {each.id for each in split_statements(statements, 0.1, 0.1).test}
    rows = [asdict(each) | ({"label": "none", "act": None} if each.id in tested else {}) for each in statements]
    other = fit(tiny_config(tiny_base), [write_rows(tmp_path / "mislabelled.jsonl", rows)], tmp_path / "out")
    trained = "transformer/model.safetensors"
    assert other.files[trained] == manifest.files[trained]
    assert (other.temperature, other.threshold, other.set_threshold) == (
        manifest.temperature,
        manifest.threshold,
        manifest.set_threshold,
    )
    assert other.metrics["accuracy"] < manifest.metrics["accuracy"]


def test_another_label_set_is_trained_and_served_without_a_change_of_code(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rows(tmp_path / "camps.jsonl", tiny_rows(200, CAMPS))
    options = ["--epochs", "12", "--batch-size", "16", "--learning-rate", "0.003"]
    places = ["--data", str(data), "--out", str(tmp_path / "out"), "--base", str(tiny_base)]
    assert main(["fit", *places, *options, "--labels", *CAMPS]) == 0
    assert re.match(r"version \d{4}-\d\d-\d\d\.1 in .*out\n\n\| statements \|", capsys.readouterr().out)
    classifier = Classifier.load(tmp_path / "out")
    assert classifier.labels == CAMPS
    for label in CAMPS:
        (answer,) = classifier.classify([" ".join(cue_words(label))])
        assert isinstance(answer, Prediction)
        assert answer.label == label
        assert tuple(answer.probabilities) == CAMPS
        assert classifier.to_stance(answer) == answer  # a set without `none` has only stances
    assert all(f"`{label}`" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8") for label in CAMPS)


def test_split_files_decide_and_what_they_miss_is_counted(tiny_base: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    config = replace(tiny_config(tiny_base), epochs=1)
    ids = [each.id for each in read_statements([tiny_corpus], config.labels)]
    part_of = {id_: ("test", "validation", "train", "train")[index // 50] for index, id_ in enumerate(ids)}
    write_splits(tmp_path / "splits", part_of | {"real-1": "train", "real-2": "test"})
    manifest = fit(config, [tiny_corpus], tmp_path / "out", splits=tmp_path / "splits")
    told = Provenance.read(tmp_path / "out").ids
    assert {id_: part for part, listed in told.items() for id_ in listed} == part_of
    assert manifest.data["absent"] == 2
