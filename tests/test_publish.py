"""What a training run publishes: model, checkpoints, curve and timing when it ends well, nothing when it fails.

pytest tests/test_publish.py
"""

import csv
import importlib.util
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import worldwidth.training.run
from short_runs import run_of
from worldwidth.data.cities import City, save_cities
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.checkpoint import load_model
from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import Batch
from worldwidth.settings.compute import training_steps, vocabulary_size
from worldwidth.settings.schema import Settings
from worldwidth.training import publish
from worldwidth.training.mixture import Mixture
from worldwidth.training.run import DivergedError, batch_loss, checkpoint_steps

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
MakeDecoder = Callable[..., Decoder]
Corpora = dict[str, StoredCorpus]


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
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    model = make_decoder("narrow")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    run = run_of(small, checkpoints=2)
    publish.train_and_publish(model, run, smoke_vocabularies["cities"].save, 10)
    steps = [0, *sorted(checkpoint_steps(6, 2))]
    folders = ["models/base", *(f"models/base/steps/{step}" for step in steps)]
    wanted = [f"{folder}/{name}" for folder in folders for name in MODEL_FILES]
    assert files(Path()) == sorted([*wanted, "results/training/base.csv", "timings/base.json"])
    final = load_model(Path("models/base"), "").state_dict()
    assert all(torch.equal(final[name], value) for name, value in model.state_dict().items())
    first = load_model(Path("models/base/steps/0"), "").state_dict()
    assert all(torch.equal(first[name], value) for name, value in start.items())
    timing = json.loads(Path("timings/base.json").read_text())
    assert timing["tokens"] == small.lengths.sum(dtype=int)
    assert timing["device"] == "cpu"
    assert files(workspace / "root") == []


