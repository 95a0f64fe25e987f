"""What `make slurm` and its jobs refuse, each in one line: `pytest tests/test_slurm_refusals.py`.

Slurm's commands are stand-ins here that say what a test wants to hear; test_slurm.py has the real ones.
"""

import os
from pathlib import Path

import pytest

from in_process import ok, worldwidth
from repository import Repository, stages_run
from small_study import copy_of, small_study
from worldwidth.core.locks import only_one
from worldwidth.dvcio.config import set_local
from worldwidth.slurm.records import End, Submission, read_submission

pytestmark = pytest.mark.pipeline

RECORDS = Path(".dvc") / "tmp" / "worldwidth" / "slurm"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return small_study(tmp_path_factory.mktemp("study"))


@pytest.fixture
def made(study: Repository, tmp_path: Path) -> Repository:
    return copy_of(study, tmp_path / "a study")  # a name with a space in it


@pytest.fixture(autouse=True)
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of stand-ins, first on the PATH: sbatch numbers its jobs, squeue prints the file ``queue``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(
        folder, "sbatch", f'n=$(cat "{folder}/count" 2>/dev/null || echo 0); echo $((n + 1)) | tee "{folder}/count"'
    )
    program(folder, "squeue", f'cat "{folder}/queue" 2>/dev/null || true')
    program(folder, "scontrol", f'echo "$@" >> "{folder}/scontrol.log"')
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)


def refused(made: Repository, *command: str) -> str:
    done = worldwidth(made, "slurm", *command)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("worldwidth: ")
    return line.removeprefix("worldwidth: ")


def submission(made: Repository, number: int) -> Submission:
    return read_submission(made.folder / RECORDS / str(number))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("params.yaml", "arch: wide ", "arch: narrow "),
        ("src/worldwidth/evaluation/scores.py", '"""', '"""\n\n'),
        ("stages/evaluate.py", '"""', '"""\n\n'),
    ],
)
def test_what_is_not_committed(name: str, old: str, new: str, made: Repository) -> None:
    made.edit(name, old, new)
    line = refused(made, "submit")
    assert line.startswith(f"{name}: not as committed, and jobs work on the commit; commit it or undo it")
    assert ("`make slurm ARCH=wider`" in line) == (name == "params.yaml")
    assert not (made.folder / RECORDS / "1").exists()


def test_new_code_that_git_does_not_know(made: Repository) -> None:
    (made.folder / "src" / "worldwidth" / "tasks" / "area.py").write_text('"""A task."""\n')
    assert refused(made, "submit").startswith("src/worldwidth/tasks/area.py: not as committed")


def test_a_list_of_cities_is_the_one_that_jobs_get(made: Repository) -> None:
    """Not in git it would be missing on the nodes; edited since, they would work on the old one."""
    made.edit("params.yaml", "source: geonames", "source: mine.csv")
    made.ok("worldwidth", "render")
    made.commit("a list of my own")
    (made.folder / "mine.csv").write_text("a list\n")
    assert refused(made, "submit").startswith("mine.csv: not in git, and jobs get their files from git; `git add`")
    made.commit("the list")
    (made.folder / "mine.csv").write_text("another list\n")
    assert refused(made, "submit").startswith("mine.csv: not as committed, and jobs work on the commit")


def test_other_files_may_differ(made: Repository, slurm: Path) -> None:
    made.edit("README.md", "#", "##")
    (made.folder / "notes.txt").write_text("mine")
    ok(made, "slurm", "submit")
    assert (slurm / "count").read_text() == "6\n"


def test_a_stale_dvc_yaml(made: Repository) -> None:
    made.edit("dvc.yaml", "desc: the most", "desc: The most")
    assert "dvc.yaml does not match params.yaml" in refused(made, "submit")


def test_a_cache_that_is_not_shared(made: Repository, tmp_path: Path) -> None:
    set_local(made.folder, "cache", "dir", str(tmp_path / "elsewhere"))
    line = refused(made, "submit")
    assert line.startswith(
        f"DVC's cache lies in {tmp_path}/elsewhere, not in cluster.shared_folder {made.folder}, which"
    )
    assert f"`dvc cache dir --local '{made.folder}/dvc-cache'` moves it there" in line


