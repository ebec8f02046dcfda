import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import model.artifact as artifact
from model.artifact import (
    FORMAT,
    MANIFEST,
    Manifest,
    file_digest,
    file_digests,
    locate_model,
    read_manifest,
    released_names,
    verify_files,
    write_manifest,
)
from model.errors import ArtifactError, ModelError


@pytest.fixture
def draft() -> Manifest:
    return Manifest(
        version="2026-11-24.1",
        labels=("yes", "no"),
        acts={"yes": ["agree", "offer"], "no": []},
        max_tokens=16,
        window_overlap_tokens=4,
        temperature=1.25,
        biases=[0.5, -0.5],
        threshold=0.5,
        set_threshold=0.1,
        set_coverage=0.9,
        base={"name": "tiny", "sha256": None},
        data={"fingerprint": "f"},
        training={"seed": 17},
        code={"version": "0.1.0"},
        metrics={"accuracy": 1.0},
        parity={"label_agreement": 1.0},
    )


@pytest.fixture
def folder(tmp_path: Path, draft: Manifest) -> Path:
    """A complete version of two files."""
    folder = tmp_path / "version"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"weights")
    (folder / "sub" / "config.json").write_bytes(b"{}")
    write_manifest(folder, replace(draft, files=file_digests(folder)))
    return folder


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def test_manifest_comes_back_as_it_was_written(folder: Path, draft: Manifest) -> None:
    assert read_manifest(folder) == replace(draft, files=file_digests(folder))
    verify_files(folder, read_manifest(folder))


def test_digest_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_digests_name_every_file_but_the_manifest_by_its_path_within(folder: Path) -> None:
    (folder / "sub" / MANIFEST).write_bytes(b"another")
    assert file_digests(folder) == {
        "model.onnx": hashlib.sha256(b"weights").hexdigest(),
        "sub/config.json": hashlib.sha256(b"{}").hexdigest(),
        "sub/manifest.json": hashlib.sha256(b"another").hexdigest(),
    }


def test_manifest_is_not_written_where_a_file_it_names_is_missing(tmp_path: Path, draft: Manifest) -> None:
    with pytest.raises(FileNotFoundError):
        write_manifest(tmp_path, replace(draft, files={"model.onnx": "0" * 64}))
    assert list(tmp_path.iterdir()) == []


def test_manifest_is_not_written_with_a_number_that_json_lacks(tmp_path: Path, draft: Manifest) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_manifest(tmp_path, replace(draft, temperature=float("nan")))
    assert not (tmp_path / MANIFEST).exists()


def test_manifest_is_whole_before_it_has_its_name(
    tmp_path: Path, draft: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Path, target: Path) -> None:
        assert json.loads(self.read_bytes())["version"] == draft.version
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_manifest(tmp_path, draft)
    with pytest.raises(ArtifactError, match="is not a complete model"):
        read_manifest(tmp_path)


def test_missing_manifest_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"is not a complete model: expected manifest\.json .* run it again"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'format': 1}"])
def test_manifest_that_is_no_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json cannot be read as JSON"):
        read_manifest(folder)


def test_file_in_place_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_manifest(folder / "model.onnx")


@pytest.mark.parametrize(("came", "shown"), [(FORMAT + 1, "3"), (0, "0"), (None, "None"), ("1", "'1'")])
def test_other_format_is_refused(folder: Path, came: object, shown: str) -> None:
    _edit(folder, format=came)
    with pytest.raises(ArtifactError, match=f"expected format 2, came {shown}; this release of Brink cannot read it"):
        read_manifest(folder)


def test_json_that_is_no_object_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"[1]")
    with pytest.raises(ArtifactError, match="expected format 2, came 'list'"):
        read_manifest(folder)


def test_unknown_key_is_refused(folder: Path) -> None:
    _edit(folder, treshold=0.5)
    with pytest.raises(ArtifactError, match=r"missing \[\], unknown \['treshold'\]"):
        read_manifest(folder)


@pytest.mark.parametrize("name", sorted(Manifest.__dataclass_fields__.keys() - {"format"}))
def test_missing_key_is_refused(folder: Path, draft: Manifest, name: str) -> None:
    (folder / MANIFEST).write_text(json.dumps({key: value for key, value in asdict(draft).items() if key != name}))
    with pytest.raises(ArtifactError, match=rf"missing \['{name}'\], unknown \[\]"):
        read_manifest(folder)


