"""The whole loop with a real service and real trainings: labelled, trained, judged, served, refused, rolled back."""

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

import tests.service.test_swap
from model.versions import Versions
from tests.service.conftest import WAIT_S
from tests.service.test_process import running
from tests.service.test_swap import Client
from tests.tiny import tiny_config, tiny_rows, write_rows
from training.fit import fit
from training.own import is_held_out
from training.split import write_splits

# Not those of the codebook: plain statements in English say nothing of a network that knows sixty made-up words.
LABELS = ("hawkish", "dovish", "neutral")
RUN_S = 300.0


def corpus(folder: Path) -> tuple[Path, Path]:
    """Write 200 statements to learn from and 300 that are tested; return their folder and that of the splits."""
    learnt, tested = tiny_rows(200, LABELS), tiny_rows(300, LABELS, seed=11)
    (folder / "corpus").mkdir()
    write_rows(folder / "corpus" / "statements.jsonl", learnt + tested)
    part_of = {row["id"]: "validation" if place % 5 == 0 else "train" for place, row in enumerate(learnt)}
    write_splits(folder / "splits", part_of | {row["id"]: "test" for row in tested})
    return folder / "corpus", folder / "splits"


def train(http: httpx2.Client, **body: Any) -> dict[str, Any]:
    """Ask for a quick training and return what came of it."""
    response = http.post("/v1/trainings", json={"kind": "quick", "promote": "auto"} | body)
    assert response.status_code == 202, response.text
    ends = time.monotonic() + RUN_S
    while True:
        found: dict[str, Any] = http.get(response.headers["location"]).json()
        if found["state"] not in {"queued", "running"}:
            return found
        assert time.monotonic() < ends, found
        time.sleep(0.2)


def label(http: httpx2.Client, rows: list[dict[str, Any]]) -> None:
    response = http.post("/v1/statements", json=[{"text": row["text"], "label": row["label"]} for row in rows])
    assert response.json()["accepted"] == len(rows), response.text


def share(http: httpx2.Client, texts: list[str], wanted: str) -> float:
    said = http.post("/v1/predict", json={"texts": texts}).json()["predictions"]
    return sum(each["label"] == wanted for each in said) / len(texts)


def test_labels_are_learnt_and_wrong_ones_refused_while_a_client_asks(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tests.service.test_swap, "EVERY_S", 1 / 20)
    data, splits = corpus(tmp_path)
    fit(tiny_config(tiny_base, LABELS), [data], tmp_path / "model", "tiny-1", splits)
    # Words that no training has shown to the network.
    kind = [row | {"label": "hawkish"} for row in tiny_rows(60, ("deterrent",), seed=21)]
    wrong = [row | {"label": LABELS[(LABELS.index(row["label"]) + 1) % 3]} for row in tiny_rows(150, LABELS, seed=31)]
    unseen = [row["text"] for row in kind if is_held_out(row["text"])]
    with running(
        BRINK_MODEL=str(tmp_path / "model"),
        BRINK_MODELS=str(tmp_path / "versions"),
        BRINK_DATABASE_URL=f"sqlite:///{tmp_path}/brink.db",
        BRINK_TRAINING=str(tmp_path / "trainings"),
        BRINK_CORPUS=str(data),
        BRINK_SPLITS=str(splits),
        OMP_NUM_THREADS="1",
    ) as server:
        client, http = Client(server.url), httpx2.Client(base_url=server.url, timeout=WAIT_S)
        with http, client.asking():
            client.wait_for("tiny-1")
            assert share(http, unseen, "hawkish") < 0.5
            label(http, kind)
            learnt = train(http)
            assert learnt["state"] == "promoted", learnt
            client.wait_for(learnt["version"])
            assert share(http, unseen, "hawkish") > 0.9
            label(http, wrong)
            refused = train(http)
            assert refused["state"] == "refused", refused
            assert "macro-F1, test split" in refused["reason"]
            client.wait_for(learnt["version"])
            http.post("/v1/models/rollback").raise_for_status()
            client.wait_for("tiny-1")
            assert share(http, unseen, "hawkish") < 0.5
    assert client.errors == []
    assert {version for version, _ in client.answered} == {"tiny-1", learnt["version"]}
    assert [each.action for each in Versions(tmp_path / "versions").current().history] == ["promote", "rollback"]
