"""Stages grouped into jobs, and GPUs for them: `pytest tests/test_jobs.py`."""

from dataclasses import replace
from pathlib import Path

import pytest

from worldwidth.core.errors import WorldwidthError
from worldwidth.engine import run
from worldwidth.engine.run import job_slots, visible_gpus
from worldwidth.pipeline.groups import Job, group_stages, plan_jobs
from worldwidth.pipeline.stages import row_of, stage_names
from worldwidth.settings.cluster import Execution
from worldwidth.settings.schema import Hardware, Settings

ANY = Hardware(device="auto", precision="auto", threads=1, pretraining_threads=1)


TUNED = ("ftwb", "plug")


def with_chunks(settings: Settings, models_per_job: int) -> Settings:
    scale = replace(settings.selected, execution=Execution(models_per_job=models_per_job))
    return replace(settings, scales={**settings.scales, settings.scale: scale})


@pytest.mark.parametrize("models_per_job", [1, 2, 4, 13, 100])
@pytest.mark.parametrize("workers", [1, 2, 7, 20])
def test_every_stage_is_in_one_group(settings: Settings, models_per_job: int, workers: int) -> None:
    groups = group_stages(with_chunks(settings, models_per_job), workers)
    assert all(groups)
    assert sorted(stage for group in groups for stage in group) == sorted(stage_names(settings))
    tuned = [group for group in groups if group[0].startswith(TUNED)]
    assert len(tuned) == -(-len(settings.finetunes) // models_per_job)
    for group in tuned:
        models = [stage.replace("@", "-") for stage in group if stage.startswith(TUNED)]
        kinds = ("evaluate", "represent")
        assert group[len(models) :] == tuple(f"{kind}@{model}" for kind in kinds for model in models)
        assert len(models) <= models_per_job
    corpora = [group for group in groups if group[0].startswith("corpus@")]
    assert len(corpora) == (min(workers, 7) if workers > 1 else 0), "one worker makes them with the cities"


def test_plug_ins_start_first_and_then_the_long_fine_tunes(settings: Settings) -> None:
    tuned = [group for group in group_stages(with_chunks(settings, 2), 2) if group[0].startswith(TUNED)]
    assert [group[0].split("@")[0] for group in tuned] == ["plug1"] * 4 + ["ftwb2"] * 3 + ["ftwb1"] * 4
    assert tuned[0][:2] == ("plug1@1", "plug7@1"), "the longest of them in the first"


NEEDS = {
    "check": set[str](),
    "cities": {"check"},
    "corpus@a": {"cities"},
    "corpus@b": {"cities"},
    "base": {"corpus@a", "corpus@b"},
    "ftwb1@1": {"base", "corpus@a"},
    "evaluate@ftwb1-1": {"ftwb1@1", "corpus@a"},
    "summarize": {"evaluate@ftwb1-1"},
}
GROUPS = [
    ("check", "cities"),
    ("corpus@a",),
    ("corpus@b",),
    ("base",),
    ("ftwb1@1", "evaluate@ftwb1-1"),
    ("summarize",),
]


def test_a_job_waits_for_the_jobs_it_reads_from() -> None:
    jobs = plan_jobs(GROUPS, set(NEEDS), NEEDS)
    assert jobs == [
        Job("check", "data", ("check", "cities"), ()),
        Job("corpus@a", "data", ("corpus@a",), ("check",)),
        Job("corpus@b", "data", ("corpus@b",), ("check",)),
        Job("base", "base", ("base",), ("corpus@a", "corpus@b")),
        Job("ftwb1@1", "finetunes", ("ftwb1@1", "evaluate@ftwb1-1"), ("base", "corpus@a")),
        Job("summarize", "summary", ("summarize",), ("ftwb1@1",)),
    ]


def test_what_is_up_to_date_is_no_job_and_is_not_waited_for() -> None:
    jobs = plan_jobs(GROUPS, {"corpus@b", "base", "evaluate@ftwb1-1"}, NEEDS)
    assert jobs == [
        Job("corpus@b", "data", ("corpus@b",), ()),
        Job("evaluate@ftwb1-1", "evaluation", ("evaluate@ftwb1-1",), ()),
        Job("base", "base", ("base",), ("corpus@b",)),
    ]


def test_a_job_never_stands_before_one_that_it_waits_for() -> None:
    """Whatever the order of the groups: a new stage may be of an early kind and read from a late one."""
    jobs = plan_jobs(list(reversed(GROUPS)), set(NEEDS), NEEDS)
    names = [job.name for job in jobs]
    assert all(names.index(before) < names.index(job.name) for job in jobs for before in job.after)
    assert sorted(names) == sorted(group[0] for group in GROUPS)


def test_groups_that_wait_for_each_other_are_named() -> None:
    groups = [("check", "base"), ("cities", "corpus@a", "corpus@b")]
    with pytest.raises(
        WorldwidthError, match=r"jobs that wait for each other: (check, cities, check|cities, check, cities); "
    ):
        plan_jobs(groups, {stage for group in groups for stage in group}, NEEDS)


def test_the_base_model_is_evaluated_right_after_it_is_there(settings: Settings) -> None:
    groups = group_stages(settings, 2)
    assert groups[groups.index(("base",)) + 1] == ("evaluate@base", "represent@base")


def test_a_stage_in_no_group_is_refused() -> None:
    """It would never run, and nobody would know."""
    with pytest.raises(WorldwidthError, match=r"stage corpus@b: the `members` of its row in .* do not name it"):
        plan_jobs([group for group in GROUPS if group != ("corpus@b",)], set(NEEDS), NEEDS)


def test_a_stage_without_a_row_is_refused() -> None:
    with pytest.raises(WorldwidthError, match="stage probe: has no row in src/"):
        row_of("probe")


# GPUs


def test_a_gpu_takes_one_job_and_a_core_at_least_one() -> None:
    on_gpus = [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "GPU-8a"}]
    assert [job_slots(jobs, ["3", "GPU-8a"], 8) for jobs in (None, 1, 2, 5)] == [on_gpus, on_gpus[:1], on_gpus, on_gpus]
    assert [job_slots(jobs, [], 2) for jobs in (None, 1, 5)] == [[{}] * 2, [{}], [{}] * 5]
    assert job_slots(None, [], 0) == [{}], "more threads a job than cores"


def test_visible_gpus_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "_DEVICES", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(ANY) == []
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus(ANY) == ["0", "2", "10"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-8a,-1")
    assert visible_gpus(ANY) == ["3", "GPU-8a"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus(ANY) == []
    assert visible_gpus(replace(ANY, device="cpu")) == []
