"""The rendered dvc.yaml and schema: the same bytes, structure only, and nothing stale.

pytest tests/test_rendering.py
"""

from worldwidth.engine.stage_main import run_stage

import copy
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA

from dvc_yaml import Stages, expanded, parsed
from worldwidth import cli
from worldwidth.core import imports
from worldwidth.core.errors import WorldwidthError
from worldwidth.pipeline import render as pipeline_render
from worldwidth.pipeline.render import check_rendered, render, rendered_files, write_rendered
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]


def with_finetunes(settings: Settings, **more: tuple[str, ...]) -> Settings:
    return replace(settings, finetunes={**settings.finetunes, **{k.replace("_", "-"): v for k, v in more.items()}})


def outs(stage: dict[str, Any]) -> list[str]:
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(out)) if isinstance(out, dict) else out for out in listed]


# --- the same bytes


def test_the_committed_files_are_the_rendering_of_params(settings: Settings) -> None:
    for path, text in rendered_files(settings, ROOT).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path} is stale: run `make render`"
    check_rendered(settings, ROOT)
    first, *_ = (ROOT / "params.yaml").read_text(encoding="utf-8").splitlines()
    assert first == "# yaml-language-server: $schema=docs/params.schema.json"


def test_rendering_reads_nothing_but_its_arguments(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = render(settings, ROOT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", "elsewhere")
    assert render(settings, ROOT) == before == render(copy.deepcopy(settings), ROOT)
    assert list(tmp_path.iterdir()) == []
    assert "\r" not in before
    assert before.endswith("\n")
    assert "{%" not in before
    assert "{{" not in before
    assert str(ROOT) not in before


def test_rendering_is_the_same_in_another_process(settings: Settings) -> None:
    """Another hash seed and locale: no order of a set and no language slips in."""
    code = "import sys; from worldwidth.settings.load import load; from worldwidth.pipeline.render import render; "
    code += "sys.stdout.buffer.write(render(load()).encode())"
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "LC_ALL": "C", "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert run.stdout.decode() == render(settings, ROOT)


# --- the structure


def test_dvc_reads_it(settings: Settings) -> None:
    COMPILED_MULTI_STAGE_SCHEMA(parsed(settings))


def test_every_dependency_is_a_file_of_the_project_or_the_output_of_one_stage(stages: Stages) -> None:
    made = [out for stage in stages.values() for out in outs(stage)]
    assert len(made) == len(set(made))
    for name, stage in stages.items():
        assert len(stage["deps"]) == len(set(stage["deps"])), name
        for dep in stage["deps"]:
            assert dep in made or (ROOT / dep).is_file(), f"{name}: {dep}"


def test_the_stages_of_params(settings: Settings, stages: Stages) -> None:
    expected = ["check", "cities", *(f"corpus@{task}" for task in settings.tasks), "atlantis", "recipe"]
    expected += ["added", "base"]
    expected += [model.replace("-", "@") for model in settings.finetunes]
    expected += [f"{kind}@{model}" for kind in ("evaluate", "represent") for model in settings.models]
    expected += ["summarize", "plots", "representations"]
    assert list(stages) == expected
    assert outs(stages["ftwb2@13"]) == ["models/ftwb2-13", "results/training/ftwb2-13.csv"]
    assert stages["ftwb2@13"]["cmd"].endswith("stages/finetune.py ftwb2-13")
    assert "finetunes.ftwb2-13" in stages["ftwb2@13"]["params"]
    assert not [param for param in stages["ftwb2@13"]["params"] if param.startswith("finetunes.") and "13" not in param]
    assert list(parsed(settings)["artifacts"]) == list(settings.models)


def test_the_run_cache_takes_every_stage(stages: Stages) -> None:
    """DVC leaves out a stage with an uncached out that is neither metric nor plot; `dvc repro` would run it again."""
    for name, stage in stages.items():
        for out in stage.get("outs", []):
            options = {} if isinstance(out, str) else next(iter(out.values()))
            assert not {"persist", "cache"} & options.keys(), name


def test_values_do_not_change_it(settings: Settings) -> None:
    for name, scale in settings.scales.items():
        for arch in scale.archs:
            assert render(replace(settings, arch=arch, scale=name, seed=7), ROOT) == render(settings, ROOT)
        other = replace(
            scale,
            world=replace(scale.world, cities=77, seed=8, id_digits=5),
            archs={"tiny": scale.archs["narrow"]},
            pretraining=replace(scale.pretraining, learning_rate=1.0, checkpoints=0),
            statistics=replace(scale.statistics, resamples=101),
        )
        changed = replace(settings, scales={**settings.scales, name: other, "another": other})
        assert render(changed, ROOT) == render(settings, ROOT)


def fingerprint(settings: Settings) -> str:
    (found,) = re.findall(r"stages/check\.py (\w+)$", expanded(settings)["check"]["cmd"])
    return str(found)


def unchanged(before: Stages, after: Stages, *but: str) -> None:
    """The same stages do the same, those named apart and the check, whose command holds the fingerprint."""
    for name in before.keys() & after.keys() - {*but, "check"}:
        assert before[name] == after[name], name


def test_one_more_pair(settings: Settings, stages: Stages) -> None:
    more = with_finetunes(settings, ftwb2_1=("distance", "trianglearea"))
    after = expanded(more)
    assert after.keys() - stages.keys() == {"ftwb2@1", "evaluate@ftwb2-1", "represent@ftwb2-1"}
    assert stages.keys() <= after.keys()
    unchanged(stages, after, "summarize", "representations")
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
    assert fingerprint(more) != fingerprint(settings)


def test_other_tasks_for_the_same_model_change_the_fingerprint_and_the_description_only(settings: Settings) -> None:
    swapped = with_finetunes(settings, ftwb2_4=("inside", "distance"))
    before, after = expanded(settings), expanded(swapped)
    assert fingerprint(swapped) != fingerprint(settings)
    assert after["ftwb2@4"].pop("desc") != before["ftwb2@4"].pop("desc")
    unchanged(before, after)


def test_three_tasks_make_a_group_of_their_own(settings: Settings, stages: Stages) -> None:
    more = with_finetunes(settings, ftwb3_1=("distance", "angle", "inside"))
    after = expanded(more)
    assert after.keys() - stages.keys() == {"ftwb3@1", "evaluate@ftwb3-1", "represent@ftwb3-1"}
    assert parsed(more)["stages"]["ftwb3"]["foreach"] == {"1": "distance and angle and inside"}
    assert after["ftwb3@1"]["cmd"].endswith("stages/finetune.py ftwb3-1")
    assert "finetunes.ftwb3-1" in after["ftwb3@1"]["params"]
    assert set(outs(after["plots"])) - set(outs(stages["plots"])) == {"plots/ftwb3.png"}
    unchanged(stages, after, "summarize", "plots", "representations")
    assert {**after["plots"], "plots": []} == {**stages["plots"], "plots": []}
    COMPILED_MULTI_STAGE_SCHEMA(parsed(more))


def test_one_more_task(settings: Settings, stages: Stages) -> None:
    """Seen from the other side: the study without crossing."""
    tasks = tuple(task for task in settings.tasks if task != "crossing")
    finetunes = {model: trained for model, trained in settings.finetunes.items() if "crossing" not in trained}
    fewer = expanded(replace(settings, tasks=tasks, finetunes=finetunes))
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


def test_without_pairs_there_is_no_picture_of_differences(settings: Settings, stages: Stages) -> None:
    four = ("plug1", "ftwb1", "ftwb2", "difference")
    assert outs(stages["plots"]) == [f"plots/{n}.png" for n in [*four, "training", "world"]]
    single: dict[str, tuple[str, ...]] = {
        model: trained for model, trained in settings.finetunes.items() if len(trained) == 1
    }
    alone = expanded(replace(settings, finetunes=single))
    assert outs(alone["plots"]) == [f"plots/{n}.png" for n in ("plug1", "ftwb1", "training", "world")]


# --- generated files that are stale


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what rendering reads and writes, as the working directory, where DVC has been."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
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
        edit(project / "params.yaml", "  ftwb2-4:\n  - crossing\n  - distance\n", "")
    elif change == "template":
        edit(project / "templates/dvc.yaml.j2", "desc: ", "desc:  ")
    else:
        imports.imported_modules.cache_clear()  # the cache is for one process
        edit(
            project / "stages/summarize.py",
            "from worldwidth.evaluation import tables\n",
            "from worldwidth.evaluation import tables\nfrom worldwidth.plots import style\n",
        )
    refused(lambda: check_rendered(load(), project))


def test_what_was_found_right_is_not_rendered_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until something that it is made from is edited; every stage asks."""
    write_rendered(load())
    check_rendered(load())
    monkeypatch.setattr(pipeline_render, "render", lambda settings, root: "something else")
    check_rendered(load())
    (project / "src" / "worldwidth" / "added.cpp").touch()
    refused(lambda: check_rendered(load()))
    (project / "src" / "worldwidth" / "added.cpp").unlink()
    check_rendered(load())
    for content in (b"", b"\xff", b"0" * 64):
        (project / ".dvc" / "tmp" / "worldwidth" / "rendered").write_bytes(content)
        refused(lambda: check_rendered(load()))


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
    edit(Path("params.yaml"), "  ftwb2-4:\n  - crossing\n  - distance\n", "")
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
    ran: list[Settings] = []
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
