"""Greedy decoding against a naive one: no cache, one line at a time, the whole forward pass for every token.

pytest tests/test_decoding.py
"""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch

from worldwidth.data.corpus import POPULATIONS, Lines, StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.decoder import Decoder, PackedAttention
from worldwidth.model.generate import greedy_answers, true_answers

pytestmark = pytest.mark.usefixtures("one_thread")

PAD, EOS, EQUALS = 0, 3, 22
TOKENS = ("cities", "characters")
MakeDecoder = Callable[..., Decoder]
Corpora = dict[str, StoredCorpus]


def mixed_lines(corpora: Corpora, count: int) -> Lines:
    """``count`` test lines of every task and population in one table, shuffled: prompts of many lengths."""
    parts = [corpus.lines(population, "test").first(count) for corpus in corpora.values() for population in POPULATIONS]
    longest = max(part.tokens.shape[1] for part in parts)
    table = np.concatenate([np.pad(part.tokens, ((0, 0), (0, longest - part.tokens.shape[1]))) for part in parts])
    order = np.random.default_rng(0).permutation(len(table))
    return Lines(table[order], np.concatenate([part.lengths for part in parts])[order])


def naive_answer(model: Decoder, line: list[int], new: int) -> list[int]:
    """The continuation of one line, each token from a forward pass over all tokens before it."""
    ids = line[: line.index(EQUALS) + 1]
    answer: list[int] = []
    with torch.no_grad():
        while len(answer) < new and EOS not in answer:
            attention = PackedAttention(torch.tensor([len(ids)]))
            hidden = model(torch.tensor(ids), attention.positions, attention)
            answer.append(int(model.lm_head(hidden[-1]).argmax()))
            ids.append(answer[-1])
    return answer + [PAD] * (new - len(answer))


@pytest.mark.parametrize("tokens", TOKENS)
def test_a_trained_model_answers_as_the_naive_decoder(
    tokens: str, trained: dict[str, Decoder], smoke_corpora: dict[str, Corpora]
) -> None:
    lines = mixed_lines(smoke_corpora[tokens], 8)
    found = greedy_answers(trained[tokens], lines, 20, 32)
    assert found.shape == (7 * 2 * 8, 20)
    assert found.dtype == np.int64
    assert found.tolist() == [naive_answer(trained[tokens], line, 20) for line in lines.tokens.tolist()]
    assert len({tuple(row) for row in found.tolist()}) > 20
    assert len(set((found == EOS).argmax(axis=1).tolist())) >= 4, "the lines must end at different steps"


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("new", [1, 2, 7])
def test_lines_that_never_end_are_cut(
    new: int, tokens: str, make_decoder: MakeDecoder, smoke_corpora: dict[str, Corpora]
) -> None:
    """An untrained model leaves many lines without an end."""
    model, lines = make_decoder("wide", tokens), mixed_lines(smoke_corpora[tokens], 3)
    found = greedy_answers(model, lines, new, 32)
    assert found.tolist() == [naive_answer(model, line, new) for line in lines.tokens.tolist()]
    assert (found != EOS).all(axis=1).mean() > 0.3


def test_some_lines_end_and_others_never_do(
    make_decoder: MakeDecoder, trained: dict[str, Decoder], smoke_corpora: dict[str, Corpora]
) -> None:
    model, lines = copy.deepcopy(trained["cities"]), mixed_lines(smoke_corpora["cities"], 8)
    with torch.no_grad():
        model.lm_head.weight[EOS] *= 0.28
    found = greedy_answers(model, lines, 9, 1000)
    assert found.tolist() == [naive_answer(model, line, 9) for line in lines.tokens.tolist()]
    ended = (found == EOS).any(axis=1).mean()
    assert 0.1 < ended < 0.9


def test_a_line_may_end_at_once(make_decoder: MakeDecoder, smoke_corpora: dict[str, Corpora]) -> None:
    model, lines = make_decoder("narrow"), smoke_corpora["cities"]["distance"].lines("world", "test").first(6)
    for row in (0, 3):
        prompt = lines.tokens[row].tolist()
        prompt = prompt[: prompt.index(EQUALS) + 1]
        attention = PackedAttention(torch.tensor([len(prompt)]))
        with torch.no_grad():
            model.lm_head.weight[EOS] = 1e3 * model(torch.tensor(prompt), attention.positions, attention)[-1]
        found = greedy_answers(model, lines, 5, 64)
        assert found[row].tolist() == [EOS, PAD, PAD, PAD, PAD]
        assert found.tolist() == [naive_answer(model, line, 5) for line in lines.tokens.tolist()]


def test_all_lines_end_at_once(make_decoder: MakeDecoder, smoke_corpora: dict[str, Corpora]) -> None:
    model, lines = make_decoder("narrow"), mixed_lines(smoke_corpora["cities"], 2)
    with torch.no_grad():  # the same hidden state everywhere
        model.lm_head.weight.zero_()
        model.embed.weight.zero_()
        model.embed.weight[:, 0] = 1.0
        for layer in model.blocks:
            layer.o.weight.zero_()
            layer.down.weight.zero_()
        model.lm_head.weight[EOS, 0] = 1.0
    assert greedy_answers(model, lines, 4, 8).tolist() == [[EOS, PAD, PAD, PAD]] * len(lines)


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("batch_size", [1, 3, 32, 40])
def test_the_batch_size_does_not_change_answers(
    batch_size: int, tokens: str, trained: dict[str, Decoder], smoke_corpora: dict[str, Corpora]
) -> None:
    lines = mixed_lines(smoke_corpora[tokens], 6)
    everything = greedy_answers(trained[tokens], lines, 12, 100_000)
    assert (greedy_answers(trained[tokens], lines, 12, batch_size) == everything).all()


def test_neither_the_truth_nor_the_order_of_lines_changes_answers(
    trained: dict[str, Decoder], smoke_corpora: dict[str, Corpora]
) -> None:
    lines = mixed_lines(smoke_corpora["cities"], 4)
    wanted = greedy_answers(trained["cities"], lines, 12, 32)
    after = np.cumsum(lines.tokens == EQUALS, axis=1) - (lines.tokens == EQUALS) > 0
    hidden = Lines(np.where(after, 90, lines.tokens), lines.lengths)
    assert (greedy_answers(trained["cities"], hidden, 12, 32) == wanted).all(), "what follows '=' is not looked at"
    turned = Lines(lines.tokens[::-1], lines.lengths[::-1])
    assert (greedy_answers(trained["cities"], turned, 12, 32)[::-1] == wanted).all()


def test_decoding_leaves_the_weights_alone(make_decoder: MakeDecoder, smoke_corpora: dict[str, Corpora]) -> None:
    model = make_decoder("narrow")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    greedy_answers(model, mixed_lines(smoke_corpora["cities"], 1), 5, 8)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


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
