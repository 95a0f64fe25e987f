"""The table of stages, dvc.yaml, the scripts and the groups of jobs say the same.

pytest tests/test_stages.py
"""

from dataclasses import fields
from pathlib import Path

import pytest

from dvc_yaml import ROOT, Stages, parsed
from worldwidth.core.errors import WorldwidthError
from worldwidth.pipeline.groups import group_stages
from worldwidth.pipeline.stages import KINDS, STAGES, lies_in_git, row_of, stage_names
from worldwidth.settings.cluster import Jobs
from worldwidth.settings.schema import Settings


def test_the_names_and_their_order_are_those_of_dvc_yaml(settings: Settings, stages: Stages) -> None:
    assert stage_names(settings) == list(stages)


def test_every_script_has_a_row_and_every_row_a_script() -> None:
    assert sorted(stage.script.name for stage in STAGES) == sorted(path.name for path in (ROOT / "stages").glob("*.py"))


def test_every_stage_runs_the_script_of_its_row_and_is_of_one_row(stages: Stages) -> None:
    for name, stage in stages.items():
        assert [row for row in STAGES if row.has(name)] == [row_of(name)]
        assert f"python {row_of(name).script.as_posix()}" in stage["cmd"]


def test_what_lies_in_git_is_not_in_the_cache(stages: Stages) -> None:
    for name, stage in stages.items():
        outs = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
        cached = {not (isinstance(out, dict) and next(iter(out.values())).get("cache") is False) for out in outs}
        assert cached == {not lies_in_git(name)}, name


def test_the_tasks_code_is_a_dependency_where_it_runs(settings: Settings, stages: Stages) -> None:
    for name, stage in stages.items():
        assert ("src/worldwidth/tasks/geometry.py" in stage["deps"]) == row_of(name).runs_tasks, name


def test_every_kind_can_ask_for_resources() -> None:
    assert set(KINDS) == {field.name for field in fields(Jobs)}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_stage_is_in_one_group_after_what_it_reads(settings: Settings, stages: Stages, workers: int) -> None:
    groups = group_stages(settings, workers)
    listed = [name for group in groups for name in group]
    assert sorted(listed) == sorted(stages)
    maker = {
        str(next(iter(out)) if isinstance(out, dict) else out): name
        for name, s in stages.items()
        for out in s.get("outs", [])
    }
    for group in groups:
        for place, name in enumerate(group):
            inside = {maker[dep] for dep in stages[name]["deps"] if dep in maker} & set(group)
            assert inside <= set(group[:place]), f"{name} runs in its group before what it reads"


def test_an_unknown_stage_has_no_row_and_is_kept_by_the_cache() -> None:
    assert not lies_in_git("probe")
    with pytest.raises(WorldwidthError, match=r"stage ftwb10@1: has no row in src/worldwidth/pipeline/stages.py"):
        row_of("ftwb10@1")


def test_the_template_names_the_code_of_every_row(settings: Settings) -> None:
    text = Path(ROOT / "templates" / "dvc.yaml.j2").read_text(encoding="utf-8")
    for stage in STAGES:
        if stage.name != "check":  # which depends on the structure alone, by its command
            assert f"code.{stage.name} %}}" in text, stage.name
    assert set(parsed(settings)) == {"stages", "artifacts"}
