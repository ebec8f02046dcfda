"""The versions of one place, and the pointer that says which of them serves: publish, promote, roll back.

A version is a complete model folder, `<location>/<version>/`. The pointer, `<location>/current.json`, is swapped in one
step and keeps who promoted what and when: the only record of it, so that it cannot differ from what serves.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from model.artifact import MANIFEST, RELEASED, Manifest, parse_manifest, read_manifest, released_names, verify_files
from model.errors import ArtifactError, PromotionError, StorageError, UnknownVersionError
from model.storage import POINTER, open_storage

__all__ = ["Pointer", "Promotion", "Versions"]

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAX_WHO = 200

Action = Literal["promote", "rollback"]


@dataclass(frozen=True)
class Promotion:
    """One move of the pointer.

    Attributes:
        version: that served from then on; None for the model that serves where nothing is promoted.
        at: when, in ISO 8601 with microseconds, UTC.
        by: who did it.
        action: `promote`, or `rollback` to what served before.
    """

    version: str | None
    at: str
    by: str
    action: Action


@dataclass(frozen=True)
class Pointer:
    """Which version serves, and every move that led there, the oldest first."""

    history: tuple[Promotion, ...] = ()

    @property
    def line(self) -> list[str | None]:
        """What served before what, up to what serves now; None, the first, is the model without a promotion.

        What a rollback left is not in it: the next rollback goes further back, never there.
        """
        line: list[str | None] = [None]
        for each in self.history:
            if each.action == "promote":
                line.append(each.version)
            else:
                line.pop()
        return line

    @property
    def version(self) -> str | None:
        """The version that serves; None for the model without a promotion."""
        return self.line[-1]

    @property
    def can_roll_back(self) -> bool:
        """Whether anything served before."""
        return len(self.line) > 1

    @property
    def previous(self) -> str | None:
        """What a rollback returns to; raises `PromotionError` where nothing was promoted."""
        if not self.can_roll_back:
            raise PromotionError("there is nothing to roll back to: no version is promoted.")
        return self.line[-2]


class Versions:
    """The versions of one place; safe to use from several threads and processes."""

    def __init__(self, location: str | Path, cache: str | Path = "models/cache") -> None:
        """Read nothing yet.

        Args:
            location: a folder, which need not exist, or a URL that fsspec knows, such as `s3://bucket/brink`.
            cache: folder for the copies of what a URL holds; not used for a folder.

        Raises:
            StorageError: nothing that is installed reaches such a URL.
        """
        self._storage = open_storage(location, Path(cache))

    def names(self) -> list[str]:
        """Return the names of the versions in their order; folders without a manifest are none."""
        names = [name for name in self._storage.names() if _is_name(name)]
        return [name for name in names if self._storage.read(f"{name}/{MANIFEST}") is not None]

    def describe(self, version: str) -> Manifest:
        """Return what a version is; its other files are not looked at.

        Raises:
            UnknownVersionError: there is none of that name.
            ArtifactError: its manifest is none, or of another version.
        """
        content = self.read(version, MANIFEST)
        if content is None:
            raise UnknownVersionError(f"there is no complete version {version!r}; publish its folder first.")
        manifest = parse_manifest(content, Path(version, MANIFEST))
        if manifest.version != version:
            raise ArtifactError(
                f"the folder {version} holds version {manifest.version}; give it that name, or delete it."
            )
        return manifest

    def published_at(self, version: str) -> datetime | None:
        """Return when a version became complete; None where nobody knows."""
        return self._storage.modified_at(f"{_checked(version)}/{MANIFEST}")

    def read(self, version: str, name: str) -> bytes | None:
        """Return the bytes of one file of a version; None where it has none of that name."""
        return self._storage.read(f"{_checked(version)}/{name}")

    def folder(self, version: str) -> Path:
        """Return a version as a folder of this machine.

        Raises:
            UnknownVersionError: there is none of that name.
            ArtifactError: it is not what its manifest says.
        """
        self.describe(version)
        folder = self._storage.fetch(_checked(version))
        verify_files(folder, read_manifest(folder))
        return folder

    def publish(self, folder: Path) -> str:
        """Copy a finished version here, under the name in its manifest, and return the name; it does not serve yet.

        Raises:
            ArtifactError: the folder is not whole, its version's name is none for a folder, there is such a version
                already, or a shipped model has that name.
        """
        manifest = read_manifest(folder)
        if not _is_name(manifest.version):
            raise ArtifactError(
                f"{folder}: expected a version of up to 100 letters, digits, '.', '_' and '-' that begins with a "
                f"letter or digit, came {manifest.version!r}; fit it with another --version."
            )
        _refuse_shipped_name(folder, manifest)
        verify_files(folder, manifest)
        self._storage.add(folder, list(manifest.files), manifest.version)
        return manifest.version

    def current(self) -> Pointer:
        """Return the pointer as it stands; one that was never written points to nothing."""
        return _parse(self._storage.read(POINTER), self._storage.shown)

    def promote(self, version: str, who: str) -> Pointer:
        """Let a version serve, after every file of it was checked, and return the pointer.

        Raises:
            UnknownVersionError: there is none of that name.
            ArtifactError: it is not what its manifest says.
            PromotionError: it serves already, or another promotion came in between.
        """
        self.folder(version)

        def move(pointer: Pointer) -> Promotion:
            if pointer.version == version:
                raise PromotionError(f"{version} serves already.")
            return _promotion(version, who, "promote")

        return self._move(move)

    def rollback(self, who: str, seen: Pointer | None = None) -> Pointer:
        """Let serve again what served before, and return the pointer.

        Args:
            who: does it.
            seen: the pointer that was looked at; where it has moved since, nothing is done.

        Raises:
            PromotionError: nothing is promoted, or the pointer has moved.
            UnknownVersionError: what served before is not there any more.
            ArtifactError: it is not what its manifest says.
        """
        seen = seen or self.current()
        if (previous := seen.previous) is not None:
            self.folder(previous)

        def move(pointer: Pointer) -> Promotion:
            if pointer != seen:
                raise PromotionError("another promotion came in between; look at what serves now and ask again.")
            return _promotion(previous, who, "rollback")

        return self._move(move)

    def _move(self, move: Callable[[Pointer], Promotion]) -> Pointer:
        moved = Pointer()

        def change(content: bytes | None) -> bytes:
            nonlocal moved
            pointer = _parse(content, self._storage.shown)
            moved = Pointer((*pointer.history, move(pointer)))
            return _written(moved)

        self._storage.swap(change)
        return moved


def _is_name(version: str) -> bool:
    return bool(_NAME.fullmatch(version)) and version != POINTER


def _checked(version: str) -> str:
    if not _is_name(version):
        raise UnknownVersionError(f"there is no version {version[:100]!a}: that is no version's name.")
    return version


def _refuse_shipped_name(folder: Path, manifest: Manifest) -> None:
    """Refuse a second version of a name: an answer names its model by nothing else."""
    for name in released_names():
        shipped = read_manifest(RELEASED / name)
        if shipped.version == manifest.version and shipped != manifest:
            raise ArtifactError(
                f"{folder}: the shipped model {name!r} is version {manifest.version} too; give yours another --version."
            )


def _promotion(version: str | None, who: str, action: Action) -> Promotion:
    return Promotion(version, datetime.now(UTC).isoformat(timespec="microseconds"), who[:_MAX_WHO], action)


def _written(pointer: Pointer) -> bytes:
    body = {"format": _FORMAT, "version": pointer.version, "history": [asdict(each) for each in pointer.history]}
    return (json.dumps(body, indent=2) + "\n").encode()


def _parse(content: bytes | None, place: str) -> Pointer:
    if content is None:
        return Pointer()
    try:
        raw = json.loads(content)
        pointer = Pointer(tuple(_entry(each) for each in raw["history"]))
        if raw["format"] != _FORMAT or raw["version"] != pointer.version:
            raise ValueError("its format is unknown, or its version is not what its history leads to")
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise StorageError(
            f"{POINTER} in {place} is no pointer ({error}); restore it from a copy, or delete it to begin anew with "
            "the shipped model."
        ) from error
    return pointer


def _entry(raw: Any) -> Promotion:
    entry = Promotion(**raw)
    moment = datetime.fromisoformat(entry.at)
    if entry.action not in get_args(Action) or not isinstance(entry.by, str) or moment.tzinfo is None:
        raise ValueError(f"an entry that does not fit: {raw}")
    if entry.version is not None and not _is_name(entry.version):
        raise ValueError(f"a version's name that is none: {entry.version!r}")
    return entry
