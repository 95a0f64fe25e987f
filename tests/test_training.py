"""Mixtures, batches, optimisers, schedule and training loop, each against a plain reference; what is published.

pytest tests/test_training.py
"""

import csv
import importlib.util
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

import worldwidth.training
from worldwidth import publish, world
from worldwidth.checkpoints import load_model, save_model
from worldwidth.compute import parameter_count, training_lines, training_steps, vocabulary_size
from worldwidth.corpus import StoredCorpus
from worldwidth.matrix import Matrix, Optimization
from worldwidth.mixture import Batch, Mixture, finetuning_mixture, pretraining_mixture, validation_mixture
from worldwidth.model import Decoder
from worldwidth.optimizers import build_optimizers, learning_rate, set_learning_rate
from worldwidth.tokens import Vocabulary
from worldwidth.training import (
    CurvePoint,
    DivergedError,
    Run,
    batch_loss,
    checkpoint_steps,
    train,
    validation_loss,
    write_curve,
)
from worldwidth.world import City

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
PAD, EQUALS = 0, 22
ARCHS = ("narrow", "base", "wide", "wider")
MakeDecoder = Callable[..., Decoder]
Corpora = dict[str, StoredCorpus]

SETTINGS = Optimization(
    optimizer="adamw",
    learning_rate=5e-3,
    betas=(0.9, 0.999),
    epsilon=1e-8,
    weight_decay=0.01,
    max_grad_norm=1.0,
    warmup_steps=2,
    decay_fraction=1.0,
    batch_size=40,
    loss="answer",
    checkpoints=0,
    log_every=1,
)


@pytest.fixture(scope="module")
def corpora(smoke_corpora: dict[str, Corpora]) -> Corpora:
    return smoke_corpora["cities"]


@pytest.fixture(scope="module")
def small(corpora: Corpora) -> Mixture:
    """210 lines of three tasks, of many lengths."""
    mixture = pretraining_mixture({task: corpora[task] for task in ("distance", "inside", "perimeter")})
    rows = np.random.default_rng(0).permutation(len(mixture))[:210]
    return Mixture(mixture.tokens[rows], mixture.lengths[rows])


def run_of(mixture: Mixture, validation: Mixture | None = None, epochs: int = 1, **changes: Any) -> Run:
    return Run(
        name="base",
        mixture=mixture,
        validation=validation or Mixture(mixture.tokens[:30], mixture.lengths[:30]),
        settings=replace(SETTINGS, **changes),
        epochs=epochs,
        seed=42,
        device=CPU,
    )


def no_checkpoint(step: int) -> None:
    """Nothing is saved."""


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
        assert len(mixture) == 7 * 400
        assert (mixture.tokens != PAD).sum() == mixture.lengths.sum(), "behind a line there is only <pad>"


@pytest.mark.parametrize("trained", [("distance",), ("crossing", "inside"), ("angle", "compass")])
def test_finetuning_takes_both_populations_and_a_few_lines_of_every_task(
    trained: tuple[str, ...], corpora: Corpora, smoke: dict[str, Matrix]
) -> None:
    settings = replace(smoke["cities"].selected.finetuning, world_lines=40, atlantis_lines=150, warmup_lines=8)
    mixture = finetuning_mixture(corpora, trained, settings)
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


def test_a_mixture_may_be_zero_shot_and_without_ordinary_lines(corpora: Corpora, smoke: dict[str, Matrix]) -> None:
    settings = replace(smoke["cities"].selected.finetuning, world_lines=0, atlantis_lines=150, warmup_lines=0)
    mixture = finetuning_mixture(corpora, ("angle",), settings)
    lines = corpora["angle"].lines("atlantis", "train")
    assert texts(mixture.tokens, mixture.lengths) == texts(lines.tokens, lines.lengths)[:150]


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
def test_lines_and_steps_are_those_the_plan_counts(arch: str, corpora: Corpora, smoke: dict[str, Matrix]) -> None:
    matrix = replace(smoke["cities"], arch=arch)
    scale = matrix.selected
    assert len(matrix.models) == 14
    for name in matrix.models:
        base = name == "base"
        trained = matrix.tasks if base else matrix.finetunes[name]
        mixture = pretraining_mixture(corpora) if base else finetuning_mixture(corpora, trained, scale.finetuning)
        run = Run(
            name=name,
            mixture=mixture,
            validation=mixture,
            settings=scale.pretraining if base else scale.finetuning,
            epochs=matrix.selected_arch.epochs if base else scale.finetuning.epochs,
            seed=matrix.seed,
            device=CPU,
        )
        assert len(mixture) == training_lines(matrix, name)
        assert run.steps == training_steps(matrix, name)
        per_epoch = len(list(mixture.epoch(1, name, 0, run.settings.batch_size)))
        assert run.steps == run.epochs * per_epoch


