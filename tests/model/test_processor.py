import platform
from pathlib import Path

import pytest

import model.processor
from model.processor import multiplies_bytes_exactly, session_options


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


@pytest.mark.parametrize("exactly", [True, False])
def test_networks_are_run_in_the_exact_way_and_no_slower_than_need_be(
    exactly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.processor, "multiplies_bytes_exactly", lambda: exactly)
    options = session_options(3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    if exactly:
        with pytest.raises(RuntimeError):  # never set
            options.get_session_config_entry("session.x64quantprecision")
    else:
        assert options.get_session_config_entry("session.x64quantprecision") == "1"
