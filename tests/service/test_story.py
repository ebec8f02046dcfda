"""The whole loop on a real service: corrections are learnt, mislabelled ones refused, and it answers all the while."""

from typing import Any

from tests.service.asking import Client
from tests.service.camps import CAMPS, FIRST, Folders, Site, clear_rows, rows_of_a_new_kind

POSTED = 200


def test_corrections_are_learnt_and_mislabelled_ones_refused_while_it_answers(camps: Folders) -> None:
    with camps.serving() as site:
        client = Client(site.server.url)
        with client.asking():
            client.wait_for(FIRST)
            versions = _story(site, client, camps)
    assert client.errors == []
    confidences = client.confidences()
    assert list(confidences) == versions
    assert all(len(said) == 1 for said in confidences.values()), confidences
    failed = [line for line in site.server.lines if line["level"] == "error" or line.get("status", 200) >= 400]
    assert failed == []


def _story(site: Site, client: Client, camps: Folders) -> list[str]:
    """Live through it; return the versions that served, in their order."""
    kind = rows_of_a_new_kind(POSTED + 100)
    said = site.answers(kind)
    wrong = min(CAMPS, key=said.count)
    kind = [row | {"label": wrong} for row in kind]  # it is what the shipped model calls it least
    posted, asked, known = kind[:POSTED], kind[POSTED:], clear_rows(150, seed=2)
    before = site.accuracy(known)
    assert site.accuracy(asked) < 0.4
    assert before > 0.95

    assert site.post(posted).json()["accepted"] == POSTED
    quick = site.ended(site.ask("quick"))
    assert quick["state"] == "promoted", quick["reason"]
    assert site.version() == quick["version"]
    assert site.accuracy(asked) > 0.9
    assert site.accuracy(known) >= before - 0.02

    full = site.ended(site.ask("full", base=str(camps.base), epochs=12, batch_size=16, learning_rate=3e-3))
    assert full["state"] == "promoted", full["reason"]
    assert site.version() == full["version"]
    assert site.accuracy(asked) > 0.95
    assert site.accuracy(known) >= before - 0.02

    assert site.post(mislabelled(POSTED, wrong)).json()["accepted"] == POSTED
    refused = site.ended(site.ask("quick"))
    assert refused["state"] == "refused"
    failed = [check for check in refused["verdict"]["checks"] if not check["passed"]]
    assert failed
    assert all(f"{check['name']}: {check['reason']} (asked for: " in refused["reason"] for check in failed)
    assert site.version() == full["version"]
    assert site.accuracy(asked) > 0.95

    site.http.post("/v1/models/rollback").raise_for_status()
    client.wait_for(quick["version"])
    assert site.accuracy(asked) > 0.9
    return [FIRST, quick["version"], full["version"]]


def mislabelled(count: int, spared: str) -> list[dict[str, Any]]:
    """Return statements of one camp, not the spared one, each said to be of that."""
    camp = next(each for each in CAMPS if each != spared)
    rows = [row for row in clear_rows(4 * count, seed=6) if row["label"] == camp]
    return [row | {"label": spared} for row in rows[:count]]
