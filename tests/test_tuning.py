"""`worldwidth tune`: the rule, the runs on another draw, and what is written.

pytest tests/test_tuning.py
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from fake_plots import caption, no_labels_overlap, nothing_is_cut
from params_file import SMOKE, written
from params_file import edited as edited_params
from worldwidth.commands import tune
from worldwidth.commands.tune import run_tune
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.repo import edit_yaml
from worldwidth.plots.tuning import draw_tuning
from worldwidth.settings.axes import with_edits
from worldwidth.settings.load import load
from worldwidth.settings.questions import Tuning
from worldwidth.settings.schema import Settings
from worldwidth.sweep import attempts
from worldwidth.sweep.run import FailedRunsError
from worldwidth.sweep.trials import Setup, Trial, trial_variant
from worldwidth.sweep.tuning import best_trial, rate_beyond, search
from worldwidth.sweep.variants import Variant

ROOT = Path(__file__).parents[1]
GRID = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)


def setup(arch: str, **values: Any) -> Setup:
    return replace(Setup(arch=arch, recipe="default", body_ratio=0.1, trainable="all"), **values)


def trial(rate: float, skill: float, arch: str = "narrow") -> Trial:
    return Trial(setup=setup(arch), learning_rate=rate, skill=skill, standard_error=0.01, transfer=0.1)


def trials(*skills: float) -> list[Trial]:
    return [trial(rate, skill) for rate, skill in zip(GRID, skills, strict=False)]


# --- the rule


@pytest.mark.parametrize(
    ("skills", "best"),
    [
        ((0.5, 0.6, 0.9, 0.8, 0.7), 2e-3),
        ((0.5, 0.6, 0.881, 0.9, 0.7), 2e-3),  # within two standard errors, which are 0.02 here
        ((0.5, 0.6, 0.879, 0.9, 0.7), 4e-3),
        ((0.5, 0.89, 0.8, 0.9, 0.7), 1e-3),  # though it lies apart
        ((0.5, 0.875, 0.885, 0.9, 0.7), 2e-3),  # of the highest, not from one to the next
        ((-3.0, -2.0, -7.0, -5.0, -9.0), 1e-3),
        ((0.7, 0.6, 0.5, 0.4, 0.3), 5e-4),
        ((0.3, 0.4, 0.5, 0.6, 0.7), 8e-3),
    ],
)
def test_the_lowest_rate_within_two_standard_errors_of_the_highest_skill_wins(
    skills: Sequence[float], best: float
) -> None:
    found = trials(*skills)
    assert best_trial(found).learning_rate == best
    assert best_trial(found[::-1]).learning_rate == best


@pytest.mark.parametrize(
    ("skills", "beyond"),
    [
        ((0.5, 0.6, 0.9, 0.8, 0.7), None),
        ((0.9, 0.6, 0.5, 0.4, 0.3), 2.5e-4),
        ((0.3, 0.4, 0.5, 0.6, 0.9), 1.6e-2),
        ((0.9, 0.9, 0.9, 0.9, 0.9), 2.5e-4),
        ((0.5, 0.6), 2e-3),
        ((0.6, 0.5), 2.5e-4),
    ],
)
def test_a_best_rate_at_an_edge_asks_for_one_step_more(skills: Sequence[float], beyond: float | None) -> None:
    assert rate_beyond(trials(*skills)) == beyond


def test_a_step_has_the_ratio_of_the_last_two_rates_and_is_written_short() -> None:
    grid = (3e-6, 1e-5, 3e-5, 1e-4)
    rising = [trial(rate, i) for i, rate in enumerate(grid)]
    falling = [trial(rate, -i) for i, rate in enumerate(grid)]
    assert (rate_beyond(rising), rate_beyond(falling)) == (3.33e-4, 9e-7)


class Stub:
    """Skill by arch and rate, in place of runs: highest at a rate of the arch's own."""

    def __init__(self, **best: float) -> None:
        self.best, self.asked = best, list[dict[str, list[float]]]()

    def __call__(self, rates: dict[Setup, list[float]]) -> list[Trial]:
        self.asked.append({setup.arch: of_setup for setup, of_setup in rates.items()})
        pairs = [(setup.arch, rate) for setup, of_setup in rates.items() for rate in of_setup]
        return [trial(rate, 1 - abs(np.log2(rate / self.best[arch])), arch) for arch, rate in pairs]


