"""The decoder against transformers' Qwen2 with the same weights: logits, loss, gradients, sizes; and how it starts.

pytest tests/test_model.py
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from plain_path import flat_gradient, plain_loss, side_by_side, twin_of
from short_runs import Model
from worldwidth.data.corpus import StoredCorpus
from worldwidth.model.decoder import Decoder, TreeAttention, attention
from worldwidth.model.layout import MATRICES, OUTSIDE, VECTORS, Weights, slices, views
from worldwidth.model.packing import pack
from worldwidth.model.parametrization import initial_weights
from worldwidth.model.tree_tensors import tensors_of
from worldwidth.settings.compute import parameter_count
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings
from worldwidth.training.mixture import Mixture, pretraining_mixture

pytestmark = pytest.mark.usefixtures("one_thread")

PARAMS = Path(__file__).parents[1] / "params.yaml"
ARCHS = ("narrow", "base", "wide", "wider")
PUBLISHED = ("paper", "narrow")
VARIANTS = [("smoke", arch) for arch in ARCHS] + [PUBLISHED]
MakeModel = Callable[..., Model]


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def variant(request: pytest.FixtureRequest) -> tuple[str, str]:
    scale, arch = request.param
    return scale, arch


@pytest.fixture(scope="module")
def tokens(variant: tuple[str, str]) -> str:
    return "characters" if variant == PUBLISHED else "cities"


@pytest.fixture(scope="module")
def model(variant: tuple[str, str], tokens: str, make_model: MakeModel) -> Model:
    """Every width of the smoke scale and the published narrow one, with weights as lively as trained ones.

    Biases and norms are moved away from 0 and 1, where mistakes would not show.
    """
    scale = load(PARAMS).scales["paper"] if variant == PUBLISHED else None
    config, weights = make_model(variant[1], tokens, scale)
    rng = np.random.default_rng(3)
    for name in VECTORS:
        view = views(weights, config)[name]
        view += 0.3 * rng.standard_normal(view.shape, np.float32)
    return config, weights


@pytest.fixture(scope="module")
def twin(model: Model) -> Any:
    return twin_of(*model)


@pytest.fixture(scope="module")
def mixture(tokens: str, smoke_corpora: dict[str, dict[str, StoredCorpus]]) -> Mixture:
    """Lines of every length, many of which begin alike, one twice."""
    whole = pretraining_mixture(smoke_corpora[tokens])
    rows = np.concatenate([np.flatnonzero(whole.lengths == length)[:4] for length in np.unique(whole.lengths)])
    rows = np.sort([*rows[:30], rows[7]])
    assert len(set(whole.lengths[rows].tolist())) >= 4
    return Mixture(whole.tokens[rows], whole.lengths[rows])


def everything(mixture: Mixture) -> NDArray[np.int64]:
    return np.arange(len(mixture))


def test_logits_are_those_of_transformers(model: Model, twin: Any, mixture: Mixture) -> None:
    """Of every token of every line but its last; and the last layer's for queries only are the same."""
    ids, mask = side_by_side(mixture, everything(mixture))
    tree = pack(mixture.tokens, mixture.lengths, "answer")
    assert len(tree.ids) < 0.9 * mask.sum(), "the lines share something"
    trees, decoder = tensors_of(tree, model[0].vocab_size), Decoder(model[0], torch.from_numpy(model[1])[None])
    with torch.no_grad():
        before_the_last = mask[:, 1:].bool()  # nothing is predicted from the last token of a line
        wanted = twin(input_ids=ids, attention_mask=mask).logits[:, :-1][before_the_last]
        whole = replace(trees, last=trees.inner)
        found = decoder.logits(decoder.hidden(trees.ids, trees.positions, TreeAttention(whole, len(decoder.layers))))[0]
        of_tree = TreeAttention(trees, len(decoder.layers))
        pruned = decoder.logits(decoder.hidden(trees.ids, trees.positions, of_tree, trees.queries))[0]
    nodes = torch.from_numpy(tree.nodes.astype(np.int64))
    assert found.dtype == wanted.dtype == torch.float32
    assert float(wanted.std()) > 0.1
    size = max(1.0, float(wanted.abs().max()))
    assert (found[nodes[nodes >= 0]] - wanted).abs().max() <= 1e-5 * size
    assert len(pruned) < len(found)
    assert (pruned - found[trees.queries[0]]).abs().max() <= 1e-5 * size


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_loss_and_gradient_are_those_of_transformers(loss: str, model: Model, twin: Any, mixture: Mixture) -> None:
    config, weights = model
    exact = twin_of(config, weights).double()
    wanted = plain_loss(exact, mixture, everything(mixture), loss)
    wanted.backward()  # type: ignore[no-untyped-call]
    flat = torch.from_numpy(weights)[None].requires_grad_()
    tree = pack(mixture.tokens, mixture.lengths, loss)
    found = Decoder(config, flat).losses(tensors_of(tree, config.vocab_size))[0] / len(tree.targets)
    (gradient,) = torch.autograd.grad(found, flat)
    assert found.item() == pytest.approx(wanted.item(), abs=1e-6)
    reference = flat_gradient(exact, config)
    for name, place in slices(config).items():
        difference = np.linalg.norm(gradient[0, place].numpy() - reference[place])
        assert difference <= 1e-6 * np.linalg.norm(reference[place]), name


