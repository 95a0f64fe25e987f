"""Axes, variants and their names, without running any: `pytest tests/test_variants.py`."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from repository import PROJECT
from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.axes import all_axes, check_axis, edits, shortest, value_of, with_values
from worldwidth.settings.load import load
from worldwidth.settings.questions import Sweep
from worldwidth.settings.schema import Settings
from worldwidth.sweep.graph import VariantJob
from worldwidth.sweep.variants import Variant, chosen_sweep, chosen_variants, variants_of
from worldwidth.sweep.worktree import write_variant

LR = "finetuning.learning_rate"


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(PROJECT / "params.yaml")


def sweep(settings: Settings, *vary: str, replicates: int | None = None, only: tuple[str, ...] = ()) -> list[Variant]:
    """As the command line says it: ``seed=1,2``."""
    pairs = [(axis, values.split(",")) for axis, _, values in (one.partition("=") for one in vary)]
    return variants_of(settings, chosen_sweep(settings, None, pairs, replicates, only))


def names(settings: Settings, *vary: str, replicates: int | None = None) -> list[str]:
    return [variant.name for variant in sweep(settings, *vary, replicates=replicates)]


def with_own(settings: Settings, arch: str, **finetuning: Any) -> Settings:
    """An arch with values of its own."""
    scale = settings.selected
    own = replace(scale.archs[arch], finetuning=finetuning)
    scale = replace(scale, archs={**scale.archs, arch: own})
    return replace(settings, scales={**settings.scales, settings.scale: scale})


def test_every_axis_can_be_read_and_set_to_what_it_is(settings: Settings) -> None:
    axes = all_axes()
    assert len(axes) > 50
    assert {"arch", LR, "world.atlantis.seed", "corpus.atlantis.validation", "evaluation.split"} <= set(axes)
    assert not {"scale", "finetuning.betas", "execution.models_per_job", "statistics.resamples"} & set(axes)
    assert with_values(settings, [(axis, value_of(settings, axis)) for axis in axes]) == settings


def test_a_value_wins_over_that_of_the_arch(settings: Settings) -> None:
    own = with_own(settings, "wide", learning_rate=2e-3)
    assert value_of(own, LR) == 2e-3
    assert value_of(replace(own, arch="narrow"), LR) == value_of(replace(settings, arch="narrow"), LR)
    turned = with_values(own, [(LR, 4e-3)])
    assert (turned.finetuning.learning_rate, turned.selected.finetuning.learning_rate) == (4e-3, 4e-3)
    assert edits(own, [(LR, 4e-3)]) == {
        "scales.laptop.finetuning.learning_rate": 4e-3,
        "scales.laptop.archs.wide.finetuning.learning_rate": 4e-3,
    }
    assert list(edits(own, [("arch", "wider"), (LR, 4e-3)])) == ["arch", "scales.laptop.finetuning.learning_rate"]


def test_so_does_a_number_of_layers(settings: Settings) -> None:
    turned = with_values(settings, [("arch", "deep"), ("model.num_hidden_layers", 5)])
    assert turned.sizes.num_hidden_layers == value_of(turned, "model.num_hidden_layers") == 5
    assert value_of(replace(settings, arch="deep"), "model.num_hidden_layers") == 12


@pytest.mark.parametrize(
    ("axis", "meant"),
    [("finetuning.learnig_rate", LR), ("learning_rate", LR), ("atlantis.seed", "world.atlantis.seed"), ("ach", "arch")],
)
def test_an_unknown_axis_is_one_line_with_the_nearest(axis: str, meant: str) -> None:
    with pytest.raises(WorldwidthError, match=rf"^'{axis}': no setting that can be varied; .*did you mean '{meant}'"):
        check_axis(axis)


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ("arch=narow", "sweep.vary.arch: found 'narow'; allowed: narrow, .*; did you mean 'narrow'"),
        ("reference=wid", "sweep.vary.reference: found 'wid'; allowed: .*; did you mean 'wide'"),
        ("budget=flop", "sweep.vary: budget: found \"flop\"; allowed: epochs, tokens, flops; did you mean 'flops'"),
        (f"{LR}=fast", 'finetuning.learning_rate: found "fast"; it must be a valid number'),
        (f"{LR}=1e-3,-1", "finetuning.learning_rate: found -1; it must be greater than 0"),
        ("seed=1.5", "seed: found 1.5; it must be a valid integer"),
        ("seed=true", "seed: found true; it must be a valid integer"),
        ("seed=[1]", "seed: found '.1.'; a value must be a number, text, true or false"),
        (
            "recipe=publishd",
            "sweep.vary.recipe: found 'publishd'; allowed: default, published, one_rate, fast_body, "
            "equal_flops, rate_of_wide; did you mean 'published'",
        ),
        ("finetuning.trainable=embedings", "allowed: all, new_embeddings; did you mean 'new_embeddings'"),
        ("pretraining.atlantis=1", "pretraining.atlantis: found 1; it must be a valid boolean"),
        ("finetuning.world_lines=17000", "finetuning.world_lines: found 17000; at most 16000"),
    ],
)
def test_an_impossible_value_is_one_line(settings: Settings, vary: str, said: str) -> None:
    with pytest.raises(WorldwidthError, match=said):
        sweep(settings, vary)


def test_names_are_short_and_as_they_were(settings: Settings) -> None:
    assert names(settings) == ["wide-epochs-s42"]
    assert names(settings, "arch=narrow,wide", f"{LR}=1e-3,0.004") == [
        "narrow-epochs-s42-lr1e-3", "wide-epochs-s42-lr1e-3", "narrow-epochs-s42-lr4e-3", "wide-epochs-s42-lr4e-3",
    ]  # fmt: skip
    assert names(settings, "budget=flops", "finetuning_budget=flops", "parametrization=mup") == [
        "wide-flops-s42-ftflops-mup"
    ]
    assert names(
        settings, "finetuning.body_ratio=0.1", "pretraining.learning_rate=5e-3", "world.seed=7", "recipe=published"
    ) == ["wide-epochs-s42-published-w7-plr5e-3-br0.1"]
    assert names(settings, "finetuning.trainable=new_embeddings", "finetuning.batch_size=32") == [
        "wide-epochs-s42-finetuning.batch_size=32-new_embeddings"
    ]


def test_a_replicate_raises_both_seeds_and_is_named_where_the_draw_is_another(settings: Settings) -> None:
    assert names(settings, replicates=3) == ["wide-epochs-s42", "wide-epochs-s43-a43", "wide-epochs-s44-a44"]
    assert names(settings, "seed=42,43") == ["wide-epochs-s42", "wide-epochs-s43"]
    assert names(settings, "world.atlantis.seed=42,7") == ["wide-epochs-s42", "wide-epochs-s42-a7"]
    second = sweep(settings, replicates=2)[1].of(settings)
    assert (second.seed, second.selected.world.atlantis.seed, second.selected.world.seed) == (43, 43, 42)
    with pytest.raises(WorldwidthError, match=r"sweep\.replicates: found 2 with seed in vary; a replicate raises seed"):
        sweep(settings, "seed=1,2", replicates=2)


def test_the_order_of_what_is_typed_does_not_matter(settings: Settings) -> None:
    one, other = sweep(settings, "arch=narrow", f"{LR}=4e-3"), sweep(settings, f"{LR}=0.004", "arch=narrow")
    assert one == other
    assert len(sweep(settings, "arch=narrow,narrow", f"{LR}=4e-3,0.004")) == 1


def test_a_sweep_cut_short_leaves_whole_comparisons(settings: Settings) -> None:
    found = names(settings, "arch=narrow,wide", "budget=epochs,flops", "seed=1,2")
    assert found[:4] == ["narrow-epochs-s1", "wide-epochs-s1", "narrow-flops-s1", "wide-flops-s1"]
    assert len(found) == 8


def test_names_are_refs_that_git_takes(settings: Settings) -> None:
    every = [(axis, value_of(settings, axis)) for axis in all_axes() if value_of(settings, axis) is not None]
    for axis, value in [*every, ("world.source", "lists/my..own.csv")]:
        (variant,) = variants_of(settings, Sweep(vary={axis: (value,)}))
        assert variant.name.startswith("wide-epochs-s42")
        subprocess.run(["git", "check-ref-format", f"refs/exps/ab/cd/{variant.name}"], check=True)
        assert "/" not in variant.name


def test_two_variants_of_one_name_are_refused(settings: Settings) -> None:
    with pytest.raises(WorldwidthError) as refused:
        sweep(settings, "world.source=lists/a.csv,lists_a.csv")
    said = str(refused.value)
    assert said.endswith("both would be called wide-epochs-s42-world.source=lists_a_csv")
    assert "world.source lists/a.csv and " in said
    assert "world.source lists_a.csv:" in said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((1e-3, "1e-3"), (0.004, "4e-3"), (1.5e-3, "1.5e-3"), (0.5, "0.5"), (0.01, "1e-2"), (1.0, "1"), (1e6, "1e6")),
        *((12.0, "12"), (42, "42"), (10**6, "1000000"), ("mup", "mup"), (0.0, "0"), (-0.25, "-0.25")),
    ],
)
def test_a_value_in_few_characters(value: Any, text: str) -> None:
    assert shortest(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_and_none_is_lost(value: float) -> None:
    assert float(shortest(value)) == value
    assert len(shortest(value)) <= len(repr(value))


def test_a_suffix_gives_other_names(settings: Settings) -> None:
    (variant,) = variants_of(settings, Sweep(vary={}), "again")
    assert variant.name == "wide-epochs-s42-again"
    for word in ("A", "-x", "a/b", "a b", "1"):
        with pytest.raises(WorldwidthError, match=f"^suffix '{word}': it must be a small letter"):
            variants_of(settings, Sweep(vary={}), word)


def test_a_named_sweep_is_added_to_and_replaced(settings: Settings) -> None:
    plain = chosen_sweep(settings, "rates", [])
    assert plain == settings.sweeps["rates"]
    other = chosen_sweep(settings, "rates", [("arch", ["deep"]), ("seed", ["1", "2"])], None, ["ftwb1-1"])
    assert (other.vary["arch"], other.vary["seed"], other.only) == (("deep",), (1, 2), ("ftwb1-1",))
    assert other.vary[LR] == plain.vary[LR]
    assert chosen_sweep(settings, "depth", []).replicates == 3
    assert chosen_sweep(settings, "depth", [("seed", ["1", "2"])]).replicates == 1
    assert chosen_sweep(settings, "depth", [], 2).replicates == 2
    with pytest.raises(WorldwidthError, match=r"sweep 'rate': not in params\.yaml; there: widths, .*mean 'rates'"):
        chosen_sweep(settings, "rate", [])


def test_every_sweep_of_params_yaml_can_be_run(settings: Settings) -> None:
    assert {name: len(variants_of(settings, one)) for name, one in settings.sweeps.items()} == {
        "widths": 4, "depth": 9, "rates": 30,
        "tuned": 60, "published": 60, "equal_pretraining": 40, "equal_finetuning": 40, "mup": 40,
        "ratios": 36, "fast_bodies": 24, "ceiling": 12,
        "other_world": 6, "rates_near": 24, "no_warmup": 12, "characters": 18,
    }  # fmt: skip


def test_a_sweep_can_have_a_scale_of_its_own(settings: Settings) -> None:
    own = Sweep(vary={"arch": ("narrow", "wide"), LR: (3e-3,)}, scale="smoke", only=("ftwb1-1",), replicates=2)
    found = variants_of(settings, own)
    draws = ("s42-smoke", "s43-smoke-a43")
    assert [variant.name for variant in found] == [
        f"{arch}-epochs-{draw}-lr3e-3" for draw in draws for arch in ("narrow", "wide")
    ]
    for variant in found:
        turned = variant.of(settings)
        assert (turned.scale, list(turned.finetunes)) == ("smoke", ["ftwb1-1"])
        assert turned.selected.world == replace(settings.scales["smoke"].world, atlantis=turned.selected.world.atlantis)
        assert turned.finetuning.learning_rate == 3e-3
        assert turned.scales["laptop"] == replace(settings.scales["laptop"], tuning=None)
        assert variant.at_scale(settings) == replace(settings, scale="smoke")
    assert variants_of(replace(settings, scale="desk"), own) == found, "wherever it is asked for"
    with pytest.raises(WorldwidthError, match=r"^sweep\.scale: found 'smok'; allowed: smoke, .* mean 'smoke'"):
        variants_of(settings, replace(own, scale="smok"))
    wrong = replace(own, vary={"arch": ("narrower",)})
    with pytest.raises(WorldwidthError, match=r"^sweep\.vary\.arch: found 'narrower'; allowed: "):
        variants_of(settings, wrong)


def test_a_job_asks_for_what_its_own_scale_says(settings: Settings) -> None:
    (variant,) = variants_of(settings, Sweep(vary={}, scale="paper"))
    job = VariantJob("x.base", "base", ("base",), (), variant, (), ())
    assert job.resources(settings) == settings.scales["paper"].execution.jobs.base
    assert job.resources(settings) != settings.selected.execution.jobs.base


def test_several_sweeps_go_on_seed_by_seed(settings: Settings) -> None:
    found = chosen_variants(settings, ["published", "equal_pretraining"], [("arch", ["wide", "narrow"])], 2)
    assert [variant.name for variant in found] == [
        f"{arch}-{budget}-{draw}{recipe}"
        for draw in ("s42", "s43-a43")
        for budget, recipe in (("epochs", "-published"), ("flops", ""))
        for arch in ("wide", "narrow")
    ]
    assert {variant.only for variant in found} == {("ftwb0", "ftwb1", "plug1"), ("ftwb0", "ftwb1")}
    assert chosen_variants(settings, ["widths", "widths"], []) == chosen_variants(settings, ["widths"], [])
    other = replace(settings.sweeps["depth"], only=("ftwb1",))
    settings = replace(settings, sweeps={**settings.sweeps, "depth": other})
    with pytest.raises(WorldwidthError, match="widths, depth: wide-epochs-s42 is another run in one than in another"):
        chosen_variants(settings, ["widths", "depth"], [])


def test_some_fine_tunes_only(settings: Settings) -> None:
    (variant,) = sweep(settings, only=("ftwb0", "ftwb1-1", "ftwb2-1"))
    assert list(variant.of(settings).finetunes) == ["ftwb1-1", "ftwb2-13", "ftwb2-15", "ftwb2-12", "ftwb0-0"]
    with pytest.raises(WorldwidthError, match=r"sweep\.only: found 'ftwb3'; allowed: plug1-1, .*or the start of some"):
        sweep(settings, only=("ftwb1", "ftwb3"))


def test_a_budget_that_leaves_no_steps_is_refused_before_anything_runs(settings: Settings) -> None:
    """narrow's FLOPs are a few steps of a wide model."""
    scale = settings.selected
    short = replace(scale, archs={**scale.archs, "narrow": replace(scale.archs["narrow"], epochs=1)})
    few = replace(settings, reference="narrow", scales={**settings.scales, "laptop": short})
    with pytest.raises(
        WorldwidthError, match=r"wider-flops-s42: scales\.laptop\.pretraining\.warmup_steps: found 50; it must"
    ):
        sweep(few, "arch=narrow,wider", "budget=flops")
    assert len(sweep(few, "arch=narrow,wider", "budget=tokens")) == 2


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """params.yaml in git, and what dvc.yaml is rendered from beside it."""
    monkeypatch.chdir(tmp_path)
    for name in ("src", "stages", "templates"):
        (tmp_path / name).symlink_to(PROJECT / name)
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    git("init", "-q")
    return tmp_path


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], check=True)


