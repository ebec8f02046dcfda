"""`POST /v1/predict`: the answers of the contract."""

import json
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from model.classifier import MAX_CHARACTERS
from tests.service.conftest import PREDICT, FakeClassifier, post_bytes


def predictions(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    return answers_of(post_bytes(client, json.dumps(body).encode()))


def answers_of(response: httpx2.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    answers: list[dict[str, Any]] = response.json()["predictions"]
    return answers


def test_one_text_gets_one_whole_answer(client: TestClient) -> None:
    response = client.post(PREDICT, json={"text": "abcd!"})
    assert response.status_code == 200
    assert response.json() == {
        "model": "2026-11-24.7",
        "predictions": [
            {
                "label": "deterrent",
                "confidence": 0.94,
                "abstained": False,
                "probabilities": {"escalatory": 0.02, "deterrent": 0.94, "de-escalatory": 0.02, "none": 0.02},
                "prediction_set": ["deterrent"],
                "windows": 1 + len("abcd"),
                "act": "if-then",
            }
        ],
    }


def test_unsure_answer_is_marked_as_abstained(client: TestClient) -> None:
    [answer] = predictions(client, text="abcd")
    assert (answer["label"], answer["abstained"]) == ("escalatory", True)
    assert answer["confidence"] == pytest.approx(0.7)


def test_text_and_a_list_of_that_text_get_the_same_answer(client: TestClient) -> None:
    assert predictions(client, text="We will answer.") == predictions(client, texts=["We will answer."])


@pytest.mark.parametrize("count", [1, 2, 65, 1024])
def test_answers_come_in_the_order_asked(client: TestClient, count: int) -> None:
    lengths = [1 + index * 7 % 150 for index in range(count)]
    answers = predictions(client, texts=["x" * length for length in lengths])
    assert [answer["windows"] for answer in answers] == lengths


def test_null_stands_for_a_key_that_is_not_given(client: TestClient) -> None:
    assert len(predictions(client, text=None, texts=["a", "b"])) == 2


def test_stances_only_names_a_stance_where_none_is_likeliest(client: TestClient) -> None:
    [likeliest] = predictions(client, text="abc!!!!")
    [stance] = predictions(client, text="abc!!!!", stances_only=True)
    assert (likeliest["label"], likeliest["abstained"]) == ("none", False)
    assert (stance["label"], stance["confidence"], stance["abstained"]) == ("escalatory", 0.02, True)
    assert stance["probabilities"] == likeliest["probabilities"]
    assert (likeliest["act"], stance["act"]) == ("report", "attack")


def test_explanation_says_which_words_carried_the_label(client: TestClient, classifier: FakeClassifier) -> None:
    # Of the fake the length decides, by fours: 13 characters are of the same label as 9.
    [answer] = predictions(client, text="one two four!", explain=True)
    assert answer["label"] == "deterrent"
    assert classifier.seen[-4:] == ["one two four!", "two four!", "one four!", "one two !"]
    assert answer["explanation"] == []
    [answer] = predictions(client, text="one, three fours!", explain=True)
    assert [(word["text"], word["start"], word["end"]) for word in answer["explanation"]] == [
        ("one", 0, 3),
        ("three", 5, 10),
        ("fours", 11, 16),
    ]
    assert [word["weight"] for word in answer["explanation"]] == pytest.approx([0.92, 0.92, 0.92])


def test_text_that_cannot_be_explained_gets_its_error_and_its_neighbours_are_explained(client: TestClient) -> None:
    empty, single, several = predictions(client, texts=[" ", "war", "one, three fours!"], explain=True)
    assert empty["error"]["code"] == "empty"
    assert single["explanation"] == []
    assert len(several["explanation"]) == 3


def test_explanation_is_of_the_label_that_is_given(client: TestClient) -> None:
    # None is the likeliest; of the stances the first. Without the x the text ends on a mark that makes it less likely.
    [answer] = predictions(client, text="oness two!x", explain=True, stances_only=True)
    assert answer["label"] == "escalatory"
    assert [word["text"] for word in answer["explanation"]] == ["x"]
    assert answer["explanation"][0]["weight"] == pytest.approx(0.08)


@pytest.mark.parametrize(("count", "status"), [(8, 200), (9, 413)])
def test_so_many_texts_are_explained_at_once(client: TestClient, count: int, status: int) -> None:
    response = client.post(PREDICT, json={"texts": ["we warn"] * count, "explain": True})
    assert response.status_code == status
    if status == 413:
        assert "expected at most 8 texts to explain, came 9; send several requests." in response.json()["detail"]


def test_stances_only_leaves_a_stance_and_an_error_as_they_are(client: TestClient) -> None:
    texts = ["abcd!", " "]
    assert predictions(client, texts=texts, stances_only=True) == predictions(client, texts=texts)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("", "empty", "expected a text, came an empty one or only white space."),
        (" \t\r\n\u00a0\u2003", "empty", "expected a text, came an empty one or only white space."),
        ("\0", "empty", "expected a text, came an empty one or only white space."),
        ("x" * (MAX_CHARACTERS + 1), "too_long", "expected at most 20,000 characters, came 20,001; split the text."),
        ("\ud83d!", "not_unicode", "expected valid Unicode, came a lone surrogate at character 0; encode it anew."),
    ],
    ids=["empty", "white", "NUL", "too long", "surrogate"],
)
@pytest.mark.parametrize("stances_only", [False, True])
def test_bad_text_gets_an_error_in_its_place_and_its_neighbours_are_answered(
    client: TestClient, text: str, code: str, message: str, stances_only: bool
) -> None:
    first, error, last = predictions(client, texts=["abcd!", text, "abcdef!"], stances_only=stances_only)
    assert error == {"error": {"code": code, "message": message}}
    assert (first["windows"], last["windows"]) == (5, 7)


def test_bad_text_alone_is_answered_with_200(client: TestClient) -> None:
    [answer] = predictions(client, text="")
    assert answer["error"]["code"] == "empty"


@pytest.mark.parametrize("length", [1, MAX_CHARACTERS])
def test_shortest_and_longest_text_are_answered(client: TestClient, length: int) -> None:
    [answer] = predictions(client, text="x" * length)
    assert answer["windows"] == length


def test_text_reaches_the_classifier_unchanged(client: TestClient, classifier: FakeClassifier) -> None:
    text = " Ärger\0 \u202eמלחמה\u202c 🕊️ e\u0301\r\n"
    predictions(client, text=text)
    assert classifier.seen[-1] == text


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", "application/json; charset=utf-8", "application/json;x"]
)
def test_content_type_of_json_is_taken_in_every_spelling(client: TestClient, content_type: str) -> None:
    assert post_bytes(client, b' {"text": "a"}\r\n', content_type).status_code == 200


def test_largest_batch_of_the_contract_fits_the_default_limits(client: TestClient) -> None:
    body = json.dumps({"texts": ["\uffff" * MAX_CHARACTERS] * 1024}, ensure_ascii=False).encode()
    answers = answers_of(post_bytes(client, body))
    assert [answer["windows"] for answer in answers] == [MAX_CHARACTERS] * 1024
