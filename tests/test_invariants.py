"""What must hold while a model trains, each broken on purpose in every engine: `pytest tests/test_invariants.py`."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import worldwidth.training.loop
import worldwidth.training.native_step
import worldwidth.training.run
import worldwidth.training.stacked_engine
import worldwidth.training.torch_step
from plain_decoder import NATIVE
from plain_path import flat_gradient, plain_loss, twin_of
from short_runs import Model, run_of, trained_by, training_of
from torch_optimizers import CASES
from worldwidth.core.errors import WorldwidthError
from worldwidth.model.layout import slices
from worldwidth.model.parametrization import Group, groups
from worldwidth.native.compute import ONE_THREAD, Compute
from worldwidth.training.cpu_engine import CpuEngine
from worldwidth.training.invariants import check_frozen, check_groups
from worldwidth.training.loop import train
from worldwidth.training.mixture import Mixture, Rows
from worldwidth.training.run import Run, Training
from worldwidth.training.stacked_engine import StackedEngine

pytestmark = pytest.mark.usefixtures("one_thread")

MakeModel = Callable[..., Model]
Kind = Literal["adamw", "muon"]
ENGINES = ("torch", "stacked", "native")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All runs are computed by it."""
    if request.param == "native" and " " in NATIVE:
        pytest.skip(NATIVE)
    if request.param == "stacked":
        monkeypatch.setattr(worldwidth.training.loop, "engine_of", StackedEngine)
    assert isinstance(request.param, str)
    return request.param


def on(engine: str, run: Run, case: str = "standard", **changes: Any) -> Run:
    """``run`` as ``engine`` computes it, with what moves as in one of ``CASES``."""
    optimization = CASES[case].settings(replace(run.optimization, **changes))
    compute = Compute("cpu", "native", 1) if engine == "native" else ONE_THREAD
    return replace(
        run, optimization=optimization, width_ratio=CASES[case].m, new_rows=CASES[case].new_rows, compute=compute
    )


