"""The code that every stage declares: the closure of its imports, exactly, and the plumbing left out.

pytest tests/test_imports.py

The imports of the stages run in a fresh interpreter that lists what it loads.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvc_yaml import Stages
from worldwidth.imports import PLUMBING, code_closure, task_closure, task_files
from worldwidth.matrix import Matrix

ROOT = Path(__file__).parents[1]
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
# in the place of plumbing: what only it imports is not a stage's own
fakes = {name: types.ModuleType(f"worldwidth.{name}") for name in ("entry", "recorded", "stage")}
fakes["entry"].run_stage = fakes["recorded"].refuse_unrecorded = None
fakes["stage"].known_model = fakes["stage"].scratch_folder = None
loaded = {}
for script in sys.argv[1].split(","):
    for name in [name for name in sys.modules if name.split(".")[0] == "worldwidth"]:
        del sys.modules[name]
    sys.modules.update({fake.__name__: fake for fake in fakes.values()})
    runpy.run_path(f"stages/{script}.py", run_name="stage")
    before = set(sys.modules)
    if script in ("corpus", "evaluate", "summarize"):
        tasks = sys.argv[2 if script != "corpus" else 3].split(",")
        load = sys.modules["worldwidth.tasks"].load_task
        for task in tasks:
            load(task)
    loaded[script] = sorted(
        module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "worldwidth"
        and module not in fakes.values()
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


def test_an_import_for_types_alone_is_no_dependency(tmp_path: Path) -> None:
    package = tmp_path / "src" / "worldwidth"
    package.mkdir(parents=True)
    for name in ("__init__", "values", "shapes"):
        (package / f"{name}.py").write_text("")
    (tmp_path / "stages").mkdir()
    script = tmp_path / "stages" / "one.py"
    script.write_text("if TYPE_CHECKING:\n    from worldwidth.shapes import Shape\nimport worldwidth.values\n")
    assert code_closure(Path("stages/one.py"), tmp_path) == ["src/worldwidth/values.py", "stages/one.py"]