# batches


def naive_batch(mixture: Mixture, rows: NDArray[Any], loss: str) -> tuple[list[int], list[int], list[int], list[int]]:
    """ids, lengths, sources, targets, a line and a token at a time."""
    ids: list[int] = []
    lengths: list[int] = []
    sources: list[int] = []
    targets: list[int] = []
    for row in rows:
        line = [int(token) for token in mixture.tokens[row] if token != PAD]
        first = line.index(EQUALS) if loss == "answer" else 0
        for position in range(first, len(line) - 1):
            sources.append(len(ids) + position)
            targets.append(line[position + 1])
        ids += line
        lengths.append(len(line))
    return ids, lengths, sources, targets


@pytest.mark.parametrize("loss", ["all", "answer"])
@pytest.mark.parametrize("tokens", ["cities", "characters"])
def test_a_batch_is_what_a_loop_over_lines_packs(
    tokens: str, loss: str, smoke_corpora: dict[str, Corpora], smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    mixture = pretraining_mixture(smoke_corpora[tokens])
    generator = np.random.default_rng(1)
    for size in (1, 2, 100):
        rows = generator.permutation(len(mixture))[:size]
        batch = mixture.batch(rows, loss, CPU)
        found = tuple(tensor.tolist() for tensor in (batch.ids, batch.lengths, batch.sources, batch.targets))
        assert found == naive_batch(mixture, rows, loss)
        assert {tensor.dtype for tensor in (batch.ids, batch.lengths, batch.sources, batch.targets)} == {torch.int64}
    if loss == "answer":
        one = mixture.batch(rows[:1], loss, CPU)
        said = smoke_vocabularies[tokens].decode(one.ids.tolist()).split("=")[1]
        assert smoke_vocabularies[tokens].decode(one.targets.tolist()) == said
        assert one.targets[-1] == 3


@pytest.mark.parametrize("batch_size", [1, 40, 64, 210, 1000])
def test_an_epoch_takes_every_line_once(batch_size: int, small: Mixture) -> None:
    batches = list(small.epoch(42, "base", 0, batch_size))
    assert sorted(np.concatenate(batches).tolist()) == list(range(210))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= batch_size


def test_the_order_hangs_on_seed_name_and_epoch(small: Mixture) -> None:
    def order(seed: int, name: str, epoch: int, batch_size: int = 40) -> list[int]:
        return cast(list[int], np.concatenate(list(small.epoch(seed, name, epoch, batch_size))).tolist())

    assert order(42, "base", 0) == order(42, "base", 0) == order(42, "base", 0, batch_size=64)
    others = [(42, "base", 1), (43, "base", 0), (42, "ftwb1-1", 0), (42, "base", 11), (42, "base1", 1)]
    orders = [order(42, "base", 0)] + [order(*other) for other in others]
    assert len({tuple(found) for found in orders}) == len(orders)
    for found in orders:
        assert np.mean(np.array(found) == np.arange(210)) < 0.1, "lines of a task are spread"


# schedule and optimisers


@pytest.mark.parametrize(("warmup", "steps"), [(50, 200), (0, 200), (1, 200), (199, 200), (2, 3)])
def test_the_published_schedule_is_that_of_transformers(warmup: int, steps: int) -> None:
    settings = replace(SETTINGS, learning_rate=3e-4, warmup_steps=warmup, decay_fraction=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    for step in range(steps):
        assert learning_rate(step, steps, settings) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12, abs=1e-20)
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_smaller_fraction_is_warmup_stable_decay(fraction: float) -> None:
    settings = replace(SETTINGS, learning_rate=2.0, warmup_steps=20, decay_fraction=fraction)
    rates = np.array([learning_rate(step, 220, settings) for step in range(221)])
    decay = round(200 * fraction)
    np.testing.assert_allclose(rates[:20], 2.0 * np.arange(20) / 20)
    np.testing.assert_allclose(rates[20 : 221 - decay], 2.0)
    np.testing.assert_allclose(rates[220 - decay :], 2.0 * np.arange(decay, -1, -1) / decay, atol=1e-12)


def grouped(model: Decoder, settings: Optimization) -> dict[str, tuple[str, float]]:
    """Weight -> (class of its optimiser, its weight decay); every weight stands in one group."""
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, tuple[str, float]] = {}
    for optimizer in build_optimizers(model, settings):
        for group in optimizer.param_groups:
            assert group["lr"] == settings.learning_rate
            for parameter in group["params"]:
                assert name_of[id(parameter)] not in found
                found[name_of[id(parameter)]] = (type(optimizer).__name__, group["weight_decay"])
    assert set(found) == set(name_of.values())
    return found


