"""`/v1/statements` over HTTP, on both databases."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from model.labels import LABELS
from tests.service.conftest import assert_problem
from training.corpus import read_statements

STATEMENTS = "/v1/statements"


@pytest.fixture
def client(serve: Callable[..., TestClient], database_url: str) -> TestClient:
    return serve(database_url=database_url)


def add(client: TestClient, *rows: dict[str, Any], **query: str) -> dict[str, Any]:
    response = client.post(STATEMENTS, json={"statements": rows}, params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def id_of(client: TestClient, text: str, label: str = "none", **fields: str) -> str:
    (row,) = add(client, {"text": text, "label": label, **fields})["rows"]
    found: str = row["id"]
    return found


def test_answer_says_what_became_of_each_row(client: TestClient) -> None:
    id_of(client, "Known.", "none")
    answer = add(
        client,
        {"text": "We will strike.", "label": "escalatory", "act": "attack", "annotator": "kim", "source": "desk"},
        {"text": "Known.", "label": "none"},
        {"text": "Known.", "label": "deterrent"},
        {"text": "A.", "label": "hostile"},
        {"text": "A.", "label": "none", "act": "attack"},
        {"text": " ", "label": "none"},
        {"text": "x" * 20_001, "label": "none"},
        {"text": "a\0b", "label": "none"},
        {"text": "A.", "label": "none", "annotator": "x" * 201},
        {"text": "A."},
    )
    counts = {name: answer[name] for name in ("accepted", "duplicate", "conflicting", "rejected")}
    assert counts == {"accepted": 1, "duplicate": 1, "conflicting": 1, "rejected": 7}
    assert [row["line"] for row in answer["rows"]] == list(range(1, 11))
    assert [row["status"] for row in answer["rows"]] == ["accepted", "duplicate", "conflicting", *["rejected"] * 7]
    reasons = [row["reason"] for row in answer["rows"]]
    assert reasons[0] is None
    for reason, expected in zip(
        reasons[2:],
        [
            "local has said none of this text; PATCH /v1/statements/",
            "expected one of the labels escalatory, deterrent, de-escalatory, none, came 'hostile'.",
            "expected as the act of none one of report, assess, condemn, profess, procedure, other, came 'attack'.",
            "expected a text, came an empty one or only white space.",
            "expected at most 20,000 characters, came 20,001; split the text.",
            "expected a text without the character NUL, which databases do not keep.",
            "expected as annotator at most 200 printable characters, came",
            "expected `text` and `label`, came a row without.",
        ],
        strict=True,
    ):
        assert reason.startswith(expected)
    assert client.get(STATEMENTS).json()["total"] == 2


def test_file_is_added_as_it_is_and_the_same_again_adds_nothing(client: TestClient) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([["text", "label"], *([f"Statement {number}.", "none"] for number in range(700))])
    for expected in ({"accepted": 700, "duplicate": 0}, {"accepted": 0, "duplicate": 700}):
        response = client.post(
            STATEMENTS,
            content=stream.getvalue().encode(),
            params={"annotator": "kim", "source": "desk"},
            headers={"content-type": "text/csv"},
        )
        answer = response.json()
        assert {name: answer[name] for name in expected} == expected
    first = client.get(STATEMENTS, params={"limit": 1}).json()["statements"][0]
    assert (first["labels"][0]["annotator"], first["source"]) == ("kim", "desk")


@pytest.mark.parametrize("annotator", ["\ud800", "a\0b", "a\nb"])
def test_name_that_no_database_keeps_costs_its_row_alone(client: TestClient, annotator: str) -> None:
    rows = [{"text": "A.", "label": "none", "annotator": annotator}, {"text": "B.", "label": "none"}]
    answer = client.post(STATEMENTS, content=json.dumps(rows).encode()).json()
    assert [row["status"] for row in answer["rows"]] == ["rejected", "accepted"]


@pytest.mark.parametrize("annotator", ["a\nb", " ", "\x1b"])
def test_name_that_stands_for_rows_without_one_is_held_to_the_same(client: TestClient, annotator: str) -> None:
    row = {"text": "A.", "label": "none"}
    for query in ({"annotator": annotator}, {"source": annotator}):
        (rejected,) = add(client, row, **query)["rows"]
        assert rejected["reason"].startswith(f"expected as {next(iter(query))} at most 200 printable characters")
    place = f"{STATEMENTS}/{id_of(client, 'A.')}"
    problem = assert_problem(client.patch(place, json={"label": "none", "annotator": annotator}), 422)
    assert "expected as annotator at most 200 printable characters" in problem["detail"]
    assert [each["annotator"] for each in client.get(place).json()["labels"]] == ["local"]


@pytest.mark.parametrize("query", [{"annotator": "a\0b"}, {"contains": "\0"}, {"source": "\0"}])
def test_nul_in_a_query_is_no_fault_of_the_database(client: TestClient, query: dict[str, str]) -> None:
    id_of(client, "A.")
    assert_problem(client.get(STATEMENTS, params=query), 422)
    assert client.get(f"{STATEMENTS}/%00").status_code in {404, 422}


def test_change_that_is_no_json_is_refused_as_everywhere(client: TestClient) -> None:
    place = f"{STATEMENTS}/{id_of(client, 'A.')}"
    for content, content_type, status in (
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        ('{"label": "deterrent"}'.encode("utf-16"), "application/json", 400),
        (b'{"label": "deterrent"}', "text/plain", 415),
    ):
        assert_problem(client.patch(place, content=content, headers={"content-type": content_type}), status)
    assert client.get(place).json()["label"] == "none"


def test_upload_of_more_labels_than_one_transaction_takes_is_refused(client: TestClient) -> None:
    body = b"text,label\n" + b"A.,none\n" * 20_001
    assert "at most 20,000 labels" in assert_problem(client.post(STATEMENTS, content=body), 422)["detail"]


def test_act_may_come_later(client: TestClient) -> None:
    id_ = id_of(client, "A.", "none")
    assert id_of(client, "A.", "none", act="report") == id_
    assert client.get(f"{STATEMENTS}/{id_}").json()["act"] == "report"


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"one word", b"[1,"])
def test_upload_that_cannot_be_read_is_refused(client: TestClient, content: bytes) -> None:
    assert_problem(client.post(STATEMENTS, content=content), 422)
    assert client.get(STATEMENTS).json() == {"total": 0, "statements": [], "next": None}


def test_statement_is_found_corrected_settled_opened_and_deleted(client: TestClient) -> None:
    id_ = id_of(client, "We will strike.", "none", annotator="ann")
    place = f"{STATEMENTS}/{id_}"
    assert client.get(place).json()["label"] == "none"
    corrected = client.patch(place, json={"label": "deterrent", "act": "warn", "annotator": "ann"}).json()
    assert (corrected["label"], corrected["act"], len(corrected["labels"])) == ("deterrent", "warn", 1)
    assert id_of(client, "We will strike.", "none", annotator="bob") == id_
    assert client.get(place).json()["label"] is None
    settled = client.patch(place, json={"label": "escalatory", "act": "attack", "settle": True}).json()
    assert (settled["status"], settled["label"]) == ("settled", "escalatory")
    opened = client.patch(place, json={"settle": False}).json()
    assert (opened["status"], opened["label"]) == ("disagreed", None)
    assert_problem(client.patch(place, json={"settle": False}), 409)
    assert client.delete(place).status_code == 204
    assert_problem(client.get(place), 404)
    assert_problem(client.delete(place), 404)
    history = client.get(f"{place}/history").json()
    assert [each["action"] for each in history] == ["add", "correct", "add", "settle", "reopen", "delete"]
    assert {each["who"] for each in history} == {"local"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"label": "hostile"}, "expected one of the labels"),
        ({"label": "none", "act": "attack"}, "expected as the act of none"),
        ({}, None),
        ({"act": "attack"}, None),
        ({"settle": True}, None),
        ({"settle": False, "label": "none"}, None),
        ({"settle": True, "label": "none", "annotator": "ann"}, None),
        ({"label": "none", "note": "x"}, None),
    ],
)
def test_change_that_does_not_fit_changes_nothing(client: TestClient, body: dict[str, Any], reason: str | None) -> None:
    place = f"{STATEMENTS}/{id_of(client, 'A.', 'deterrent')}"
    detail = assert_problem(client.patch(place, json=body), 422)["detail"]
    assert reason is None or reason in detail
    assert client.get(place).json()["label"] == "deterrent"
    assert len(client.get(f"{place}/history").json()) == 1


def test_pages_lead_through_all_that_fits(client: TestClient) -> None:
    add(client, *({"text": f"T {number}", "label": LABELS[number % 2]} for number in range(25)))
    texts, after = [], 0
    while after is not None:
        page = client.get(STATEMENTS, params={"label": "deterrent", "limit": 5, "after": after}).json()
        assert page["total"] == 12
        texts += [each["text"] for each in page["statements"]]
        after = page["next"]
    assert texts == [f"T {number}" for number in range(1, 25, 2)]


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"after": "-1"}, {"status": "open"}, {"after": "9" * 30}]
)
def test_query_that_does_not_fit_is_refused(client: TestClient, query: dict[str, str]) -> None:
    assert_problem(client.get(STATEMENTS, params=query), 422)


def test_export_is_what_training_reads(client: TestClient, tmp_path: Path) -> None:
    add(
        client,
        {"text": "We will strike \u2013 now.", "label": "escalatory", "act": "attack", "source": "desk"},
        {"text": "A.", "label": "none"},
        {"text": "B.", "label": "none"},
        {"text": "B.", "label": "deterrent", "annotator": "bob"},
    )
    response = client.get(f"{STATEMENTS}/export")
    assert response.headers["content-type"].startswith("application/x-ndjson")
    path = tmp_path / "export.jsonl"
    path.write_bytes(response.content)
    strike, plain = read_statements([path], LABELS)
    assert (strike.text, strike.label, strike.act) == ("We will strike \u2013 now.", "escalatory", "attack")
    assert (strike.source, plain.text, plain.label, plain.act) == ("desk", "A.", "none", None)
    assert plain.source == "labelled"


def test_agreement_of_annotators(client: TestClient) -> None:
    for annotator, labels in {"ann": ("none", "none", "deterrent"), "bob": ("none", "none", "deterrent")}.items():
        rows = [{"text": f"T {number}", "label": label} for number, label in enumerate(labels)]
        add(client, *rows, annotator=annotator)
    assert client.get(f"{STATEMENTS}/agreement").json() == {
        "statements": 3,
        "alpha": 1.0,
        "alpha_of": {"deterrent": 1.0, "none": 1.0},
        "disagreed": 0,
    }


def test_labels_outlive_the_service(serve: Callable[..., TestClient], database_url: str) -> None:
    id_ = id_of(serve(database_url=database_url), "A.")
    assert serve(database_url=database_url).get(f"{STATEMENTS}/{id_}").json()["text"] == "A."


def test_database_that_is_gone_is_503_and_costs_no_answer(serve: Callable[..., TestClient], tmp_path: Path) -> None:
    client = serve(database_url=f"sqlite:///{tmp_path}/later/brink.db")
    upload = json.dumps({"text": "A.", "label": "none"})
    for response in (
        client.get(STATEMENTS),
        client.get(f"{STATEMENTS}/export"),
        client.post(STATEMENTS, content=upload),
    ):
        assert "the database cannot be used now" in assert_problem(response, 503)["detail"]
        assert response.headers["retry-after"]
    assert client.post("/v1/predict", json={"text": "A."}).status_code == 200
    (tmp_path / "later").mkdir()  # and back
    assert add(client, {"text": "A.", "label": "none"})["accepted"] == 1
