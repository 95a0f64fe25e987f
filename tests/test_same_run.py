"""Which runs are the same: what is skipped, refused and compared. `pytest tests/test_same_run.py`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from laboratory import LEARNER, PARAMS, TABLES, Laboratory, dvc_yaml, edited_params, lock, md5_of
from worldwidth.comparison.compatibility import check_comparable
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.experiments import Experiment, list_experiments
from worldwidth.settings.load import load
from worldwidth.sweep.saving import still_to_run
from worldwidth.sweep.variants import Variant, chosen_sweep, variants_of

LAPTOP = "scales__laptop__"
LR = "finetuning.learning_rate"
WIDE = f"{LAPTOP}archs__wide__"

NOTHING: dict[str, dict[str, Any]] = {
    "an arch that is not run": {f"{LAPTOP}archs__wider__epochs": 1},
    "an override of one": {f"{LAPTOP}archs__wider__finetuning": {"learning_rate": 1e-2}},
    "the reference under epochs": {"reference": "base"},
    "cluster": {"cluster": PARAMS["cluster"] | {"requeues": 9}},
    "execution": {f"{LAPTOP}execution__models_per_job": 9},
    "tuning": {f"{LAPTOP}tuning__seed": 8},
    "sweeps": {"sweeps": {}},
    "analysis": {"analysis__primary": "ftwb1_trained", "analysis__sd": 0.1},
    "statistics": {f"{LAPTOP}statistics__resamples": 300},
    "another scale": {"scales__paper__world__cities": 100},
    "what is said otherwise": {f"{WIDE}finetuning": {"learning_rate": 1e-3}, f"{WIDE}num_hidden_layers": 3},
}
"""Edits that no stage of wide under epochs sees."""

SOMETHING: dict[str, tuple[dict[str, Any], str]] = {
    "scale": ({"scale": "smoke"}, "scale 'laptop' in place of 'smoke'"),
    "seed of the world": ({f"{LAPTOP}world__seed": 7}, "world.seed 42 in place of 7"),
    "cities": ({f"{LAPTOP}world__cities": 90}, "world.cities 96 in place of 90"),
    "lines": ({f"{LAPTOP}corpus__world__test": 1001}, "corpus.world.test 1000 in place of 1001"),
    "tasks": ({"tasks": PARAMS["tasks"][::-1]}, f"tasks ['{PARAMS['tasks'][0]}', "),
    "epsilon of norms": ({f"{LAPTOP}model__rms_norm_eps": 1e-5}, "model.rms_norm_eps 1e-06 in place of 1e-05"),
    "layers": ({f"{LAPTOP}model__num_hidden_layers": 4}, "sizes.num_hidden_layers 3 in place of 4"),
    "width": ({f"{WIDE}intermediate_size": 128}, "sizes.intermediate_size 256 in place of 128"),
    "length": ({f"{WIDE}epochs": 4}, "pretraining.steps 2625 in place of 3500"),
    "rate": ({f"{LAPTOP}finetuning__learning_rate": 2e-3}, "finetuning.learning_rate 0.001 in place of 0.002"),
    "a rate of its own": ({f"{WIDE}pretraining": {"learning_rate": 1e-3}}, "pretraining.learning_rate 0.005 in place"),
    "mup": ({"parametrization": "mup", "reference": "base"}, "pretraining.width_ratio None in place of 2.0"),
    "batch of evaluations": ({f"{LAPTOP}evaluation__batch_size": 99}, "evaluation.batch_size 1024 in place of 99"),
    "threads": ({f"{LAPTOP}hardware__threads": 2}, "hardware.threads 1 in place of 2"),
}
"""Edits that a stage of it sees, and how an experiment without them is said to be another run."""


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    """With the code that ran, and the dvc.yaml of params.yaml, in its tree."""
    monkeypatch.chdir(tmp_path)
    made = Laboratory(tmp_path)
    for path in (LEARNER, TABLES, "stages/check.py", "stages/recipe.py", "stages/added.py", "lists/own.csv"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)  # so that its hash is the one in `lock`
    (tmp_path / "dvc.yaml").write_text(dvc_yaml())
    return made


def to_run(variant: Variant | None = None, force: bool = False) -> list[str]:
    """What of the study in the tree's params.yaml, or of a variant, a sweep would run."""
    settings = load()
    variants = [variant] if variant else variants_of(settings, chosen_sweep(settings, None, []))
    return [one.name for one in still_to_run(settings, variants, force)]


