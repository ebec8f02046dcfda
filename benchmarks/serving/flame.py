"""Draws where the service's Python threads spend their time under load, and prints it by share.

    .venv/bin/python benchmarks/serving/flame.py [--model fast] [--clients 64] [--seconds 20] [--out models/serving]

`--out` gets `flame.svg`, and `stacks.txt`, the stacks that the table is of. Only threads that work are counted, not
those that wait. A sample belongs to the layer of its innermost frame that belongs to any; what compiled code does, to
the frame that called it. The engine computes in threads of its own besides, which have no Python stack and so are not
in here.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

from contestants import Contestant, brink
from environment import peer_programs
from processes import running
from readiness import wait_until_ready
from statements import short_statements

from model.artifact import locate_model

_HERE = Path(__file__).parent
_SAMPLES_A_S = 100
_SETTLE_S = 3.0

LAYERS = (
    ("engine", ("onnxruntime/",)),
    ("tokenising", ("_encode (model/classifier", "_encode_or_error (model/classifier", "_read (model/classifier")),
    ("logits to answers", ("(model/",)),
    ("request log and metrics", ("(service/telemetry", "structlog/", "prometheus_client/", "asgi_correlation_id/")),
    ("queue, and between its threads", ("(service/batching", "concurrent/futures/", "threading.py", "queue.py")),
    ("JSON and its schema", ("json/", "pydantic/", "(service/schemas", "(service/bodies", "(service/answers")),
    ("routes of the service", ("(service/",)),
    ("FastAPI", ("fastapi/",)),
    ("Starlette", ("starlette/", "anyio/")),
    ("HTTP server and event loop", ("uvicorn/", "uvloop", "httptools/", "asyncio/")),
)
"""What a frame belongs to, by what its name and place hold."""

OTHER = "other"

_WAITING = ("wait (threading.py", "Runner.run (asyncio/runners.py")
"""Innermost frames of threads that wait, which not every kernel lets py-spy tell from those that work. The second is
the event loop's own compiled code too: what it spends on sockets beneath no Python frame is not counted."""


def main() -> None:
    """Ask, sample, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="fast", help="name of a shipped model, or a folder of one")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two recordings")
    parser.add_argument("--out", type=Path, default=Path("models/serving"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        service = brink(locate_model(options.model), "int8", Path(scratch))
        bodies = Path(scratch) / "bodies.jsonl"
        texts, _ = short_statements(locate_model(options.model))
        bodies.write_text("\n".join(json.dumps(service.body([text])) for text in texts))
        _record(service, bodies, options.clients, options.seconds, options.out)
    print("| layer | share of the samples |\n| --- | --- |")
    for layer, share in shares((options.out / "stacks.txt").read_text()).items():
        print(f"| {layer} | {share:.1%} |")


def _record(service: Contestant, bodies: Path, clients: int, seconds: float, out: Path) -> None:
    """Sample the service twice under one load: py-spy writes either the drawing or the stacks."""
    load = [sys.executable, _HERE / "load.py", service.url + service.route, bodies, "--clients", str(clients)]
    sampler = [peer_programs() / "py-spy", "record", "--threads", "--rate", str(_SAMPLES_A_S)]
    with running(service.command, service.environment, out / "flame.log") as process:
        wait_until_ready(service.url, service.ready)
        asking = subprocess.Popen([*load, "--seconds", "3600"], stdout=subprocess.DEVNULL)
        try:
            sleep(_SETTLE_S)
            for form, name in (("flamegraph", "flame.svg"), ("raw", "stacks.txt")):
                where = ["--pid", str(process.pid), "--duration", f"{seconds:.0f}", "--format", form, "-o", out / name]
                subprocess.run([*sampler, *where], check=True)
            if asking.poll() is not None:
                raise SystemExit("the load has ended before the recordings did; its output is above")
        finally:
            asking.terminate()
            asking.wait()


def shares(stacks: str) -> dict[str, float]:
    """Return the share of the samples of each layer, largest first; `stacks` has one a line, with its count."""
    counts: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        if any(mark in stack.rpartition(";")[2] for mark in _WAITING):
            continue
        counts[_layer(stack.split(";"))] += int(count)
    return {layer: count / counts.total() for layer, count in counts.most_common()}


def _layer(frames: list[str]) -> str:
    for frame in reversed(frames):
        for layer, marks in LAYERS:
            if any(mark in frame for mark in marks):
                return layer
    return OTHER


if __name__ == "__main__":
    main()
