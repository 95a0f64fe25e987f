"""A stage refuses an input that is not what dvc.lock says of it, under every way of running it; so does restoring.

pytest tests/test_integrity.py
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dvc.repo import Repo

from faults import finished_study
from repository import Repository, products, read_yaml_file
from small_study import copy_of
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import OR_DOCTOR
from worldwidth.dvcio import integrity
from worldwidth.dvcio.hashes import Hashes
from worldwidth.dvcio.integrity import check_inputs
from worldwidth.dvcio.lockfile import read_lock
from worldwidth.dvcio.repo import open_repo
from worldwidth.dvcio.restore import restore_inputs

pytestmark = [pytest.mark.pipeline, pytest.mark.filterwarnings("ignore")]  # DVC's own dependencies warn

CITIES, CURVE = "data/cities.csv", "results/training/ftwb1-1.csv"
CORPUS, MODEL = "data/corpora/compass", "models/ftwb1-1"
FILES = {CITIES: CITIES, CURVE: CURVE, CORPUS: f"{CORPUS}/test.tokens.npy", MODEL: f"{MODEL}/model.safetensors"}
"""Input -> the file of it that is damaged."""
MAKERS = {CITIES: "cities", CURVE: "ftwb1@1", CORPUS: "corpus@compass", MODEL: "ftwb1@1"}
READERS = {CITIES: "corpus@inside", CURVE: "summarize", CORPUS: "evaluate@base", MODEL: "evaluate@ftwb1-1"}
OUT_OF = {
    "corpus@inside": "data/corpora/inside", "summarize": "results/summary.json",
    "evaluate@base": "results/scores/base.npz", "evaluate@ftwb1-1": "results/scores/ftwb1-1.npz",
}  # fmt: skip


def line(path: str) -> str:
    """What is said of the damaged input ``path``."""
    maker = MAKERS[path]
    return f"{path}: not what stage {maker} wrote, says dvc.lock (damaged); run `dvc repro {maker}`{OR_DOCTOR}"


# --- the check alone, in a project of six files


DVC_YAML = """
stages:
  cities: {cmd: make, outs: [data/cities.csv]}
  corpus:
    foreach: [compass, inside]
    do: {cmd: make, deps: [data/cities.csv, "src/${item}.py"], outs: ["data/corpora/${item}"]}
  base: {cmd: make, deps: [data/corpora/compass], outs: [models/base, results/training/base.csv]}
  ftwb1:
    foreach: {"1": compass}
    do: {cmd: make, deps: [models/base, "data/corpora/${item}"], outs: ["models/ftwb1-${key}"]}
  summarize:
    cmd: make
    deps: [models/ftwb1-1, results/training/base.csv, lists/own.csv]
    metrics: [results/summary.json: {cache: false}]
