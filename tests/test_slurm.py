"""`make slurm` on a real Slurm of three nodes, through the real DVC: `pytest tests/test_slurm.py`.

Slurm runs as plain processes of this machine (slurm_rig.py); where it is not installed the tests are skipped. One
study goes through it once, with all that can go wrong on its way; the tests look at what it left.
"""

import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from in_process import dvc, ok, worldwidth
from repository import Repository, products, stages_run
from slurm_rig import FINAL, SlurmRig
from small_study import STAGES, copy_of, small_study

pytestmark = pytest.mark.slurm

RECORDS = Path(".dvc") / "tmp" / "worldwidth" / "slurm"
OWN = 5
"""Stages that the second budget does not share: check, recipe, summarize, plots, representations."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmRig]:
    if reason := SlurmRig.missing():
        pytest.skip(reason)
    with SlurmRig(tmp_path_factory.mktemp("slurm")) as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", started.environment["SLURM_CONF"])
        yield started


@pytest.fixture(scope="module")
def start(rig: SlurmRig, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The small study with a pre-training of some seconds, the same under both budgets; nothing of it run. Copy it.

    One evaluation fails as long as the file ``broken`` lies in the project's folder.
    """
    made = small_study(tmp_path_factory.mktemp("start"))
    made.edit("params.yaml", "arch: wide ", "arch: narrow ")
    made.edit("params.yaml", "reference: wide ", "reference: narrow ")
    made.edit(
        "params.yaml", "num_attention_heads: 2\n        epochs: 4\n", "num_attention_heads: 2\n        epochs: 60\n"
    )
    made.edit("params.yaml", "resume_seconds: 10\n", "resume_seconds: 0\n")
    made.edit(
        "stages/evaluate.py",
        "def main(settings: Settings, name: str) -> None:\n",
        "def main(settings: Settings, name: str) -> None:\n"
        "    import os\n"
        "    from worldwidth.core.errors import WorldwidthError\n"
        "    if name == 'ftwb1-4' and os.path.exists(os.environ.get('DVC_ROOT', '.') + '/broken'):\n"
        "        raise WorldwidthError('evaluate: it is broken')\n",
    )
    made.ok("worldwidth", "render")
    made.commit("start")
    return made


@dataclass(frozen=True)
class First:
    """What became of the jobs of the first submission."""

    made: Repository
    states: dict[str, dict[str, Any]]
    """``variant.stage`` -> what `worldwidth slurm status` says of it in the end."""
    shown: str
    """The same for people."""
    requeued: str
    """State of pre-training after it put itself back into the queue."""
    partly: subprocess.CompletedProcess[str]
    """Of `worldwidth slurm collect`."""


Running = tuple[Repository, subprocess.Popen[str]]


