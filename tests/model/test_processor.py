import platform
from pathlib import Path

import pytest

import model.processor
from model.processor import multiplies_bytes_exactly


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "exactly"),
    [
        ("x86_64", "processor: 0\nflags\t: fpu avx2 avx512f avx512_vnni\n", True),
        ("x86_64", "flags\t: fpu avx2 avx_vnni\n", True),
        ("AMD64", "flags\t: fpu avx2 avx512f avx512bw\n", False),
        ("x86_64", "", False),
        ("x86_64", None, False),
        ("aarch64", None, True),
    ],
)
def test_only_x86_without_vnni_takes_the_slower_way(
    machine: str, cpuinfo: str | None, exactly: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(model.processor, "_CPUINFO", path)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    multiplies_bytes_exactly.cache_clear()
    try:
        assert multiplies_bytes_exactly() == exactly
    finally:
        multiplies_bytes_exactly.cache_clear()
