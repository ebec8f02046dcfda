"""What operators ask: alive, ready, metrics, which model."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from model.labels import ACTS
from tests.service.conftest import MANIFEST, PREDICT, WAIT_S, FakeClassifier, Log, application, post_bytes

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(client: TestClient) -> Samples:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def requests(samples: Samples) -> dict[tuple[str, str, str], float]:
    """Return the count of answers by method, route and status."""
    found = {}
    for (name, labels), count in samples.items():
        if name == "brink_http_requests_total":
            by_name = dict(labels)
            found[by_name["method"], by_name["route"], by_name["status"]] = count
    return found


def test_living_process_says_so_even_before_it_is_ready(client: TestClient, classifier: FakeClassifier) -> None:
    for each in (client, TestClient(application(classifier))):
        response = each.get("/healthz")
        assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_ready_once_warmed_up(client: TestClient) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready"})


def test_operations_answer_while_the_engine_computes(
    client: TestClient, classifier: FakeClassifier, background: ThreadPoolExecutor
) -> None:
    with classifier.blocked():
        waiting = background.submit(client.post, PREDICT, json={"text": "a"})
        classifier.wait_until_entered()
        statuses = [client.get(path).status_code for path in ("/healthz", "/readyz", "/metrics", "/v1/model")]
    assert statuses == [200] * 4
    assert waiting.result(WAIT_S).status_code == 200


def test_model_is_described(client: TestClient) -> None:
    assert client.get("/v1/model").json() == {
        "version": "2026-11-24.7",
        "labels": ["escalatory", "deterrent", "de-escalatory", "none"],
        "threshold": 0.8,
        "acts": {label: list(acts) for label, acts in ACTS.items()},
        "set_coverage": 0.9,
        "max_tokens": 256,
        "base": MANIFEST.base,
        "metrics": {"macro_f1": 0.5},
        "data_fingerprint": "f" * 64,
        "trained_on": {"train": {"statements": 3}},
    }


def test_predictions_are_counted_by_label(client: TestClient) -> None:
    client.post(PREDICT, json={"texts": ["abcd!", "abcdefgh!", "abcd", "", " ", "x" * 20_001]})
    client.post(PREDICT, json={"text": "abcd!"})
    samples = scrape(client)
    assert value(samples, "brink_predictions_total", label="deterrent", abstained="false") == 3
    assert value(samples, "brink_predictions_total", label="escalatory", abstained="true") == 1
    assert value(samples, "brink_text_errors_total", code="empty") == 2
    assert value(samples, "brink_text_errors_total", code="too_long") == 1
    assert value(samples, "brink_model_info", version="2026-11-24.7") == 1


def test_warm_up_is_not_counted(client: TestClient) -> None:
    samples = scrape(client)
    assert not [name for name, _ in samples if name.startswith("brink_predictions")]
    assert requests(samples) == {}


def test_label_that_was_asked_for_is_the_one_counted(client: TestClient) -> None:
    client.post(PREDICT, json={"text": "abc!!!!", "stances_only": True})
    assert value(scrape(client), "brink_predictions_total", label="escalatory", abstained="true") == 1


def test_requests_are_counted_by_route_and_status(client: TestClient, classifier: FakeClassifier, log: Log) -> None:
    log.configure()
    client.post(PREDICT, json={"text": "a"})
    client.post(PREDICT, json={"text": "a"})
    client.post(PREDICT, json={})
    post_bytes(client, b"{")
    client.get("/healthz")
    classifier.failure = RuntimeError("the engine broke")
    client.post(PREDICT, json={"text": "a"})
    samples = scrape(client)
    assert requests(samples) == {
        ("POST", PREDICT, "200"): 2,
        ("POST", PREDICT, "422"): 1,
        ("POST", PREDICT, "400"): 1,
        ("POST", PREDICT, "500"): 1,
        ("GET", "/healthz", "200"): 1,
    }
    assert value(samples, "brink_http_request_duration_seconds_count", route=PREDICT) == 5
    assert value(samples, "brink_http_request_duration_seconds_bucket", route=PREDICT, le="+Inf") == 5


def test_unknown_paths_and_methods_add_no_labels(client: TestClient) -> None:
    for index in range(50):
        client.get(f"/made-up/{index}")
        client.get(f"/static-offline-docs/{index}")
        client.request(f"BREW{index}", "/healthz")
        client.request(f"BREW{index}", f"/made-up/{index}")
    assert requests(scrape(client)) == {
        ("GET", "none", "404"): 100,
        ("other", "/healthz", "405"): 50,
        ("other", "none", "404"): 50,
    }


def test_query_is_no_part_of_the_route(client: TestClient) -> None:
    client.get("/healthz?a=1")
    client.get("/healthz?a=2")
    assert requests(scrape(client)) == {("GET", "/healthz", "200"): 2}


def test_waiting_texts_are_shown_and_go_back_to_zero(
    serve: Callable[..., TestClient], classifier: FakeClassifier, background: ThreadPoolExecutor
) -> None:
    client = serve()
    with classifier.blocked():
        waiting = background.submit(client.post, PREDICT, json={"texts": ["a"] * 300})
        classifier.wait_until_entered()
        assert value(scrape(client), "brink_queued_texts") == 300
    assert waiting.result(WAIT_S).status_code == 200
    assert value(scrape(client), "brink_queued_texts") == 0


def test_metrics_answer_before_the_start(classifier: FakeClassifier) -> None:
    samples = scrape(TestClient(application(classifier)))
    assert samples["brink_queued_texts", frozenset()] == 0
    assert not [labels for name, labels in samples if name == "brink_model_info" and labels]
