"""`/v1/models`: what is listed, promoted, rolled back and taken over, and that no request is dropped or mixed."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.testclient import TestClient

import service.watcher
from model.artifact import RELEASED, file_digests, read_manifest, write_manifest
from model.classifier import Classifier
from model.errors import ArtifactError
from model.storage import POINTER
from model.versions import Versions
from service.access import Keys
from service.app import create_app
from service.database import Database
from service.models import Models
from service.promotions import Promotions
from service.settings import Settings
from tests.service.conftest import MANIFEST, PREDICT, WAIT_S, FakeClassifier, Log, assert_problem
from tests.service.test_operations import scrape, value

FAST, ACCURATE = (read_manifest(RELEASED / name).version for name in ("fast", "accurate"))


def publish(folder: Path, version: str, location: Path) -> None:
    made = folder / f"made-{version}"
    (made / "report").mkdir(parents=True)
    (made / "model.onnx").write_bytes(version.encode())
    (made / "report" / "README.md").write_text(f"# {version}\n", encoding="utf-8")
    (made / "report" / "risk.svg").write_text("<svg/>", encoding="utf-8")
    (made / "report" / "secret.txt").write_text("secret", encoding="utf-8")
    write_manifest(made, replace(MANIFEST, version=version, files=file_digests(made)))
    Versions(location).publish(made)


class Site:
    """A service with versions that were published; `start` starts it.

    Attributes:
        fakes: the models that were loaded, by version, the last one of each.
        loads: versions in the order in which they were loaded.
        mute: versions that load and do not answer.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._stack = stack
        self.location = folder / "versions"
        self.url = f"sqlite:///{folder}/brink.db"
        self.versions = Versions(self.location)
        self.default = FakeClassifier()
        self.fakes: dict[str, FakeClassifier] = {}
        self.loads: list[str] = []
        self.mute: set[str] = set()

    def load(self, folder: Path, _: int) -> Classifier:
        fake = FakeClassifier()
        fake.manifest = read_manifest(folder)
        version = fake.manifest.version
        self.loads.append(version)
        if version in self.mute:
            fake.failure = RuntimeError("cannot compute")
        self.fakes[version] = fake
        return cast(Classifier, fake)

    def start(self, **settings: Any) -> TestClient:
        chosen = Settings(**({"models": str(self.location), "database_url": self.url} | settings))
        models = Models(chosen, cast(Classifier, self.default), self.load)
        return self._stack.enter_context(TestClient(create_app(chosen, models=models)))

    def damage(self, version: str) -> None:
        (self.location / version / "model.onnx").write_bytes(b"damaged")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(service.watcher, "POLL_S", 0.02)
    with ExitStack() as stack:
        site = Site(tmp_path, stack)
        for version in ("one", "two", "three"):
            publish(tmp_path, version, site.location)
        yield site


def model_of(client: TestClient) -> str:
    return str(client.post(PREDICT, json={"text": "We will answer."}).json()["model"])


def states(client: TestClient) -> dict[str, str]:
    return {each["version"]: each["state"] for each in client.get("/v1/models").json()["versions"]}


def until(reached: Callable[[], bool]) -> None:
    ended = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < ended, "it did not come about"
        time.sleep(0.01)


def test_without_a_promotion_the_shipped_model_serves(site: Site) -> None:
    client = site.start()
    body = client.get("/v1/models").json()
    assert (body["serving"], body["current"], body["previous"]) == (MANIFEST.version, MANIFEST.version, None)
    assert body["history"] == []
    available = dict.fromkeys(("one", "two", "three"), "available")
    assert states(client) == available | {MANIFEST.version: "current", FAST: "shipped", ACCURATE: "shipped"}


def test_promoted_version_answers_the_next_request(site: Site) -> None:
    client = site.start()
    response = client.post("/v1/models/one/promote")
    assert response.status_code == 200
    body = response.json()
    assert (body["serving"], body["current"], body["previous"]) == ("one", "one", MANIFEST.version)
    [entry] = body["history"]
    assert (entry["version"], entry["by"], entry["action"]) == ("one", "local", "promote")
    assert model_of(client) == client.get("/v1/model").json()["version"] == "one"
    assert value(scrape(client), "brink_model_info", version="one") == 1
    assert site.loads == ["one"]  # what was tried before the pointer moved is what serves


