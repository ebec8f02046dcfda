"""What Label Studio asks over HTTP, on both databases; the real one asks in tests/labelstudio.py."""

import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.access import Keys
from service.database import Database
from tests.service.conftest import MANIFEST, FakeClassifier, Log, assert_problem
from tests.service.labelstudio_bodies import CONFIG, PROJECT, config, deletion, event, result

STATEMENTS = "/v1/statements"
SETUP = {
    "project": "3.1795521600",
    "schema": CONFIG,
    "hostname": "http://localhost:8080",
    "access_token": "secret-of-a-user",
    "extra_params": None,
}
POSTS = {"/setup": SETUP, "/predict": {"tasks": [], "label_config": CONFIG}, "/webhook": event("none")}


@pytest.fixture
def client(serve: Callable[..., TestClient], database_url: str) -> TestClient:
    return serve(database_url=database_url)


def predict(client: TestClient, *tasks: object, **fields: Any) -> dict[str, Any]:
    params = {"login": None, "password": None, "context": None}
    body = {"tasks": tasks, "project": "3.1795521600", "label_config": CONFIG, "params": params} | fields
    response = client.post("/predict", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def tell(client: TestClient, payload: dict[str, Any]) -> dict[str, Any]:
    """Send an event of one annotation and return what became of it."""
    headers = {"content-type": "application/json"}
    response = client.post("/webhook", content=json.dumps(payload), headers=headers)
    assert response.status_code == 200, response.text
    (found,) = response.json()["annotations"]
    return dict(found)


def test_health_is_that_of_the_model(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "UP", "model_class": "Brink"}


def test_project_that_fits_is_set_up(client: TestClient) -> None:
    assert client.post("/setup", json=SETUP).json() == {"model_version": MANIFEST.version}


def test_project_that_does_not_fit_is_refused_and_the_log_says_why(client: TestClient, log: Log) -> None:
    log.configure()
    response = client.post("/setup", json=SETUP | {"schema": config("escalatory", "deterrent")})
    detail = assert_problem(response, 422)["detail"]
    assert "came de-escalatory, none missing" in detail
    (line,) = log.lines("label studio project refused")
    assert (line["reason"], line["level"]) == (detail, "warning")
    assert SETUP["access_token"] not in log.text


def test_tasks_are_labelled_in_order(client: TestClient) -> None:
    tasks = [{"id": number, "data": {"text": text}} for number, text in enumerate(["abcde!", "ab"])]
    answer = predict(client, *tasks)
    assert answer["model_version"] == MANIFEST.version
    first, second = answer["results"]
    assert first["result"] == [
        {
            "from_name": "stance",
            "to_name": "statement",
            "type": "choices",
            "value": {"choices": ["de-escalatory"]},
            "score": pytest.approx(0.94),
        }
    ]
    assert (first["score"], first["model_version"]) == (pytest.approx(0.94), MANIFEST.version)
    assert (second["result"][0]["value"], second["score"]) == ({"choices": ["de-escalatory"]}, pytest.approx(0.7))


def test_task_without_a_text_has_an_empty_result_in_its_place(client: TestClient) -> None:
    good, spaces, long = ({"data": {"text": text}} for text in ("A.", " ", "x" * 20_001))
    results = predict(client, spaces, good, {"data": {}}, None, long, {"data": {"text": ["A."]}}, good)["results"]
    assert [len(each["result"]) for each in results] == [0, 1, 0, 0, 0, 0, 1]
    assert predict(client)["results"] == []


def test_whole_project_is_labelled_whatever_the_queue_has_room_for(
    serve: Callable[..., TestClient], classifier: FakeClassifier
) -> None:
    client = serve(max_queued_tokens=1024)
    tasks = [{"data": {"text": f"Statement {number}."}} for number in range(2100)]
    assert len(predict(client, *tasks)["results"]) == 2100
    assert classifier.seen[-1] == "Statement 2099."


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize("body", [{}, [], 5, {"schema": 5, "label_config": 5, "tasks": 5, "action": 5}])
def test_body_that_does_not_fit_is_refused(client: TestClient, path: str, body: Any) -> None:
    assert_problem(client.post(path, json=body), 422)
    assert_problem(client.post(path, content=b"{", headers={"content-type": "application/json"}), 400)
    assert_problem(client.post(path, content=b"{}", headers={"content-type": "text/plain"}), 415)


def test_configuration_of_any_size_is_not_read(client: TestClient) -> None:
    for path, name in (("/setup", "schema"), ("/predict", "label_config")):
        assert_problem(client.post(path, json={name: " " * 1_000_001, "tasks": []}), 422)


def test_annotation_is_a_labelled_statement_and_the_same_event_again_adds_nothing(client: TestClient) -> None:
    first, again = (tell(client, event("deterrent", text="We will answer.")) for _ in range(2))
    assert (first["status"], again["status"]) == ("accepted", "duplicate")
    (found,) = client.get(STATEMENTS).json()["statements"]
    assert (found["id"], found["text"], found["label"]) == (first["id"], "We will answer.", "deterrent")
    assert (found["source"], found["labels"][0]["annotator"]) == ("label-studio", "label-studio:1")
    history = client.get(f"{STATEMENTS}/{first['id']}/history").json()
    assert [(each["action"], each["who"]) for each in history] == [("add", "local")]


def test_update_corrects_and_deletion_takes_back(client: TestClient) -> None:
    id_ = tell(client, event("deterrent"))["id"]
    assert tell(client, event("none", action="ANNOTATION_UPDATED"))["status"] == "accepted"
    assert client.get(f"{STATEMENTS}/{id_}").json()["label"] == "none"
    assert tell(client, deletion(7))["status"] == "withdrawn"
    assert client.get(f"{STATEMENTS}/{id_}").status_code == 404
    assert tell(client, deletion(7))["status"] == "ignored"
    history = client.get(f"{STATEMENTS}/{id_}/history").json()
    assert [each["action"] for each in history] == ["add", "correct", "withdraw"]


def test_skipped_annotation_takes_its_label_back(client: TestClient) -> None:
    assert tell(client, event("none", was_cancelled=True))["status"] == "ignored"
    id_ = tell(client, event("none"))["id"]
    skipped = tell(client, event("none", action="ANNOTATION_UPDATED", was_cancelled=True))
    assert (skipped["status"], skipped["id"]) == ("withdrawn", id_)


def test_two_annotators_may_differ(client: TestClient) -> None:
    id_ = tell(client, event("none", by=1))["id"]
    tell(client, event("deterrent", number=8, by=2))
    found = client.get(f"{STATEMENTS}/{id_}").json()
    assert (found["status"], found["label"], len(found["labels"])) == ("disagreed", None, 2)


@pytest.mark.parametrize("text", [" ", "x" * 20_001, "a\0b", "\ud800"])
def test_annotation_of_no_text_is_rejected_with_the_reason(client: TestClient, text: str) -> None:
    rejected = tell(client, event("none", text=text))
    assert (rejected["status"], rejected["id"]) == ("rejected", None)
    assert rejected["reason"].startswith("expected ")
    assert client.get(STATEMENTS).json()["total"] == 0


def test_export_brings_what_was_missed_and_nothing_anew(client: TestClient) -> None:
    tell(client, event("deterrent", text="Known."))
    annotations = [
        {"id": 7, "completed_by": 1, "result": [result("deterrent")], "was_cancelled": False},
        {"id": 8, "completed_by": 2, "result": [result("none")], "was_cancelled": False},
    ]
    minimal = {"text": "Missed.", "id": 6, "stance": "none", "annotator": 1, "annotation_id": 9, "lead_time": None}
    for export in ([{"id": 5, "annotations": annotations, "data": {"text": "Known."}}], [minimal]):
        answers = [client.post(STATEMENTS, json=export).json() for _ in range(2)]
        assert [answer["accepted"] for answer in answers] == [1, 0]
        assert {row["status"] for row in answers[1]["rows"]} == {"duplicate"}
    known, missed = client.get(STATEMENTS, params={"source": "label-studio"}).json()["statements"]
    assert [each["annotator"] for each in known["labels"]] == ["label-studio:1", "label-studio:2"]
    assert [each["annotator"] for each in missed["labels"]] == ["label-studio:1"]


def test_log_says_why_an_annotation_was_not_taken(client: TestClient, log: Log) -> None:
    log.configure()
    tell(client, event("none"))
    tell(client, event("none", number=8, text=" "))
    conflicting = tell(client, event("deterrent", number=9))
    rejected_line, conflicting_line = log.lines("label studio annotation not taken")
    assert (rejected_line["status"], rejected_line["annotation"][-2:]) == ("rejected", ":8")
    assert (conflicting_line["status"], conflicting_line["reason"]) == ("conflicting", conflicting["reason"])
    assert {rejected_line["level"], conflicting_line["level"]} == {"warning"}


@pytest.mark.parametrize("action", ["PROJECT_UPDATED", "TASKS_CREATED", "START_TRAINING", "anything"])
def test_other_events_are_ignored(client: TestClient, action: str) -> None:
    assert client.post("/webhook", json={"action": action, "project": PROJECT}).json() == {"annotations": []}


def basic(secret: str, user: str = "brink") -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(f'{user}:{secret}'.encode()).decode()}"}


