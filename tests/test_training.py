"""Schedule, optimisers and training loop, each against a plain reference.

pytest tests/test_training.py
"""

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, get_linear_schedule_with_warmup

from short_runs import CPU, EQUALS, SETTINGS, no_checkpoint, run_of
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.checkpoint import save_model
from worldwidth.model.decoder import Decoder
from worldwidth.settings.compute import parameter_count, vocabulary_size
from worldwidth.settings.schema import Optimization, Settings
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture, pretraining_mixture
from worldwidth.training.optimizer import build_optimizers, learning_rate, set_learning_rate
from worldwidth.training.run import CurvePoint, batch_loss, checkpoint_steps, validation_loss, write_curve

pytestmark = pytest.mark.usefixtures("one_thread")

MakeDecoder = Callable[..., Decoder]
Corpora = dict[str, StoredCorpus]


# schedule and optimisers


@pytest.mark.parametrize(("warmup", "steps"), [(50, 200), (0, 200), (1, 200), (199, 200), (2, 3)])
def test_the_published_schedule_is_that_of_transformers(warmup: int, steps: int) -> None:
    optimization = replace(SETTINGS, learning_rate=3e-4, warmup_steps=warmup, decay_fraction=1.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_linear_schedule_with_warmup(optimizer, warmup, steps)
    for step in range(steps):
        assert learning_rate(step, steps, optimization) == pytest.approx(
            schedule.get_last_lr()[0], rel=1e-12, abs=1e-20
        )
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_a_smaller_fraction_is_warmup_stable_decay(fraction: float) -> None:
    optimization = replace(SETTINGS, learning_rate=2.0, warmup_steps=20, decay_fraction=fraction)
    rates = np.array([learning_rate(step, 220, optimization) for step in range(221)])
    decay = round(200 * fraction)
    np.testing.assert_allclose(rates[:20], 2.0 * np.arange(20) / 20)
    np.testing.assert_allclose(rates[20 : 221 - decay], 2.0)
    np.testing.assert_allclose(rates[220 - decay :], 2.0 * np.arange(decay, -1, -1) / decay, atol=1e-12)


def grouped(model: Decoder, optimization: Optimization) -> dict[str, tuple[str, float]]:
    """Weight -> (class of its optimiser, its weight decay); every weight stands in one group."""
    name_of = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, tuple[str, float]] = {}
    for optimizer in build_optimizers(model, optimization):
        for group in optimizer.param_groups:
            assert group["lr"] == optimization.learning_rate
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
    loss: str, small: Mixture, make_decoder: MakeDecoder, smoke_vocabularies: dict[str, Vocabulary], tmp_path: Path
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


def test_the_curve(small: Mixture, make_decoder: MakeDecoder, smoke: dict[str, Settings]) -> None:
    """12 steps: a row every 5, at the checkpoints, and at the end; the losses are those of a run without."""
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
