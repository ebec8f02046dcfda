"""One of several processes that answer: `python -m service.worker PARENT SOCKET READY`, as `service.workers` starts it.

PARENT is the process with whose end this one ends too, SOCKET the descriptor of the socket to answer on, and READY that
of a pipe into which it writes once it does.
"""

import os
import signal
import socket
import sys
from pathlib import Path

from service.launch import end_with
from service.server import serve
from service.settings import load_settings
from service.telemetry import Metrics, configure_logging
from service.workers import METRICS_FOLDER

__all__ = ["main"]


def main(parent: int, bound: int, ready: int) -> int:
    """Answer until a signal, or the end of the parent; return the exit code."""
    if not end_with(parent, signal.SIGTERM):
        return 0
    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    folder = os.environ[METRICS_FOLDER]
    with socket.socket(fileno=bound) as listener:
        return serve(settings, Metrics(folder), [listener], Path(folder) / "weights", lambda: os.write(ready, b"."))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