def test_a_grid_is_extended_for_those_archs_alone_whose_best_is_at_its_edge(capsys: pytest.CaptureFixture[str]) -> None:
    stub = Stub(narrow=1.6e-2, wide=2e-3, wider=2.5e-4)
    trials = search(GRID, [setup("narrow"), setup("wide"), setup("wider")], stub)
    found = {one.arch: of_setup for one, of_setup in trials.items()}
    grid = list(GRID)
    assert stub.asked == [
        {"narrow": grid, "wide": grid, "wider": grid},
        {"narrow": [1.6e-2], "wider": [2.5e-4]},
        {"narrow": [3.2e-2], "wider": [1.25e-4]},
    ]
    rates = {arch: [one.learning_rate for one in of_arch] for arch, of_arch in found.items()}
    assert rates == {"narrow": [*grid, 1.6e-2, 3.2e-2], "wide": grid, "wider": [1.25e-4, 2.5e-4, *grid]}
    assert {arch: best_trial(of_arch).learning_rate for arch, of_arch in found.items()} == stub.best
    assert not any(map(rate_beyond, found.values()))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "narrow, body ratio 0.1: 8e-3, the best so far, is at the edge of what was tried: 0.016 too"
    assert len(lines) == 4


def test_a_grid_is_extended_three_times_at_most() -> None:
    stub = Stub(narrow=1.0)
    (found,) = search(GRID, [setup("narrow")], stub).values()
    assert [rates["narrow"] for rates in stub.asked] == [list(GRID), [1.6e-2], [3.2e-2], [6.4e-2]]
    assert best_trial(found).learning_rate == 6.4e-2
    assert rate_beyond(found) == 0.128


def test_a_rate_at_which_a_training_diverges_is_worse_than_any() -> None:
    diverged = Trial(setup=setup("narrow"), learning_rate=1.6e-2)
    found = [*trials(0.3, 0.4, 0.5, 0.6, 0.7), diverged]
    assert best_trial(found).learning_rate == 8e-3
    assert rate_beyond(found) is None
    none = [replace(diverged, learning_rate=rate) for rate in GRID]
    assert rate_beyond(none) == 2.5e-4


