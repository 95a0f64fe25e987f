"""Edits while a stage runs: what it would be recorded with is not what made its result, so that it is refused.

pytest tests/test_tracked.py
"""

import shutil
import sys
from pathlib import Path

import pytest

from faults import finished_study, heal, inject
from repository import Repository, products
from small_study import copy_of
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import checking, replacing, replacing_folder
from worldwidth.dvcio.tracked import Tracked, stage_of

DVC_YAML = """
stages:
  cities:
    cmd: env PYTHONPATH=src python stages/cities.py
    deps: [lists/own.csv, src/cities.py]
    params: ["scales.${scale}.world"]
    outs: [data/cities.csv]
  evaluate:
    foreach: [base, ftwb1-1]
    do:
      cmd: env PYTHONPATH=src python stages/evaluate.py ${item}
      deps: [data/cities.csv, src/evaluate.py]
      params: [seed]
      outs: ["results/${item}.json"]
"""
PARAMS = "scale: smoke\nseed: 1\nscales: {smoke: {world: {cities: 60}}, paper: {world: {cities: 5}}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("lists/own.csv", "src/cities.py", "src/evaluate.py", "data/cities.csv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    Path("dvc.yaml").write_text(DVC_YAML)
    Path("params.yaml").write_text(PARAMS)
    return tmp_path


def edit(name: str, old: str, new: str) -> None:
    Path(name).write_text(Path(name).read_text().replace(old, new))


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        (("src/cities.py", "src", "# src"), "another src/cities.py"),
        (("lists/own.csv", "own", "Paris"), "another lists/own.csv"),
        (("params.yaml", "cities: 60", "cities: 61"), "scales.smoke.world.cities 61 in place of 60"),
    ],
)
def test_an_edit_is_named(edited: tuple[str, str, str], said: str, project: Path) -> None:
    tracked = Tracked(["cities", "evaluate@base"])
    tracked.refuse_edited()
    edit(*edited)
    line = f"cities: edited while it ran ({said}), so that it is not recorded; run the same command again"
    with pytest.raises(WorldwidthError) as caught:
        tracked.refuse_edited()
    assert str(caught.value) == line
    tracked.refuse_edited(["evaluate@base"])


@pytest.mark.parametrize(
    "edited",
    [
        ("data/cities.csv", "data", "of another stage"),
        ("src/evaluate.py", "src", "of another stage"),
        ("params.yaml", "seed: 1", "seed: 2"),
        ("params.yaml", "cities: 5", "cities: 6"),
        ("params.yaml", "scale: smoke", "scale: paper"),
    ],
    ids=str,
)
def test_what_a_stage_does_not_depend_on_may_be_edited(edited: tuple[str, str, str], project: Path) -> None:
    """Its scale is chosen when it starts: what it depends on are the params of that."""
    tracked = Tracked(["cities"])
    edit(*edited)
    tracked.refuse_edited()


def test_a_stage_is_known_by_its_command(project: Path) -> None:
    assert stage_of(["stages/cities.py"]) == "cities"
    assert stage_of(["stages/evaluate.py", "ftwb1-1"]) == "evaluate@ftwb1-1"
    assert stage_of(["stages/evaluate.py"]) is None
    assert stage_of(["stages/evaluate.py", "another"]) is None


def test_nothing_is_published_after_an_edit(project: Path) -> None:
    Path("out").write_text("before")
    with checking(Tracked(["cities"]).refuse_edited):
        with replacing(Path("out")) as temporary:
            temporary.write_text("one")
        edit("src/cities.py", "src", "# src")
        with pytest.raises(WorldwidthError), replacing(Path("out")) as temporary:
            temporary.write_text("another")
        with pytest.raises(WorldwidthError), replacing_folder(Path("folder")) as temporary:
            (temporary / "file").write_text("another")
    assert Path("out").read_text() == "one"
    assert not [path.name for path in project.iterdir() if path.name.endswith(".tmp") or path.name == "folder"]
    with replacing(Path("out")) as temporary:
        temporary.write_text("outside")


# --- through every way of running a stage


EDIT = """
import pathlib

write = pathlib.Path.write_text

def edit_first(path, *arguments, **keywords):
    if path.name == ".pretraining.json.tmp":
        edited = pathlib.Path({name!r})
        write(edited, edited.read_text().replace({old!r}, {new!r}))
    return write(path, *arguments, **keywords)

pathlib.Path.write_text = edit_first
"""
COMPUTE = "src/worldwidth/settings/compute.py"
CODE = (COMPUTE, "import ", "import  ", f"another {COMPUTE}")
KEY = ("params.yaml", "budget: epochs", "budget: tokens", "budget 'tokens' in place of 'epochs'")
OTHER = ("params.yaml", "resamples: ", "resamples: 1", "")
WAYS = {
    "dvc repro --force --single-item recipe": 255,
    "dvc exp run --force --single-item recipe": 255,
    "worldwidth job recipe": 2,
    "worldwidth run --jobs 1": 2,
    f"{sys.executable} stages/recipe.py": 2,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished_study(tmp_path_factory.getbasetemp())


@pytest.mark.pipeline
@pytest.mark.parametrize("edited", [CODE, KEY], ids=["code", "params"])
@pytest.mark.parametrize("way", WAYS)
def test_a_stage_is_refused_whichever_way_it_runs(
    way: str,
    edited: tuple[str, str, str, str],
    finished: Repository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = copy_of(finished, tmp_path)
    monkeypatch.setenv("PYTHONPATH", "src")
    lock, recipe = made.read("dvc.lock"), made.folder / "data" / "pretraining.json"
    shutil.rmtree(made.folder / ".dvc" / "cache" / "runs")
    recipe.unlink()
    name, old, new, said = edited
    inject(made, EDIT.format(name=name, old=old, new=new))
    done = made.run(*way.split())
    heal(made)
    assert done.returncode == WAYS[way]
    line = f"worldwidth: recipe: edited while it ran ({said}), so that it is not recorded; run the same command again"
    assert line in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert made.read("dvc.lock") == lock
    assert not recipe.exists()
    made.git("checkout", name)
    if way.startswith("worldwidth run"):
        made.ok(*way.split())
        assert products(made) == products(finished)


@pytest.mark.pipeline
def test_a_param_of_other_stages_may_be_edited(
    finished: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the next run, while this one is going on."""
    made = copy_of(finished, tmp_path)
    monkeypatch.setenv("PYTHONPATH", "src")
    shutil.rmtree(made.folder / ".dvc" / "cache" / "runs")
    (made.folder / "data" / "pretraining.json").unlink()
    name, old, new, _ = OTHER
    inject(made, EDIT.format(name=name, old=old, new=new))
    made.ok("worldwidth", "job", "recipe")
    assert made.changed_stages() == {"summarize"}