def test_a_project_outside_the_shared_folder(made: Repository, tmp_path: Path) -> None:
    made.edit("params.yaml", "shared_folder: . ", f"shared_folder: {tmp_path}/bin ")
    made.commit("elsewhere")
    assert refused(made, "submit").startswith(f"this project lies in {made.folder}, not in cluster.shared_folder ")


def test_a_shared_folder_that_is_not_there(made: Repository) -> None:
    made.edit("params.yaml", "shared_folder: . ", "shared_folder: /no/such ")
    made.commit("nowhere")
    line = refused(made, "submit")
    assert line == "params.yaml: cluster.shared_folder: found '/no/such'; it must be a folder that is there"


def test_slurm_refuses_the_first_job(made: Repository, slurm: Path) -> None:
    said = "sbatch: error: invalid partition specified: fast"
    program(slurm, "sbatch", f'echo "{said}" >&2; exit 1')
    line = refused(made, "submit")
    assert line == "wide-epochs-s1.check: sbatch: invalid partition specified: fast; no job is submitted"
    assert not (made.folder / RECORDS / "1").exists()


def test_slurm_refuses_a_later_job(made: Repository, slurm: Path) -> None:
    """A limit on jobs, say. What is submitted is known, and the rest follows by the same command."""
    whole = (slurm / "sbatch").read_text()
    program(slurm, "sbatch", f'[ "$(cat "{slurm}/count" 2>/dev/null)" = 3 ] && {{ echo full >&2; exit 1; }}\n{whole}')
    line = refused(made, "submit")
    assert line.endswith(": sbatch: full; 3 of 6 jobs are submitted; the same command submits the rest")
    first = submission(made, 1)
    (slurm / "queue").write_text("".join(f"{i}|PENDING|{job.name}|Priority||0:00\n" for i, job in first.numbered()))
    program(slurm, "sbatch", whole.replace("#!/bin/bash\n", ""))
    ok(made, "slurm", "submit")
    second = submission(made, 2)
    assert [job.name.split(".")[1] for job in second.jobs] == ["ftwb1-1", "ftwb1-4", "summarize"]
    assert [second.waits_for(job) for job in second.jobs] == [[1, 2], [1, 2], [3, 4, 5]]


def test_what_is_under_way_is_not_submitted_again(made: Repository, slurm: Path) -> None:
    ok(made, "slurm", "submit")
    jobs = submission(made, 1).numbered()
    (slurm / "queue").write_text("".join(f"{i}|PENDING|{job.name}|Dependency||0:00\n" for i, job in jobs))
    assert ok(made, "slurm", "submit").startswith("nothing to submit")
    never = "".join(f"{i}|PENDING|{job.name}|DependencyNeverSatisfied||0:00\n" for i, job in jobs[1:])
    (slurm / "queue").write_text(f"1|FAILED|{jobs[0][1].name}|NonZeroExitCode|n1|0:01\n{never}")
    ok(made, "slurm", "submit")
    assert (slurm / "count").read_text() == "12\n"
    # the same numbers under other names are the jobs of somebody else
    (slurm / "queue").write_text("".join(f"{number}|RUNNING|other|None|n1|0:01\n" for number in range(1, 13)))
    ok(made, "slurm", "submit")
    assert (slurm / "count").read_text() == "18\n"


def test_two_at_once(made: Repository, slurm: Path) -> None:
    lock = made.folder / RECORDS / "submit.lock"
    program(slurm, "squeue", f'flock --nonblock "{lock}" true || touch "{slurm}/held"')
    ok(made, "slurm", "submit")
    assert (slurm / "held").exists()
    with only_one(lock, ""):
        assert refused(made, "submit") == "another `worldwidth slurm submit` is going on here: wait for it"
        assert refused(made, "plan") == "`worldwidth slurm submit` is going on here: wait for it"


