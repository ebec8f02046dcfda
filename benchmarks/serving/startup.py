"""Prints how long `python -m service` takes from process start to ready and to the first answer, and its memory.

    .venv/bin/python benchmarks/serving/startup.py [--runs 5]

Standard library only, so that it runs in the serving environment.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

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
    environment = {**os.environ, "BRINK_PORT": str(PORT), "BRINK_LOG_LEVEL": "warning"}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "service"], env=environment)
    try:
        wait_until_ready(URL)
        ready_s = time.perf_counter() - started
        memory_mb = _resident_mb(process.pid)
        _ask()
        return {
            "ready, s": ready_s,
            "first answer, s": time.perf_counter() - started,
            "resident memory when ready, MB": memory_mb,
        }
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ask() -> None:
    request = urllib.request.Request(
        f"{URL}/v1/predict",
        data=json.dumps({"text": TEXT}).encode(),
        headers={"content-type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


if __name__ == "__main__":
    main()
