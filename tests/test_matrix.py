"""params.yaml: the published numbers, every scale and arch, how numbers are read, the JSON schema.

pytest tests/test_matrix.py
"""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from params_file import AT_EVERY_LEVEL, MISSING, PARAMS, PLACES, SMOKE, TEXT, VALUES, Place, edited, with_seed, written
from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.compute import (
    parameter_count,
    training_flops,
    training_lines,
    training_steps,
    vocabulary_size,
    width_ratio,
)
from worldwidth.settings.load import json_schema, load
from worldwidth.settings.schema import Settings, finetuned, is_plug_in
from worldwidth.settings.strict_yaml import read_yaml

ARCHS = ("narrow", "base", "wide", "wider")
DEPTHS = ("shallow", "deep")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load(PARAMS)


def at_paper(settings: Settings, arch: str) -> Settings:
    return replace(settings, scale="paper", arch=arch)


@pytest.mark.parametrize("scale", VALUES["scales"])
@pytest.mark.parametrize("arch", [*ARCHS, *DEPTHS])
def test_every_scale_and_arch_of_the_real_file_loads(scale: str, arch: str, tmp_path: Path) -> None:
    loaded = load(written(tmp_path, edited((("scale",), scale), (("arch",), arch))))
    assert loaded.selected is loaded.scales[scale]
    assert loaded.selected_arch.hidden_size == VALUES["scales"][scale]["archs"][arch]["hidden_size"]
    assert loaded.models == ("base", *VALUES["finetunes"])
    assert all(training_steps(loaded, name) > 0 for name in loaded.models)
    cities = loaded.selected.world.cities + loaded.selected.world.atlantis.cities
    extra = cities if loaded.selected.model.tokens == "cities" else 0
    assert vocabulary_size(loaded.selected) == 98 + extra


@pytest.mark.parametrize("scale", VALUES["scales"])
def test_widths_keep_the_published_proportions_at_every_scale(scale: str, settings: Settings) -> None:
    archs = settings.scales[scale].archs
    assert set(archs) == {*ARCHS, *DEPTHS}
    narrow = archs["narrow"]
    for times, name in zip((1, 2, 4, 8), ARCHS, strict=True):
        arch = archs[name]
        assert arch.hidden_size == times * narrow.hidden_size
        assert arch.num_attention_heads == times * narrow.num_attention_heads
        assert arch.intermediate_size == 4 * arch.hidden_size
        assert arch.num_hidden_layers is None
    assert [archs[name].epochs / archs["wide"].epochs for name in ARCHS] == [4, 2, 1, 1]


@pytest.mark.parametrize("scale", VALUES["scales"])
def test_deep_and_shallow_cost_about_what_wide_does(scale: str, settings: Settings) -> None:
    """Half of its width in four times its layers, and as many weights in a third of them."""
    found = settings.scales[scale]
    wide = found.sizes_of(found.archs["wide"])
    deep, shallow = (found.sizes_of(found.archs[name]) for name in ("deep", "shallow"))
    assert (2 * deep.hidden_size, deep.num_hidden_layers) == (wide.hidden_size, 4 * wide.num_hidden_layers)
    assert 2 * shallow.num_hidden_layers <= wide.num_hidden_layers
    for name in DEPTHS:
        arch = found.archs[name]
        ratio = parameter_count(found, found.sizes_of(arch)) / parameter_count(found, wide)
        assert 0.85 < ratio < 1.1, name
        assert arch.epochs == found.archs["wide"].epochs
        assert arch.hidden_size // arch.num_attention_heads == wide.hidden_size // wide.num_attention_heads


@pytest.mark.parametrize(
    ("arch", "hidden", "intermediate", "heads", "epochs", "parameters", "steps"),
    [
        ("narrow", 64, 256, 2, 12, 407_744, 656_256),
        ("base", 128, 512, 4, 6, 1_601_920, 328_128),
        ("wide", 256, 1_024, 8, 3, 6_349_568, 164_064),
        ("wider", 512, 2_048, 16, 3, 25_282_048, 164_064),
    ],
)
def test_published_widths_parameters_and_steps(
    arch: str, hidden: int, intermediate: int, heads: int, epochs: int, parameters: int, steps: int, settings: Settings
) -> None:
    paper = at_paper(settings, arch)
    width = paper.selected_arch
    found = (width.hidden_size, width.intermediate_size, width.num_attention_heads, width.epochs)
    assert found == (hidden, intermediate, heads, epochs)
    assert hidden // heads == 32
    count = parameter_count(paper.selected, paper.sizes)
    assert count == parameters == 96 * hidden**2 + 227 * hidden
    assert training_steps(paper, "base") == steps
    for name in finetuned(paper):
        trained = paper.finetunes[name]
        assert training_lines(paper, name) == len(trained) * 120_000 + 7 * 256
        assert training_steps(paper, name) == {0: 28_560, 1: 28_560, 2: 56_670}[len(trained)]


def test_pretraining_flops_relative_to_narrow(settings: Settings) -> None:
    flops = []
    for arch in ARCHS:
        paper = at_paper(settings, arch)
        count = parameter_count(paper.selected, paper.sizes)
        flops.append(training_flops(count, training_lines(paper, "base") * paper.selected_arch.epochs))
    assert training_flops(3, 5) == 90
    assert [round(value / flops[0], 2) for value in flops] == [1, 1.96, 3.89, 15.5]


