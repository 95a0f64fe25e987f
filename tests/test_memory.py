"""Out of memory: what is said: `pytest tests/test_memory.py`."""

from worldwidth.core.command import exit_codes

import numpy as np
import pytest
import torch

from worldwidth.engine import memory


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