def test_nothing_to_say_yet(made: Repository) -> None:
    for command in ("status", "collect"):
        assert refused(made, command) == "nothing was submitted from here yet: `make slurm` does it"


def test_a_damaged_record(made: Repository) -> None:
    job = path_of(made, "check")
    for text, said in (('{"commit": ', "Expecting value"), ('{"commit": "abc"}', "checkout Field required")):
        job.with_name("submission.json").write_text(text)
        line = refused(made, "status")
        assert "submission.json: not readable (" in line
        assert said in line
        assert line.endswith(f"); delete the folder {job.parent}")


def test_a_job_that_was_never_planned(made: Repository) -> None:
    job = path_of(made, "check")
    assert refused(made, "work", f"{job}s").startswith(
        f"job '{job.name}s': not in {job.parent}; did you mean '{job.name}"
    )
    assert refused(made, "work", str(job.parent)).endswith(
        f"submission.json: not found; nothing was submitted from {job.parent.parent}"
    )


def test_a_job_that_nobody_remembers(made: Repository) -> None:
    ok(made, "slurm", "submit")
    output = ok(made, "slurm", "status")
    assert (
        "check                        1  lost: Slurm does not know the job any more, and it recorded no end" in output
    )
    assert "base                         2  cancelled: for a job before it did not end well" in output
    assert "no log: the job did not get so far, or its node does not see this folder" in output


def test_accounting_knows_what_the_queue_has_forgotten(made: Repository, slurm: Path) -> None:
    ok(made, "slurm", "submit")
    ended = ("COMPLETED", "COMPLETED", "TIMEOUT", "CANCELLED by 1000")
    lines = [
        f"{number}|{state}|{job.name}|n1|00:00:06"
        for (number, job), state in zip(submission(made, 1).numbered(), ended, strict=False)
    ]
    program(slurm, "sacct", f"echo '{chr(10).join(['1.batch|COMPLETED|batch|n1|00:00:06', *lines])}'")
    output = ok(made, "slurm", "status")
    assert "check                        1  done\n" in output
    assert "base                         2  done\n" in output
    assert "evaluate@base                3  failed: Slurm says TIMEOUT\n" in output
    assert "ftwb1@1                      4  cancelled: by its owner or an operator\n" in output


def path_of(made: Repository, job: str) -> Path:
    """Of a job that is submitted here, without the ending of its files."""
    ok(made, "slurm", "submit")
    return made.folder / RECORDS / "1" / f"wide-epochs-s1.{job}"


def end_of(job: Path) -> End:
    end = read_submission(job.parent).end(job.name)
    assert end is not None
    return end


def test_a_job_does_not_make_what_should_be_there(made: Repository) -> None:
    """Its ancestors were not run, or their entries in the run cache are gone: a second training is worse than none."""
    job = path_of(made, "ftwb1-1")
    done = made.run("worldwidth", "slurm", "work", str(job))
    said = (
        "check should have come from DVC's run cache, which does not have it (never run); it is not made a second time"
    )
    assert done.returncode == 2
    assert f"worldwidth: {said}" in done.stderr
    assert end_of(job).code == 2
    made.ok("worldwidth", "slurm", "work", str(job.with_name("wide-epochs-s1.check")))
    assert "worldwidth: base should have come from" in made.run("worldwidth", "slurm", "work", str(job)).stderr
    assert not list((made.folder / RECORDS / "clones").iterdir())


def test_what_another_has_done_meanwhile_is_restored(made: Repository) -> None:
    job = path_of(made, "check")
    made.ok("dvc", "repro", "cities")
    output = made.ok("worldwidth", "slurm", "work", str(job))
    assert "cities: 60 real ones" not in output
    assert end_of(job).stages == {
        "check": "restored",
        "cities": "restored",
        **dict.fromkeys(["recipe", "added", "corpus@distance", "corpus@compass", "corpus@inside", "atlantis"], "ran"),
    }
    assert stages_run(made.ok("dvc", "repro", "corpus", "atlantis", "recipe")) == []


