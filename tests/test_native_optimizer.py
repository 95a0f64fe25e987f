"""The native optimisers against torch's, through a training: `pytest tests/test_native_optimizer.py`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from plain_decoder import a_config, mean_loss, needs_native, some_lines, some_weights, tensors
from torch_optimizers import CASES, Case, TorchOptimizers, kept
from worldwidth.model.layout import MATRICES, Weights, parameter_count, views
from worldwidth.model.packing import pack
from worldwidth.model.parametrization import groups
from worldwidth.native import optimizer as native_optimizer
from worldwidth.native.optimizer import Spread, update
from worldwidth.native.step import Workspace, gradient
from worldwidth.settings.load import load
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Optimization

pytestmark = needs_native

Name = Literal["adamw", "muon"]
NAMES: tuple[Name, ...] = ("adamw", "muon")
CONFIG = a_config(16, 48, 2)
LINES = some_lines(64, 6, 16)
RATES = [0.005 * min(1.0, step / 10) for step in range(1, 101)]


def settings(name: Name) -> Optimization:
    return replace(load(PARAMS).scales["smoke"].pretraining, optimizer=name)


def native_losses(name: Name) -> list[float]:
    weights, tree = some_weights(CONFIG), pack(*LINES, "answer")
    first, second, found = np.zeros_like(weights), np.zeros_like(weights), np.empty_like(weights)
    workspace, losses, given = Workspace(CONFIG), [], settings(name)
    for step, rate in enumerate(RATES, start=1):
        losses.append(gradient(workspace, weights, found, tree, 1 / len(tree.targets)))
        update(weights, first, second, [found], groups(CONFIG, given), given, step, rate)
    return losses


def torch_losses(name: Name) -> list[float]:
    reference, losses = TorchOptimizers(CONFIG, some_weights(CONFIG), settings(name), Case()), []
    for rate in RATES:
        now = tensors(reference.weights(), CONFIG, torch.float32)
        loss = mean_loss(CONFIG, now, *LINES, "answer")
        found = torch.autograd.grad(loss, list(now.values()))
        reference.step(np.concatenate([each.numpy().ravel() for each in found]), rate)
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_that_of_torch(name: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)  # in which torch's Muon would compute
    native, plain = native_losses(name), torch_losses(name)
    assert native[-1] < native[0] / 3
    assert native == pytest.approx(plain, abs=5e-5)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_updates_are_those_of_torch(name: Name, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With clipping in every other, and weight decay; what no group has stays as it is."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)
    given = replace(settings(name), weight_decay=0.1, betas=(0.8, 0.95), epsilon=1e-5)
    start, chosen = some_weights(CONFIG), CASES[case].groups(CONFIG, given)
    weights, first, second = start.copy(), np.zeros_like(start), np.zeros_like(start)
    reference, rng = TorchOptimizers(CONFIG, start, given, CASES[case]), np.random.default_rng(0)
    for step, rate in enumerate(RATES, start=1):
        found = np.float32([1.0, 0.001][step % 2]) * rng.standard_normal(len(start), np.float32)
        reference.step(found, rate)
        norm = update(weights, first, second, [found], chosen, given, step, rate)
        stays = kept(CONFIG, chosen)
        assert norm == pytest.approx(np.linalg.norm(found[~stays].astype(np.float64)), rel=1e-6)
    np.testing.assert_allclose(weights, reference.weights(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(weights[stays], start[stays])
    assert (abs(weights - start)[~stays] > 1e-3).mean() > 0.5, "the others move"
    assert not first[stays].any()
    assert not second[stays].any()


def updated(name: Name, weights: Weights, gradients: list[Weights], spread: Spread = map) -> tuple[Weights, float]:
    """The weights after one step of rate 1 from nothing remembered, and the norm of the gradient."""
    new, first, second = weights.copy(), np.zeros_like(weights), np.zeros_like(weights)
    copies = [each.copy() for each in gradients]
    given = replace(settings(name), weight_decay=0.0)
    norm = update(new, first, second, copies, groups(CONFIG, given), given, 1, 1.0, spread)
    return new, norm


def some_gradients(count: int) -> list[Weights]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(parameter_count(CONFIG), np.float32) for _ in range(count)]


def test_muon_moves_a_matrix_along_a_nearly_orthogonal_one() -> None:
    weights, found = some_weights(CONFIG), some_gradients(1)
    new, _ = updated("muon", weights, found)
    for name in MATRICES:
        for moved in views(new - weights, CONFIG)[name]:
            scale = max(1.0, moved.shape[0] / moved.shape[1]) ** 0.5
            singular = np.linalg.svd(moved / scale, compute_uv=False)
            assert singular.min() > 0.6, name
            assert singular.max() < 1.3, name


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_added_in_their_order_and_bits_do_not_depend_on_threads(
    name: Name, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, parts = some_weights(CONFIG), some_gradients(3)
    together, norm = updated(name, weights, parts)
    alone, same_norm = updated(name, weights, [parts[0] + parts[1] + parts[2]])
    assert (alone.tobytes(), same_norm) == (together.tobytes(), norm)
    assert norm == pytest.approx(np.linalg.norm(np.sum(parts, axis=0, dtype=np.float64)), rel=1e-6)
    monkeypatch.setattr(native_optimizer, "_MUON_PIECE", 1)
    for threads in (1, 2, 4):
        with ThreadPoolExecutor(threads) as pool:
            assert updated(name, weights, parts, pool.map)[0].tobytes() == together.tobytes()
