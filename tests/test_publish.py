"""What a training run publishes: model, checkpoints, curve and timing when it ends well, nothing when it fails.

pytest tests/test_publish.py
"""

import worldwidth.engine.stage_main  # noqa: F401, which reads the params.yaml beside which it is first imported

import csv
import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from killed_runs import at_step, publish
from short_runs import Model, run_of, trained_by
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.checkpoint import load_model
from worldwidth.model.layout import shapes, views
from worldwidth.model.packing import Tree
from worldwidth.model.parametrization import initial_weights
from worldwidth.native.optimizer import Spread
from worldwidth.settings.compute import training_steps, vocabulary_size
from worldwidth.settings.schema import Settings
from worldwidth.training.cpu_engine import CpuEngine
from worldwidth.training.mixture import Mixture
from worldwidth.training.run import DivergedError, checkpoint_steps
from worldwidth.training.torch_step import TorchStep

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
MakeModel = Callable[..., Model]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder to stand in, with the scratch folder elsewhere, as in a DVC run."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


MODEL_FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_a_finished_run_leaves_model_checkpoints_curve_and_timing(
    workspace: Path, small: Mixture, make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    model, run = make_model("narrow"), run_of(small, checkpoints=2)
    publish(model, run, smoke_vocabularies["cities"].save, 10)
    steps = [0, *sorted(checkpoint_steps(6, 2))]
    folders = ["models/base", *(f"models/base/steps/{step}" for step in steps)]
    wanted = [f"{folder}/{name}" for folder in folders for name in MODEL_FILES]
    assert files(Path()) == sorted([*wanted, "results/training/base.csv", "timings/base.json"])
    np.testing.assert_array_equal(load_model(Path("models/base"), "")[1], trained_by(model, run).weights)
    np.testing.assert_array_equal(load_model(Path("models/base/steps/0"), "")[1], model[1])
    timing = json.loads(Path("timings/base.json").read_text())
    assert timing["tokens"] == small.lengths.sum(dtype=int)
    assert (timing["device"], timing["engine"]) == ("cpu", "torch")
    assert files(workspace / "root") == []


def test_a_second_run_replaces_the_first(
    workspace: Path, small: Mixture, make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    save = smoke_vocabularies["cities"].save
    publish(make_model("narrow"), run_of(small, checkpoints=4), save, 10)
    publish(make_model("base"), run_of(small), save, 10)
    assert load_model(Path("models/base"), "")[0].hidden_size == 16
    assert [path.name for path in Path("models/base/steps").iterdir()] == ["0"]
    assert [path.name for path in Path("models").iterdir()] == ["base"]


def failing_at(step: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss and its gradient are ``value`` times themselves at training step ``step``."""
    calls, whole = 0, TorchStep.gradient

    def gradient(arithmetic: TorchStep, part: int, tree: Tree, scale: float) -> float:
        nonlocal calls
        calls += 1
        return whole(arithmetic, part, tree, scale * value if calls == step else scale)

    monkeypatch.setattr(TorchStep, "gradient", gradient)


@pytest.mark.parametrize(("value", "said"), [(math.nan, "nan"), (math.inf, "inf")])
@pytest.mark.parametrize("step", [1, 4, 5, 8, 11, 12])
def test_a_loss_that_is_no_number_stops_the_run(
    value: float,
    said: str,
    step: int,
    workspace: Path,
    small: Mixture,
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing_at(step, value, monkeypatch)
    run = replace(run_of(small, epochs=2, log_every=4, checkpoints=2), name="ftwb1-1")
    with pytest.raises(DivergedError) as caught:
        publish(make_model("narrow"), run, lambda folder: None, 10)
    message = str(caught.value)
    remains = workspace / "root" / ".dvc" / "tmp" / "worldwidth" / "diverged" / "ftwb1-1"
    assert message.startswith(f"ftwb1-1: the loss is {said} at step {step}; try a lower learning_rate")
    assert str(remains) in message
    assert "\n" not in message
    kept = {0, *(s for s in checkpoint_steps(run.steps, 2) if s < step)}
    assert {int(folder.name) for folder in (remains / "steps").iterdir()} == kept, "the sound checkpoints from before"
    assert {path.name for path in remains.iterdir()} == {"curve.csv", "steps", "weights.safetensors"}
    assert set(load_file(remains / "weights.safetensors")) == set(shapes(make_model("narrow")[0]))
    rows = list(csv.DictReader((remains / "curve.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [point.step for point in caught.value.curve]
    assert all(int(row["step"]) < step and math.isfinite(float(row["loss"])) for row in rows)
    assert files(Path()) == []
    assert not Path("models").exists(), "neither the model's folder nor a temporary one"


def test_a_weight_that_is_no_number_stops_the_run(workspace: Path, small: Mixture, make_model: MakeModel) -> None:
    config, weights = make_model("narrow")
    views(weights, config)["norm"][3] = math.nan
    with pytest.raises(DivergedError, match=r"base: the loss is nan at step 1;"):
        publish((config, weights), run_of(small), lambda folder: None)
    assert not Path("models").exists()


@pytest.mark.parametrize(
    ("what", "message"),
    [("gradient", "the norm of the gradient is nan at step 6"), ("weights", "the weights are ruined after step 6")],
)
def test_an_update_that_ruins_the_last_step_stops_the_run(
    what: str,
    message: str,
    workspace: Path,
    small: Mixture,
    make_model: MakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last loss is finite, but its gradient is not: the final weights are NaN, and must not be published."""
    whole = TorchStep.update

    def update(arithmetic: TorchStep, parts: int, step: int, rate: float, spread: Spread) -> float:
        if step == 5 and what == "gradient":
            arithmetic._gradients[0] *= math.nan
        norm = whole(arithmetic, parts, step, rate, spread)
        if step == 5 and what == "weights":
            arithmetic._state.weights[0, -1] = math.nan
        return norm

    monkeypatch.setattr(TorchStep, "update", update)
    with pytest.raises(DivergedError, match=rf"base: {message};"):
        publish(make_model("narrow"), run_of(small), lambda folder: None)
    assert not Path("models").exists()


def test_a_failed_run_leaves_the_model_that_was_there(
    workspace: Path,
    small: Mixture,
    make_model: MakeModel,
    smoke_vocabularies: dict[str, Vocabulary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(make_model("narrow"), run_of(small), smoke_vocabularies["cities"].save, 10)
    before = {name: Path(name).read_bytes() for name in files(Path())}
    failing_at(3, math.nan, monkeypatch)
    with pytest.raises(DivergedError):
        publish(make_model("base"), run_of(small), smoke_vocabularies["cities"].save, 10)
    assert {name: Path(name).read_bytes() for name in files(Path())} == before


def test_ctrl_c_leaves_nothing(
    workspace: Path, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(engine: CpuEngine) -> None:
        raise KeyboardInterrupt

    at_step(1, interrupted, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        publish(make_model("narrow"), run_of(small), lambda folder: None, 10)
    assert not Path("models").exists()


def stage(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"stage_{name}", ROOT / "stages" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def link_corpora(project: Path) -> None:
    Path("data").mkdir()
    for name in ("corpora", "atlantis"):
        Path("data", name).symlink_to(project / "data" / name)


@pytest.mark.parametrize("tokens", ["cities", "characters"])
def test_the_stages_pretrain_and_finetune(
    tokens: str,
    workspace: Path,
    smoke: dict[str, Settings],
    smoke_folders: dict[str, Path],
) -> None:
    link_corpora(smoke_folders[tokens])
    settings = smoke[tokens]
    scale = settings.selected
    hardware = replace(scale.hardware, device="cpu", threads=1)
    arch = replace(scale.archs["narrow"], epochs=1)
    scale = replace(scale, hardware=hardware, archs={**scale.archs, "narrow": arch})
    settings = replace(settings, scales={**settings.scales, "smoke": scale})
    stage("recipe").main(settings)
    stage("pretrain").main(settings)
    stage("finetune").main(settings, "ftwb2-12")
    for name, first in (("base", None), ("ftwb2-12", "models/base")):
        rows = list(csv.DictReader(Path(f"results/training/{name}.csv").read_text().splitlines()))
        assert int(rows[-1]["step"]) == training_steps(settings, name)
        if first:  # fine-tuning starts from the pre-trained weights
            start, wanted = load_model(Path(f"models/{name}/steps/0"), ""), load_model(Path(first), "")
            np.testing.assert_array_equal(start[1], wanted[1])
        for file in MODEL_FILES[2:]:
            assert Path(f"models/{name}/{file}").read_bytes() == Path(f"models/base/{file}").read_bytes()
    config, initial = load_model(Path("models/base/steps/0"), "")
    np.testing.assert_array_equal(initial, initial_weights(config, settings.seed))
    assert config.vocab_size == vocabulary_size(scale)
    before = {name: Path(name).read_bytes() for name in files(Path()) if name.startswith("models/base")}
    stage("pretrain").main(settings)
    assert {name: Path(name).read_bytes() for name in before} == before, "the same matrix, the same bytes"
    stage("pretrain").main(replace(settings, seed=43))
    assert Path("models/base/model.safetensors").read_bytes() != before["models/base/model.safetensors"]


def test_the_stages_do_as_the_recipe_says(
    workspace: Path, smoke: dict[str, Settings], smoke_folders: dict[str, Path]
) -> None:
    """Under ``mup`` the first weights are others; only new rows move where only they may."""
    link_corpora(smoke_folders["cities"])
    settings = smoke["cities"]
    arch = replace(settings.selected.archs["narrow"], epochs=1, finetuning={"trainable": "new_embeddings"})
    scale = replace(settings.selected, archs={**settings.selected.archs, "narrow": arch})
    settings = replace(settings, parametrization="mup", scales={**settings.scales, "smoke": scale})
    stage("recipe").main(settings)
    stage("pretrain").main(settings)
    stage("finetune").main(settings, "ftwb1-4")
    config, initial = load_model(Path("models/base/steps/0"), "")
    np.testing.assert_array_equal(initial, initial_weights(config, settings.seed, 8 / 32))
    assert (initial != initial_weights(config, settings.seed)).mean() > 0.5
    before, after = (load_model(Path(f"models/{name}"), "")[1] for name in ("base", "ftwb1-4"))
    new = slice((config.vocab_size - 20) * 8, config.vocab_size * 8)
    moved = views(before != after, config)["embed"].reshape(-1)
    assert moved[new].mean() > 0.9
    assert (before != after).sum() == moved[new].sum(), "nothing else moves"
