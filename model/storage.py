"""Where versions lie: a plain folder, or any place that fsspec reaches by a URL, so S3 and the like.

Keeps files and one pointer among them; knows nothing of what either says.
"""

import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any, Protocol

from model.artifact import MANIFEST, locate_file, read_manifest, sync, verify_files
from model.errors import ArtifactError, ModelError, PromotionError, StorageError, UnknownVersionError

__all__ = ["POINTER", "FolderStorage", "RemoteStorage", "Storage", "open_storage"]

POINTER = "current.json"
"""The file, beside the versions, that says which of them serves."""

_UNFINISHED = ".part"
_LOCK = ".lock"
# What a copy that was killed has left is removed after a day; no copy takes so long.
_FORGOTTEN_S = 24 * 3600

Change = Callable[[bytes | None], bytes]
"""From what the pointer says, None where there is none, to what it shall say."""


class Storage(Protocol):
    """A place for versions; each method raises `StorageError` where the place cannot be reached.

    Attributes:
        shown: what messages call it; without a password.
    """

    shown: str

    def names(self) -> list[str]:
        """Return the names of all folders, complete or not."""

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file; None where there is none."""

    def modified_at(self, path: str) -> datetime | None:
        """Return when a file was written; None where there is none, or nobody knows."""

    def add(self, folder: Path, files: Sequence[str], name: str) -> None:
        """Copy files and, after them, the manifest; raises `ArtifactError` where such a version is there already."""

    def fetch(self, name: str) -> Path:
        """Return a version as a folder of this machine; raises `UnknownVersionError` where there is none."""

    def swap(self, change: Change) -> None:
        """Replace the pointer in one step; nobody sees half of it, and what `change` raises leaves it as it was."""


def open_storage(location: str | Path, cache: Path) -> Storage:
    """Return the storage of a plain folder or of a URL; what a URL holds is copied to `cache` before it is used.

    Raises:
        StorageError: nothing that is installed reaches such a URL.
    """
    url = str(location)
    if "://" not in url or url.startswith("file://"):
        return FolderStorage(Path(url.removeprefix("file://")))
    return RemoteStorage(url, cache)


class FolderStorage:
    """A folder on a disk that every process of the service sees; one that does not exist is empty."""

    def __init__(self, root: Path) -> None:
        self.shown = str(root)
        self._root = root

    def names(self) -> list[str]:
        """See `Storage`."""
        with _reported(self.shown):
            return sorted(path.name for path in self._root.iterdir() if path.is_dir()) if self._root.is_dir() else []

    def read(self, path: str) -> bytes | None:
        """See `Storage`."""
        with _reported(self.shown):
            folder, _, name = path.partition("/")
            file = locate_file(self._root / folder, name)  # a link may lead to a version, but not out of one
            return file.read_bytes() if file.is_file() else None

    def modified_at(self, path: str) -> datetime | None:
        """See `Storage`."""
        with _reported(self.shown):
            file = self._root / path
            return datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.is_file() else None

    def add(self, folder: Path, files: Sequence[str], name: str) -> None:
        """See `Storage`; the folder gets its name when it is complete, so that nobody ever sees a part of it."""
        with _reported(self.shown):
            self._root.mkdir(parents=True, exist_ok=True)
            self._clean()
            with _unfinished_folder(self._root, name) as unfinished:
                for each in (*files, MANIFEST):
                    _copy(folder / each, unfinished / each)
                for path in (unfinished, *(path for path in unfinished.rglob("*") if path.is_dir())):
                    sync(path)
                if not _take_name(unfinished, self._root / name):
                    raise ArtifactError(f"there is a version {name!r} in {self.shown}, and none is ever overwritten.")
            sync(self._root)

    def _clean(self) -> None:
        for path in self._root.glob(f".*{_UNFINISHED}"):
            if time() - path.stat().st_mtime > _FORGOTTEN_S:
                shutil.rmtree(path, ignore_errors=True)

    def fetch(self, name: str) -> Path:
        """See `Storage`; it lies here already."""
        with _reported(self.shown):
            if not (self._root / name / MANIFEST).is_file():
                raise UnknownVersionError(f"there is no complete version {name!r} in {self.shown}.")
            return self._root / name

    def swap(self, change: Change) -> None:
        """See `Storage`; those who would do so at the same time take turns."""
        with _reported(self.shown):
            self._root.mkdir(parents=True, exist_ok=True)
            with self._turn():
                content = change(self.read(POINTER))
                unfinished = self._root / f".{POINTER}{_UNFINISHED}"
                unfinished.write_bytes(content)
                sync(unfinished)
                unfinished.replace(self._root / POINTER)
                sync(self._root)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # Not a file that is there or not: the lock of a process that was killed would stay for ever.
        with (self._root / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class RemoteStorage:
    """What fsspec reaches by a URL; every process has its own copies, in a folder of this machine.

    There is no lock: of two who move the pointer at the same moment the last one wins, unless the first one's was there
    before it wrote.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self.shown = re.sub(r"//[^/]*@", "//", url)  # without a password
        self._cache = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
        with _reported(self.shown):
            from fsspec.core import url_to_fs  # a plain folder, which most have, starts faster without

            self._files, self._root = url_to_fs(url)

    def _path(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    def names(self) -> list[str]:
        """See `Storage`."""
        with _reported(self.shown):
            self._files.invalidate_cache()  # others write there too
            try:
                found: list[dict[str, Any]] = self._files.ls(self._root, detail=True)
            except FileNotFoundError:
                return []
            return sorted(each["name"].rstrip("/").rsplit("/", 1)[-1] for each in found if each["type"] == "directory")

    def read(self, path: str) -> bytes | None:
        """See `Storage`."""
        with _reported(self.shown):
            try:
                return bytes(self._files.cat_file(self._path(path)))
            except FileNotFoundError:
                return None

    def modified_at(self, path: str) -> datetime | None:
        """See `Storage`."""
        try:
            moment: datetime = self._files.modified(self._path(path))
        except Exception:  # many places keep no such time, and each says so in its own way
            return None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def add(self, folder: Path, files: Sequence[str], name: str) -> None:
        """See `Storage`; what was cut short has no manifest, counts as nothing, and is written over."""
        with _reported(self.shown):
            if self.read(f"{name}/{MANIFEST}") is not None:
                raise ArtifactError(f"there is a version {name!r} in {self.shown}, and none is ever overwritten.")
            for each in files:
                self._files.makedirs(self._path(f"{name}/{each}").rsplit("/", 1)[0], exist_ok=True)
                self._files.put_file(str(folder / each), self._path(f"{name}/{each}"))
            self._files.pipe_file(self._path(f"{name}/{MANIFEST}"), (folder / MANIFEST).read_bytes())

    def fetch(self, name: str) -> Path:
        """See `Storage`; the copy is whole and checked against the manifest's digests, or there is none."""
        with _reported(self.shown):
            manifest = self.read(f"{name}/{MANIFEST}")
            if manifest is None:
                raise UnknownVersionError(f"there is no complete version {name!r} in {self.shown}.")
            kept = self._cache / name
            if not _is_copy(kept, manifest):
                shutil.rmtree(kept, ignore_errors=True)
                self._download(name, manifest, kept)
            return kept

    def _download(self, name: str, manifest: bytes, kept: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        with _unfinished_folder(self._cache, name) as unfinished:
            (unfinished / MANIFEST).write_bytes(manifest)
            parsed = read_manifest(unfinished)
            for each in parsed.files:
                path = locate_file(unfinished, each)
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._files.get_file(self._path(f"{name}/{each}"), str(path))
                except FileNotFoundError as error:
                    raise ArtifactError(
                        f"the version {name!r} in {self.shown} lacks {each}, which its manifest names; publish it "
                        "anew under another name."
                    ) from error
            verify_files(unfinished, parsed)
            _take_name(unfinished, kept)  # another process may have been faster: its copy is as good

    def swap(self, change: Change) -> None:
        """See `Storage`; one put, refused where the pointer has moved since it was read."""
        with _reported(self.shown):
            before = self.read(POINTER)
            content = change(before)
            if self.read(POINTER) != before:
                raise PromotionError("another promotion came in between; look at what serves now and ask again.")
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(self._path(POINTER), content)


@contextmanager
def _reported(place: str) -> Iterator[None]:
    """Turn what a disk or a library raises into `StorageError`; the project's own errors pass."""
    try:
        yield
    except ModelError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"{place} cannot be read or written: {reason}.") from error
    except Exception as error:  # each library behind fsspec has errors of its own
        raise StorageError(f"{place} cannot be read or written: {error}.") from error


@contextmanager
def _unfinished_folder(parent: Path, name: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}.", suffix=_UNFINISHED))
    folder.chmod(0o755)  # like any folder: other accounts may serve what this one publishes
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    sync(target)


def _take_name(unfinished: Path, target: Path) -> bool:
    """Give a folder its name, in one step; return False where the name is taken."""
    try:
        unfinished.rename(target)
    except OSError:
        if not target.exists():
            raise
        return False
    return True


def _is_copy(folder: Path, manifest: bytes) -> bool:
    try:
        if (folder / MANIFEST).read_bytes() != manifest:
            return False
        verify_files(folder, read_manifest(folder))
    except (OSError, ArtifactError):
        return False
    return True
