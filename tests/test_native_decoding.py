"""Native greedy answers against torch's, one prompt at a time: `pytest tests/test_native_decoding.py`."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from plain_decoder import a_config, answer, needs_native, some_lines, some_weights, tensors
from worldwidth.data.tokenizer import EOS, EQUALS, PAD
from worldwidth.model.layout import DecoderConfig, Weights, views
from worldwidth.model.packing import pack
from worldwidth.native.step import Workspace, decode

pytestmark = needs_native

WIDTH = 6


def a_model(hidden: int, heads: int, layers: int) -> tuple[DecoderConfig, Weights]:
    """One that often answers <eos>, so that lines end at different times."""
    config = a_config(hidden, 4 * hidden, heads, layers)
    weights = some_weights(config)
    views(weights, config)["lm_head"][EOS] *= 3
    return config, weights


def prompts(count: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Each ends in its '='; the last two are equal."""
    tokens, _ = some_lines(count, 4, 24)
    lengths = (tokens == EQUALS).argmax(axis=1).astype(np.int32) + 1
    tokens[np.arange(tokens.shape[1]) >= lengths[:, None]] = PAD
    order = np.lexsort(tokens.T[::-1])
    return tokens[order], lengths[order]


@pytest.mark.parametrize(("hidden", "heads", "layers"), [(8, 2, 2), (64, 8, 3), (64, 2, 1), (24, 2, 2)])
def test_answers_are_those_of_torch(hidden: int, heads: int, layers: int) -> None:
    config, weights = a_model(hidden, heads, layers)
    tokens, lengths = prompts(60)
    found = decode(Workspace(config), weights, pack(tokens, lengths, "next"), WIDTH)
    plain = tensors(weights, config, torch.float64)
    with torch.inference_mode():
        expected = [answer(config, plain, list(line[:n]), WIDTH) for line, n in zip(tokens, lengths, strict=True)]
    assert found.tolist() == expected
    ended = (found == EOS).any(axis=1)
    assert ended.any()
    assert not ended.all()


def test_a_line_does_not_depend_on_the_others() -> None:
    config, weights = a_model(32, 4, 2)
    tokens, lengths = prompts(40)
    workspace = Workspace(config)
    together = decode(workspace, weights, pack(tokens, lengths, "next"), WIDTH)
    for row in range(len(tokens)):
        alone = decode(workspace, weights, pack(tokens[row : row + 1], lengths[row : row + 1], "next"), WIDTH)
        assert (alone[0] == together[row]).all()


def test_an_answer_of_one_token() -> None:
    config, weights = a_model(8, 2, 2)
    tree = pack(*prompts(10), "next")
    workspace = Workspace(config)
    assert (decode(workspace, weights, tree, 1)[:, 0] == decode(workspace, weights, tree, WIDTH)[:, 0]).all()