def test_a_second_run_replaces_the_first(
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    save = smoke_vocabularies["cities"].save
    publish.train_and_publish(make_decoder("narrow"), run_of(small, checkpoints=4), save, 10)
    publish.train_and_publish(make_decoder("base"), run_of(small), save, 10)
    assert load_model(Path("models/base"), "").config.hidden_size == 16
    assert [path.name for path in Path("models/base/steps").iterdir()] == ["0"]
    assert [path.name for path in Path("models").iterdir()] == ["base"]


def failing_at(step: int, value: float) -> Callable[[Decoder, Batch], Tensor]:
    """A batch loss that is ``value`` at training step ``step``."""
    calls = 0

    def loss(model: Decoder, batch: Batch) -> Tensor:
        nonlocal calls
        if torch.is_grad_enabled():
            calls += 1
        found = batch_loss(model, batch)
        return found * value if calls == step else found

    return loss


@pytest.mark.parametrize(("value", "said"), [(math.nan, "nan"), (math.inf, "inf")])
@pytest.mark.parametrize("step", [1, 4, 5, 8, 11, 12])
def test_a_loss_that_is_no_number_stops_the_run(
    value: float,
    said: str,
    step: int,
    workspace: Path,
    small: Mixture,
    make_decoder: MakeDecoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worldwidth.training.run, "batch_loss", failing_at(step, value))
    run = replace(run_of(small, epochs=2, log_every=4, checkpoints=2), name="ftwb1-1")
    with pytest.raises(DivergedError) as caught:
        publish.train_and_publish(make_decoder("narrow"), run, lambda folder: None, 10)
    message = str(caught.value)
    remains = workspace / "root" / ".dvc" / "tmp" / "worldwidth" / "diverged" / "ftwb1-1"
    assert message.startswith(f"ftwb1-1: the loss is {said} at step {step}; try a lower learning_rate")
    assert str(remains) in message
    assert "\n" not in message
    kept = {0, *(s for s in checkpoint_steps(run.steps, 2) if s < step)}
    assert {int(folder.name) for folder in (remains / "steps").iterdir()} == kept, "the sound checkpoints from before"
    assert {path.name for path in remains.iterdir()} == {"curve.csv", "steps", "weights.safetensors"}
    assert set(load_file(remains / "weights.safetensors")) == set(make_decoder("narrow").state_dict())
    rows = list(csv.DictReader((remains / "curve.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [point.step for point in caught.value.curve]
    assert all(int(row["step"]) < step and math.isfinite(float(row["loss"])) for row in rows)
    assert files(Path()) == []
    assert not Path("models").exists(), "neither the model's folder nor a temporary one"


def test_a_weight_that_is_no_number_stops_the_run(workspace: Path, small: Mixture, make_decoder: MakeDecoder) -> None:
    model = make_decoder("narrow")
    with torch.no_grad():
        model.norm[3] = math.nan
    with pytest.raises(DivergedError, match=r"base: the loss is nan at step 1;"):
        publish.train_and_publish(model, run_of(small), lambda folder: None, 10)
    assert not Path("models").exists()


def test_an_update_that_ruins_the_last_step_stops_the_run(
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last loss is finite, but its gradient is not: the final weights are NaN, and must not be published."""

    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return grads[0] * math.nan

    calls = 0

    def loss(model: Decoder, batch: Batch) -> Tensor:
        nonlocal calls
        found = batch_loss(model, batch)
        if torch.is_grad_enabled():
            calls += 1
            if calls == 6:
                return cast(Tensor, Poison.apply(found))  # type: ignore[no-untyped-call]
        return found

    monkeypatch.setattr(worldwidth.training.run, "batch_loss", loss)
    with pytest.raises(DivergedError):
        publish.train_and_publish(make_decoder("narrow"), run_of(small), lambda folder: None, 10)
    assert not Path("models").exists()


def test_a_failed_run_leaves_the_model_that_was_there(
    workspace: Path,
    small: Mixture,
    make_decoder: MakeDecoder,
    smoke_vocabularies: dict[str, Vocabulary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish.train_and_publish(make_decoder("narrow"), run_of(small), smoke_vocabularies["cities"].save, 10)
    before = {name: Path(name).read_bytes() for name in files(Path())}
    monkeypatch.setattr(worldwidth.training.run, "batch_loss", failing_at(3, math.nan))
    with pytest.raises(DivergedError):
        publish.train_and_publish(make_decoder("base"), run_of(small), smoke_vocabularies["cities"].save, 10)
    assert {name: Path(name).read_bytes() for name in files(Path())} == before


def test_ctrl_c_leaves_nothing(
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(model: Decoder, batch: Batch) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(worldwidth.training.run, "batch_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish.train_and_publish(make_decoder("narrow"), run_of(small), lambda folder: None, 10)
    assert not Path("models").exists()


def stage(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"stage_{name}", ROOT / "stages" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("tokens", ["cities", "characters"])
def test_the_stages_pretrain_and_finetune(
    tokens: str,
    workspace: Path,
    smoke: dict[str, Settings],
    smoke_cities: list[City],
    smoke_folders: dict[str, Path],
    smoke_corpora: dict[str, Corpora],
) -> None:
    save_cities(smoke_cities)
    Path("data/corpora").symlink_to(smoke_folders[tokens])
    settings = smoke[tokens]
    scale = settings.selected
    hardware = replace(scale.hardware, device="cpu", threads=1)
    arch = replace(scale.archs["narrow"], epochs=1)
    scale = replace(scale, hardware=hardware, archs={**scale.archs, "narrow": arch})
    settings = replace(settings, scales={**settings.scales, "smoke": scale})
    stage("budget").main(settings)
    stage("pretrain").main(settings)
    stage("finetune").main(settings, "ftwb2-12")
    for name, first in (("base", None), ("ftwb2-12", "models/base")):
        rows = list(csv.DictReader(Path(f"results/training/{name}.csv").read_text().splitlines()))
        assert int(rows[-1]["step"]) == training_steps(settings, name)
        if first:  # fine-tuning starts from the pre-trained weights
            start, wanted = load_model(Path(f"models/{name}/steps/0"), ""), load_model(Path(first), "")
            assert all(torch.equal(value, wanted.state_dict()[key]) for key, value in start.state_dict().items())
        for file in MODEL_FILES[2:]:
            assert Path(f"models/{name}/{file}").read_bytes() == Path(f"models/base/{file}").read_bytes()
    initial = load_model(Path("models/base/steps/0"), "")
    assert float(initial.lm_head.weight.detach().std()) == pytest.approx(0.1, rel=0.1)
    assert initial.config.vocab_size == vocabulary_size(scale)
    before = {name: Path(name).read_bytes() for name in files(Path()) if name.startswith("models/base")}
    stage("pretrain").main(settings)
    assert {name: Path(name).read_bytes() for name in before} == before, "the same matrix, the same bytes"
    stage("pretrain").main(replace(settings, seed=43))
    assert Path("models/base/model.safetensors").read_bytes() != before["models/base/model.safetensors"]
