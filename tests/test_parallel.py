"""`worldwidth run` through the real DVC, on a study of 26 stages: `pytest tests/test_parallel.py`.

What is asked: the same files and the same dvc.lock as `dvc repro`, and nothing lost whatever happens in between.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import chdir, closing
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
from dvc.repo import Repo
from dvc_data.hashfile.cache import Cache, Disk

from repository import Repository, products, read_yaml_file
from small_study import STAGES, copy_of, finished_study, small_study
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.repo import open_repo
from worldwidth.settings.paths import scratch_folder

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The small study before any run. Copy it; do not run it."""
    return small_study(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def serial(start: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Run by plain `dvc repro`."""
    made = copy_of(start, tmp_path_factory.mktemp("serial"))
    made.ok("dvc", "repro")
    return made


@pytest.fixture(scope="module")
def parallel(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Run by `worldwidth run`, two jobs at a time."""
    made = copy_of(finished_study(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("parallel"))
    output = (made.folder / ".git" / "output-of-the-run").read_text()
    assert f"{STAGES} of {STAGES} stages to do in 8 jobs, 2 at a time\n" in output
    assert_each_stage_has_two_lines(output)
    assert "Updating lock file" not in output
    assert "Updating lock file" in printed(made)
    assert output.index("all stages are up to date after ") < output.index("\nftwb1: fine-tuned on one task")
    assert "\nfigures: plots/ftwb1.png, plots/ftwb2.png\nnext: `worldwidth widths`" in output
    return made


def assert_each_stage_has_two_lines(output: str) -> None:
    """One when it starts and one when it ends, with how many have ended by then."""
    lines = re.findall(rf"(?m)^\[(\d+)/{STAGES}\] (\S+): (started|done in .+)$", output)
    assert [int(done) for done, _, what in lines if what != "started"] == list(range(1, STAGES + 1))
    started, ended = (
        [name for _, name, what in lines if (what == "started") == is_start] for is_start in (True, False)
    )
    assert len(set(started)) == STAGES
    assert sorted(started) == sorted(ended)
    trained = [name for _, name, what in lines if re.search(r", loss [\d.]+, [\d,]+ tokens/s$", what)]
    assert sorted(trained) == ["base", "ftwb1@1", "ftwb1@4", "ftwb1@5", "ftwb2@15"]


@pytest.fixture
def finished(parallel: Repository, tmp_path: Path) -> Repository:
    """A copy of the finished study, to be changed."""
    return copy_of(parallel, tmp_path)


def printed(repository: Repository) -> str:
    """What the jobs of the last run have printed."""
    logs = repository.folder / ".dvc" / "tmp" / "worldwidth" / "run" / "logs"
    return "".join(log.read_text() for log in sorted(logs.glob("*.log")))


def assert_as(serial: Repository, other: Repository) -> None:
    """Same files, same dvc.lock (but for the order of its entries), nothing left to do."""
    mine, reference = products(other), products(serial)
    assert mine.keys() == reference.keys()
    assert [name for name in mine if mine[name] != reference[name]] == []
    assert read_yaml_file(other.folder / "dvc.lock") == read_yaml_file(serial.folder / "dvc.lock")
    assert other.changed_stages() == set()


def test_a_parallel_run_leaves_what_a_serial_one_leaves(serial: Repository, parallel: Repository) -> None:
    assert_as(serial, parallel)
    assert "data and pipelines are up to date" in parallel.ok("dvc", "repro").lower()


def test_a_second_run_does_nothing(parallel: Repository) -> None:
    assert f"all {STAGES} stages are up to date" in parallel.ok("worldwidth", "run")
    assert not parallel.git("status", "--porcelain")


def test_the_run_cache_knows_what_a_job_did(finished: Repository, serial: Repository) -> None:
    """Everything in the work tree is lost but DVC's cache: all comes back, nothing is computed."""
    for name in ("models", "data", "dvc.lock"):
        path = finished.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finished.git("checkout", "models", "data")
    output = finished.ok("worldwidth", "run")
    assert f"{STAGES} of {STAGES} stages are restored from the run cache; nothing had to run" in output
    assert ": started" not in output
    assert_as(serial, finished)


def test_only_what_changed_runs_again(finished: Repository) -> None:
    finished.edit("params.yaml", "statistics: {resamples: 200}", "statistics: {resamples: 201}")
    output = finished.ok("worldwidth", "run")
    assert f"3 of {STAGES} stages to do in 1 jobs" in output
    assert "\n[0/3] summarize: started\n[1/3] summarize: done in " in output
    ended = re.findall(r"(?m)^\[(\d)/3\] (\S+): (?:done in .+|known from before)$", output)
    assert ended == [("1", "summarize"), ("2", "plots"), ("3", "representations")]
    assert "measurable" in printed(finished)
    assert finished.changed_stages() == set()


def test_a_stage_that_fails_stops_only_what_depends_on_it(
    start: Repository, serial: Repository, tmp_path: Path
) -> None:
    """A file stands where a folder is needed: one fine-tune cannot be written."""
    made = copy_of(start, tmp_path)
    blocked = made.folder / "results" / "training" / "ftwb1-1.csv"
    (blocked / "in the way").mkdir(parents=True)
    refused = made.run("worldwidth", "run")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
    lines = [line for line in refused.stderr.splitlines() if line.startswith("worldwidth: ")]
    for kind in ("evaluate", "represent"):
        assert f"worldwidth: {kind}@ftwb1-1: not run, for ftwb1@1 failed" in lines
    assert any(line.startswith("worldwidth: results/training/.ftwb1-1.csv.tmp: ") for line in lines)
    assert lines[-1].startswith("worldwidth: not done: ftwb1@1, evaluate@ftwb1-1, represent@ftwb1-1, summarize, plots")
    shutil.rmtree(blocked)
    output = made.ok("worldwidth", "run")
    assert f"6 of {STAGES} stages to do" in output
    assert_as(serial, made)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7])
def test_a_lock_file_that_was_cut_off_is_made_again(part: float, finished: Repository, serial: Repository) -> None:
    """DVC writes it in place: a kill may come then."""
    path = finished.folder / "dvc.lock"
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))].rsplit(b"\n", 1)[0] + b"\n    outs:\n    - pa" * bool(part))
    refused = finished.run("dvc", "repro")
    assert refused.returncode == 255
    assert "dvc.lock" in refused.stderr
    output = finished.ok("worldwidth", "run")
    assert "dvc.lock was cut off, as by a kill while DVC wrote it" in output
    assert "] base: started" not in output
    assert_as(serial, finished)


