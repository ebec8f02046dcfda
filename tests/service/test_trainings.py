"""`/v1/trainings`: runs are queued, followed, cancelled and survive what ends them; children are real processes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from starlette.testclient import TestClient

import service.jobs
import service.runs
from model.artifact import Manifest, file_digests, read_manifest, write_manifest
from model.classifier import Classifier
from service.access import Keys
from service.app import create_app
from service.database import Database
from service.holder import holder_name, is_gone
from service.models import Models
from service.promotions import Promotions
from service.records import TrainingRecord
from service.settings import Settings
from service.trainings import LostError, Trainings
from tests.service.conftest import MANIFEST, PREDICT, WAIT_S, FakeClassifier, assert_problem

FAKE = Path(__file__).with_name("fake_trainer.py")
ROOT = Path(__file__).parents[2]


class Site:
    """A service whose trainer does what `plan` says; started anew as often as a test likes."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self.folder, self.url, self._stack = folder, url, stack
        self.trainer = folder / "trainer"
        template = self.trainer / "template"
        template.mkdir(parents=True)
        (template / "model.onnx").write_bytes(b"network")
        write_manifest(template, _with_files(template))
        (folder / "corpus.jsonl").write_text("")
        self.plan("good")
        self.settings = Settings(
            database_url=url,
            models=str(folder / "versions"),
            training=str(folder / "trainings"),
            corpus=str(folder / "corpus.jsonl"),
            splits="",
        )

    def plan(self, word: str) -> None:
        (self.trainer / "plan").write_text(word)

    def go(self) -> None:
        (self.trainer / "go").touch()

    def calls(self) -> list[dict[str, Any]]:
        path = self.trainer / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def application(self) -> FastAPI:
        models = Models(self.settings, cast(Classifier, FakeClassifier()), _load)
        return create_app(self.settings, models=models, trainer=[sys.executable, str(FAKE), str(self.trainer)])

    def start(self) -> TestClient:
        client = self._stack.enter_context(TestClient(self.application()))
        client.post("/v1/statements", json={"text": "We will answer.", "label": "deterrent"}).raise_for_status()
        return client


def _with_files(folder: Path) -> Manifest:
    return replace(MANIFEST, files=file_digests(folder))


def _load(folder: Path, _: int) -> Classifier:
    fake = FakeClassifier()
    fake.manifest = read_manifest(folder)
    return cast(Classifier, fake)


@pytest.fixture
def site(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(service.jobs, "_POLL_S", 0.05)
    monkeypatch.setattr(service.jobs, "_SAY_S", 0.05)
    monkeypatch.setattr(service.runs, "_POLL_S", 0.02)
    with ExitStack() as stack:
        yield Site(tmp_path, database_url, stack)


def ask(client: TestClient, **body: Any) -> str:
    response = client.post("/v1/trainings", json={"kind": "quick", "promote": "auto"} | body)
    assert response.status_code == 202, response.text
    id_: str = response.json()["id"]
    assert response.headers["location"] == f"/v1/trainings/{id_}"
    return id_


def until(reached: Callable[[], Any]) -> Any:
    ends = time.monotonic() + WAIT_S
    while not (found := reached()):
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.02)
    return found


def state_of(client: TestClient, id_: str) -> str:
    return str(client.get(f"/v1/trainings/{id_}").json()["state"])


def ended(client: TestClient, id_: str) -> dict[str, Any]:
    until(lambda: state_of(client, id_) not in {"queued", "running", "cancelling"})
    body: dict[str, Any] = client.get(f"/v1/trainings/{id_}").json()
    return body


def model_of(client: TestClient) -> str:
    return str(client.post(PREDICT, json={"text": "We will answer."}).json()["model"])


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()


