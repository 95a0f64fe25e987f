"""What takes the steps: several runs as one against each alone, threads, parts, precision, recording.

pytest tests/test_engines.py
"""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import worldwidth.training.cpu_engine
import worldwidth.training.loop
from short_runs import Model, run_of, some, trained_by, training_of
from torch_optimizers import CASES, kept
from worldwidth.model.packing import Tree
from worldwidth.native.compute import ONE_THREAD
from worldwidth.training import stacked_engine
from worldwidth.training.loop import train_together
from worldwidth.training.mixture import Mixture
from worldwidth.training.run import DivergedError, Run, Training
from worldwidth.training.stacked_engine import StackedEngine
from worldwidth.training.torch_step import TorchStep

pytestmark = pytest.mark.usefixtures("one_thread")

MakeModel = Callable[..., Model]


def three_runs(small: Mixture, **changes: Any) -> list[Run]:
    """Runs of other lines, orders, lengths (10, 5 and 12 steps) and so learning-rate schedules."""
    sets = [some(small, 1, 200), some(small, 2, 190), some(small, 3, 150)]
    parts = zip(["ftwb1-1", "ftwb1-2", "ftwb2-4"], sets, [2, 1, 3], strict=True)
    return [replace(run_of(mixture, epochs=n, checkpoints=2, **changes), name=name) for name, mixture, n in parts]


def together(model: Model, runs: list[Run]) -> dict[str, Training]:
    return {training.run.name: training for training in train_together([training_of(model, run) for run in runs])}


def losses(training: Training) -> list[float]:
    return [point.loss for point in training.curve]


# several runs at once


