"""The settings that every stage declares, and the templates of dvc plots, against a tiny study that really ran.

pytest tests/test_stage_params.py

The stages' own code runs here behind a matrix that notes every setting it reads; the templates are filled
with the tables that it leaves.
"""

import importlib
import json
import os
import re
import runpy
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from dvc_yaml import Stages, expanded, parsed
from worldwidth.data.corpus import StoredCorpus
from worldwidth.evaluation.evaluate import evaluate
from worldwidth.model.checkpoint import load_model
from worldwidth.model.decoding import torch_decoder
from worldwidth.pipeline.stages import row_of, stage_names
from worldwidth.plots import probes, study
from worldwidth.settings.paths import EVALUATION_TABLE, MATRICES, REPRESENTATION_TABLE, TRAINING_TABLE
from worldwidth.settings.schema import DEFAULT, Settings
from worldwidth.training.mixture import finetuning_mixture, pretraining_mixture

ROOT = Path(__file__).parents[1]


def test_settings_of_a_scale_are_declared_for_the_chosen_one(stages: Stages) -> None:
    for stage in stages.values():
        scaled = [param for param in stage["params"] if param.startswith("scales")]
        assert all(param.startswith("scales.${scale}.") for param in scaled)


RESOLVED = {  # methods of a scale that ask for an arch -> what of the scale they read
    "pretraining_of": "pretraining",
    "finetuning_of": "finetuning",
    "plug_in_of": "plug_in",
    "sizes_of": "model.num_hidden_layers",
}


class Recorder:
    """Stands for a settings object and notes the path of every setting that is read."""

    def __init__(self, value: Any, path: str, seen: set[str]) -> None:
        self._value, self._path, self._seen = value, path, seen

    def __getattr__(self, name: str) -> Any:
        if name == "selected":
            return Recorder(self._value.selected, "scales.${scale}.", self._seen)
        if name == "selected_arch":
            return Recorder(self._value.selected_arch, "scales.${scale}.archs.${arch}.", self._seen)
        if name in RESOLVED:
            return partial(self._resolved, name)
        of_class = getattr(type(self._value), name, None)
        if isinstance(of_class, property):
            assert of_class.fget is not None
            return of_class.fget(self)
        found = getattr(self._value, name)
        if is_dataclass(found):
            return Recorder(found, f"{self._path}{name}.", self._seen)
        if isinstance(found, dict):
            return RecordingDict(found, f"{self._path}{name}", self._seen)
        self._seen.add(f"{self._path}{name}")
        return found

    def _resolved(self, name: str, arch: "Recorder | str", recipe: str = DEFAULT) -> Any:
        """What the scale, an arch and a recipe say together, which hangs on all of them."""
        path = f"{self._path}archs.{arch}" if isinstance(arch, str) else arch._path.removesuffix(".")
        self._seen |= {f"{self._path}{RESOLVED[name]}", path}
        if name == "plug_in_of":
            self._seen.add(f"{self._path}finetuning")
        found = getattr(self._value, name)
        if isinstance(arch, Recorder):
            return found(arch._value)
        if recipe == DEFAULT:
            return found(arch)
        self._seen.add(f"{self._path}recipes.{recipe}")
        return found(arch, recipe)


class RecordingDict(dict[str, Any]):
    """Notes the entries that are read; the names alone are only compared with what a user typed."""

    def __init__(self, values: dict[str, Any], path: str, seen: set[str]) -> None:
        super().__init__(values)
        self._path, self._seen = path, seen

    def __getitem__(self, key: str) -> Any:
        self._seen.add(f"{self._path}.{key}")
        found = super().__getitem__(key)
        return Recorder(found, f"{self._path}.{key}.", self._seen) if is_dataclass(found) else found

    def items(self) -> Any:
        self._seen.add(self._path)
        return super().items()

    def values(self) -> Any:
        self._seen.add(self._path)
        return super().values()