def test_adamw_takes_all_and_decays_only_matrices(make_decoder: MakeDecoder) -> None:
    model = make_decoder("narrow")
    sizes = {name: parameter.ndim for name, parameter in model.named_parameters()}
    found = grouped(model, replace(SETTINGS, weight_decay=0.3))
    assert found == {name: ("AdamW", 0.3 if ndim == 2 else 0.0) for name, ndim in sizes.items()}
    (optimizer,) = build_optimizers(model, replace(SETTINGS, betas=(0.8, 0.95), epsilon=1e-6))
    assert all((group["betas"], group["eps"]) == ((0.8, 0.95), 1e-6) for group in optimizer.param_groups)


def test_muon_takes_the_matrices_of_the_layers_only(make_decoder: MakeDecoder) -> None:
    model = make_decoder("narrow")
    found = grouped(model, replace(SETTINGS, optimizer="muon", weight_decay=0.3))
    matrices = {f"layers.{i}.{part}.weight" for i in range(2) for part in ("qkv", "o", "gate_up", "down")}
    assert {name for name, (kind, _) in found.items() if kind == "Muon"} == matrices
    assert all(found[name] == ("Muon", 0.3) for name in matrices)
    assert found["embed.weight"] == found["lm_head.weight"] == ("AdamW", 0.3)
    rest = set(found) - matrices - {"embed.weight", "lm_head.weight"}
    assert all(found[name] == ("AdamW", 0.0) for name in rest)
    optimizers = build_optimizers(model, replace(SETTINGS, optimizer="muon"))
    set_learning_rate(optimizers, 0.125)
    assert {group["lr"] for optimizer in optimizers for group in optimizer.param_groups} == {0.125}


# the loop


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_the_first_steps_are_those_of_a_plain_loop_with_transformers(
    loss: str,
    small: Mixture,
    make_decoder: MakeDecoder,
    smoke_vocabularies: dict[str, Vocabulary],
    tmp_path: Path,
) -> None:
    model = make_decoder("base")
    save_model(model, tmp_path, smoke_vocabularies["cities"].save)
    twin = AutoModelForCausalLM.from_pretrained(tmp_path).train()
    run = run_of(small, epochs=2, loss=loss, max_grad_norm=0.5, weight_decay=0.1)
    assert run.steps == 12
    found = [point.loss for point in train(model, run, no_checkpoint)]

    decayed = [parameter for parameter in twin.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in twin.parameters() if parameter.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=5e-3, betas=(0.9, 0.999), eps=1e-8)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, 12)
    wanted: list[float] = []
    norms: list[float] = []
    for epoch in range(2):
        for rows in small.epoch(42, "base", epoch, 40):
            lengths = torch.from_numpy(small.lengths[rows].astype(np.int64))
            ids = torch.from_numpy(small.tokens[rows, : int(lengths.max())].astype(np.int64))
            mask = torch.arange(ids.shape[1]) < lengths[:, None]
            counted = mask & ((ids == EQUALS).cumsum(dim=1) - (ids == EQUALS).long() > 0) if loss == "answer" else mask
            out = twin(input_ids=ids, attention_mask=mask.long(), labels=ids.masked_fill(~counted, -100))
            wanted.append(out.loss.item())
            optimizer.zero_grad()
            out.loss.backward()
            norms.append(torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.5).item())
            optimizer.step()
            schedule.step()
    assert sum(norm > 0.5 for norm in norms) >= 3, "the clip must matter"
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert wanted[-1] < wanted[0] - 0.1
    ours, theirs = model.embed.weight.detach(), twin.get_input_embeddings().weight.detach()
    assert (ours - theirs).abs().max() < 1e-3


