import hashlib
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
