"""Several runs as one stacked model against each run alone; batches of one shape against exact ones.

pytest tests/test_stack.py
"""

import copy
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import worldwidth.training.loop
import worldwidth.training.run
from short_runs import CPU, no_checkpoint, run_of
from worldwidth.data.corpus import StoredCorpus
from worldwidth.model.decoder import Decoder
from worldwidth.model.packing import IGNORED, Batch, Sizes, exact_sizes, pack, prediction_counts
from worldwidth.model.stack import Stack
from worldwidth.training import step
from worldwidth.training.device_batches import ResidentLines, largest
from worldwidth.training.loop import train, train_together
from worldwidth.training.mixture import Mixture
from worldwidth.training.run import DivergedError, Run, Training, batch_loss

pytestmark = pytest.mark.usefixtures("one_thread")

MakeDecoder = Callable[..., Decoder]
Corpora = dict[str, StoredCorpus]


def some(mixture: Mixture, seed: int, count: int) -> Mixture:
    rows = np.random.default_rng(seed).permutation(len(mixture))[:count]
    return Mixture(mixture.tokens[rows], mixture.lengths[rows])


def three_runs(small: Mixture, **changes: Any) -> list[Run]:
    """Runs of other lines, orders, lengths (10, 5 and 12 steps) and so learning-rate schedules."""
    sets = [some(small, 1, 200), some(small, 2, 190), some(small, 3, 150)]
    epochs = [2, 1, 3]
    names = ["ftwb1-1", "ftwb1-2", "ftwb2-4"]
    parts = zip(names, sets, epochs, strict=True)
    return [replace(run_of(mixture, epochs=n, checkpoints=2, **changes), name=name) for name, mixture, n in parts]


def together(model: Decoder, runs: list[Run]) -> dict[str, Training]:
    trainings = [Training(copy.deepcopy(model), run, no_checkpoint) for run in runs]
    return {training.run.name: training for training in train_together(trainings)}


# several runs at once