def test_version_that_passes_serves_and_the_audit_names_who_asked(site: Site) -> None:
    with closing(Database(site.url)) as database:
        header = {"authorization": f"Bearer {Keys(database).create('kim', ['admin'])}"}
        client = site._stack.enter_context(TestClient(site.application(), headers=header))
        client.post("/v1/statements", json={"text": "We will answer.", "label": "deterrent"}).raise_for_status()
        body = ended(client, ask(client))
        assert (body["state"], body["reason"], body["asked_by"]) == ("promoted", None, "kim")
        assert body["version"].startswith(f"{datetime.now(UTC):%Y-}")
        assert body["verdict"]["promoted"] is True
        assert model_of(client) == body["version"]
        assert [(each.version, each.by) for each in Promotions(database).all()] == [(body["version"], "kim")]
    trained, judged = (each["words"] for each in site.calls())
    assert trained[:2] == ["quick", "--model"]
    assert (judged[0], judged[-2]) == ("gate", "--cache")
    own = Path(trained[trained.index("--own") + 1])
    assert [json.loads(line)["label"] for line in own.read_text().splitlines()] == ["deterrent"]
    assert not own.with_name("model").exists()


@pytest.mark.parametrize(("plan", "calls"), [("judges", ["quick"]), ("judges another", ["quick", "gate"])])
def test_verdict_of_the_training_itself_counts_where_it_is_on_the_model_that_serves(
    site: Site, plan: str, calls: list[str]
) -> None:
    client = site.start()
    first = ended(client, ask(client))["version"]  # so that the model that serves is a folder
    site.plan(plan)
    body = ended(client, ask(client))
    assert body["state"] == "promoted"
    assert [each["words"][0] for each in site.calls()] == ["quick", "gate", *calls]
    if plan == "judges":
        assert (body["verdict"]["challenger"], body["verdict"]["champion"]) == (body["version"], first)


def test_version_that_passes_waits_for_a_person_where_that_was_asked_for(site: Site) -> None:
    client = site.start()
    body = ended(client, ask(client, promote="manual"))
    assert body["state"] == "finished"
    assert model_of(client) == MANIFEST.version
    client.post(f"/v1/models/{body['version']}/promote").raise_for_status()
    assert model_of(client) == body["version"]


def test_version_that_is_worse_is_refused_with_the_numbers(site: Site) -> None:
    site.plan("worse")
    client = site.start()
    body = ended(client, ask(client))
    assert body["state"] == "refused"
    assert body["reason"] == "macro-F1, test split: 0.500 after 0.700 (asked for: a loss of at most 0.010)"
    assert body["verdict"]["checks"][0]["numbers"] == {"challenger": 0.5}
    assert model_of(client) == MANIFEST.version
    assert body["version"] not in {each["version"] for each in client.get("/v1/models").json()["versions"]}


def test_full_training_learns_the_labels_that_are_served_with_the_options_given(site: Site) -> None:
    client = site.start()
    options = {"epochs": 2, "base": "--looks-like-an-option", "learning_rate": 0.001}
    body = ended(client, ask(client, kind="full", options=options))
    assert (body["state"], body["options"]) == ("promoted", options)
    words = site.calls()[0]["words"]
    assert words[0] == "fit"
    assert {"--epochs=2", "--base=--looks-like-an-option", "--learning-rate=0.001"} <= set(words)
    assert words[1:6] == ["--labels", *MANIFEST.labels]


def test_runs_are_carried_out_one_at_a_time_in_their_order(site: Site) -> None:
    site.plan("wait")
    client = site.start()
    first, second = ask(client), ask(client, promote="manual")
    until(lambda: client.get(f"/v1/trainings/{first}").json()["progress"]["step"] == 3)
    assert [state_of(client, each) for each in (first, second)] == ["running", "queued"]
    progress = client.get(f"/v1/trainings/{first}").json()["progress"]
    assert (progress["phase"], progress["epoch"], progress["steps"], progress["loss"]) == ("training", 1, 9, 0.5)
    site.go()
    assert [ended(client, each)["state"] for each in (first, second)] == ["promoted", "finished"]
    assert [each["words"][0] for each in site.calls()] == ["quick", "gate", "quick", "gate"]
    assert [each["id"] for each in client.get("/v1/trainings").json()["trainings"]] == [second, first]