"""


def write(path: str, content: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def record(**without: str) -> None:
    """Write a dvc.lock that knows all outs as they are, but for those of the stages named."""
    outs = {
        "cities": ["data/cities.csv"], "corpus@compass": ["data/corpora/compass"],
        "base": ["models/base", "results/training/base.csv"], "ftwb1@1": ["models/ftwb1-1"],
    }  # fmt: skip
    lines = ["schema: '2.0'", "stages:"]
    for stage in outs.keys() - without.keys():
        lines += [f"  {stage}:", "    cmd: make", "    outs:"]
        for path in outs[stage]:
            digest = Hashes().folder(Path(path)) if Path(path).is_dir() else Hashes().file(Path(path))
            lines += [f"    - path: {path}", f"      md5: {digest}"]
    Path("dvc.lock").write_text("\n".join(lines) + "\n")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(integrity, "_HASHES", Hashes())
    Repo.init(no_scm=True)
    Path("dvc.yaml").write_text(DVC_YAML)
    write("data/cities.csv", b"name,x,y\nBerlin,134,525\n")
    write("results/training/base.csv", b"step,loss\n1,1.25\n")
    write("data/corpora/compass/manifest.json", b"{}")
    np.save("data/corpora/compass/test.tokens.npy", np.arange(400, dtype=np.uint8))
    write("models/base/model.safetensors", bytes(range(256)))
    write("models/ftwb1-1/model.safetensors", bytes(range(255)))
    record()
    return tmp_path


STAGES = ("cities", "corpus@compass", "corpus@inside", "base", "ftwb1@1", "summarize")


def refused(stage: str) -> str:
    with pytest.raises(WorldwidthError) as caught:
        check_inputs(stage)
    return str(caught.value)


def test_sound_inputs_pass_without_asking_dvc(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "open_repo", None)
    for stage in STAGES:
        check_inputs(stage)


@pytest.mark.parametrize(
    ("file", "named", "maker", "readers"),
    [
        ("data/cities.csv", "data/cities.csv", "cities", ("corpus@compass", "corpus@inside")),
        ("results/training/base.csv", "results/training/base.csv", "base", ("summarize",)),
        ("data/corpora/compass/test.tokens.npy", "data/corpora/compass", "corpus@compass", ("base", "ftwb1@1")),
        ("data/corpora/compass/manifest.json", "data/corpora/compass", "corpus@compass", ("base",)),
        ("models/base/model.safetensors", "models/base", "base", ("ftwb1@1",)),
    ],
)
def test_one_wrong_bit_is_refused_by_every_reader(
    file: str, named: str, maker: str, readers: tuple[str, ...], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, line = Path(file).read_bytes(), f"{named}: not what stage {maker} wrote, says dvc.lock (damaged)"
    for at in range(0, len(whole), max(1, len(whole) // 20)):
        overwrite(Path(file), lambda content, at=at: flipped(content, at))  # type: ignore[misc]
        monkeypatch.setattr(integrity, "_HASHES", Hashes())
        assert refused(readers[at % len(readers)]) == f"{line}; run `dvc repro {maker}`{OR_DOCTOR}"
        overwrite(Path(file), lambda _: whole)
    monkeypatch.setattr(integrity, "_HASHES", Hashes())
    for stage in STAGES:
        check_inputs(stage)


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda: Path("models/base/model.safetensors").unlink(), "not what stage base wrote"),
        (lambda: write("models/base/steps/0/model.safetensors", b"more"), "not what stage base wrote"),
        (lambda: shutil.copy("models/ftwb1-1/model.safetensors", "models/base"), "not what stage base wrote"),
        (lambda: shutil.rmtree("models/base"), "not found"),
        (
            lambda: Path("models/base").rename("aside") and shutil.copy(Path("dvc.yaml"), Path("models/base")),
            "not what stage base",
        ),
    ],
    ids=["a file is missing", "a file more", "another model", "nothing", "a file in place of a folder"],
)
def test_a_folder_must_hold_the_same_files(edit: Callable[[], object], found: str, project: Path) -> None:
    edit()
    assert refused("ftwb1@1").startswith(f"models/base: {found}")


def test_what_dvc_lock_does_not_know_is_not_compared(project: Path) -> None:
    write("data/cities.csv", b"another\n")
    write("lists/own.csv", b"no stage makes it")
    check_inputs("corpus@compass", except_outs_of={"cities"})
    check_inputs("corpus@compass", except_outs_of={"cities", "base"})
    record(cities="")
    check_inputs("corpus@compass")
    check_inputs("summarize")
    Path("dvc.lock").unlink()
    check_inputs("base")


def test_of_dvc_lock_only_the_stages_asked_for_are_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it is laid out otherwise than DVC does it."""
    whole, known = read_lock(), {"cities", "corpus@compass", "base", "ftwb1@1"}
    assert set(whole) == known
    assert read_lock(["base", "cities"]) == {name: whole[name] for name in ("base", "cities")}
    assert read_lock([]) == {}
    assert set(read_lock(["base", "none of these"])) == known
    monkeypatch.setattr(integrity, "open_repo", None)
    Path("dvc.lock").write_text(json.dumps(read_yaml_file(Path("dvc.lock"))))
    assert read_lock(["base"]) == whole
    for stage in STAGES:
        check_inputs(stage)


def test_a_lock_file_that_is_just_being_written_is_waited_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC writes it in place: meanwhile it may end in the middle of a hash."""
    whole = Path("dvc.lock").read_text()

    def finish(wait: bool) -> object:
        assert wait
        Path("dvc.lock").write_text(whole)
        return open_repo(wait)

    monkeypatch.setattr(integrity, "open_repo", finish)
    for end in range(0, len(whole), 7):
        Path("dvc.lock").write_text(whole[:end])
        check_inputs("ftwb1@1")


def test_a_file_is_hashed_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_inputs("ftwb1@1")
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        check_inputs("ftwb1@1")
        check_inputs("base")
    write("models/base/model.safetensors", b"until somebody writes to it")
    assert refused("ftwb1@1").startswith("models/base: not what stage base wrote")


# --- through the real DVC


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def overwrite(path: Path, edit: Callable[[bytes], bytes]) -> None:
    """Damage a file in place, as a failing disk does: its links, its time and its read-only bit stay."""
    status, mode = path.stat(), path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as file:
        content = file.read()
        file.seek(0)
        file.write(edit(content))
    path.chmod(mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return finished_study(tmp_path_factory.getbasetemp())


@pytest.fixture
def study(finished: Repository, tmp_path: Path) -> Repository:
    """A copy of the finished study, its outs linked to DVC's cache, one bit wrong in four of them and in the cache."""
    made = copy_of(finished, tmp_path)
    for name in ("data", "models", "results/training", "results/scores", "results/evaluations"):
        for path in (made.folder / name).rglob("*"):
            if path.is_file() and path.name != ".gitignore":
                path.unlink()
    made.ok("dvc", "checkout", "--relink")
    damage(made)
    return made


