"""Versions are promoted and rolled back under a real service while a client asks: nothing fails, nothing is mixed."""

import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx2

from model.artifact import MANIFEST, read_manifest, write_manifest
from model.versions import Versions
from tests.service.asking import Client
from tests.service.conftest import WAIT_S
from tests.service.test_process import ROOT, environment, running

TAKEN_OVER_S = 3.0


def version_of(folder: Path, tiny_model: Path, version: str) -> Path:
    """Return a copy of the tiny model under another version, whose answers are told from the first one's."""
    made = folder / version
    shutil.copytree(tiny_model, made, ignore=shutil.ignore_patterns(MANIFEST))
    write_manifest(made, replace(read_manifest(tiny_model), version=version, temperature=5.0))
    return made


def command(settings: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "service", "models", *arguments],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_promotions_and_rollbacks_drop_and_mix_no_request(tiny_model: Path, tmp_path: Path) -> None:
    location = tmp_path / "versions"
    settings = {
        "BRINK_MODEL": str(tiny_model),
        "BRINK_MODELS": str(location),
        "BRINK_DATABASE_URL": f"sqlite:///{tmp_path}/brink.db",
    }
    versions = Versions(location)
    versions.publish(version_of(tmp_path / "made", tiny_model, "tiny-2"))
    with running(**settings) as server:
        client, http = Client(server.url), httpx2.Client(base_url=server.url, timeout=WAIT_S)
        moves: list[tuple[str, Callable[[], object]]] = [
            ("tiny-2", lambda: http.post("/v1/models/tiny-2/promote").raise_for_status()),
            ("tiny-1", lambda: http.post("/v1/models/rollback").raise_for_status()),
            ("tiny-2", lambda: versions.promote("tiny-2", "kim")),
            ("tiny-1", lambda: versions.rollback("kim")),
            ("tiny-2", lambda: command(settings, "promote", "tiny-2")),
            ("tiny-1", lambda: command(settings, "rollback")),
        ]
        took = []
        with client.asking():
            client.wait_for("tiny-1")
            for version, move in moves:
                move()
                took.append(client.wait_for(version))
        http.close()
    assert client.errors == []
    assert {version for version, _ in client.answered} == {"tiny-1", "tiny-2"}
    # The same text gets the same answer of a version, and another of the other one.
    confidences = client.confidences()
    assert [len(each) for each in confidences.values()] == [1, 1]
    assert confidences["tiny-1"] != confidences["tiny-2"]
    # A busy machine may be late once.
    assert statistics.median(took) < TAKEN_OVER_S
    failed = [line for line in server.lines if line["level"] == "error" or line.get("status", 200) >= 400]
    assert failed == []
    assert len(versions.current().history) == len(moves)


def test_killed_service_starts_again_with_what_was_promoted(tiny_model: Path, tmp_path: Path) -> None:
    settings = {
        "BRINK_MODEL": str(tiny_model),
        "BRINK_MODELS": str(tmp_path / "versions"),
        "BRINK_DATABASE_URL": f"sqlite:///{tmp_path}/brink.db",
    }
    versions = Versions(tmp_path / "versions")
    versions.publish(version_of(tmp_path / "made", tiny_model, "tiny-2"))
    with running(**settings) as server:
        httpx2.post(f"{server.url}/v1/models/tiny-2/promote", timeout=WAIT_S).raise_for_status()
        server.process.kill()
    with running(**settings) as server:
        assert httpx2.get(f"{server.url}/v1/model").json()["version"] == "tiny-2"
    (tmp_path / "versions" / "tiny-2" / "model.onnx").write_bytes(b"damaged")
    with running(**settings) as server:
        assert httpx2.get(f"{server.url}/v1/model").json()["version"] == "tiny-1"
        assert "begins with an earlier model" in server.events()
