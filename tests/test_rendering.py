"""params.yaml and the template to dvc.yaml: structure only, exact params, exact code, and nothing stale.

pytest tests/test_rendering.py

What a stage declares is compared with what it does: its code runs here on a tiny study behind a matrix
that notes every setting it reads, and its imports run in a fresh interpreter that lists what it loads.
"""

import ast
import copy
import importlib
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA
from jsonschema import Draft202012Validator
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from worldwidth import cli, imports, study_plots
from worldwidth.checkpoints import load_model
from worldwidth.corpus import StoredCorpus
from worldwidth.errors import WorldwidthError
from worldwidth.evaluation import evaluate
from worldwidth.imports import PLUMBING, code_closure, task_closure, task_files
from worldwidth.layout import EVALUATION_TABLE, MATRICES, TRAINING_TABLE
from worldwidth.matrix import Matrix, json_schema, load
from worldwidth.mixture import finetuning_mixture, pretraining_mixture
from worldwidth.pipeline import check_rendered, render, rendered_files, write_rendered
from worldwidth.stage import run_stage

ROOT = Path(__file__).parents[1]
Stages = dict[str, dict[str, Any]]
SCRIPT_OF = {  # stage of dvc.yaml, expanded -> its script
    "cities": "cities",
    "corpus@distance": "corpus",
    "corpus@inside": "corpus",
    "base": "pretrain",
    "ftwb1@1": "finetune",
    "ftwb2@4": "finetune",
    "evaluate@base": "evaluate",
    "evaluate@ftwb2-12": "evaluate",
    "summarize": "summarize",
    "plots": "plots",
}


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return load(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def stages(matrix: Matrix) -> Stages:
    return expanded(matrix)


def parsed(matrix: Matrix) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render(matrix, ROOT))
    return found


def expanded(matrix: Matrix) -> Stages:
    """Every stage with its name as DVC gives it, ${item} and ${key} filled in."""
    found: Stages = {}
    for name, stage in parsed(matrix)["stages"].items():
        if "foreach" not in stage:
            found[name] = stage
            continue
        over = stage["foreach"]
        pairs = over.items() if isinstance(over, dict) else ((item, item) for item in over)
        for key, item in pairs:
            text = json.dumps(stage["do"]).replace("${item}", item).replace("${key}", key)
            found[f"{name}@{key}"] = json.loads(text)
    return found


def with_finetunes(matrix: Matrix, **more: tuple[str, ...]) -> Matrix:
    return replace(matrix, finetunes={**matrix.finetunes, **{k.replace("_", "-"): v for k, v in more.items()}})


def outs(stage: dict[str, Any]) -> list[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(out)) if isinstance(out, dict) else out for out in listed]


# --- the same bytes


def test_the_committed_files_are_the_rendering_of_params(matrix: Matrix) -> None:
    for path, text in rendered_files(matrix, ROOT).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path} is stale: run `make render`"
    check_rendered(matrix, ROOT)


