"""Out of memory: how much there is, and what is said: `pytest tests/test_memory.py`."""

from worldwidth.core.command import exit_codes

from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import torch

from worldwidth.engine import memory


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "max\n"}, None),
        ("0::/\n", {"memory.max": "1000000\n"}, 1_000_000),
        ("0::/slurm/job_7\n", {"slurm/job_7/memory.max": "max\n", "slurm/memory.max": "2000000\n"}, 2_000_000),
        ("0::/a/b\n", {"a/b/memory.max": "5\n", "a/memory.max": "7\n"}, 5),
        ("3:cpu:/x\n4:memory:/docker/1\n0::/\n", {"memory/docker/1/memory.limit_in_bytes": "3000000\n"}, 3_000_000),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
    ],
)
def test_a_container_s_limit_counts(
    groups: str, files: dict[str, str], limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").write_text(groups)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    assert memory.memory() == (limit or psutil.virtual_memory().total)


def test_where_there_are_no_control_groups_the_machine_s_memory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_OWN_CGROUP", tmp_path / "missing")
    assert memory.memory() == psutil.virtual_memory().total


def test_what_is_said_of_a_killed_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory", lambda: 8_000_000_000)
    found = memory.probably_out_of_memory(7_456_000_000)
    assert found == f"probably out of memory: it held 7.46 GB, and 8.00 GB are there; {memory.ADVICE}"


@pytest.mark.parametrize(
    "error",
    [
        lambda: np.empty(10**16),
        lambda: torch.empty(10**16),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")),
        lambda: (_ for _ in ()).throw(OSError(12, "Cannot allocate memory")),
        lambda: (_ for _ in ()).throw(MemoryError()),
    ],
    ids=["numpy", "torch", "CUDA", "fork", "Python"],
)
def test_out_of_memory_is_one_line(error: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(error)
    with pytest.raises(SystemExit) as ended, exit_codes():
        list(error())
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("worldwidth: out of memory (")
    assert said.endswith(f"); {memory.ADVICE}\n")
    assert said.count("\n") == 1


def test_other_errors_are_no_lack_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"), exit_codes():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
