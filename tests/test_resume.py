"""A training run that is killed goes on from its saved state, and ends as if it had never stopped, bit by bit.

The same under the real DVC is in test_killed.py.

pytest tests/test_resume.py
"""

import copy
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import worldwidth.training.loop
import worldwidth.training.resume
from killed_runs import Killed, at_step, left_over, publish, published, train_until
from short_runs import Model, run_of, trained_by, training_of
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.signals import Stopped
from worldwidth.core.silence import EXIT_HUNG, reporting_silence
from worldwidth.doctor.training_states import saved_states
from worldwidth.native.compute import ONE_THREAD
from worldwidth.training.cpu_engine import CpuEngine
from worldwidth.training.engines import Engine, engine_of
from worldwidth.training.loop import train_together
from worldwidth.training.mixture import Mixture
from worldwidth.training.publish import train_and_publish
from worldwidth.training.resume import SavedRun
from worldwidth.training.run import DivergedError, Run, State, Training
from worldwidth.training.stacked_engine import StackedEngine

pytestmark = pytest.mark.usefixtures("one_thread", "empty_project")

MakeModel = Callable[..., Model]
Save = Callable[[Path], None]


# the same bits


class Keep:
    """In the place of ``Saving``: keeps the state after every step."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}

    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...
    def check_restored(self, trainings: list[Training], engine: Engine) -> None: ...
    def after_step(self, trainings: list[Training], engine: Engine) -> None:
        engine.fetch_losses()
        engine.fetch_weights()
        self.states[trainings[0].step] = copy.deepcopy(trainings[0].state())


def states_of(model: Model, run: Run) -> tuple[Training, dict[int, State]]:
    """The run at its end, and its states after every step."""
    whole, keep = training_of(model, run), Keep()
    list(train_together([whole], keep))  # type: ignore[arg-type]
    assert sorted(keep.states) == list(range(1, run.steps + 1))
    return whole, keep.states


def gone_on(model: Model, run: Run, state: State) -> Training:
    """The run at its end, from ``state`` on."""
    saved: list[int] = []
    training = Training(model[0], np.zeros_like(model[1]), run, saved.append, state)
    list(train_together([training]))
    assert 0 not in saved
    return training


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("batch_size", [40, 110])
def test_from_every_step_on_the_run_is_the_uninterrupted_one(
    optimizer: str, batch_size: int, small: Mixture, make_model: MakeModel
) -> None:
    """Batches of one part and of several, rows of the curve that begin before the stop and end after it.

    A run may go on with another number of threads.
    """
    run = run_of(small, epochs=2, optimizer=optimizer, batch_size=batch_size, log_every=5, checkpoints=2)
    model = make_model("base")
    whole, states = states_of(model, run)
    assert trained_by(model, run).curve == whole.curve, "saving changes nothing"
    for state in states.values():
        torch.manual_seed(state.step)
        again = gone_on(model, replace(run, compute=replace(ONE_THREAD, threads=1 + state.step % 2)), state)
        assert again.curve == whole.curve
        assert again.tokens == whole.tokens
        np.testing.assert_array_equal(again.weights, whole.weights)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_state_does_not_hang_on_what_takes_the_steps(
    optimizer: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that begins on one engine goes on with the other; only last bits differ."""
    run, model = run_of(small, epochs=2, optimizer=optimizer, log_every=5), make_model("base")
    whole, states = states_of(model, run)
    monkeypatch.setattr(worldwidth.training.loop, "engine_of", StackedEngine)
    _, others = states_of(model, run)
    mixed = [gone_on(model, run, states[7])]
    monkeypatch.undo()
    mixed.append(gone_on(model, run, others[7]))
    for training in mixed:
        np.testing.assert_allclose(training.weights, whole.weights, rtol=0, atol=2e-5)
        np.testing.assert_allclose([p.loss for p in training.curve], [p.loss for p in whole.curve], rtol=1e-5)


