"""Prefix trees against plain loops over lines and tokens, and padded ones against exact ones.

pytest tests/test_packing.py
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from short_runs import Model, run_of, some
from worldwidth.data.tokenizer import BOS, EOS, EQUALS, PAD
from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import Tree, in_order, pack, split
from worldwidth.model.tree_tensors import Sizes, assembled, padded, tensors_of
from worldwidth.training.mixture import Mixture
from worldwidth.training.packed_ahead import STEPS_AT_ONCE, chunks, common_sizes, width_of
from worldwidth.training.run import Training

Line = tuple[int, ...]
word = st.lists(st.sampled_from([5, 6, 97]), min_size=1, max_size=5)  # few tokens: many lines begin alike
lines_of = st.lists(
    st.builds(lambda asked, answer: (BOS, *asked, EQUALS, *answer, EOS), word, word), min_size=1, max_size=12
)


def table(lines: list[Line], dtype: Any = np.uint8, offset: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Tokens and lengths in lexicographic order; ``offset`` makes of 97 an id that needs 16 bits."""
    tokens = np.full((len(lines), max(map(len, lines))), PAD, dtype)
    for row, line in zip(tokens, lines, strict=True):
        row[: len(line)] = [token + offset * (token == 97) for token in line]
    order = in_order(tokens)
    return tokens[order], np.array([len(line) for line in lines], np.uint8)[order]


def unpadded(tokens: NDArray[Any], lengths: NDArray[Any]) -> list[Line]:
    return [tuple(row[:length]) for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]


@given(lines_of, st.sampled_from([(np.uint8, 0), (np.uint16, 0), (np.uint16, 500)]))
def test_the_order_is_that_of_the_ids(lines: list[Line], kind: tuple[Any, int]) -> None:
    tokens, lengths = table(lines, *kind)
    assert unpadded(tokens, lengths) == sorted(unpadded(tokens, lengths))


@given(lines_of)
def test_nodes_are_the_distinct_prefixes(lines: list[Line]) -> None:
    """Every token of every line but its last is found again through its node; no two nodes have the same prefix."""
    tokens, lengths = table(lines)
    tree = pack(tokens, lengths, "all")
    lengths = lengths - 1
    node_of: dict[Line, int] = {}
    above: Line = ()
    assert tree.lengths.tolist() == lengths.tolist()
    for line, nodes, shared in zip(unpadded(tokens, lengths), tree.nodes.tolist(), tree.shared.tolist(), strict=True):
        found = nodes[: len(line)]
        assert nodes[len(line) :] == [-1] * (len(nodes) - len(line))
        assert tree.ids[found].tolist() == list(line)
        assert tree.positions[found].tolist() == list(range(len(line)))
        assert found == sorted(found), "a node comes after its parent"
        assert all(node_of.setdefault(line[: i + 1], node) == node for i, node in enumerate(found))
        assert line[:shared] == above[:shared]
        assert line[: shared + 1] != above[: shared + 1] or line == above
        above = line
    assert sorted(node_of.values()) == list(range(len(tree.ids)))


@given(lines_of, st.sampled_from(["all", "answer", "next"]))
def test_queries_and_targets_are_exactly_the_counted_predictions(lines: list[Line], loss: str) -> None:
    tokens, lengths = table(lines)
    tree = pack(tokens, lengths, loss)
    wanted: list[tuple[int, int | None]] = []
    for line, nodes in zip(unpadded(tokens, lengths), tree.nodes.tolist(), strict=True):
        if loss == "next":
            wanted.append((nodes[len(line) - 1], None))
        else:
            first = line.index(EQUALS) if loss == "answer" else 0
            wanted += [(nodes[i], line[i + 1]) for i in range(first, len(line) - 1)]
    assert tree.queries[tree.sources].tolist() == [node for node, _ in wanted]
    assert tree.targets.tolist() == [target for _, target in wanted if target is not None]
    assert tree.queries.tolist() == sorted({node for node, _ in wanted})


@pytest.mark.parametrize("count", [1, 15, 16, 40, 100, 210])
def test_a_batch_is_cut_into_parts_of_neighbours(count: int) -> None:
    parts = split(np.arange(count))
    assert np.concatenate(parts).tolist() == list(range(count))
    assert len(parts) == 1 or all(32 <= len(part) <= 96 for part in parts)


