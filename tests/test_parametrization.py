"""How the width changes initial weights and rates, and which weights move: `pytest tests/test_parametrization.py`."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
import torch

import worldwidth.training.loop
from plain_decoder import NATIVE
from plain_path import flat_gradient, plain_loss, twin_of
from short_runs import SETTINGS, Model, run_of, trained_by
from torch_optimizers import CASES, kept
from worldwidth.data.corpus import StoredCorpus
from worldwidth.model.layout import MATRICES, OUTSIDE, VECTORS, parameter_count, slices, views
from worldwidth.model.parametrization import Group, factors, groups, initial_weights
from worldwidth.native.compute import ONE_THREAD, Compute
from worldwidth.settings.schema import Optimization, Settings
from worldwidth.training.mixture import Mixture, pretraining_mixture
from worldwidth.training.run import Run, Training
from worldwidth.training.stacked_engine import StackedEngine

pytestmark = pytest.mark.usefixtures("one_thread")

MakeModel = Callable[..., Model]
Kind = Literal["adamw", "muon"]
ENGINES = ("torch", "stacked", "native")


def trained_on(engine: str, model: Model, run: Run, monkeypatch: pytest.MonkeyPatch) -> Training:
    if engine == "native" and " " in NATIVE:
        pytest.skip(NATIVE)
    with monkeypatch.context() as patch:
        if engine == "stacked":
            patch.setattr(worldwidth.training.loop, "engine_of", StackedEngine)
        return trained_by(
            model, replace(run, compute=Compute("cpu", "native", 1) if engine == "native" else ONE_THREAD)
        )


# the table


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("case", CASES)
def test_groups_follow_each_other_and_decay_only_matrices(case: str, optimizer: Kind, make_model: MakeModel) -> None:
    config, weights = make_model("narrow")
    found = CASES[case].groups(config, replace(SETTINGS, optimizer=optimizer, weight_decay=0.3))
    for one, other in pairwise(found):
        assert one.place.stop == other.place.start
    of_each: dict[int, Group] = {at: group for group in found for at in range(group.place.start, group.place.stop)}
    moving = 0
    for name, place in slices(config).items():
        own = [of_each[at] for at in range(place.start, place.stop) if at in of_each]
        moving += len(own)
        frozen = CASES[case].trainable != "all" or CASES[case].body_ratio == 0
        assert len(own) == place.stop - place.start or frozen
        assert all(group.weight_decay == (0.3 if name in (*OUTSIDE, *MATRICES) else 0.0) for group in own), name
        assert all(bool(group.matrix) == (optimizer == "muon" and name in MATRICES) for group in own), name
    assert moving == len(weights) - kept(config, found).sum() > 0


def test_what_is_moved_alike_is_one_group(make_model: MakeModel) -> None:
    """As few operations as can be: under ``standard`` with AdamW, matrices and vectors."""
    config, weights = make_model("narrow")
    matrices = slices(config)["down"].stop
    decay, epsilon = SETTINGS.weight_decay, SETTINGS.epsilon
    assert groups(config, SETTINGS) == [
        Group(slice(0, matrices), 1.0, epsilon, decay),
        Group(slice(matrices, len(weights)), 1.0, epsilon, 0.0),
    ]


def test_only_under_mup_muon_takes_the_fused_matrices_apart(make_model: MakeModel) -> None:
    config, _ = make_model("narrow")
    muon = replace(SETTINGS, optimizer="muon")
    shapes = {m: [group.matrix for group in groups(config, muon, m) if group.matrix] for m in (None, 1.0)}
    assert shapes == {None: [(24, 8), (8, 8), (64, 8), (8, 32)], 1.0: [(8, 8), (8, 8), (32, 8), (8, 32)]}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_at_the_width_of_the_reference_mup_is_standard(
    optimizer: Kind, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit; but for Muon's matrices, which are taken apart."""
    config, weights = make_model("narrow")
    np.testing.assert_array_equal(initial_weights(config, 1, 1.0), weights)
    run = run_of(small, optimizer=optimizer)
    found, wanted = (
        trained_on(engine, (config, weights), replace(run, width_ratio=m), monkeypatch) for m in (1.0, None)
    )
    assert (found.weights.tobytes() == wanted.weights.tobytes()) == (optimizer == "adamw")


# new weights


def test_mup_scales_the_same_random_numbers(make_model: MakeModel) -> None:
    config, plain = make_model("base", seed=3)
    scaled = views(initial_weights(config, 3, 4.0), config)
    spread = {"embed": 1.0, "lm_head": 1 / 4, **dict.fromkeys(MATRICES, 1 / 2), **dict.fromkeys(VECTORS, 1.0)}
    for name, view in views(plain, config).items():
        np.testing.assert_allclose(scaled[name], spread[name] * view, rtol=1e-6, err_msg=name)


