"""The application as a whole: start, stop, request ids and the pages of the documentation."""

import re
import uuid
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from model.errors import ArtifactError
from service.app import create_app
from service.settings import Settings
from tests.service.conftest import PREDICT, FakeClassifier, Log, application, assert_problem


def test_model_is_asked_once_before_the_first_request(client: TestClient, classifier: FakeClassifier) -> None:
    assert len(classifier.batches) == 1
    assert client.get("/readyz").status_code == 200


def test_failed_warm_up_stops_the_start(classifier: FakeClassifier) -> None:
    classifier.failure = RuntimeError("cannot compute")
    app = application(classifier)
    with pytest.raises(ArtifactError, match="was loaded but does not answer: cannot compute"), TestClient(app):
        pass
    assert_problem(TestClient(app).get("/readyz"), 503)


def test_missing_model_stops_the_start(tmp_path: Path) -> None:
    app = create_app(Settings(model=str(tmp_path / "none")))
    with pytest.raises(ArtifactError, match=r"no model '.*none': expected a shipped model"), TestClient(app):
        pass


def test_folder_without_a_manifest_is_no_model(tmp_path: Path) -> None:
    app = create_app(Settings(model=str(tmp_path)))
    with pytest.raises(ArtifactError, match=r"not a complete model: expected manifest\.json"), TestClient(app):
        pass


def test_creating_an_application_loads_nothing(classifier: FakeClassifier) -> None:
    application(classifier)
    create_app(Settings(model="/does/not/exist"))
    assert classifier.batches == []


def test_application_can_be_started_again_after_it_has_stopped(classifier: FakeClassifier) -> None:
    app = application(classifier)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.post(PREDICT, json={"text": "a"}).status_code == 200


def test_two_applications_share_no_metrics(classifier: FakeClassifier) -> None:
    with TestClient(application(classifier)) as one, TestClient(application(classifier)) as other:
        one.post(PREDICT, json={"text": "abcd!"})
        assert 'label="deterrent"' in one.get("/metrics").text
        assert 'label="deterrent"' not in other.get("/metrics").text


def test_start_and_stop_are_logged(classifier: FakeClassifier, log: Log) -> None:
    log.configure()
    with TestClient(application(classifier)):
        [ready] = log.lines()
        assert (ready["event"], ready["model"]) == ("ready", "2026-11-24.7")
    assert [line["event"] for line in log.lines()] == ["ready", "stopped"]


@pytest.mark.parametrize("request_id", [str(uuid.UUID(int=7, version=4)), "0123456789abcdef0123456789abcdef"])
@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/nope", 404)])
def test_request_id_comes_back(client: TestClient, request_id: str, path: str, status: int) -> None:
    response = client.get(path, headers={"X-Request-ID": request_id})
    assert (response.status_code, response.headers["x-request-id"]) == (status, request_id)


@pytest.mark.parametrize("headers", [{}, {"X-Request-ID": ""}, {"X-Request-ID": "no id\tof a client's making"}])
def test_request_id_is_made_where_there_is_none_of_use(client: TestClient, headers: dict[str, str]) -> None:
    made = [client.get("/healthz", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)
    assert made[0] != made[1]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_refused_body_has_a_request_id_too(client: TestClient, status: int) -> None:
    sent = {
        400: (b"{", "application/json"),
        413: (b'{"texts": [' + b'"a",' * 1024 + b'"a"]}', "application/json"),
        415: (b"{}", "text/plain"),
        422: (b"{}", "application/json"),
    }
    body, content_type = sent[status]
    request_id = uuid.uuid4().hex
    headers = {"content-type": content_type, "X-Request-ID": request_id}
    response = client.post(PREDICT, content=body, headers=headers)
    assert_problem(response, status)
    assert response.headers["x-request-id"] == request_id


@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect"])
def test_documentation_names_no_foreign_host(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"""https?:|["'(]//""", page.text)


def test_all_that_the_documentation_loads_is_there(client: TestClient) -> None:
    linked = re.findall(r"""(?:href|src|url)\s*[=:]\s*["']([^"']+)""", client.get("/docs").text)
    assert {"/openapi.json", "/static-offline-docs/swagger-ui-bundle.js"} < set(linked)
    assert [client.get(path).status_code for path in linked] == [200] * len(linked)


def test_page_whose_script_asks_another_host_is_not_served(client: TestClient) -> None:
    assert_problem(client.get("/redoc"), 404)


@pytest.mark.parametrize("path", ["..%2f__init__.py", "%2e%2e/core.py", "%2fetc%2fpasswd", "%00", "x" * 5000])
def test_files_beside_the_documentation_are_out_of_reach(client: TestClient, path: str) -> None:
    assert_problem(client.get(f"/static-offline-docs/{path}"), 404)