def taken(weights: Tensor, model: Decoder, trees: Any) -> tuple[Tensor, Tensor]:
    """Losses (models,) and the gradient of their sum."""
    losses = model.losses(trees)
    return losses.detach(), torch.autograd.grad(losses.sum(), weights)[0]


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_padded_trees_of_several_models_are_the_exact_ones(
    loss: str, small: Mixture, make_model: Callable[..., Model]
) -> None:
    """Other lines and other weights for each model; room to spare in every size."""
    models = [make_model("base", seed=seed) for seed in (1, 2, 3)]
    config = models[0][0]
    mixtures = [some(small, seed, count) for seed, count in ((1, 30), (2, 1), (3, 17))]
    trees = [pack(mixture.tokens, mixture.lengths, loss) for mixture in mixtures]
    spare = (3, 2, 77, 5, 13, 1)
    most = np.max([tuple(asdict(Sizes.of(tree)).values()) for tree in trees], axis=0) + spare
    sizes = Sizes(*most.tolist())
    arrays = [padded(tree, sizes) for tree in trees]
    stacked = {name: torch.from_numpy(np.stack([each[name] for each in arrays])) for name in arrays[0]}
    weights = torch.from_numpy(np.stack([own for _, own in models])).requires_grad_()
    losses, gradients = taken(weights, Decoder(config, weights), assembled(stacked, sizes, config.vocab_size))
    for index, (tree, (_, own)) in enumerate(zip(trees, models, strict=True)):
        alone = torch.from_numpy(own)[None].requires_grad_()
        wanted, gradient = taken(alone, Decoder(config, alone), tensors_of(tree, config.vocab_size))
        assert float(losses[index]) == pytest.approx(float(wanted), rel=1e-6)
        assert (gradients[index] - gradient[0]).norm() <= 1e-6 * gradient.norm()


@pytest.mark.parametrize("loss", ["all", "answer"])
@pytest.mark.parametrize("wide_ids", [False, True])
def test_common_sizes_are_the_smallest_that_fit_every_batch(loss: str, wide_ids: bool, small: Mixture) -> None:
    """Over whole runs: of three epochs, the last batch of each too short, and of other lines."""
    mixture = Mixture(small.tokens.astype(np.uint16), small.lengths) if wide_ids else small
    runs = [run_of(mixture, epochs=3, loss=loss), run_of(some(mixture, 1, 100), epochs=2, loss=loss, batch_size=30)]
    sizes = common_sizes(runs)
    trees = [pack(run.mixture.tokens[rows], run.mixture.lengths[rows], loss) for run in runs for rows in run.rows()]
    assert len(trees) == 3 * 6 + 2 * 4
    exact = np.array([tuple(asdict(Sizes.of(tree)).values()) for tree in trees])
    lines, longest, nodes, queries, predictions, width = (
        np.array(tuple(asdict(sizes).values())) - exact.max(0)
    ).tolist()
    assert lines == longest == 0
    assert all(0 <= room < 64 for room in (nodes, queries, predictions)), "rounded up to tiles"
    assert width >= 0
    assert sizes.width <= int(mixture.prediction_counts(loss).max())


def test_chunks_hold_every_step_once(small: Mixture, make_model: Callable[..., Model]) -> None:
    """From where each run stands, to the end of the shorter one."""
    config, weights = make_model("narrow")
    runs = [run_of(small, epochs=7), replace(run_of(some(small, 1, 150), epochs=9), name="ftwb1-1")]
    trainings = [Training(config, weights, run, lambda step: None) for run in runs]
    trainings[0].step = 5
    sizes = common_sizes(runs)
    found = list(chunks(trainings, sizes))
    assert [len(chunk.tokens) for chunk in found] == [STEPS_AT_ONCE, STEPS_AT_ONCE, 36 - 2 * STEPS_AT_ONCE]
    trees, factors, tokens = (np.concatenate([getattr(c, n) for c in found]) for n in ("trees", "factors", "tokens"))
    assert trees.shape == (36, 2, width_of(sizes))
    for number, training in enumerate(trainings):
        first, mixture = training.step, training.run.mixture
        for at, rows in zip(range(36), training.rows(), strict=False):
            tree: Tree = pack(mixture.tokens[rows], mixture.lengths[rows], "answer")
            arrays = padded(tree, sizes).values()
            assert (trees[at, number] == np.concatenate([array.ravel() for array in arrays])).all()
            rate, first_factor, second_factor, scale = factors[at, number].tolist()
            assert rate == pytest.approx(training.rate(first + at))
            assert first_factor == pytest.approx(1 - 0.9 ** (first + at + 1))
            assert second_factor == pytest.approx(1 - 0.999 ** (first + at + 1))
            assert scale == pytest.approx(1 / len(tree.targets))
            assert tokens[at, number] == mixture.lengths[rows].sum(dtype=int)