def test_rollback_goes_back_one_promotion_and_at_last_to_the_shipped_model(site: Site) -> None:
    client = site.start()
    for version in ("one", "two"):
        client.post(f"/v1/models/{version}/promote")
    served = []
    for _ in range(2):
        assert client.post("/v1/models/rollback").status_code == 200
        served.append(model_of(client))
    assert served == ["one", MANIFEST.version]
    assert "nothing to roll back to" in assert_problem(client.post("/v1/models/rollback"), 409)["detail"]


@pytest.mark.parametrize("version", ["none", "..", "%2e%2e", "..%2fversions", "a%00b", "x" * 200, "current.json", "é"])
def test_version_that_there_is_none_of_is_404(site: Site, version: str) -> None:
    client = site.start()
    assert_problem(client.get(f"/v1/models/{version}/report/x.svg"), 404)
    assert_problem(client.get(f"/v1/models/{version}/report"), 404)
    assert_problem(client.post(f"/v1/models/{version}/promote"), 404)
    assert site.versions.current().history == ()


def test_version_that_serves_already_is_a_conflict(site: Site) -> None:
    client = site.start()
    client.post("/v1/models/one/promote")
    assert assert_problem(client.post("/v1/models/one/promote"), 409)["detail"] == "one serves already."
    client.post("/v1/models/rollback")
    assert_problem(client.post(f"/v1/models/{MANIFEST.version}/promote"), 409)


@pytest.mark.parametrize("fault", ["damaged", "mute"])
def test_version_that_does_not_answer_is_refused_before_the_pointer_moves(site: Site, fault: str) -> None:
    client = site.start()
    if fault == "damaged":
        site.damage("one")
    else:
        site.mute.add("one")
    detail = assert_problem(client.post("/v1/models/one/promote"), 409)["detail"]
    assert ("was altered after the model was written" if fault == "damaged" else "cannot compute") in detail
    assert site.versions.current().history == ()
    assert model_of(client) == MANIFEST.version
    one = client.get("/v1/models/one").json()
    assert (one["state"], one["reason"]) == ("failed", detail)
    assert value(scrape(client), "brink_model_load_failures_total") == 1
    site.mute.clear()
    if fault == "mute":  # it may be tried again
        assert client.post("/v1/models/one/promote").status_code == 200
        assert states(client)["one"] == "current"


def test_rollback_to_a_version_that_does_not_answer_is_refused(site: Site) -> None:
    client = site.start()
    for version in ("one", "two"):
        client.post(f"/v1/models/{version}/promote")
    site.damage("one")
    assert_problem(client.post("/v1/models/rollback"), 409)
    shutil.rmtree(site.location / "one")
    assert_problem(client.post("/v1/models/rollback"), 404)
    assert model_of(client) == "two"


def test_promotion_of_another_process_is_taken_over_and_noted(site: Site) -> None:
    client = site.start()
    site.versions.promote("one", "kim")
    until(lambda: model_of(client) == "one")
    site.versions.rollback("lee")
    until(lambda: model_of(client) == MANIFEST.version)
    until(lambda: len(_noted(site.url)) == 2)
    assert _noted(site.url) == [("one", "kim", "promote"), (None, "lee", "rollback")]


def _noted(url: str) -> list[tuple[str | None, str, str]]:
    with closing(Database(url)) as database:
        return [(each.version, each.by, each.action) for each in Promotions(database).all()]


@pytest.mark.parametrize("fault", ["damaged", "mute", "deleted"])
def test_promoted_version_that_breaks_is_never_taken_over(site: Site, fault: str, log: Log) -> None:
    log.configure()
    for version in ("one", "two"):
        site.versions.promote(version, "kim")
    pointer = site.location.with_name("pointer")
    shutil.copy(site.location / POINTER, pointer)
    site.versions.rollback("kim")
    client = site.start()
    if fault == "damaged":
        site.damage("two")
    elif fault == "mute":
        site.mute.add("two")
    else:
        shutil.rmtree(site.location / "two")
    pointer.replace(site.location / POINTER)  # as somebody would who promotes it before it breaks
    until(lambda: states(client).get("two") == "failed")
    time.sleep(0.2)  # ten looks at the pointer
    assert model_of(client) == "one"
    assert client.get("/v1/models").json()["current"] == "two"
    assert value(scrape(client), "brink_model_load_failures_total") == 1
    assert len(log.lines("the promoted model was not taken over")) == 1
    site.mute.clear()
    assert client.post("/v1/models/rollback").json()["current"] == "one"
    assert client.post("/v1/models/three/promote").json()["serving"] == "three"


