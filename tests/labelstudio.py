"""The real Label Studio with this service as its backend: predictions go there, and annotations come back as labels.

`make label-studio` installs it into an environment of its own, which takes minutes, and runs this: 4 to 9 minutes,
nearly all of them the first start of Label Studio. Both are processes on this machine, with their data in a temporary
folder, and end with it.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from service.access import Keys  # noqa: E402  # the script's folder is not the packages'
from service.database import Database  # noqa: E402
from tests.service.labelstudio_bodies import CONFIG, config  # noqa: E402
from tests.service.test_process import Server, environment  # noqa: E402

USER, PASSWORD, TOKEN = "kim@example.org", "a-password-of-a-test", "0123456789abcdef0123456789abcdef01234567"
TEXTS = [
    "Any aircraft that enters our airspace armed will be shot down.",
    "Both sides should return to the table.",
    " ",
    "x" * 20_001,
    'Zur\u00fcck an den Tisch \U0001f54a \u202e\n<b>&amp;"</b>',
]
# Longest waits, reached only where something hangs. The first start makes some 400 migrations: 3 minutes on 2 slow
# cores, and 16 on the same while others kept them busy.
START_S = 1800.0
ANSWER_S = 120.0


def main() -> int:
    """Run the story; return 0, or end with the step that failed."""
    parser = argparse.ArgumentParser(description="The real Label Studio with this service as its backend.")
    parser.add_argument("program", type=Path, help="label-studio in the environment that it is installed in")
    program = parser.parse_args().program.absolute()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends it ends what it has started too
    with tempfile.TemporaryDirectory(prefix="brink-label-studio-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/brink.db"
        with closing(Database(url)) as database:
            keys = {scope: Keys(database).create(f"studio-{scope}", [scope]) for scope in ("predict", "label")}
        with _label_studio(program, folder / "label-studio") as studio:
            _story(studio, url, keys)
    print("label studio: every step held")
    return 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@contextmanager
def _brink(database_url: str, port: int) -> Iterator[httpx2.Client]:
    """Start the service, and kill it at the end, as a crash would."""
    settings = {"BRINK_DATABASE_URL": database_url, "BRINK_PORT": str(port)}
    command, variables = [sys.executable, "-m", "service"], environment(settings)
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield httpx2.Client(base_url=Server(process).url, timeout=ANSWER_S)
        finally:
            process.kill()


@contextmanager
def _label_studio(program: Path, folder: Path) -> Iterator[httpx2.Client]:
    """Start Label Studio with one user and yield a client that is that user."""
    folder.mkdir()
    port = _free_port()
    # It refuses backends and webhooks on this machine unless told so, and asks other hosts for versions and the like.
    told = ("SSRF_PROTECTION_ENABLED", "ML_BLOCK_LOCAL_IP", "LATEST_VERSION_CHECK", "COLLECT_ANALYTICS")
    # A busy machine answers later; its own patience is a second.
    waits = ("ML_CONNECTION_TIMEOUT", "ML_TIMEOUT_HEALTH", "ML_TIMEOUT_SETUP", "ML_TIMEOUT_PREDICT", "WEBHOOK_TIMEOUT")
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "SENTRY_DSN": ""}
    variables |= dict.fromkeys(told, "false") | dict.fromkeys(waits, str(ANSWER_S))
    command: list[str | Path] = [program, "start", "--init", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", str(port), "--data-dir", folder, "--username", USER, "--password", PASSWORD]
    command += ["--user-token", TOKEN, "--enable-legacy-api-token"]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=stream, stderr=subprocess.STDOUT)
    client = httpx2.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Token {TOKEN}"}, timeout=ANSWER_S
    )
    try:
        _wait_for("Label Studio to start", lambda: _is_up(client, process), START_S)
        yield client
    except BaseException:
        print(log.read_text(errors="replace")[-8000:], file=sys.stderr)
        raise
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()


def _is_up(client: httpx2.Client, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "Label Studio ended"
    try:
        return client.get("/health").status_code == 200
    except httpx2.TransportError:
        return False


def _wait_for(what: str, holds: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(0.5)


def _asked(response: httpx2.Response) -> Any:
    assert response.status_code < 300, f"{response.request.url}: {response.status_code} {response.text[:2000]}"
    return response.json() if response.content else None


def _story(studio: httpx2.Client, database_url: str, keys: dict[str, str]) -> None:
    project = _asked(studio.post("/api/projects", json={"title": "Stances", "label_config": CONFIG}))["id"]
    port = _free_port()
    with _brink(database_url, port) as brink:
        _connect(studio, brink, project, keys)
        tasks = _predictions(studio, brink, project, keys)
        _annotate(studio, brink, tasks[0]["id"], keys)
        _annotate_in_bulk(studio, brink, project, keys)
    _annotate_unheard(studio, project, tasks)
    with _brink(database_url, port) as brink:
        _catch_up(studio, brink, project, tasks, keys)


def _connect(studio: httpx2.Client, brink: httpx2.Client, project: int, keys: dict[str, str]) -> None:
    backend = {"project": project, "url": str(brink.base_url), "title": "Brink", "auth_method": "BASIC_AUTH"}
    backend |= {"basic_auth_user": "brink", "basic_auth_pass": keys["predict"]}
    refused = studio.post("/api/ml", json=backend | {"basic_auth_pass": "wrong"})
    assert refused.status_code == 400, refused.text
    assert "authentication parameters were" in refused.text, refused.text
    refused = studio.post("/api/ml", json=backend | {"url": f"http://127.0.0.1:{_free_port()}"})
    assert refused.status_code == 400, refused.text
    assert "health check failed" in refused.text, refused.text
    other = _asked(studio.post("/api/projects", json={"title": "Other", "label_config": config("none", "other")}))["id"]
    refused = studio.post("/api/ml", json=backend | {"project": other})
    assert refused.status_code == 400, refused.text
    assert "incompatible with the current labeling configuration" in refused.text, refused.text
    connected = _asked(studio.post("/api/ml", json=backend))
    assert connected["state"] == "CO" or connected["readable_state"], connected
    # It has made a webhook for the backend, which does not know the password.
    (webhook,) = _asked(studio.get("/api/webhooks/", params={"project": project}))
    assert webhook["url"] == f"{str(brink.base_url).rstrip('/')}/webhook", webhook
    headers = {"Authorization": f"Bearer {keys['label']}"}
    change = {"url": webhook["url"], "headers": headers, "send_for_all_actions": True, "send_payload": True}
    _asked(studio.patch(f"/api/webhooks/{webhook['id']}/", json=change))
    print("connected; a wrong key, a wrong address and a project of other choices were refused")


def _predictions(
    studio: httpx2.Client, brink: httpx2.Client, project: int, keys: dict[str, str]
) -> list[dict[str, Any]]:
    """Import tasks, ask for their predictions and compare them with the service's own answers."""
    _asked(studio.post(f"/api/projects/{project}/import", json=[{"text": text} for text in TEXTS]))
    _act(studio, project, "retrieve_tasks_predictions")
    found = _asked(studio.get("/api/tasks", params={"project": project, "fields": "all"}))["tasks"]
    tasks: list[dict[str, Any]] = sorted(found, key=lambda task: TEXTS.index(task["data"]["text"]))
    headers = {"authorization": f"Bearer {keys['predict']}"}
    answer = _asked(brink.post("/v1/predict", json={"texts": TEXTS}, headers=headers))
    for task, expected in zip(tasks, answer["predictions"], strict=True):
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == answer["model"], prediction
        if "error" in expected:
            assert prediction["result"] == [], prediction
            continue
        (result,) = prediction["result"]
        assert result["value"] == {"choices": [expected["label"]]}, (result, expected)
        assert abs(prediction["score"] - expected["confidence"]) < 0.01, (prediction, expected)
    print("predictions:", [[each["value"] for each in task["predictions"][0]["result"]] for task in tasks])
    return tasks


