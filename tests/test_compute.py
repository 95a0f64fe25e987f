"""What a stage computes with: a GPU, the native step or torch, and what is said where one cannot be had.

pytest tests/test_compute.py
"""

from dataclasses import replace
from typing import Any

import pytest
import torch

from worldwidth.core.errors import WorldwidthError
from worldwidth.native import compute
from worldwidth.native.compute import Compute, compute_of
from worldwidth.settings.schema import Hardware


def hardware(**changes: Any) -> Hardware:
    return replace(Hardware(device="auto", precision="auto", threads=1, pretraining_threads=1), **changes)


@pytest.fixture
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether this machine has a GPU; it has no native step."""
    there = bool(request.param)
    monkeypatch.setattr(compute, "_may_have_gpu", lambda: there)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(compute, "unavailable", lambda: "there is no compiler")
    compute._say_once.cache_clear()
    return there


@pytest.mark.parametrize("gpu", [True, False], indirect=True)
def test_a_gpu_is_taken_unless_the_cpu_is_asked_for(gpu: bool) -> None:
    on_gpu, on_cpu = Compute("cuda", "torch", 3, bfloat16=True), Compute("cpu", "torch", 3)
    assert compute_of(hardware(), 3) == (on_gpu if gpu else on_cpu)
    assert compute_of(hardware(device="cpu"), 3) == on_cpu
    assert compute_of(hardware(precision="float32"), 3).bfloat16 is False
    assert compute_of(hardware(device="cpu", precision="bfloat16"), 3) == replace(on_cpu, bfloat16=True)
    if gpu:
        assert compute_of(hardware(device="cuda"), 3) == on_gpu
    else:
        with pytest.raises(WorldwidthError, match=r"^hardware\.device: found 'cuda'.*allowed: cpu, auto$"):
            compute_of(hardware(device="cuda"), 3)


@pytest.mark.parametrize("gpu", [False], indirect=True)
def test_where_the_native_step_cannot_be_had_torch_computes_and_one_line_says_so(
    gpu: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [compute_of(hardware(), threads).engine for threads in (1, 2)] == ["torch", "torch"]
    assert capsys.readouterr().err == "worldwidth: there is no compiler; torch computes, which is slower\n"
    assert compute_of(hardware(engine="torch"), 1).engine == "torch"
    with pytest.raises(WorldwidthError, match=r"^hardware\.engine: found 'native', but there is no compiler; allowed:"):
        compute_of(hardware(engine="native"), 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("gpu", [True, False], indirect=True)
def test_the_native_step_is_taken_where_it_can_compute(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "unavailable", lambda: "")
    assert compute_of(hardware(device="cpu"), 2) == Compute("cpu", "native", 2)
    assert compute_of(hardware(device="cpu", engine="torch"), 2) == Compute("cpu", "torch", 2)
    assert compute_of(hardware(device="cpu", precision="bfloat16"), 2).engine == "torch"
    with pytest.raises(WorldwidthError, match=r"found 'native', but it computes in float32 only; allowed: auto, torch"):
        compute_of(hardware(device="cpu", engine="native", precision="bfloat16"), 2)
    if gpu:
        assert compute_of(hardware(), 2).engine == "torch"
        with pytest.raises(WorldwidthError, match=r"found 'native', which computes on a CPU; allowed: auto, torch"):
            compute_of(hardware(engine="native"), 2)
    else:
        assert compute_of(hardware(engine="native"), 2).engine == "native"
