"""What is used of DVC beside its documented API still is what dvcio/private.py says.

    pytest tests/test_dvc_contract.py

A new version of DVC that fails here is kept away by pyproject.toml until the code that uses the entry has been changed.
"""

import ast
import importlib
import inspect
import json
import os
import re
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio import private
from worldwidth.dvcio.cache import cache_folder, use_cache
from worldwidth.dvcio.forecast import CACHED, LATER, RUN, UP_TO_DATE, forecast_with_outs
from worldwidth.dvcio.private import BELOW, FIRST, RELIED_ON, is_known
from worldwidth.dvcio.repo import edit_yaml, needs_of, open_repo, stages_named
from worldwidth.dvcio.restore import restore_cached, restore_stage
from worldwidth.dvcio.rwlock import forget_the_dead

pytestmark = pytest.mark.filterwarnings("ignore")  # DVC's own dependencies warn

ROOT = Path(__file__).parents[1]
PARAMETERS = {  # of what is called: those that are passed, by position or by name
    "dvc.repo:Repo": ["_wait_for_lock"],
    "dvc.repo:Repo._reset": [],
    "dvc.repo.stage:StageLoad.collect": ["target"],
    "dvc.rwlock:rwlock": ["tmp_dir", "fs", "cmd", "read", "write", "hardlink"],
    "dvc.rwlock:_edit_rwlock": ["lock_dir", "fs", "hardlink"],
    "dvc.stage:Stage.changed_stage": [],
    "dvc.stage:Stage.remove_outs": [],
    "dvc.stage:Stage.outs_cached": [],
    "dvc.stage:Stage.checkout": [],
    "dvc.stage:Stage.save": ["run_cache"],
    "dvc.stage:Stage.commit": [],
    "dvc.stage.cache:_can_hash": ["stage"],
    "dvc.stage.cache:StageCache.save": ["stage"],
    "dvc.stage.cache:StageCache._load": ["stage"],
    "dvc.stage.cache:StageCache._create_stage": ["cache", "wdir"],
    "dvc.stage.loader:StageLoader.fill_from_lock": ["stage", "lock_data"],
    "dvc.dependency.param:ParamsDependency.fill_values": ["values"],
    "dvc.dvcfile:ProjectFile.dump_stages": ["stages", "update_pipeline"],
    "dvc.output:Output.status": [],
    "dvc.output:Output.ignore": [],
    "dvc.output:Output.get_hash": [],
    "dvc.dependency.base:Dependency.save": [],
    "dvc.dependency.param:ParamsDependency.status": [],
    "dvc_data.hashfile.meta:Meta": [],
    "dvc.config:Config": ["dvc_dir"],
    "dvc.config:Config.load_one": ["level"],
    "dvc.config:Config.load_file": ["path"],
    "dvc.config:Config.validate": ["data"],
    "dvc_objects.fs.generic:test_links": ["links", "from_fs", "from_path", "to_fs", "to_path"],
    "dvc.utils.serialize:modify_yaml": ["path"],
}


def named(name: str) -> Any:
    module, path = name.split(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize("name", RELIED_ON)
def test_it_is_there_and_takes_what_is_passed(name: str) -> None:
    found = named(name)
    if name not in PARAMETERS:
        return
    parameters = inspect.signature(found).parameters
    assert [parameter for parameter in parameters if parameter in PARAMETERS[name]] == PARAMETERS[name]
    needed = {
        key for key, value in parameters.items() if value.default is value.empty and value.kind != value.VAR_KEYWORD
    }
    assert needed <= {"self", *PARAMETERS[name]}


def test_dvc_is_bounded_by_what_was_checked() -> None:
    (bound,) = [
        text
        for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
        if text.startswith("dvc>")
    ]
    assert bound == f"dvc>={'.'.join(map(str, FIRST))},<{'.'.join(map(str, BELOW))}"
    assert is_known()


def test_dvc_is_behind_one_door() -> None:
    for path in (ROOT / "src" / "worldwidth").rglob("*.py"):
        name = path.relative_to(ROOT / "src" / "worldwidth").as_posix()
        modules = [
            module
            for node in ast.walk(ast.parse(path.read_text()))
            for module in (
                [node.module or ""] if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            )
        ]  # fmt: skip
        used = [module for module in modules if module.split(".")[0] in ("dvc", "dvc_data", "dvc_objects")]
        assert not used or name.startswith("dvcio/"), name


def test_an_unknown_dvc_that_answers_otherwise_is_one_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AttributeError), open_repo() as found:  # of a known one it is a bug of ours
        found.no_such_thing()
    monkeypatch.setattr(private, "version", lambda package: "4.0.1")
    wrongs: list[Callable[[Any], object]] = [lambda found: found.no_such_thing, lambda found: found._reset(1)]
    for wrong in wrongs:
        with (
            pytest.raises(
                WorldwidthError, match=r"^DVC 4\.0\.1 answers otherwise than this needs \(.*\); install"
            ) as said,
            open_repo() as found,
        ):
            wrong(found)
        assert "`pip install 'dvc>=3.63,<3.68'`" in str(said.value)


