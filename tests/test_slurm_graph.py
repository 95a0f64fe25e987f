"""From variants to jobs, without Slurm: `pytest tests/test_slurm_graph.py`."""

import json
from pathlib import Path

import pytest

from in_process import ok, worldwidth
from repository import Repository
from small_study import STAGES, small_study
from worldwidth.engine.watch import last_lines
from worldwidth.settings.cluster import Cluster
from worldwidth.settings.schema import Settings
from worldwidth.slurm.records import End, Submission, new_folder
from worldwidth.slurm.used import used, used_lines
from worldwidth.sweep.graph import VariantJob
from worldwidth.sweep.variants import Variant

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return small_study(tmp_path_factory.mktemp("study"))


def plan(study: Repository, *arguments: str) -> list[dict[str, object]]:
    done = worldwidth(study, "slurm", "plan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    jobs = json.loads(done.stdout)["jobs"]
    assert isinstance(jobs, list)
    seen: set[object] = set()
    for job in jobs:  # none comes before those that it waits for
        assert set(job["after"]) <= seen
        seen.add(job["name"])
    return jobs


def stages_by_job(jobs: list[dict[str, object]]) -> dict[str, list[str]]:
    return {str(job["name"]): list(job["stages"]) for job in jobs}  # type: ignore[call-overload]


def test_one_variant(study: Repository) -> None:
    jobs = plan(study)
    assert stages_by_job(jobs) == {
        "wide-epochs-s1.check": [
            *("check", "cities", "corpus@distance", "corpus@compass", "corpus@inside", "atlantis", "recipe", "added")
        ],
        "wide-epochs-s1.base": ["base"],
        "wide-epochs-s1.ftwb1-1": [
            *("ftwb1@1", "ftwb2@15", "evaluate@ftwb1-1", "evaluate@ftwb2-15"),
            *("represent@ftwb1-1", "represent@ftwb2-15"),
        ],
        "wide-epochs-s1.ftwb1-4": [
            *("ftwb1@4", "ftwb1@5", "evaluate@ftwb1-4", "evaluate@ftwb1-5"),
            *("represent@ftwb1-4", "represent@ftwb1-5"),
        ],
        "wide-epochs-s1.evaluate-base": ["evaluate@base", "represent@base"],
        "wide-epochs-s1.summarize": ["summarize", "plots", "representations"],
    }
    assert sum(len(stages) for stages in stages_by_job(jobs).values()) == STAGES
    after = {str(job["name"]).split(".")[1]: job["after"] for job in jobs}
    assert after["check"] == []
    assert after["base"] == ["wide-epochs-s1.check"]
    assert after["ftwb1-4"] == after["evaluate-base"] == ["wide-epochs-s1.base"]
    assert after["summarize"] == [
        f"wide-epochs-s1.{name}" for name in ("evaluate-base", "ftwb1-1", "ftwb1-4")
    ]  # the corpora and the base model are done when these are


def test_what_variants_share_is_submitted_once(study: Repository) -> None:
    jobs = plan(study, "--archs", "wide", "narrow", "--seeds", "1", "2", "--budgets", "epochs", "flops")
    stages = stages_by_job(jobs)
    corpora = [name for name, own in stages.items() if any(stage.startswith("corpus@") for stage in own)]
    assert corpora == ["wide-epochs-s1.check"]
    # of two seeds the schedules are equal; at the FLOPs of wide, wide itself is what it was
    bases = [name for name, own in stages.items() if "base" in own]
    assert bases == [
        f"{variant}.base"
        for variant in (
            "wide-epochs-s1", "narrow-epochs-s1", "narrow-flops-s1",
            "wide-epochs-s2", "narrow-epochs-s2", "narrow-flops-s2",
        )
    ]  # fmt: skip
    assert stages["wide-flops-s1.summarize"] == ["summarize", "plots", "representations"]
    assert stages["narrow-epochs-s2.check"] == ["check"]
    after = {str(job["name"]): job["after"] for job in jobs}
    assert after["narrow-epochs-s1.base"] == ["narrow-epochs-s1.check"]
    assert "wide-epochs-s1.evaluate-base" in after["wide-flops-s1.summarize"]  # type: ignore[operator]


def test_a_sweep_of_any_axis_is_planned_with_the_same_words(study: Repository) -> None:
    """Rates and draws share base models, and draws have an Atlantis of their own."""
    words = ("--vary", "arch=narrow", "--vary", "finetuning.learning_rate=1e-3,4e-3", "--only", "ftwb1-4")
    stages = stages_by_job(plan(study, *words, "--vary", "world.atlantis.seed=42,7"))
    first, second = "narrow-epochs-s1", "narrow-epochs-s1-a7"
    assert [name for name, own in stages.items() if "base" in own] == [f"{first}-lr1e-3.base"]
    assert [name for name, own in stages.items() if "atlantis" in own] == [
        f"{first}-lr1e-3.check", f"{second}-lr1e-3.atlantis",
    ]  # fmt: skip
    tuned = [name for name, own in stages.items() if "ftwb1@4" in own]
    assert tuned == [f"{variant}-lr{rate}.ftwb1-4" for variant in (first, second) for rate in ("1e-3", "4e-3")]
    assert not any("ftwb1@1" in own for own in stages.values())
    assert len(stages_by_job(plan(study, "widths"))) > len(stages_by_job(plan(study)))


def test_the_table_says_what_the_jobs_ask_for(study: Repository) -> None:
    output = ok(study, "slurm", "plan")
    row = next(line for line in output.splitlines() if line.startswith("  base "))
    assert row.split() == ["base", "1", "10", "1", "2", "0", "check"]
    assert f"6 jobs, {STAGES} stages; variants: 1; at most 1.0 core hours and 0.0 GPU hours" in output


def test_without_slurm_it_is_one_line(study: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = worldwidth(study, "slurm", "submit")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "worldwidth: sbatch: not found; this is for a machine from which jobs are submitted to"
    )
    assert done.stderr.count("\n") == 1


def test_submissions_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert [new_folder().name for _ in range(11)] == [str(n) for n in range(1, 12)]


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == []
    log.write_bytes(b"x" * 100_000 + b"\nstep 1\rstep 2\r\n\n\x1b[31mred\xff\n")
    assert last_lines(log)[1:] == ["step 1", "step 2", " [31mred�"]


def test_a_project_with_no_cluster_has_defaults() -> None:
    assert Cluster() == Cluster(partition="", account="", shared_folder=".", activate="", sbatch=(), requeues=5)


def test_asked_against_used_is_of_the_longest_and_the_largest(tmp_path: Path, settings: Settings) -> None:
    variant = Variant("wide-epochs-s1", ())
    names = ("a", "b", "failed", "runs")
    jobs = tuple(VariantJob(name, "finetunes", (name,), (), variant, ("key",), ()) for name in names)
    ids = {name: number for number, name in enumerate(names)}
    made = Submission(tmp_path, ids, tmp_path, tmp_path, "commit", 5, (variant,), jobs)
    for name, code, seconds, peak in (("a", 0, 60.0, 10**9), ("b", 0, 30.0, 2 * 10**9), ("failed", 2, 900.0, 10**10)):
        made.write_end(name, End(code, "", {}, "node", 1, seconds, peak))
    (row,) = used(settings, [made])
    assert (row.kind, row.jobs, row.minutes, row.memory_gb) == ("finetunes", 2, 1.0, 2.0)
    head, line = used_lines([row])
    assert line.split() == ["finetunes", "2", "1.0", "of", "30", "2.0", "of", "2"]
    assert len(head) == len(line) <= 80


def test_the_plan_fits_80_columns(study: Repository) -> None:
    words = ("--archs", "wide", "narrow", "--seeds", "1", "2", "--budgets", "epochs", "flops")
    output = worldwidth(study, "slurm", "plan", *words).stdout
    assert max(map(len, output.splitlines())) <= 80
    assert "\nwide-epochs-s1\n  check " in output