def test_rendering_reads_nothing_but_its_arguments(
    matrix: Matrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = render(matrix, ROOT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", "elsewhere")
    assert render(matrix, ROOT) == before == render(copy.deepcopy(matrix), ROOT)
    assert list(tmp_path.iterdir()) == []
    assert "\r" not in before
    assert before.endswith("\n")
    assert "{%" not in before
    assert "{{" not in before
    assert str(ROOT) not in before


def test_rendering_is_the_same_in_another_process(matrix: Matrix) -> None:
    """Another hash seed and locale: no order of a set and no language slips in."""
    code = "import sys; from worldwidth.matrix import load; from worldwidth.pipeline import render; "
    code += "sys.stdout.buffer.write(render(load()).encode())"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "LC_ALL": "C", "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert run.stdout.decode() == render(matrix, ROOT)


# --- the structure


def test_dvc_reads_it(matrix: Matrix) -> None:
    COMPILED_MULTI_STAGE_SCHEMA(parsed(matrix))


def test_every_dependency_is_a_file_of_the_project_or_the_output_of_one_stage(stages: Stages) -> None:
    made = [out for stage in stages.values() for out in outs(stage)]
    assert len(made) == len(set(made))
    for name, stage in stages.items():
        assert len(stage["deps"]) == len(set(stage["deps"])), name
        for dep in stage["deps"]:
            assert dep in made or (ROOT / dep).is_file(), f"{name}: {dep}"


def test_the_stages_of_params(matrix: Matrix, stages: Stages) -> None:
    expected = ["check", "cities", *(f"corpus@{task}" for task in matrix.tasks), "base"]
    expected += [model.replace("-", "@") for model in matrix.finetunes]
    expected += [f"evaluate@{model}" for model in matrix.models] + ["summarize", "plots"]
    assert list(stages) == expected
    assert outs(stages["ftwb2@13"]) == ["models/ftwb2-13", "results/training/ftwb2-13.csv"]
    assert stages["ftwb2@13"]["cmd"].endswith("stages/finetune.py ftwb2-13")
    assert "finetunes.ftwb2-13" in stages["ftwb2@13"]["params"]
    assert not [param for param in stages["ftwb2@13"]["params"] if param.startswith("finetunes.") and "13" not in param]
    assert list(parsed(matrix)["artifacts"]) == list(matrix.models)


@pytest.mark.parametrize("arch", ["narrow", "base", "wide", "wider"])
@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_values_do_not_change_it(matrix: Matrix, arch: str, scale: str) -> None:
    assert render(replace(matrix, arch=arch, scale=scale, seed=7), ROOT) == render(matrix, ROOT)


def test_sizes_do_not_change_it(matrix: Matrix) -> None:
    for name, scale in matrix.scales.items():
        other = replace(
            scale,
            world=replace(scale.world, cities=77, seed=8, id_digits=5),
            archs={"tiny": scale.archs["narrow"]},
            pretraining=replace(scale.pretraining, learning_rate=1.0, checkpoints=0),
            statistics=replace(scale.statistics, resamples=101),
        )
        changed = replace(matrix, scales={**matrix.scales, name: other, "another": other})
        assert render(changed, ROOT) == render(matrix, ROOT)


def fingerprint(matrix: Matrix) -> str:
    (found,) = re.findall(r"stages/check\.py (\w+)$", expanded(matrix)["check"]["cmd"])
    return str(found)


def unchanged(before: Stages, after: Stages, *but: str) -> None:
    """The same stages do the same, those named apart and the check, whose command holds the fingerprint."""
    for name in before.keys() & after.keys() - {*but, "check"}:
        assert before[name] == after[name], name


def test_one_more_pair(matrix: Matrix, stages: Stages) -> None:
    more = with_finetunes(matrix, ftwb2_1=("distance", "trianglearea"))
    after = expanded(more)
    assert after.keys() - stages.keys() == {"ftwb2@1", "evaluate@ftwb2-1"}
    assert stages.keys() <= after.keys()
    unchanged(stages, after, "summarize")
    new = set(after["summarize"]["deps"]) - set(stages["summarize"]["deps"])
    assert new == {"results/evaluations/ftwb2-1.json", "results/scores/ftwb2-1.npz", "results/training/ftwb2-1.csv"}
    assert parsed(more)["stages"]["ftwb2"]["foreach"]["1"] == "distance and trianglearea"
    assert parsed(more)["artifacts"]["ftwb2-1"]["path"] == "models/ftwb2-1"
    assert after["ftwb2@1"] == {
        **stages["ftwb2@13"],
        "desc": "fine-tune the base model on Atlantis, trained on distance and trianglearea",
        "cmd": stages["ftwb2@13"]["cmd"].replace("ftwb2-13", "ftwb2-1"),
        "params": [param.replace("ftwb2-13", "ftwb2-1") for param in stages["ftwb2@13"]["params"]],
        "outs": ["models/ftwb2-1", "results/training/ftwb2-1.csv"],
    }
    assert fingerprint(more) != fingerprint(matrix)


def test_other_tasks_for_the_same_model_change_the_fingerprint_and_the_description_only(matrix: Matrix) -> None:
    swapped = with_finetunes(matrix, ftwb2_4=("inside", "distance"))
    before, after = expanded(matrix), expanded(swapped)
    assert fingerprint(swapped) != fingerprint(matrix)
    assert after["ftwb2@4"].pop("desc") != before["ftwb2@4"].pop("desc")
    unchanged(before, after)


def test_three_tasks_make_a_group_of_their_own(matrix: Matrix, stages: Stages) -> None:
    more = with_finetunes(matrix, ftwb3_1=("distance", "angle", "inside"))
    after = expanded(more)
    assert after.keys() - stages.keys() == {"ftwb3@1", "evaluate@ftwb3-1"}
    assert parsed(more)["stages"]["ftwb3"]["foreach"] == {"1": "distance and angle and inside"}
    assert after["ftwb3@1"]["cmd"].endswith("stages/finetune.py ftwb3-1")
    assert "finetunes.ftwb3-1" in after["ftwb3@1"]["params"]
    assert set(outs(after["plots"])) - set(outs(stages["plots"])) == {"plots/ftwb3.png"}
    unchanged(stages, after, "summarize", "plots")
    assert {**after["plots"], "plots": []} == {**stages["plots"], "plots": []}
    COMPILED_MULTI_STAGE_SCHEMA(parsed(more))


def test_one_more_task(matrix: Matrix, stages: Stages) -> None:
    """Seen from the other side: the study without crossing."""
    tasks = tuple(task for task in matrix.tasks if task != "crossing")
    finetunes = {model: trained for model, trained in matrix.finetunes.items() if "crossing" not in trained}
    fewer = expanded(replace(matrix, tasks=tasks, finetunes=finetunes))
    unchanged_names = {name for name in fewer if name.startswith(("cities", "corpus"))} | {"plots"}
    assert all(fewer[name] == stages[name] for name in unchanged_names)
    assert "corpus@crossing" not in fewer
    corpus, module = "data/corpora/crossing", "src/worldwidth/tasks/crossing.py"
    for name in ("base", "ftwb1@1", "ftwb2@13", "evaluate@base", "evaluate@ftwb2-13", "summarize"):
        new = set(stages[name]["deps"]) - set(fewer[name]["deps"])
        if name == "summarize":
            assert {dep for dep in new if not dep.startswith("results/")} == {module}
        else:
            assert new == ({corpus, module} if name.startswith("evaluate") else {corpus}), name
        assert set(fewer[name]["deps"]) <= set(stages[name]["deps"])


def test_without_pairs_there_is_no_picture_of_differences(matrix: Matrix, stages: Stages) -> None:
    three = ("ftwb1", "ftwb2", "difference")
    assert outs(stages["plots"]) == [f"plots/{n}.png" for n in [*three, "overview", "training", "world"]]
    single: dict[str, tuple[str, ...]] = {
        model: trained for model, trained in matrix.finetunes.items() if len(trained) == 1
    }
    alone = expanded(replace(matrix, finetunes=single))
    assert outs(alone["plots"]) == [f"plots/{n}.png" for n in ("ftwb1", "overview", "training", "world")]


# --- what a stage reads of params.yaml

PARAMS = {
    "check": {"arch", "scale", "seed", "budget", "tasks", "finetunes"},
    "cities": {"world"},
    "corpus@angle": {"world", "corpus", "model"},
    "base": {"seed", "budget", "archs.${arch}", "world", "model", "pretraining", "hardware"},
    "ftwb1@3": {"seed", "finetunes.ftwb1-3", "finetuning", "hardware"},
    "ftwb2@12": {"seed", "finetunes.ftwb2-12", "finetuning", "hardware"},
    "evaluate@base": {"world", "evaluation", "hardware"},
    "evaluate@ftwb1-1": {"world", "evaluation", "hardware"},
    "summarize": {"arch", "scale", "seed", "budget", "tasks", "finetunes", "statistics"},
    "plots": {"arch", "scale", "seed", "budget", "tasks", "finetunes"},
}


@pytest.mark.parametrize("name", PARAMS)
def test_the_params_of_a_stage(stages: Stages, name: str) -> None:
    """`tasks` may stand anywhere but before the corpora: it is its order that the other stages may hang on."""
    found = {param.removeprefix("scales.${scale}.") for param in stages[name]["params"]}
    optional = set() if name in ("cities", "corpus@angle") else {"tasks"}
    assert found | optional == PARAMS[name] | optional
    scaled = {p for p in stages[name]["params"] if p.startswith("scales.")}
    assert all(p.startswith("scales.${scale}.") and len(p.split(".")) >= 3 for p in scaled)


class Recorder:
    """Stands for a settings object and notes the path of every setting that is read."""

    def __init__(self, value: Any, path: str, seen: set[str]) -> None:
        self._value, self._path, self._seen = value, path, seen

    def __getattr__(self, name: str) -> Any:
        if name == "selected":
            return Recorder(self._value.selected, "scales.${scale}.", self._seen)
        if name == "selected_arch":
            return Recorder(self._value.selected_arch, "scales.${scale}.archs.${arch}.", self._seen)
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


class RecordingDict(dict[str, Any]):
    """Notes the entries that are read; the names alone are only compared with what a user typed."""

    def __init__(self, values: dict[str, Any], path: str, seen: set[str]) -> None:
        super().__init__(values)
        self._path, self._seen = path, seen

    def __getitem__(self, key: str) -> Any:
        self._seen.add(f"{self._path}.{key}")
        return super().__getitem__(key)

    def items(self) -> Any:
        self._seen.add(self._path)
        return super().items()

    def values(self) -> Any:
        self._seen.add(self._path)
        return super().values()


def tiny(matrix: Matrix) -> Matrix:
    finetunes: dict[str, tuple[str, ...]] = {
        "ftwb1-1": ("distance",),
        "ftwb1-5": ("inside",),
        "ftwb2-19": ("distance", "inside"),
    }
    return replace(matrix, scale="smoke", arch="wide", tasks=("distance", "inside"), finetunes=finetunes)


def draw_only(name: str, draw: Callable[[], Figure], folder: Path) -> Path:
    """Stands for save_figure: writing the picture takes long and reads no setting."""
    plt.close(draw())
    return folder / name


@pytest.fixture(scope="module")
def study(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, set[str]]]]:
    """A finished study of two tasks, made by the stages' own code, and what every stage read of params.yaml."""
    folder, before, threads = tmp_path_factory.mktemp("study"), Path.cwd(), torch.get_num_threads()
    small, seen = tiny(matrix), {}
    os.chdir(folder)
    patch = pytest.MonkeyPatch()
    patch.setattr(study_plots, "save_figure", draw_only)
    try:
        runs = ["cities", "corpus@distance", "corpus@inside", "base", *(m.replace("-", "@") for m in small.finetunes)]
        runs += [f"evaluate@{model}" for model in small.models] + ["summarize", "plots"]
        for name in runs:
            stage, _, item = name.partition("@")
            script = {"base": "pretrain", "ftwb1": "finetune", "ftwb2": "finetune"}.get(stage, stage)
            arguments = [f"{stage}-{item}" if script == "finetune" else item] if item else []
            seen[name] = set[str]()
            main = runpy.run_path(str(ROOT / "stages" / f"{script}.py"))["main"]
            main(Recorder(small, "", seen[name]), *arguments)
        yield folder, seen
    finally:
        patch.undo()
        os.chdir(before)
        torch.set_num_threads(threads)


