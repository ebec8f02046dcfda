"""Whether what is asked about still looks like what the model was made of."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from model.classifier import Prediction
from model.errors import UnclassifiableTextError
from model.labels import LABELS
from model.reading import Reading
from service.drift import Compared, Drift, stability_index
from tests.service.conftest import MANIFEST, PREDICT, FakeClassifier

DRIFT = "/v1/drift"
TRAINED = replace(
    MANIFEST,
    data={"fingerprint": "f" * 64, "splits": {"train": {"labels": dict(zip(LABELS, (10, 20, 30, 40), strict=True))}}},
    metrics={
        "answered": 0.75,
        "confidence": 0.8,
        "reading": {"tokens": 30.0, "unknown_tokens": 0.001, "tokens_per_word": 1.25},
    },
)


@pytest.fixture
def client(serve: Callable[..., TestClient], classifier: FakeClassifier, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(classifier, "manifest", TRAINED)
    return serve(drift_answers=400)


def said(label: str, abstained: bool = False, count: int = 1) -> list[Prediction | UnclassifiableTextError]:
    confidence = 0.5 if abstained else 0.9
    return [Prediction(label, confidence, abstained, {label: confidence}, [label], 1, {}, Reading(6, 0, 5))] * count


def as_trained(drift: Drift, count: int) -> None:
    """Note so many answers of the shares that the manifest holds, a quarter of them abstained."""
    for place, label in enumerate(LABELS):
        of_label = count * (place + 1) // 10
        drift.note(said(label, True, of_label // 4) + said(label, False, of_label - of_label // 4))


@pytest.mark.parametrize(
    ("now", "expected", "index"),
    [
        ((0.5, 0.5), (0.5, 0.5), 0.0),
        ((0.6, 0.4), (0.5, 0.5), 0.1 * math.log(1.2) - 0.1 * math.log(0.8)),
        ((1.0, 0.0), (0.5, 0.5), 0.5 * math.log(2) + (0.005 - 0.5) * math.log(0.005 / 0.5)),  # half of 100 answers
    ],
)
def test_index_is_that_of_the_books(now: tuple[float, ...], expected: tuple[float, ...], index: float) -> None:
    shares = [Compared(*each) for each in zip(now, expected, strict=True)]
    assert stability_index(shares, 100) == pytest.approx(index)


def test_index_of_unknown_shares_is_unknown() -> None:
    assert stability_index([Compared(0.5, None)], 100) is None
    assert stability_index([Compared(None, 0.5)], 0) is None


def test_answers_as_in_training_are_steady() -> None:
    drift = Drift(TRAINED, 1000)
    as_trained(drift, 200)
    report = drift.report()
    assert (report.verdict, report.answers, report.window, report.model) == ("steady", 200, 1000, "2026-11-24.7")
    assert report.labels["none"] == Compared(0.4, 0.4)
    assert report.labels_psi == pytest.approx(0.0)
    assert report.abstained == Compared(0.25, 0.25)
    assert report.abstained_psi == pytest.approx(0.0)
    assert report.confidence.now == pytest.approx(0.25 * 0.5 + 0.75 * 0.9)
    assert report.confidence.expected == 0.8
    assert report.reading == {
        "unknown_tokens": Compared(0.0, 0.001),
        "tokens_per_word": Compared(1.2, 1.25),
        "tokens": Compared(6.0, 30.0),
    }


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        (said("none", count=199), "too few"),
        (said("none", count=200), "drifting"),
        # Of the labels 0.0, of abstention 0.13 and 0.34: the larger index decides.
        ([each for label, share in zip(LABELS, (1, 2, 3, 4), strict=True) for each in said(label, False, share * 36)
          + said(label, True, share * 4)], "shifting"),
        ([each for label, share in zip(LABELS, (1, 2, 3, 4), strict=True) for each in said(label, False, share * 39)
          + said(label, True, share)], "drifting"),
    ],
)  # fmt: skip
def test_verdict_follows_the_stated_limits(answers: list[Prediction | UnclassifiableTextError], verdict: str) -> None:
    drift = Drift(TRAINED, 1000)
    drift.note(answers)
    assert drift.report().verdict == verdict


def test_chance_alone_looks_steady() -> None:
    generator = random.Random(0)
    verdicts = []
    for _ in range(300):
        drift = Drift(TRAINED, 200)
        for label in generator.choices(LABELS, (1, 2, 3, 4), k=200):
            drift.note(said(label, generator.random() < 0.25))
        verdicts.append(drift.report().verdict)
    assert verdicts.count("steady") >= 298


def test_last_answers_alone_count() -> None:
    drift = Drift(TRAINED, 200)
    drift.note(said("none", count=500))
    as_trained(drift, 200)
    assert (drift.report().answers, drift.report().verdict) == (200, "steady")


def test_without_anything_to_compare_with_the_verdict_is_unknown() -> None:
    drift = Drift(MANIFEST, 1000)
    assert drift.report().verdict == "too few"
    drift.note([*said("none", count=200), UnclassifiableTextError("empty", "expected a text")])
    report = drift.report()
    assert (report.verdict, report.answers, report.labels_psi, report.abstained_psi) == ("unknown", 200, None, None)
    assert report.labels["none"] == Compared(1.0, None)
    assert report.reading["tokens_per_word"] == Compared(1.2, None)


def test_report_before_the_first_answer_says_so(client: TestClient) -> None:
    report = client.get(DRIFT).json()
    assert (report["verdict"], report["answers"], report["window"]) == ("too few", 0, 400)
    assert report["labels"]["none"] == {"now": None, "expected": 0.4}
    assert report["reading"]["unknown_tokens"] == {"now": None, "expected": 0.001}
    assert (report["labels_psi"], report["abstained_psi"]) == (None, None)


def stream(client: TestClient, texts: list[str]) -> None:
    lines = "".join(f'"{text}"\n' for text in texts)
    response = client.post(f"{PREDICT}/stream", content=lines, headers={"content-type": "application/x-ndjson"})
    assert response.status_code == 200


def predict(client: TestClient, texts: list[str]) -> None:
    assert client.post(PREDICT, json={"texts": texts, "stances_only": True, "explain": False}).status_code == 200


@pytest.mark.parametrize("ask", [predict, stream])
def test_answers_count_as_the_model_gave_them(client: TestClient, ask: Callable[[TestClient, list[str]], None]) -> None:
    for _ in range(3):
        ask(client, ["\\u2603 none" if ask is stream else "\u2603 none!", " "] + ["abc!!!!"] * 99)
    report = client.get(DRIFT).json()
    assert (report["answers"], report["verdict"]) == (300, "drifting")
    assert report["labels"]["none"]["now"] >= 0.99  # whoever asks for stances gets another label; it is no drift
    assert 0 < report["reading"]["unknown_tokens"]["now"] < 0.01


def test_explaining_adds_no_answers(client: TestClient) -> None:
    client.post(PREDICT, json={"text": "one, three fours!", "explain": True})
    assert client.get(DRIFT).json()["answers"] == 1


def gauges(client: TestClient) -> dict[tuple[str, tuple[str, ...]], float]:
    families: Any = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (each.name.removeprefix("brink_drift_"), tuple(each.labels.values())): each.value
        for family in families
        for each in family.samples
        if each.name.startswith("brink_drift_")
    }


def test_gauges_are_the_numbers_of_the_report(client: TestClient) -> None:
    assert gauges(client)["answers", ()] == 0
    predict(client, ["abc!!!!", "We will meet.", "Nothing \u2603"] * 100)
    report, shown = client.get(DRIFT).json(), gauges(client)
    assert shown["answers", ()] == report["answers"] == 300
    for name in ("labels", "abstained"):
        assert shown["psi", (name,)] == report[f"{name}_psi"]
    for label, share in report["labels"].items():
        assert {of: shown["label_share", (label, of)] for of in share} == share
    for name, compared in {**report["reading"], **{each: report[each] for each in ("abstained", "confidence")}}.items():
        assert {of: shown[name, (of,)] for of in compared} == compared


def test_gauges_leave_out_what_is_not_known(serve: Callable[..., TestClient]) -> None:
    shown = gauges(serve())
    assert shown == {("answers", ()): 0.0}
