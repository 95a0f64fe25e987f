"""Recipes: how models are fine-tuned, plug-ins among them. `pytest tests/test_recipes.py`."""

from dataclasses import replace
from pathlib import Path

import pytest

from params_file import edited, written
from worldwidth.comparison.axes import Axis
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.fingerprint import resolved
from worldwidth.evaluation.scores import compared_with_specialists, matrix_names, rows_below
from worldwidth.pipeline.groups import group_stages
from worldwidth.settings.axes import edits, value_of, with_edits, with_values
from worldwidth.settings.compute import finetuning_recipe, plug_in_recipe, training_steps
from worldwidth.settings.load import load
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Settings

RATE, RATIO = "finetuning.learning_rate", "finetuning.body_ratio"


def of_scale(settings: Settings, **values: object) -> Settings:
    """``settings`` with values of the selected scale; __ stands for a dot."""
    path = f"scales.{settings.scale}."
    return with_edits(settings, {path + key.replace("__", "."): value for key, value in values.items()})


@pytest.fixture
def tuned(settings: Settings) -> Settings:
    """An arch with a rate of its own, and a recipe in which another has one."""
    recipes = {
        "published": {"finetuning": {"learning_rate": 1e-3, "body_ratio": 1.0}},
        "one_rate": {"finetuning": {"body_ratio": 1.0}, "learning_rates": {"wide": 2e-3}},
    }
    return of_scale(settings, recipes=recipes, archs__narrow__finetuning={"learning_rate": 3e-2, "epochs": 3})


def finetuning(settings: Settings, arch: str, recipe: str) -> tuple[float, float, int]:
    found = replace(settings, arch=arch, recipe=recipe).finetuning
    return found.learning_rate, found.body_ratio, found.epochs


def test_a_recipe_wins_over_an_arch_and_its_own_rates_over_both(tuned: Settings) -> None:
    own = tuned.selected.finetuning
    assert finetuning(tuned, "narrow", "default") == (3e-2, own.body_ratio, 3)
    assert finetuning(tuned, "narrow", "published") == (1e-3, 1.0, 3)  # other settings of the arch stay
    assert finetuning(tuned, "narrow", "one_rate") == (3e-2, 1.0, 3)
    assert finetuning(tuned, "wide", "one_rate") == (2e-3, 1.0, own.epochs)


@pytest.mark.parametrize("arch", ["narrow", "wide"])
@pytest.mark.parametrize("recipe", ["default", "published", "one_rate"])
def test_a_swept_value_wins_over_arch_and_recipe(tuned: Settings, arch: str, recipe: str) -> None:
    found = with_values(tuned, [("arch", arch), ("recipe", recipe), (RATE, 7e-3), (RATIO, 0.5)])
    assert (found.finetuning.learning_rate, found.finetuning.body_ratio) == (7e-3, 0.5)
    assert (value_of(found, RATE), value_of(found, "recipe")) == (7e-3, recipe)
    places = set(edits(tuned, [("arch", arch), ("recipe", recipe), (RATE, 7e-3)]))
    path = "scales.laptop"
    wanted = {"arch", "recipe", f"{path}.{RATE}"}
    wanted |= {f"{path}.archs.narrow.{RATE}"} if arch == "narrow" else set()
    wanted |= {f"{path}.recipes.published.{RATE}"} if recipe == "published" else set()
    wanted |= {f"{path}.recipes.one_rate.learning_rates.wide"} if (arch, recipe) == ("wide", "one_rate") else set()
    assert places == wanted


def test_recipes_that_come_to_the_same_share_their_models(tuned: Settings) -> None:
    published = replace(tuned, recipe="published")
    same = of_scale(tuned, finetuning__learning_rate=1e-3, finetuning__body_ratio=1.0)
    assert finetuning_recipe(published) == finetuning_recipe(same) != finetuning_recipe(tuned)
    assert resolved(published) == resolved(same)