def commit() -> None:
    git("add", "params.yaml")
    git("commit", "-qm", "start")


def test_params_yaml_of_a_variant_says_what_its_settings_are(tree: Path, settings: Settings) -> None:
    commit()
    (variant,) = sweep(settings, "arch=deep", f"{LR}=4e-3", "world.atlantis.seed=7", only=("ftwb1-4",))
    assert write_variant(tree, "HEAD", variant) == variant.of(settings)
    text = (tree / "params.yaml").read_text()
    assert "arch: deep          # the dial" in text  # comments and layout stay
    stages = yaml.safe_load((tree / "dvc.yaml").read_text())["stages"]
    assert list(stages["ftwb1"]["foreach"]) == ["4"]
    assert stages["evaluate"]["foreach"] == ["base", "ftwb1-4"]
    assert "ftwb2" not in stages
    (elsewhere,) = variants_of(settings, Sweep(vary={"arch": ("deep",)}, scale="smoke"))
    assert write_variant(tree, "HEAD", elsewhere) == replace(settings, arch="deep", scale="smoke")
    (plain,) = sweep(settings)  # from what was committed, whatever stands there
    assert write_variant(tree, "HEAD", plain) == settings
    assert (tree / "params.yaml").read_bytes() == (PROJECT / "params.yaml").read_bytes()
    assert (tree / "dvc.yaml").read_bytes() == (PROJECT / "dvc.yaml").read_bytes()


def test_a_value_that_an_alias_shares_is_not_changed_by_the_way(tree: Path) -> None:
    text = (tree / "params.yaml").read_text()
    shared = text.replace(
        "        hidden_size: 16\n", "        finetuning: &own {learning_rate: 2.0e-3}\n        hidden_size: 16\n", 1
    )
    shared = shared.replace("        hidden_size: 32\n", "        finetuning: *own\n        hidden_size: 32\n", 1)
    (tree / "params.yaml").write_text(shared.replace("scale: laptop", "scale: smoke"))
    commit()
    settings = load()
    (variant,) = sweep(settings, "arch=base", f"{LR}=4e-3")
    with pytest.raises(WorldwidthError, match=r"base-epochs-s42-lr4e-3 changes a value that an alias \(\*\) shares"):
        write_variant(tree, "HEAD", variant)
