"""Mixtures and the order of their lines. Batches as trees: test_packing.py.

pytest tests/test_mixture.py
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import PAD
from worldwidth.model.packing import pack
from worldwidth.settings.compute import training_lines, training_steps
from worldwidth.settings.schema import Settings
from worldwidth.training.mixture import Mixture, finetuning_mixture, pretraining_mixture, validation_mixture

ARCHS = ("narrow", "base", "wide", "wider")
Corpora = dict[str, StoredCorpus]


def texts(tokens: NDArray[Any], lengths: NDArray[Any]) -> list[tuple[int, ...]]:
    """The lines without their padding."""
    rows: list[tuple[int, ...]] = [tuple(row[:n]) for row, n in zip(tokens.tolist(), lengths.tolist(), strict=True)]
    assert all(PAD not in row for row in rows)
    return rows


# mixtures


def test_pretraining_takes_every_ordinary_line(smoke_corpora: dict[str, Corpora]) -> None:
    for corpora in smoke_corpora.values():
        mixture = pretraining_mixture(corpora)
        wanted: Counter[tuple[int, ...]] = Counter()
        for corpus in corpora.values():
            lines = corpus.lines("world", "train")
            wanted.update(texts(lines.tokens, lines.lengths))
        assert Counter(texts(mixture.tokens, mixture.lengths)) == wanted
        assert texts(mixture.tokens, mixture.lengths) == sorted(wanted.elements()), "in lexicographic order"
        assert len(mixture) == 7 * 400
        assert (mixture.tokens != PAD).sum() == mixture.lengths.sum(), "behind a line there is only <pad>"


@pytest.mark.parametrize("trained", [("distance",), ("crossing", "inside"), ("angle", "compass")])
def test_finetuning_takes_both_populations_and_a_few_lines_of_every_task(
    trained: tuple[str, ...], corpora: Corpora, smoke: dict[str, Settings]
) -> None:
    finetuning = replace(smoke["cities"].selected.finetuning, world_lines=40, atlantis_lines=150, warmup_lines=8)
    mixture = finetuning_mixture(corpora, trained, finetuning)
    assert len(mixture) == len(trained) * (40 + 150) + 7 * 8
    wanted: Counter[tuple[int, ...]] = Counter()
    for task, corpus in corpora.items():
        ordinary, atlantis = (corpus.lines(population, "train") for population in ("world", "atlantis"))
        if task in trained:
            wanted.update(texts(ordinary.tokens, ordinary.lengths)[:40])
            wanted.update(texts(atlantis.tokens, atlantis.lengths)[:150])
        wanted.update(texts(atlantis.tokens, atlantis.lengths)[:8])
    assert Counter(texts(mixture.tokens, mixture.lengths)) == wanted
    assert (mixture.tokens != PAD).sum() == mixture.lengths.sum()


def test_a_mixture_may_be_zero_shot_and_without_ordinary_lines(corpora: Corpora, smoke: dict[str, Settings]) -> None:
    finetuning = replace(smoke["cities"].selected.finetuning, world_lines=0, atlantis_lines=150, warmup_lines=0)
    mixture = finetuning_mixture(corpora, ("angle",), finetuning)
    lines = corpora["angle"].lines("atlantis", "train")
    assert texts(mixture.tokens, mixture.lengths) == sorted(texts(lines.tokens, lines.lengths)[:150])


@pytest.mark.parametrize("population", ["world", "atlantis"])
def test_validation_takes_the_validation_lines_of_its_tasks(population: str, corpora: Corpora) -> None:
    mixture = validation_mixture(corpora, ("angle", "inside"), population)
    wanted: list[tuple[int, ...]] = []
    for task in ("angle", "inside"):
        lines = corpora[task].lines(population, "validation")
        wanted += texts(lines.tokens, lines.lengths)
    assert sorted(texts(mixture.tokens, mixture.lengths)) == sorted(wanted)
    assert len(mixture) == 2 * 16


@pytest.mark.parametrize("arch", ARCHS)
def test_lines_and_steps_are_those_the_plan_counts(arch: str, corpora: Corpora, smoke: dict[str, Settings]) -> None:
    settings = replace(smoke["cities"], arch=arch)
    assert set(settings.models) > {"base", "ftwb0-0", "ftwb1-1", "ftwb2-4"}
    for name in settings.models:
        base = name == "base"
        own = settings.finetuning if base else settings.finetuning_for(name)
        optimization = settings.pretraining if base else own
        trained = settings.tasks if base else settings.finetunes[name]
        mixture = pretraining_mixture(corpora) if base else finetuning_mixture(corpora, trained, own)
        assert len(mixture) == training_lines(settings, name)
        per_epoch = len(list(mixture.epoch(1, name, 0, optimization.batch_size)))
        epochs = settings.selected_arch.epochs if base else own.epochs
        if trained:
            assert training_steps(settings, name) == epochs * per_epoch
    assert training_steps(settings, "ftwb0-0") == training_steps(settings, "ftwb1-1") > 1


def test_the_control_trains_on_the_warmup_lines_alone(corpora: Corpora, smoke: dict[str, Settings]) -> None:
    mixture = finetuning_mixture(corpora, (), smoke["cities"].finetuning)
    wanted: list[tuple[int, ...]] = []
    for corpus in corpora.values():
        lines = corpus.lines("atlantis", "train").first(8)
        wanted += texts(lines.tokens, lines.lengths)
    assert texts(mixture.tokens, mixture.lengths) == sorted(wanted)
    assert len(wanted) == 7 * 8


# batches


@pytest.mark.parametrize("batch_size", [1, 40, 64, 210, 1000])
def test_an_epoch_takes_every_line_once(batch_size: int, small: Mixture) -> None:
    batches = list(small.epoch(42, "base", 0, batch_size))
    assert sorted(np.concatenate(batches).tolist()) == list(range(210))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= batch_size


def test_the_order_hangs_on_seed_name_and_epoch(small: Mixture) -> None:
    """And on nothing else: a batch of twice the size holds the lines of two."""

    def batches(seed: int, name: str, epoch: int, batch_size: int = 40) -> list[list[int]]:
        return [rows.tolist() for rows in small.epoch(seed, name, epoch, batch_size)]

    assert batches(42, "base", 0) == batches(42, "base", 0)
    halves = batches(42, "base", 0, batch_size=20)
    pairs = [[*halves[i], *halves[i + 1]] for i in range(0, len(halves) - 1, 2)]
    assert [sorted(pair) for pair in pairs] == batches(42, "base", 0)[:-1]
    others = [(42, "base", 1), (43, "base", 0), (42, "ftwb1-1", 0), (42, "base", 11), (42, "base1", 1)]
    orders = [batches(42, "base", 0)] + [batches(*other) for other in others]
    assert len({str(found) for found in orders}) == len(orders)
    for found in orders:
        assert all(rows == sorted(rows) for rows in found)
        assert np.mean(np.diff(found[0]) == 1) < 0.5, "neighbours are spread over batches"


def test_prediction_counts_are_those_of_the_trees(small: Mixture) -> None:
    for loss in ("all", "answer"):
        exact = [len(pack(small.tokens[[i]], small.lengths[[i]], loss).targets) for i in range(len(small))]
        assert small.prediction_counts(loss).tolist() == exact