def test_an_empty_folder_in_the_run_cache_is_no_hindrance(finished: Repository, serial: Repository) -> None:
    """DVC makes the folder of an entry, then the file: a kill between the two makes it fail for ever."""
    (finished.folder / "dvc.lock").unlink()
    long = ("stages/pretrain.py", "stages/finetune.py", "stages/evaluate.py")
    for entry in (finished.folder / ".dvc" / "cache" / "runs").glob("*/*/*"):
        if not any(script in entry.read_text() for script in long):
            entry.unlink()
    refused = finished.run("dvc", "repro")
    assert refused.returncode == 255
    assert "not 'NoneType'" in refused.stderr
    finished.ok("worldwidth", "run")
    assert_as(serial, finished)


def test_a_damaged_database_of_file_hashes_is_no_hindrance(finished: Repository, serial: Repository) -> None:
    """It only saves time; a power cut or a network file system can damage it, and all of DVC stops over it."""
    (finished.folder / "dvc.lock").unlink()
    for database in site_cache(finished).rglob("cache.db"):
        database.write_text("damaged")
    assert "file is not a database" in finished.run("dvc", "repro").stderr
    refused = finished.run("worldwidth", "plan")
    assert refused.returncode == 2
    assert refused.stderr.startswith("worldwidth: DVC's database of file hashes is damaged (file is not a database)")
    output = finished.ok("worldwidth", "run")
    assert "DVC's database of file hashes was damaged" in output
    assert_as(serial, finished)


