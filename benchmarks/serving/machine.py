"""What the machine of a benchmark is, in words that say what matters to its speed. Standard library only."""

import os
from pathlib import Path

_FEATURES = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")


def describe_machine() -> str:
    """Return its processor, how many this process may use, what they know, and how busy they were."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    flags = facts.get("flags", "").split()
    known = [each for each in _FEATURES if each in flags]
    return (
        f"{len(os.sched_getaffinity(0))} processors, {facts.get('model name', 'of an unknown kind')}, "
        f"with {', '.join(known) or 'none'} of {', '.join(_FEATURES)}; "
        f"load before the run {os.getloadavg()[0]:.1f}"
    )
