import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import training.fit
from model.artifact import MANIFEST, RELEASED, Manifest, file_digests, read_manifest, verify_files, write_manifest
from model.classifier import Classifier
from model.labels import text_digest
from tests.tiny import tiny_rows, write_rows
from tests.training.variants import learnt_from
from training.__main__ import main
from training.config import FitConfig
from training.corpus import read_statements
from training.evaluate import evaluate, table
from training.progress import Progress
from training.provenance import Provenance
from training.split import read_splits

Captured = pytest.CaptureFixture[str]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _refused(arguments: list[str | Path], capsys: Captured) -> str:
    """Run a command that ends with a reason on standard error, and return the reason."""
    assert main([str(each) for each in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    return err


@pytest.mark.parametrize("arguments", [[], ["fit"], ["train"], ["evaluate", "--model", "x", "--data", "y", "--jsn"]])
def test_unknown_or_incomplete_command_exits_with_its_usage(arguments: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: python -m training" in capsys.readouterr().err


def test_evaluate_prints_the_table(tiny_model: Path, tiny_corpus: Path, capsys: Captured) -> None:
    assert main(["evaluate", "--model", str(tiny_model), "--data", str(tiny_corpus)]) == 0
    classifier = Classifier.load(tiny_model)
    metrics = evaluate(classifier, read_statements([tiny_corpus], classifier.labels))
    assert capsys.readouterr().out == table(metrics) + "\n"
    assert metrics["statements"] == 200


def test_evaluate_prints_json(tiny_model: Path, tiny_corpus: Path, capsys: Captured) -> None:
    assert main(["evaluate", "--model", str(tiny_model), "--data", str(tiny_corpus), "--json"]) == 0
    classifier = Classifier.load(tiny_model)
    metrics = evaluate(classifier, read_statements([tiny_corpus], classifier.labels))
    assert json.loads(capsys.readouterr().out) == metrics


def test_evaluate_refuses_an_unknown_model_and_bad_data(tiny_model: Path, tmp_path: Path, capsys: Captured) -> None:
    data = write_rows(tmp_path / "bad.jsonl", [{"id": "1", "text": "t", "label": "war"}])
    assert "no model 'nothing'" in _refused(["evaluate", "--model", "nothing", "--data", data], capsys)
    reason = _refused(["evaluate", "--model", tiny_model, "--data", data], capsys)
    assert "bad.jsonl:1: expected one of the labels" in reason


def test_check_prints_what_is_there_and_what_is_wrong(tiny_corpus: Path, capsys: Captured) -> None:
    assert main(["check", str(tiny_corpus)]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("200 statements, 0% of them in 0 contrast groups")
    assert err.startswith(
        "\n1400 problems:\ntiny-0-000: expected an act, came none\n"
    )  # act and six fields of the grid


def test_check_refuses_a_line_that_breaks_the_schema(tmp_path: Path, capsys: Captured) -> None:
    assert "bad.jsonl:1: " in _refused(["check", write_rows(tmp_path / "bad.jsonl", [[]])], capsys)


def test_fit_passes_every_option_on(monkeypatch: pytest.MonkeyPatch, tiny_model: Path, capsys: Captured) -> None:
    calls: list[tuple[object, ...]] = []

    def record(*arguments: object) -> Manifest:
        calls.append(arguments)
        return read_manifest(tiny_model)

    monkeypatch.setattr(training.fit, "fit", record)
    options = ["--base", "b", "--seed", "5", "--epochs", "2", "--batch-size", "8", "--learning-rate", "0.01"]
    more = ["--checkpoint-every-s", "1.5", "--labels", "x", "y", "--version", "v2", "--splits", "s", "--own", "mine"]
    assert main(["fit", "--data", "a", "c", "--out", "o", *options, *more]) == 0
    assert main(["fit", "--data", "a", "--out", "o"]) == 0
    expected = FitConfig("b", ("x", "y"), 5, 2, 8, 0.01, checkpoint_every_s=1.5)
    assert [call[:-1] for call in calls] == [
        (expected, [Path("a"), Path("c")], Path("o"), "v2", Path("s"), [], [], [Path("mine")]),
        (FitConfig(), [Path("a")], Path("o"), None, None, [], [], []),
    ]
    assert [isinstance(call[-1], Progress) for call in calls] == [True, True]
    assert capsys.readouterr().out.startswith("version tiny-1 in o\n\n| statements |")


def test_fit_says_why_it_cannot_begin(tiny_model: Path, tiny_corpus: Path, tmp_path: Path, capsys: Captured) -> None:
    reason = _refused(["fit", "--data", tiny_corpus, "--out", tiny_model], capsys)
    assert "already holds a complete version" in reason
    reason = _refused(["fit", "--data", tmp_path / "none", "--out", tmp_path / "out"], capsys)
    assert "no statements at" in reason
    reason = _refused(["fit", "--data", tiny_corpus, "--out", tmp_path / "out", "--labels", "x", "x"], capsys)
    assert "expected two or more different labels" in reason
    assert not (tmp_path / "out").exists()


def test_rehydrate_writes_statements_and_says_what_is_missing(tmp_path: Path, capsys: Captured) -> None:
    pointers = [
        {"id": f"r{i}", "source": "wire", "document": "d", "sha256": text_digest(row["text"]), "label": row["label"]}
        for i, row in enumerate(tiny_rows(5))
    ]
    places = ["--pointers", str(write_rows(tmp_path / "pointers.jsonl", pointers))]
    places += ["--texts", str(write_rows(tmp_path / "texts.jsonl", tiny_rows(3)))]
    out = tmp_path / "new" / "real.jsonl"
    assert main(["rehydrate", *places, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"3 statements in {out}; without a text: wire 2\n"
    statements = read_statements([out], ("escalatory", "deterrent", "de-escalatory"))
    assert [each.text for each in statements] == [row["text"] for row in tiny_rows(3)]
    before = out.read_bytes()
    assert "exists and is not overwritten" in _refused(["rehydrate", *places, "--out", out], capsys)
    assert out.read_bytes() == before


def test_released_folder_serves_alike_without_the_trained_weights(tiny_model: Path, tmp_path: Path) -> None:
    before, out = _files(tiny_model), tmp_path / "released"
    assert main(["release", "--model", str(tiny_model), "--out", str(out)]) == 0
    served = {name for name in _files(out) if not name.startswith("report/")}
    assert served == {"README.md", "manifest.json", "model.onnx", "statements.json", "tokenizer.json"}
    manifest = read_manifest(out)
    verify_files(out, manifest)
    assert set(manifest.files) == set(_files(out)) - {"manifest.json"}
    assert replace(manifest, files={}) == replace(read_manifest(tiny_model), files={})
    texts = [row["text"] for row in tiny_rows(20, seed=3)]
    assert Classifier.load(out).classify(texts) == Classifier.load(tiny_model).classify(texts)
    assert _files(tiny_model) == before


@pytest.mark.artifact
def test_version_of_the_first_format_is_released_with_the_card_that_it_has(tmp_path: Path) -> None:
    source = Path(shutil.copytree(RELEASED / "fast", tmp_path / "source"))
    raw = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    raw = {name: value for name, value in raw.items() if name not in {"acts", "biases"}} | {"format": 1}
    for name in ("balanced_calibration_error", "balanced_accuracy"):
        raw["metrics"].pop(name, None)
    (source / MANIFEST).write_text(json.dumps(raw), encoding="utf-8")
    assert main(["release", "--model", str(source), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "README.md").read_bytes() == (source / "README.md").read_bytes()
    verify_files(tmp_path / "out", read_manifest(tmp_path / "out"))


def test_release_notes_what_was_learnt_from_where_the_texts_are_at_hand(
    tiny_model: Path, tiny_corpus: Path, tmp_path: Path, capsys: Captured
) -> None:
    old = learnt_from(Path(shutil.copytree(tiny_model, tmp_path / "old")), None)
    expected = Provenance.read(tiny_model)
    Provenance(expected.ids, None).write(old)
    write_manifest(old, replace(read_manifest(old), files=file_digests(old)))
    # Pointers, as those to texts that are kept elsewhere, do as well as the statements themselves.
    rows = [json.loads(line) for line in tiny_corpus.read_text(encoding="utf-8").splitlines()]
    pointers = [{"id": row["id"], "label": row["label"], "sha256": text_digest(row["text"])} for row in rows[:100]]
    parts = [write_rows(tmp_path / "a.jsonl", pointers), write_rows(tmp_path / "b.jsonl", rows[100:])]
    command = ["release", "--model", str(old), "--out", str(tmp_path / "new"), "--texts"]
    assert main([*command, *map(str, parts)]) == 0
    assert Provenance.read(tmp_path / "new") == expected
    changed = write_rows(tmp_path / "c.jsonl", [*rows[:-1], rows[-1] | {"text": "another"}])
    command[4] = str(tmp_path / "other")
    assert "as they were: expected the fingerprint" in _refused([*command, changed], capsys)
    assert "statements of train are not there" in _refused([*command, parts[0]], capsys)
    assert not (tmp_path / "other").exists()


def test_release_never_overwrites(tiny_model: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    assert "exists and is not overwritten" in _refused(["release", "--model", tiny_model, "--out", tmp_path], capsys)
    assert _files(tmp_path) == {"file": b"mine"}


@pytest.mark.parametrize(
    ("spoilt", "reason"), [(MANIFEST, "is not a complete model"), ("model.onnx", "lacks model.onnx")]
)
def test_incomplete_folder_is_not_released(
    tiny_model: Path, tmp_path: Path, capsys: Captured, spoilt: str, reason: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    (folder / spoilt).unlink()
    assert reason in _refused(["release", "--model", folder, "--out", tmp_path / "out"], capsys)
    assert not (tmp_path / "out").exists()


def test_select_writes_a_round_without_its_reasons(tiny_model: Path, tmp_path: Path, capsys: Captured) -> None:
    pool = write_rows(
        tmp_path / "pool.jsonl", [{"text": row["text"], "source": "wire"} for row in tiny_rows(120, seed=5)]
    )
    labelled = write_rows(tmp_path / "labelled.jsonl", tiny_rows(40, seed=5))
    out, reasons = tmp_path / "round" / "1.jsonl", tmp_path / "reasons.jsonl"
    places = ["--pool", str(pool), "--model", str(tiny_model), "--labelled", str(labelled), "--count", "30"]
    assert main(["select", *places, "--out", str(out), "--reasons", str(reasons)]) == 0
    rows, why = ([json.loads(line) for line in path.read_text().splitlines()] for path in (out, reasons))
    assert capsys.readouterr().out.startswith(f"30 of 80 statements in {out}: ")
    assert [row["id"] for row in rows] == [row["id"] for row in why]
    assert {frozenset(row) for row in rows} == {frozenset({"id", "text", "source"})}
    assert {text_digest(row["text"]) for row in rows}.isdisjoint(text_digest(r["text"]) for r in tiny_rows(40, seed=5))
    assert {row["reason"] for row in why} == {"likely", "doubtful", "random"}
    assert "exists and is not overwritten" in _refused(["select", *places, "--out", out], capsys)


def test_text_that_cannot_be_classified_does_not_stop_a_round(
    tiny_model: Path, tmp_path: Path, capsys: Captured
) -> None:
    rows = [{"id": row["id"], "text": row["text"]} for row in tiny_rows(20, seed=5)]
    pool = write_rows(tmp_path / "pool.jsonl", [*rows, {"id": "book", "text": "a " * 20_000}])
    options = ["--pool", str(pool), "--model", str(tiny_model), "--count", "5", "--out", str(tmp_path / "out.jsonl")]
    assert main(["select", *options]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("5 of 20 statements in ")
    assert err == "left out: 'book': expected at most 20,000 characters, came 39,999; split the text.\n"


def test_agreement_compares_two_readers(tmp_path: Path, capsys: Captured) -> None:
    acts = {"1": ("warn", "warn"), "2": ("report", "call"), "3": ("report", "assess")}
    paths = [
        write_rows(tmp_path / f"{reader}.jsonl", [{"id": id_, "act": pair[reader]} for id_, pair in acts.items()])
        for reader in (0, 1)
    ]
    apart = tmp_path / "apart.jsonl"
    assert main(["agreement", *map(str, paths), "--disagreements", str(apart)]) == 0
    out = capsys.readouterr().out
    assert "labels: 3 statements read twice, 66.7% alike" in out
    assert "acts: 3 statements read twice, 33.3% alike" in out
    assert out.endswith("0 read only by the first, 0 only by the second\n")
    first, second = {"label": "none", "act": "report"}, {"label": "de-escalatory", "act": "call"}
    assert json.loads(apart.read_text()) == {"id": "2", "first": first, "second": second}


def test_split_extends_its_files_and_moves_nothing(tmp_path: Path, capsys: Captured) -> None:
    rows, folder = tiny_rows(200), tmp_path / "splits"
    some = write_rows(tmp_path / "some.jsonl", rows[:100])
    assert main(["split", "--data", str(some), "--splits", str(folder)]) == 0
    before = read_splits(folder)
    assert main(["split", "--data", str(write_rows(tmp_path / "all.jsonl", rows)), "--splits", str(folder)]) == 0
    assert before.items() <= read_splits(folder).items()
    assert f"100 statements added to {folder}: now train 160, validation 20, test 20" in capsys.readouterr().out


def test_curve_and_report_are_made_from_files(
    tiny_base: Path, tiny_model: Path, tiny_corpus: Path, tmp_path: Path, capsys: Captured
) -> None:
    rows = [json.loads(line) | {"source": None} for line in tiny_corpus.read_text().splitlines()]
    data = write_rows(tmp_path / "data.jsonl", rows)
    splits, report = tmp_path / "splits", tmp_path / "report"
    assert main(["split", "--data", str(data), "--splits", str(splits)]) == 0
    corpus = ["--data", str(data), "--splits", str(splits)]
    recipe = ["--base", str(tiny_base), "--epochs", "1", "--learning-rate", "0.003"]
    options = ["--sizes", "20", "9999", "--all", "--measure", f"again={data}", "--out", str(report / "curve.jsonl")]
    assert main(["curve", *corpus, *recipe, *options]) == 0
    assert re.search(r"^both 160: validation 0\.\d{3}, again 0\.\d{3}$", capsys.readouterr().out, re.MULTILINE)
    (tmp_path / "real").mkdir()
    pointer = {"id": "r1", "source": "wire", "label": "none", "first_label": "none", "second_label": "none"}
    write_rows(tmp_path / "real" / "1.jsonl", [pointer])
    (tmp_path / "annotations").mkdir()
    second = [{"id": row["id"], "second_label": row["label"], "second_act": None} for row in rows]
    write_rows(tmp_path / "annotations" / "1.jsonl", second)
    places = ["--annotations", str(tmp_path / "annotations"), "--pointers", str(tmp_path / "real")]
    assert main(["corpus-report", *corpus, *places, "--model", str(tiny_model), "--out", str(report)]) == 0
    text = (report / "README.md").read_text(encoding="utf-8")
    assert "200 composed statements and 1 real ones" in text
    assert "| both | 160 | 0." in text
    assert "suspects" in text.partition("## Suspected label errors")[2]