def damage(study: Repository) -> None:
    """One wrong bit in each of FILES, a digit in the tables; once more, and all is right again."""
    for name in FILES.values():
        path = study.folder / name
        assert path.stat().st_nlink > 1, "DVC's cache has the same bytes"
        overwrite(path, lambda content: flipped(content, len(content) - 3))


def make_readers_run(study: Repository, *stages: str) -> None:
    """Neither the tree nor the run cache has what the stages write."""
    shutil.rmtree(study.folder / ".dvc" / "cache" / "runs", ignore_errors=True)
    for stage in stages:
        path = study.folder / OUT_OF[stage]
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def said(output: str) -> list[str]:
    return [text.removeprefix("worldwidth: ") for text in output.splitlines() if text.startswith("worldwidth: ")]


def test_dvc_repro_refuses_damaged_inputs(study: Repository) -> None:
    assert study.changed_stages() == set(), "DVC does not notice"
    for path, reader in READERS.items():
        done = study.run("dvc", "repro", "--force", "--single-item", reader)
        assert (done.returncode, said(done.stderr)) == (255, [line(path)])


def test_a_job_refuses_damaged_inputs(study: Repository) -> None:
    for path, reader in READERS.items():
        make_readers_run(study, reader)
        done = study.run("worldwidth", "job", reader)
        assert (done.returncode, said(done.stderr)) == (2, [line(path)])
        if reader != "summarize":
            study.ok("dvc", "checkout", "--force", reader)


def test_a_run_refuses_damaged_inputs(study: Repository, finished: Repository) -> None:
    for paths in ([CURVE], [CORPUS, MODEL], [CITIES]):  # what was refused stays undone, and what reads from it waits
        make_readers_run(study, *(READERS[path] for path in paths))
        done = study.run("worldwidth", "run", "--jobs", "1")
        assert done.returncode == 2
        assert {line(path) for path in paths} <= set(said(done.stderr))
    damage(study)  # which makes the bits right again
    study.ok("worldwidth", "run", "--jobs", "1")
    assert products(study) == products(finished)


def test_damaged_objects_are_not_restored(study: Repository, finished: Repository) -> None:
    (study.folder / "dvc.lock").unlink()
    shutil.rmtree(study.folder / MODEL)
    done = study.run("worldwidth", "run", "--jobs", "1")
    assert done.returncode == 2
    (found,) = said(done.stderr)
    assert re.fullmatch(
        r"[\w/@.-]+: damaged in DVC's cache, where stage \S+ had left it; `worldwidth doctor` .*", found
    )
    assert not (study.folder / found.split(":")[0]).exists()
    assert found.split(" ")[7] not in read_yaml_file(study.folder / "dvc.lock")["stages"]


def test_a_job_does_not_restore_damaged_objects(study: Repository) -> None:
    shutil.rmtree(study.folder / MODEL)
    done = study.run("worldwidth", "job", "ftwb1@1")
    assert done.returncode == 2
    assert said(done.stderr)[-1].startswith(f"{MODEL}: damaged in DVC's cache, where stage ftwb1@1 had left it; ")
    assert not (study.folder / MODEL).exists()


def test_a_cluster_s_job_knows_what_its_inputs_must_be(
    finished: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its fresh clone nothing is there, and dvc.lock is of another variant or missing."""
    made = copy_of(finished, tmp_path)
    (made.folder / "dvc.lock").unlink()
    for name in ("data", "models"):
        shutil.rmtree(made.folder / name)
    made.git("checkout", "data", "models")
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr(integrity, "_HASHES", Hashes())
    curve = Path("results/training/base.csv")
    curve.unlink()
    restore_inputs(["evaluate@base"])
    assert not curve.exists()  # it is an out of stage base, but nothing that is read
    recorded = read_yaml_file(Path("dvc.lock"))["stages"]
    assert set(recorded) == {"base", "atlantis", "corpus@distance", "corpus@compass", "corpus@inside"}
    wanted = read_yaml_file(finished.folder / "dvc.lock")["stages"]
    assert recorded == {name: wanted[name] for name in recorded}
    check_inputs("evaluate@base")
    overwrite(Path("models/base/model.safetensors"), lambda content: flipped(content, len(content) - 9))
    monkeypatch.setattr(integrity, "_HASHES", Hashes())
    assert refused("evaluate@base").startswith("models/base: not what stage base wrote, says dvc.lock (damaged)")
