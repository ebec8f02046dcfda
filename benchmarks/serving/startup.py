"""Prints how long `python -m service` takes from process start to ready and to the first answer, and its memory.

    .venv/bin/python benchmarks/serving/startup.py [--runs 5]

Standard library only, so that it runs in the serving environment.
"""

import argparse
import json
import statistics
import sys
import time
import urllib.request

from processes import running
from readiness import wait_until_ready

PORT = 18431
URL = f"http://127.0.0.1:{PORT}"
TEXT = "Any aircraft that enters our airspace armed will be shot down."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = [_measure() for _ in range(parser.parse_args().runs)]
    print("| from process start | median | min | max |\n| --- | --- | --- | --- |")
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")


def _measure() -> dict[str, float]:
    started = time.perf_counter()
    environment = {"BRINK_PORT": str(PORT), "BRINK_LOG_LEVEL": "warning"}
    with running([sys.executable, "-m", "service"], environment) as service:
        wait_until_ready(URL)
        ready_s, memory_mb = time.perf_counter() - started, service.memory_mb("Rss")
        _ask()
        return {
            "ready, s": ready_s,
            "first answer, s": time.perf_counter() - started,
            "resident memory when ready, MB": memory_mb,
        }


def _ask() -> None:
    request = urllib.request.Request(
        f"{URL}/v1/predict",
        data=json.dumps({"text": TEXT}).encode(),
        headers={"content-type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


if __name__ == "__main__":
    main()
