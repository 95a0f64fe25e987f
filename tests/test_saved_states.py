"""Saved states that are damaged, of another run, or cannot be written.

pytest tests/test_saved_states.py
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import worldwidth.training.resume
from killed_runs import Killed, at_step, publish, published, train_until
from short_runs import Model, run_of, trained_by
from worldwidth.core.files import sha256
from worldwidth.doctor.training_states import saved_states
from worldwidth.native.compute import Compute
from worldwidth.training.cpu_engine import CpuEngine
from worldwidth.training.mixture import Mixture
from worldwidth.training.resume import SavedRun, identity, states_folder
from worldwidth.training.run import Run

pytestmark = pytest.mark.usefixtures("one_thread", "empty_project")

MakeModel = Callable[..., Model]
Save = Callable[[Path], None]


# states that must not be used


@pytest.fixture
def stopped(small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch) -> "Killing":
    """A run killed in step 9 of 12, with checkpoints, and what it would have published."""
    run, model = run_of(small, epochs=2, checkpoints=3), make_model("narrow")
    publish(model, run, save, 10)
    wanted = published()
    shutil.rmtree("models")
    shutil.rmtree("results")
    train_until(9, model, run, save, monkeypatch)
    return model, run, wanted


Killing = tuple[Model, Run, dict[str, bytes]]


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
        with SavedRun(*model, run) as saved:
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
    publish(model, run, save, 10)
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
    publish(model, run, save, 10)
    assert f"the checkpoint file {file} is missing or damaged; base starts afresh" in capsys.readouterr().err
    assert published() == wanted


def other_runs(run: Run, model: Model, make_model: MakeModel) -> dict[str, tuple[Model, Run]]:
    """What differs -> a run that differs in it."""
    lines = Mixture(run.mixture.tokens.copy(), run.mixture.lengths)
    lines.tokens[-1, 3] += 1
    held_out = Mixture(run.validation.tokens[:-1], run.validation.lengths[:-1])
    return {
        "settings": (model, replace(run, optimization=replace(run.optimization, weight_decay=0.02))),
        "settings ": (model, replace(run, seed=43)),
        "settings  ": (model, replace(run, steps=run.steps + 1)),
        "settings   ": (model, replace(run, compute=replace(run.compute, bfloat16=True))),
        "settings    ": (model, replace(run, compute=replace(run.compute, device="cuda"))),
        "settings     ": (model, replace(run, width_ratio=2.0)),
        "settings      ": (model, replace(run, new_rows=20)),
        "settings       ": ((replace(model[0], num_attention_heads=1), model[1]), run),
        "starting weights": (make_model("narrow", seed=2), run),
        "training lines": (model, replace(run, mixture=lines)),
        "validation lines": (model, replace(run, validation=held_out)),
    }


def test_a_state_of_another_run_is_left_alone_and_refused_where_it_does_not_belong(
    stopped: Killing, make_model: MakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    model, run, _ = stopped
    (folder,) = states_folder().iterdir()
    for part, (other_model, other_run) in other_runs(run, model, make_model).items():
        with SavedRun(*other_model, other_run) as saved:
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
    before = identity(*model, run)
    assert identity(*model, replace(run, compute=Compute("cpu", "native", 2))) == before, "any engine may go on"
    whole = sha256
    changed = {"path": ""}

    def other(path: Path) -> str:
        return "0" * 64 if path.name == changed["path"] else whole(path)

    monkeypatch.setattr(worldwidth.training.resume, "sha256", other)
    for name in (
        "loop.py",
        "decoder.py",
        "torch_update.py",
        "cpu_engine.py",
        "packing.py",
        "mixture.py",
        "parametrization.py",
    ):
        changed["path"] = name
        differing = {part for part, value in identity(*model, run).items() if value != before[part]}
        assert differing == {"code"}, name
    changed["path"] = "page.py"
    assert identity(*model, run) == before


# saving that fails


@pytest.mark.parametrize("call", ["write_bytes", "fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 3, 5])
def test_power_loss_in_the_middle_of_a_save_leaves_this_state_or_the_last(
    call: str, nth: int, small: Mixture, make_model: MakeModel, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends at the ``nth`` such call within the saves, with half of what it was writing."""
    run, model = run_of(small, epochs=2, checkpoints=3), make_model("narrow")
    publish(model, run, save, 10)
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
        patch.setattr(worldwidth.training.resume, "_COST", np.inf)
        patch.setattr(owner, call, dying)
        with pytest.raises(Killed):
            publish(model, run, save, 0)
    publish(model, run, save, 10)
    assert published() == wanted


def test_a_disk_that_is_full_does_not_end_a_run(
    small: Mixture,
    make_model: MakeModel,
    save: Save,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, model = run_of(small, epochs=2), make_model("narrow")
    curve = trained_by(model, run).curve
    monkeypatch.setattr(worldwidth.training.resume, "_COST", np.inf)
    with SavedRun(*model, run) as probe:
        folder = probe.folder

    def fill(engine: CpuEngine) -> None:
        (folder / ".state.safetensors.tmp").symlink_to("/dev/full")

    at_step(4, fill, monkeypatch)
    publish(model, run, save, 0)
    said = capsys.readouterr().err
    assert (
        said == f"worldwidth: {folder / 'state.safetensors'}: No space left on device; "
        "training goes on without saving its state\n"
    )
    assert len(Path("results/training/base.csv").read_text().splitlines()) == len(curve) + 1
