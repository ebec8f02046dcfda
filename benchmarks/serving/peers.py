"""Starts general model servers and Brink on the same weights, asks each the same, and prints how they compare.

    .venv/bin/python benchmarks/serving/peers.py [--model fast] [--seconds 10] [--rounds 3] [--out models/serving]

One service runs at a time; rounds go through all of them, every other one backwards, and a figure is the median over
the rounds. This process itself needs the standard library only, so that it shares no memory with what it measures. The
peers are installed into `.venv-peers` first (`requirements.txt`). `--out` gets `table.md`, `plot.png`
and `results.json`. The load generator runs on the same processors as the service, so every figure includes its cost.
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from contestants import FORMS, STATEMENTS, Contestant, brink, peers
from environment import peer_programs
from machine import describe_machine
from processes import Running, running
from readiness import wait_until_ready

_HERE = Path(__file__).parent
_FIRST_ANSWER_S = 120


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", choices=("fast", "accurate"), default="fast", help="whose encoder: that of the shipped model"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of asking, for each number of clients")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--texts", type=int, default=1024, help="of the large request that one more client sends; or 0")
    parser.add_argument("--only", help="services whose names hold this, in whatever case")
    parser.add_argument("--weights", type=Path, help="folder to keep the exported encoder in, and to reuse it from")
    parser.add_argument("--out", type=Path, default=Path("models/serving"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        weights = options.weights or Path(scratch) / "weights"
        if not (weights / STATEMENTS).is_file():  # it is written last
            subprocess.run(
                [sys.executable, _HERE / "weights.py", "--model", options.model, "--out", weights], check=True
            )
        everyone = [
            *(brink(weights / form, form, Path(scratch)) for form in FORMS),
            *peers(weights, peer_programs()),
        ]
        chosen = [each for each in everyone if not options.only or options.only.lower() in each.name.lower()]
        statements = json.loads((weights / STATEMENTS).read_text())
        results: dict[str, Any] = {
            "machine": describe_machine(),
            "model": options.model,
            "statements": len(statements["texts"]),
            "tokens": fmean(statements["lengths"]),
            "rounds": options.rounds,
            "seconds": options.seconds,
            "services": {each.name: {"precision": each.precision, "is_peer": each.is_peer} for each in chosen},
            "ceilings": [],
            "starts": [],
            "loads": [],
        }
        for number in range(options.rounds):
            results["ceilings"].append(_ceiling(weights, options.seconds))
            for each in chosen if number % 2 == 0 else reversed(chosen):
                loads = [(count, 1) for count in options.clients]
                loads += [(1, options.texts)] if each.many and options.texts else []
                measure(each, statements["texts"], loads, options.seconds, Path(scratch), options.out, results)
                (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    subprocess.run([sys.executable, _HERE / "report.py", options.out], check=True)


def measure(
    contestant: Contestant,
    texts: Sequence[str],
    loads: Sequence[tuple[int, int]],
    seconds: float,
    scratch: Path,
    out: Path,
    results: dict[str, Any],
) -> None:
    """Start one service, ask it in every way, stop it, and add to `results`.

    Args:
        contestant: the service.
        texts: that it is asked about.
        loads: numbers of clients, each with how many texts a request has.
        seconds: of each load.
        scratch: folder for the requests' bodies.
        out: folder for what the service prints.
        results: of the whole benchmark.
    """
    bodies = {size: _write_bodies(contestant, texts, size, scratch) for _, size in loads}
    _say(f"{contestant.name}: starts")
    started = perf_counter()
    log = out / f"{contestant.name.replace(',', '').replace(' ', '-')}.log"
    with running(contestant.command, contestant.environment, log) as service:
        wait_until_ready(contestant.url, contestant.ready)
        _ask_once(contestant, texts[0])
        start = {"s": perf_counter() - started, "processor_s": service.processor_s(), "ready_mb": service.memory_mb()}
        _load(contestant, bodies[1], 8, min(seconds, 3.0), service)  # buffers and shapes, as they are in use
        for count, size in loads:
            load = _load(contestant, bodies[size], count, seconds, service)
            load |= {"service": contestant.name, "clients": count, "texts": size, "rate": size * load["rate"]}
            load["processor_ms"] /= size
            results["loads"].append(load)
            _say(f"{contestant.name}: {count} x {size}: {load['rate']:.1f}/s, p50 {load['p50_ms']:.0f} ms")
        results["starts"].append({"service": contestant.name, "loaded_mb": service.memory_mb()} | start)


def _write_bodies(contestant: Contestant, texts: Sequence[str], size: int, scratch: Path) -> Path:
    path = scratch / f"bodies-{size}.jsonl"
    lines = (json.dumps(contestant.body(texts[at : at + size])) for at in range(0, len(texts), size))
    path.write_text("\n".join(lines) + "\n")
    return path


def _ask_once(contestant: Contestant, text: str) -> None:
    request = urllib.request.Request(
        contestant.url + contestant.route,
        data=json.dumps(contestant.body([text])).encode(),
        headers={"content-type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=_FIRST_ANSWER_S).close()


def _load(contestant: Contestant, bodies: Path, clients: int, seconds: float, service: Running) -> dict[str, Any]:
    """Return requests a second, quantiles of their latencies, and what processors worked for each."""
    before = service.processor_s()
    command: list[str | Path] = [sys.executable, _HERE / "load.py", contestant.url + contestant.route, bodies]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    load = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    if load["failures"]:
        raise SystemExit(
            f"{contestant.name} failed {load['failures']} of {load['answers']} requests: no rate to speak of"
        )
    return {
        "rate": load["answers"] / load["seconds"],
        "processor_ms": 1000 * (service.processor_s() - before) / load["answers"],
        **load["quantiles_ms"],
    }


def _ceiling(weights: Path, seconds: float) -> dict[str, Any]:
    _say("engine alone, and products of matrices")
    command: list[str | Path] = [sys.executable, _HERE / "ceiling.py", weights, "--seconds", str(seconds)]
    measured: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return measured


def _say(line: str) -> None:
    print(f"[load {os.getloadavg()[0]:.1f}] {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
