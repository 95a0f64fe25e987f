"""A training run that is killed goes on from its saved state, and ends as if it had never stopped, bit by bit.

pytest tests/test_resume.py
"""

import copy
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import worldwidth.resume
import worldwidth.training
from short_runs import no_checkpoint, run_of
from worldwidth import publish
from worldwidth.files import sha256
from worldwidth.locks import one_after_another
from worldwidth.mixture import Mixture
from worldwidth.model import Decoder
from worldwidth.packing import Batch
from worldwidth.resume import SavedRun, identity, states_folder
from worldwidth.saved_states import saved_states
from worldwidth.steps import resident_step
from worldwidth.stopping import Stopped
from worldwidth.tokens import Vocabulary
from worldwidth.training import DivergedError, Run, State, Training, batch_loss, train, train_together

pytestmark = pytest.mark.usefixtures("one_thread")

MakeDecoder = Callable[..., Decoder]
Save = Callable[[Path], None]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder to stand in, with its scratch folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


@pytest.fixture
def save(smoke_vocabularies: dict[str, Vocabulary]) -> Save:
    return smoke_vocabularies["cities"].save


def published() -> dict[str, bytes]:
    """Every out of the run."""
    files = [path for folder in ("models", "results") for path in Path(folder).rglob("*") if path.is_file()]
    return {path.as_posix(): path.read_bytes() for path in files}


def left_over() -> list[Path]:
    return [path for path in states_folder().rglob("*") if path.is_file()]


class Killed(BaseException):
    """As if the process had ended here: nothing but what is on disk is left."""


def at_step(number: int, act: Callable[[], None]) -> Callable[[Decoder, Batch], torch.Tensor]:
    """A batch loss that calls ``act`` before it computes training step ``number``."""
    calls = 0

    def loss(model: Decoder, batch: Batch) -> torch.Tensor:
        nonlocal calls
        calls += torch.is_grad_enabled()
        if calls == number:
            calls += 1
            act()
        return batch_loss(model, batch)

    return loss


def killed() -> None:
    raise Killed