def test_the_paper_scale_is_the_specification(settings: Settings) -> None:
    paper = settings.scales["paper"]
    assert (paper.corpus.hull_cities, paper.corpus.tour_cities) == ((3, 5), (2, 5))
    for lines, train in ((paper.corpus.world, 1_000_000), (paper.corpus.atlantis, 100_000)):
        assert (lines.train, lines.validation, lines.test) == (train, 128, 10_000)
    model = paper.model
    assert (model.num_hidden_layers, model.initializer_range, model.rms_norm_eps) == (6, 0.1, 1e-6)
    assert (model.rope_theta, model.tokens) == (10_000, "characters")
    for run, rate in ((paper.pretraining, 3e-4), (paper.finetuning, 1e-5)):
        assert (run.optimizer, run.learning_rate, run.betas, run.epsilon) == ("adamw", rate, (0.9, 0.999), 1e-8)
        assert (run.weight_decay, run.max_grad_norm, run.warmup_steps, run.batch_size) == (0.01, 1.0, 50, 128)
        assert (run.decay_fraction, run.loss, run.checkpoints) == (1.0, "all", 40)
    mixture = paper.finetuning
    assert (mixture.epochs, mixture.world_lines, mixture.atlantis_lines, mixture.warmup_lines) == (
        30,
        20_000,
        100_000,
        256,
    )
    assert paper.evaluation.multitask_lines == 10_000


def test_the_tasks_and_fine_tunes_are_the_specification(settings: Settings) -> None:
    assert settings.tasks == ("distance", "trianglearea", "angle", "compass", "inside", "perimeter", "crossing")
    expected: dict[str, set[str]] = {f"ftwb1-{i}": {task} for i, task in enumerate(settings.tasks, start=1)} | {
        "ftwb0-0": set(),
        "ftwb2-2": {"angle", "compass"},
        "ftwb2-4": {"crossing", "distance"},
        "ftwb2-9": {"compass", "trianglearea"},
        "ftwb2-12": {"crossing", "inside"},
        "ftwb2-13": {"distance", "perimeter"},
        "ftwb2-15": {"compass", "distance"},
    }
    assert {name: set(settings.finetunes[name]) for name in finetuned(settings)} == expected
    plug_ins = {f"plug1-{i}": {task} for i, task in enumerate(settings.tasks, start=1)} | {"plug7-1": {*settings.tasks}}
    assert {name: set(t) for name, t in settings.finetunes.items() if is_plug_in(name)} == plug_ins
    assert len(settings.models) == 23
    assert (settings.budget, settings.seed) == ("epochs", 42)


@pytest.mark.parametrize("text", ["1e-3", "1.0e-3", "1E-3", "0.001", "1e-03"])
def test_numbers_with_an_exponent_are_floats(text: str, tmp_path: Path) -> None:
    assert TEXT.count("learning_rate: 5.0e-3") >= 1
    loaded = load(written(tmp_path, TEXT.replace("learning_rate: 5.0e-3", f"learning_rate: {text}", 1)))
    assert loaded.scales["smoke"].pretraining.learning_rate == 0.001


@pytest.mark.parametrize("text", ["42", "+42", "010", "0o10", "0x10", "0b11", "1:30", "4_2", "1e2", "42.0", "yes", "~"])
def test_a_number_is_read_as_dvc_reads_it_or_refused(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, with_seed(f"seed: {text}"))
    as_dvc = YAML(typ="safe").load(path)["seed"]
    try:
        found = load(path).seed
    except WorldwidthError:
        return
    assert (found, type(found)) == (as_dvc, type(as_dvc))


def test_the_whole_file_is_read_as_dvc_reads_it() -> None:
    assert read_yaml(PARAMS) == YAML(typ="safe").load(PARAMS) == VALUES


@pytest.mark.parametrize(
    "change",
    [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")],
    ids=["byte order mark", "windows"],
)
def test_what_editors_on_windows_do_is_accepted(
    change: Callable[[str], str], tmp_path: Path, settings: Settings
) -> None:
    assert load(written(tmp_path, change(TEXT))) == settings


def test_settings_are_frozen(settings: Settings) -> None:
    parts: list[Any] = [settings, settings.selected, settings.selected.world.atlantis, settings.selected_arch]
    for part in parts:
        with pytest.raises(AttributeError):
            setattr(part, fields(part)[0].name, 1)


def test_the_json_schema_accepts_the_real_file() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(VALUES, json_schema(), cls=jsonschema.Draft202012Validator)


@AT_EVERY_LEVEL
def test_the_json_schema_refuses_an_unknown_and_a_missing_key(place: Place) -> None:
    wrong, meant = PLACES[place]
    for values in (edited(((*place, wrong), 1)), edited(((*place, meant), MISSING))):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values, json_schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("seed",), True, id="bool for int"),
        pytest.param(("seed",), -1, id="negative"),
        pytest.param(("budget",), "token", id="budget"),
        pytest.param(("tasks",), "distance", id="text for list"),
        pytest.param(("finetunes", "ftwb1-../x"), ["angle"], id="fine-tune name"),
        pytest.param((*SMOKE, "pretraining", "learning_rate"), 0, id="zero rate"),
        pytest.param((*SMOKE, "pretraining", "betas"), [0.9], id="one beta"),
        pytest.param((*SMOKE, "archs", "../x"), VALUES["scales"]["smoke"]["archs"]["wide"], id="arch name"),
    ],
)
def test_the_json_schema_refuses_what_an_editor_should_mark(path: Place, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(edited((path, value)), json_schema(), cls=jsonschema.Draft202012Validator)


def test_a_scale_need_not_have_the_reference_of_another(tmp_path: Path) -> None:
    """Only the selected scale is asked for it, under the parametrization too."""
    values = edited((("reference",), "deep"), (("parametrization",), "mup"), (("budget",), "flops"))
    del values["scales"]["smoke"]["archs"]["deep"], values["sweeps"]
    assert width_ratio(load(written(tmp_path, values))) == 2.0