@pytest.mark.parametrize("loss", ["all", "answer"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stack_trains_each_run_as_alone(loss: str, optimizer: str, small: Mixture, make_model: MakeModel) -> None:
    runs, model = three_runs(small, loss=loss, optimizer=optimizer, max_grad_norm=0.5), make_model("base")
    assert [run.steps for run in runs] == [10, 5, 12]
    found = together(model, runs)
    assert list(found) == ["ftwb1-2", "ftwb1-1", "ftwb2-4"], "each is handed over when it has ended"
    for run in runs:
        alone, mine = trained_by(model, run), found[run.name]
        assert [replace(point, loss=0, validation_loss=None, gradient_norm=0) for point in mine.curve] == [
            replace(point, loss=0, validation_loss=None, gradient_norm=0) for point in alone.curve
        ]
        np.testing.assert_allclose(losses(mine), losses(alone), rtol=1e-5)
        found_norms, norms = ([point.gradient_norm for point in training.curve] for training in (mine, alone))
        np.testing.assert_allclose(found_norms, norms, rtol=1e-4)
        assert [p.validation_loss is None for p in mine.curve] == [p.validation_loss is None for p in alone.curve]
        assert mine.curve[-1].validation_loss == pytest.approx(alone.curve[-1].validation_loss, rel=1e-5)
        for name in ("weights", "first", "second"):
            np.testing.assert_allclose(getattr(mine, name), getattr(alone, name), rtol=0, atol=2e-5, err_msg=name)
        assert abs(alone.weights - model[1]).max() > 0.01, "the tolerance must be small against what training changes"


@pytest.mark.parametrize("name", ["mup, narrow, slow body", "new rows"])
def test_a_stack_moves_the_weights_that_each_run_moves_alone(name: str, small: Mixture, make_model: MakeModel) -> None:
    case, model = CASES[name], make_model("base")
    runs = [
        replace(run, optimization=case.settings(run.optimization), width_ratio=case.m, new_rows=case.new_rows)
        for run in three_runs(small, optimizer="muon")
    ]
    found = together(model, runs)
    for run in runs:
        alone, mine = trained_by(model, run), found[run.name]
        np.testing.assert_allclose(losses(mine), losses(alone), rtol=2e-5)
        np.testing.assert_allclose(mine.weights, alone.weights, rtol=0, atol=1e-4)
        stays = kept(model[0], mine.groups)
        np.testing.assert_array_equal(mine.weights[stays], model[1][stays])
        assert abs(alone.weights - model[1]).max() > 0.01


def test_a_checkpoint_in_a_stack_is_that_of_the_run_alone(small: Mixture, make_model: MakeModel) -> None:
    config, weights = make_model("narrow")
    kept: dict[tuple[bool, str, int], Any] = {}

    def keeping(stacked: bool, run: Run) -> Training:
        mine = weights.copy()
        return Training(config, mine, run, lambda step: kept.update({(stacked, run.name, step): mine.copy()}))

    runs = three_runs(small)
    assert len(list(train_together([keeping(True, run) for run in runs]))) == 3
    for run in runs:
        assert len(list(train_together([keeping(False, run)]))) == 1
    alone = {key[1:]: value for key, value in kept.items() if not key[0]}
    assert len(alone) >= 3 * 2
    assert alone.keys() == {key[1:] for key in kept if key[0]}
    for key, value in alone.items():
        np.testing.assert_allclose(kept[True, *key], value, rtol=0, atol=2e-5)


def test_a_run_that_diverges_leaves_the_stack_alone(small: Mixture, make_model: MakeModel) -> None:
    runs, model = three_runs(small), make_model("narrow")
    sound = together(model, runs)
    trainings = [training_of(model, run) for run in runs]
    trainings[0].weights[-3] = math.nan
    found = {training.run.name: training for training in train_together(trainings)}
    assert next(iter(found)) == "ftwb1-1"
    assert isinstance(found["ftwb1-1"].error, DivergedError)
    assert "ftwb1-1: the loss is nan at step 1;" in str(found["ftwb1-1"].error)
    for name in ("ftwb1-2", "ftwb2-4"):
        assert found[name].error is None
        np.testing.assert_allclose(losses(found[name]), losses(sound[name]), rtol=1e-5)


def test_the_step_of_a_gpu_is_that_of_a_cpu(
    small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very step that a GPU runs, on the CPU: one run, batches of one shape, the last of an epoch too short."""
    run, model = run_of(small, epochs=2), make_model("base")
    plain = trained_by(model, run)
    monkeypatch.setattr(worldwidth.training.loop, "engine_of", StackedEngine)
    fixed = trained_by(model, run)
    np.testing.assert_allclose(losses(fixed), losses(plain), rtol=1e-5)
    assert [p.tokens for p in fixed.curve] == [p.tokens for p in plain.curve]


# parts, threads and precision


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_threads_change_no_bit(optimizer: str, small: Mixture, make_model: MakeModel) -> None:
    """Of batches in three parts, the last of an epoch in one; also more threads than any has parts."""
    run, model = run_of(small, epochs=2, optimizer=optimizer, batch_size=100), make_model("base")
    alone = trained_by(model, run)
    for threads in (2, 4):
        shared = trained_by(model, replace(run, compute=replace(ONE_THREAD, threads=threads)))
        assert shared.curve == alone.curve
        np.testing.assert_array_equal(shared.weights, alone.weights)


def test_parts_change_nothing(small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    run, model = run_of(small, epochs=3, batch_size=100), make_model("base")
    in_parts = trained_by(model, run)
    monkeypatch.setattr(worldwidth.training.cpu_engine, "split", lambda rows: [rows])
    whole = trained_by(model, run)
    np.testing.assert_allclose(losses(in_parts), losses(whole), rtol=1e-5)
    np.testing.assert_allclose(in_parts.weights, whole.weights, rtol=0, atol=2e-5)


def test_an_error_in_a_thread_ends_the_run(
    small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.current_thread()

    def failing(step: TorchStep, part: int, tree: Tree, scale: float) -> float:
        assert threading.current_thread() is not main
        raise MemoryError("no room")

    monkeypatch.setattr(TorchStep, "gradient", failing)
    with pytest.raises(MemoryError, match="no room"):
        trained_by(make_model("narrow"), replace(run_of(small), compute=replace(ONE_THREAD, threads=2)))


@pytest.mark.parametrize("stacked", [False, True])
def test_bfloat16_trains_nearly_as_float32(
    stacked: bool, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stacked:
        monkeypatch.setattr(worldwidth.training.loop, "engine_of", StackedEngine)
    run, model = run_of(small, epochs=3), make_model("base")
    full, mixed = (trained_by(model, replace(run, compute=replace(ONE_THREAD, bfloat16=on))) for on in (False, True))
    assert losses(full) != losses(mixed)
    np.testing.assert_allclose(losses(mixed), losses(full), rtol=0.02)
    assert mixed.weights.dtype == np.float32


# recording


def test_a_recorded_function_runs_first_and_is_then_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording itself computes nothing, so every call must be an eager one or a replay: no step is lost or doubled."""
    done: list[str] = []
    state = {"recording": False}

    class Graph:
        def replay(self) -> None:
            done.append("replay")

    class Stream:
        def wait_stream(self, other: object) -> None:
            pass

    class Context:
        def __init__(self, recording: bool) -> None:
            self.recording = recording

        def __enter__(self) -> None:
            state["recording"] = self.recording

        def __exit__(self, *error: object) -> None:
            state["recording"] = False

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: Context(True))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: Context(False))

    def function() -> Tensor:
        if not state["recording"]:
            done.append("eager")
        return torch.zeros(1)

    recorded = stacked_engine._Recorded(function)
    for _ in range(6):
        recorded()
    assert done == ["eager"] * 3 + ["replay"] * 3