@pytest.mark.parametrize(
    ("reason", "diverges"),
    [("ftwb1-1: the loss is nan at step 4; try a lower learning_rate", True), ("killed for its memory", False)],
)
def test_only_what_diverges_may_fail(
    reason: str, diverges: bool, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An arch of which no rate can be trained is one line, and so is a run that failed for something else."""

    def run_sweep(settings: Settings, variants: list[Variant], *rest: object) -> None:
        raise FailedRunsError({variant.name: reason for variant in variants})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(attempts, "run_sweep", run_sweep)
    monkeypatch.setattr(attempts, "open_repo", MagicMock())
    said = refused(settings, ["narrow"])
    if diverges:
        assert said == "narrow: its training diverges at every rate, 1.82e-3 too"
    else:
        assert said.startswith(f"4 failed: tune-narrow-epochs-s42-lr5e-3-br3e-2 ({reason}); ")
    assert not list(tmp_path.iterdir())


# --- the runs


@pytest.fixture
def laptop(settings: Settings) -> tuple[Settings, Tuning]:
    assert settings.selected.tuning
    return settings, settings.selected.tuning


def edited(settings: Settings, **values: object) -> Settings:
    """``settings`` with values of the selected scale; __ stands for a dot."""
    path = f"scales.{settings.scale}."
    return with_edits(settings, {path + key.replace("__", "."): value for key, value in values.items()})


def test_a_run_is_on_another_draw_and_scored_on_its_validation_lines(laptop: tuple[Settings, Tuning]) -> None:
    settings, tuning = laptop
    variant = trial_variant(settings, tuning, Setup.of(settings, "narrow"), 4e-3)
    assert variant.name == "tune-narrow-epochs-s42-lr4e-3-br3e-2"
    found = variant.of(settings)
    scale = found.selected
    assert (found.arch, found.seed, found.budget) == ("narrow", settings.seed, settings.budget)
    assert (scale.world.seed, scale.world.atlantis.seed) == (7, 7)
    assert (scale.corpus.world.validation, scale.corpus.atlantis.validation) == (500, 500)
    assert scale.evaluation.split == "validation"
    assert list(found.finetunes) == [*(f"ftwb1-{i}" for i in range(1, 8)), "ftwb0-0"]
    assert found.finetuning == replace(settings.selected.finetuning, learning_rate=4e-3)
    other = trial_variant(settings, tuning, Setup.of(settings, "narrow", body_ratio=0.5), 8e-3).of(settings)
    assert other.finetuning.body_ratio == 0.5
    assert (found.pretraining, found.sizes) == (other.pretraining, other.sizes)  # the base model is shared
    second = trial_variant(settings, tuning, Setup.of(settings, "narrow", replicate=1), 8e-3)
    assert second.name == "tune-narrow-epochs-s43-lr8e-3-br3e-2"
    scale = second.of(settings).selected
    assert (second.of(settings).seed, scale.world.seed, scale.world.atlantis.seed) == (43, 7, 8)


def test_a_rate_of_an_archs_own_is_none_while_it_is_tuned(laptop: tuple[Settings, Tuning]) -> None:
    settings = edited(laptop[0], archs__narrow__finetuning={"learning_rate": 5.0, "epochs": 7})
    found = trial_variant(settings, laptop[1], Setup.of(settings, "narrow"), 4e-3).of(settings).finetuning
    assert (found.learning_rate, found.epochs) == (4e-3, 7)


def test_other_arms_have_other_names(laptop: tuple[Settings, Tuning]) -> None:
    settings = replace(laptop[0], finetuning_budget="flops", parametrization="mup", budget="flops", seed=3)

    def name(settings: Settings, arch: str) -> str:
        return trial_variant(settings, laptop[1], Setup.of(settings, arch), 1e-3).name

    assert name(settings, "base") == "tune-base-flops-s3-lr1e-3-br3e-2-ftflops-mup"
    plugged = edited(laptop[0], archs__base__finetuning={"trainable": "new_embeddings"})
    assert name(plugged, "base") == "tune-base-epochs-s42-lr1e-3-br3e-2-new_embeddings"
    assert name(plugged, "wide") == "tune-wide-epochs-s42-lr1e-3-br3e-2"
    assert name(replace(plugged, recipe="published"), "wide") == "tune-wide-epochs-s42-published-lr1e-3-br1"


def test_a_recipes_own_rate_is_none_while_it_is_tuned(laptop: tuple[Settings, Tuning]) -> None:
    """Whether all archs have it, or each its own."""
    own = edited(replace(laptop[0], recipe="published"), recipes__published__learning_rates={"wide": 5.0})
    for arch in ("wide", "narrow"):
        found = trial_variant(own, laptop[1], Setup.of(own, arch), 4e-3).of(own).finetuning
        assert (found.learning_rate, found.body_ratio) == (4e-3, 1.0)


def refused(settings: Settings, archs: list[str] | None = None) -> str:
    with pytest.raises(WorldwidthError) as caught:
        run_tune(settings, archs, None, write=False, force=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_tuned_is_one_line(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # nothing is there that could be run
    assert refused(settings, ["narow"]).startswith("arch 'narow': allowed: narrow, base, ")
    assert refused(settings, ["narow"]).endswith("did you mean 'narrow'?")
    assert "scales.laptop.tuning: not there" in refused(edited(settings, tuning=None))
    only = refused(edited(settings, tuning__only=["ftwb0"]))
    assert only == "params.yaml: scales.laptop.tuning.only: found ['ftwb0']; none of these is trained on a task"
    for key in ("world.seed", "world.atlantis.seed"):
        same = refused(edited(settings, tuning__seed=8, **{key.replace(".", "__"): 8}))
        assert same.startswith(f"params.yaml: scales.laptop.tuning.seed: found 8, which is {key}; ")
    few = refused(edited(settings, tuning__lines=9))
    assert "evaluation.multitask_lines: found 1000; at most 63 (corpus.world.validation times tasks)" in few
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", ["default", "published"])
def test_the_rates_are_written_where_the_recipe_has_them(
    recipe: str,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And beside what else an arch does otherwise, which stays; a rate that is there already is no change."""
    own: dict[str, Any] = {"narrow": {"epochs": 3, "learning_rate": 1.0}, "wide": {"learning_rate": 2e-3}}
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    edit_yaml(tmp_path / "params.yaml", {f"scales.laptop.archs.{arch}.finetuning": own[arch] for arch in own})
    monkeypatch.chdir(tmp_path)
    archs = ("narrow", "base", "wide")
    found = {
        setup(arch): [trial(rate, 0.9 - 9 * abs(rate - 2e-3), arch) for rate in (1e-3, 2e-3, 4e-3)] for arch in archs
    }
    found = {one: [replace(each, standard_error=0.0) for each in of_setup] for one, of_setup in found.items()}
    monkeypatch.setattr(tune, "search", lambda *arguments: found)
    run_tune(replace(load(), recipe=recipe), list(archs), None, write=True, force=False)
    said = capsys.readouterr().out
    after = load().selected
    if recipe == "default":
        path = "scales.laptop.archs"
        lines = [f"  {path}.narrow.finetuning.learning_rate: 2e-3", f"  {path}.base.finetuning.learning_rate: 2e-3"]
        assert after.archs["narrow"].finetuning == {"epochs": 3, "learning_rate": 2e-3}
        assert after.archs["base"].finetuning == {"learning_rate": 2e-3}
    else:
        lines = [f"  scales.laptop.recipes.published.learning_rates.{arch}: 2e-3" for arch in archs]
        assert after.recipes["published"].learning_rates == dict.fromkeys(archs, 2e-3)
        assert after.archs["narrow"].finetuning == own["narrow"]
    assert said.split("params.yaml: written:\n")[1].splitlines() == lines
    assert after.archs["wide"] == replace(settings.selected.archs["wide"], finetuning=own["wide"])
    assert after.archs["wider"] == settings.selected.archs["wider"]
    assert sum("chosen" in line for line in said.splitlines()) == 3
    name = "laptop" if recipe == "default" else "laptop-published"
    assert sorted(path.as_posix() for path in Path("results").rglob("*.*")) == [
        f"results/tuning/{name}.csv", f"results/tuning/{name}.png"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rates", "problem"),
    [
        ([1e-3], "it must have at least 2 items, not 1"),
        ([1e-3, 1e-3], "each must be above the one before it"),
        ([4e-3, 1e-3], "each must be above the one before it"),
    ],
)
def test_a_grid_that_brackets_nothing_is_one_line(rates: list[float], problem: str, tmp_path: Path) -> None:
    changed = edited_params(((*SMOKE, "tuning", "learning_rates"), rates))
    with pytest.raises(WorldwidthError, match=problem) as caught:
        load(written(tmp_path, changed))
    assert "scales.smoke.tuning.learning_rates" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- the figure


def test_the_figure_has_a_curve_an_arch_and_rings_what_is_chosen(settings: Settings) -> None:
    rows = [
        {
            "arch": arch, "learning_rate": rate, "skill": 0.8 - 0.1 * abs(i - best), "standard_error": 0.02,
            "chosen": i == best,
        }
        for arch, best in (("narrow", 4), ("base", 3), ("wide", 2), ("wider", 1), ("deep", 2), ("shallow", 3))
        for i, rate in enumerate((*GRID, 1.6e-2))
    ]  # fmt: skip
    diverged = {"arch": "wide", "learning_rate": 6.4e-2, "skill": -np.inf, "standard_error": np.nan, "chosen": False}
    rows.append(diverged)
    figure = draw_tuning(
        settings, pd.DataFrame(rows), "Fine-tuning learning rate by arch", ["n = 500 validation lines. " * 9]
    )
    nothing_is_cut(figure)
    no_labels_overlap(figure)
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "learning rate of fine-tuning")
    assert axes.get_ylabel() == "skill trained, on validation lines"
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "5e-4",
        "1e-3",
        "2e-3",
        "4e-3",
        "8e-3",
        "0.016",
        "0.064",
    ]
    (legend,) = figure.legends
    names = ["narrow", "base", "wide", "wider", "deep", "shallow"]
    assert [text.get_text() for text in legend.get_texts()] == [*names, "chosen"]
    curves = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 6]
    rings = [line for line in axes.lines if len(np.asarray(line.get_xdata())) == 1]
    assert (len(curves), len({to_hex(line.get_color()) for line in curves}), len(rings)) == (6, 6, 6)
    for curve, ring in zip(curves, rings, strict=True):
        highest = int(np.argmax(np.asarray(curve.get_ydata())))
        assert np.asarray(ring.get_xdata())[0] == np.asarray(curve.get_xdata())[highest]
        assert to_hex(ring.get_markeredgecolor()) == to_hex(curve.get_color())
    assert "n = 500" in caption(figure)