def train_until(step: int, model: Decoder, run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train with a state saved after every step, and be killed in step ``step``."""
    with monkeypatch.context() as patch:
        patch.setattr(worldwidth.resume, "_COST", np.inf)
        patch.setattr(worldwidth.training, "batch_loss", at_step(step, killed))
        with pytest.raises(Killed):
            publish.train_and_publish(copy.deepcopy(model), run, save, 0)


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
    monkeypatch.setattr(worldwidth.resume, "_COST", np.inf)
    with monkeypatch.context() as patch:
        calls = 0

        def dying(trainings: list[Training]) -> Any:
            step = resident_step(trainings)

            def count(rows: Any) -> Any:
                nonlocal calls
                calls += 1
                return killed() if calls == 4 else step(rows)

            return count

        patch.setattr(worldwidth.training, "resident_step", dying)
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
    monkeypatch.setattr(worldwidth.resume, "_COST", np.inf)
    look = at_step(4, lambda: seen.extend(state.in_use for state in saved_states()))
    monkeypatch.setattr(worldwidth.training, "batch_loss", look)
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
    saving = worldwidth.resume.Saving({"base": Slow(training.model, run)}, seconds)
    for _ in range(100):
        now += step
        saving.after_step([training])
    assert 1 <= len(saved_at) <= most
    assert all(later - earlier >= seconds for earlier, later in itertools.pairwise(saved_at))
    assert cost * (len(saved_at) - 1) <= 0.02 * now


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_is_saved_first(
    number: signal.Signals, small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, epochs=2, checkpoints=2), make_decoder("base")
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(worldwidth.training, "batch_loss", at_step(5, lambda: os.kill(os.getpid(), number)))
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

    monkeypatch.setattr(worldwidth.training, "batch_loss", at_step(3, twice))
    with pytest.raises(KeyboardInterrupt) as caught:
        publish.train_and_publish(make_decoder("base"), run_of(small), save, 1000)
    assert not isinstance(caught.value, Stopped)
    assert left_over() == []


def test_a_run_that_diverges_leaves_no_state(
    small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worldwidth.resume, "_COST", np.inf)
    model = make_decoder("base")

    def ruin() -> None:
        with torch.no_grad():
            model.norm[0] = torch.nan

    monkeypatch.setattr(worldwidth.training, "batch_loss", at_step(4, ruin))
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
        patch.setattr(worldwidth.training, "batch_loss", at_step(8, sleep_and_stop))
        with pytest.raises(Stopped):
            publish.train_and_publish(copy.deepcopy(model), run, save, 1000)
    publish.train_and_publish(copy.deepcopy(model), run, save, 1000)
    timing = json.loads(Path("timings/base.json").read_text())
    assert timing["seconds"] >= 0.5
    assert timing["tokens"] == 2 * small.lengths.sum(dtype=int)


# states that must not be used


@pytest.fixture
def stopped(small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch) -> "Killing":
    """A run killed in step 9 of 12, with checkpoints, and what it would have published."""
    run, model = run_of(small, epochs=2, checkpoints=3), make_decoder("narrow")
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    shutil.rmtree("results")
    train_until(9, model, run, save, monkeypatch)
    return model, run, wanted


Killing = tuple[Decoder, Run, dict[str, bytes]]


def test_a_state_with_one_wrong_bit_is_refused(stopped: Killing, capsys: pytest.CaptureFixture[str]) -> None:
    model, run, _ = stopped
    (state,) = states_folder().glob("*/state.safetensors")
    whole = state.read_bytes()
    rng = np.random.default_rng(0)
    places = {*range(0, 120), *rng.integers(0, len(whole), 200).tolist(), len(whole) - 1}
    kept = states_folder().parent / "kept"
    shutil.copytree(state.parent, kept)
    for place in sorted(places):
        shutil.copytree(kept, state.parent, dirs_exist_ok=True)
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        state.write_bytes(bytes(damaged))
        with SavedRun(copy.deepcopy(model), run) as saved:
            assert saved.load() is None, place
        said = capsys.readouterr().err
        assert said.startswith(f"worldwidth: {state}: not used, for "), said
        assert said.endswith("; base starts afresh\n")
        assert said.count("\n") == 1


@pytest.mark.parametrize("length", [0, 7, 8, 100, 0.5, -1])
def test_a_state_that_is_cut_off_is_refused_and_the_run_starts_afresh(
    length: float, stopped: Killing, save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    model, run, wanted = stopped
    (state,) = states_folder().glob("*/state.safetensors")
    whole = state.read_bytes()
    state.write_bytes(whole[: int(length * len(whole)) if isinstance(length, float) else length])
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    said = capsys.readouterr()
    assert said.err.startswith(f"worldwidth: {state}: not used, for ")
    assert "goes on" not in said.out
    assert published() == wanted


@pytest.mark.parametrize("damage", ["bit", "gone", "cut"])
def test_a_damaged_checkpoint_beside_the_state_is_found(
    damage: str, stopped: Killing, save: Save, capsys: pytest.CaptureFixture[str]
) -> None:
    model, run, wanted = stopped
    (file,) = states_folder().glob("*/steps/1/model.safetensors")
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.unlink()
    if damage != "gone":
        file.write_bytes(content if damage == "bit" else content[:-9])
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    assert f"the checkpoint file {file} is missing or damaged; base starts afresh" in capsys.readouterr().err
    assert published() == wanted


def other_runs(run: Run, model: Decoder, make_decoder: MakeDecoder) -> dict[str, tuple[Decoder, Run]]:
    """What differs -> a run that differs in it."""
    lines = Mixture(run.mixture.tokens.copy(), run.mixture.lengths)
    lines.tokens[-1, 3] += 1
    held_out = Mixture(run.validation.tokens[:-1], run.validation.lengths[:-1])
    return {
        "settings": (model, replace(run, settings=replace(run.settings, weight_decay=0.02))),
        "settings ": (model, replace(run, seed=43)),
        "settings  ": (model, replace(run, steps=run.steps + 1)),
        "settings   ": (model, replace(run, threads=2)),
        "starting weights": (make_decoder("narrow", seed=2), run),
        "training lines": (model, replace(run, mixture=lines)),
        "validation lines": (model, replace(run, validation=held_out)),
    }


def test_a_state_of_another_run_is_left_alone_and_refused_where_it_does_not_belong(
    stopped: Killing, make_decoder: MakeDecoder, capsys: pytest.CaptureFixture[str]
) -> None:
    model, run, _ = stopped
    (folder,) = states_folder().iterdir()
    for part, (other_model, other_run) in other_runs(run, model, make_decoder).items():
        with SavedRun(copy.deepcopy(other_model), other_run) as saved:
            assert saved.load() is None
            assert saved.folder != folder
            shutil.rmtree(saved.folder)
            shutil.copytree(folder, saved.folder)
            assert saved.load() is None
        assert f"it was saved by a run with other {part.strip()}; base starts afresh" in capsys.readouterr().err
    assert [state.step for state in saved_states()] == [8]


def test_other_code_is_another_run(
    stopped: Killing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, run, _ = stopped
    before = identity(model, run)
    whole = sha256
    changed = {"path": ""}

    def other(path: Path) -> str:
        return "0" * 64 if path.name == changed["path"] else whole(path)

    monkeypatch.setattr(worldwidth.resume, "sha256", other)
    for name in ("training.py", "model.py", "optimizers.py", "steps.py", "packing.py", "mixture.py"):
        changed["path"] = name
        differing = {part for part, value in identity(model, run).items() if value != before[part]}
        assert differing == {"code"}, name
    changed["path"] = "report.py"
    assert identity(model, run) == before


# saving that fails


@pytest.mark.parametrize("call", ["write_bytes", "fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_power_loss_in_the_middle_of_a_save_leaves_this_state_or_the_last(
    call: str, nth: int, small: Mixture, make_decoder: MakeDecoder, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends at the ``nth`` such call within the saves, with half of what it was writing."""
    run, model = run_of(small, epochs=2, checkpoints=3), make_decoder("narrow")
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    shutil.rmtree("results")
    calls = 0
    owner: Any = Path if call == "write_bytes" else os
    whole = getattr(owner, call)

    def dying(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            if call == "write_bytes":
                whole(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise Killed
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(worldwidth.resume, "_COST", np.inf)
        patch.setattr(owner, call, dying)
        with pytest.raises(Killed):
            publish.train_and_publish(copy.deepcopy(model), run, save, 0)
    publish.train_and_publish(copy.deepcopy(model), run, save, 10)
    assert published() == wanted


def test_a_disk_that_is_full_does_not_end_a_run(
    small: Mixture,
    make_decoder: MakeDecoder,
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, model = run_of(small, epochs=2), make_decoder("narrow")
    curve = train(copy.deepcopy(model), run, no_checkpoint)
    monkeypatch.setattr(worldwidth.resume, "_COST", np.inf)
    with SavedRun(copy.deepcopy(model), run) as probe:
        folder = probe.folder

    def fill() -> None:
        (folder / ".state.safetensors.tmp").symlink_to("/dev/full")

    monkeypatch.setattr(worldwidth.training, "batch_loss", at_step(4, fill))
    publish.train_and_publish(model, run, save, 0)
    said = capsys.readouterr().err
    assert (
        said == f"worldwidth: {folder / 'state.safetensors'}: No space left on device; "
        "training goes on without saving its state\n"
    )
    assert len(Path("results/training/base.csv").read_text().splitlines()) == len(curve) + 1


# two at once


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    """The lock is deleted by its holder, as at the end of a run: whoever waited must not believe to hold it."""
    path = tmp_path / "states" / "lock"
    order: list[str] = []

    def second() -> None:
        with one_after_another(path, "waiting"):
            order.append("second")
            assert path.exists()

    with one_after_another(path, "waiting"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
        shutil.rmtree(path.parent)
    thread.join(10)
    assert order == ["first", "second"]


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holding = """if True:
        import pathlib, sys, time
        from worldwidth.locks import one_after_another
        with one_after_another(pathlib.Path(sys.argv[1]), "waiting"):
            print("held", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", holding, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    with one_after_another(path, "must not wait"):
        pass
