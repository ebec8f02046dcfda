"""What the processor can do, and so how the network is run on it."""

import os
import platform
from functools import cache
from pathlib import Path

import onnxruntime

__all__ = ["multiplies_bytes_exactly", "session_options"]

_CPUINFO = Path("/proc/cpuinfo")
_VNNI = {"avx512_vnni", "avx_vnni"}


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
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    # Its threads would otherwise look for work long after a batch: of a service asked fifty times a second that was
    # two thirds of the processor's time, which training and all else on the machine went without.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if not multiplies_bytes_exactly():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options
