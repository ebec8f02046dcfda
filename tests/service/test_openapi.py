"""`/openapi.json` is valid, whole, and agrees with what is answered."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from fastapi.openapi.models import OpenAPI
from starlette.testclient import TestClient

from service.schemas import PredictRequest
from tests.service.conftest import PREDICT, assert_problem

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def references(node: object) -> Iterator[str]:
    """Yield every `$ref` at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): each for path, item in document["paths"].items() for method, each in item.items()}


def test_document_is_valid(document: dict[str, Any]) -> None:
    assert OpenAPI.model_validate(document).openapi == "3.1.0"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found >= {"#/components/schemas/Problem", "#/components/schemas/PredictRequest"}
    assert {each.removeprefix("#/components/schemas/") for each in found} <= document["components"]["schemas"].keys()


def test_every_schema_is_used(document: dict[str, Any]) -> None:
    used = {each.removeprefix("#/components/schemas/") for each in references(document)}
    assert used == document["components"]["schemas"].keys()


def test_every_route_of_the_contract_is_documented(document: dict[str, Any]) -> None:
    assert operations(document).keys() == {
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/metrics"),
        ("get", "/v1/model"),
        ("post", PREDICT),
        ("post", f"{PREDICT}/stream"),
        ("post", "/v1/statements"),
        ("get", "/v1/statements"),
        ("get", "/v1/statements/export"),
        ("get", "/v1/statements/agreement"),
        ("get", "/v1/statements/{id}"),
        ("get", "/v1/statements/{id}/history"),
        ("patch", "/v1/statements/{id}"),
        ("delete", "/v1/statements/{id}"),
        ("post", "/v1/trainings"),
        ("get", "/v1/trainings"),
        ("get", "/v1/trainings/{id}"),
        ("delete", "/v1/trainings/{id}"),
        ("post", "/v1/trainings/{id}/cancel"),
        ("get", "/v1/trainings/{id}/log"),
        ("get", "/v1/trainings/{id}/events"),
        ("get", "/v1/models"),
        ("post", "/v1/models/rollback"),
        ("get", "/v1/models/{version}"),
        ("post", "/v1/models/{version}/promote"),
        ("get", "/v1/models/{version}/report"),
        ("get", "/v1/models/{version}/report/{file}"),
        ("get", "/v1/review"),
        ("post", "/v1/review/{id}/dismiss"),
        ("get", "/v1/drift"),
        ("get", "/health"),
        ("post", "/setup"),
        ("post", "/predict"),
        ("post", "/webhook"),
    }


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    errors = [
        (status, response)
        for operation in operations(document).values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
    ]
    assert len(errors) == 163
    for status, response in errors:
        assert response == {"description": HTTPStatus(int(status)).phrase, "content": PROBLEM}


def test_predict_documents_each_status_that_it_answers(document: dict[str, Any]) -> None:
    statuses = operations(document)[("post", PREDICT)]["responses"].keys()
    assert statuses == {"200", "400", "413", "415", "422", "429", "503", "504"}


def test_problem_of_an_answer_fits_its_schema(client: TestClient, document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["Problem"]
    plain = assert_problem(client.get("/nope"), 404)
    invalid = assert_problem(client.post(PREDICT, json={}), 422)
    assert set(schema["required"]) <= plain.keys() < invalid.keys() == schema["properties"].keys()


def test_prediction_of_an_answer_fits_its_schema(client: TestClient, document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    answer = client.post(PREDICT, json={"texts": ["a", ""]}).json()
    assert set(schemas["PredictResponse"]["required"]) == answer.keys()
    assert set(schemas["PredictionBody"]["required"]) == answer["predictions"][0].keys()
    assert set(schemas["TextErrorBody"]["required"]) == answer["predictions"][1].keys()
    assert set(schemas["TextError"]["required"]) == answer["predictions"][1]["error"].keys()


def test_request_schema_states_the_limits(document: dict[str, Any]) -> None:
    schema = document["components"]["schemas"]["PredictRequest"]
    text = {"type": "string", "minLength": 1, "maxLength": 20_000}
    assert schema["additionalProperties"] is False
    assert schema["properties"]["text"]["anyOf"][0] == text
    assert schema["properties"]["texts"]["anyOf"][0] == {
        "type": "array",
        "items": text,
        "minItems": 1,
        "maxItems": 1024,
    }


def test_examples_are_answered(client: TestClient, document: dict[str, Any]) -> None:
    examples = document["components"]["schemas"]["PredictRequest"]["examples"]
    assert examples
    for example in examples:
        assert PredictRequest.model_validate(example).all_texts == example["texts"]
        assert client.post(PREDICT, json=example).status_code == 200


def test_metrics_are_documented_as_text(client: TestClient, document: dict[str, Any]) -> None:
    assert operations(document)[("get", "/metrics")]["responses"]["200"]["content"].keys() == {"text/plain"}
    assert client.get("/metrics").headers["content-type"].startswith("text/plain")
