"""One model folder: its manifest, how it is written so that a half-written one is never loadable, how it is verified.

A folder is complete when `manifest.json` is in it, and the manifest is written last. It names every other file with
its SHA-256, so that a folder whose files were mixed or cut short is refused. Knows nothing of ONNX, torch or HTTP.
"""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from model.errors import ArtifactError

__all__ = [
    "FORMAT",
    "MANIFEST",
    "RELEASED",
    "STATEMENTS",
    "Manifest",
    "file_digest",
    "file_digests",
    "locate_file",
    "locate_model",
    "parse_manifest",
    "read_manifest",
    "released_names",
    "sync",
    "verify_files",
    "write_manifest",
]

FORMAT = 2
"""Version of the manifest's format. Raised when a reader of the old one could misread a new one."""

MANIFEST = "manifest.json"

STATEMENTS = "statements.json"
"""The ids of the statements of each part: exactly what a version was trained, calibrated and tested on."""
RELEASED = Path(__file__).parent / "released"
"""The folder of the models that come with the package, one sub-folder each."""

_IN_JSON: dict[Any, tuple[str, type | tuple[type, ...]]] = {
    str: ("a string", str),
    int: ("a whole number", int),
    float: ("a number", (int, float)),
    tuple: ("a list", list),
    list: ("a list", list),
    dict: ("an object", dict),
}


@dataclass(frozen=True)
class Manifest:
    """What a model is and how it was made.

    Attributes:
        version: name of this version, for example `2026-11-24.1`.
        labels: the labels in the order of the network's logits.
        acts: of each label, in the order of the network's act logits; a label without has one output there all the
            same. Empty for a network without act logits.
        max_tokens: tokens in one window, the two special ones included.
        window_overlap_tokens: tokens that two neighbouring windows of a long text share.
        temperature: the logits are divided by it before the softmax.
        biases: of the labels; they are added to the divided logits.
        threshold: confidence under which the answer is marked as abstained.
        set_threshold: probability from which a label belongs to the prediction set.
        set_coverage: share of right labels that the prediction sets are meant to hold.
        base: name, revision or source, and SHA-256 of the weights that training began from.
        data: fingerprint, counts and splits of the statements that it was trained, calibrated and tested on.
        training: every hyper-parameter of the run, the seed included.
        code: version of the project and, where known, its commit.
        metrics: scores on the test split, of the very file that is served.
        parity: how far the served network's answers are from the trained one's.
        files: SHA-256 of every other file of the folder, by its path within it.
        format: version of this format.
    """

    version: str
    labels: tuple[str, ...]
    acts: dict[str, Any]
    max_tokens: int
    window_overlap_tokens: int
    temperature: float
    biases: list[float]
    threshold: float
    set_threshold: float
    set_coverage: float
    base: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
    code: dict[str, Any]
    metrics: dict[str, Any]
    parity: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under `folder` but the manifest, by its path within the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Complete `folder`: write its manifest, in one step, after everything else in it has reached the disk."""
    for name in manifest.files:
        sync(folder / name)
    unfinished = folder / f"{MANIFEST}.part"
    text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False, allow_nan=False)
    unfinished.write_text(text + "\n", encoding="utf-8")
    sync(unfinished)
    unfinished.replace(folder / MANIFEST)
    sync(folder)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, have reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of `folder`.

    Raises:
        ArtifactError: there is none, it is not one, or its format is another.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder} is not a complete model: expected {MANIFEST} in it and found none. "
            "A training that was cut short leaves such a folder; run it again with the same --out to go on."
        ) from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error}); restore the folder from a copy.") from error
    return parse_manifest(content, path)


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """Return the manifest that the bytes of a file say; `path` names it in what is raised, as `read_manifest` does."""
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON ({error}); restore the folder from a copy.") from error
    if isinstance(raw, dict) and raw.get("format") == 1 and isinstance(raw.get("labels"), list):
        # The first format had neither acts nor biases.
        raw = raw | {"acts": {}, "biases": [0.0] * len(raw["labels"]), "format": FORMAT}
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        came = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise ArtifactError(f"{path}: expected format {FORMAT}, came {came!r}; this release of Brink cannot read it.")
    expected = {f.name for f in fields(Manifest)}
    if raw.keys() != expected:
        missing, unknown = sorted(expected - raw.keys()), sorted(raw.keys() - expected)
        raise ArtifactError(f"{path} is not a manifest of this format: missing {missing}, unknown {unknown}.")
    for each in fields(Manifest):
        name, types = _IN_JSON[get_origin(each.type) or each.type]
        if not isinstance(raw[each.name], types):
            raise ArtifactError(f"{path}: expected {each.name!r} to be {name}, came {raw[each.name]!r}.")
    labels = raw["labels"]
    if not all(isinstance(label, str) for label in labels) or len(labels) < 2 or len(set(labels)) != len(labels):
        raise ArtifactError(f"{path}: expected two or more different labels, came {labels}.")
    _check_outputs(path, raw)
    return Manifest(**(raw | {"labels": tuple(labels)}))


def _check_outputs(path: Path, raw: dict[str, Any]) -> None:
    labels, biases, acts = raw["labels"], raw["biases"], raw["acts"]
    if len(biases) != len(labels) or not all(isinstance(bias, (int, float)) for bias in biases):
        raise ArtifactError(f"{path}: expected 'biases' to be one number a label, came {biases}.")
    if acts and (
        acts.keys() != set(labels)
        or not all(isinstance(each, list) and all(isinstance(act, str) for act in each) for each in acts.values())
    ):
        raise ArtifactError(f"{path}: expected 'acts' to be a list of names for each label, came {acts}.")


def locate_file(folder: Path, name: str) -> Path:
    """Return the path of a file that a manifest names; raises `ArtifactError` where it lies outside the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(f"{folder / MANIFEST} names a file outside the folder: {name!r}.")
    return path


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check that every file that the manifest names is there, byte for byte.

    Raises:
        ArtifactError: one is missing, altered, or lies outside the folder.
    """
    for name, expected in manifest.files.items():
        path = locate_file(folder, name)
        if not path.is_file():
            raise ArtifactError(f"{folder} lacks {name}, which its manifest names; restore the folder from a copy.")
        if (came := file_digest(path)) != expected:
            raise ArtifactError(
                f"{path} was altered after the model was written: expected sha256 {expected}, came {came}; "
                "restore the folder from a copy."
            )


def released_names() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(path.parent.name for path in RELEASED.glob(f"*/{MANIFEST}"))


def locate_model(name_or_folder: str) -> Path:
    """Return the folder of a shipped model's name, or of a path.

    Raises:
        ArtifactError: it is neither.
    """
    if name_or_folder in released_names():
        return RELEASED / name_or_folder
    folder = Path(name_or_folder)
    if not folder.is_dir():
        raise ArtifactError(
            f"no model {name_or_folder!r}: expected a shipped model ({', '.join(released_names()) or 'none here'}) "
            "or a folder that `python -m training fit` has written."
        )
    return folder
