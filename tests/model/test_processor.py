import platform
from pathlib import Path

import pytest

import model.processor
from model.processor import available_processors, multiplies_bytes_exactly, session_options


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


@pytest.mark.parametrize(
    ("cgroups", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "250000 100000\n", "a/cpu.max": "300000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 8),
        ("0::/gone\n", {"cpu.max": "400000 100000"}, 4),
        (
            "4:memory:/a\n2:cpu,cpuacct:/a\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "200000", "cpu/a/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("0::/\n", {"cpu.max": "nonsense"}, 8),
        (None, {"cpu.max": "50000 100000"}, 8),
    ],
)
def test_processors_are_those_that_the_cgroups_allow(
    cgroups: str | None, files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(content)
    if cgroups is not None:
        (tmp_path / "cgroup").write_text(cgroups)
    monkeypatch.setattr(model.processor, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(model.processor, "_CGROUP_ROOT", tmp_path / "fs")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert available_processors() == expected
