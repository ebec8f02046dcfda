"""Prints statements a second: the engine alone, and over HTTP with one client, many clients, and many texts a request.

    .venv/bin/python benchmarks/throughput.py [--model fast] [--seconds 10]

The load generator runs on the same processors as the service, so the HTTP figures include its cost.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx2
from readiness import wait_until_ready

from model.artifact import locate_model
from model.classifier import Classifier

PORT = 18432
URL = f"http://127.0.0.1:{PORT}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    texts = [
        json.loads(line)["text"] for path in sorted(Path("data/statements").glob("*.jsonl")) for line in path.open()
    ]
    engine = _engine(options.model, texts, options.seconds)
    rows = [("engine alone, 64 texts a call", engine, None)]
    service = subprocess.Popen(
        [sys.executable, "-m", "service"],
        env={**os.environ, "BRINK_PORT": str(PORT), "BRINK_MODEL": options.model, "BRINK_LOG_LEVEL": "warning"},
    )
    try:
        wait_until_ready(URL)
        for clients, size in ((1, 1), (8, 1), (64, 1), (1, 256)):
            rate, latencies = asyncio.run(_load(texts, clients, size, options.seconds))
            rows.append((f"HTTP, {clients} clients, {size} texts a request", rate, latencies))
    finally:
        service.terminate()
        service.wait(timeout=60)
    print("| | statements/s | of the engine | p50, ms | p95, ms |\n| --- | --- | --- | --- | --- |")
    for name, rate, latencies in rows:
        quantiles = statistics.quantiles(latencies, n=20) if latencies else None
        shown = f"{quantiles[9]:.0f} | {quantiles[18]:.0f}" if quantiles else " | "
        print(f"| {name} | {rate:.0f} | {rate / engine:.0%} | {shown} |")


def _engine(model: str, texts: list[str], seconds: float) -> float:
    classifier = Classifier.load(locate_model(model))
    classifier.classify(texts[:64])
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        first = done % (len(texts) - 64)
        classifier.classify(texts[first : first + 64])
        done += 64
    return done / (time.perf_counter() - started)


async def _load(texts: list[str], clients: int, size: int, seconds: float) -> tuple[float, list[float]]:
    """Return statements a second, and each request's latency in ms."""
    latencies: list[float] = []
    ends = time.perf_counter() + seconds
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=URL, limits=limits, timeout=120) as client:

        async def ask(place: int) -> None:
            while time.perf_counter() < ends:
                place = (place + size) % (len(texts) - size)
                started = time.perf_counter()
                answer = await client.post("/v1/predict", json={"texts": texts[place : place + size]})
                answer.raise_for_status()
                latencies.append(1000 * (time.perf_counter() - started))

        started = time.perf_counter()
        await asyncio.gather(*(ask(index * 7) for index in range(clients)))
        return len(latencies) * size / (time.perf_counter() - started), latencies


if __name__ == "__main__":
    main()