def test_the_code_of_a_tree_is_hashed_as_in_dvc_lock(laboratory: Laboratory) -> None:
    assert md5_of(LEARNER) == next(dep["md5"] for dep in lock()["stages"]["base"]["deps"] if dep["path"] == LEARNER)


@pytest.mark.parametrize("changes", NOTHING.values(), ids=NOTHING)
def test_an_edit_that_no_stage_sees_runs_nothing_again(laboratory: Laboratory, changes: dict[str, Any]) -> None:
    laboratory.add("wide-epochs-s42", lock())
    laboratory.params(**edited_params(**changes))
    assert to_run() == []


def test_nor_does_other_code_that_makes_no_numbers(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s42", lock())
    laboratory.params()
    for path in (TABLES, "stages/check.py", "stages/recipe.py", "stages/added.py"):
        Path(path).write_text("edited")
    assert to_run() == []


def test_nor_another_commit_to_start_from(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s42", lock())
    laboratory._git("commit", "-qm", "prose", "--allow-empty")
    laboratory.params()
    assert to_run() == []
    laboratory.add("wide-epochs-s42", lock({LEARNER: "c2"}))  # of other code, and newer
    laboratory.params()
    assert to_run() == []


@pytest.mark.parametrize(("changes", "said"), SOMETHING.values(), ids=SOMETHING)
def test_another_run_of_the_name_is_never_replaced(laboratory: Laboratory, changes: dict[str, Any], said: str) -> None:
    laboratory.add("wide-epochs-s42", lock())
    laboratory.params(**edited_params(**changes))
    with pytest.raises(WorldwidthError) as refused:
        to_run()
    line = str(refused.value)
    assert line.startswith(f"experiment 'wide-epochs-s42': there is one that ran with {said}")
    assert line.endswith(
        "; --force replaces it, --suffix WORD gives these runs other names, `dvc exp rename wide-epochs-s42 NEW` keeps "
        "that one under another"
    )
    assert to_run(force=True) == ["wide-epochs-s42"]


def test_nor_one_of_other_code(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s42", lock())
    laboratory.params()
    Path(LEARNER).write_text("edited")
    with pytest.raises(WorldwidthError, match=f"there is one that ran with another {LEARNER}; --force"):
        to_run()
    Path(LEARNER).write_text(LEARNER)
    Path("src/new.py").write_text("")
    Path("dvc.yaml").write_text(dvc_yaml().replace(f"- {LEARNER}\n", f"- {LEARNER}\n    - src/new.py\n"))
    with pytest.raises(WorldwidthError, match=r"there is one that ran with another src/new\.py; --force"):
        to_run()


def test_nor_one_of_another_list_of_cities(laboratory: Laboratory) -> None:
    own = edited_params(scales__laptop__world__source="lists/own.csv")
    laboratory.add("wide-epochs-s42", lock(own_list="lists/own.csv"), **own)
    laboratory.params(**own)
    assert to_run() == []
    Path("lists/own.csv").write_text("Berlin")
    with pytest.raises(WorldwidthError, match=r"there is one that ran with another lists/own\.csv; --force"):
        to_run()


def test_nor_one_that_is_not_whole_or_not_readable(laboratory: Laboratory) -> None:
    half = lock()
    del half["stages"]["evaluate@base"]
    laboratory.add("wide-epochs-s42", half)
    laboratory.params()
    with pytest.raises(WorldwidthError, match="there is one that lacks stage evaluate@base; --force replaces it"):
        to_run()
    laboratory.add("wide-epochs-s42", lock(), budgets="epochs")
    laboratory.params()
    with pytest.raises(WorldwidthError, match=r"there is one that cannot be read \(wide-epochs-s42: its params.yaml"):
        to_run()
    assert to_run(force=True) == ["wide-epochs-s42"]


def test_an_experiment_whose_tables_are_missing_is_whole(laboratory: Laboratory) -> None:
    made = lock()
    del made["stages"]["plots"]
    laboratory.add("wide-epochs-s42", made)
    laboratory.params()
    assert to_run() == []


def test_under_another_name_both_live_side_by_side(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s42", lock())
    laboratory.params(**edited_params(**{f"{LAPTOP}finetuning__learning_rate": 2e-3}))
    (again,) = variants_of(load(), chosen_sweep(load(), None, []), "again")
    (named,) = variants_of(load(), chosen_sweep(load(), None, [(LR, ["2e-3"])]))
    assert (to_run(again), to_run(named)) == (["wide-epochs-s42-again"], ["wide-epochs-s42-lr2e-3"])


def test_the_reference_matters_where_it_is_one(laboratory: Laboratory) -> None:
    flops = edited_params(budget="flops", arch="narrow")
    laboratory.add("narrow-flops-s42", lock(**flops), **flops)
    laboratory.params(**flops)
    assert to_run() == []
    laboratory.params(**flops, **edited_params(reference="wider"))
    with pytest.raises(WorldwidthError, match=r"ran with pretraining\.steps 30330 in place of "):
        to_run()


def test_fine_tunes_are_part_of_a_run(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s42", lock())
    laboratory.params()
    variant = replace(variants_of(load(), chosen_sweep(load(), None, []))[0], only=("ftwb1",))
    lacking = next(name for name in PARAMS["finetunes"] if not name.startswith("ftwb1"))
    with pytest.raises(WorldwidthError, match=rf"ran with finetunes\.{lacking} .* in place of None; --force"):
        to_run(variant)
    some: dict[str, Any] = {
        "finetunes": {name: tasks for name, tasks in PARAMS["finetunes"].items() if name.startswith("ftwb1")}
    }
    some |= edited_params(sweeps={}, **{f"scales__{scale}__tuning": None for scale in PARAMS["scales"]})
    laboratory.add("wide-epochs-s42", lock(**some), **some)
    laboratory.params()
    assert to_run(variant) == []


Add = Callable[..., Experiment]


@pytest.fixture
def add(laboratory: Laboratory) -> Add:
    """Adds an experiment: its name, changes of params.yaml, hashes of files."""

    def make(name: str, hashes: dict[str, str] | None = None, **changes: Any) -> Experiment:
        edited = edited_params(**changes) if changes else {}
        laboratory.add(name, lock(hashes, **edited), **edited)
        return next(found for found in list_experiments() if found.name == name)

    return make


def test_runs_may_differ_in_arch_seeds_and_budget(add: Add) -> None:
    draw = {"data/atlantis": "e2"}
    check_comparable(
        [
            add("one"),
            add("two", arch="narrow", seed=9, budget="flops"),
            add("three", draw, arch="deep", scales__laptop__world__atlantis__seed=43, budget="tokens"),
            add("four", draw, arch="narrow", scales__laptop__world__atlantis__seed=43),
            add("five", {TABLES: "c2", "stages/check.py": "c2"}, arch="deep", budget="flops"),
        ]
    )


@pytest.mark.parametrize("changes", NOTHING.values(), ids=NOTHING)
def test_an_edit_that_no_stage_sees_leaves_runs_comparable(add: Add, changes: dict[str, Any]) -> None:
    check_comparable([add("one"), add("two", seed=1, **changes)])
    check_comparable([add("three", seed=2, **changes), add("one")])


@pytest.mark.parametrize("name", SOMETHING)
def test_what_differs_in_more_is_refused(add: Add, name: str) -> None:
    changes, said = SOMETHING[name]
    with pytest.raises(WorldwidthError) as refused:
        check_comparable([add("one"), add("two", seed=1, **changes)])
    assert str(refused.value).startswith(f"one and two cannot be compared: the first ran with {said}")


@pytest.mark.parametrize("path", [LEARNER, "data/corpora/distance", "data/atlantis"])
def test_so_is_other_code_or_another_corpus(add: Add, path: str) -> None:
    with pytest.raises(WorldwidthError, match=f"^one and two cannot be compared: the first ran with another {path}; "):
        check_comparable([add("one"), add("two", {path: "c2"}, arch="narrow")])


def test_two_runs_of_one_draw_have_one_atlantis(add: Add) -> None:
    """Though the first run is of another draw."""
    seven: dict[str, Any] = {"scales__laptop__world__atlantis__seed": 7}
    runs = [add("one"), add("two", {"data/atlantis": "e2"}, **seven)]
    check_comparable(runs)
    with pytest.raises(WorldwidthError, match=r"^two and three .* ran with another data/atlantis;"):
        check_comparable([*runs, add("three", {"data/atlantis": "e3"}, seed=1, **seven)])


def test_what_is_compared_by_may_differ(add: Add) -> None:
    runs = [add("one"), add("two", scales__laptop__finetuning__learning_rate=4e-3, arch="narrow")]
    with pytest.raises(WorldwidthError, match=r"ran with finetuning\.learning_rate 0\.001 in place of 0\.004; .* --by"):
        check_comparable(runs)
    check_comparable(runs, (LR,))
    check_comparable([add("one"), add("three", parametrization="mup"), add("four", finetuning_budget="flops")],
                     ("parametrization", "finetuning_budget", LR))  # fmt: skip
    with pytest.raises(WorldwidthError, match=r"^'learning_rate': no setting that can be varied"):
        check_comparable(runs, ("learning_rate",))


def test_archs_agree_in_what_neither_overrides(add: Add) -> None:
    own = {"learning_rate": 2e-3, "betas": [0.9, 0.95]}
    narrow = {"arch": "narrow", f"{LAPTOP}archs__narrow__finetuning": own}
    check_comparable([add("one"), add("two", **narrow)])
    check_comparable([add("two", **narrow), add("three", scales__laptop__finetuning__learning_rate=4e-3)])
    with pytest.raises(WorldwidthError, match=r"two and four .* ran with finetuning\.weight_decay 0\.01 in place of 0"):
        check_comparable([add("two", **narrow), add("four", scales__laptop__finetuning__weight_decay=0.02)])


def test_an_arch_s_own_depth_is_not_the_reference_s(add: Add) -> None:
    """deep has layers of its own; the steps of both come from those of wide."""
    check_comparable([add("one", arch="deep", budget="flops"), add("two", arch="narrow", budget="flops")])


def test_two_runs_of_one_arch_agree_in_it(add: Add) -> None:
    """Though the first run is of another arch, for which both would do."""
    edited = {f"{LAPTOP}archs__narrow__finetuning": {"learning_rate": 2e-3}}
    runs = [add("one"), add("two", arch="narrow"), add("three", arch="narrow", seed=1, **edited)]
    check_comparable([runs[0], runs[2]])
    with pytest.raises(WorldwidthError, match=r"^two and three .* ran with finetuning\.learning_rate 0\.001 in place"):
        check_comparable(runs)


def test_a_recipe_may_be_younger_than_a_run_beside_it(add: Add) -> None:
    """params.yaml as the first run has it does not name the recipe. Two runs of it still agree in what it says."""

    def slow(rate: float) -> dict[str, Any]:
        return {"recipe": "slow", f"{LAPTOP}recipes__slow": {"finetuning": {"learning_rate": rate}}}

    runs = [add("one"), add("two", **slow(2e-4)), add("three", arch="narrow")]
    for order in (runs, runs[::-1]):
        check_comparable(order, ("recipe",))
    with pytest.raises(WorldwidthError, match=r"^two and four .* ran with finetuning\.learning_rate 0\.0002 in place"):
        check_comparable([*runs, add("four", **slow(4e-4))], ("recipe",))


def test_equal_budgets_are_those_of_one_reference(add: Add) -> None:
    """Each alone would do: the reference's own definition is another one in each."""
    wide = add("one", arch="wide", budget="flops")
    narrow = add("two", arch="narrow", budget="flops", **{f"{WIDE}epochs": 6})
    for runs in ([wide, narrow], [narrow, wide]):
        with pytest.raises(WorldwidthError, match=r"cannot be compared: the first ran with pretraining\.steps"):
            check_comparable(runs)


@pytest.mark.parametrize("axis", ["world.seed", "world.cities", "corpus.world.test", "evaluation.split"])
def test_an_axis_that_changes_the_lines_is_refused(add: Add, axis: str) -> None:
    value: Any = "validation" if axis == "evaluation.split" else 43
    few = {f"{LAPTOP}evaluation__multitask_lines": 100}
    changes = {**few, LAPTOP + axis.replace(".", "__"): value}
    other = add("two", **changes)
    with pytest.raises(WorldwidthError, match=rf"^{axis}: one has \w+ and two {value}: they are scored on other lines"):
        check_comparable([add("one", **few), other], (axis,))
    check_comparable([other, add("three", seed=1, **changes)], (axis,))
