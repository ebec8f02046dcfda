"""Kept predictions and the review queue over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from model.classifier import Prediction
from model.errors import UnclassifiableTextError
from model.labels import LABELS, text_digest
from tests.service.conftest import PREDICT, FakeClassifier, assert_problem

REVIEW = "/v1/review"
STATEMENTS = "/v1/statements"
NOTHING = {"disagreement": 0, "suspected": 0, "margin": 0, "abstained": 0}

# Of the fake the length names the label, by fours, and a last `!` makes it sure of it: 0.94, else 0.7 and abstained.
DOUBTFUL = "Both sides met."  # 15 characters: none
SURE = "Ships will meet!"  # 16: escalatory


@pytest.fixture
def client(serve: Callable[..., TestClient], database_url: str) -> TestClient:
    return serve(database_url=database_url)


def keep(client: TestClient, *texts: str, **fields: Any) -> list[dict[str, Any]]:
    response = client.post(PREDICT, json={"texts": texts, "keep": True, **fields})
    assert response.status_code == 200, response.text
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def queue(client: TestClient, **query: Any) -> dict[str, Any]:
    response = client.get(REVIEW, params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def shown(client: TestClient, **query: Any) -> list[tuple[str, str]]:
    return [(each["reason"], each["text"]) for each in queue(client, **query)["entries"]]


def label(client: TestClient, text: str, label: str, annotator: str = "ann") -> str:
    response = client.post(STATEMENTS, json={"text": text, "label": label, "annotator": annotator})
    (row,) = response.json()["rows"]
    assert row["status"] == "accepted", row
    found: str = row["id"]
    return found


def margin(classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch, margins: dict[str, float]) -> None:
    """Let the fake's two likeliest labels of these texts lie so far apart; below 0.5 it abstains."""
    answer = classifier._answer

    def close(text: str) -> Prediction | UnclassifiableTextError:
        if text not in margins:
            return answer(text)
        values = ((1 + margins[text]) / 2, (1 - margins[text]) / 2, 0.0, 0.0)
        said = dict(zip(LABELS, values, strict=True))
        return Prediction(LABELS[0], values[0], margins[text] < 0.5, said, [LABELS[0]], 1)

    monkeypatch.setattr(classifier, "_answer", close)


def test_nothing_is_kept_of_what_nobody_asked_to_keep(client: TestClient) -> None:
    answer = client.post(PREDICT, json={"text": DOUBTFUL}).json()["predictions"][0]
    assert "id" not in answer
    assert client.post(PREDICT, json={"text": DOUBTFUL, "keep": False}).status_code == 200
    assert queue(client) == {"counts": NOTHING, "entries": [], "next": None}


def test_kept_doubtful_answer_waits_for_a_person_with_all_that_was_said(client: TestClient) -> None:
    (answer,) = keep(client, f"  {DOUBTFUL}\n")  # 18 characters: de-escalatory
    found = queue(client)
    assert found["counts"] == NOTHING | {"abstained": 1}
    (entry,) = found["entries"]
    assert entry["id"] == answer["id"] == text_digest(DOUBTFUL)[:32]
    assert (entry["text"], entry["reason"], entry["labels"]) == (DOUBTFUL, "abstained", [])
    prediction = entry["prediction"]
    assert prediction.pop("kept_at")
    assert prediction == {
        "model": "2026-11-24.7",
        **{name: answer[name] for name in ("label", "act", "confidence", "abstained", "probabilities")},
    }


def test_sure_answer_is_kept_and_not_worth_a_persons_time(client: TestClient) -> None:
    assert keep(client, SURE)[0]["id"] == text_digest(SURE)[:32]
    assert shown(client) == []


def test_what_cannot_be_classified_is_not_kept_and_its_neighbours_are(client: TestClient) -> None:
    first, error, last = keep(client, "a\0b", " ", "ab")
    assert error.keys() == {"error"}
    assert first["id"] == last["id"] == text_digest("ab")[:32]  # databases keep no NUL, and the model reads none
    assert shown(client) == [("abstained", "ab")]
    assert "id" not in keep(client, " ")[0]


def test_same_text_again_replaces_its_answer(client: TestClient) -> None:
    keep(client, DOUBTFUL, DOUBTFUL)
    keep(client, f"{DOUBTFUL} ")  # one character more: another label of the fake, the same normalised text
    (entry,) = queue(client)["entries"]
    assert entry["prediction"]["label"] == "escalatory"


def test_model_s_own_answer_is_kept_where_a_stance_is_asked_for(client: TestClient) -> None:
    (answer,) = keep(client, DOUBTFUL, stances_only=True, explain=True)
    assert answer["label"] == "escalatory"
    assert queue(client)["entries"][0]["prediction"]["label"] == "none"


def test_largest_request_is_kept_in_one_go(client: TestClient) -> None:
    keep(client, *(f"Statement {number}" for number in range(1024)))
    assert queue(client)["counts"]["abstained"] == 1024


