"""Training stages killed under the real DVC, in the work tree, in temporary and in queued experiments.

pytest tests/test_killed.py
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from other_machines import fake_tcsh
from repository import Repository, stages_run
from small_study import copy_of, small_study

pytestmark = [pytest.mark.pipeline, pytest.mark.processes]

GOES_ON = re.compile(r"base: goes on after step ([\d,]+) of 1,140")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The small study with a pre-training of some ten seconds, up to there. Copy it; do not run it."""
    made = small_study(tmp_path_factory.mktemp("start"))
    made.edit("params.yaml", "arch: wide ", "arch: narrow ")
    made.edit(
        "params.yaml", "num_attention_heads: 2\n        epochs: 4\n", "num_attention_heads: 2\n        epochs: 60\n"
    )
    made.edit("params.yaml", "resume_seconds: 10\n", "resume_seconds: 0\n")
    made.ok("dvc", "repro", "corpus", "atlantis", "recipe")
    made.commit("a long pre-training")
    return made


@pytest.fixture(scope="module")
def uninterrupted(start: Repository, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    made = copy_of(start, tmp_path_factory.mktemp("uninterrupted"))
    made.ok("dvc", "repro", "base")
    return outs(made.folder)


def outs(folder: Path) -> dict[str, bytes]:
    """Weights, checkpoints and curve of the base model."""
    files = [path for path in (folder / "models" / "base").rglob("*") if path.is_file()]
    files.append(folder / "results" / "training" / "base.csv")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def kill_in_training(made: Repository, number: int, *command: str) -> str:
    """Start ``command``, send ``number`` to all its processes once the base model's state has been saved anew."""
    before = state_times(made)
    process = made.start(*command)
    for _ in range(1800):
        if state_times(made) != before:
            break
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    os.killpg(process.pid, number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode != 0, output
    return output


def state_times(made: Repository) -> list[int]:
    states = made.folder.glob(".dvc/tmp/worldwidth/resume/base-*/state.safetensors")
    return [path.stat().st_mtime_ns for path in states]


def steps_before(output: str) -> list[int]:
    return [int(found.replace(",", "")) for found in GOES_ON.findall(output)]


def no_state(made: Repository) -> bool:
    return list(made.folder.glob(".dvc/tmp/worldwidth/resume/*")) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_dvc_repro(number: int, start: Repository, uninterrupted: dict[str, bytes], tmp_path: Path) -> None:
    made = copy_of(start, tmp_path)
    output = kill_in_training(made, number, "dvc", "repro", "base")
    if number != signal.SIGKILL:
        assert re.search(r"worldwidth: stopped; base is saved after step [\d,]+ of 1,140; run the same command", output)
    assert "Traceback" not in output
    assert not (made.folder / "models" / "base").exists()
    if number == signal.SIGKILL:
        output += kill_in_training(made, number, "dvc", "repro", "base")
    last = made.ok("dvc", "repro", "base")
    assert stages_run(last) == ["base"]
    goes_on_after = steps_before(output + last)
    assert len(goes_on_after) == (2 if number == signal.SIGKILL else 1)
    assert goes_on_after == sorted(set(goes_on_after))
    assert outs(made.folder) == uninterrupted
    assert no_state(made)
    assert "base" not in made.changed_stages()


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh", "", "tcsh"])
def test_dvc_alone_is_killed(
    shell: str,
    start: Repository,
    uninterrupted: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stage outlives its DVC. It must end by itself, and not train beside the one of the next `dvc repro`.

    Whether a shell stands between the two depends on the shell.
    """
    monkeypatch.setenv("SHELL", fake_tcsh(tmp_path) if shell == "tcsh" else shell)
    made = copy_of(start, tmp_path / "study")
    before = state_times(made)
    log = tmp_path / "log"
    with log.open("w") as file:
        process = made.start("dvc", "repro", "base", output=file.fileno())
    while state_times(made) == before:
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    process.kill()
    process.wait()
    output = made.ok("dvc", "repro", "base")
    assert "base is saved after step" in log.read_text()
    assert len(steps_before(output)) == 1
    assert outs(made.folder) == uninterrupted


def test_a_stage_whose_dvc_was_killed_strikes_it_out(start: Repository, tmp_path: Path) -> None:
    """Else the list would block whoever gets the number of that DVC."""
    made = copy_of(start, tmp_path)
    before = state_times(made)
    process = made.start("dvc", "repro", "base", output=subprocess.DEVNULL)
    wait_until(lambda: state_times(made) != before)
    rwlock = made.folder / ".dvc" / "tmp" / "rwlock"
    assert str(process.pid) in rwlock.read_text()
    process.kill()
    process.wait()
    wait_until(lambda: str(process.pid) not in rwlock.read_text())


def log_of_base(made: Repository) -> str:
    """What the job of the base model has printed."""
    return made.read(".dvc/tmp/worldwidth/run/logs/base.log")


def test_worldwidth_run(start: Repository, uninterrupted: dict[str, bytes], tmp_path: Path) -> None:
    made = copy_of(start, tmp_path)
    kill_in_training(made, signal.SIGKILL, "worldwidth", "run")
    wait_until(lambda: "is saved after step" in log_of_base(made))  # the job of the run that was killed
    process = made.start("worldwidth", "run")
    wait_until(lambda: "is saved after step" not in log_of_base(made))  # the job of this one
    before = state_times(made)
    while state_times(made) == before:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)  # to `worldwidth run` alone, as a batch system can be told to
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 75, output
    assert "worldwidth: stopped; base is saved after step" in output
    assert "run the same command again" in output
    assert len(steps_before(log_of_base(made))) == 1
    made.ok("worldwidth", "run")
    assert len(steps_before(log_of_base(made))) == 1
    assert outs(made.folder) == uninterrupted
    assert no_state(made)
    assert made.changed_stages() == set()


def temporary(made: Repository) -> str:
    """Run a temporary experiment, which is killed; run it again."""
    kill_in_training(made, signal.SIGKILL, "dvc", "exp", "run", "--temp", "--name", "first", "base")
    return made.ok("dvc", "exp", "run", "--temp", "--name", "again", "base")


def queued(made: Repository) -> str:
    """The same through DVC's queue, whose worker is killed."""
    made.ok("dvc", "exp", "run", "--queue", "--name", "first", "base")
    before = state_times(made)
    start_worker(made)
    wait_until(lambda: state_times(made) != before)
    made.ok("dvc", "queue", "kill", "--force", "first")
    made.ok("dvc", "queue", "stop", "--kill")
    made.ok("dvc", "exp", "run", "--queue", "--name", "again", "base")
    start_worker(made)
    wait_until(lambda: "again" in made.ok("dvc", "exp", "list", "--name-only"))
    return made.ok("dvc", "queue", "logs", "again")


def start_worker(made: Repository) -> None:
    """The worker inherits the output, and a pipe would have to be waited for until it ends."""
    made.start("dvc", "queue", "start", "-j", "1", output=subprocess.DEVNULL).wait()


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


@pytest.mark.skipif(not tempfile.gettempdir().isascii(), reason="DVC writes the config of such a folder in ASCII only")
@pytest.mark.parametrize("run", [temporary, queued], ids=["temp", "queue"])
def test_an_experiment_in_another_folder(
    run: Callable[[Repository], str], start: Repository, uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    """It runs in a folder that is new every time: the state lies in the repository that it came from."""
    made = copy_of(start, tmp_path)
    output = run(made)
    assert len(steps_before(output)) == 1, output
    assert stages_run(made.ok("dvc", "repro", "base")) == []
    assert outs(made.folder) == uninterrupted
    assert no_state(made)