# --- a tiny repository: two stages, and what the package does with them


STAGES = {
    "cities": {"cmd": "cat list.txt > cities.csv", "deps": ["list.txt"], "params": ["world"], "outs": ["cities.csv"]},
    "corpus": {"cmd": "mkdir -p data && cp cities.csv data/", "deps": ["cities.csv"], "outs": ["data"]},
    "summarize": {"cmd": "cp data/cities.csv out.csv", "deps": ["data"], "metrics": [{"out.csv": {"cache": False}}]},
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stages above, run once by DVC."""
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    Repo.init(no_scm=True).close()
    Path("list.txt").write_text("Berlin\n")
    Path("params.yaml").write_text("world: {cities: 1}  # a comment\n")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}, sort_keys=False))
    with Repo() as found:
        found.reproduce()
    return tmp_path


def states() -> dict[str, str]:
    with open_repo() as found, found.lock:
        return {answer.stage: f"{answer.state}: {answer.reason}" for answer in forecast_with_outs(found)[0]}


@pytest.fixture(autouse=True)
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of these stages always writes the same."""
    monkeypatch.setattr("worldwidth.dvcio.forecast.row_of", lambda name: type("Row", (), {"constant": False}))


def test_the_stages_and_their_graph(project: Path) -> None:
    with open_repo() as found, found.lock:
        assert [stage.addressing for stage in found.index.stages] == list(STAGES)
        assert needs_of(found) == {"cities": set(), "corpus": {"cities"}, "summarize": {"corpus"}}


def test_stages_by_name(project: Path) -> None:
    with open_repo() as found:
        assert [stage.addressing for stage in stages_named(found, ["summarize", "cities"])] == ["summarize", "cities"]
        assert stages_named(found, ["cities"]) == stages_named(found, ["cities"]), "read once"
    with pytest.raises(WorldwidthError, match="Stage 'citis' not found inside"), open_repo() as found:
        stages_named(found, ["citis"])


def test_a_forecast(project: Path) -> None:
    assert set(states().values()) == {f"{UP_TO_DATE}: "}
    Path("list.txt").write_text("Paris\n")
    assert states() == {"cities": f"{RUN}: list.txt", "corpus": f"{LATER}: cities", "summarize": f"{LATER}: corpus"}
    Path("list.txt").write_text("Berlin\n")
    edit_yaml(Path("params.yaml"), {"world": {"cities": 2}})
    assert "# a comment" in Path("params.yaml").read_text()
    assert states()["cities"] == f"{RUN}: params world"


def test_what_a_stage_reads_since_its_last_run_is_found_in_the_run_cache(project: Path) -> None:
    """dvc.lock is of a time when the stage did not read it yet, as after an update of the code."""
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    lock["stages"]["corpus"]["deps"] = [dep for dep in lock["stages"]["corpus"]["deps"] if dep["path"] == "list.txt"]
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    assert states()["corpus"].startswith(f"{CACHED}: ")


def test_all_comes_back_from_the_run_cache(project: Path) -> None:
    wanted = Path("dvc.lock").read_text()
    for path in ("dvc.lock", "cities.csv", "data/cities.csv", "out.csv"):
        Path(path).unlink()
    assert {state.split(":")[0] for state in states().values()} == {CACHED}
    assert restore_cached() == list(STAGES)
    assert yaml.safe_load(Path("dvc.lock").read_text()) == yaml.safe_load(wanted)
    assert Path("data/cities.csv").read_text() == Path("out.csv").read_text() == "Berlin\n"
    assert set(states().values()) == {f"{UP_TO_DATE}: "}


def test_one_stage_comes_back(project: Path) -> None:
    Path("cities.csv").unlink()
    with open_repo() as found, found.lock:
        assert restore_stage(found, *stages_named(found, ["cities"])) == CACHED
        found._reset()
        assert restore_stage(found, *stages_named(found, ["cities"])) == UP_TO_DATE
    assert Path("cities.csv").read_text() == "Berlin\n"


def test_locks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.rwlock import RWLOCK_FILE, rwlock

    with open_repo() as found, rwlock(found.tmp_dir, found.fs, "a command", [], [str(project / "data")], False):
        listed = json.loads((Path(found.tmp_dir) / RWLOCK_FILE).read_text())
        assert listed["write"][str(project / "data")]["cmd"] == "a command"
        assert listed["write"][str(project / "data")]["pid"] > 0
        monkeypatch.setattr("worldwidth.dvcio.rwlock._RUNNERS", re.compile("python"))
        forget_the_dead(found)
        assert json.loads((Path(found.tmp_dir) / RWLOCK_FILE).read_text()) == listed, "this process is alive"
    with open_repo() as found, found.lock, pytest.raises(WorldwidthError, match="another DVC command is running here"):
        states()


def test_a_list_of_readers_that_was_cut_off_goes(project: Path) -> None:
    path = Path(".dvc/tmp/rwlock")
    for content in ('{"read": ', '{"read": 7}'):
        path.write_text(content)
        with open_repo() as found:
            forget_the_dead(found)
        assert not path.exists() or json.loads(path.read_text()) in ({}, {"read": {}, "write": {}})


def test_another_tree_uses_the_cache(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cache") / "Mes études, # 研究"
    use_cache(Path(), folder, Path())
    assert cache_folder() == folder


def test_another_tree_is_set_as_the_user_has_set_this_one(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (project / ".dvc" / "config.local").write_text("[core]\nhardlink_lock = true\n[cache]\ndir = elsewhere\n")
    tree = tmp_path_factory.mktemp("tree")
    shutil.copytree(project / ".dvc", tree / ".dvc", ignore=shutil.ignore_patterns("config.local"))
    use_cache(tree, project / "cache", project)
    local = (tree / ".dvc" / "config.local").read_text()
    assert "hardlink_lock = true" in local
    assert "elsewhere" not in local


def test_locks_by_hard_link(project: Path) -> None:
    """DVC's advice for a network's file system. What ordinary locks left is no lock; what a kill left is one."""
    with open_repo() as found, found.lock:
        pass
    (project / ".dvc" / "config.local").write_text("[core]\nhardlink_lock = true\n")
    folder = project / ".dvc" / "tmp"
    (folder / "rwlock.lock").touch()
    (project / "cities.csv").unlink()
    assert restore_cached() == ["cities"]
    assert [path.name for path in folder.glob("*lock*")] == ["rwlock"]
    (folder / "claim").touch()
    os.link(folder / "claim", folder / "lock")
    with pytest.raises(
        WorldwidthError, match=r"another DVC command is running here.*; if there is none: `worldwidth d"
    ):
        states()
    assert (folder / "lock").exists()


def test_a_file_in_git_is_no_link_into_the_cache(project: Path) -> None:
    with (project / ".dvc" / "config.local").open("a") as config:
        config.write("[cache]\ntype = symlink\n")
    for path in ("data/cities.csv", "cities.csv", "out.csv"):
        Path(path).unlink(missing_ok=True)
    restore_cached()
    assert Path("cities.csv").is_symlink()
    assert not Path("out.csv").is_symlink()
    assert Path("out.csv").read_text() == "Berlin\n"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("cities.csv", "remove it: stage cities needs cities.csv"),
        ("data/cities.csv", "remove it: stage corpus needs data"),
        ("list.txt", "remove it: stage cities needs list.txt"),
        ("dvc.lock", "not a regular file"),
    ],
)
def test_a_fifo_in_place_of_a_file_keeps_nobody_waiting(project: Path, path: str, said: str) -> None:
    Path(path).unlink()
    os.mkfifo(path)
    with pytest.raises((WorldwidthError, OSError), match="not a regular file, but a FIFO") as refused:
        states()
    assert said in str(refused.value)
    assert path in str(refused.value)