STATED_BUT_NOT_READ = {  # values that change nothing, and are there for people who read dvc.lock
    "base": {"budget"},
    "summarize": {"arch", "scale", "seed", "budget"},
}
COMPARED_WITH_A_DEPENDENCY = {  # data/cities.csv, which hangs on these values, is checked against them
    "plots": {"scales.${scale}.world.cities", "scales.${scale}.world.atlantis.cities"},
}


RUN = (
    "cities",
    "corpus@distance",
    "corpus@inside",
    "base",
    "ftwb1@1",
    "ftwb2@19",
    "evaluate@base",
    "summarize",
    "plots",
)


@pytest.mark.parametrize("name", RUN)
def test_a_stage_reads_what_it_declares_and_nothing_else(
    matrix: Matrix, study: tuple[Path, dict[str, set[str]]], name: str
) -> None:
    read = study[1][name] - {"tasks"}  # its order is the next test; its members are dependencies
    read -= COMPARED_WITH_A_DEPENDENCY.get(name, set())
    declared = set(expanded(tiny(matrix))[name]["params"]) - {"tasks"}
    for setting in read:
        assert any(setting == param or setting.startswith(f"{param}.") for param in declared), f"{name} reads {setting}"
    for param in declared - STATED_BUT_NOT_READ.get(name, set()):
        assert any(s == param or s.startswith((f"{param}.", f"{param}-")) for s in read), f"{name} never reads {param}"