def tiny(settings: Settings) -> Settings:
    finetunes: dict[str, tuple[str, ...]] = {
        "plug1-1": ("distance",),
        "ftwb1-1": ("distance",),
        "ftwb1-5": ("inside",),
        "ftwb2-19": ("distance", "inside"),
    }
    small = replace(settings, scale="smoke", arch="wide", tasks=("distance", "inside"), finetunes=finetunes)
    settled = replace(small, budget="flops", finetuning_budget="flops", parametrization="mup")  # what reads most
    smoke = replace(settled.selected, pretraining=replace(settled.selected.pretraining, atlantis=True))
    return replace(settled, reference="base", recipe="published", scales={**settings.scales, "smoke": smoke})


def draw_only(name: str, draw: Callable[[], Figure], folder: Path) -> Path:
    """Stands for save_figure: writing the picture takes long and reads no setting."""
    plt.close(draw())
    return folder / name


@pytest.fixture(scope="module")
def tiny_study(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, set[str]]]]:
    """A finished study of two tasks, made by the stages' own code, and what every stage read of params.yaml."""
    folder, before, threads = tmp_path_factory.mktemp("study"), Path.cwd(), torch.get_num_threads()
    small, seen = tiny(settings), {}
    importlib.import_module("worldwidth.engine.stage_main")  # which asks what stage the process is, once
    os.chdir(folder)
    patch = pytest.MonkeyPatch()
    for module in (study, probes):
        patch.setattr(module, "save_figure", draw_only)
    try:
        for name in (name for name in stage_names(small) if name != "check"):
            stage, _, item = name.partition("@")
            script = row_of(name).name
            arguments = [f"{stage}-{item}" if script == "finetune" else item] if item else []
            seen[name] = set[str]()
            main = runpy.run_path(str(ROOT / "stages" / f"{script}.py"))["main"]
            main(Recorder(small, "", seen[name]), *arguments)
        yield folder, seen
    finally:
        patch.undo()
        os.chdir(before)
        torch.set_num_threads(threads)


# the width and the world that a model was made for: it depends on the base model, which depends on them
OF_THE_MODEL = {
    "arch",
    "scales.${scale}.archs.${arch}",
    *(f"scales.${{scale}}.model.{name}" for name in ("num_hidden_layers", "rms_norm_eps", "rope_theta", "tokens")),
    "scales.${scale}.model.initializer_range",
    "scales.${scale}.world.cities",
    "scales.${scale}.world.atlantis.cities",
}
ONE_KEY = {"added": {"scales.${scale}.pretraining": "scales.${scale}.pretraining.atlantis"}}  # of what is resolved
NOT_TRACKED = {"scales.${scale}.execution.resume_seconds"}  # changes no result
OF_OTHER_TASKS = {f"scales.${{scale}}.corpus.{name}" for name in ("hull_cities", "tour_cities")}
STATED_BUT_NOT_READ = {  # values that change nothing, and are there for people who read dvc.lock
    "recipe": {"arch"},  # picks the entry of archs
    "summarize": {"arch", "scale", "seed", "budget"},
    "representations": {"tasks"},
    **dict.fromkeys(("corpus@distance", "corpus@inside", "atlantis"), OF_OTHER_TASKS),
}
COMPARED_WITH_A_DEPENDENCY = {  # data/cities.csv and models/*, which hang on these values, are checked against them
    "plots": {f"scales.${{scale}}.world.{name}" for name in ("cities", "atlantis.cities", "seed", "id_digits")},
    **dict.fromkeys(("plug1@1", "ftwb1@1", "ftwb2@19", "evaluate@base"), OF_THE_MODEL),
    "represent@base": {name for name in OF_THE_MODEL if "world" not in name and "tokens" not in name},
}


@pytest.mark.parametrize(
    "name",
    [
        *("cities", "corpus@distance", "corpus@inside", "atlantis", "recipe", "added", "base"),
        *("plug1@1", "ftwb1@1", "ftwb2@19"),
        *("evaluate@base", "represent@base", "summarize", "plots", "representations"),
    ],
)
def test_a_stage_reads_what_it_declares_and_nothing_else(
    settings: Settings, tiny_study: tuple[Path, dict[str, set[str]]], name: str
) -> None:
    small = tiny(settings)
    named = {f".archs.{small.reference}": ".archs.${reference}", f".archs.{small.arch}": ".archs.${arch}"}
    read = {ONE_KEY.get(name, {}).get(setting, setting) for setting in tiny_study[1][name]}
    for arch, key in named.items():
        read = {setting.replace(arch, key) for setting in read}
    read -= COMPARED_WITH_A_DEPENDENCY.get(name, set()) | NOT_TRACKED
    declared = set(expanded(small)[name]["params"])
    for setting in read:
        assert any(setting == param or setting.startswith(f"{param}.") for param in declared), f"{name} reads {setting}"
    for param in declared - STATED_BUT_NOT_READ.get(name, set()):
        assert any(s == param or s.startswith((f"{param}.", f"{param}-")) for s in read), f"{name} never reads {param}"