def test_training_draws_nothing_from_the_global_streams(small: Mixture, make_model: MakeModel) -> None:
    """So that there is no random state to be saved."""
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    trained_by(make_model("base"), run_of(small, checkpoints=2))
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # type: ignore[index]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_killed_again_and_again_publishes_the_same_bytes(
    optimizer: str, small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2, optimizer=optimizer, log_every=4, checkpoints=4), make_model("base")
    publish(model, run, save, 10)
    wanted = published()
    assert left_over() == []
    shutil.rmtree("models")
    shutil.rmtree("results")
    for steps_of_this_life in (2, 1, 4, 3):  # the last step of each is lost
        train_until(steps_of_this_life, model, run, save, monkeypatch)
        assert published() == {}
    (state,) = saved_states()
    assert (state.name, state.step, state.steps, state.problem, state.in_use) == ("base", 6, 12, "", False)
    publish(model, run, save, 10)
    assert published() == wanted
    assert left_over() == []


def hanging(model: Model, run: Run, save: Save) -> None:
    """Train with a state saved after every step, and hang in step 7; in a process of its own."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worldwidth.training.resume, "_COST", np.inf)
        at_step(7, lambda engine: time.sleep(600), patch)
        with reporting_silence("base", 10, 2 / 60):
            publish(model, run, save, 0)


@pytest.mark.processes
def test_a_run_that_hangs_is_ended_and_goes_on_from_its_state(
    small: Mixture, make_model: MakeModel, save: Save, capfd: pytest.CaptureFixture[str]
) -> None:
    run, model = run_of(small, epochs=2), make_model("narrow")
    publish(model, run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    shutil.rmtree("results")
    process = multiprocessing.get_context("spawn").Process(target=hanging, args=(model, run, save))
    process.start()
    process.join(120)
    assert process.exitcode == EXIT_HUNG
    assert "no sign of life for " in capfd.readouterr().err
    assert published() == {}
    publish(model, run, save, 10)
    assert "base: goes on after step 6 of 12" in capfd.readouterr().out
    assert published() == wanted


@pytest.mark.parametrize("name", ["weights", "first", "second", "losses", "norms"])
def test_a_state_that_is_not_what_was_saved_is_not_gone_on_with(
    name: str, small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One number is another after loading; the file is sound, and stays for the next start."""
    run, model = run_of(small, epochs=2, log_every=4), make_model("base")
    publish(model, run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    shutil.rmtree("results")
    train_until(7, model, run, save, monkeypatch)
    whole = Training._restore

    def restore(training: Training, state: State) -> None:
        whole(training, state)
        array = getattr(training, name)
        array[-1] = float(np.nextafter(np.float32(array[-1]), np.float32(9)))

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_restore", restore)
        message = rf"^base: goes on after step 6 with other arrays than were saved, expected SHA-256 of {name} [0-9a-f]"
        with pytest.raises(WorldwidthError, match=message):
            publish(model, run, save, 10)
    publish(model, run, save, 10)
    assert published() == wanted


def test_an_engine_that_takes_up_other_moments_is_found(
    small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2), make_model("base")
    train_until(7, model, run, save, monkeypatch)

    def forgetful(trainings: list[Training]) -> Engine:
        engine = StackedEngine(trainings)
        engine._state.second.zero_()
        return engine

    monkeypatch.setattr(worldwidth.training.loop, "engine_of", forgetful)
    with pytest.raises(WorldwidthError, match=r"other arrays than were saved, expected SHA-256 of second \S+, found"):
        publish(model, run, save, 10)


def test_a_stack_of_runs_goes_on(
    small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of different lengths; the shorter one is finished and published before the kill."""
    model = make_model("base")
    runs = [replace(run_of(small, epochs=epochs, checkpoints=2), name=f"ftwb1-{epochs}") for epochs in (1, 2)]

    def train_both() -> list[str]:
        return list(train_and_publish(*model, runs, save, 0))

    assert train_both() == ["ftwb1-1", "ftwb1-2"]
    wanted = published()
    shutil.rmtree("models")
    shutil.rmtree("results")
    monkeypatch.setattr(worldwidth.training.resume, "_COST", np.inf)
    with monkeypatch.context() as patch:
        whole, calls = StackedEngine.step, 0

        def dying(engine: StackedEngine) -> list[int]:
            nonlocal calls
            calls += 1
            if calls == 4:
                raise Killed
            return whole(engine)

        patch.setattr(StackedEngine, "step", dying)
        with pytest.raises(Killed):
            train_both()
    assert [state.step for state in saved_states()] == [3, 3]
    assert train_both() == ["ftwb1-1", "ftwb1-2"]
    assert published() == wanted


# what is saved when


def test_a_state_is_saved_while_others_see_it_in_use(
    small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(worldwidth.training.resume, "_COST", np.inf)
    at_step(4, lambda engine: seen.extend(state.in_use for state in saved_states()), monkeypatch)
    publish(make_model("base"), run_of(small), save, 0)
    assert seen == [True]


@pytest.mark.parametrize(
    ("seconds", "step", "cost", "most"), [(10, 1.0, 0.01, 10), (10, 1.0, 2.0, 2), (0, 0.01, 0.5, 1)]
)
def test_saving_takes_little_time(
    seconds: float,
    step: float,
    cost: float,
    most: int,
    small: Mixture,
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """100 steps by a clock of our own; a saving takes ``cost`` seconds."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    run = run_of(small)
    saved_at: list[float] = []

    class Slow(SavedRun):
        def save(self, training: Training, seconds: float) -> None:
            nonlocal now
            saved_at.append(now)
            now += cost

    training = training_of(make_model("narrow"), run)
    engine = engine_of([training])
    saving = worldwidth.training.resume.Saving({"base": Slow(training.config, training.weights, run)}, seconds)
    for _ in range(100):
        now += step
        saving.after_step([training], engine)
    assert 1 <= len(saved_at) <= most
    assert all(later - earlier >= seconds for earlier, later in itertools.pairwise(saved_at))
    assert cost * (len(saved_at) - 1) <= 0.02 * now


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_is_saved_first(
    number: signal.Signals, small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2, checkpoints=2), make_model("base")
    publish(model, run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        at_step(5, lambda engine: os.kill(os.getpid(), number), patch)
        with pytest.raises(Stopped, match=r"^base is saved after step 5 of 12$") as caught:
            publish(model, run, save, 1000)
    assert caught.value.code == (130 if number == signal.SIGINT else 75)
    assert signal.getsignal(number) is before
    assert not Path("models").exists()
    publish(model, run, save, 10)
    assert published() == wanted


def test_a_second_ctrl_c_does_not_wait(
    small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(engine: CpuEngine) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it waited")

    at_step(3, twice, monkeypatch)
    with pytest.raises(KeyboardInterrupt) as caught:
        publish(make_model("base"), run_of(small), save, 1000)
    assert not isinstance(caught.value, Stopped)
    assert left_over() == []


def test_a_run_that_diverges_leaves_no_state(
    small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worldwidth.training.resume, "_COST", np.inf)

    def ruin(engine: CpuEngine) -> None:
        engine._training.weights[-1] = np.nan

    at_step(4, ruin, monkeypatch)
    with pytest.raises(DivergedError):
        publish(make_model("base"), run_of(small), save, 0)
    assert left_over() == []


def test_seconds_and_tokens_of_all_lives_are_counted(
    small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2), make_model("narrow")

    def sleep_and_stop(engine: CpuEngine) -> None:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        at_step(8, sleep_and_stop, patch)
        with pytest.raises(Stopped):
            publish(model, run, save, 1000)
    publish(model, run, save, 1000)
    timing = json.loads(Path("timings/base.json").read_text())
    assert timing["seconds"] >= 0.5
    assert timing["tokens"] == 2 * small.lengths.sum(dtype=int)