def test_a_locked_database_of_file_hashes_is_one_line(finished: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that cannot lock."""
    (database,) = site_cache(finished).glob("links/cache.db")
    monkeypatch.chdir(finished.folder)
    monkeypatch.setattr(Cache.__init__, "__defaults__", (None, 0, Disk, None))  # not the minute that it waits
    with closing(sqlite3.connect(database)) as held:
        held.execute("BEGIN EXCLUSIVE")
        with pytest.raises(WorldwidthError, match="database is locked; make room or end what uses it"), open_repo():
            pass


def site_cache(repository: Repository) -> Path:
    """Where DVC keeps its database of the repository's file hashes."""
    with chdir(repository.folder), Repo() as repo:
        return Path(repo.site_cache_dir)


def test_a_killed_process_is_no_hindrance(finished: Repository, serial: Repository) -> None:
    """DVC waits for one that was never reaped, and for whatever has its number since; the living is left in peace."""
    (finished.folder / "dvc.lock").unlink()
    zombie, stranger, living = (
        finished.start(*words, output=subprocess.DEVNULL)
        for words in (["true"], ["sleep", "600"], ["tail", "-f", "dvc.yaml"])
    )
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
    dead, reused, alive = ({"pid": one.pid, "cmd": "worldwidth job"} for one in (zombie, stranger, living))
    base, elsewhere, cities = (str(finished.folder / name) for name in ("models/base", "elsewhere", "data/cities.csv"))
    blockers = {"write": {base: dead, elsewhere: alive}, "read": {cities: [dead, reused]}}
    rwlock = finished.folder / ".dvc" / "tmp" / "rwlock"
    try:
        rwlock.write_text(json.dumps(blockers))
        assert "is busy, it is being blocked by" in finished.run("dvc", "repro").stderr
        finished.ok("worldwidth", "run")
    finally:
        for process in (zombie, stranger, living):
            process.kill()
            process.wait()
    left = json.loads(rwlock.read_text())
    assert {kind: blockers for kind, blockers in left.items() if blockers} == {"write": {elsewhere: alive}}
    rwlock.unlink()
    assert_as(serial, finished)


def test_a_list_of_blockers_that_was_cut_off_is_no_hindrance(finished: Repository, serial: Repository) -> None:
    (finished.folder / "dvc.lock").unlink()
    (finished.folder / ".dvc" / "tmp" / "rwlock").write_text('{"write": {"/')
    assert "Unable to read RWLock-file" in finished.run("dvc", "repro").stderr
    finished.ok("worldwidth", "run")
    assert_as(serial, finished)


def test_a_lock_file_with_a_conflict_is_left_alone(finished: Repository) -> None:
    conflict = "<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n"
    (finished.folder / "dvc.lock").unlink()
    (finished.folder / "dvc.lock").write_text(conflict)
    refused = finished.run("worldwidth", "run")
    assert refused.returncode == 2
    assert refused.stderr == "worldwidth: dvc.lock: holds conflict markers; `worldwidth doctor` says what to do\n"
    assert finished.read("dvc.lock") == conflict


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    """Until ``path`` is there; it must come while the run is going on."""
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def with_its_jobs(process: subprocess.Popen[str]) -> list[psutil.Process]:
    parent = psutil.Process(process.pid)
    return [parent, *parent.children()]


def temporary_files(repository: Repository) -> list[Path]:
    return [path for folder in ("data", "models", "results") for path in (repository.folder / folder).rglob(".*.tmp")]


@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGINT, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C", "SIGTERM to all"],
)
def test_a_stopped_run_goes_on_where_it_was(
    number: signal.Signals, to_all: bool, start: Repository, serial: Repository, tmp_path: Path
) -> None:
    made = copy_of(start, tmp_path)
    process = made.start("worldwidth", "run")
    wait_for(process, made.folder / "models" / "base")
    for victim in with_its_jobs(process) if to_all else [process]:
        victim.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == (130 if number == signal.SIGINT else 75), output
    assert "Traceback" not in output
    assert temporary_files(made) == []
    left = made.changed_stages()
    assert {"summarize", "plots", "representations"} <= left
    assert "corpus@distance" not in left
    output = made.ok("worldwidth", "run")
    assert "] cities: started" not in output
    assert_as(serial, made)


@pytest.mark.parametrize("is_job", [True, False], ids=["a job", "all at once"])
def test_a_killed_run_goes_on_where_it_was(is_job: bool, start: Repository, serial: Repository, tmp_path: Path) -> None:
    made = copy_of(start, tmp_path)
    process = made.start("worldwidth", "run")
    wait_for(process, made.folder / "models" / "ftwb2-15")
    victims = with_its_jobs(process)[is_job:]
    assert victims
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    output = process.communicate(timeout=120)[0]
    if is_job:
        assert process.returncode == 2, output
        assert re.search(r"(?m)^worldwidth: job ftwb\S+: killed by SIGKILL, probably out of memory: it held \d", output)
        assert "; the rest is kept, and `worldwidth run` goes on from there" in output.splitlines()[-1]
    output = made.ok("worldwidth", "run")
    assert "] base: started" not in output
    assert_as(serial, made)


def test_what_ran_with_other_code_is_not_recorded(start: Repository, serial: Repository, tmp_path: Path) -> None:
    """A job loads its code once. What is edited while it runs must not be recorded as what it ran with."""
    made = copy_of(start, tmp_path)
    process = made.start("worldwidth", "run")
    wait_for(process, made.folder / ".dvc/tmp/worldwidth/resume")
    made.edit("src/worldwidth/training/run.py", "import csv", "import csv  # changed")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 2, output
    assert "worldwidth: base: edited while it ran (another src/worldwidth/training/run.py), so that it is not" in output
    assert not (made.folder / "models" / "base").exists()
    assert "base" in made.changed_stages()
    made.git("checkout", "src/worldwidth/training/run.py")
    made.ok("worldwidth", "run")
    assert_as(serial, made)


def test_two_runs_at_once_are_refused(parallel: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(parallel.folder))
    folder = scratch_folder()
    monkeypatch.delenv("DVC_ROOT")
    with (folder / "run.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        refused = parallel.run("worldwidth", "run")
    assert refused.returncode == 2
    assert refused.stderr == "worldwidth: another `worldwidth run` is going on here: wait for it, or stop it\n"


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_a_bad_number_of_jobs_is_refused(jobs: str, parallel: Repository) -> None:
    refused = parallel.run("worldwidth", "run", "--jobs", jobs)
    assert refused.returncode == 2
    assert f"found '{jobs}'; it must be a whole number of at least 1" in refused.stderr


@pytest.mark.parametrize("ids", ["", ",", "0,,1"])
def test_bad_ids_of_gpus_are_refused(ids: str, parallel: Repository) -> None:
    refused = parallel.run("worldwidth", "run", "--gpus", ids)
    assert refused.returncode == 2
    assert f"found '{ids}'; it must be ids with commas between them" in refused.stderr


def test_an_unknown_stage_is_one_line(parallel: Repository) -> None:
    refused = parallel.run("worldwidth", "job", "ftwb1@9")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "ftwb1@9" in refused.stderr
