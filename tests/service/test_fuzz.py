"""No input makes it answer 500: arbitrary JSON, bytes, content types, paths, methods and headers."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from model.classifier import MAX_CHARACTERS, check_text
from model.errors import UnclassifiableTextError
from tests.service.conftest import FakeClassifier, application, assert_problem, post_bytes
from tests.service.labelstudio_bodies import CONFIG, PROJECT, event, result


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """One application for all examples: what a request leaves behind, the next one meets."""
    with TestClient(application(FakeClassifier(), max_body_bytes=100_000)) as client:
        yield client


CHARACTERS = st.characters()  # the lone surrogates included
TEXT = st.text(CHARACTERS) | st.sampled_from(["", " ", "\0", "\ud800", "x" * (MAX_CHARACTERS + 1)])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda each: st.lists(each) | st.dictionaries(TEXT, each),
    max_leaves=20,
)
ALMOST = st.fixed_dictionaries(
    {}, optional={"text": TEXT | JSON, "texts": st.lists(TEXT) | JSON, "stances_only": st.booleans() | JSON, "x": JSON}
)
HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n")).map(str.strip)


@given(body=JSON | ALMOST)
def test_any_json_is_answered_or_refused_with_a_problem(client: TestClient, body: Any) -> None:
    response = post_bytes(client, json.dumps(body).encode())
    if response.status_code != 200:
        assert_problem(response, response.status_code)
        assert response.status_code in (400, 413, 422)


@given(body=st.binary() | st.binary().map(lambda tail: b'{"text": "' + tail + b'"}'))
@example(body=b"\0")
@example(body=b'"\\ud800"')
def test_any_bytes_are_answered_or_refused_with_a_problem(client: TestClient, body: bytes) -> None:
    response = post_bytes(client, body)
    if response.status_code != 200:
        assert_problem(response, response.status_code)
        assert response.status_code in (400, 422)


@given(texts=st.lists(TEXT, min_size=1, max_size=80), stances_only=st.booleans())
def test_any_texts_get_an_answer_each(client: TestClient, texts: list[str], stances_only: bool) -> None:
    body = json.dumps({"texts": texts, "stances_only": stances_only}).encode()
    if len(body) > 100_000:
        assert_problem(post_bytes(client, body), 413)
        return
    answers = post_bytes(client, body).json()["predictions"]
    assert [error_code(text) for text in texts] == [each.get("error", {}).get("code") for each in answers]
    for text, answer in zip(texts, answers, strict=True):
        if "error" not in answer:
            assert answer["windows"] == len(text)
            assert sum(answer["probabilities"].values()) == pytest.approx(1)
            assert answer["confidence"] == answer["probabilities"][answer["label"]]
            assert not (stances_only and answer["label"] == "none")


def error_code(text: str) -> str | None:
    try:
        check_text(text)
        check_text(text.replace("\0", ""))
    except UnclassifiableTextError as error:
        return error.code
    return None


@given(content_type=HEADER, request_id=HEADER, host=HEADER)
@example(content_type="application/json", request_id="a", host="[")
@example(content_type="application/json; charset*=utf-8''%ff", request_id="{" * 100, host="")
@example(content_type=";;=;", request_id="_" * 32, host="a:b:c")
def test_any_headers_are_answered_or_refused(client: TestClient, content_type: str, request_id: str, host: str) -> None:
    headers = {"content-type": content_type, "x-request-id": request_id, "host": host}
    latin = {name: value.encode("latin-1") for name, value in headers.items()}
    response = client.post("/v1/predict", content=b'{"text": "a"}', headers=latin)
    assert response.status_code in (200, 415)
    if response.status_code == 415:
        assert_problem(response, 415)


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "BREW"]),
    path=st.lists(
        st.sampled_from(["v1", "predict", "model", "docs", "static-offline-docs", "..", "", "\0"]) | st.text(CHARACTERS)
    ),
)
def test_any_path_and_method_are_answered_or_refused(client: TestClient, method: str, path: list[str]) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in "/".join(path).encode("utf-8", "surrogatepass"))
    response = client.request(method, f"/{encoded}")
    assert response.status_code < 500
    if response.status_code >= 400 and method != "HEAD":
        assert_problem(response, response.status_code)


RESULTS = st.lists(
    st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in result("none").items()})
)
ANNOTATION = st.fixed_dictionaries(
    {"id": st.integers(0, 3) | JSON}, optional={"result": RESULTS | JSON, "completed_by": JSON, "was_cancelled": JSON}
)
TASK = st.fixed_dictionaries({"data": JSON | st.fixed_dictionaries({"text": TEXT | JSON})}) | JSON


@given(
    action=st.sampled_from(["ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "ANNOTATIONS_CREATED"]),
    annotation=ANNOTATION | st.lists(ANNOTATION) | JSON,
    task=TASK | st.lists(TASK),
    project=st.just(PROJECT) | st.fixed_dictionaries({name: JSON | st.just(PROJECT[name]) for name in PROJECT}) | JSON,
)
@example("ANNOTATION_CREATED", event("none", by="\ud800")["annotation"], {"data": {"text": "a"}}, PROJECT)
@example("ANNOTATION_CREATED", event("\ud800")["annotation"], {"data": {"text": "a"}}, PROJECT)
def test_any_event_is_answered_or_refused(
    client: TestClient, action: str, annotation: Any, task: Any, project: Any
) -> None:
    event = {"action": action, "annotation": annotation, "annotations": annotation, "task": task, "project": project}
    response = client.post("/webhook", content=json.dumps(event), headers={"content-type": "application/json"})
    if response.status_code != 200:
        assert_problem(response, response.status_code)
        assert response.status_code in (400, 413, 422)


@given(tasks=st.lists(TASK) | JSON, config=st.just(CONFIG) | st.text(CHARACTERS) | JSON)
def test_any_tasks_are_answered_or_refused(client: TestClient, tasks: Any, config: Any) -> None:
    body = {"tasks": tasks, "label_config": config}
    response = client.post("/predict", content=json.dumps(body), headers={"content-type": "application/json"})
    if response.status_code == 200:
        assert len(response.json()["results"]) == len(tasks)
    else:
        assert_problem(response, response.status_code)
        assert response.status_code in (400, 413, 422)
