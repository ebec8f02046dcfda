"""What keeping may cost: nothing of those who keep nothing, whatever becomes of the database."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from model.classifier import Prediction
from model.labels import ACTS, LABELS
from service.database import Database
from service.keeping import KeptPredictions
from service.review import ReviewQueue
from tests.service.conftest import PREDICT, WAIT_S, FakeClassifier, assert_problem


def test_database_that_is_away_is_503_for_those_alone_who_keep(
    serve: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = serve(database_url=f"sqlite:///{tmp_path}/later/brink.db")
    for body in ({"text": "A.", "keep": True}, {"texts": ["A.", " "], "keep": True}):
        response = client.post(PREDICT, json=body)
        assert "the database cannot be used now" in assert_problem(response, 503)["detail"]
        assert response.headers["retry-after"]
    assert client.post(PREDICT, json={"text": "A."}).status_code == 200
    assert client.post(PREDICT, json={"text": " ", "keep": True}).status_code == 200  # there is nothing to keep
    assert_problem(client.get("/v1/review"), 503)
    (tmp_path / "later").mkdir()  # and back
    assert client.post(PREDICT, json={"text": "A.", "keep": True}).status_code == 200


def test_busy_database_holds_up_nobody_who_keeps_nothing(
    serve: Callable[..., TestClient], database_url: str, background: ThreadPoolExecutor
) -> None:
    client = serve(database_url=database_url)
    assert client.post(PREDICT, json={"text": "A.", "keep": True}).status_code == 200
    with closing(Database(database_url)) as other, ThreadPoolExecutor(60) as callers:
        with other.writing():
            keepers = [
                callers.submit(client.post, PREDICT, json={"text": f"Text {number}", "keep": True})
                for number in range(50)
            ]
            for _ in range(20):
                assert background.submit(client.post, PREDICT, json={"text": "A."}).result(WAIT_S).status_code == 200
            assert background.submit(client.get, "/v1/review").result(WAIT_S).json()["counts"]["abstained"] == 1
            assert not any(each.done() for each in keepers)
        assert {each.result(WAIT_S).status_code for each in keepers} == {200}
    assert client.get("/v1/review").json()["counts"]["abstained"] == 51


def test_turn_that_does_not_come_in_time_is_503(serve: Callable[..., TestClient], database_url: str) -> None:
    client = serve(database_url=database_url, request_timeout_s=0.5)
    assert client.post(PREDICT, json={"text": "A.", "keep": True}).status_code == 200
    with closing(Database(database_url)) as other, ThreadPoolExecutor(8) as callers:
        with other.writing():
            first = [callers.submit(client.post, PREDICT, json={"text": "B.", "keep": True}) for _ in range(8)]
            refused = list(islice(as_completed(first, WAIT_S), 4))  # the other 4 have their turn, and wait on
            details = [assert_problem(each.result(), 503)["detail"] for each in refused]
        assert all("others kept it busy for 0.5 s; nothing was kept" in each for each in details)
        assert {each.result(WAIT_S).status_code for each in first if each not in refused} == {200}


def test_request_is_kept_whole_or_not_at_all(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        kept, fake = KeptPredictions(database), FakeClassifier()
        texts = [f"Text {number}" for number in range(600)]
        answered = list(zip(texts, cast("list[Prediction]", fake.classify(texts)), strict=True))
        bad = Prediction(LABELS[0], 0.5, True, cast("dict[str, float]", {"a": object(), "b": 0.1}), [], 1, {})
        with pytest.raises(TypeError):
            kept.write([*answered, ("Bad", bad)], "v1", "kim")
        assert ReviewQueue(database).counts()["abstained"] == 0
        assert len(kept.write(answered, "v1", "kim")) == 600
        assert ReviewQueue(database).counts()["abstained"] == 600


def test_row_says_who_kept_what_of_which_model(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        probabilities = {"escalatory": 0.1, "deterrent": 0.5, "de-escalatory": 0.375, "none": 0.025}
        acts = {"deterrent": ACTS["deterrent"][0]}
        answer = Prediction("deterrent", 0.5, True, probabilities, [], 1, acts)
        KeptPredictions(database).write([("A.", answer)], "v1", "kim")
        columns = "text, model, label, act, confidence, margin, kept_by"
        with database.reading() as session:
            row = session.execute(text(f"SELECT {columns} FROM predictions")).one()
    assert tuple(row) == ("A.", "v1", "deterrent", "if-then", 0.5, 0.125, "kim")
