"""Greedy decoding against a naive one: transformers' model, one line at a time, the whole forward pass every token.

pytest tests/test_decoding.py
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from plain_path import twin_of
from short_runs import Model
from worldwidth.data.corpus import POPULATIONS, Lines, StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.decoding import torch_decoder
from worldwidth.model.generate import greedy_answers, true_answers
from worldwidth.model.layout import views
from worldwidth.model.packing import Ints, Tree

pytestmark = pytest.mark.usefixtures("one_thread")

PAD, EOS, EQUALS = 0, 3, 22
TOKENS = ("cities", "characters")
MakeModel = Callable[..., Model]
Ids = NDArray[np.int64]
Corpora = dict[str, StoredCorpus]


def mixed_lines(corpora: Corpora, count: int) -> Lines:
    """``count`` test lines of every task and population in one table, shuffled: prompts of many lengths."""
    parts = [corpus.lines(population, "test").first(count) for corpus in corpora.values() for population in POPULATIONS]
    longest = max(part.tokens.shape[1] for part in parts)
    table = np.concatenate([np.pad(part.tokens, ((0, 0), (0, longest - part.tokens.shape[1]))) for part in parts])
    order = np.random.default_rng(0).permutation(len(table))
    return Lines(table[order], np.concatenate([part.lengths for part in parts])[order])


def answers(model: Model, lines: Lines, new: int, batch_size: int) -> Ids:
    return greedy_answers(torch_decoder(*model, "cpu", 1), lines, new, batch_size)


@torch.no_grad()
def naive_answers(model: Model, lines: Lines, new: int) -> list[list[int]]:
    """The continuation of every line, each token from a forward pass over all tokens before it."""
    twin: Any = twin_of(*model)
    found: list[list[int]] = []
    for line in lines.tokens.tolist():
        ids, answer = line[: line.index(EQUALS) + 1], list[int]()
        while len(answer) < new and EOS not in answer:
            answer.append(int(twin(input_ids=torch.tensor([ids + answer])).logits[0, -1].argmax()))
        found.append(answer + [PAD] * (new - len(answer)))
    return found


@pytest.mark.parametrize("tokens", TOKENS)
def test_a_trained_model_answers_as_the_naive_decoder(
    tokens: str, trained: dict[str, Model], smoke_corpora: dict[str, Corpora]
) -> None:
    lines = mixed_lines(smoke_corpora[tokens], 8)
    found = answers(trained[tokens], lines, 20, 32)
    assert found.shape == (7 * 2 * 8, 20)
    assert found.dtype == np.int64
    assert found.tolist() == naive_answers(trained[tokens], lines, 20)
    assert len({tuple(row) for row in found.tolist()}) > 20
    assert len(set((found == EOS).argmax(axis=1).tolist())) >= 4, "the lines must end at different steps"


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("new", [1, 2, 7])
def test_lines_that_never_end_are_cut(
    new: int, tokens: str, make_model: MakeModel, smoke_corpora: dict[str, Corpora]
) -> None:
    """An untrained model leaves many lines without an end."""
    model, lines = make_model("wide", tokens), mixed_lines(smoke_corpora[tokens], 3)
    found = answers(model, lines, new, 32)
    assert found.tolist() == naive_answers(model, lines, new)
    assert (found != EOS).all(axis=1).mean() > 0.3


def changed(model: Model, **factors: float) -> Model:
    """A copy, and in it ``factors`` times the weights of these names."""
    config, weights = model[0], model[1].copy()
    for name, factor in factors.items():
        views(weights, config)[name][:] *= factor
    return config, weights


def test_some_lines_end_and_others_never_do(trained: dict[str, Model], smoke_corpora: dict[str, Corpora]) -> None:
    model, lines = changed(trained["cities"]), mixed_lines(smoke_corpora["cities"], 8)
    views(model[1], model[0])["lm_head"][EOS] *= 0.2
    found = answers(model, lines, 9, 1000)
    assert found.tolist() == naive_answers(model, lines, 9)
    assert 0.1 < (found == EOS).any(axis=1).mean() < 0.9


def test_all_lines_end_at_once(make_model: MakeModel, smoke_corpora: dict[str, Corpora]) -> None:
    model, lines = (
        changed(make_model("narrow"), lm_head=0, embed=0, o=0, down=0),
        mixed_lines(smoke_corpora["cities"], 2),
    )
    named = views(model[1], model[0])
    named["embed"][:, 0] = named["lm_head"][EOS, 0] = 1.0  # the same hidden state everywhere
    assert answers(model, lines, 4, 8).tolist() == [[EOS, PAD, PAD, PAD]] * len(lines)


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("batch_size", [1, 3, 32, 40])
def test_the_batch_size_does_not_change_answers(
    batch_size: int, tokens: str, trained: dict[str, Model], smoke_corpora: dict[str, Corpora]
) -> None:
    lines = mixed_lines(smoke_corpora[tokens], 6)
    everything = answers(trained[tokens], lines, 12, 100_000)
    assert (answers(trained[tokens], lines, 12, batch_size) == everything).all()


def test_neither_the_truth_nor_the_order_of_lines_changes_answers(
    trained: dict[str, Model], smoke_corpora: dict[str, Corpora]
) -> None:
    lines = mixed_lines(smoke_corpora["cities"], 4)
    wanted = answers(trained["cities"], lines, 12, 32)
    after = np.cumsum(lines.tokens == EQUALS, axis=1) - (lines.tokens == EQUALS) > 0
    hidden = Lines(np.where(after, 90, lines.tokens), lines.lengths)
    assert (answers(trained["cities"], hidden, 12, 32) == wanted).all(), "what follows '=' is not looked at"
    turned = Lines(lines.tokens[::-1], lines.lengths[::-1])
    assert (answers(trained["cities"], turned, 12, 32)[::-1] == wanted).all()


def test_equal_prompts_are_decoded_once(make_model: MakeModel, smoke_corpora: dict[str, Corpora]) -> None:
    """And in batches of different prompts; the weights stay as they are."""
    config, weights = make_model("narrow")
    lines = mixed_lines(smoke_corpora["cities"], 1)
    twice = Lines(np.concatenate([lines.tokens] * 2), np.concatenate([lines.lengths] * 2))
    decode, prompts, before = torch_decoder(config, weights, "cpu", 1), list[int](), weights.copy()

    def counting(tree: Tree, width: int) -> Ints:
        prompts.append(len(tree.lengths))
        return decode(tree, width)

    found = greedy_answers(counting, twice, 5, 4)
    assert prompts == [4, 4, 4, 2]
    np.testing.assert_array_equal(found[:14], found[14:])
    np.testing.assert_array_equal(found[:14], answers((config, weights), lines, 5, 100))
    np.testing.assert_array_equal(weights, before)


@pytest.mark.parametrize("tokens", TOKENS)
def test_true_answers_are_what_follows_the_equals_sign(
    tokens: str, smoke_corpora: dict[str, Corpora], smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    for corpus in smoke_corpora[tokens].values():
        lines = corpus.lines("world", "test")
        found = true_answers(lines, 20)
        assert found.dtype == np.int64
        assert found.shape == (40, 20)
        for row, length, answer in zip(lines.tokens.tolist(), lines.lengths.tolist(), found.tolist(), strict=True):
            wanted = row[row.index(EQUALS) + 1 : length]
            assert wanted[-1] == EOS
            assert answer == wanted + [PAD] * (20 - len(wanted))
            text = smoke_vocabularies[tokens].decode(row)
            assert text.endswith("=" + smoke_vocabularies[tokens].decode(answer))


def test_true_answers_may_be_narrower_than_the_lines(smoke_corpora: dict[str, Corpora]) -> None:
    lines = mixed_lines(smoke_corpora["characters"], 2)
    assert (true_answers(lines, 30)[:, :6] == true_answers(lines, 6)).all()
