"""The Slurm of the tests does what the other tests take for granted: `pytest tests/test_slurm_rig.py`."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import slurm_rig
from slurm_rig import SlurmRig

pytestmark = pytest.mark.slurm

LOG = "--output=%j.log"
HEARING_USR1 = f"""exec {sys.executable} -c '
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("listening", flush=True)
print("heard", signal.sigwait([signal.SIGUSR1]).name)
'"""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmRig]:
    if reason := SlurmRig.missing():
        pytest.skip(reason)
    with SlurmRig(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def log(rig: SlurmRig, job: int) -> str:
    path = rig.folder / f"{job}.log"
    return path.read_text() if path.exists() else ""


def node_of(rig: SlurmRig, job: int) -> str:
    return rig.ok("squeue", "--noheader", "--states=all", "--jobs", str(job), "--format=%N").strip()


def test_a_job_leaves_a_log_and_its_exit_code(rig: SlurmRig) -> None:
    jobs = [rig.submit(f"echo hello from $SLURM_JOB_ID; exit {code}", "--mem=4G", LOG) for code in (0, 75)]
    rig.wait_for(jobs, {"COMPLETED", "FAILED"})
    assert [rig.job_states()[job] for job in jobs] == ["COMPLETED", "FAILED"]
    assert log(rig, jobs[0]) == f"hello from {jobs[0]}\n"
    assert "ExitCode=75:0" in rig.ok("scontrol", "show", "job", str(jobs[1]))


def test_what_depends_on_a_failed_job_is_cancelled_and_nothing_else(rig: SlurmRig) -> None:
    failing = rig.submit("exit 3", LOG)
    options = ["--kill-on-invalid-dep=yes", LOG]
    dependant = rig.submit("true", f"--dependency=afterok:{failing}", *options)
    further = rig.submit("true", f"--dependency=afterok:{dependant}", *options)
    independent = rig.submit("true", LOG)
    after = rig.submit("true", f"--dependency=afterok:{independent}", *options)
    rig.wait_for([failing], {"FAILED"})
    rig.wait_for([dependant, further], {"CANCELLED"})
    rig.wait_for([independent, after], {"COMPLETED"})
    assert log(rig, dependant) == ""


def test_a_job_of_a_dead_node_starts_again_elsewhere(rig: SlurmRig) -> None:
    """Nothing that it began is left, and what depends on it still waits for it."""
    script = """
        echo attempt ${SLURM_RESTART_COUNT:-0} on $SLURMD_NODENAME
        [ -n "$SLURM_RESTART_COUNT" ] && exit
        (setsid sleep 300 &)
        echo waiting
        sleep 300
    """
    job = rig.submit(script, "--requeue", "--open-mode=append", LOG)
    dependant = rig.submit("true", f"--dependency=afterok:{job}", "--kill-on-invalid-dep=yes", LOG)
    rig.wait_until(lambda: "waiting" in log(rig, job))
    first = node_of(rig, job)
    assert running(rig, job) == {"slurm_script", "sleep"}
    rig.kill_node(first)
    assert running(rig, job) == set()
    assert rig.job_states()[job] == "PENDING"
    rig.wait_for([job, dependant], {"COMPLETED"})
    second = node_of(rig, job)
    assert first != second
    assert log(rig, job) == f"attempt 0 on {first}\nwaiting\nattempt 1 on {second}\n"
    rig.revive_node(first)
    on_it = rig.submit("true", f"--nodelist={first}", LOG)
    rig.wait_for([on_it], {"COMPLETED"})


def running(rig: SlurmRig, job: int) -> set[str]:
    """Names of the processes of a job that can still do something."""
    return {process.name() for process in rig.processes() if process.environ().get("SLURM_JOB_ID") == str(job)}


def test_a_signal_reaches_what_the_batch_script_became(rig: SlurmRig) -> None:
    job = rig.submit(HEARING_USR1, LOG)
    rig.wait_until(lambda: "listening" in log(rig, job))
    rig.ok("scancel", "--batch", "--signal=USR1", str(job))
    rig.wait_for([job], {"COMPLETED"})
    assert log(rig, job) == "listening\nheard SIGUSR1\n"


def test_a_job_puts_itself_back(rig: SlurmRig) -> None:
    script = """
        echo attempt ${SLURM_RESTART_COUNT:-0}
        [ -n "$SLURM_RESTART_COUNT" ] && exit
        scontrol requeue $SLURM_JOB_ID
        sleep 300
    """
    job = rig.submit(script, "--requeue", "--open-mode=append", LOG)
    rig.wait_for([job], {"COMPLETED"})
    lines = log(rig, job).splitlines()
    assert [line for line in lines if "slurmstepd" not in line] == ["attempt 0", "attempt 1"]


def test_a_second_rig_at_the_same_time_leaves_nothing_behind(rig: SlurmRig, tmp_path: Path) -> None:
    with SlurmRig(tmp_path / "second", nodes=1) as second:
        job = second.submit("(setsid sleep 300 &)\necho waiting\nsleep 300", LOG)
        second.wait_until(lambda: "waiting" in log(second, job))
        assert second.job_states() == {job: "RUNNING"}
    assert list(second.processes()) == []
    assert rig.ok("sinfo", "--noheader", "--format=%T").split() == ["idle"]


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_rig, "PROGRAMS", ("sh", "no-such-slurm"))
    assert SlurmRig.missing() == "no-such-slurm: not found; apt-get install slurm-wlm"


def test_slurm_never_listens_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_rig, "PROGRAMS", ())
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "192.0.2.1")
    assert "is not of the loopback device" in SlurmRig.missing()