@pytest.mark.parametrize("name", ["base", "ftwb1@1", "evaluate@base"])
def test_the_order_of_tasks_is_declared_where_it_changes_a_result(
    settings: Settings, tiny_study: tuple[Path, dict[str, set[str]]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """DVC does not see the order of dependencies: a stage whose lines follow the tasks has to declare them."""
    monkeypatch.chdir(tiny_study[0])
    scale = tiny(settings).selected
    forth, back = (
        {task: StoredCorpus(task) for task in order} for order in (("distance", "inside"), ("inside", "distance"))
    )
    if name == "evaluate@base":
        decode = torch_decoder(*load_model(Path("models/base"), "run it"), "cpu", 1)
        same = evaluate(decode, forth, scale)[0] == evaluate(decode, back, scale)[0]
    elif name == "base":
        same = np.array_equal(pretraining_mixture(forth).tokens, pretraining_mixture(back).tokens)
    else:
        once, again = (finetuning_mixture(corpora, ("distance",), scale.finetuning) for corpora in (forth, back))
        same = np.array_equal(once.tokens, again.tokens)
    assert same or "tasks" in expanded(tiny(settings))[name]["params"]


# --- the templates of dvc plots


def plot_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Table -> its settings for dvc plots, which may stand at the stage or at the end of dvc.yaml."""
    stages = parsed(settings)["stages"]
    of_stages = [plot for name in ("summarize", "representations") for plot in stages[name]["plots"]]
    listed = [*of_stages, *parsed(settings).get("plots", [])]
    return {
        table: plot_options
        for plot in listed
        for table, plot_options in (plot.items() if isinstance(plot, dict) else ())
        if "template" in plot_options
    }


@pytest.mark.parametrize("table", [MATRICES, EVALUATION_TABLE, TRAINING_TABLE, REPRESENTATION_TABLE])
def test_dvc_fills_the_template_of_a_table(
    settings: Settings, tiny_study: tuple[Path, dict[str, set[str]]], table: Path
) -> None:
    plot_options = plot_settings(settings)[str(table)]
    template = ROOT / plot_options["template"]
    text = template.read_text(encoding="utf-8")
    assert json.loads(text)["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    assert json.loads(text)["data"]["values"] == "<DVC_METRIC_DATA>"
    for anchor in ("<DVC_METRIC_DATA>", "<DVC_METRIC_TITLE>", "<DVC_METRIC_X>", "<DVC_METRIC_Y>"):
        assert anchor in text
    rows = pd.read_csv(tiny_study[0] / table, dtype=str, keep_default_na=False).to_dict("records")
    points = [{**row, "rev": rev} for row in rows for rev in ("workspace", "HEAD")]
    renderer = importlib.import_module("dvc_render.vega").VegaRenderer
    filled = renderer(points, str(table), **{**plot_options, "template": str(template)}).get_filled_template()
    assert "DVC_METRIC" not in json.dumps(filled)
    assert filled["title"] == plot_options["title"]
    assert len(filled["data"]["values"]) == len(points)
    known = set(points[0]) | set(re.findall(r'"as": "(\w+)"', text))
    used = set(re.findall(r"datum\.(\w+)", text)) | set(re.findall(r'"field": "(\w+)"', text))
    assert used <= known
    assert {plot_options["x"], plot_options["y"]} <= set(rows[0])


def test_every_template_is_used(settings: Settings) -> None:
    used = [plot_options["template"] for plot_options in plot_settings(settings).values()]
    assert sorted(used) == sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "templates/plots").iterdir())
