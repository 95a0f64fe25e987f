"""What `budget` holds constant: steps, tokens and FLOPs of every width. `pytest tests/test_budgets.py`."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from repository import PROJECT
from short_runs import Model, run_of, trained_by
from worldwidth.engine.costs import line_sizes, width_plans
from worldwidth.settings.compute import parameter_count, training_epochs, training_steps
from worldwidth.settings.load import load
from worldwidth.settings.recipe import read_pretraining
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Budget, Settings
from worldwidth.training.mixture import Mixture

ARCHS = ("narrow", "base", "wide", "wider")


def under(budget: Budget, arch: str, reference: str = "wide", scale: str = "laptop") -> Settings:
    return replace(load(PROJECT / "params.yaml"), budget=budget, arch=arch, reference=reference, scale=scale)


def parameters(settings: Settings) -> int:
    return parameter_count(settings.selected, settings.sizes)


@pytest.mark.parametrize(
    ("budget", "steps"),
    [
        ("epochs", [10_500, 5_250, 2_625, 2_625]),
        ("tokens", [2_625, 2_625, 2_625, 2_625]),
        ("flops", [30_330, 9_306, 2_625, 701]),  # 2,625 times 225,536 over 19,520, 63,616, 225,536, 844,288
    ],
)
def test_steps_at_laptop_scale(budget: Budget, steps: list[int]) -> None:
    assert [training_steps(under(budget, arch), "base") for arch in ARCHS] == steps


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("reference", ARCHS)
def test_equal_flops_are_equal_to_half_a_step(scale: str, reference: str) -> None:
    of_reference = under("flops", reference, reference, scale)
    target = training_steps(of_reference, "base") * parameters(of_reference)
    for arch in ARCHS:
        own = under("flops", arch, reference, scale)
        assert abs(training_steps(own, "base") * parameters(own) - target) <= max(parameters(own) / 2, target * 1e-12)


@pytest.mark.parametrize("arch", ARCHS)
def test_the_reference_is_the_same_in_every_arm(arch: str) -> None:
    steps = {training_steps(under(budget, arch, reference=arch), "base") for budget in ("epochs", "tokens", "flops")}
    assert len(steps) == 1


def test_the_published_rule_ignores_the_reference() -> None:
    assert {training_steps(under("epochs", "narrow", reference), "base") for reference in ARCHS} == {10_500}


def test_the_budget_does_not_touch_fine_tuning() -> None:
    for model in ("ftwb1-1", "ftwb2-12"):
        assert len({training_steps(under(b, a), model) for b in ("epochs", "tokens", "flops") for a in ARCHS}) == 1


def test_epochs_need_not_be_whole() -> None:
    assert training_epochs(under("flops", "narrow"), "base") == pytest.approx(30_330 / 875)
    assert training_epochs(under("epochs", "narrow"), "base") == 12


def test_a_run_may_end_inside_an_epoch(small: Mixture, make_model: Callable[..., Model]) -> None:
    whole = run_of(small, epochs=1)
    more = replace(whole, steps=whole.steps + 1)
    assert len(list(more.rows())) == whole.steps + 1
    curve = trained_by(make_model("narrow"), more).curve
    assert curve[-1].step == whole.steps + 1
    seen = int(small.lengths.sum())
    assert seen < curve[-1].tokens < 2 * seen


Recipes = Callable[[Settings], tuple[bytes, bytes]]


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipes:
    """What the stage writes for the base model and for the fine-tunes, in an empty folder."""
    main = runpy.run_path(str(PROJECT / "stages" / "recipe.py"))["main"]
    monkeypatch.chdir(tmp_path)

    def written(settings: Settings) -> tuple[bytes, bytes]:
        main(settings)
        return Path("data/pretraining.json").read_bytes(), Path("data/finetuning.json").read_bytes()

    return written


@pytest.mark.parametrize(("budget", "steps"), [("epochs", 10_500), ("flops", 30_330)])
def test_the_stage_writes_the_steps(budget: Budget, steps: int, recipes: Recipes) -> None:
    recipes(under(budget, "narrow"))
    assert read_pretraining().steps == steps


def test_what_comes_to_the_same_is_the_same_recipe(recipes: Recipes) -> None:
    """Trainings depend on these files alone: what is said otherwise shares its models."""
    plain = recipes(under("epochs", "wide"))
    assert recipes(under("flops", "wide")) == plain
    assert recipes(replace(under("tokens", "wide"), finetuning_budget="flops")) == plain
    assert recipes(replace(under("epochs", "wide"), parametrization="mup")) != plain  # Muon takes q, k and v apart
    assert recipes(with_own("wide", learning_rate=under("epochs", "wide").finetuning.learning_rate)) == plain
    other = recipes(with_own("wide", learning_rate=2e-3))
    assert other[0] == plain[0]
    assert other[1] != plain[1]


def with_own(arch: str, **finetuning: float) -> Settings:
    """At laptop scale, with fine-tuning settings that are the arch's own."""
    settings = under("epochs", arch)
    own = replace(settings.selected_arch, finetuning=dict(finetuning))
    scale = replace(settings.selected, archs={**settings.selected.archs, arch: own})
    return replace(settings, scales={**settings.scales, "laptop": scale})


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("model", ["ftwb0-0", "ftwb1-1", "ftwb2-12"])
def test_equal_fine_tuning_flops_are_equal_to_half_a_step(scale: str, model: str) -> None:
    def at(arch: str) -> Settings:
        return replace(under("epochs", arch, scale=scale), finetuning_budget="flops")

    target = training_steps(at("wide"), model) * parameters(at("wide"))
    assert training_steps(at("wide"), model) == training_steps(under("epochs", "wide", scale=scale), model)
    for arch in (*ARCHS, "deep", "shallow"):
        found = training_steps(at(arch), model) * parameters(at(arch))
        assert abs(found - target) <= max(parameters(at(arch)) / 2, target * 1e-12), arch


def test_fine_tuning_by_epochs_is_as_long_for_every_arch_unless_it_says_otherwise() -> None:
    assert {training_steps(under("epochs", arch), "ftwb1-1") for arch in (*ARCHS, "deep", "shallow")} == {308}
    assert training_steps(with_own("narrow", epochs=4), "ftwb1-1") == 616
    assert training_steps(with_own("narrow", batch_size=128), "ftwb1-1") == 154
    assert training_steps(with_own("narrow", epochs=4), "ftwb0-0") == 616


def test_the_plan_shows_every_width_under_the_budget() -> None:
    settings = under("flops", "wide")
    plans = width_plans(settings, line_sizes(settings))
    assert [plan.arch for plan in plans] == [*ARCHS, "deep", "shallow"]
    assert [plan.steps for plan in plans[:4]] == [30_330, 9_306, 2_625, 701]
    assert plans[0].flops == pytest.approx(plans[2].flops, rel=1e-3)
    assert plans[2].finetuning_flops / plans[0].finetuning_flops == pytest.approx(225_536 / 19_520)


def test_a_budget_is_only_a_problem_for_the_width_that_is_run() -> None:
    """With narrow's FLOPs, wider would have fewer steps than the warm-up; that is no reason to refuse narrow."""
    settings = under("flops", "narrow", "narrow")
    few = replace(settings.selected.archs["narrow"], epochs=1)
    scale = replace(settings.selected, archs={**settings.selected.archs, "narrow": few})
    settings = replace(settings, scales={**settings.scales, "laptop": scale})
    assert broken_rule(settings) is None
    refused = broken_rule(replace(settings, arch="wider"))
    assert refused is not None
    assert "warmup_steps: found 50; it must be under the 20 steps of base with arch wider" in refused
