"""Waits until a service that a benchmark has started says that it is ready. Standard library only."""

import time
import urllib.error
import urllib.request

_TIMEOUT_S = 60


def wait_until_ready(url: str) -> None:
    """Return as soon as `/readyz` answers, looked up every 10 ms; end the benchmark where it never does."""
    ends = time.perf_counter() + _TIMEOUT_S
    while time.perf_counter() < ends:
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=5).close()
        except urllib.error.URLError:
            time.sleep(0.01)
        else:
            return
    raise SystemExit(f"the service was not ready after {_TIMEOUT_S} s; its output is above")
