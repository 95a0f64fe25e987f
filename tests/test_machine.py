"""What a container or batch system leaves of the machine: `pytest tests/test_machine.py`."""

import os
from pathlib import Path
from types import SimpleNamespace

import psutil  # type: ignore[import-untyped]
import pytest

from worldwidth.core import machine


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 64 cores and 8 GB, and a folder in place of its control groups."""
    monkeypatch.setattr(machine, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * 10**9))
    return tmp_path


def write(groups: Path, own: str, files: dict[str, str]) -> None:
    (groups / "own").write_text(own)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "max\n"}, 8 * 10**9),
        ("0::/\n", {"memory.max": "1000000\n"}, 1_000_000),
        ("0::/slurm/job_7\n", {"slurm/job_7/memory.max": "max\n", "slurm/memory.max": "2000000\n"}, 2_000_000),
        ("0::/a/b\n", {"a/b/memory.max": "5\n", "a/memory.max": "7\n"}, 5),
        ("3:cpu:/x\n4:memory:/docker/1\n0::/\n", {"memory/docker/1/memory.limit_in_bytes": "3000000\n"}, 3_000_000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8 * 10**9),
    ],
)
def test_memory(own: str, files: dict[str, str], limit: int, groups: Path) -> None:
    write(groups, own, files)
    assert machine.memory() == limit


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/kubepods/pod\n", {"kubepods/pod/cpu.max": "max 100000\n", "kubepods/cpu.max": "150000 100000\n"}, 2),
        (
            "5:cpu,cpuacct:/docker/1\n",
            {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("5:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ("5:cpuset:/\n", {"cpuset/cpu.max": "100000 100000\n"}, 64),
    ],
)
def test_cores(own: str, files: dict[str, str], limit: int, groups: Path) -> None:
    """`docker run --cpus 2` on a large machine shows all of its cores."""
    write(groups, own, files)
    assert machine.cores() == limit


def test_where_there_are_no_control_groups_the_machine_counts(groups: Path) -> None:
    assert machine.memory() == 8 * 10**9
    assert machine.cores() == 64