@pytest.mark.parametrize("loss", ["all", "answer"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_stack_trains_each_run_as_alone(loss: str, optimizer: str, small: Mixture, make_decoder: MakeDecoder) -> None:
    runs, model = three_runs(small, loss=loss, optimizer=optimizer, max_grad_norm=0.5), make_decoder("base")
    assert [run.steps for run in runs] == [10, 5, 12]
    found = together(model, runs)
    assert list(found) == ["ftwb1-2", "ftwb1-1", "ftwb2-4"], "each is handed over when it has ended"
    for run in runs:
        alone = copy.deepcopy(model)
        curve = train(alone, run, no_checkpoint)
        mine = found[run.name]
        assert [(p.step, p.tokens, p.flops, p.learning_rate) for p in mine.curve] == [
            (p.step, p.tokens, p.flops, p.learning_rate) for p in curve
        ]
        np.testing.assert_allclose([p.loss for p in mine.curve], [p.loss for p in curve], rtol=2e-4)
        assert [p.validation_loss is None for p in mine.curve] == [p.validation_loss is None for p in curve]
        for name, weight in alone.state_dict().items():
            # Muon's orthogonalisation in bfloat16 enlarges differences in the last bits
            tolerance = 2e-5 if optimizer == "adamw" else 2e-3
            torch.testing.assert_close(mine.model.state_dict()[name], weight, rtol=0, atol=tolerance, msg=name)
        start = model.state_dict()
        moved = max(float((weight - start[name]).abs().max()) for name, weight in alone.state_dict().items())
        assert moved > 0.01, "the tolerance must be small against what training changes"


def test_a_checkpoint_in_a_stack_is_that_of_the_run_alone(small: Mixture, make_decoder: MakeDecoder) -> None:
    model = make_decoder("narrow")
    kept: dict[tuple[bool, str, int], Tensor] = {}

    def keeping(stacked: bool, run: Run) -> Training:
        mine = copy.deepcopy(model)

        def save(step: int) -> None:
            kept[stacked, run.name, step] = mine.lm_head.weight.detach().clone()

        return Training(mine, run, save)

    runs = three_runs(small)
    assert len(list(train_together([keeping(True, run) for run in runs]))) == 3
    for run in runs:
        assert len(list(train_together([keeping(False, run)]))) == 1
    alone = {key[1:]: weight for key, weight in kept.items() if not key[0]}
    assert len(alone) >= 3 * 2
    assert alone.keys() == {key[1:] for key in kept if key[0]}
    for key, weight in alone.items():
        torch.testing.assert_close(kept[True, *key], weight, rtol=0, atol=2e-5)


def test_a_run_that_diverges_leaves_the_stack_alone(
    small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, model = three_runs(small), make_decoder("narrow")
    sound = together(model, runs)
    ruined = replace(runs[0], mixture=Mixture(runs[0].mixture.tokens.copy(), runs[0].mixture.lengths))
    trainings = [Training(copy.deepcopy(model), run, no_checkpoint) for run in (ruined, *runs[1:])]
    with torch.no_grad():
        trainings[0].model.norm[3] = math.nan
    found = {training.run.name: training for training in train_together(trainings)}
    assert next(iter(found)) == "ftwb1-1"
    assert isinstance(found["ftwb1-1"].error, DivergedError)
    assert "ftwb1-1: the loss is nan at step 1;" in str(found["ftwb1-1"].error)
    for name in ("ftwb1-2", "ftwb2-4"):
        assert found[name].error is None
        np.testing.assert_allclose([p.loss for p in found[name].curve], [p.loss for p in sound[name].curve], rtol=1e-4)


def test_models_of_a_stack_stay_models(small: Mixture, make_decoder: MakeDecoder) -> None:
    """Their weights are views of the stack's; each computes by itself what the stack computes for it."""
    models = [make_decoder("narrow", seed=seed) for seed in (1, 2)]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    stack = Stack(models, batch_loss)
    for model, start in zip(models, before, strict=True):
        assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items())
    lines = ResidentLines(small, "all", CPU)
    sizes = lines.sizes([np.arange(40), np.arange(40, 80)])
    batches = [lines.batch(torch.arange(start, start + 40), sizes) for start in (0, 40)]
    losses = stack.losses(batches)
    stack.backward(losses)
    for model, batch, loss in zip(models, batches, losses, strict=True):
        gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
        model.zero_grad(set_to_none=True)
        alone = batch_loss(model, batch)
        alone.backward()  # type: ignore[no-untyped-call]
        torch.testing.assert_close(loss, alone)
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
    with torch.no_grad():
        models[1].norm.add_(1.0)
    assert torch.equal(stack.weights["norm"][1], models[1].norm)


# several threads


@pytest.mark.parametrize("loss", ["all", "answer"])
@pytest.mark.parametrize("threads", [2, 3, 50])
def test_threads_share_a_batch(loss: str, threads: int, small: Mixture, make_decoder: MakeDecoder) -> None:
    """Also more threads than the last batch of an epoch, or any batch, has lines."""
    run, model = run_of(small, epochs=2, loss=loss, max_grad_norm=0.5), make_decoder("base")
    alone, shared = copy.deepcopy(model), copy.deepcopy(model)
    curve = train(alone, run, no_checkpoint)
    mine = train(shared, replace(run, threads=threads), no_checkpoint)
    np.testing.assert_allclose([p.loss for p in mine], [p.loss for p in curve], rtol=1e-4)
    assert [p.tokens for p in mine] == [p.tokens for p in curve]
    for name, weight in alone.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], weight, rtol=0, atol=2e-5, msg=name)
    again = copy.deepcopy(model)
    train(again, replace(run, threads=threads), no_checkpoint)
    assert all(torch.equal(weight, again.state_dict()[name]) for name, weight in shared.state_dict().items())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_batch_is_cut_into_parts(
    threads: int, small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = replace(run_of(small), threads=threads), make_decoder("base")
    whole = train(copy.deepcopy(model), run, no_checkpoint)
    seen: list[int] = []

    def noting(model: Decoder, batch: Batch) -> Tensor:
        if torch.is_grad_enabled():
            seen.append(len(batch.lengths))
        return batch_loss(model, batch)

    monkeypatch.setattr(worldwidth.training.run, "batch_loss", noting)
    monkeypatch.setattr(step, "_WIDEST_TENSOR", 40 * int(small.lengths.max()) * 2 * 64 * 4 / 4)
    parts = train(copy.deepcopy(model), run, no_checkpoint)
    assert sorted(seen) == sorted([10] * 4 * 5 + [3, 3, 2, 2]), "forty lines in four parts, and the last ten"
    np.testing.assert_allclose([p.loss for p in parts], [p.loss for p in whole], rtol=1e-4)


def test_an_error_in_a_thread_ends_the_run(
    small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.current_thread()

    def failing(model: Decoder, batch: Batch) -> Tensor:
        if threading.current_thread() is not main:
            raise MemoryError("no room")
        return batch_loss(model, batch)

    monkeypatch.setattr(worldwidth.training.run, "batch_loss", failing)
    with pytest.raises(MemoryError, match="no room"):
        train(make_decoder("narrow"), replace(run_of(small), threads=2), no_checkpoint)


# batches of one shape


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_padding_behind_a_batch_changes_nothing(loss: str, small: Mixture, make_decoder: MakeDecoder) -> None:
    model = make_decoder("base")
    exact = small.batch(np.arange(30), loss, CPU)
    tokens, lengths = (torch.from_numpy(a[:30].astype(np.int64)) for a in (small.tokens, small.lengths))
    sizes = Sizes(longest=tokens.shape[1], tokens=len(exact.ids) + 77, predictions=len(exact.sources) + 13)
    padded = pack(torch.cat([tokens, tokens[:5]]), torch.cat([lengths, torch.zeros(5, dtype=torch.int64)]), loss, sizes)
    count, predictions = len(exact.ids), len(exact.sources)
    assert (len(padded.ids), len(padded.sources), len(padded.targets)) == (
        count + 77,
        predictions + 13,
        predictions + 13,
    )
    assert torch.equal(padded.ids[:count], exact.ids)
    assert (padded.ids[count:] == 0).all()
    assert torch.equal(padded.sources[:predictions], exact.sources)
    assert torch.equal(padded.targets[:predictions], exact.targets)
    assert (padded.targets[predictions:] == IGNORED).all()

    def gradients(batch: Batch) -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        found = batch_loss(model, batch)
        found.backward()  # type: ignore[no-untyped-call]
        return found.detach(), [
            parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None
        ]

    (loss_exact, exact_gradients), (loss_padded, padded_gradients) = gradients(exact), gradients(padded)
    torch.testing.assert_close(loss_padded, loss_exact)
    for mine, reference in zip(padded_gradients, exact_gradients, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["all", "answer"])
@pytest.mark.parametrize("wide_ids", [False, True])
def test_resident_lines_make_the_batches_of_the_mixture(loss: str, wide_ids: bool, small: Mixture) -> None:
    """With ids of 8 bits, and with the 16 of a vocabulary of more than 256."""
    mixture = Mixture(small.tokens.astype(np.uint16), small.lengths) if wide_ids else small
    lines = ResidentLines(mixture, loss, CPU)
    batches = list(mixture.epoch(42, "base", 0, 40))
    assert [len(rows) for rows in batches] == [40] * 5 + [10]
    sizes = lines.sizes(batches)
    assert sizes.tokens % 64 == sizes.predictions % 64 == 0
    for rows in batches:
        exact = mixture.batch(rows, loss, CPU)
        found = lines.batch(torch.from_numpy(lines.padded(rows, 40)), sizes)
        assert found.ids.shape == (sizes.tokens,)
        assert torch.equal(found.ids[: len(exact.ids)], exact.ids)
        assert torch.equal(found.targets[found.targets != IGNORED], exact.targets)
        assert torch.equal(found.sources[: len(exact.sources)], exact.sources)
        assert found.lengths.tolist() == exact.lengths.tolist() + [0] * (40 - len(rows))


def test_sizes_are_the_smallest_tiles_that_fit(small: Mixture) -> None:
    lines = ResidentLines(small, "answer", CPU)
    rows = [np.arange(0, 50), np.arange(50, 90)]
    exact = [small.batch(r, "answer", CPU) for r in rows]
    sizes = lines.sizes(rows)
    most, predicted = max(len(b.ids) for b in exact), max(len(b.sources) for b in exact)
    assert 0 <= sizes.tokens - most < 64
    assert 0 <= sizes.predictions - predicted < 64
    assert sizes.longest == small.lengths.max()
    assert largest(iter([Sizes(5, 64, 128), Sizes(7, 192, 64)])) == Sizes(7, 192, 128)


def test_prediction_counts(small: Mixture) -> None:
    tokens, lengths = torch.from_numpy(small.tokens.astype(np.int64)), torch.from_numpy(small.lengths.astype(np.int64))
    for loss in ("all", "answer"):
        counts = prediction_counts(tokens, lengths, loss)
        exact = [len(small.batch(np.array([row]), loss, CPU).targets) for row in range(len(small))]
        assert counts.tolist() == exact
        assert exact_sizes(tokens, lengths, loss).predictions == sum(exact)
    assert prediction_counts(tokens[:2], torch.zeros(2, dtype=torch.int64), "answer").tolist() == [0, 0]


def test_the_step_of_a_gpu_is_the_plain_one(
    small: Mixture, make_decoder: MakeDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very step that a GPU runs, on the CPU: one run, batches of one shape, the last of an epoch too short."""
    run, model = run_of(small, epochs=2), make_decoder("base")
    plain = train(copy.deepcopy(model), run, no_checkpoint)
    monkeypatch.setattr(worldwidth.training.loop, "plain_step", lambda training: step.resident_step([training]))
    fixed = train(copy.deepcopy(model), run, no_checkpoint)
    np.testing.assert_allclose([p.loss for p in fixed], [p.loss for p in plain], rtol=1e-4)
    assert [p.tokens for p in fixed] == [p.tokens for p in plain]


def test_bfloat16_trains_nearly_as_float32(small: Mixture, make_decoder: MakeDecoder) -> None:
    run, model = run_of(small, epochs=3), make_decoder("base")
    full = train(copy.deepcopy(model), run, no_checkpoint)
    mixed_model = copy.deepcopy(model)
    mixed = train(mixed_model, replace(run, bfloat16=True), no_checkpoint)
    assert all(parameter.dtype == torch.float32 for parameter in mixed_model.parameters())
    losses, mixed_losses = np.array([p.loss for p in full]), np.array([p.loss for p in mixed])
    assert (losses != mixed_losses).any()
    np.testing.assert_allclose(mixed_losses, losses, rtol=0.02)


# recording


def test_a_recorded_function_runs_first_and_is_then_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording itself computes nothing, so every call must be an eager one or a replay: no step is lost or doubled."""
    done: list[str] = []
    state = {"recording": False}

    class Graph:
        def replay(self) -> None:
            done.append("replay")

    class Stream:
        def wait_stream(self, other: object) -> None:
            pass

    class Context:
        def __init__(self, recording: bool) -> None:
            self.recording = recording

        def __enter__(self) -> None:
            state["recording"] = self.recording

        def __exit__(self, *error: object) -> None:
            state["recording"] = False

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: Context(True))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: Context(False))

    def function() -> Tensor:
        if not state["recording"]:
            done.append("eager")
        return torch.zeros(1)

    recorded = step._Recorded(function)
    for _ in range(6):
        recorded()
    assert done == ["eager"] * 3 + ["replay"] * 3