@pytest.mark.parametrize("labels", [[], ["one"], ["one", "one"], ["one", "two", "one"], [1, 2], [[]]])
def test_labels_that_are_not_two_different_names_are_refused(folder: Path, labels: object) -> None:
    _edit(folder, labels=labels)
    with pytest.raises(ArtifactError, match="expected two or more different labels, came"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("name", "came", "expected"),
    [
        ("version", 1, "a string, came 1"),
        ("labels", "none", "a list, came 'none'"),
        ("max_tokens", 16.5, r"a whole number, came 16\.5"),
        ("temperature", "1", "a number, came '1'"),
        ("metrics", None, "an object, came None"),
        ("files", ["model.onnx"], r"an object, came \['model\.onnx'\]"),
    ],
)
def test_value_of_another_type_is_refused(folder: Path, name: str, came: object, expected: str) -> None:
    _edit(folder, **{name: came})
    with pytest.raises(ArtifactError, match=f"expected '{name}' to be {expected}"):
        read_manifest(folder)


@pytest.mark.parametrize("biases", [[0.5], [0.5, "1"]])
def test_biases_that_are_not_one_number_a_label_are_refused(folder: Path, biases: object) -> None:
    _edit(folder, biases=biases)
    with pytest.raises(ArtifactError, match="expected 'biases' to be one number a label, came"):
        read_manifest(folder)


@pytest.mark.parametrize("acts", [{"yes": ["agree"]}, {"yes": [1], "no": []}, {"yes": "agree", "no": []}])
def test_acts_that_are_not_names_for_each_label_are_refused(folder: Path, acts: object) -> None:
    _edit(folder, acts=acts)
    with pytest.raises(ArtifactError, match="expected 'acts' to be a list of names for each label, came"):
        read_manifest(folder)


def test_manifest_of_the_first_format_is_read(folder: Path) -> None:
    raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) | {"format": 1}
    del raw["acts"], raw["biases"]
    (folder / MANIFEST).write_text(json.dumps(raw), encoding="utf-8")
    manifest = read_manifest(folder)
    assert (manifest.acts, manifest.biases, manifest.temperature) == ({}, [0.0, 0.0], 1.25)


def test_whole_number_is_a_number(folder: Path) -> None:
    _edit(folder, temperature=1)
    assert read_manifest(folder).temperature == 1


def test_altered_file_is_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"Weights")
    with pytest.raises(ArtifactError, match=r"model\.onnx was altered .* expected sha256 \w{64}, came \w{64}"):
        verify_files(folder, read_manifest(folder))


def test_missing_file_is_refused(folder: Path) -> None:
    (folder / "sub" / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"lacks sub/config\.json, which its manifest names"):
        verify_files(folder, read_manifest(folder))


@pytest.mark.parametrize("name", ["../outside", "sub/../../outside", "/etc/hostname", "link"])
def test_file_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_bytes(b"abc")
    (folder / "link").symlink_to(folder.parent / "outside")
    manifest = replace(read_manifest(folder), files={name: hashlib.sha256(b"abc").hexdigest()})
    with pytest.raises(ArtifactError, match=f"names a file outside the folder: '{name}'"):
        verify_files(folder, manifest)


def test_folder_is_located_by_its_path(folder: Path) -> None:
    assert locate_model(str(folder)) == folder


def test_shipped_model_is_located_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "incomplete").mkdir()
    monkeypatch.setattr(artifact, "RELEASED", folder.parent)
    assert released_names() == ["version"]
    assert locate_model("version") == folder


def test_unknown_model_is_refused_with_the_names_that_exist(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "RELEASED", folder.parent)
    with pytest.raises(ModelError, match=r"no model 'vers': expected a shipped model \(version\) or a folder"):
        locate_model("vers")
    monkeypatch.setattr(artifact, "RELEASED", folder)
    with pytest.raises(ModelError, match=r"expected a shipped model \(none here\)"):
        locate_model(str(folder / "model.onnx"))
