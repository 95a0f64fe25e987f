"""Schedule, optimisers and training loop, each against a plain reference.

pytest tests/test_training.py
"""

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from plain_path import plain_loss, twin_of
from short_runs import SETTINGS, Model, run_of, some, trained_by, training_of
from torch_optimizers import CASES, TorchOptimizers, kept
from worldwidth.data.corpus import StoredCorpus
from worldwidth.model.layout import views
from worldwidth.settings.compute import parameter_count
from worldwidth.settings.schema import Settings
from worldwidth.training.engines import engine_of
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture, pretraining_mixture
from worldwidth.training.run import Training, checkpoint_steps, learning_rate, write_curve
from worldwidth.training.torch_update import FlatState, orthogonalized, step_factors, update

pytestmark = pytest.mark.usefixtures("one_thread")

MakeModel = Callable[..., Model]
Kind = Literal["adamw", "muon"]


# schedule and optimisers


@pytest.mark.parametrize(("warmup", "steps"), [(50, 200), (0, 200), (1, 200), (199, 200), (2, 3)])
def test_the_published_schedule_is_that_of_transformers(warmup: int, steps: int) -> None:
    optimization = replace(SETTINGS, learning_rate=3e-4, warmup_steps=warmup, decay_fraction=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    for step in range(steps):
        assert learning_rate(step, steps, optimization) == pytest.approx(
            schedule.get_last_lr()[0], rel=1e-12, abs=1e-20
        )
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_smaller_fraction_is_warmup_stable_decay(fraction: float) -> None:
    optimization = replace(SETTINGS, learning_rate=2.0, warmup_steps=20, decay_fraction=fraction)
    rates = np.array([learning_rate(step, 220, optimization) for step in range(221)])
    decay = round(200 * fraction)
    np.testing.assert_allclose(rates[:20], 2.0 * np.arange(20) / 20)
    np.testing.assert_allclose(rates[20 : 221 - decay], 2.0)
    np.testing.assert_allclose(rates[220 - decay :], 2.0 * np.arange(decay, -1, -1) / decay, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_hundred_updates_are_those_of_torch(
    optimizer: Kind, case: str, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two models at once, with clipping; torch's Muon without its bfloat16."""
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.float)
    optimization = replace(SETTINGS, optimizer=optimizer, weight_decay=0.1, betas=(0.8, 0.95), epsilon=1e-5)
    config, _ = make_model("narrow")
    starts = [make_model("narrow", seed=seed)[1] for seed in (1, 2)]
    groups = CASES[case].groups(config, optimization)
    weights = torch.from_numpy(np.stack(starts))
    state = FlatState(weights, torch.zeros_like(weights), torch.zeros_like(weights))
    theirs = [TorchOptimizers(config, own, optimization, CASES[case]) for own in starts]
    generator = torch.Generator().manual_seed(0)
    for step in range(100):
        rates = [learning_rate(step, 100, optimization), 1e-3]
        sizes = torch.tensor([[0.001], [1.0]])  # only the second is clipped
        gradients = sizes * torch.randn(weights.shape, generator=generator)
        for rate, own, each in zip(rates, gradients, theirs, strict=True):
            each.step(own.numpy(), rate)
        factors = torch.tensor([step_factors(step, rate, optimization) for rate in rates])
        update(state, gradients, factors, groups, optimization)
    stays = kept(config, groups)
    for found, start, reference in zip(state.weights.numpy(), starts, theirs, strict=True):
        np.testing.assert_allclose(found, reference.weights(), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found[stays], start[stays])
        assert (abs(found - start)[~stays] > 1e-4).mean() > 0.5, "the others move"
    assert not state.first[:, stays].any()
    assert not state.second[:, stays].any()


@pytest.mark.parametrize("shape", [(2, 24, 8), (3, 8, 8), (1, 8, 32), (4, 192, 64)])
def test_orthogonalized_matrices_are_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    """The same singular vectors, and singular values near 1, whatever the size of a matrix."""
    matrices = (
        torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(shape[0])[:, None, None]
    )
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    within = u.mT @ orthogonalized(matrices) @ v.mT
    values = within.diagonal(dim1=1, dim2=2)
    assert 0.6 < values.min() <= values.max() < 1.3
    assert (within - torch.diag_embed(values)).abs().max() < 1e-3


# the loop


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_the_first_steps_are_those_of_a_plain_loop_with_transformers(
    loss: str, small: Mixture, make_model: MakeModel
) -> None:
    config, weights = make_model("base")
    twin = twin_of(config, weights).train()
    run = run_of(small, epochs=2, loss=loss, max_grad_norm=0.5, weight_decay=0.1)
    assert run.steps == 12
    found = [point.loss for point in trained_by((config, weights), run).curve]

    decayed = [parameter for parameter in twin.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in twin.parameters() if parameter.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-3, betas=(0.9, 0.999), eps=1e-8)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, 12)
    wanted: list[float] = []
    norms: list[float] = []
    for rows in run.rows():
        each = plain_loss(twin, small, rows, loss)
        wanted.append(each.item())
        optimizer.zero_grad()
        each.backward()  # type: ignore[no-untyped-call]
        norms.append(torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5).item())
        optimizer.step()
        schedule.step()
    assert sum(norm > 0.5 for norm in norms) >= 3, "the clip must matter"
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert wanted[-1] < wanted[0] - 0.1


