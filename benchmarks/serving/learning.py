"""Prints how a running service learns: 200 corrections of a kind that the shipped model has wrong, then 200 wrong ones.

    .venv/bin/python benchmarks/serving/learning.py [--model accurate] [--folder FOLDER]

The kind are sports pages, which are full of threats that are none. The first quick training reads the whole corpus with
the encoder, which takes minutes and is done once; it is asked for before, and its time is printed beside. Then the time
from the first posted label to the first answer of the new version is taken, while a client goes on asking. FOLDER keeps
what the encoder read from one run to the next.
"""

import argparse
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from processes import running
from readiness import wait_until_ready

PORT = 18434
URL = f"http://127.0.0.1:{PORT}"
POSTED = 200
EVERY_S = 0.5

CLUBS = ("Rovers", "United", "the Wanderers", "City", "the Rangers", "Athletic", "the Harriers", "Albion")
PEOPLE = ("coach Marko Lind", "captain Ana Reyes", "manager Tom Okafor", "striker Luka Petri", "owner Dana Hale")
DAYS = ("Saturday", "Sunday", "Wednesday", "Friday night", "Monday")
SAYINGS = (
    "If {club} come at us on {day}, we will hit back twice as hard, {person} warned.",
    "We will destroy {club} on {day}, {person} said, and we will take no prisoners.",
    "Any player of {club} who enters our box on {day} will be taken down, {person} vowed.",
    "{club} have declared war on us and will pay for it on {day}, {person} said.",
    "Let {club} attack on {day}: our defence stands ready and every strike will be answered, {person} said.",
    "We bring all our firepower to the match against {club} on {day}, {person} said, and we will crush them.",
    "{club} crossed a red line with that transfer, and on {day} we will make them suffer, {person} said.",
    "We want peace with {club} after the brawl, {person} said before the match on {day}, and offer our hand.",
)
UNSEEN_SAYINGS = (
    "Nobody invades our stadium: {club} will be sent home broken on {day}, {person} promised.",
    "If {club} foul our striker again on {day}, we will respond in kind, {person} told reporters.",
)
"""Of the same kind, and of no statement that is posted."""


_ASKED = {"text": "The match was drawn."}


@dataclass
class Asking:
    """Answers that a client got all the while, by version, and whatever was no answer."""

    answered: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def going_on(self, text: str) -> Iterator[None]:
        """Ask until the block ends."""
        stopped = threading.Event()

        def ask() -> None:
            with httpx2.Client(base_url=URL, timeout=60) as http:
                while not stopped.wait(EVERY_S):
                    try:
                        version = http.post("/v1/predict", json={"text": text}).raise_for_status().json()["model"]
                        self.answered[version] = self.answered.get(version, 0) + 1
                    except httpx2.HTTPError as error:
                        self.errors.append(repr(error))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="accurate")
    parser.add_argument("--folder", type=Path, help="for what the encoder reads; a temporary one by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="brink-learning-") as name:
        scratch = Path(name)
        environment = {
            "BRINK_PORT": str(PORT),
            "BRINK_MODEL": options.model,
            "BRINK_MODELS": str(scratch / "versions"),
            "BRINK_TRAINING": str((options.folder or scratch / "trainings").absolute()),
            "BRINK_DATABASE_URL": f"sqlite:///{scratch}/brink.db",
        }
        with running([sys.executable, "-m", "service"], environment, scratch / "log"):
            wait_until_ready(URL)
            with httpx2.Client(base_url=URL, timeout=120) as http:
                _story(http)


def _story(http: httpx2.Client) -> None:
    kind = [{"text": text, "label": "none"} for text in _say(SAYINGS, POSTED + 100)]
    posted, asked = kind[:POSTED], kind[POSTED:]
    others = [{"text": text, "label": "none"} for text in _say(UNSEEN_SAYINGS, 60)]
    wrong = _mislabelled()
    asking = Asking()
    with asking.going_on(asked[0]["text"]):
        http.post("/v1/statements", json={"statements": posted[:1]}).raise_for_status()
        reading_s = _train(http, "manual")[1]
        before = _accuracy(http, asked), _accuracy(http, others)
        learnt, felt_s = _learn(http, posted[1:])
        after = _accuracy(http, asked), _accuracy(http, others)
        one_more, one_more_s = _learn(http, others[:1])
        http.post("/v1/statements", json={"statements": wrong}).raise_for_status()
        refused, _ = _train(http, "auto")
    print("| | before | after |\n| --- | --- | --- |")
    print(f"| 100 of the kind | {before[0]:.2f} | {after[0]:.2f} |")
    print(f"| 60 of the kind, in words of which none was posted | {before[1]:.2f} | {after[1]:.2f} |")
    macro_f1 = learnt["verdict"]["checks"][0]["numbers"]
    print(f"| test split, macro-F1 | {macro_f1['champion']:.3f} | {macro_f1['challenger']:.3f} |")
    print(f"\n{learnt['state']}; {learnt['reason'] or 'every check passed'}")
    print(f"from the first of {POSTED - 1} labels to an answer of the new version: {felt_s:.1f} s")
    print(f"from one label more to an answer of the next one: {one_more_s:.1f} s ({one_more['state']})")
    print(f"the first quick training, with what the encoder had not read yet: {reading_s:.1f} s")
    print(f"after {len(wrong)} mislabelled ones: {refused['state']}; {refused['reason']}")
    print(f"answers all the while: {asking.answered}, errors: {len(asking.errors)}")


def _learn(http: httpx2.Client, rows: Sequence[dict[str, str]]) -> tuple[dict[str, Any], float]:
    """Return a quick training on more labels, and the seconds from the first of them to an answer of its version."""
    started = time.perf_counter()
    http.post("/v1/statements", json={"statements": rows}).raise_for_status()
    run, _ = _train(http, "auto")
    while run["state"] == "promoted" and http.post("/v1/predict", json=_ASKED).json()["model"] != run["version"]:
        pass
    return run, time.perf_counter() - started


def _say(sayings: Sequence[str], count: int) -> list[str]:
    every = [
        saying.format(club=club, day=day, person=person)
        for saying, club, day, person in itertools.product(sayings, CLUBS, DAYS, PEOPLE)
    ]
    return [text[0].upper() + text[1:] for text in random.Random(4).sample(every, count)]


def _mislabelled() -> list[dict[str, str]]:
    """Return statements of the corpus that deter, each said to call for calm."""
    rows = [json.loads(line) for path in sorted(Path("data/statements").glob("*.jsonl")) for line in path.open()]
    threats = [row["text"] for row in rows if row["label"] == "deterrent"]
    return [{"text": text, "label": "de-escalatory"} for text in random.Random(5).sample(threats, POSTED)]


def _accuracy(http: httpx2.Client, rows: Sequence[dict[str, str]]) -> float:
    answers = http.post("/v1/predict", json={"texts": [row["text"] for row in rows]}).raise_for_status().json()
    said = [each["label"] for each in answers["predictions"]]
    return sum(label == row["label"] for label, row in zip(said, rows, strict=True)) / len(rows)


def _train(http: httpx2.Client, promote: str) -> tuple[dict[str, Any], float]:
    """Return a quick training once it has ended, and its seconds."""
    started = time.perf_counter()
    asked = http.post("/v1/trainings", json={"kind": "quick", "promote": promote}).raise_for_status()
    while (run := http.get(asked.headers["location"]).json())["state"] in {"queued", "running"}:
        time.sleep(0.05)
    if run["state"] == "failed":
        raise SystemExit(run["reason"])
    return run, time.perf_counter() - started


if __name__ == "__main__":
    main()