def breaking(engine: str, act: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Call ``act(weights, first, second)``, arrays (models, n), after every update of the optimiser."""
    module = {
        "torch": worldwidth.training.torch_step,
        "stacked": worldwidth.training.stacked_engine,
        "native": worldwidth.training.native_step,
    }[engine]
    whole: Any = module.update

    def update(*arguments: Any, **named: Any) -> Any:
        found = whole(*arguments, **named)
        if engine == "native":
            act(*(array[None] for array in arguments[:3]))
        else:
            act(*(getattr(arguments[0], name).numpy() for name in ("weights", "first", "second")))
        return found

    monkeypatch.setattr(module, "update", update)


def with_groups(change: Callable[[list[Group]], list[Group]], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = groups
    monkeypatch.setattr(worldwidth.training.run, "groups", lambda *given: change(whole(*given)))


# sound runs


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("case", CASES)
def test_a_sound_run_passes(
    case: str, optimizer: Kind, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of its steps are looked at: the first with a rate above 0, after the warm-up's, and one later."""
    looked: list[int] = []
    whole = worldwidth.training.invariants.check_step

    def counting(training: Training, *given: Any) -> None:
        looked.append(training.step)
        whole(training, *given)

    monkeypatch.setattr(worldwidth.training.invariants, "check_step", counting)
    run, model = run_of(small, epochs=2, optimizer=optimizer), make_model("narrow")
    training = trained_by(model, on(engine, run, case, warmup_steps=3))
    assert looked == [1, 9]
    check_frozen(training, model[1])
    assert (training.weights != model[1]).any()


# groups


def sliced(group: Group, start: int, stop: int) -> Group:
    return replace(group, place=slice(group.place.start + start, group.place.stop + stop))


BROKEN_GROUPS: dict[str, tuple[Callable[[list[Group]], list[Group]], str]] = {
    "a hole": (
        lambda groups: [sliced(groups[0], 0, -3), *groups[1:]],
        r"base: down of layer 2: expected every weight in one optimiser group, found 4,893 to 4,895 in no group",
    ),
    "a hole at the start": (
        lambda groups: [sliced(groups[0], 5, 0), *groups[1:]],
        r"base: embed: .*0 to 4 in no group",
    ),
    "a hole at the end": (lambda groups: [groups[0]], r"base: input_norm of layer 1: .* in no group"),
    "an overlap": (
        lambda groups: [groups[0], sliced(groups[1], -3, 0)],
        r"base: down of layer 2: .* found [\d,]+ to [\d,]+ in two groups",
    ),
    "twice": (lambda groups: [*groups, groups[1]], r"base: input_norm of layer 1: .* in two groups"),
    "another rate": (
        lambda groups: [groups[0], replace(groups[1], rate=0.5)],
        r"base: input_norm of layer 1: expected 1 x the rate, found 0.5 x$",
    ),
}


@pytest.mark.parametrize("name", BROKEN_GROUPS)
def test_every_weight_is_in_one_group(
    name: str, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, message = BROKEN_GROUPS[name]
    with_groups(change, monkeypatch)
    with pytest.raises(WorldwidthError, match=message):
        trained_by(make_model("narrow"), on(engine, run_of(small)))


@pytest.mark.parametrize("case", ["embeddings", "new rows"])
def test_what_the_recipe_freezes_is_in_no_group(
    case: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = on("torch", run_of(small), case), make_model("narrow")
    check_groups(training_of(model, run))
    stop = slices(model[0])["embed"].stop
    with_groups(lambda groups: [replace(groups[0], place=slice(groups[0].place.start, stop + 8))], monkeypatch)
    with pytest.raises(WorldwidthError, match=rf"base: lm_head: expected weights {stop:,} to {stop + 7:,} frozen, "):
        check_groups(training_of(model, run))


# rates and moves


def skipping(place: slice) -> Callable[..., None]:
    """An optimiser that leaves ``place`` as it was."""
    kept: list[NDArray[np.float32]] = []

    def act(weights: NDArray[np.float32], first: object, second: object) -> None:
        if kept:
            weights[:, place] = kept[0]
        kept[:] = [weights[:, place].copy()]

    return act


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("name", ["embed", "o", "down", "post_norm", "norm", "lm_head"])
def test_a_slice_that_is_not_moved_is_found(
    name: str, optimizer: Kind, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate is 0 before: so what an optimiser left out then is what it was."""
    model = make_model("narrow")
    breaking(engine, skipping(slices(model[0])[name]), monkeypatch)
    with pytest.raises(WorldwidthError, match=rf"base: step 2: {name}( of layer 1)?: expected the rate 0\.0025, 1 x "):
        trained_by(model, on(engine, run_of(small, optimizer=optimizer)))


@pytest.mark.parametrize("scale", [0.99, 1.5])
def test_another_rate_than_that_of_the_recipe_is_found(
    scale: float, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups are right, what computes has another rate."""
    whole = worldwidth.training.run.learning_rate
    model, run = make_model("narrow"), on(engine, run_of(small))
    training = training_of(model, run)
    checked = worldwidth.training.invariants.check_step

    def check(training: Training, *given: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(worldwidth.training.run, "learning_rate", whole)
            checked(training, *given)

    monkeypatch.setattr(worldwidth.training.run, "learning_rate", lambda *given: scale * whole(*given))
    monkeypatch.setattr(worldwidth.training.invariants, "check_step", check)
    with pytest.raises(WorldwidthError) as error:
        train(training)
    found = re.search(
        r"step 2: embed: expected the rate 0\.0025, 1 x the schedule's 0\.0025, found .* moved by ([\d.]+)$",
        str(error.value),
    )
    assert found
    assert float(found[1]) == pytest.approx(0.0025 * scale, rel=1e-3)


def test_a_muon_rate_far_off_is_found(
    engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("narrow")
    place, kept = slices(model[0])["down"], list[NDArray[np.float32]]()

    def faster(weights: NDArray[np.float32], first: object, second: object) -> None:
        if kept:
            weights[:, place] = kept[0] + 4 * (weights[:, place] - kept[0])
        kept[:] = [weights[:, place].copy()]

    breaking(engine, faster, monkeypatch)
    message = r"base: step 2: down of layer 1: expected the rate 0\.0025, .* found 1 of 1 matrices moved by 0\.0"
    with pytest.raises(WorldwidthError, match=message):
        trained_by(model, on(engine, run_of(small, optimizer="muon")))


@pytest.mark.parametrize("case", ["embeddings", "new rows"])
@pytest.mark.parametrize("name", ["embed", "lm_head", "qkv_bias", "down"])
def test_a_frozen_weight_that_moves_is_found(
    name: str, case: str, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one bit."""
    if (name, case) == ("embed", "embeddings"):
        pytest.skip("not frozen")
    model = make_model("narrow")
    at = slices(model[0])[name].start + 3

    def leak(weights: NDArray[np.float32], first: object, second: object) -> None:
        weights[:, at] = np.nextafter(weights[:, at], np.float32(9))

    run = on(engine, run_of(small), case)
    with monkeypatch.context() as patch:
        breaking(engine, leak, patch)
        with pytest.raises(WorldwidthError, match=rf"base: step 2: {name}.*: expected frozen, found 1 of [\d,]+ moved"):
            trained_by(model, run)
    training = trained_by(model, run)
    check_frozen(training, model[1])
    training.weights[at] = np.nextafter(training.weights[at], np.float32(9))
    with pytest.raises(WorldwidthError, match=rf"^base: {name}.*: expected frozen, found 1 of "):
        check_frozen(training, model[1])


def test_a_tensor_without_a_gradient_is_found(
    engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("narrow")
    place = slices(model[0])["o"]

    def lost(weights: object, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        first[:, place] = 0
        second[:, place] = 0

    breaking(engine, lost, monkeypatch)
    with pytest.raises(WorldwidthError, match=r"^base: step 2: o of layer 1: expected a gradient, found none"):
        trained_by(model, on(engine, run_of(small)))


def test_a_row_of_the_embedding_without_a_gradient_is_found(
    engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a token that is read; rows of other tokens need none."""
    model, token = make_model("narrow"), int(small.tokens[:40].max())
    row = slice(token * model[0].hidden_size, (token + 1) * model[0].hidden_size)
    run = on(engine, run_of(Mixture(small.tokens[:40], small.lengths[:40]), epochs=2), "embeddings")
    training = trained_by(model, run)
    rows = abs(training.first[slices(model[0])["embed"]]).reshape(-1, model[0].hidden_size).sum(axis=1)
    assert rows[token] > 0
    assert (rows == 0).any(), "some tokens do not occur"

    def lost(weights: object, first: NDArray[np.float32], second: NDArray[np.float32]) -> None:
        first[:, row] = 0
        second[:, row] = 0

    breaking(engine, lost, monkeypatch)
    message = rf"step 2: embed: .* every token that was read, found none for 1 of \d+, the first is token {token}$"
    with pytest.raises(WorldwidthError, match=message):
        trained_by(model, run)


# the order of lines


def orders(training: Training) -> list[str]:
    return [point.order for point in training.curve]


def test_the_order_is_that_of_the_epoch_and_the_same_at_every_width(
    engine: str, small: Mixture, make_model: MakeModel
) -> None:
    run = on(engine, run_of(small, epochs=3, log_every=4))
    found = orders(trained_by(make_model("narrow"), run))
    assert [order.split("-")[0] for order in found] == ["1", "2", "2", "3", "3"], "6 steps an epoch, a row every 4"
    assert len(set(found)) == 3
    assert found[1] == found[2]
    assert all(re.fullmatch(r"\d-[0-9a-f]{12}", order) for order in found)
    assert orders(trained_by(make_model("wide"), run)) == found


def test_another_order_or_other_lines_are_another_hash(
    engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = on(engine, run_of(small)), make_model("narrow")
    (found,) = set(orders(trained_by(model, run)))
    lines = Mixture(small.tokens[:, :], small.lengths)
    assert set(orders(trained_by(model, replace(run, mixture=lines)))) == {found}
    other = Mixture(small.tokens.copy(), small.lengths)
    other.tokens[7, 5] = other.tokens[8, 5] + 1
    changed = [replace(run, seed=43), replace(run, name="ftwb1-1"), replace(run, mixture=other)]
    whole = Mixture.epoch

    def shuffled(*given: Any) -> Iterator[Rows]:
        first, second, *rest = whole(*given)
        swapped = first.copy()
        swapped[0], second[0] = second[0], first[0]
        yield from (swapped, second, *rest)

    hashes = {found, *(orders(trained_by(model, each))[0] for each in changed)}
    monkeypatch.setattr(Mixture, "epoch", shuffled)
    hashes.add(orders(trained_by(model, run))[0])
    assert len(hashes) == 5


# the norm of the gradient


@pytest.mark.parametrize("case", ["standard", "embeddings", "new rows"])
def test_the_gradient_norm_is_that_of_a_plain_loop_before_clipping(
    case: str, engine: str, small: Mixture, make_model: MakeModel
) -> None:
    config, weights = make_model("narrow")
    run = on(engine, run_of(small), case, max_grad_norm=1e-3, warmup_steps=10)
    training = training_of((config, weights), run)
    train(training)
    twin = twin_of(config, weights).train()
    plain_loss(twin, small, next(run.rows()), "answer").backward()  # type: ignore[no-untyped-call]
    moving = slice(training.groups[0].place.start, training.groups[-1].place.stop)
    norm = np.linalg.norm(flat_gradient(twin, config)[moving])
    assert norm > 0.01
    assert training.curve[0].gradient_norm == pytest.approx(norm, rel=1e-4)


def test_a_row_has_the_mean_norm_of_its_steps(engine: str, small: Mixture, make_model: MakeModel) -> None:
    model, run = make_model("narrow"), on(engine, run_of(small))
    single = [point.gradient_norm for point in trained_by(model, run).curve]
    rows = [point.gradient_norm for point in trained_by(model, on(engine, run_of(small, log_every=3))).curve]
    assert rows == pytest.approx([np.mean(single[:3]), np.mean(single[3:])], rel=1e-6)


def test_a_gradient_that_is_no_number_ends_the_run(
    small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = CpuEngine.fetch_losses

    def fetch(engine: CpuEngine) -> None:
        engine._norms[:1] = [math.inf] * len(engine._norms[:1])
        whole(engine)

    monkeypatch.setattr(CpuEngine, "fetch_losses", fetch)
    with pytest.raises(WorldwidthError, match="base: the norm of the gradient is inf at step 1;"):
        trained_by(make_model("narrow"), run_of(small))


def test_weights_that_are_ruined_are_left_to_the_loss(engine: str, small: Mixture, make_model: MakeModel) -> None:
    training = training_of(make_model("narrow"), on(engine, run_of(small), warmup_steps=0))
    training.weights[-1] = math.nan
    with pytest.raises(WorldwidthError, match="base: the loss is nan at step 1;"):
        train(training)


def test_checking_changes_no_bit(
    engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, run = make_model("narrow"), on(engine, run_of(small, optimizer="muon"))
    checked = trained_by(model, run)
    monkeypatch.setattr(worldwidth.training.loop, "CheckedEngine", lambda engine, trainings: engine)
    plain = trained_by(model, run)
    assert checked.weights.tobytes() == plain.weights.tobytes()
    assert checked.curve == plain.curve
    assert torch.equal(torch.from_numpy(checked.first), torch.from_numpy(plain.first))
