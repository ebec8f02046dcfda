"""Becomes another program that ends with the service. Run by its path: it needs nothing of ours.

`python launch.py PARENT COMMAND...`: the kernel kills the command when the process PARENT ends, however it ends, so
that no training goes on whose service is gone. Only Linux can; elsewhere the command is run all the same.
"""

import ctypes
import os
import signal
import sys

__all__ = ["end_with", "main"]

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

# Beneath the service, which shall go on answering: half of the way to the least.
_NICENESS = 10


def end_with(parent: int, number: signal.Signals) -> bool:
    """Let the kernel send this process a signal when its parent ends; return whether the parent is still there."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    return os.getppid() == parent  # it may have ended before the kernel was told


def main(parent: int, command: list[str]) -> None:
    """Become the command."""
    os.nice(_NICENESS)
    if not end_with(parent, signal.SIGKILL):
        sys.exit("the service that wanted this has ended.")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
