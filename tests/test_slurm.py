"""`make slurm` on a real Slurm of three nodes, through the real DVC: `pytest tests/test_slurm.py`.

Slurm runs as plain processes of this machine (slurm_rig.py); where it is not installed the tests are skipped.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repository import Repository, products, stages_run
from slurm_rig import FINAL, SlurmRig
from small_study import STAGES, copy_of, small_study

pytestmark = pytest.mark.slurm

RECORDS = Path(".dvc") / "tmp" / "worldwidth" / "slurm"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmRig]:
    if reason := SlurmRig.missing():
        pytest.skip(reason)
    with SlurmRig(tmp_path_factory.mktemp("slurm")) as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", started.environment["SLURM_CONF"])
        yield started


@pytest.fixture(scope="module")
def start(rig: SlurmRig, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The small study with a pre-training of some seconds, nothing of it run. Copy it.

    One evaluation fails as long as the file ``broken`` lies in the project's folder.
    """
    made = small_study(tmp_path_factory.mktemp("start"))
    made.edit("params.yaml", "arch: wide ", "arch: narrow ")
    made.edit("params.yaml", "num_attention_heads: 2, epochs: 4}", "num_attention_heads: 2, epochs: 60}")
    made.edit("params.yaml", "resume_seconds: 10\n", "resume_seconds: 0\n")
    made.edit(
        "stages/evaluate.py",
        "def main(matrix: Matrix, name: str) -> None:\n",
        "def main(matrix: Matrix, name: str) -> None:\n"
        "    import os\n"
        "    from worldwidth.errors import WorldwidthError\n"
        "    if name == 'ftwb1-4' and os.path.exists(os.environ.get('DVC_ROOT', '.') + '/broken'):\n"
        "        raise WorldwidthError('evaluate: it is broken')\n",
    )
    made.ok("worldwidth", "render")
    made.commit("start")
    return made