def test_run_that_waits_is_cancelled_at_once_and_one_that_runs_is_ended(site: Site) -> None:
    site.plan("wait")
    client = site.start()
    first, second = ask(client), ask(client)
    (call,) = until(site.calls)
    assert client.delete(f"/v1/trainings/{second}").json()["state"] == "cancelled"
    assert client.post(f"/v1/trainings/{first}/cancel").json()["state"] in {"cancelling", "cancelled"}
    body = ended(client, first)
    assert (body["state"], body["cancelled_by"]) == ("cancelled", body["asked_by"])
    assert not is_alive(call["process"])
    assert (
        "has ended already: it is cancelled" in assert_problem(client.delete(f"/v1/trainings/{first}"), 409)["detail"]
    )
    assert len(site.calls()) == 1


def test_child_that_does_not_listen_is_killed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.runs, "_GRACE_S", 0.2)
    site.plan("deaf")
    client = site.start()
    id_ = ask(client)
    until(lambda: client.get(f"/v1/trainings/{id_}").json()["progress"]["step"] == 3)
    client.delete(f"/v1/trainings/{id_}")
    assert ended(client, id_)["state"] == "cancelled"
    assert not is_alive(site.calls()[0]["process"])


def test_failure_is_told_in_the_words_of_the_training_and_the_next_run_is_carried_out(site: Site) -> None:
    site.plan("fail")
    client = site.start()
    id_ = ask(client)
    body = ended(client, id_)
    assert (body["state"], body["reason"]) == ("failed", "training failed: expected a corpus, came none.")
    log = client.get(f"/v1/trainings/{id_}/log")
    assert "error: expected a corpus, came none.\n" in log.text
    assert log.headers["content-type"].startswith("text/plain")
    site.plan("good")
    assert ended(client, ask(client))["state"] == "promoted"


def test_killed_child_is_a_failure_with_its_signal(site: Site) -> None:
    site.plan("wait")
    client = site.start()
    id_ = ask(client)
    (call,) = until(site.calls)
    os.kill(call["process"], signal.SIGKILL)
    body = ended(client, id_)
    assert body["state"] == "failed"
    assert body["reason"].startswith("training failed: it was ended by SIGKILL, as where memory runs out")


def test_run_goes_on_where_the_service_stopped_in_order(site: Site) -> None:
    site.plan("wait")
    with TestClient(site.application()) as client:
        client.post("/v1/statements", json={"text": "We will answer.", "label": "deterrent"}).raise_for_status()
        id_ = ask(client)
        (call,) = until(site.calls)
    assert not is_alive(call["process"])
    site.go()
    client = site.start()
    body = ended(client, id_)
    assert (body["state"], body["restarts"]) == ("promoted", 0)
    assert [each["words"] for each in site.calls()[:2]] == [call["words"]] * 2


def hold(site: Site, id_: str, holder: str, **values: Any) -> None:
    """Let a run be one that another process carries out."""
    with closing(Database(site.url)) as database, database.writing() as session:
        until_when = datetime.now(UTC) + timedelta(hours=1)
        held = {"state": "running", "holder": holder, "held_until": until_when} | values
        session.execute(update(TrainingRecord).where(TrainingRecord.id == id_).values(**held))