GOLDEN = {  # loss of every step; computed once, to be changed only with the mathematics of training
    ("adamw", "answer"): [5.43445, 5.453187, 5.246827, 5.022955, 4.826982, 4.732444],
    ("adamw", "all"): [5.28917, 5.297008, 5.14711, 4.985324, 4.901446, 4.790303],
    ("muon", "answer"): [5.43445, 5.453187, 5.346022, 5.190295, 5.045071, 4.948002],
}


@pytest.mark.parametrize(("optimizer", "loss"), list(GOLDEN))
def test_the_golden_losses(optimizer: str, loss: str, small: Mixture, make_decoder: MakeDecoder) -> None:
    curve = train(make_decoder("base", seed=42), run_of(small, epochs=1, optimizer=optimizer, loss=loss), no_checkpoint)
    np.testing.assert_allclose([point.loss for point in curve], GOLDEN[optimizer, loss], atol=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_tiny_mixture_is_learned_by_heart(optimizer: str, small: Mixture, make_decoder: MakeDecoder) -> None:
    few = Mixture(small.tokens[:20], small.lengths[:20])
    model, run = make_decoder("wide"), run_of(few, epochs=80, optimizer=optimizer, learning_rate=1e-2, log_every=80)
    before = validation_loss(model, run_of(few, validation=few))
    curve = train(model, run, no_checkpoint)
    after = validation_loss(model, run_of(few, validation=few))
    assert len(curve) == 1
    assert after < 0.1 * before
    assert curve[-1].validation_loss == pytest.approx(after, abs=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_twice_gives_the_same_bits(optimizer: str, small: Mixture, make_decoder: MakeDecoder) -> None:
    results: list[tuple[list[CurvePoint], dict[str, Tensor]]] = []
    for attempt in range(2):
        torch.manual_seed(attempt)
        model = make_decoder("base")
        curve = train(model, run_of(small, epochs=2, optimizer=optimizer, checkpoints=2), no_checkpoint)
        results.append((curve, model.state_dict()))
    (first, weights), (again, same) = results
    assert first == again
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert len({point.loss for point in first}) == len(first)


def test_another_seed_or_name_trains_another_model(small: Mixture, make_decoder: MakeDecoder) -> None:
    run = run_of(small)
    losses = [train(make_decoder("base"), r, no_checkpoint)[-1].loss for r in (run, replace(run, seed=1))]
    losses.append(train(make_decoder("base"), replace(run, name="ftwb1-1"), no_checkpoint)[-1].loss)
    assert len(set(losses)) == 3


def test_checkpoints_do_not_change_the_run(small: Mixture, make_decoder: MakeDecoder) -> None:
    plain = train(make_decoder("base"), run_of(small, epochs=2), no_checkpoint)
    busy = train(make_decoder("base"), run_of(small, epochs=2, checkpoints=8), no_checkpoint)
    assert [point.loss for point in plain] == [point.loss for point in busy]


def test_the_curve(small: Mixture, make_decoder: MakeDecoder, smoke: dict[str, Matrix]) -> None:
    """12 steps: a row every 5, at the checkpoints, and at the end."""
    saved: list[int] = []
    model = make_decoder("base")
    curve = train(model, run_of(small, epochs=2, log_every=5, checkpoints=3), saved.append)
    marks = checkpoint_steps(12, 3)
    assert saved == [0, *sorted(marks)]
    assert [point.step for point in curve] == sorted({5, 10, 12} | marks)
    every = train(make_decoder("base"), run_of(small, epochs=2), no_checkpoint)
    assert [point.step for point in every] == list(range(1, 13))
    scale = smoke["cities"].selected
    parameters = parameter_count(scale.model, scale.archs["base"], vocabulary_size(scale))
    seen = np.cumsum([small.lengths[rows].sum(dtype=int) for e in (0, 1) for rows in small.epoch(42, "base", e, 40)])
    before = 0
    for point in curve:
        assert point.tokens == seen[point.step - 1]
        assert point.flops == 6 * parameters * point.tokens
        assert point.loss == pytest.approx(np.mean([p.loss for p in every[before : point.step]]), abs=1e-6)
        assert point.learning_rate == learning_rate(point.step - 1, 12, SETTINGS)
        assert (point.validation_loss is not None) == (point.step in marks or point.step == 12)
        before = point.step
    assert curve[-1].tokens == 2 * small.lengths.sum(dtype=int)
    assert curve[-1].validation_loss == pytest.approx(validation_loss(model, run_of(small)), abs=1e-6)


def test_what_a_checkpoint_holds(small: Mixture, make_decoder: MakeDecoder) -> None:
    """The weights after as many steps as its name says: those with which the next loss is computed."""
    model = make_decoder("base")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    kept: dict[int, dict[str, Tensor]] = {}

    def keep(step: int) -> None:
        kept[step] = {name: value.clone() for name, value in model.state_dict().items()}

    curve = train(model, run_of(small, epochs=2, checkpoints=4, warmup_steps=0), keep)
    assert all(torch.equal(kept[0][name], start[name]) for name in start)
    batches = [rows for epoch in (0, 1) for rows in small.epoch(42, "base", epoch, 40)]
    other = make_decoder("base")
    assert len(kept) >= 4
    for step, weights in kept.items():
        other.load_state_dict(weights)
        with torch.no_grad():
            next_loss = float(batch_loss(other, small.batch(batches[step], "answer", CPU)))
        assert next_loss == pytest.approx(curve[step].loss, abs=1e-6)


def test_the_curve_as_csv(small: Mixture, make_decoder: MakeDecoder, tmp_path: Path) -> None:
    curve = train(make_decoder("narrow"), run_of(small, log_every=2), no_checkpoint)
    write_curve(curve, tmp_path / "results" / "base.csv")
    text = (tmp_path / "results" / "base.csv").read_bytes().decode()
    assert text.splitlines()[0] == "step,tokens,flops,loss,learning_rate,validation_loss"
    assert text.endswith("\n")
    assert "\r" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(curve) == 3
    for row, point in zip(rows, curve, strict=True):
        assert (int(row["step"]), int(row["tokens"]), int(row["flops"])) == (point.step, point.tokens, point.flops)
        assert (float(row["loss"]), float(row["learning_rate"])) == (point.loss, point.learning_rate)
        assert row["validation_loss"] == ("" if point.validation_loss is None else repr(point.validation_loss))
    assert rows[0]["validation_loss"] == ""
    assert rows[-1]["validation_loss"] != ""


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_the_validation_loss_is_the_mean_over_all_counted_tokens(
    loss: str, corpora: Corpora, make_decoder: MakeDecoder
) -> None:
    """More lines than go through the model at once; the last part is small."""
    mixture, model = pretraining_mixture(corpora), make_decoder("narrow")
    by_length = np.argsort(mixture.lengths, kind="stable")
    rows = np.concatenate([by_length[:600], by_length[-500:]])
    some = Mixture(mixture.tokens[rows], mixture.lengths[rows])
    assert len(some) == 1100
    sums: list[float] = []
    count = 0
    for row in range(len(some)):
        batch = some.batch(np.array([row]), loss, CPU)
        with torch.no_grad():
            sums.append(batch_loss(model, batch).item() * len(batch.targets))
        count += len(batch.targets)
    assert validation_loss(model, run_of(some, validation=some, loss=loss)) == pytest.approx(
        sum(sums) / count, rel=1e-5
    )


def test_the_validation_loss_of_a_model_that_knows_nothing(small: Mixture, make_decoder: MakeDecoder) -> None:
    model = make_decoder("narrow")
    with torch.no_grad():
        model.lm_head.weight.zero_()
    assert validation_loss(model, run_of(small, loss="all")) == pytest.approx(math.log(178), rel=1e-6)


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


# what is published


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder to stand in, with the scratch folder elsewhere, as in a DVC run."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "root"))
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


MODEL_FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_a_finished_run_leaves_model_checkpoints_curve_and_timing(
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    model = make_decoder("narrow")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    run = run_of(small, checkpoints=2)
    publish.train_and_publish(model, run, smoke_vocabularies["cities"].save)
    steps = [0, *sorted(checkpoint_steps(6, 2))]
    folders = ["models/base", *(f"models/base/steps/{step}" for step in steps)]
    wanted = [f"{folder}/{name}" for folder in folders for name in MODEL_FILES]
    assert files(Path()) == sorted([*wanted, "results/training/base.csv", "timings/base.json"])
    final = load_model(Path("models/base"), "").state_dict()
    assert all(torch.equal(final[name], value) for name, value in model.state_dict().items())
    first = load_model(Path("models/base/steps/0"), "").state_dict()
    assert all(torch.equal(first[name], value) for name, value in start.items())
    timing = json.loads(Path("timings/base.json").read_text())
    assert timing["tokens"] == small.lengths.sum(dtype=int)
    assert timing["device"] == "cpu"
    assert not (workspace / "root").exists()


def test_a_second_run_replaces_the_first(
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    save = smoke_vocabularies["cities"].save
    publish.train_and_publish(make_decoder("narrow"), run_of(small, checkpoints=4), save)
    publish.train_and_publish(make_decoder("base"), run_of(small), save)
    assert load_model(Path("models/base"), "").config.hidden_size == 16
    assert [path.name for path in Path("models/base/steps").iterdir()] == ["0"]
    assert [path.name for path in Path("models").iterdir()] == ["base"]


def failing_at(step: int, value: float) -> Callable[[Decoder, Batch], Tensor]:
    """A batch loss that is ``value`` at training step ``step``."""
    calls = 0

    def loss(model: Decoder, batch: Batch) -> Tensor:
        nonlocal calls
        if torch.is_grad_enabled():
            calls += 1
        found = batch_loss(model, batch)
        return found * value if calls == step else found

    return loss


@pytest.mark.parametrize(("value", "said"), [(math.nan, "nan"), (math.inf, "inf")])
@pytest.mark.parametrize("step", [1, 4, 5, 8, 11, 12])
def test_a_loss_that_is_no_number_stops_the_run(
    value: float,
    said: str,
    step: int,
    workspace: Path,
    small: Mixture,
    make_decoder: MakeDecoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worldwidth.training, "batch_loss", failing_at(step, value))
    run = replace(run_of(small, epochs=2, log_every=4, checkpoints=2), name="ftwb1-1")
    with pytest.raises(DivergedError) as caught:
        publish.train_and_publish(make_decoder("narrow"), run, lambda folder: None)
    message = str(caught.value)
    remains = workspace / "root" / ".dvc" / "tmp" / "worldwidth" / "diverged" / "ftwb1-1"
    assert message.startswith(f"ftwb1-1: the loss is {said} at step {step}; try a lower learning_rate")
    assert str(remains) in message
    assert "\n" not in message
    assert files(remains) == ["curve.csv", "weights.safetensors"]
    assert set(load_file(remains / "weights.safetensors")) == set(make_decoder("narrow").state_dict())
    rows = list(csv.DictReader((remains / "curve.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [point.step for point in caught.value.curve]
    assert all(int(row["step"]) < step and math.isfinite(float(row["loss"])) for row in rows)
    assert files(Path()) == []
    assert list(Path("models").iterdir()) == [], "neither the model's folder nor a temporary one"


def test_a_weight_that_is_no_number_stops_the_run(workspace: Path, small: Mixture, make_decoder: MakeDecoder) -> None:
    model = make_decoder("narrow")
    with torch.no_grad():
        model.norm[3] = math.nan
    with pytest.raises(DivergedError, match=r"base: the loss is nan at step 1;"):
        publish.train_and_publish(model, run_of(small), lambda folder: None)
    assert list(Path("models").iterdir()) == []


def test_an_update_that_ruins_the_last_step_stops_the_run(
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last loss is finite, but its gradient is not: the final weights are NaN, and must not be published."""

    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return grads[0] * math.nan

    calls = 0

    def loss(model: Decoder, batch: Batch) -> Tensor:
        nonlocal calls
        found = batch_loss(model, batch)
        if torch.is_grad_enabled():
            calls += 1
            if calls == 6:
                return cast(Tensor, Poison.apply(found))  # type: ignore[no-untyped-call]
        return found

    monkeypatch.setattr(worldwidth.training, "batch_loss", loss)
    with pytest.raises(DivergedError):
        publish.train_and_publish(make_decoder("narrow"), run_of(small), lambda folder: None)
    assert list(Path("models").iterdir()) == []


def test_a_failed_run_leaves_the_model_that_was_there(
    workspace: Path,
    small: Mixture,
    make_decoder: MakeDecoder,
    smoke_vocabularies: dict[str, Vocabulary],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish.train_and_publish(make_decoder("narrow"), run_of(small), smoke_vocabularies["cities"].save)
    before = {name: Path(name).read_bytes() for name in files(Path())}
    monkeypatch.setattr(worldwidth.training, "batch_loss", failing_at(3, math.nan))
    with pytest.raises(DivergedError):
        publish.train_and_publish(make_decoder("base"), run_of(small), smoke_vocabularies["cities"].save)
    assert {name: Path(name).read_bytes() for name in files(Path())} == before


def test_ctrl_c_leaves_nothing(
    workspace: Path, small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(model: Decoder, batch: Batch) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr(worldwidth.training, "batch_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish.train_and_publish(make_decoder("narrow"), run_of(small), lambda folder: None)
    assert list(Path("models").iterdir()) == []


def stage(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"stage_{name}", ROOT / "stages" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("tokens", ["cities", "characters"])
def test_the_stages_pretrain_and_finetune(
    tokens: str,
    workspace: Path,
    smoke: dict[str, Matrix],
    smoke_cities: list[City],
    smoke_folders: dict[str, Path],
    smoke_corpora: dict[str, Corpora],
) -> None:
    world.save(smoke_cities)
    Path("data/corpora").symlink_to(smoke_folders[tokens])
    matrix = smoke[tokens]
    scale = matrix.selected
    hardware = replace(scale.hardware, device="cpu", threads=1)
    arch = replace(scale.archs["narrow"], epochs=1)
    scale = replace(scale, hardware=hardware, archs={**scale.archs, "narrow": arch})
    matrix = replace(matrix, scales={**matrix.scales, "smoke": scale})
    stage("pretrain").main(matrix)
    stage("finetune").main(matrix, "ftwb2-12")
    for name, first in (("base", None), ("ftwb2-12", "models/base")):
        rows = list(csv.DictReader(Path(f"results/training/{name}.csv").read_text().splitlines()))
        assert int(rows[-1]["step"]) == training_steps(matrix, name)
        if first:  # fine-tuning starts from the pre-trained weights
            start, wanted = load_model(Path(f"models/{name}/steps/0"), ""), load_model(Path(first), "")
            assert all(torch.equal(value, wanted.state_dict()[key]) for key, value in start.state_dict().items())
        for file in MODEL_FILES[2:]:
            assert Path(f"models/{name}/{file}").read_bytes() == Path(f"models/base/{file}").read_bytes()
    initial = load_model(Path("models/base/steps/0"), "")
    assert float(initial.lm_head.weight.detach().std()) == pytest.approx(0.1, rel=0.1)
    assert initial.config.vocab_size == vocabulary_size(scale)
    before = {name: Path(name).read_bytes() for name in files(Path()) if name.startswith("models/base")}
    stage("pretrain").main(matrix)
    assert {name: Path(name).read_bytes() for name in before} == before, "the same matrix, the same bytes"
    stage("pretrain").main(replace(matrix, seed=43))
    assert Path("models/base/model.safetensors").read_bytes() != before["models/base/model.safetensors"]