def test_recipes_are_an_axis(tuned: Settings) -> None:
    axis = Axis.of("recipe", [tuned, replace(tuned, recipe="published")])
    assert axis.levels == ("default", "published")
    assert not axis.is_quantitative


def test_a_plug_in_is_fine_tuned_otherwise_and_not_by_what_is_swept(settings: Settings) -> None:
    found = plug_in_recipe(settings)
    own = settings.selected.plug_in
    assert (
        (found.optimization.trainable, found.length.world_lines) == ("new_embeddings", own["world_lines"]) != ("all", 1)
    )
    assert found.optimization.epochs == settings.finetuning.epochs
    swept = with_values(settings, [(RATE, 7e-3)])
    assert plug_in_recipe(swept) == plug_in_recipe(replace(settings, recipe="published")) == found
    assert finetuning_recipe(swept) != finetuning_recipe(settings)
    assert training_steps(settings, "plug1-4") < training_steps(settings, "ftwb1-4")


def test_plug_ins_have_a_matrix_of_their_own_and_the_first_place(settings: Settings) -> None:
    finetunes = settings.finetunes
    assert matrix_names(finetunes) == ["plug1", "ftwb1", "ftwb2", "difference"]
    assert (rows_below(finetunes, "plug1"), rows_below(finetunes, "ftwb1")) == (["plug7-1"], ["ftwb0-0"])
    assert not rows_below(finetunes, "ftwb2")
    assert "plug7-1" not in compared_with_specialists(finetunes)
    groups = [group for group in group_stages(settings, 1) if "@" in group[0] and "corpus" not in group[0]]
    trained = [group[0].split("@")[0] for group in groups if not group[0].startswith("evaluate")]
    assert trained == sorted(trained, key=lambda name: not name.startswith("plug"))


LAPTOP = ("scales", "laptop")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("recipe",), "defalt", "recipe: found 'defalt'; allowed: default, published, "
            "one_rate, fast_body, equal_flops, rate_of_wide; did you mean 'default'?"),
        ((*LAPTOP, "plug_in"), {"epochs": 3}, "laptop.plug_in: moves all weights, and plug1-1 learns on a frozen base"),
        ((*LAPTOP, "plug_in"), {"trainabl": "all"}, "laptop.plug_in.trainabl: unknown key; allowed here: optimizer, "),
        (
            (*LAPTOP, "recipes", "published", "finetuning"), {"learning_rate": "fast"},
            "scales.laptop.recipes.published.finetuning.learning_rate: ",
        ),
        (
            (*LAPTOP, "recipes", "published", "learning_rates"), {"narow": 1e-3},
            "recipes.published.learning_rates: found 'narow'; allowed: narrow, base, ",
        ),
        (
            (*LAPTOP, "recipes", "default"), {},
            "laptop.recipes.default: 'default' is the scale's own recipe; give it another name",
        ),
        (
            ("finetunes", "plug2-9"), ["angle"],
            "finetunes.plug2-9: trains 1 task(s); the number after 'plug' must say so: plug1-...",
        ),
        (("finetunes", "plug0-0"), [], "finetunes.plug0-0: trains no task; a plug-in learns from one or more"),
        (("finetunes", "plug1-9"), ["angle"], "finetunes.plug1-9: trains the same tasks as plug1-3"),
    ],
)  # fmt: skip
def test_a_broken_recipe_is_one_line(
    place: tuple[str, ...], value: object, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, edited((place, value)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WorldwidthError) as caught:
        load()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_no_city_has_an_embedding_the_new_ones_cannot_move_alone(settings: Settings) -> None:
    paper = replace(settings, scale="paper", arch="wide")
    assert broken_rule(paper) is None
    assert plug_in_recipe(paper).optimization.body_ratio == 0
    problem = broken_rule(of_scale(paper, plug_in={"trainable": "new_embeddings"}))
    assert problem is not None
    assert problem.startswith("scales.paper.plug_in.trainable: found 'new_embeddings'; ")
