"""The versions of one place and their pointer: in a folder, and in a file system of fsspec's."""

import json
import multiprocessing
import os
import shutil
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

import model.storage as storage
import model.versions as module
from model.artifact import MANIFEST, RELEASED, file_digests, read_manifest, verify_files, write_manifest
from model.errors import ArtifactError, PromotionError, StorageError, UnknownVersionError
from model.storage import POINTER
from model.versions import Pointer, Versions

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write complete folders of versions."""

    def make(version: str = "one") -> Path:
        folder = tmp_path / "made" / uuid.uuid4().hex
        (folder / "report").mkdir(parents=True)
        (folder / "model.onnx").write_bytes(f"weights of {version}".encode())
        (folder / "report" / "README.md").write_text("# Report\n", encoding="utf-8")
        manifest = replace(read_manifest(RELEASED / "fast"), version=version, files=file_digests(folder))
        write_manifest(folder, manifest)
        return folder

    return make


@pytest.fixture(params=["folder", "memory"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "versions")
    return f"memory://{uuid.uuid4().hex}/versions"


@pytest.fixture
def versions(location: str, tmp_path: Path) -> Versions:
    return Versions(location, tmp_path / "cache")


@pytest.fixture
def folder_versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path / "versions")


def test_place_that_does_not_exist_is_empty_and_is_not_made(versions: Versions, tmp_path: Path) -> None:
    assert versions.names() == []
    assert versions.current() == Pointer()
    assert versions.current().version is None
    assert not list(tmp_path.iterdir())


def test_published_version_is_whole_and_does_not_serve_yet(versions: Versions, make: Make) -> None:
    source = make("2026-12-01.1")
    assert versions.publish(source) == "2026-12-01.1"
    assert versions.names() == ["2026-12-01.1"]
    assert versions.describe("2026-12-01.1") == read_manifest(source)
    assert versions.read("2026-12-01.1", "report/README.md") == b"# Report\n"
    assert versions.read("2026-12-01.1", "report/none.svg") is None
    assert versions.published_at("2026-12-01.1") is not None
    folder = versions.folder("2026-12-01.1")
    assert file_digests(folder) == read_manifest(source).files
    assert versions.current() == Pointer()


def test_only_what_the_manifest_names_is_published(versions: Versions, make: Make) -> None:
    source = make()
    (source / "notes.txt").write_text("mine", encoding="utf-8")
    versions.publish(source)
    assert "notes.txt" not in file_digests(versions.folder("one"))


def test_version_is_never_overwritten(versions: Versions, make: Make) -> None:
    versions.publish(make("one"))
    other = make("one")
    with pytest.raises(ArtifactError, match=r"there is a version 'one' in .*, and none is ever overwritten"):
        versions.publish(other)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../up", ".hidden", "a b", "a\n", "ä", "x" * 101, POINTER, "\0"]
)
def test_name_that_is_none_for_a_folder_is_refused(versions: Versions, make: Make, name: str) -> None:
    with pytest.raises(ArtifactError, match="expected a version of up to 100 letters"):
        versions.publish(make(name))
    for ask in (versions.describe, versions.folder, versions.published_at, lambda name: versions.promote(name, "kim")):
        with pytest.raises(UnknownVersionError, match="that is no version's name"):
            ask(name)
    assert versions.names() == []


def test_name_of_a_shipped_model_is_taken(versions: Versions, make: Make) -> None:
    shipped = read_manifest(RELEASED / "fast").version
    with pytest.raises(ArtifactError, match=f"the shipped model 'fast' is version {shipped} too; give yours another"):
        versions.publish(make(shipped))
    assert versions.publish(RELEASED / "fast") == shipped  # the very same is no second one


@pytest.mark.parametrize("damage", ["altered", "missing", "incomplete", "outside"])
def test_folder_that_is_not_whole_is_not_published(versions: Versions, make: Make, damage: str, tmp_path: Path) -> None:
    source = make()
    if damage == "altered":
        (source / "model.onnx").write_bytes(b"other weights")
    elif damage == "missing":
        (source / "model.onnx").unlink()
    elif damage == "incomplete":
        (source / MANIFEST).unlink()
    else:
        (tmp_path / "secret").write_bytes(b"secret")
        _edit_files(source, {"../../secret": "0" * 64})
    with pytest.raises(ArtifactError):
        versions.publish(source)
    assert versions.names() == []


def _edit_files(folder: Path, files: dict[str, str]) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"files": files}), encoding="utf-8")


def test_publishing_that_fails_midway_leaves_nothing_and_can_be_done_again(
    folder_versions: Versions, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, copied = make(), []

    def full(path: Path, target: Path) -> None:
        copied.append(path.name)
        if len(copied) == 2:
            raise OSError(28, "No space left on device")
        shutil.copyfile(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_copy", full)
        with pytest.raises(StorageError, match="cannot be read or written: No space left"):
            folder_versions.publish(source)
    assert list((tmp_path / "versions").iterdir()) == []
    folder_versions.publish(source)
    assert folder_versions.names() == ["one"]


def test_what_a_killed_publisher_left_is_no_version_and_is_removed_after_a_day(
    folder_versions: Versions, make: Make, tmp_path: Path
) -> None:
    ages = {".one.old.part": time.time() - 2 * 24 * 3600, ".one.new.part": time.time()}
    for name, age in ages.items():
        shutil.copytree(make("one"), tmp_path / "versions" / name)
        os.utime(tmp_path / "versions" / name, (age, age))
    assert folder_versions.names() == []
    folder_versions.publish(make("one"))
    assert sorted(path.name for path in (tmp_path / "versions").iterdir()) == [".one.new.part", "one"]


def test_remote_version_without_its_manifest_counts_as_nothing_and_is_written_over(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions, source = Versions(f"memory://{uuid.uuid4().hex}", tmp_path / "cache"), make()
    put = versions._storage._files  # type: ignore[attr-defined]  # what a connection that breaks would meet
    with monkeypatch.context() as patch:
        patch.setattr(put, "pipe_file", _break)
        with pytest.raises(StorageError, match="the connection broke"):
            versions.publish(source)
    assert versions.names() == []
    with pytest.raises(UnknownVersionError, match="there is no complete version 'one'"):
        versions.folder("one")
    versions.publish(source)
    assert versions.names() == ["one"]


def _break(*_: object) -> None:
    raise RuntimeError("the connection broke")


def test_pointer_follows_promotions_and_rollbacks(versions: Versions, make: Make) -> None:
    for name in ("one", "two", "three"):
        versions.publish(make(name))
    assert versions.promote("one", "kim").version == "one"
    assert versions.promote("two", "lee").version == "two"
    assert versions.rollback("kim").version == "one"
    assert versions.promote("three", "kim").line == [None, "one", "three"]  # never back to what was left
    assert versions.rollback("lee").version == "one"
    assert versions.rollback("lee").version is None
    with pytest.raises(PromotionError, match="there is nothing to roll back to"):
        versions.rollback("lee")
    told = [(each.version, each.by, each.action) for each in versions.current().history]
    assert told == [
        ("one", "kim", "promote"),
        ("two", "lee", "promote"),
        ("one", "kim", "rollback"),
        ("three", "kim", "promote"),
        ("one", "lee", "rollback"),
        (None, "lee", "rollback"),
    ]
    moments = [each.at for each in versions.current().history]
    assert moments == sorted(moments)


def test_version_that_serves_or_is_unknown_is_not_promoted(versions: Versions, make: Make) -> None:
    versions.publish(make("one"))
    versions.promote("one", "kim")
    with pytest.raises(PromotionError, match="one serves already"):
        versions.promote("one", "kim")
    with pytest.raises(UnknownVersionError, match="there is no complete version 'two'"):
        versions.promote("two", "kim")
    assert len(versions.current().history) == 1


def test_rollback_is_refused_where_the_pointer_has_moved_since_it_was_looked_at(versions: Versions, make: Make) -> None:
    for name in ("one", "two"):
        versions.publish(make(name))
    seen = versions.promote("one", "kim")
    versions.promote("two", "kim")
    with pytest.raises(PromotionError, match="another promotion came in between"):
        versions.rollback("kim", seen)
    assert versions.current().version == "two"


@pytest.mark.parametrize("damage", ["altered", "missing", "renamed", "no manifest"])
def test_broken_version_is_never_promoted_nor_rolled_back_to(
    folder_versions: Versions, make: Make, tmp_path: Path, damage: str
) -> None:
    for name in ("one", "two", "three"):
        folder_versions.publish(make(name))
    folder_versions.promote("one", "kim")
    folder_versions.promote("two", "kim")
    broken = tmp_path / "versions" / "one"
    if damage == "altered":
        (broken / "model.onnx").write_bytes(b"other weights")
    elif damage == "missing":
        (broken / "model.onnx").unlink()
    elif damage == "renamed":
        shutil.rmtree(broken)
        shutil.copytree(tmp_path / "versions" / "three", broken)
    else:
        (broken / MANIFEST).unlink()
    before = folder_versions.current()
    for move in (lambda: folder_versions.promote("one", "kim"), lambda: folder_versions.rollback("kim")):
        with pytest.raises((ArtifactError, UnknownVersionError)):
            move()
    assert folder_versions.current() == before


def _pointer(version: object, action: str, at: str = "2026-12-01T00:00:00+00:00") -> bytes:
    entry = {"version": version, "at": at, "by": "kim", "action": action}
    return json.dumps({"format": 1, "version": version, "history": [entry]}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2, "version": null, "history": []}',
        b'{"format": 1, "version": "one", "history": []}',
        _pointer("..", "promote"),
        _pointer(None, "rollback"),
        _pointer("a", "delete"),
        _pointer(1, "promote"),
        _pointer("a", "promote", at="today"),
        _pointer("a", "promote", at="2026-12-01"),
        b"\xff",
    ],
)
def test_pointer_that_is_none_is_named_and_never_written_over(
    folder_versions: Versions, make: Make, tmp_path: Path, content: bytes
) -> None:
    folder_versions.publish(make("one"))
    (tmp_path / "versions" / POINTER).write_bytes(content)
    for ask in (folder_versions.current, lambda: folder_versions.promote("one", "kim")):
        with pytest.raises(
            StorageError, match=r"current\.json in .* is no pointer .*; restore it from a copy, or delete"
        ):
            ask()
    assert (tmp_path / "versions" / POINTER).read_bytes() == content


def _promote_in_turn(location: str, names: list[str]) -> None:
    for name in names * 5:
        try:
            Versions(location).promote(name, f"promoter {os.getpid()}")
        except PromotionError:
            continue  # the other one was faster with the same version


def test_promoters_at_the_same_time_take_turns_and_lose_no_move(make: Make, tmp_path: Path) -> None:
    location = tmp_path / "versions"
    for name in ("one", "two", "three", "four"):
        Versions(location).publish(make(name))
    processes = [
        multiprocessing.get_context("spawn").Process(target=_promote_in_turn, args=(str(location), names))
        for names in (["one", "two"], ["three", "four"])
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    history = Versions(location).current().history
    assert len(history) == 20  # no two name the same version, so that each move counts
    assert len({each.by for each in history}) == 2


def test_two_who_publish_the_same_at_once_leave_one_whole_version(make: Make, tmp_path: Path) -> None:
    versions, source = Versions(tmp_path / "versions"), make("one")

    def publish(_: int) -> str:
        try:
            return versions.publish(source)
        except ArtifactError as error:
            return str(error)

    with ThreadPoolExecutor(4) as executor:
        told = sorted(executor.map(publish, range(4)))
    assert told[0] == "one"
    assert all("none is ever overwritten" in each for each in told[1:])
    verify_files(versions.folder("one"), read_manifest(source))


def test_remote_promotion_that_came_in_between_is_not_written_over(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    versions, other = Versions(url, tmp_path / "cache"), Versions(url, tmp_path / "cache")
    for name in ("one", "two"):
        versions.publish(make(name))

    written = module._written

    def slow(pointer: Pointer) -> bytes:
        monkeypatch.setattr(module, "_written", written)
        other.promote("two", "lee")
        return written(pointer)

    monkeypatch.setattr(module, "_written", slow)
    with pytest.raises(PromotionError, match="another promotion came in between"):
        versions.promote("one", "kim")
    assert versions.current().line == [None, "two"]


def test_remote_version_is_copied_once_and_again_where_the_copy_is_damaged(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(f"memory://{uuid.uuid4().hex}", tmp_path / "cache")
    versions.publish(make("one"))
    folder = versions.folder("one")
    with monkeypatch.context() as patch:
        patch.setattr(versions._storage._files, "get_file", _break)  # type: ignore[attr-defined]
        assert versions.folder("one") == folder
    (folder / "model.onnx").write_bytes(b"other weights")
    assert (versions.folder("one") / "model.onnx").read_bytes() == b"weights of one"


@pytest.mark.parametrize("damage", ["altered", "missing", "outside"])
def test_remote_version_that_is_not_whole_leaves_no_copy(make: Make, tmp_path: Path, damage: str) -> None:
    versions = Versions(f"memory://{uuid.uuid4().hex}", tmp_path / "cache")
    versions.publish(make("one"))
    files, root = versions._storage._files, versions._storage._root  # type: ignore[attr-defined]
    if damage == "altered":
        files.pipe_file(f"{root}/one/model.onnx", b"other weights")
    elif damage == "missing":
        files.rm_file(f"{root}/one/model.onnx")
    else:
        manifest = json.loads(files.cat_file(f"{root}/one/{MANIFEST}"))
        manifest["files"]["../../escaped"] = "0" * 64
        files.pipe_file(f"{root}/one/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(ArtifactError):
        versions.folder("one")
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "made" not in path.parts]
    assert left == []


def test_url_that_nothing_reaches_is_named() -> None:
    with pytest.raises(StorageError, match="nowhere://bucket cannot be read or written: Protocol not known: nowhere"):
        Versions("nowhere://user:secret@bucket")


def test_url_of_a_file_is_its_folder(make: Make, tmp_path: Path) -> None:
    Versions(f"file://{tmp_path}/versions").publish(make("one"))
    assert Versions(tmp_path / "versions").names() == ["one"]


def test_place_that_cannot_be_written_is_named(make: Make, tmp_path: Path) -> None:
    (tmp_path / "versions").write_bytes(b"a file")
    with pytest.raises(StorageError, match="versions cannot be read or written: File exists"):
        Versions(tmp_path / "versions").publish(make("one"))


def test_version_may_be_a_link_but_no_file_of_it_may_lead_out(
    folder_versions: Versions, make: Make, tmp_path: Path
) -> None:
    (tmp_path / "versions").mkdir()
    source = make("one")
    (tmp_path / "versions" / "one").symlink_to(source)
    assert folder_versions.folder("one").resolve() == source
    (tmp_path / "secret").write_bytes(b"secret")
    (source / "report" / "plot.svg").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match="names a file outside the folder"):
        folder_versions.read("one", "report/plot.svg")


def test_who_is_kept_whatever_it_holds(versions: Versions, make: Make) -> None:
    versions.publish(make("one"))
    versions.promote("one", "\ud800" + "k" * 300)
    (entry,) = versions.current().history
    assert len(entry.by) == 200