def test_parameter_counts_agree(
    variant: tuple[str, str], model: Model, twin: Any, tokens: str, smoke: dict[str, Settings]
) -> None:
    scale = load(PARAMS).scales["paper"] if variant == PUBLISHED else smoke[tokens].selected
    counted = parameter_count(scale, scale.sizes_of(scale.archs[variant[1]]))
    assert len(model[1]) == counted == twin.num_parameters()
    if variant == PUBLISHED:
        assert counted == 407_744


def test_attention_by_plain_products_is_the_fused_kernel() -> None:
    """On a CPU the attention is written out, on a GPU it is torch's own: both are the same, gradients included."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 3, n, 8, generator=generator, requires_grad=True) for n in (5, 7, 7))
    allowed = torch.rand(4, 5, 7, generator=generator) < 0.6
    allowed[..., 0] = True
    weights = torch.randn(4, 3, 5, 8, generator=generator)
    results = []
    for out in (attention(q, k, v, allowed), F.scaled_dot_product_attention(q, k, v, attn_mask=allowed[:, None])):
        results.append((out, *torch.autograd.grad((out * weights).sum(), (q, k, v))))
    for plain, fused in zip(*results, strict=True):
        assert torch.allclose(plain, fused, atol=1e-6)


def test_the_initial_weights(make_model: MakeModel) -> None:
    config, weights = make_model("narrow", "characters", load(PARAMS).scales["paper"], seed=5)
    named = views(weights, config)
    matrices = {name: named[name] for name in OUTSIDE}
    matrices |= {f"{name} {layer}": matrix for name in MATRICES for layer, matrix in enumerate(named[name])}
    assert len(matrices) == 2 + 4 * 6
    for name, matrix in matrices.items():
        assert abs(matrix.mean()) < 5 * 0.1 / math.sqrt(matrix.size), name
        assert matrix.std() == pytest.approx(0.1, rel=5 / math.sqrt(2 * matrix.size)), name
    drawn = np.concatenate([matrix.ravel() for matrix in matrices.values()]) / 0.1
    for z, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):  # a normal distribution, neither uniform nor truncated
        assert (abs(drawn) < z).mean() == pytest.approx(share, abs=0.004)
    assert abs(drawn).max() > 4
    assert all((named[name] == (0 if name == "qkv_bias" else 1)).all() for name in VECTORS)
    assert len({float(matrix.sum()) for matrix in matrices.values()}) == len(matrices), "no two matrices are alike"


def test_initialization_hangs_on_the_seed_alone(make_model: MakeModel) -> None:
    config, first = make_model("base", seed=5)
    np.testing.assert_array_equal(initial_weights(config, 5), first)
    other = initial_weights(config, 6)
    for name in (*OUTSIDE, *MATRICES):
        assert (first[slices(config)[name]] != other[slices(config)[name]]).mean() > 0.99


def test_the_range_scales_the_initial_weights(make_model: MakeModel) -> None:
    config, big = make_model("base")
    small: Weights = initial_weights(replace(config, initializer_range=0.05), 1)
    place = slices(config)["lm_head"]
    np.testing.assert_allclose(small[place], big[place] / 2, rtol=1e-6)
