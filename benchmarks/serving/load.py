"""Asks one route over and over from many kept connections, and prints as JSON how long each answer took.

    .venv/bin/python benchmarks/serving/load.py http://127.0.0.1:8000/v1/predict bodies.jsonl --clients 64 --seconds 10

Each client sends the next body as soon as it has its answer: a closed loop. After the time is up, and its second answer
is there, it sends no more. The rate is that of all answers until the last one. The time of each client's first answer
is left out: all clients begin at once, and the first to be served would look faster than anyone is afterwards.

It runs on the processors of the service that it asks, so it does as little as it can: the requests' bytes are put
together before the time begins, and an answer is only looked at for its status and its end.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import quantiles
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop


class Client(asyncio.Protocol):
    """One connection.

    Attributes:
        latencies_ms: of its answers but the first.
        answers: how many it got.
        failures: how many of them had another status than 200.
        closed: done once it will send no more.
    """

    def __init__(self, requests: Iterator[bytes], ends: float) -> None:
        self.latencies_ms: list[float] = []
        self.answers = self.failures = 0
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests, self._ends = requests, ends

    def connection_made(self, transport: Any) -> None:
        """Send the first request."""
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def data_received(self, data: bytes) -> None:
        """Read a part of an answer; the parser calls `on_message_complete`."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Note an answer and send the next request, or stop."""
        now = perf_counter()
        if self.answers:
            self.latencies_ms.append(1000 * (now - self._sent))
        self.answers += 1
        self.failures += self._parser.get_status_code() != 200
        if now < self._ends or self.answers < 2:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """End; a connection that the service has closed on its own fails the run."""
        if error is None and perf_counter() < self._ends:
            error = ConnectionError("the service has closed the connection")
        if error is None:
            self.closed.set_result(None)
        else:
            self.closed.set_exception(error)

    def _send(self) -> None:
        self._sent = perf_counter()
        self._transport.write(next(self._requests))


async def ask(url: str, bodies: list[bytes], clients: int, seconds: float) -> dict[str, object]:
    """Return how many answers there were, how many failed, in what time, and quantiles of how long they took."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\ncontent-length: "
    requests = cycle([f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies])
    loop = asyncio.get_running_loop()
    started = perf_counter()
    made = [
        loop.create_connection(lambda: Client(requests, started + seconds), parts.hostname, parts.port)
        for _ in range(clients)
    ]
    every = [client for _, client in await asyncio.gather(*made)]
    await asyncio.gather(*(each.closed for each in every))
    seconds_taken = perf_counter() - started
    hundredths = quantiles([ms for each in every for ms in each.latencies_ms], n=100, method="inclusive")
    return {
        "answers": sum(each.answers for each in every),
        "failures": sum(each.failures for each in every),
        "seconds": seconds_taken,
        "quantiles_ms": {"p50_ms": hundredths[49], "p95_ms": hundredths[94], "p99_ms": hundredths[98]},
    }


def main() -> None:
    """Ask, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("bodies", type=Path, help="one JSON body a line")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    bodies = options.bodies.read_bytes().splitlines()
    print(json.dumps(uvloop.run(ask(options.url, bodies, options.clients, options.seconds))))


if __name__ == "__main__":
    main()
