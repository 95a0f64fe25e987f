"""The code that every stage declares: the closure of its imports, exactly, and the plumbing left out.

pytest tests/test_imports.py

The imports of the stages run in a fresh interpreter that lists what it loads.
"""

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dvc_yaml import Stages
from worldwidth.core.imports import NOT_PLUMBING, PLUMBING, code_closure, is_plumbing, task_closure, task_files
from worldwidth.pipeline.stages import row_of
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
STAGES = (
    *("cities", "corpus@distance", "base", "ftwb1@1", "ftwb2@4", "evaluate@base", "evaluate@ftwb2-12"),
    *("represent@base", "represent@ftwb2-12", "summarize", "plots", "representations"),
)


def made_up(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


PACKAGE = {
    "stages/one.py": "import json\nfrom worldwidth.data import first\nfrom worldwidth.core import shown\n"
    "from worldwidth.data.second import something\n",
    "stages/two.py": "import worldwidth.group.deep\nimport worldwidth.data.second as other\n",
    "src/worldwidth/__init__.py": '"""Only says what it is."""\n',
    "src/worldwidth/data/__init__.py": "",
    "src/worldwidth/data/first.py": "def f():\n    if True:\n        from worldwidth.data.late import g\n",
    "src/worldwidth/data/late.py": "import worldwidth.data.first\nfrom worldwidth import missing\n",
    "src/worldwidth/data/second.py": "import first, os.path\nfrom json import helper\n"
    "from worldwidth.core.shown import run\n",
    "src/worldwidth/data/unused.py": "from worldwidth.data import first\n",
    "src/worldwidth/core/__init__.py": "",
    "src/worldwidth/core/shown.py": "from worldwidth.data import hidden\n",
    "src/worldwidth/data/hidden.py": "",
    "src/worldwidth/settings/__init__.py": "",
    "src/worldwidth/settings/compute.py": "x = 1\n",
    "src/worldwidth/settings/schema.py": "x = 1\n",
    "src/worldwidth/group/__init__.py": "from worldwidth.helper import h\n",
    "src/worldwidth/group/deep.py": "from worldwidth.settings import compute, schema\n",
    "src/worldwidth/group/other.py": "x = 1\n",
    "src/worldwidth/helper.py": "x = 1\n",
}


def test_the_closure_of_a_made_up_package(tmp_path: Path) -> None:
    """Imports of modules, from a package, inside functions and in circles; plumbing is left out and not followed."""
    made_up(tmp_path, PACKAGE)
    source = "src/worldwidth"
    assert code_closure(Path("stages/one.py"), tmp_path) == [
        f"{source}/data/first.py",
        f"{source}/data/late.py",
        f"{source}/data/second.py",
        "stages/one.py",
    ]


def test_importing_a_module_runs_the_packages_above_it(tmp_path: Path) -> None:
    """Those that hold something; of settings only what computes counts."""
    made_up(tmp_path, PACKAGE)
    found = code_closure(Path("stages/two.py"), tmp_path)
    for name in ("group/deep.py", "group/__init__.py", "helper.py", "data/second.py", "settings/compute.py"):
        assert f"src/worldwidth/{name}" in found
    for name in ("group/other.py", "settings/schema.py", "settings/__init__.py", "data/__init__.py"):
        assert f"src/worldwidth/{name}" not in found


def test_the_cpp_files_of_a_package_belong_to_whoever_imports_from_it(tmp_path: Path) -> None:
    files = {
        "stages/fast.py": "from worldwidth.model import decoder\n",
        "stages/slow.py": "from worldwidth.data import cities\nimport worldwidth.core.shown\n",
        "src/worldwidth/__init__.py": "",
        "src/worldwidth/core/shown.py": "",
        "src/worldwidth/core/shown.cpp": "",
        "src/worldwidth/data/cities.py": "",
        "src/worldwidth/model/decoder.py": "from worldwidth.native.library import step\n",
        "src/worldwidth/native/__init__.py": "",
        "src/worldwidth/native/library.py": "x = 1\n",
        "src/worldwidth/native/unused.py": "x = 1\n",
        "src/worldwidth/native/step.cpp": "",
        "src/worldwidth/native/step.hpp": "",
        "src/worldwidth/native/step.o": "",
    }
    made_up(tmp_path, files)
    native = [f"src/worldwidth/native/{name}" for name in ("library.py", "step.cpp", "step.hpp")]
    model = "src/worldwidth/model/decoder.py"
    assert code_closure(Path("stages/fast.py"), tmp_path) == sorted([model, *native, "stages/fast.py"])
    assert not [file for file in code_closure(Path("stages/slow.py"), tmp_path) if file.endswith((".cpp", ".hpp"))]


def test_the_closure_of_tasks_leaves_the_tasks_themselves_out(tmp_path: Path) -> None:
    files = {
        "src/worldwidth/__init__.py": "",
        "src/worldwidth/tasks/__init__.py": "class Task: ...\n",
        "src/worldwidth/tasks/near.py": "from worldwidth.tasks import Task\nfrom worldwidth.tasks.shapes import area\n",
        "src/worldwidth/tasks/far.py": "from worldwidth.tasks.near import TASK\n",
        "src/worldwidth/tasks/shapes.py": "from worldwidth import numbers\n",
        "src/worldwidth/numbers.py": "x = 1\n",
    }
    made_up(tmp_path, files)
    source = "src/worldwidth"
    shared = [f"{source}/numbers.py", f"{source}/tasks/__init__.py", f"{source}/tasks/shapes.py"]
    assert task_closure(("near", "far"), tmp_path) == shared
    assert task_files(("near", "far")) == [f"{source}/tasks/near.py", f"{source}/tasks/far.py"]


def test_no_import_escapes_the_closure() -> None:
    """Relative imports, and modules imported by name, are not followed: there are those of tasks/ and of cli.py."""
    by_name = ("src/worldwidth/tasks/__init__.py", "src/worldwidth/cli.py")  # the latter is imported by no stage
    for path in (*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{path.relative_to(ROOT)}: {ast.unparse(node)[:60]}"
            assert not (isinstance(node, ast.ImportFrom) and node.level), where
            if path.relative_to(ROOT).as_posix() not in by_name:
                assert not (isinstance(node, ast.Attribute) and node.attr in ("import_module", "run_path")), where
                assert not (isinstance(node, ast.Name) and node.id in ("__import__", "import_module", "exec")), where


LISTING = """
import importlib, json, runpy, sys, types
# in the place of plumbing: what only it imports is not a stage's own
fake = types.ModuleType("worldwidth.engine.stage_main")
fake.run_stage = None
loaded = {}
for script in sys.argv[1].split(","):
    for name in [name for name in sys.modules if name.split(".")[0] == "worldwidth"]:
        del sys.modules[name]
    sys.modules[fake.__name__] = fake
    runpy.run_path(f"stages/{script}.py", run_name="stage")
    before = set(sys.modules)
    if script in ("corpus", "evaluate", "represent", "summarize"):
        tasks = sys.argv[2 if script != "corpus" else 3].split(",")
        load = sys.modules["worldwidth.tasks"].load_task
        for task in tasks:
            load(task)
    loaded[script] = sorted(
        module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "worldwidth"
        and module is not fake
    )
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(settings: Settings) -> dict[str, set[str]]:
    """Script -> the project's files that it loads in a fresh interpreter, the plumbing left out."""
    scripts = (
        "cities", "corpus", "pretrain", "finetune", "evaluate", "represent", "representations", "summarize", "plots",
    )  # fmt: skip
    command = [sys.executable, "-c", LISTING, ",".join(scripts), ",".join(settings.tasks), "distance"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    listed: dict[str, list[str]] = json.loads(run.stdout)
    return {
        script: {path for file in files if not concerns_no_stage(path := Path(file).relative_to(ROOT).as_posix())}
        for script, files in listed.items()
    }


def concerns_no_stage(file: str) -> bool:
    module = ".".join(Path(file).relative_to("src").with_suffix("").parts).removesuffix(".__init__")
    return is_plumbing(module, ROOT)


@pytest.mark.parametrize("name", STAGES)
def test_every_file_that_a_stage_loads_is_a_dependency(stages: Stages, loaded: dict[str, set[str]], name: str) -> None:
    code, row = {dep for dep in stages[name]["deps"] if dep.endswith(".py")}, row_of(name)
    assert row.script.as_posix() in code
    assert loaded[row.name] <= code
    choosers = code & {"src/worldwidth/training/engines.py", "src/worldwidth/native/decoders.py"}
    chosen = {file for chooser in choosers for file in code_closure(Path(chooser), ROOT)}  # when a run begins
    never = code - loaded[row.name] - chosen - {row.script.as_posix()}
    assert never == set(), "listed, but only imported inside a function, or not at all"


def test_the_packages_are_those_of_the_contract_that_lint_checks() -> None:
    """Their order is in pyproject.toml, for `lint-imports`; which of them are plumbing, in core/imports.py."""
    contract, *_ = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    source = ROOT / "src" / "worldwidth"
    assert set(contract["layers"]) == {path.stem for path in source.iterdir() if not path.stem.startswith("__")}
    assert set(PLUMBING) <= set(contract["layers"])
    for package, module in (name.split(".") for name in NOT_PLUMBING):
        assert package in PLUMBING
        assert (source / package / f"{module}.py").is_file()


def test_plumbing_is_no_dependency(stages: Stages) -> None:
    for name, stage in stages.items():
        code = [dep for dep in stage["deps"] if dep.startswith("src/") and dep.endswith(".py")]
        assert not [dep for dep in code if concerns_no_stage(dep)], name


def test_a_task_hangs_on_its_own_module_alone(settings: Settings, stages: Stages) -> None:
    for task in settings.tasks:
        deps = stages[f"corpus@{task}"]["deps"]
        assert {dep for dep in deps if dep in task_files(settings.tasks)} == {f"src/worldwidth/tasks/{task}.py"}
        assert "src/worldwidth/tasks/geometry.py" in deps
    assert "src/worldwidth/tasks/angle.py" not in stages["corpus@distance"]["deps"]
    for name in ("cities", "base", "ftwb1@1", "ftwb2@4", "plots", "representations"):
        assert not set(task_files(settings.tasks)) & set(stages[name]["deps"]), name