@pytest.fixture(scope="module")
def running(start: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The same study without Slurm, on its way while Slurm is waited for."""
    made = copy_of(start, tmp_path_factory.mktemp("serial"))
    process = made.start("worldwidth", "run", "--jobs", "1", output=subprocess.DEVNULL)
    yield made, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def serial(running: Running) -> Repository:
    made, process = running
    assert process.wait(600) == 0
    return made


@pytest.fixture(scope="module")
def first(start: Repository, running: Running, rig: SlurmRig, tmp_path_factory: pytest.TempPathFactory) -> First:
    """Two budgets as one graph of jobs. Pre-training comes to its time limit, and then loses its node."""
    made = copy_of(start, tmp_path_factory.mktemp("study"))
    (made.folder / "broken").touch()
    jobs = submit(made)
    base = int(statuses(made)["narrow-epochs-s1.base"]["job"])
    rig.wait_until(lambda: bool(base_states(made)), 300)
    rig.ok("scancel", "--batch", "--signal=USR1", str(base))
    rig.wait_until(lambda: "back into the queue" in log_of_base(made), 60)
    requeued = statuses(made)["narrow-epochs-s1.base"]["state"]
    saved = base_states(made)
    rig.wait_until(lambda: base_states(made) != saved, 300)
    node = rig.ok("squeue", "--noheader", f"--jobs={base}", "--format=%N").strip()
    rig.kill_node(node)
    rig.wait_until(lambda: {rig.job_states()[job] for job in jobs} <= FINAL, 600)
    rig.revive_node(node)
    partly = worldwidth(made, "slurm", "collect")
    return First(made, statuses(made), ok(made, "slurm", "status"), requeued, partly)


@pytest.fixture(scope="module")
def second(first: First, rig: SlurmRig) -> Repository:
    """The same study after it was fixed, submitted again, and waited for; not yet collected."""
    (first.made.folder / "broken").unlink()
    rig.wait_for(submit(first.made), {"COMPLETED"}, 300)
    return first.made


@pytest.fixture(scope="module")
def collected(second: Repository) -> tuple[Repository, str]:
    """And collected; with what that printed."""
    return second, second.ok("worldwidth", "slurm", "collect")


def submit(made: Repository) -> list[int]:
    """Numbers of the jobs that this submits."""
    output = ok(made, "slurm", "submit", "--budgets", "epochs", "flops")
    return [int(number) for number in re.findall(r"^ +(\d+)  \S+: ", output, re.MULTILINE)]


def statuses(made: Repository) -> dict[str, dict[str, Any]]:
    found = json.loads(ok(made, "slurm", "status", "--json"))
    return {f"{status['variant']}.{status['stage']}": status for status in found}


def ends(made: Repository) -> dict[str, dict[str, Any]]:
    """``submission/job`` -> how it ended, as it recorded itself."""
    files = sorted((made.folder / RECORDS).glob("*/*.end.json"))
    return {f"{path.parent.name}/{path.name.removesuffix('.end.json')}": json.loads(path.read_text()) for path in files}


def log_of_base(made: Repository) -> str:
    """What pre-training has printed so far."""
    path = made.folder / RECORDS / "1" / "narrow-epochs-s1.base.log"
    return path.read_text() if path.exists() else ""


def base_states(made: Repository) -> list[int]:
    """When the state of the pre-training under way was saved."""
    found = made.folder.glob(".dvc/tmp/worldwidth/resume/base-*/state.safetensors")
    return [path.stat().st_mtime_ns for path in found]


def written(made: Repository) -> dict[Path, int]:
    """When the results were written or restored."""
    files = (path for folder in ("data", "models", "results") for path in (made.folder / folder).rglob("*"))
    return {path: path.stat().st_ctime_ns for path in files if path.is_file()}


def test_the_rest_of_the_jobs_ends_when_a_stage_fails(first: First) -> None:
    states = Counter(status["state"] for status in first.states.values())
    assert states == {"done": STAGES + OWN - 7, "failed": 1, "cancelled": 6}
    failed = first.states["narrow-epochs-s1.evaluate@ftwb1-4"]
    assert (failed["state"], failed["detail"]) == ("failed", "evaluate: it is broken")
    assert first.states["narrow-epochs-s1.evaluate@ftwb1-5"]["state"] == "done"  # in the same job
    assert "evaluate@ftwb1-4: failed: evaluate: it is broken" in first.shown
    assert "  worldwidth: evaluate: it is broken\n" in first.shown


def test_what_is_there_is_collected_and_what_is_missing_named(first: First) -> None:
    assert first.partly.returncode == 2
    missing = "missing: 4 stages: evaluate@ftwb1-4, summarize, plots, representations\n"
    assert f"narrow-epochs-s1: {missing}" in first.partly.stdout
    assert f"narrow-flops-s1: {missing}" in first.partly.stdout
    assert "2 of 2 variants are not whole" in first.partly.stderr


def test_a_training_goes_on_after_its_time_limit_and_the_loss_of_its_node(first: First) -> None:
    assert first.requeued in ("waiting", "running")
    found = re.findall(r"base: goes on after step ([\d,]+) of 1,140", log_of_base(first.made))
    steps = [int(step.replace(",", "")) for step in found]
    assert len(steps) == 2
    assert 0 < steps[0] < steps[1] < 1140
    assert ends(first.made)["1/narrow-epochs-s1.base"]["starts"] == 3
    assert base_states(first.made) == []


def test_only_what_is_missing_is_submitted_again(second: Repository) -> None:
    again = {job.split("/")[1]: list(end["stages"]) for job, end in ends(second).items() if job.startswith("2/")}
    assert again == {
        "narrow-epochs-s1.evaluate-ftwb1-4": ["evaluate@ftwb1-4"],
        "narrow-epochs-s1.summarize": ["summarize", "plots", "representations"],
        "narrow-flops-s1.summarize": ["summarize", "plots", "representations"],
    }


def test_every_command_runs_once(second: Repository) -> None:
    """Of both budgets and both submissions."""
    outcomes = Counter(
        (job.split("/")[1].split(".")[0], stage, outcome)
        for job, end in ends(second).items()
        for stage, outcome in end["stages"].items()
    )
    assert outcomes.pop(("narrow-epochs-s1", "evaluate@ftwb1-4", "failed")) == 1
    assert set(outcomes.values()) == {1}
    assert {outcome for _, _, outcome in outcomes} == {"ran"}
    assert len(outcomes) == STAGES + OWN
    printed = "".join(path.read_text() for path in sorted((second.folder / RECORDS).glob("*/*.log")))
    assert len(re.findall(r"^cities: 60 real ones", printed, re.MULTILINE)) == 1
    trained = Counter(re.findall(r"^(\S+?)(?: and 1 more)?: step ([\d,]+) of \2,", printed, re.MULTILINE))
    assert sum(count for (name, _), count in trained.items() if name == "base") == 1
    assert "Traceback" not in printed


def test_collecting_restores_all_and_runs_nothing(collected: tuple[Repository, str], serial: Repository) -> None:
    """Every file is, byte for byte, that of the study which ran without Slurm."""
    made, output = collected
    assert "narrow-epochs-s1: restored here and saved as an experiment\n" in output
    assert "\nnarrow-flops-s1: saved as an experiment\n" in output
    assert stages_run(output) == []
    assert dvc(made, "repro").endswith("Data and pipelines are up to date.\n")
    assert made.changed_stages() == set()
    assert products(made) == products(serial)
    assert set(made.ok("dvc", "exp", "list", "--name-only").split()) == {"narrow-epochs-s1", "narrow-flops-s1"}
    assert re.search(r"budget\s+epochs\s+flops", made.ok("dvc", "exp", "diff", "narrow-epochs-s1", "narrow-flops-s1"))
    assert list((made.folder / RECORDS / "clones").iterdir()) == []


def test_what_is_done_is_neither_submitted_nor_collected_again(
    collected: tuple[Repository, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = collected
    assert {status["state"] for status in statuses(made).values()} == {"done"}
    output = ok(made, "slurm", "submit", "--budgets", "epochs", "flops")
    assert output == "nothing to submit: all is done or under way; `worldwidth slurm status` says which\n"
    monkeypatch.setattr("worldwidth.slurm.collect.save_experiment", None)  # calling it would fail
    before = written(made)
    ok(made, "slurm", "collect")
    assert written(made) == before
    lines = ok(made, "slurm", "status").splitlines()
    assert lines[:2] == [f"narrow-epochs-s1  {STAGES} done", f"narrow-flops-s1   {OWN} done"]
