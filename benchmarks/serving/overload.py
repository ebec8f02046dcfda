"""Prints what becomes of a service that is asked for more than it can do: rate, refusals, and the wait of who is taken.

    .venv/bin/python benchmarks/serving/overload.py [--model fast] [--seconds 20] [--queued-tokens 8192]

First the peak, of 64 clients that wait for their answers. Then requests at a multiple of that rate, come what may, from
a process of their own; one that gets 429 is not sent again. The bound is what the service states: queued tokens by its
rate of tokens, and one round of the batcher more.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from readiness import wait_until_ready
from tokenizers import Tokenizer

from model.artifact import locate_model
from model.classifier import TOKENIZER
from service.waiting import ROUND_TOKENS

PORT = 18433
URL = f"http://127.0.0.1:{PORT}"
CLIENTS = 64
MULTIPLES = (0.5, 1.0, 2.0, 4.0)


@dataclass
class Seen:
    """What came of the requests of one load; times in seconds."""

    waits_s: list[float] = field(default_factory=list)
    refused: int = 0
    retry_after_s: list[int] = field(default_factory=list)
    refusals_s: list[float] = field(default_factory=list)
    others: int = 0
    took_s: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.waits_s) / self.took_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="fast")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--queued-tokens", type=int, default=8192)
    options = parser.parse_args()
    texts = [
        json.loads(line)["text"] for path in sorted(Path("data/statements").glob("*.jsonl")) for line in path.open()
    ]
    tokenizer = Tokenizer.from_file(str(locate_model(options.model) / TOKENIZER))
    tokens = statistics.fmean(len(tokenizer.encode(text).ids) for text in texts[:1000])
    with TemporaryDirectory() as scratch:
        settings = {"PORT": PORT, "MODEL": options.model, "MAX_QUEUED_TOKENS": options.queued_tokens}
        settings |= {"LOG_LEVEL": "warning", "DATABASE_URL": f"sqlite:///{scratch}/brink.db", "MODELS": scratch}
        environment = {**os.environ, **{f"BRINK_{name}": str(value) for name, value in settings.items()}}
        service = subprocess.Popen([sys.executable, "-m", "service"], env=environment)
        try:
            wait_until_ready(URL)
            _report(texts, tokens, options.queued_tokens, options.seconds)
        finally:
            service.terminate()
            service.wait(timeout=120)


def _report(texts: Sequence[str], tokens: float, queued_tokens: int, seconds: float) -> None:
    _apart(texts, None, seconds / 2)  # warm
    peak = _apart(texts, None, seconds)
    bound_s = (queued_tokens + ROUND_TOKENS) / (peak.rate * tokens)
    print(f"peak of {CLIENTS} clients: {peak.rate:.1f}/s of {tokens:.0f} tokens; bound of the wait: {bound_s:.1f} s\n")
    print(
        "| asked for | a second | answered, of the peak | refused | p50, s | p99, s | refusal p99, s | Retry-After, s |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for multiple in MULTIPLES:
        seen = _apart(texts, multiple * peak.rate, seconds)
        asked = len(seen.waits_s) + seen.refused + seen.others
        told = f"{min(seen.retry_after_s)} to {max(seen.retry_after_s)}" if seen.retry_after_s else ""
        cells = (
            f"{multiple:g} of the peak",
            f"{multiple * peak.rate:.1f}",
            f"{seen.rate / peak.rate:.0%}",
            f"{seen.refused / asked:.0%}" + (f", {seen.others} failed" if seen.others else ""),
            f"{_quantile(seen.waits_s, 50):.2f}",
            f"{_quantile(seen.waits_s, 99):.2f}",
            f"{_quantile(seen.refusals_s, 99):.3f}" if seen.refusals_s else "",
            told,
        )
        print(f"| {' | '.join(cells)} |", flush=True)


def _quantile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else float("nan")


def _apart(texts: Sequence[str], rate: float | None, seconds: float) -> Seen:
    """Return what a process of its own has seen."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_load, (texts[:2000], rate, seconds))


def _load(texts: Sequence[str], rate: float | None, seconds: float) -> Seen:
    return asyncio.run(_closed(texts, seconds) if rate is None else _open(texts, rate, seconds))


async def _closed(texts: Sequence[str], seconds: float) -> Seen:
    seen, started = Seen(), time.perf_counter()
    async with _client() as client:

        async def ask(place: int) -> None:
            while time.perf_counter() - started < seconds:
                await _ask(client, texts[place % len(texts)], seen)
                place += CLIENTS

        await asyncio.gather(*(ask(place) for place in range(CLIENTS)))
    seen.took_s = time.perf_counter() - started
    return seen


async def _open(texts: Sequence[str], rate: float, seconds: float) -> Seen:
    """Ask `rate` times a second; what is under way at the end is waited for, and counts with the time that it took."""
    seen, started = Seen(), time.perf_counter()
    async with _client() as client, asyncio.TaskGroup() as group:
        for place in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + place / rate - time.perf_counter()))
            group.create_task(_ask(client, texts[place % len(texts)], seen))
    seen.took_s = time.perf_counter() - started
    return seen


def _client() -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=URL, limits=httpx2.Limits(max_connections=None), timeout=120)


async def _ask(client: httpx2.AsyncClient, text: str, seen: Seen) -> None:
    started = time.perf_counter()
    response = await client.post("/v1/predict", json={"text": text})
    wait_s = time.perf_counter() - started
    if response.status_code == 200:
        seen.waits_s.append(wait_s)
    elif response.status_code == 429:
        seen.refused += 1
        seen.refusals_s.append(wait_s)
        seen.retry_after_s.append(int(response.headers["retry-after"]))
    else:
        seen.others += 1


if __name__ == "__main__":
    main()