def test_start_falls_back_to_what_served_before(site: Site, log: Log) -> None:
    log.configure()
    for version in ("one", "two", "three"):
        site.versions.promote(version, "kim")
    site.damage("three")
    site.mute.add("two")
    assert model_of(site.start()) == "one"
    assert [line["refused"] for line in log.lines("begins with an earlier model")] == ["three", "two"]
    site.damage("one")
    client = site.start()
    assert model_of(client) == MANIFEST.version
    until(lambda: value(scrape(client), "brink_model_load_failures_total") == 1)
    assert client.get("/v1/models").json()["current"] == "three"


def test_start_with_a_pointer_that_is_none_serves_the_shipped_model(site: Site, log: Log) -> None:
    log.configure()
    (site.location / POINTER).write_bytes(b"{")
    client = site.start()
    assert model_of(client) == MANIFEST.version
    assert len(log.lines("begins with the shipped model")) == 1
    assert "is no pointer" in assert_problem(client.get("/v1/models"), 503)["detail"]
    assert_problem(client.post("/v1/models/one/promote"), 503)
    (site.location / POINTER).unlink()
    assert client.post("/v1/models/one/promote").json()["serving"] == "one"


def test_place_that_goes_away_and_comes_back_changes_nothing(site: Site, log: Log) -> None:
    log.configure()
    site.versions.promote("one", "kim")
    client = site.start()
    away = site.location.rename(site.location.with_name("away"))
    until(lambda: len(log.lines("the promoted model was not taken over")) == 1)
    assert model_of(client) == "one"
    assert value(scrape(client), "brink_model_load_failures_total") == 0
    away.rename(site.location)
    site.versions.promote("two", "kim")
    until(lambda: model_of(client) == "two")


def test_request_is_answered_by_one_model_through_a_promotion(site: Site, background: ThreadPoolExecutor) -> None:
    client = site.start()
    asked = {"text": "We will answer now!", "explain": True}
    with site.default.blocked():
        waiting = background.submit(client.post, PREDICT, json=asked)
        site.default.wait_until_entered()
        assert client.post("/v1/models/one/promote").status_code == 200
        assert model_of(client) == "one"
    before = waiting.result(WAIT_S)
    assert (before.status_code, before.json()["model"]) == (200, MANIFEST.version)
    assert site.default.seen[-1] != asked["text"]  # its explanation came from the same model
    assert "We will answer now" not in site.fakes["one"].seen


def test_stream_is_answered_by_one_model_through_a_promotion(site: Site, background: ThreadPoolExecutor) -> None:
    client = site.start()
    body, headers = b'"We will answer."\n' * 200, {"content-type": "application/x-ndjson"}
    with site.default.blocked():
        waiting = background.submit(client.post, f"{PREDICT}/stream", content=body, headers=headers)
        site.default.wait_until_entered()
        assert client.post("/v1/models/one/promote").status_code == 200
    lines = [json.loads(line) for line in waiting.result(WAIT_S).text.splitlines()]
    assert [line["model"] for line in lines] == [MANIFEST.version] * 200
    assert model_of(client) == "one"


def test_shipped_version_is_published_when_it_is_promoted(site: Site) -> None:
    client = site.start()
    assert client.post(f"/v1/models/{FAST}/promote").json()["serving"] == FAST
    assert FAST in site.versions.names()
    assert states(client)[FAST] == "current"


def test_version_is_described(site: Site) -> None:
    body = site.start().get("/v1/models/one").json()
    assert body.pop("published_at")
    assert body == {
        "version": "one",
        "state": "available",
        "reason": None,
        "labels": list(MANIFEST.labels),
        "metrics": {"macro_f1": 0.5},
        "base": MANIFEST.base,
        "training": {"seed": 0},
        "trained_on": {"train": {"statements": 3}},
        "has_report": True,
    }