def test_epsilon_follows_the_size_of_the_gradients(corpora: dict[str, StoredCorpus], make_model: MakeModel) -> None:
    """A fourfold width makes all gradients four times smaller, those of the head apart."""
    lines = pretraining_mixture(corpora)
    sizes: dict[str, dict[str, float]] = {}
    for arch, m in (("base", 1.0), ("wider", 4.0)):
        config, _ = make_model(arch)
        twin = twin_of(config, initial_weights(config, 1, m))
        plain_loss(twin, lines, np.arange(0, len(lines), 9), "answer").backward()  # type: ignore[no-untyped-call]
        gradient = views(flat_gradient(twin, config), config)
        sizes[arch] = {name: float(np.sqrt(np.mean(np.square(view)))) for name, view in gradient.items()}
    for name, size in sizes["wider"].items():
        ratio = size / sizes["base"][name] / factors(name, 4.0).epsilon
        assert 0.6 < ratio < 1.6, name


# training


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", [name for name, case in CASES.items() if case.trainable != "all"])
def test_what_is_not_trainable_stays_bit_for_bit(
    case: str, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, (config, weights) = run_of(small, epochs=2), make_model("narrow")
    given: Optimization = CASES[case].settings(run.optimization)
    run = replace(run, optimization=given, width_ratio=CASES[case].m, new_rows=CASES[case].new_rows)
    training = trained_on(engine, (config, weights), run, monkeypatch)
    stays = kept(config, training.groups)
    np.testing.assert_array_equal(training.weights[stays], weights[stays])
    assert not training.first[stays].any()
    assert (training.weights != weights)[~stays].mean() > 0.9
    assert training.curve[-1].loss < training.curve[0].loss


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", ["embeddings", "embeddings, mup", "new rows"])
def test_an_embedding_alone_gets_the_bits_that_it_gets_with_all_gradients(
    case: str, engine: str, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradients of other matrices are then not computed."""
    run, model = run_of(small), make_model("base")
    given: Optimization = CASES[case].settings(run.optimization)
    run = replace(run, optimization=given, width_ratio=CASES[case].m, new_rows=CASES[case].new_rows)
    alone = trained_on(engine, model, run, monkeypatch)
    assert alone.embedding_alone
    monkeypatch.setattr(Training, "embedding_alone", False)
    whole = trained_on(engine, model, run, monkeypatch)
    assert alone.weights.tobytes() == whole.weights.tobytes() != model[1].tobytes()
    assert alone.curve == whole.curve


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("case", CASES)
def test_all_engines_train_alike(
    case: str, optimizer: Kind, small: Mixture, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, model = run_of(small, optimizer=optimizer, max_grad_norm=0.5), make_model("base")
    given = CASES[case].settings(run.optimization)
    run = replace(run, optimization=given, width_ratio=CASES[case].m, new_rows=CASES[case].new_rows)
    first, *others = (trained_on(engine, model, run, monkeypatch) for engine in ENGINES)
    for other in others:
        np.testing.assert_allclose(
            [point.loss for point in other.curve], [point.loss for point in first.curve], rtol=2e-5
        )
        np.testing.assert_allclose(other.weights, first.weights, rtol=0, atol=1e-4)


@pytest.mark.parametrize("arch", ["deep", "shallow", "wider"])
def test_a_variant_trained_under_mup_is_itself_in_transformers(
    arch: str, small: Mixture, smoke: dict[str, Settings], make_model: MakeModel
) -> None:
    config, _ = make_model(arch)
    settings = replace(smoke["cities"], arch=arch)
    assert (config.num_hidden_layers, config.hidden_size) == (
        {"deep": 8, "shallow": 1, "wider": 2}[arch],
        settings.sizes.hidden_size,
    )
    assert len(initial_weights(config, 1)) == parameter_count(config)
    run = replace(run_of(small, epochs=2, optimizer="muon", learning_rate=1e-2), width_ratio=config.hidden_size / 32)
    training = trained_by((config, initial_weights(config, 1, run.width_ratio)), run)
    assert training.curve[-1].loss < training.curve[0].loss - 0.5
    assert training.curve[-1].validation_loss is not None
    with torch.no_grad():
        twin: Any = twin_of(config, training.weights)
        rows = np.arange(len(run.validation.tokens))
        found = float(plain_loss(twin, run.validation, rows, "answer"))
    assert found == pytest.approx(training.curve[-1].validation_loss, rel=1e-5)
