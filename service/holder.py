"""Names a process so that another can tell whether it is still there."""

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path

__all__ = ["holder_name", "is_gone"]

_PROC = Path("/proc")


def holder_name() -> str:
    """Return a name of this process, and of one part of it, that no other has or will have."""
    return f"{socket.gethostname()}|{_namespace()}|{os.getpid()}|{_started(os.getpid())}|{secrets.token_hex(4)}"


def is_gone(name: str) -> bool:
    """Return whether the process of that name has certainly ended; one of another machine or container may have not."""
    host, namespace, process, started, _ = name.rsplit("|", 4)
    if not namespace or (host, namespace) != (socket.gethostname(), _namespace()):
        return False
    return _started(int(process)) != started


def _namespace() -> str:
    """Return what tells this machine's process numbers from those of a container; empty where nobody knows."""
    with suppress(OSError):
        return os.readlink(_PROC / "self" / "ns" / "pid")
    return ""


def _started(process: int) -> str:
    """Return when a process began, in ticks since the machine did; empty where there is none."""
    with suppress(OSError):
        # The second field, the program's name, may hold anything but ends with the last parenthesis.
        stat = (_PROC / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
        return stat.rsplit(")", 1)[1].split()[19]
    return ""
