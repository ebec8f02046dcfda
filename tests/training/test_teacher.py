"""A student learns how a trained version answers, the unlabelled texts too, and nothing of what is measured."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import kl_div

import training.fit
from model.artifact import read_manifest
from model.labels import LABELS
from tests.tiny import tiny_config, tiny_rows, write_rows
from training.__main__ import main
from training.base import locate_base
from training.corpus import Statement, read_statements
from training.errors import ConfigError
from training.finetune import finetune, predict_act_logits
from training.fit import fit
from training.inputs import acts_of, load_encoder, tokenise
from training.split import split_statements
from training.teacher import ANSWERS, Teachers, read_unlabelled

CAMPS = ("hawkish", "dovish", "neutral")


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    rows = [{"text": row["text"], "source": "wire"} for row in tiny_rows(120, seed=9)]
    return write_rows(tmp_path / "pool.jsonl", rows)


def test_answers_are_the_mean_of_the_teachers_probabilities_and_kept_for_the_run(
    tiny_model: Path, tmp_path: Path
) -> None:
    texts = [row["text"] for row in tiny_rows(9, seed=4)]
    one = Teachers.open([tiny_model], LABELS)
    answers = one.answer(texts, 256, tmp_path / ANSWERS, "run")
    assert answers.shape == (9, len(LABELS))
    assert torch.allclose(answers.sum(dim=1), torch.ones(9), atol=1e-5)
    twice = Teachers.open([tiny_model, tiny_model], LABELS)
    assert torch.allclose(twice.answer(texts, 256, tmp_path / "twice", "run"), answers, atol=1e-6)
    assert torch.equal(one.answer(["another"], 256, tmp_path / ANSWERS, "run"), answers)
    assert len(one.answer(["another"], 256, tmp_path / ANSWERS, "another run")) == 1


def test_version_of_which_only_the_served_network_is_left_teaches_alike(tiny_model: Path, tmp_path: Path) -> None:
    served = tmp_path / "served"
    shutil.copytree(tiny_model, served, ignore=shutil.ignore_patterns("transformer"))
    texts = [row["text"] for row in tiny_rows(9, seed=4)] + ["word " * 30_000]
    trained = Teachers.open([tiny_model], LABELS).answer(texts, 256, tmp_path / "trained", "run")
    answers = Teachers.open([served], LABELS).answer(texts, 256, tmp_path / "served answers", "run")
    assert torch.allclose(answers, trained, atol=0.1)  # its weights are 8-bit integers


def test_student_comes_nearer_to_its_teacher_than_labels_alone_bring_it(tiny_base: Path, tmp_path: Path) -> None:
    """The teacher names the next label everywhere: only who learns from it alone does so too."""
    config = replace(tiny_config(tiny_base), epochs=20)
    statements = [Statement(**row) for row in tiny_rows(64)]
    acts = acts_of(statements, LABELS)
    tokenizer, network = load_encoder(locate_base(config.base), LABELS, acts)
    rows = tokenise(statements, tokenizer, config, acts)
    taught = torch.full((64, len(LABELS)), 0.01)
    taught[torch.arange(64), [(LABELS.index(each.label) + 1) % 4 for each in statements]] = 0.97
    distance = []
    for weight, answers in ((1.0, taught), (0.0, taught)):
        torch.manual_seed(0)
        tokenizer, network = load_encoder(locate_base(config.base), LABELS, acts)
        finetune(network, rows, replace(config, teacher_weight=weight), tmp_path, f"run {weight}", answers)
        said = predict_act_logits(network, rows["input_ids"]).log_softmax(dim=1)
        distance.append(float(kl_div(said, taught, reduction="batchmean")))
    assert 5 * distance[0] < distance[1]


def test_version_says_who_taught_it_and_leaves_no_answers_behind(
    tiny_base: Path, tiny_corpus: Path, tiny_model: Path, pool: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    config = replace(tiny_config(tiny_base), epochs=2)
    manifest = fit(config, [tiny_corpus], out, teacher=[tiny_model], unlabelled=[pool])
    [teacher] = manifest.training["teachers"]
    assert teacher["version"] == read_manifest(tiny_model).version
    assert 100 < manifest.training["unlabelled"]["texts"] <= 120
    assert not (out / ANSWERS).exists()
    assert read_manifest(out).acts == read_manifest(tiny_model).acts


def test_killed_student_goes_on_with_the_answers_it_had(
    tiny_base: Path, tiny_corpus: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(tiny_config(tiny_base), epochs=1)
    with monkeypatch.context() as broken:
        broken.setattr(training.fit, "finetune", _fail)
        with pytest.raises(RuntimeError, match="killed"):
            fit(config, [tiny_corpus], tmp_path / "out", teacher=[tiny_model])
    assert (tmp_path / "out" / ANSWERS).is_file()
    monkeypatch.setattr("training.teacher.predict_act_logits", _fail)
    fit(config, [tiny_corpus], tmp_path / "out", teacher=[tiny_model])


def _fail(*_: object) -> None:
    raise RuntimeError("killed")


def test_unlabelled_texts_leak_nothing_of_what_is_measured(tmp_path: Path) -> None:
    rows = [row | {"source": "wire", "document": f"d{index % 40}"} for index, row in enumerate(tiny_rows(200))]
    data = write_rows(tmp_path / "data.jsonl", rows)
    split = split_statements(read_statements([data], LABELS), 0.1, 0.1)
    held_out, trained = split.test[0], split.train[0]
    words = held_out.text.rstrip(".").split()
    pool = [
        {"text": "of a document that is tested", "source": "wire", "document": held_out.document},
        {"text": f"{held_out.text} repeated"},
        {"text": " ".join([*words[:-1], "other"])},
        {"text": trained.text},
        {"text": "of a document that is trained on", "source": "wire", "document": trained.document},
        {"text": "of another source", "source": "radio", "document": held_out.document},
    ]
    kept = read_unlabelled([write_rows(tmp_path / "pool.jsonl", pool)], [data], split)
    assert kept == ["of a document that is trained on", "of another source"]


def test_teacher_that_cannot_teach_is_refused(
    tiny_base: Path, tiny_corpus: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="expected a teacher of the labels hawkish"):
        Teachers.open([tiny_model], CAMPS)
    with pytest.raises(ConfigError, match="expected a teacher for the unlabelled"):
        fit(tiny_config(tiny_base), [tiny_corpus], tmp_path / "out", unlabelled=[tiny_corpus])
    with_acts = write_rows(tmp_path / "acts.jsonl", [row | acted(row) for row in tiny_rows(120)])
    arguments = ["fit", "--data", str(with_acts), "--out", str(tmp_path / "out"), "--base", str(tiny_base)]
    assert main([*arguments, "--teacher", str(tiny_model)]) == 1
    assert "acts of escalatory that the teacher does not know: attack" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def acted(row: dict[str, str]) -> dict[str, str]:
    return {"act": "attack"} if row["label"] == "escalatory" else {}