@pytest.mark.parametrize("scope", ["predict", "label", "admin"])
def test_key_may_be_the_password_of_basic_access(
    serve: Callable[..., TestClient], database_url: str, scope: str
) -> None:
    with closing(Database(database_url)) as database:
        secret = Keys(database).create("studio", [scope])
    client = serve(database_url=database_url)
    for headers in (basic(secret), basic(secret, ""), {"authorization": f"Bearer {secret}"}):
        statuses = {path: client.post(path, json=body, headers=headers).status_code for path, body in POSTS.items()}
        may_predict = 200 if scope != "label" else 403
        assert statuses == {
            "/setup": may_predict,
            "/predict": may_predict,
            "/webhook": 200 if scope != "predict" else 403,
        }
        assert client.get("/health", headers=headers).status_code == may_predict
    if scope != "predict":
        (found,) = client.get(STATEMENTS, headers=basic(secret)).json()["statements"]
        assert found["created_by"] == "studio"


@pytest.mark.parametrize(
    "header", [None, "Basic", "Basic {}", "Basic =", "Basic YQ==", "Basic /w==", "Basic YTpi", "Basic \xff"]
)
def test_caller_without_a_key_is_refused(
    serve: Callable[..., TestClient], database_url: str, header: str | None
) -> None:
    with closing(Database(database_url)) as database:
        secret = Keys(database).create("studio", ["admin"])
    client = serve(database_url=database_url)
    headers = {} if header is None else {"authorization": header.format(secret).encode("latin-1")}
    assert_problem(client.get("/health", headers=headers), 401)  # type: ignore[arg-type]  # it takes bytes too
    for path, body in POSTS.items():
        assert_problem(client.post(path, json=body, headers=headers), 401)  # type: ignore[arg-type]
    page = basic(secret) | {"sec-fetch-site": "cross-site"}
    assert_problem(client.post("/webhook", json=POSTS["/webhook"], headers=page), 403)