def test_folder_with_a_manifest_that_is_none_is_listed_as_failed(site: Site) -> None:
    (site.location / "one" / "manifest.json").write_bytes(b"{")
    one = site.start().get("/v1/models/one").json()
    assert (one["state"], one["labels"]) == ("failed", [])
    assert "cannot be read as JSON" in one["reason"]


def test_report_and_its_plots_are_there_to_read(site: Site) -> None:
    client = site.start()
    report = client.get("/v1/models/one/report")
    assert (report.text, report.headers["content-type"]) == ("# one\n", "text/markdown; charset=utf-8")
    plot = client.get("/v1/models/one/report/risk.svg")
    assert (plot.text, plot.headers["content-type"]) == ("<svg/>", "image/svg+xml")
    assert plot.headers["content-security-policy"].startswith("default-src 'none'")
    assert client.get(f"/v1/models/{ACCURATE}/report").text.startswith("#")
    assert client.get(f"/v1/models/{ACCURATE}/report/risk.svg").status_code == 200
    assert_problem(client.get(f"/v1/models/{MANIFEST.version}/report"), 404)


@pytest.mark.parametrize(
    "file",
    [
        "none.svg",
        "secret.txt",
        "..%2f..%2fmodel.onnx",
        "..%2fmodel.onnx",
        "%2e%2e",
        "README.md",
        "README.md%00",
        "a%0a.svg",
    ],
)
def test_only_plots_of_the_report_are_served(site: Site, file: str) -> None:
    assert_problem(site.start().get(f"/v1/models/one/report/{file}"), 404)


def test_promoting_needs_a_key_of_an_administrator_and_is_noted_under_its_name(site: Site, database_url: str) -> None:
    with closing(Database(database_url)) as database:
        keys = Keys(database)
        secrets = {scope: keys.create(f"{scope}-key", [scope]) for scope in ("predict", "label", "admin")}
    headers = {scope: {"authorization": f"Bearer {secret}"} for scope, secret in secrets.items()}
    client = site.start(database_url=database_url)
    assert client.get("/v1/models", headers=headers["predict"]).status_code == 200
    for scope in ("predict", "label"):
        assert_problem(client.post("/v1/models/one/promote", headers=headers[scope]), 403)
        assert_problem(client.post("/v1/models/rollback", headers=headers[scope]), 403)
    assert client.post("/v1/models/one/promote", headers=headers["admin"]).status_code == 200
    assert client.post("/v1/models/rollback", headers=headers["admin"]).status_code == 200
    assert _noted(database_url) == [("one", "admin-key", "promote"), (None, "admin-key", "rollback")]


def test_database_that_is_away_stops_no_rollback_and_is_made_up_for(site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    client = site.start(database_url=f"sqlite:///{broken}")
    assert client.get("/v1/models").status_code == 200  # the keys were looked for, and there are none
    broken.write_bytes(b"no database" * 1000)
    assert client.post("/v1/models/one/promote").status_code == 200
    assert client.post("/v1/models/rollback").status_code == 200
    broken.unlink()
    assert client.post("/v1/models/two/promote").status_code == 200
    told = [("one", "local", "promote"), (None, "local", "rollback"), ("two", "local", "promote")]
    assert _noted(f"sqlite:///{broken}") == told


def test_noting_a_history_again_adds_nothing(site: Site, database_url: str) -> None:
    site.versions.promote("one", "kim")
    pointer = site.versions.promote("two", "kim")
    with closing(Database(database_url)) as database:
        for _ in range(2):
            Promotions(database).note(pointer.history)
        assert Promotions(database).all() == list(pointer.history)


def test_model_whose_answers_are_no_numbers_is_refused(site: Site) -> None:
    settings = Settings(models=str(site.location))

    def load(folder: Path, threads: int) -> Classifier:
        fake = cast(Any, site.load(folder, threads))
        sound = fake.classify
        fake.classify = lambda texts: [replace(each, probabilities={"none": float("nan")}) for each in sound(texts)]
        return cast(Classifier, fake)

    with pytest.raises(ArtifactError, match="was loaded but does not answer a plain statement"):
        Models(settings, load=load).prepare("one")
