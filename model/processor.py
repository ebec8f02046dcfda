"""What the processor can do that decides how the network is run."""

import platform
from functools import cache
from pathlib import Path

__all__ = ["multiplies_bytes_exactly"]

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
