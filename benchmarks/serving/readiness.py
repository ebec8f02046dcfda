"""Waits until a service that a benchmark has started says that it is ready. Standard library only."""

import time
import urllib.request

_TIMEOUT_S = 300


def wait_until_ready(url: str, route: str = "/readyz") -> None:
    """Return as soon as `route` answers 200, looked up every 10 ms; end the benchmark where it never does."""
    ends = time.perf_counter() + _TIMEOUT_S
    while time.perf_counter() < ends:
        try:
            urllib.request.urlopen(f"{url}{route}", timeout=5).close()
        except OSError:  # not listening yet, or, as an error of its subclass, answering that it is not ready
            time.sleep(0.01)
        else:
            return
    raise SystemExit(f"the service was not ready after {_TIMEOUT_S} s; see what it has printed")