def test_an_empty_entry_of_the_run_cache_is_no_hindrance(made: Repository) -> None:
    """As a kill of some time ago leaves one; one of just now may be another job's, which is about to fill it."""
    made.ok("dvc", "repro", "check")
    (entry,) = (made.folder / ".dvc" / "cache" / "runs").glob("*/*")
    fresh = entry.with_name("0" * 64)
    fresh.mkdir()
    for file in entry.iterdir():
        file.unlink()
    os.utime(entry, (1e9, 1e9))
    ok(made, "slurm", "submit")
    assert fresh.is_dir()
    assert not entry.exists()


def test_a_job_is_not_started_for_ever(made: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    job = path_of(made, "check")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "6")
    line = refused(made, "work", str(job))
    assert line == "started 7 times, and cluster.requeues allows 5 more than one"
    assert end_of(job).stages == {}


def test_a_node_that_does_not_see_the_disk(made: Repository) -> None:
    job = path_of(made, "check")
    record = job.with_name("submission.json")
    text = record.read_text()
    record.write_text(text.replace(str(made.folder / ".dvc" / "cache"), "/no/cache"))
    assert (
        refused(made, "work", str(job))
        == "/no/cache: not found on this node; it is DVC's cache, and all nodes must see it"
    )
    record.write_text(text.replace(f'"checkout": "{made.folder}"', '"checkout": "/no/project"'))
    assert refused(made, "work", str(job)).startswith("/no/project: not found on this node; it is the project's folder")


def test_the_script_says_what_params_yaml_says(made: Repository) -> None:
    made.edit("params.yaml", "partition: '' ", "partition: gpu,long ")
    made.edit("params.yaml", "account: ''", "account: lab")
    made.edit("params.yaml", "activate: '' ", "activate: module load python/3.12 ")
    made.edit("params.yaml", "sbatch: [] ", 'sbatch: [--qos=long, "--comment=a width"] ')
    made.edit(
        "params.yaml",
        "base: {minutes: 10, cores: 1, memory_gb: 2}",
        "base: {minutes: 90, cores: 4, memory_gb: 16, gpus: 1}",
    )
    made.commit("a cluster")
    script = path_of(made, "base").with_name("wide-epochs-s1.base.sh").read_text().splitlines()
    assert {
        "#SBATCH --job-name=wide-epochs-s1.base", "#SBATCH --time=90", "#SBATCH --cpus-per-task=4",
        "#SBATCH --mem=16G", "#SBATCH --gpus=1", "#SBATCH --partition=gpu,long", "#SBATCH --account=lab",
        "#SBATCH --qos=long", "#SBATCH --comment=a width", "#SBATCH --signal=B:USR1@120", "module load python/3.12",
        f"cd '{made.folder}' || exit 2",
    } <= set(script)  # fmt: skip
    assert script[-1].startswith("exec python -m worldwidth.cli slurm work ")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("partition: '' ", 'partition: "gpu; rm -rf /" ', "cluster.partition: found"),
        ("partition: '' ", "partiton: gpu ", "cluster.partiton: unknown key"),
        ("activate: '' ", 'activate: "one\\nanother" ', "cluster.activate: found"),
        ("sbatch: [] ", "sbatch: [qos=long] ", "cluster.sbatch.0: found"),
        ("sbatch: [] ", 'sbatch: ["--qos=long\\n#SBATCH --wrap=x"] ', "cluster.sbatch.0: found"),
        ("requeues: 5 ", "requeues: -1 ", "cluster.requeues: found -1"),
        ("base: {minutes: 10", "base: {minutes: 0", "scales.smoke.execution.jobs.base.minutes: found 0"),
        ("base: {minutes: 10", 'base: {minutes: "1:00:00"', "scales.smoke.execution.jobs.base.minutes: found"),
    ],
)
def test_bad_settings_are_one_line(old: str, new: str, said: str, made: Repository) -> None:
    made.edit("params.yaml", old, new)
    assert refused(made, "plan").startswith(f"params.yaml: {said}")
