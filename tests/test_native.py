"""The native step against torch, and the same bits on any threads: `pytest tests/test_native.py`."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch

from plain_decoder import NATIVE, a_config, mean_loss, needs_native, some_lines, some_weights, tensors
from worldwidth.model.layout import MATRICES, DecoderConfig, parameter_count, views
from worldwidth.model.packing import Tree, pack
from worldwidth.native.library import library
from worldwidth.native.step import Workspace, gradient, loss
from worldwidth.settings.load import load
from worldwidth.settings.paths import PARAMS

pytestmark = needs_native

SHAPES = {
    f"{name}-{key}": DecoderConfig.of(scale, scale.sizes_of(arch))
    for name, scale in load(PARAMS).scales.items()
    for key, arch in scale.archs.items()
}


def agrees_with_torch(config: DecoderConfig, lines: int, shortest: int, longest: int, counted: str) -> None:
    tokens, lengths = some_lines(lines, shortest, longest)
    tree = pack(tokens, lengths, counted)
    weights = some_weights(config)
    found = np.full_like(weights, np.nan)
    scale = 1 / len(tree.targets)
    value = gradient(Workspace(config), weights, found, tree, scale)
    assert value == loss(Workspace(config), weights, tree, scale)
    reference = tensors(weights, config, torch.float64)
    expected = mean_loss(config, reference, tokens, lengths, counted)
    expected.backward()  # type: ignore[no-untyped-call]
    assert value == pytest.approx(expected.item(), abs=1e-6)
    for name, view in views(found, config).items():
        true = reference[name].grad
        assert true is not None
        assert np.linalg.norm(view - true.numpy()) < 1e-5 * float(true.norm()), name


@pytest.mark.parametrize("counted", ["all", "answer"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_torch_at_every_shape_of_params_yaml(shape: str, counted: str) -> None:
    config = SHAPES[shape]
    if shape.startswith("paper"):
        one_layer = a_config(
            config.hidden_size, config.intermediate_size, config.num_attention_heads, 1, config.vocab_size
        )
        agrees_with_torch(one_layer, 6, 20, 40, counted)
    else:
        agrees_with_torch(config, 20, 8, 21, counted)


@pytest.mark.parametrize("shape", ["laptop-wide", "laptop-deep"])
def test_without_the_matrices_the_embedding_has_the_same_gradient(shape: str) -> None:
    config = SHAPES[shape]
    tree, weights = pack(*some_lines(20, 8, 21), "all"), some_weights(config)
    whole, alone = (np.full_like(weights, np.nan) for _ in range(2))
    values = [gradient(Workspace(config), weights, out, tree, 0.1, out is whole) for out in (whole, alone)]
    assert values[0] == values[1]
    assert not np.isnan(whole).any()
    for name, view in views(alone, config).items():
        if name in (*MATRICES, "lm_head"):
            assert np.isnan(view).all(), name
        else:
            assert view.tobytes() == views(whole, config)[name].tobytes(), name


@pytest.mark.parametrize(("head", "heads"), [(2, 1), (4, 2), (8, 3), (12, 2), (16, 1), (32, 3), (48, 1), (64, 2)])
def test_gradients_at_any_head_size_and_sizes_that_fill_no_vector(head: int, heads: int) -> None:
    agrees_with_torch(a_config(head * heads, 37, heads), 12, 2, 30, "all")


def test_gradients_of_the_shortest_and_of_long_lines() -> None:
    config = a_config(16, 64, 2)
    agrees_with_torch(config, 5, 2, 2, "all")
    agrees_with_torch(config, 12, 2, 100, "all")
    agrees_with_torch(config, 12, 50, 100, "answer")


def trees() -> list[Tree]:
    tokens, lengths = some_lines(80, 3, 24)
    return [pack(tokens[rows], lengths[rows], "all") for rows in np.array_split(np.arange(len(tokens)), 8)]


def gradients(config: DecoderConfig, threads: int) -> list[bytes]:
    weights, parts = some_weights(config), trees()
    found = [np.empty(parameter_count(config), np.float32) for _ in parts]
    workspaces = [Workspace(config) for _ in range(threads)]

    def work(thread: int) -> None:
        for tree, out in list(zip(parts, found, strict=True))[thread::threads]:
            gradient(workspaces[thread], weights, out, tree, 0.01)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return [out.tobytes() for out in found]


def test_bits_depend_neither_on_threads_nor_on_what_ran_before() -> None:
    config = a_config(32, 128, 4)
    once = gradients(config, 1)
    assert once == gradients(config, 1) == gradients(config, 2) == gradients(config, 4)


@pytest.mark.skipif(NATIVE != "x86_64_v4", reason="this processor has no AVX-512")
def test_bits_do_not_depend_on_the_width_of_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [a_config(hidden, 3 * hidden, heads) for hidden, heads in product((8, 48, 64), (1, 2))]
    wide = [gradients(config, 1) for config in configs]
    library.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr("worldwidth.native.library.instruction_set", lambda: "x86_64_v3")
        narrow = [gradients(config, 1) for config in configs]
    library.cache_clear()
    assert narrow == wide


def test_arrays_that_cpp_must_not_read_are_refused() -> None:
    config, tree = a_config(8, 16, 1), trees()[0]
    workspace, weights = Workspace(config), some_weights(config)
    with pytest.raises(TypeError, match="float64"):
        gradient(workspace, weights.astype(np.float64), weights, tree, 1.0)
    with pytest.raises(TypeError, match="strides"):
        loss(workspace, np.zeros((len(weights), 2), np.float32)[:, 0], tree, 1.0)
    with pytest.raises(TypeError, match=f"instead of {len(weights)} in a row"):
        loss(workspace, weights[1:], tree, 1.0)
    with pytest.raises(IndexError, match="token 22: the model has a vocabulary of 20"):
        loss(Workspace(a_config(8, 16, 1, vocabulary=20)), weights, tree, 1.0)


@pytest.mark.parametrize("name", ["embed", "qkv", "gate_up", "lm_head", "norm"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_ruined_weight_ruins_the_loss(name: str, value: float) -> None:
    """So that a training that diverges is told."""
    config, tree = a_config(8, 16, 1), trees()[0]
    weights = some_weights(config)
    views(weights, config)[name][..., 5] = value
    assert not np.isfinite(loss(Workspace(config), weights, tree, 1.0))
