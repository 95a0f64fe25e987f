"""The native optimisers against torch's, through a training: `pytest tests/test_native_optimizer.py`."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from plain_decoder import a_config, mean_loss, needs_native, some_lines, some_weights
from worldwidth.model.layout import MATRICES, VECTORS, Weights, parameter_count, views
from worldwidth.model.packing import pack
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
    workspace, losses = Workspace(CONFIG), []
    for step, rate in enumerate(RATES, start=1):
        losses.append(gradient(workspace, weights, found, tree, 1 / len(tree.targets)))
        update(CONFIG, weights, first, second, [found], settings(name), step, rate)
    return losses


def torch_losses(name: Name) -> list[float]:
    given = settings(name)
    weights: dict[str, list[torch.Tensor]] = {
        key: [Parameter(torch.from_numpy(part.copy())) for part in (view if key in MATRICES else [view])]
        for key, view in views(some_weights(CONFIG), CONFIG).items()
    }
    decayed = [weight for key in weights if key not in VECTORS for weight in weights[key]]
    layers = [weight for key in MATRICES for weight in weights[key]] if name == "muon" else []
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in decayed if all(weight is not layer for layer in layers)]},
        {"params": [weight for key in VECTORS for weight in weights[key]], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, betas=given.betas, eps=given.epsilon, weight_decay=given.weight_decay)
    ]
    if layers:
        optimizers.append(torch.optim.Muon(layers, weight_decay=given.weight_decay))
    losses = []
    for rate in RATES:
        now = {key: torch.stack(parts) if key in MATRICES else parts[0] for key, parts in weights.items()}
        loss = mean_loss(CONFIG, now, *LINES, "answer")
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([weight for parts in weights.values() for weight in parts], given.max_grad_norm)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_a_training_is_that_of_torch(name: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)  # in which torch's Muon would compute
    native, plain = native_losses(name), torch_losses(name)
    assert native[-1] < native[0] / 3
    assert native == pytest.approx(plain, abs=1e-5)


def updated(name: Name, weights: Weights, gradients: list[Weights], spread: Spread = map) -> tuple[Weights, float]:
    """The weights after one step of rate 1 from nothing remembered, and the norm of the gradient."""
    new, first, second = weights.copy(), np.zeros_like(weights), np.zeros_like(weights)
    copies = [each.copy() for each in gradients]
    norm = update(CONFIG, new, first, second, copies, replace(settings(name), weight_decay=0.0), 1, 1.0, spread)
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
