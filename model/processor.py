"""What the processor can do, and so how the network is run on it."""

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import onnxruntime

__all__ = ["available_processors", "multiplies_bytes_exactly", "session_options"]

_CPUINFO = Path("/proc/cpuinfo")
_CGROUPS = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_VNNI = {"avx512_vnni", "avx_vnni"}


def available_processors() -> int:
    """Return how many processors this process may use: those that it may run on, within the limit of its cgroup.

    A limit of one and a half is one: threads beyond it would be stopped for a part of every tenth of a second.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(int(limit) for limit in _cgroup_limits())]))


def _cgroup_limits() -> Iterator[float]:
    """Yield the processors that each cgroup above this process allows, of either version; none where there is none."""
    with suppress(OSError):
        for line in _CGROUPS.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = _CGROUP_ROOT / "cpu" if controllers else _CGROUP_ROOT
            place = root / name.lstrip("/")
            for folder in (place, *place.parents):
                if (limit := _limit(folder)) is not None:
                    yield limit
                if folder == root:
                    break


def _limit(folder: Path) -> float | None:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):
            quota, period = map(int, " ".join((folder / name).read_text() for name in names).split())
            return quota / period if quota > 0 else None  # the word `max` is no number, and -1 no limit
    return None


@cache
def multiplies_bytes_exactly() -> bool:
    """Return whether sums of products of 8-bit integers cannot overflow in the fast way of computing them.

    On x86 without VNNI they saturate at 16 bits, without a word, unless ONNX Runtime is told to take a slower way:
    `session.x64quantprecision`. Where Linux does not say what the processor has, it is taken to have no VNNI.
    """
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    if not _CPUINFO.is_file():
        return False
    flags = next((line for line in _CPUINFO.read_text().splitlines() if line.startswith("flags")), "")
    return bool(_VNNI & set(flags.split()))


def session_options(threads: int = 0) -> onnxruntime.SessionOptions:
    """Return how ONNX Runtime is to run a network, or a part of one: alike wherever the same answers are expected.

    Args:
        threads: for one batch; 0 takes every processor that this process may use.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or available_processors()
    options.inter_op_num_threads = 1
    # Its threads would otherwise look for work long after a batch: of a service asked fifty times a second that was
    # two thirds of the processor's time, which training and all else on the machine went without.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not multiplies_bytes_exactly():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options