@pytest.mark.parametrize("name", ["base", "ftwb1@1", "evaluate@base"])
def test_the_order_of_tasks_is_declared_where_it_changes_a_result(
    matrix: Matrix, study: tuple[Path, dict[str, set[str]]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """DVC does not see the order of dependencies: a stage whose lines follow the tasks has to declare them."""
    monkeypatch.chdir(study[0])
    scale = tiny(matrix).selected
    forth, back = (
        {task: StoredCorpus(task) for task in order} for order in (("distance", "inside"), ("inside", "distance"))
    )
    if name == "evaluate@base":
        model = load_model(Path("models/base"), "run it")
        same = evaluate(model, forth, scale)[0] == evaluate(model, back, scale)[0]
    elif name == "base":
        same = np.array_equal(pretraining_mixture(forth).lengths, pretraining_mixture(back).lengths)
    else:
        once, again = (finetuning_mixture(corpora, ("distance",), scale.finetuning) for corpora in (forth, back))
        same = np.array_equal(once.lengths, again.lengths)
    assert same or "tasks" in expanded(tiny(matrix))[name]["params"]


# --- what a stage runs


def made_up(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


PACKAGE = {
    "stages/one.py": "import json\nfrom worldwidth import first, stage\nfrom worldwidth.second import something\n",
    "stages/two.py": "import worldwidth.group.deep\nimport worldwidth.second as other\n",
    "src/worldwidth/__init__.py": "",
    "src/worldwidth/first.py": "def f():\n    if True:\n        from worldwidth.late import g\n",
    "src/worldwidth/late.py": "import worldwidth.first\nfrom worldwidth import missing\n",
    "src/worldwidth/second.py": "import first, os.path\nfrom json import helper\nfrom worldwidth.stage import run\n",
    "src/worldwidth/stage.py": "from worldwidth import hidden\n",
    "src/worldwidth/hidden.py": "",
    "src/worldwidth/unused.py": "from worldwidth import first\n",
    "src/worldwidth/group/__init__.py": "from worldwidth.helper import h\n",
    "src/worldwidth/group/deep.py": "x = 1\n",
    "src/worldwidth/group/other.py": "",
    "src/worldwidth/helper.py": "",
}


def test_the_closure_of_a_made_up_package(tmp_path: Path) -> None:
    """Imports of modules, from a package, inside functions and in circles; plumbing is left out and not followed."""
    made_up(tmp_path, PACKAGE)
    source = "src/worldwidth"
    assert code_closure(Path("stages/one.py"), tmp_path) == [
        f"{source}/first.py",
        f"{source}/late.py",
        f"{source}/second.py",
        "stages/one.py",
    ]


def test_importing_a_module_runs_the_packages_above_it(tmp_path: Path) -> None:
    made_up(tmp_path, PACKAGE)
    found = code_closure(Path("stages/two.py"), tmp_path)
    for name in ("group/deep.py", "group/__init__.py", "helper.py", "second.py"):
        assert f"src/worldwidth/{name}" in found
    assert "src/worldwidth/group/other.py" not in found


def test_the_closure_of_tasks_leaves_the_tasks_themselves_out(tmp_path: Path) -> None:
    files = {
        "src/worldwidth/__init__.py": "",
        "src/worldwidth/tasks/__init__.py": "",
        "src/worldwidth/tasks/near.py": "from worldwidth.tasks import Task\nfrom worldwidth.tasks.shapes import area\n",
        "src/worldwidth/tasks/far.py": "from worldwidth.tasks.near import TASK\n",
        "src/worldwidth/tasks/shapes.py": "from worldwidth import numbers\n",
        "src/worldwidth/numbers.py": "",
    }
    made_up(tmp_path, files)
    source = "src/worldwidth"
    shared = [f"{source}/numbers.py", f"{source}/tasks/__init__.py", f"{source}/tasks/shapes.py"]
    assert task_closure(("near", "far"), tmp_path) == shared
    assert task_files(("near", "far")) == [f"{source}/tasks/near.py", f"{source}/tasks/far.py"]


def test_no_import_escapes_the_closure() -> None:
    """Relative imports, and modules imported by name, are not followed: there is only the one in tasks/."""
    for path in (*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}: {ast.unparse(node)[:60]}"
            assert not (isinstance(node, ast.ImportFrom) and node.level), where
            if path.relative_to(ROOT).as_posix() != "src/worldwidth/tasks/__init__.py":
                assert not (isinstance(node, ast.Attribute) and node.attr in ("import_module", "run_path")), where
                assert not (isinstance(node, ast.Name) and node.id in ("__import__", "import_module", "exec")), where


LISTING = """
import importlib, json, runpy, sys, types
plumbing = types.ModuleType("worldwidth.stage")  # in its place: what only it imports is not a stage's own
plumbing.run_stage = plumbing.known_model = plumbing.scratch_folder = plumbing.exit_codes = None
loaded = {}
for script in sys.argv[1].split(","):
    for name in [name for name in sys.modules if name.split(".")[0] == "worldwidth"]:
        del sys.modules[name]
    sys.modules["worldwidth.stage"] = plumbing
    runpy.run_path(f"stages/{script}.py", run_name="stage")
    before = set(sys.modules)
    if script in ("corpus", "evaluate", "summarize"):
        tasks = sys.argv[2 if script != "corpus" else 3].split(",")
        load = sys.modules["worldwidth.tasks"].load_task
        for task in tasks:
            load(task)
    loaded[script] = sorted(
        module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "worldwidth"
        and module is not plumbing
    )
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(matrix: Matrix) -> dict[str, set[str]]:
    """Script -> the project's files that it loads in a fresh interpreter, the plumbing left out."""
    scripts = ("cities", "corpus", "pretrain", "finetune", "evaluate", "summarize", "plots")
    command = [sys.executable, "-c", LISTING, ",".join(scripts), ",".join(matrix.tasks), "distance"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    plumbing = {path_of(module) for module in PLUMBING}
    listed: dict[str, list[str]] = json.loads(run.stdout)
    return {
        script: {Path(file).relative_to(ROOT).as_posix() for file in files} - plumbing
        for script, files in listed.items()
    }


def path_of(module: str) -> str:
    path = Path("src", *module.split("."))
    return (path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")).as_posix()


@pytest.mark.parametrize("name", [name for name in SCRIPT_OF if name != "corpus@inside"])
def test_every_file_that_a_stage_loads_is_a_dependency(stages: Stages, loaded: dict[str, set[str]], name: str) -> None:
    code = {dep for dep in stages[name]["deps"] if dep.endswith(".py")}
    assert f"stages/{SCRIPT_OF[name]}.py" in code
    assert loaded[SCRIPT_OF[name]] <= code
    never = code - loaded[SCRIPT_OF[name]] - {f"stages/{SCRIPT_OF[name]}.py"}
    assert never == set(), "listed, but only imported inside a function, or not at all"


def test_plumbing_exists_and_is_no_dependency(stages: Stages) -> None:
    files = {path_of(module) for module in PLUMBING}
    assert all((ROOT / file).is_file() for file in files)
    for name, stage in stages.items():
        assert not files & set(stage["deps"]), name


def test_a_task_hangs_on_its_own_module_alone(matrix: Matrix, stages: Stages) -> None:
    for task in matrix.tasks:
        deps = stages[f"corpus@{task}"]["deps"]
        assert {dep for dep in deps if dep in task_files(matrix.tasks)} == {f"src/worldwidth/tasks/{task}.py"}
        assert "src/worldwidth/tasks/geometry.py" in deps
    assert "src/worldwidth/tasks/angle.py" not in stages["corpus@distance"]["deps"]
    for name in ("cities", "base", "ftwb1@1", "ftwb2@4", "plots"):
        assert not set(task_files(matrix.tasks)) & set(stages[name]["deps"]), name


def test_drawing_code_concerns_the_plots_alone(stages: Stages) -> None:
    for module in ("figures", "study_plots"):
        assert [n for n, s in stages.items() if f"src/worldwidth/{module}.py" in s["deps"]] == ["plots"]
    for module in ("training", "optimizers"):
        for name in ("cities", "corpus@angle", "evaluate@base", "summarize", "plots"):
            assert f"src/worldwidth/{module}.py" not in stages[name]["deps"]


# --- generated files that are stale


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what rendering reads and writes, as the working directory."""
    for name in ("src", "stages", "templates", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(call: Callable[[], object]) -> None:
    with pytest.raises(WorldwidthError) as caught:
        call()
    message = str(caught.value)
    assert "dvc.yaml" in message
    assert "`make render`" in message
    assert "\n" not in message


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize("change", ["dvc.yaml", "no dvc.yaml", "params.yaml", "template", "import"])
def test_a_stale_dvc_yaml_is_refused(project: Path, change: str) -> None:
    write_rendered(load())
    check_rendered(load(), project)
    if change == "dvc.yaml":
        edit(project / "dvc.yaml", "desc: ", "desc:  ")
    elif change == "no dvc.yaml":
        (project / "dvc.yaml").unlink()
    elif change == "params.yaml":
        edit(project / "params.yaml", "  ftwb2-4: [crossing, distance]\n", "")
    elif change == "template":
        edit(project / "templates/dvc.yaml.j2", "desc: ", "desc:  ")
    else:
        imports._imported_modules.cache_clear()  # the cache is for one process
        edit(
            project / "stages/summarize.py",
            "from worldwidth import results\n",
            "from worldwidth import figures, results\n",
        )
    refused(lambda: check_rendered(load(), project))


def test_values_make_nothing_stale(project: Path) -> None:
    write_rendered(load())
    edit(project / "params.yaml", "\narch: wide ", "\narch: base ")
    edit(project / "params.yaml", "\nseed: 42 ", "\nseed: 43 ")
    assert (load().arch, load().seed) == ("base", 43)
    check_rendered(load(), project)
    assert write_rendered(load()) == []


def test_only_what_is_stale_is_written(project: Path) -> None:
    both = [Path("dvc.yaml"), Path("docs/params.schema.json")]
    for path in both:
        path.unlink()
    assert write_rendered(load()) == both
    assert write_rendered(load()) == []
    Path("docs/params.schema.json").write_text("{}")
    assert write_rendered(load()) == [Path("docs/params.schema.json")]
    edit(Path("params.yaml"), "  ftwb2-4: [crossing, distance]\n", "")
    assert write_rendered(load()) == [Path("dvc.yaml")]
    check_rendered(load(), project)


@pytest.mark.parametrize("stale", ["dvc.yaml", "docs/params.schema.json"])
def test_render_check_refuses_whatever_is_stale(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stale: str
) -> None:
    write_rendered(load())
    monkeypatch.setattr(sys, "argv", ["worldwidth", "render", "--check"])
    cli.main()
    capsys.readouterr()
    edit(project / stale, "e", "e ")
    content = (project / stale).read_bytes()
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "render" in captured.err
    assert (project / stale).read_bytes() == content


def test_no_stage_runs_under_a_stale_dvc_yaml(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rendered(load())
    ran: list[Matrix] = []
    monkeypatch.setattr(sys, "argv", ["stages/cities.py"])
    run_stage(ran.append)
    assert len(ran) == 1
    edit(project / "dvc.yaml", "desc: ", "desc:  ")
    with pytest.raises(SystemExit) as stopped:
        run_stage(ran.append)
    assert stopped.value.code == 2
    assert len(ran) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "dvc.yaml does not match" in error


def test_the_schema_describes_params(matrix: Matrix) -> None:
    schema = json.loads((ROOT / "docs/params.schema.json").read_text(encoding="utf-8"))
    assert schema == json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(schema)
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(values)] == []
    del values["finetunes"]
    values["colour"] = "red"
    assert len(list(Draft202012Validator(schema).iter_errors(values))) == 2
    first = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=docs/params.schema.json"


# --- the templates of dvc plots


def plot_settings(matrix: Matrix) -> dict[str, dict[str, Any]]:
    """Table -> its settings for dvc plots, which may stand at the stage or at the end of dvc.yaml."""
    listed = [*parsed(matrix)["stages"]["summarize"]["plots"], *parsed(matrix).get("plots", [])]
    return {
        table: settings
        for plot in listed
        for table, settings in (plot.items() if isinstance(plot, dict) else ())
        if "template" in settings
    }


@pytest.mark.parametrize("table", [MATRICES, EVALUATION_TABLE, TRAINING_TABLE])
def test_dvc_fills_the_template_of_a_table(
    matrix: Matrix, study: tuple[Path, dict[str, set[str]]], table: Path
) -> None:
    settings = plot_settings(matrix)[str(table)]
    template = ROOT / settings["template"]
    text = template.read_text(encoding="utf-8")
    assert json.loads(text)["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    assert json.loads(text)["data"]["values"] == "<DVC_METRIC_DATA>"
    for anchor in ("<DVC_METRIC_DATA>", "<DVC_METRIC_TITLE>", "<DVC_METRIC_X>", "<DVC_METRIC_Y>"):
        assert anchor in text
    rows = pd.read_csv(study[0] / table, dtype=str, keep_default_na=False).to_dict("records")
    points = [{**row, "rev": rev} for row in rows for rev in ("workspace", "HEAD")]
    renderer = importlib.import_module("dvc_render.vega").VegaRenderer
    filled = renderer(points, str(table), **{**settings, "template": str(template)}).get_filled_template()
    assert "DVC_METRIC" not in json.dumps(filled)
    assert filled["title"] == settings["title"]
    assert len(filled["data"]["values"]) == len(points)
    known = set(points[0]) | set(re.findall(r'"as": "(\w+)"', text))
    used = set(re.findall(r"datum\.(\w+)", text)) | set(re.findall(r'"field": "(\w+)"', text))
    assert used <= known
    assert {settings["x"], settings["y"]} <= set(rows[0])


def test_every_template_is_used(matrix: Matrix) -> None:
    used = [settings["template"] for settings in plot_settings(matrix).values()]
    assert sorted(used) == sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "templates/plots").iterdir())


def test_the_colours_of_dvc_plots_are_those_of_the_figures() -> None:
    found = re.findall(
        r'"domain": \[\s*([-\d.]+),\s*([-\d.]+)\s*\],\s*"scheme": "(\w+)"',
        (ROOT / "templates/plots/matrices.json").read_text(encoding="utf-8"),
    )
    assert found[-1] == ("-0.5", "0.5", "redblue")
    assert set(found[:-1]) == {("0", "1", "redyellowgreen")}