def _said(brink: httpx2.Client, keys: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return text, annotator and label of all that has come from Label Studio."""
    headers = {"authorization": f"Bearer {keys['label']}"}
    found = _asked(brink.get("/v1/statements", params={"source": "label-studio"}, headers=headers))["statements"]
    return [(each["text"], label["annotator"], label["label"]) for each in found for label in each["labels"]]


def _result(label: str) -> dict[str, Any]:
    value = {"choices": [label]}
    return {"result": [{"from_name": "stance", "to_name": "statement", "type": "choices", "value": value}]}


def _annotate(studio: httpx2.Client, brink: httpx2.Client, task: int, keys: dict[str, str]) -> None:
    """Annotate, correct, skip and delete in Label Studio, as two annotators, and wait for each to arrive."""
    lee = _asked(studio.post("/api/users/", json={"email": "lee@example.org", "username": "lee"}))["id"]
    annotations = f"/api/tasks/{task}/annotations"
    assert _said(brink, keys) == []
    annotation = _asked(studio.post(annotations, json=_result("escalatory")))
    ours = f"label-studio:{annotation['completed_by']}"
    _wait_for("the annotation", lambda: _said(brink, keys) == [(TEXTS[0], ours, "escalatory")], ANSWER_S)
    place = f"/api/annotations/{annotation['id']}"
    _asked(studio.patch(place, json=_result("deterrent")))
    _wait_for("its correction", lambda: _said(brink, keys) == [(TEXTS[0], ours, "deterrent")], ANSWER_S)
    of_lee = _asked(studio.post(annotations, json=_result("none") | {"completed_by": lee}))
    theirs = (TEXTS[0], f"label-studio:{lee}", "none")
    _wait_for("another's", lambda: _said(brink, keys) == [(TEXTS[0], ours, "deterrent"), theirs], ANSWER_S)
    _asked(studio.patch(place, json={"was_cancelled": True}))
    _wait_for("that it was skipped", lambda: _said(brink, keys) == [theirs], ANSWER_S)
    _asked(studio.delete(f"/api/annotations/{of_lee['id']}"))
    _wait_for("its deletion", lambda: _said(brink, keys) == [], ANSWER_S)
    _asked(studio.delete(place))
    print(f"annotations of {ours} and {theirs[1]} arrived, were corrected, skipped, and taken back")


def _act(studio: httpx2.Client, project: int, action: str) -> None:
    chosen = {"selectedItems": {"all": True, "excluded": []}}
    _asked(studio.post("/api/dm/actions", params={"id": action, "project": project}, json=chosen))


def _annotate_in_bulk(studio: httpx2.Client, brink: httpx2.Client, project: int, keys: dict[str, str]) -> None:
    """Make annotations of all predictions at once, and delete all; those that say nothing are none."""
    _act(studio, project, "predictions_to_annotations")
    headers = {"authorization": f"Bearer {keys['predict']}"}
    answers = _asked(brink.post("/v1/predict", json={"texts": TEXTS}, headers=headers))["predictions"]
    expected = sorted(each["label"] for each in answers if "error" not in each)
    _wait_for("all of them", lambda: sorted(label for *_, label in _said(brink, keys)) == expected, ANSWER_S)
    _act(studio, project, "delete_tasks_annotations")
    _wait_for("their deletion", lambda: _said(brink, keys) == [], ANSWER_S)
    print(f"{len(expected)} annotations that were made at once arrived, and were taken back at once")


def _annotate_unheard(studio: httpx2.Client, project: int, tasks: list[dict[str, Any]]) -> None:
    """Annotate while the service is down: Label Studio keeps the annotation, tells nobody, and goes on."""
    _asked(studio.post(f"/api/tasks/{tasks[1]['id']}/annotations", json=_result("de-escalatory")))
    _act(studio, project, "retrieve_tasks_predictions")
    (backend,) = _asked(studio.get("/api/ml", params={"project": project}))
    assert backend["readable_state"] == "Disconnected", backend


def _catch_up(
    studio: httpx2.Client, brink: httpx2.Client, project: int, tasks: list[dict[str, Any]], keys: dict[str, str]
) -> None:
    """Send Label Studio's export, which brings what was not heard under the same annotator, and once only."""
    (backend,) = _asked(studio.get("/api/ml", params={"project": project}))
    assert backend["readable_state"] == "Connected", backend
    assert _said(brink, keys) == []
    headers = {"authorization": f"Bearer {keys['label']}"}
    for kind in ("JSON", "JSON_MIN", "CSV"):
        export = studio.get(f"/api/projects/{project}/export", params={"exportType": kind})
        answer = _asked(brink.post("/v1/statements", content=export.content, headers=headers))
        assert (answer["accepted"], answer["duplicate"]) == ((1, 0) if kind == "JSON" else (0, 1)), (kind, answer)
    (found,) = _said(brink, keys)
    assert (found[0], found[2]) == (TEXTS[1], "de-escalatory"), found
    _asked(studio.post(f"/api/tasks/{tasks[0]['id']}/annotations", json=_result("none")))
    _wait_for("what is said from then on", lambda: len(_said(brink, keys)) == 2, ANSWER_S)
    annotators = {annotator for _, annotator, _ in _said(brink, keys)}
    assert annotators == {found[1]}, annotators
    print(f"what {found[1]} said while the service was down came with the export, once")


if __name__ == "__main__":
    sys.exit(main())