def test_hesitation_comes_before_abstention_and_the_closest_first(
    client: TestClient, classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    margin(classifier, monkeypatch, {"A": 0.3, "B": 0.1, "C": 0.19, "D": 0.21, "E": 0.6, "F": 0.0})
    keep(client, *"ABCDEF")
    margins = [("margin", "F"), ("margin", "B"), ("margin", "C")]
    abstained = [("abstained", "D"), ("abstained", "A")]
    assert shown(client) == margins + abstained
    assert shown(client, reason="margin") == margins
    assert shown(client, reason="abstained") == abstained
    assert queue(client, reason="margin")["counts"] == NOTHING | {"margin": 3, "abstained": 2}


def test_label_takes_a_statement_out(client: TestClient) -> None:
    keep(client, DOUBTFUL)
    label(client, f" {DOUBTFUL}", "none")
    assert shown(client) == []


def test_annotators_who_differ_come_first_with_what_each_said_until_it_is_settled(client: TestClient) -> None:
    keep(client, DOUBTFUL)
    for annotator, said in (("ann", "none"), ("bob", "deterrent")):
        id_ = label(client, SURE, said, annotator)
    assert shown(client) == [("disagreement", SURE), ("abstained", DOUBTFUL)]
    entry = queue(client)["entries"][0]
    assert entry["prediction"] is None
    assert [(each["annotator"], each["label"]) for each in entry["labels"]] == [("ann", "none"), ("bob", "deterrent")]
    client.patch(f"{STATEMENTS}/{id_}", json={"label": "none", "settle": True})
    assert shown(client) == [("abstained", DOUBTFUL)]
    keep(client, SURE)  # a person has decided, whatever the model says
    assert shown(client) == [("abstained", DOUBTFUL)]


def test_label_against_a_sure_answer_is_suspected_if_it_came_before_the_answer(client: TestClient) -> None:
    label(client, SURE, "de-escalatory")
    label(client, DOUBTFUL, "de-escalatory")  # the model says none, but is not sure
    label(client, "Ships will dock!", "escalatory")  # as the model says
    assert shown(client) == []
    keep(client, SURE, DOUBTFUL, "Ships will dock!")
    assert shown(client) == [("suspected", SURE)]
    entry = queue(client)["entries"][0]
    assert (entry["prediction"]["label"], entry["labels"][0]["label"]) == ("escalatory", "de-escalatory")
    client.patch(f"{STATEMENTS}/{entry['id']}", json={"label": "none", "annotator": "ann"})
    assert shown(client) == []  # whoever corrects it knows the answer


def test_label_that_was_given_knowing_the_answer_is_not_suspected(client: TestClient) -> None:
    keep(client, SURE)
    label(client, SURE, "de-escalatory")
    assert shown(client) == []


@pytest.mark.parametrize("labelled", [False, True])
def test_dismissed_statement_stays_out_until_somebody_labels_it(client: TestClient, labelled: bool) -> None:
    if labelled:
        label(client, SURE, "de-escalatory")
    (id_,) = (answer["id"] for answer in keep(client, SURE if labelled else DOUBTFUL))
    assert client.post(f"{REVIEW}/{id_}/dismiss").status_code == 204
    assert_problem(client.post(f"{REVIEW}/{id_}/dismiss"), 404)
    keep(client, SURE if labelled else DOUBTFUL)
    assert shown(client) == []
    change = client.get(f"{STATEMENTS}/{id_}/history").json()[-1]
    assert (change["who"], change["action"]) == ("local", "dismiss")
    assert change["before"] == {"reason": "suspected" if labelled else "abstained"}
    for annotator, said in (("bob", "none"), ("cem", "deterrent")):
        label(client, SURE if labelled else DOUBTFUL, said, annotator)
    assert [reason for reason, _ in shown(client)] == ["disagreement"]
    assert client.post(f"{REVIEW}/{id_}/dismiss").status_code == 204
    assert shown(client) == []


@pytest.mark.parametrize("id_", ["0" * 32, "%25", "x", "%00"])
def test_what_is_not_in_the_queue_cannot_be_dismissed(client: TestClient, id_: str) -> None:
    keep(client, DOUBTFUL)
    assert client.post(f"{REVIEW}/{id_}/dismiss").status_code in {404, 422}
    assert len(shown(client)) == 1


def test_pages_miss_and_repeat_nothing_while_others_label(
    client: TestClient, classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Text {number:02}" for number in range(40)]
    margin(classifier, monkeypatch, {text: number / 100 // 0.07 * 0.07 for number, text in enumerate(texts)})  # ties
    keep(client, *texts)
    whole = [text for _, text in shown(client)]
    assert len(whole) == 40
    seen, after, gone = [], None, set()
    while True:
        page = queue(client, limit=7, **({"after": after} if after else {}))
        seen += [each["text"] for each in page["entries"]]
        if (after := page["next"]) is None:
            break
        for text in (seen[0], seen[-1], next((each for each in whole if each not in {*seen, *gone}), None)):
            if text is not None and text not in gone:
                label(client, text, "none")
                gone.add(text)
    assert len(gone) > 10
    assert seen == [text for text in whole if text in seen]
    assert set(whole) - set(seen) <= gone


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"reason": "other"},
        {"after": ""},
        {"after": "margin:0.1"},
        {"after": f"margin:nan:{'a' * 64}"},
        {"after": f"margin:1e999:{'a' * 64}"},
        {"after": f"margin:00.1:{'a' * 64}"},
        {"after": f"other:0.1:{'a' * 64}"},
        {"after": f"margin:0.1:{'a' * 63}\0"},
        {"after": f"margin:0.1:{'a' * 64}\n"},
        {"after": "x" * 201},
    ],
)
def test_query_that_does_not_fit_is_refused(client: TestClient, query: dict[str, str]) -> None:
    assert_problem(client.get(REVIEW, params=query), 422)


@pytest.mark.parametrize("keep", [1, "true", None, []])
def test_keep_is_true_or_false(client: TestClient, keep: Any) -> None:
    assert_problem(client.post(PREDICT, json={"text": "a", "keep": keep}), 422)
