"""JSON that does not fit the schema: 422 with the fields named, and never more errors than a person reads."""

from typing import Any

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from service.schemas import PredictRequest
from tests.service.conftest import FakeClassifier, assert_problem, post_bytes

STRING = "Input should be a valid string"
BOOLEAN = "Input should be a valid boolean"
OBJECT = "Input should be a valid dictionary or object to extract fields from"
EITHER = "expected either 'text' or 'texts'"
EXTRA = "Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (b'{"text": 1}', {"body.text": STRING}),
        (b'{"text": ["a"]}', {"body.text": STRING}),
        (b'{"text": {"a": 1}}', {"body.text": STRING}),
        (b'{"text": true}', {"body.text": STRING}),
        (b'{"texts": "ab"}', {"body.texts": "Input should be a valid list"}),
        (b'{"texts": {"0": "a"}}', {"body.texts": "Input should be a valid list"}),
        (b'{"texts": ["a", 1, null]}', {"body.texts.1": STRING, "body.texts.2": STRING}),
        (b'{"texts": []}', {"body.texts": "List should have at least 1 item after validation, not 0"}),
        (b'{"text": "a", "texts": ["b"]}', {"body": EITHER}),
        (b'{"text": null, "texts": null}', {"body": EITHER}),
        (b"{}", {"body": EITHER}),
        (b'{"stances_only": true}', {"body": EITHER}),
        (b'{"text": "a", "stance_only": true}', {"body.stance_only": EXTRA}),
        (b'{"text": "a", "": 1}', {"body.": EXTRA}),
        (b'{"text": "a", "stances_only": "true"}', {"body.stances_only": BOOLEAN}),
        (b'{"text": "a", "stances_only": 1}', {"body.stances_only": BOOLEAN}),
        (b'{"text": "a", "stances_only": null}', {"body.stances_only": BOOLEAN}),
        (
            b'{"text": 1, "stances_only": "x", "y": 0}',
            {"body.text": STRING, "body.stances_only": BOOLEAN, "body.y": EXTRA},
        ),
        (b"[]", {"body": OBJECT}),
        (b'["a"]', {"body": OBJECT}),
        (b"null", {"body": OBJECT}),
        (b'"a"', {"body": OBJECT}),
        (b"1", {"body": OBJECT}),
    ],
)
def test_json_that_does_not_fit_gets_422_with_each_field(
    client: TestClient, body: bytes, errors: dict[str, str]
) -> None:
    problem = assert_problem(post_bytes(client, body), 422)
    assert {error["field"]: error["message"] for error in problem["errors"]} == errors


def test_key_with_a_lone_surrogate_gets_422(client: TestClient) -> None:
    problem = assert_problem(post_bytes(client, rb'{"text": "a", "\ud800": 1}'), 422)
    assert [error["field"] for error in problem["errors"]] == ["body"]


def test_unknown_key_comes_back_as_it_was(client: TestClient) -> None:
    body = '{"text": "a", "\u202e\\u0000<b>é🕊️": 1}'.encode()
    assert assert_problem(post_bytes(client, body), 422)["errors"][0]["field"] == "body.\u202e\0<b>é🕊️"


def test_what_was_sent_does_not_come_back(client: TestClient) -> None:
    response = post_bytes(client, b'{"text": ["secret"], "stances_only": "secret"}')
    assert_problem(response, 422)
    assert "secret" not in response.text


def test_nothing_is_computed_for_a_batch_with_one_wrong_type(client: TestClient, classifier: FakeClassifier) -> None:
    assert_problem(post_bytes(client, b'{"texts": ["a", 1]}'), 422)
    assert "a" not in classifier.seen


def test_twenty_errors_are_enough(client: TestClient) -> None:
    body = b'{"texts": [' + b"1," * 1023 + b"1]}"
    errors = assert_problem(post_bytes(client, body), 422)["errors"]
    assert [error["field"] for error in errors] == [f"body.texts.{index}" for index in range(20)]


def error_types(data: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        PredictRequest.model_validate(data)
    return [error["type"] for error in caught.value.errors()]


def test_long_list_is_refused_by_its_length_before_its_items() -> None:
    assert error_types({"texts": [1] * 1025}) == ["too_many_texts"]


def test_many_keys_are_refused_by_their_number_before_their_names() -> None:
    assert error_types({str(index): 0 for index in range(21)}) == ["too_many_keys"]
    assert error_types({str(index): 0 for index in range(20)}) == ["extra_forbidden"] * 20


def test_refusal_of_many_keys_says_which_are_known(client: TestClient) -> None:
    body = b"{" + b",".join(b'"%d": 0' % index for index in range(1000)) + b"}"
    assert assert_problem(post_bytes(client, body), 422)["errors"] == [
        {"field": "body", "message": "expected no keys but text, texts, stances_only, explain, keep, came 1,000 keys"}
    ]


def test_texts_of_a_request_are_a_list_either_way() -> None:
    assert PredictRequest(text="a").all_texts == ["a"]
    assert PredictRequest(texts=["a", "b"]).all_texts == ["a", "b"]
    assert PredictRequest(text="").all_texts == [""]
