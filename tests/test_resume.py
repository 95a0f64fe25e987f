"""A training run that is killed goes on from its saved state, and ends as if it had never stopped, bit by bit.

The same under the real DVC is in test_killed.py.

pytest tests/test_resume.py
"""

import copy
import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import worldwidth.training.loop
import worldwidth.training.resume
import worldwidth.training.run
from killed_runs import Killed, at_step, killed, left_over, published, train_until
from short_runs import no_checkpoint, run_of
from worldwidth.core.signals import Stopped
from worldwidth.doctor.training_states import saved_states
from worldwidth.model.decoder import Decoder
from worldwidth.training import publish
from worldwidth.training.loop import train, train_together
from worldwidth.training.mixture import Mixture
from worldwidth.training.resume import SavedRun
from worldwidth.training.run import DivergedError, State, Training
from worldwidth.training.step import resident_step

pytestmark = pytest.mark.usefixtures("one_thread", "empty_project")

MakeDecoder = Callable[..., Decoder]
Save = Callable[[Path], None]


# the same bits


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("threads", [1, 2])
def test_from_every_step_on_the_run_is_the_uninterrupted_one(
    optimizer: str, threads: int, small: Mixture, make_decoder: MakeDecoder
) -> None:
    """12 steps, two epochs, rows of the curve that begin before the stop and end after it."""
    run = replace(run_of(small, epochs=2, optimizer=optimizer, log_every=5, checkpoints=2), threads=threads)
    model = make_decoder("base")
    states: dict[int, State] = {}

    class Keep:
        def __enter__(self) -> None: ...
        def __exit__(self, *error: object) -> None: ...
        def after_step(self, trainings: list[Training]) -> None:
            states[trainings[0].step] = copy.deepcopy(trainings[0].state())

    whole: Training = Training(copy.deepcopy(model), run, no_checkpoint)
    list(train_together([whole], Keep()))  # type: ignore[arg-type]
    assert sorted(states) == list(range(1, 13))
    plain = copy.deepcopy(model)
    assert train(plain, run, no_checkpoint) == whole.curve, "saving changes nothing"
    for state in states.values():
        torch.manual_seed(state.step)
        saved: list[int] = []
        again = Training(copy.deepcopy(model), run, saved.append, state)
        list(train_together([again]))
        assert again.curve == whole.curve
        assert again.tokens == whole.tokens
        assert 0 not in saved
        weights = again.model.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in whole.model.state_dict().items())


def test_training_draws_nothing_from_the_global_streams(small: Mixture, make_decoder: MakeDecoder) -> None:
    """So that there is no random state to be saved."""
    model = make_decoder("base")
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    train(model, run_of(small, checkpoints=2), no_checkpoint)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # type: ignore[index]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_killed_again_and_again_publishes_the_same_bytes(
    optimizer: str, small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2, optimizer=optimizer, log_every=4, checkpoints=4), make_decoder("base")
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    wanted = published()
    assert left_over() == []
    shutil.rmtree("models")
    shutil.rmtree("results")
    for steps_of_this_life in (2, 1, 4, 3):  # the last step of each is lost
        train_until(steps_of_this_life, model, run, save, monkeypatch)
        assert published() == {}
    (state,) = saved_states()
    assert (state.name, state.step, state.steps, state.problem, state.in_use) == ("base", 6, 12, "", False)
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    assert published() == wanted
    assert left_over() == []


def test_a_stack_of_runs_goes_on(
    small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of different lengths; the shorter one is finished and published before the kill."""
    model = make_decoder("base")
    runs = [replace(run_of(small, epochs=epochs, checkpoints=2), name=f"ftwb1-{epochs}") for epochs in (1, 2)]

    def train_both() -> list[str]:
        return list(publish.train_and_publish_together([(copy.deepcopy(model), run) for run in runs], save, 0))

    assert train_both() == ["ftwb1-1", "ftwb1-2"]
    wanted = published()
    shutil.rmtree("models")
    shutil.rmtree("results")
    monkeypatch.setattr(worldwidth.training.resume, "_COST", np.inf)
    with monkeypatch.context() as patch:
        calls = 0

        def dying(trainings: list[Training]) -> Any:
            step = resident_step(trainings)

            def count(rows: Any) -> Any:
                nonlocal calls
                calls += 1
                return killed() if calls == 4 else step(rows)

            return count

        patch.setattr(worldwidth.training.loop, "resident_step", dying)
        with pytest.raises(Killed):
            train_both()
    assert [state.step for state in saved_states()] == [3, 3]
    assert train_both() == ["ftwb1-1", "ftwb1-2"]
    assert published() == wanted


# what is saved when


def test_a_state_is_saved_while_others_see_it_in_use(
    small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(worldwidth.training.resume, "_COST", np.inf)
    look = at_step(4, lambda: seen.extend(state.in_use for state in saved_states()))
    monkeypatch.setattr(worldwidth.training.run, "batch_loss", look)
    publish.train_and_publish(make_decoder("base"), run_of(small), save, 0)
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
    make_decoder: MakeDecoder,
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

    training = Training(make_decoder("narrow"), run, no_checkpoint)
    saving = worldwidth.training.resume.Saving({"base": Slow(training.model, run)}, seconds)
    for _ in range(100):
        now += step
        saving.after_step([training])
    assert 1 <= len(saved_at) <= most
    assert all(later - earlier >= seconds for earlier, later in itertools.pairwise(saved_at))
    assert cost * (len(saved_at) - 1) <= 0.02 * now


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_is_saved_first(
    number: signal.Signals, small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2, checkpoints=2), make_decoder("base")
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(worldwidth.training.run, "batch_loss", at_step(5, lambda: os.kill(os.getpid(), number)))
        with pytest.raises(Stopped, match=r"^base is saved after step 5 of 12$") as caught:
            publish.train_and_publish(copy.deepcopy(model), run, save, 1000)
    assert caught.value.code == (130 if number == signal.SIGINT else 75)
    assert signal.getsignal(number) is before
    assert not Path("models").exists()
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    assert published() == wanted


def test_a_second_ctrl_c_does_not_wait(
    small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it waited")

    monkeypatch.setattr(worldwidth.training.run, "batch_loss", at_step(3, twice))
    with pytest.raises(KeyboardInterrupt) as caught:
        publish.train_and_publish(make_decoder("base"), run_of(small), save, 1000)
    assert not isinstance(caught.value, Stopped)
    assert left_over() == []


def test_a_run_that_diverges_leaves_no_state(
    small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worldwidth.training.resume, "_COST", np.inf)
    model = make_decoder("base")

    def ruin() -> None:
        with torch.no_grad():
            model.norm[0] = torch.nan

    monkeypatch.setattr(worldwidth.training.run, "batch_loss", at_step(4, ruin))
    with pytest.raises(DivergedError):
        publish.train_and_publish(model, run_of(small), save, 0)
    assert left_over() == []


def test_seconds_and_tokens_of_all_lives_are_counted(
    small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2), make_decoder("narrow")

    def sleep_and_stop() -> None:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(worldwidth.training.run, "batch_loss", at_step(8, sleep_and_stop))
        with pytest.raises(Stopped):
            publish.train_and_publish(copy.deepcopy(model), run, save, 1000)
    publish.train_and_publish(copy.deepcopy(model), run, save, 1000)
    timing = json.loads(Path("timings/base.json").read_text())
    assert timing["seconds"] >= 0.5
    assert timing["tokens"] == 2 * small.lengths.sum(dtype=int)