def gone() -> str:
    """Return the name of a process that has ended."""
    done = subprocess.run(
        [sys.executable, "-c", "from service.holder import holder_name; print(holder_name())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def asked(site: Site) -> str:
    with closing(Database(site.url)) as database:
        return Trainings(database).ask("quick", "auto", {}, "kim").id


def test_run_of_a_service_that_was_killed_is_begun_anew_three_times(site: Site) -> None:
    first, last = asked(site), asked(site)
    hold(site, first, name := gone(), restarts=2)
    hold(site, last, name, restarts=3)
    client = site.start()
    body = ended(client, first)
    assert (body["state"], body["restarts"]) == ("promoted", 3)
    body = ended(client, last)
    assert body["state"] == "failed"
    assert body["reason"].startswith("the service ended 4 times while it ran")
    assert [each["words"][0] for each in site.calls()] == ["quick", "gate"]


def test_cancelled_run_of_a_service_that_was_killed_stays_cancelled(site: Site) -> None:
    id_ = asked(site)
    hold(site, id_, gone(), state="cancelling")
    assert ended(site.start(), id_)["state"] == "cancelled"
    assert site.calls() == []


def test_of_two_processes_of_the_service_one_carries_out_runs(site: Site) -> None:
    site.plan("wait")
    one, other = site.start(), site.start()
    first, second = ask(one), ask(other)
    until(site.calls)
    time.sleep(0.5)  # several looks of both
    assert len(site.calls()) == 1
    assert [state_of(one, each) for each in (first, second)] == ["running", "queued"]
    site.go()
    assert [ended(other, each)["state"] for each in (first, second)] == ["promoted", "promoted"]


def test_holder_that_says_nothing_loses_the_run(site: Site) -> None:
    id_ = asked(site)
    with closing(Database(site.url)) as database:
        trainings, (one, other) = Trainings(database), (holder_name(), holder_name())
        assert trainings.take(one) is not None
        assert trainings.take(other) is None
        hold(site, id_, one, held_until=datetime.now(UTC) - timedelta(seconds=1))
        taken = trainings.take(other)
        assert taken is not None
        assert taken.restarts == 1
        with pytest.raises(LostError):
            trainings.say(id_, one)
        with pytest.raises(LostError):
            trainings.end(id_, one, "failed", reason="lost")


def test_process_that_may_live_is_not_thought_gone() -> None:
    name = holder_name()
    assert not is_gone(name)
    assert not is_gone(name.replace("|", "x|", 1))  # of another machine
    assert is_gone(gone())


def test_events_tell_each_change_until_the_end(site: Site) -> None:
    site.plan("wait")
    client = site.start()
    id_ = ask(client)
    told: list[dict[str, Any]] = []
    # This client gives an answer out when it is whole: what ends it must come from elsewhere.
    threading.Timer(1.0, site.go).start()
    with client.stream("GET", f"/v1/trainings/{id_}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
    assert told[-1] == client.get(f"/v1/trainings/{id_}").json()
    assert told[-1]["state"] == "promoted"
    assert all(one != other for one, other in pairwise(told))
    assert_problem(client.get("/v1/trainings/none/events"), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "slow"},
        {"kind": "quick", "promote": "never"},
        {"kind": "quick", "options": {"epochs": 1}},
        {"kind": "full", "options": {"epochs": 0}},
        {"kind": "full", "options": {"out": "/tmp/x"}},
        {"kind": "full", "options": {"learning_rate": "nan"}},
        {"kind": "full", "options": {"base": "a\nb"}},
        {"kind": "quick", "more": 1},
    ],
)
def test_what_no_training_could_use_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert_problem(client.post("/v1/trainings", json=body), 422)


def test_wish_that_is_no_json_is_refused_as_everywhere(client: TestClient) -> None:
    for content, content_type, status in ((b"", "application/json", 400), (b'{"kind": "quick"}', "text/plain", 415)):
        answer = client.post("/v1/trainings", content=content, headers={"content-type": content_type})
        assert_problem(answer, status)
    assert client.get("/v1/trainings").json() == {"trainings": []}


def test_what_is_not_there_is_a_problem(client: TestClient) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/log"), ("GET", "/events")):
        assert_problem(client.request(method, f"/v1/trainings/none{path}"), 404)


def test_run_that_cannot_be_carried_out_here_is_refused_with_what_to_do(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site._stack.enter_context(TestClient(site.application()))
    detail = assert_problem(client.post("/v1/trainings", json={"kind": "quick"}), 409)["detail"]
    assert detail == "there is no labelled statement to learn from; send some to /v1/statements first."
    (site.folder / "corpus.jsonl").unlink()
    detail = assert_problem(client.post("/v1/trainings", json={"kind": "full"}), 409)["detail"]
    assert "set BRINK_CORPUS to where it is" in detail
    monkeypatch.setattr(service.jobs, "_NEEDED", ("no_such_package",))
    detail = assert_problem(client.post("/v1/trainings", json={"kind": "quick"}), 409)["detail"]
    assert "(no_such_package); run `pip install 'brink[train]'`" in detail
    assert client.get("/v1/trainings").json() == {"trainings": []}


def test_child_ends_with_a_service_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from service.child import Child\n"
        "child = Child([sys.executable, '-c', 'import time; time.sleep(600)'], Path(sys.argv[1]))\n"
        "print(child._process.pid, flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)  # until it has become the command
        assert is_alive(child)
        parent.kill()
    until(lambda: not Path(f"/proc/{child}").exists() or not is_alive(child))