GOLDEN = {  # loss of every step; computed once, to be changed only with the mathematics of training
    ("adamw", "answer"): [5.244501, 5.194447, 5.036228, 4.795035, 4.578722, 4.455107],
    ("adamw", "all"): [5.227838, 5.215889, 5.052732, 4.861932, 4.768407, 4.71532],
    ("muon", "answer"): [5.244501, 5.194447, 5.145196, 4.962897, 4.814577, 4.716025],
}


@pytest.mark.parametrize(("optimizer", "loss"), list(GOLDEN))
def test_the_golden_losses(optimizer: str, loss: str, small: Mixture, make_model: MakeModel) -> None:
    training = trained_by(make_model("base", seed=42), run_of(small, optimizer=optimizer, loss=loss))
    np.testing.assert_allclose([point.loss for point in training.curve], GOLDEN[optimizer, loss], atol=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_tiny_mixture_is_learned_by_heart(optimizer: str, small: Mixture, make_model: MakeModel) -> None:
    few = some(small, 0, 20)
    run = run_of(few, few, epochs=80, optimizer=optimizer, learning_rate=1e-2, log_every=80)
    before = validation_loss(training_of(make_model("wide"), run))
    (row,) = trained_by(make_model("wide"), run).curve
    assert row.validation_loss is not None
    assert row.validation_loss < 0.1 * before


def validation_loss(training: Training) -> float:
    return engine_of([training]).validation_loss(training)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_twice_gives_the_same_bits(optimizer: str, small: Mixture, make_model: MakeModel) -> None:
    run = run_of(small, epochs=2, optimizer=optimizer, checkpoints=2)
    first, again = (trained_by(make_model("base"), run) for _ in range(2))
    assert first.curve == again.curve
    np.testing.assert_array_equal(first.weights, again.weights)
    assert len({point.loss for point in first.curve}) == len(first.curve)


def test_another_seed_or_name_trains_another_model(small: Mixture, make_model: MakeModel) -> None:
    run = run_of(small)
    runs = (run, replace(run, seed=1), replace(run, name="ftwb1-1"))
    assert len({trained_by(make_model("base"), each).curve[-1].loss for each in runs}) == 3


def test_the_curve(small: Mixture, make_model: MakeModel, smoke: dict[str, Settings]) -> None:
    """12 steps: a row every 5, at the checkpoints, and at the end; the losses are those of a run without."""
    saved: list[int] = []
    training = Training(*make_model("base"), run_of(small, epochs=2, log_every=5, checkpoints=3), saved.append)
    curve = train(training)
    marks = checkpoint_steps(12, 3)
    assert saved == [0, *sorted(marks)]
    assert [point.step for point in curve] == sorted({5, 10, 12} | marks)
    every = trained_by(make_model("base"), run_of(small, epochs=2)).curve
    assert [point.step for point in every] == list(range(1, 13))
    scale = smoke["cities"].selected
    parameters = parameter_count(scale, scale.sizes_of(scale.archs["base"]))
    seen = np.cumsum([small.lengths[rows].sum(dtype=int) for rows in training.run.rows()])
    before = 0
    for point in curve:
        assert point.tokens == seen[point.step - 1]
        assert point.flops == 6 * parameters * point.tokens
        assert point.loss == pytest.approx(np.mean([p.loss for p in every[before : point.step]]), abs=1e-6)
        assert point.learning_rate == learning_rate(point.step - 1, 12, SETTINGS)
        assert (point.validation_loss is not None) == (point.step in marks or point.step == 12)
        before = point.step
    assert curve[-1].tokens == 2 * small.lengths.sum(dtype=int)
    assert curve[-1].validation_loss == validation_loss(training)


def test_what_a_checkpoint_holds(small: Mixture, make_model: MakeModel) -> None:
    """The weights after as many steps as its name says: those with which the next loss is computed."""
    config, weights = make_model("base")
    kept, start, run = {}, weights.copy(), run_of(small, epochs=2, checkpoints=4, warmup_steps=0)

    def keep(step: int) -> None:
        kept[step] = weights.copy()

    curve = train(Training(config, weights, run, keep))
    np.testing.assert_array_equal(kept[0], start)
    batches = list(run.rows())
    assert len(kept) >= 4
    for step, of_checkpoint in kept.items():
        with torch.no_grad():
            next_loss = float(plain_loss(twin_of(config, of_checkpoint), small, batches[step], "answer"))
        assert next_loss == pytest.approx(curve[step].loss, abs=1e-5)


def test_the_curve_as_csv(small: Mixture, make_model: MakeModel, tmp_path: Path) -> None:
    curve = trained_by(make_model("narrow"), run_of(small, log_every=2)).curve
    write_curve(curve, tmp_path / "results" / "base.csv")
    text = (tmp_path / "results" / "base.csv").read_bytes().decode()
    assert text.splitlines()[0] == "step,tokens,flops,loss,learning_rate,validation_loss,gradient_norm,order"
    assert text.endswith("\n")
    assert "\r" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(curve) == 3
    for row, point in zip(rows, curve, strict=True):
        assert (int(row["step"]), int(row["tokens"]), int(row["flops"])) == (point.step, point.tokens, point.flops)
        assert (float(row["loss"]), float(row["learning_rate"])) == (point.loss, point.learning_rate)
        assert (float(row["gradient_norm"]), row["order"]) == (point.gradient_norm, point.order)
        assert row["validation_loss"] == ("" if point.validation_loss is None else repr(point.validation_loss))
    assert rows[0]["validation_loss"] == ""
    assert rows[-1]["validation_loss"] != ""


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_the_validation_loss_is_the_mean_over_all_counted_tokens(
    loss: str, corpora: dict[str, StoredCorpus], make_model: MakeModel
) -> None:
    """More lines than go through the model at once; the last part is small."""
    lines, model = some(pretraining_mixture(corpora), 0, 600), make_model("narrow")
    with torch.no_grad():
        wanted = float(plain_loss(twin_of(*model), lines, np.arange(600), loss))
    found = validation_loss(training_of(model, run_of(lines, lines, loss=loss)))
    assert found == pytest.approx(wanted, rel=1e-5)


def test_the_validation_loss_of_a_model_that_knows_nothing(small: Mixture, make_model: MakeModel) -> None:
    training = training_of(make_model("narrow"), run_of(small, loss="all"))
    views(training.weights, training.config)["lm_head"][:] = 0
    assert validation_loss(training) == pytest.approx(math.log(178), rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 28, 100, 1000, 164_064])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 40, 1000])
def test_checkpoint_steps(steps: int, count: int) -> None:
    found = sorted(checkpoint_steps(steps, count))
    assert len(found) <= count
    assert all(1 <= step < steps for step in found)
    assert len(set(found)) == len(found)
    if count and steps > 1:
        assert found[0] == 1
    if count >= 2 and steps > 10 * count:
        assert len(found) >= 0.7 * count, "few coincide"
        ratios = np.array([*found[1:], steps]) / np.array(found)
        late = ratios[np.array(found) > 20]
        assert len(late) == 0 or late.max() / late.min() < 1.1, "log-spaced"
    assert checkpoint_steps(steps, count) == checkpoint_steps(steps, count)