@pytest.fixture(scope="module")
def serial(start: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The same study, run by `worldwidth run` without Slurm."""
    made = copy_of(start, tmp_path_factory.mktemp("serial"))
    made.ok("worldwidth", "run", "--jobs", "1")
    return made


@pytest.fixture(scope="module")
def swept(start: Repository, rig: SlurmRig, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Two widths handed in as one graph, waited for, not yet collected."""
    made = copy_of(start, tmp_path_factory.mktemp("swept"))
    rig.wait_for(submit(made, "--archs", "narrow", "wide"), {"COMPLETED"}, 200)
    return made


def submit(made: Repository, *arguments: str) -> list[int]:
    """Ids of the jobs that this hands in."""
    output = made.ok("worldwidth", "slurm", "submit", *arguments)
    return [int(number) for number in re.findall(r"^ +(\d+)  \S+: ", output, re.MULTILINE)]


def statuses(made: Repository) -> dict[str, dict[str, Any]]:
    """``variant.stage`` -> what `worldwidth slurm status` says of it."""
    found = json.loads(made.ok("worldwidth", "slurm", "status", "--json"))
    return {f"{status['variant']}.{status['stage']}": status for status in found}


def states(made: Repository) -> Counter[str]:
    return Counter(status["state"] for status in statuses(made).values())


def ends(made: Repository) -> dict[str, dict[str, Any]]:
    """``submission/job`` -> how it ended, by its own account."""
    files = sorted((made.folder / RECORDS).glob("*/*.end.json"))
    return {f"{path.parent.name}/{path.name.removesuffix('.end.json')}": json.loads(path.read_text()) for path in files}


def logs(made: Repository) -> str:
    return "".join(path.read_text() for path in sorted((made.folder / RECORDS).glob("*/*.log")))


def log_of(made: Repository, job: str) -> str:
    """What a job of the first submission has printed so far."""
    path = made.folder / RECORDS / "1" / f"narrow-epochs-s1.{job}.log"
    return path.read_text() if path.exists() else ""


def id_of(made: Repository, stage: str) -> int:
    """The job that a stage was handed in with last."""
    return int(statuses(made)[f"narrow-epochs-s1.{stage}"]["job"])


def base_states(made: Repository) -> list[int]:
    """When the states of base models under way were saved."""
    found = made.folder.glob(".dvc/tmp/worldwidth/resume/base-*/state.safetensors")
    return [path.stat().st_mtime_ns for path in found]


def test_every_command_runs_once(swept: Repository) -> None:
    outcomes = Counter(
        (job.split("/")[1].split(".")[0], stage, outcome)
        for job, end in ends(swept).items()
        for stage, outcome in end["stages"].items()
    )
    assert set(outcomes.values()) == {1}
    assert {outcome for _, _, outcome in outcomes} == {"ran"}
    assert len(outcomes) == STAGES + STAGES - 4  # cities and three corpora are shared
    printed = logs(swept)
    assert len(re.findall(r"^cities: 60 real ones", printed, re.MULTILINE)) == 1
    trained = Counter(re.findall(r"^(\S+?)(?: and 1 more)?: step ([\d,]+) of \2,", printed, re.MULTILINE))
    assert sum(count for (name, _), count in trained.items() if name == "base") == 2
    assert "Traceback" not in printed


def test_the_head_restores_all_and_runs_nothing(swept: Repository, serial: Repository) -> None:
    output = swept.ok("worldwidth", "slurm", "collect")
    assert "narrow-epochs-s1: restored here and saved as an experiment\n" in output
    assert "\nwide-epochs-s1: saved as an experiment\n" in output
    assert stages_run(output) == []
    assert stages_run(swept.ok("dvc", "repro")) == []
    assert swept.changed_stages() == set()
    assert products(swept) == products(serial)
    assert set(swept.ok("dvc", "exp", "list", "--name-only").split()) == {"narrow-epochs-s1", "wide-epochs-s1"}
    assert "pretraining.tokens" in swept.ok("dvc", "metrics", "diff", "narrow-epochs-s1", "wide-epochs-s1")
    assert list((swept.folder / RECORDS / "clones").iterdir()) == []


def test_what_is_done_is_not_handed_in_again(swept: Repository) -> None:
    assert states(swept) == {"done": STAGES + STAGES - 4}
    output = swept.ok("worldwidth", "slurm", "submit", "--archs", "narrow", "wide")
    assert output == "nothing to hand in: all is done or under way; `worldwidth slurm status` says which\n"
    again = swept.ok("worldwidth", "slurm", "collect")
    assert "is cached" not in again  # nor restored
    assert stages_run(again) == []


def test_the_status_for_people(swept: Repository) -> None:
    lines = swept.ok("worldwidth", "slurm", "status").splitlines()
    assert lines[0] == f"narrow-epochs-s1  {STAGES} done"
    assert lines[1] == f"wide-epochs-s1    {STAGES - 4} done"


def test_a_failing_stage_and_a_lost_node(start: Repository, serial: Repository, rig: SlurmRig, tmp_path: Path) -> None:
    """The rest ends, the training that was cut off goes on elsewhere; handing in again runs only what is missing."""
    made = copy_of(start, tmp_path)
    (made.folder / "broken").touch()
    jobs = submit(made)
    rig.wait_until(lambda: bool(base_states(made)), 120)
    node = rig.ok("squeue", "--noheader", f"--jobs={id_of(made, 'base')}", "--format=%N").strip()
    rig.kill_node(node)
    rig.wait_until(lambda: {rig.job_states()[job] for job in jobs} <= FINAL, 200)
    rig.revive_node(node)
    assert re.search(r"base: goes on after step [\d,]+ of 1,140", log_of(made, "base"))
    assert ends(made)["1/narrow-epochs-s1.base"]["starts"] == 2
    found = statuses(made)
    assert states(made) == {"done": STAGES - 3, "failed": 1, "cancelled": 2}
    failed = found["narrow-epochs-s1.evaluate@ftwb1-4"]
    assert (failed["state"], failed["detail"]) == ("failed", "evaluate: it is broken")
    shown = made.ok("worldwidth", "slurm", "status")
    assert "evaluate@ftwb1-4: failed: evaluate: it is broken" in shown
    assert "  worldwidth: evaluate: it is broken\n" in shown

    partly = made.run("worldwidth", "slurm", "collect")
    assert partly.returncode == 2
    assert "narrow-epochs-s1: missing: 3 stages: evaluate@ftwb1-4, summarize, plots\n" in partly.stdout

    (made.folder / "broken").unlink()
    again = submit(made)
    assert len(again) == 2
    rig.wait_for(again, {"COMPLETED"}, 120)
    ran = {stage for job, end in ends(made).items() if job.startswith("2/") for stage in end["stages"]}
    assert ran == {"evaluate@ftwb1-4", "summarize", "plots"}
    made.ok("worldwidth", "slurm", "collect")
    assert products(made) == products(serial)


def test_the_time_limit_in_the_middle_of_a_training(
    start: Repository, serial: Repository, rig: SlurmRig, tmp_path: Path
) -> None:
    """Slurm's signal before the limit: the job saves, puts itself back and goes on; the weights are those of ever."""
    made = copy_of(start, tmp_path)
    submit(made)
    base = id_of(made, "base")
    rig.wait_until(lambda: bool(base_states(made)), 120)
    rig.ok("scancel", "--batch", "--signal=USR1", str(base))
    rig.wait_until(lambda: "back into the queue" in log_of(made, "base"), 30)
    assert statuses(made)["narrow-epochs-s1.base"]["state"] in ("waiting", "running")
    rig.wait_for([base], {"COMPLETED"}, 120)
    rig.ok("scancel", f"--user={os.getuid()}")
    assert re.search(r"base: goes on after step [\d,]+ of 1,140", log_of(made, "base"))
    assert ends(made)["1/narrow-epochs-s1.base"]["starts"] == 2
    assert base_states(made) == []
    rig.wait_until(lambda: set(rig.job_states().values()) <= FINAL, 60)
    assert states(made)["cancelled"] > 0
    assert stages_run(made.ok("dvc", "repro", "base")) == []
    weights = Path("models") / "base" / "model.safetensors"
    assert (made.folder / weights).read_bytes() == (serial.folder / weights).read_bytes()
