"""A full disk, a folder that may not be written, damaged and foreign files: what each stage says, and what it leaves.

pytest tests/test_faults_disk.py

The stage scripts run as dvc.yaml has them. The disk is really full: the temporary name of an out leads to /dev/full,
or no file may get larger than some bytes, which ends a write in the same way. A link to /sys is a folder that
nobody may write into, not even root.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import change, finished_study, run_stage
from repository import Repository, products
from small_study import copy_of
from worldwidth.core.files import OR_DOCTOR, read_json, write_json

pytestmark = pytest.mark.pipeline

REFUSED = "(Permission denied|Operation not permitted|Read-only file system)"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return copy_of(finished_study(tmp_path_factory.getbasetemp()), tmp_path_factory.mktemp("study"))


@pytest.fixture
def study(shared: Repository) -> Iterator[Repository]:
    """A finished study, in which no failing stage may change a file; whatever a test changes it puts back."""
    before = products(shared)
    yield shared
    after = products(shared)
    for name in before.keys() | after.keys():
        path = shared.folder / name
        if name not in before:
            path.unlink()
        elif before[name] != after.get(name):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(before[name])


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("data/checked.txt", "check -"),
        ("data/cities.csv", "cities"),
        ("data/atlantis.csv", "atlantis"),
        ("data/pretraining.json", "recipe"),
        ("results/training/base.csv", "pretrain"),
        ("results/training/ftwb1-1.csv", "finetune ftwb1-1"),
        ("results/evaluations/base.json", "evaluate base"),
        ("results/scores/base.npz", "evaluate base"),
        ("results/matrices.csv", "summarize"),
        ("results/training.csv", "summarize"),
        ("results/summary.json", "summarize"),
        ("plots/world.png", "plots"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_the_file_that_was_there(study: Repository, out: str, words: str) -> None:
    before, path = products(study), study.folder / out
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.symlink_to("/dev/full")
    done = run_stage(study, *words.split())
    assert (done.returncode, done.stderr) == (2, f"worldwidth: {out}: No space left on device\n")
    assert not temporary.is_symlink()
    assert products(study) == before


@pytest.mark.parametrize(
    ("words", "file_size", "named"),
    [
        ("corpus distance", 100, "data/corpora/distance"),
        ("corpus distance", 5_900, "data/corpora/distance"),
        ("pretrain", 100_000, r"[\w/.-]*(base|steps/0)"),
        ("evaluate base", 1_000, r"results/scores/base\.npz"),
        ("plots", 10_000, r"plots/ftwb1\.png"),
    ],
)
def test_a_disk_that_fills_up_on_the_way(study: Repository, words: str, file_size: int, named: str) -> None:
    """numpy's own way of writing an array leaves a cut-off file without a word, if the end of it did not fit."""
    before = products(study)
    done = run_stage(study, *words.split(), file_size=file_size)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"worldwidth: {named}: File too large\n", done.stderr), done.stderr
    assert products(study) == before


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("data", "cities"),
        ("data/corpora", "corpus distance"),
        ("models", "pretrain"),
        ("results/scores", "evaluate base"),
        ("results/evaluations", "evaluate base"),
        ("results", "summarize"),
        ("plots", "plots"),
    ],
)
def test_a_read_only_folder_is_one_line(study: Repository, folder: str, words: str) -> None:
    path, aside = study.folder / folder, study.folder / "aside"
    before = products(study)
    path.rename(aside)
    if words != "summarize":
        path.symlink_to("/sys/kernel")
    else:  # which reads from below its folder of results, too
        path.mkdir()
        for name in ("evaluations", "scores", "training"):
            (path / name).symlink_to(aside / name)
        (path / ".matrices.csv.tmp").symlink_to("/sys/kernel/new")
    try:
        done = run_stage(study, *words.split())
    finally:
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
        aside.rename(path)
    assert done.returncode == 2
    assert re.fullmatch(f"worldwidth: {folder}[\\w/.-]*: {REFUSED}\n", done.stderr), done.stderr
    assert products(study) == before


CORPUS, MODEL = "data/corpora/compass", "models/base"
DAMAGED = {  # file -> what the line names, the stage that makes it, and who reads it
    f"{CORPUS}/train.tokens.npy": (f"{CORPUS}/train.tokens.npy", "corpus@compass", "pretrain"),
    f"{CORPUS}/manifest.json": (f"{CORPUS}/manifest.json", "corpus@compass", "evaluate base"),
    f"{MODEL}/model.safetensors": (MODEL, "base", "finetune ftwb1-1"),
    f"{MODEL}/config.json": (MODEL, "base", "evaluate base"),
    "data/pretraining.json": ("data/pretraining.json", "recipe", "pretrain"),
    "results/scores/ftwb1-1.npz": ("results/scores/ftwb1-1.npz", "evaluate@ftwb1-1", "summarize"),
}


@pytest.mark.parametrize("damage", ["cut off", "missing"])
@pytest.mark.parametrize("file", DAMAGED)
def test_a_damaged_input_is_one_line(study: Repository, file: str, damage: str) -> None:
    """Of a stage run by hand, where nothing is compared with dvc.lock."""
    named, maker, words = DAMAGED[file]
    path = study.folder / file
    if damage == "cut off":
        change(path, lambda content: content[: len(content) // 3])
    else:
        path.unlink()
    before = products(study)
    done = run_stage(study, *words.split())
    assert done.returncode == 2
    assert re.fullmatch(rf"worldwidth: {named}[^\n]*: [^\n]*; run `dvc repro {maker}`({OR_DOCTOR})?\n", done.stderr), (
        done.stderr
    )
    assert products(study) == before


@pytest.mark.parametrize(("words", "name"), [("finetune ftwb1-1", "base"), ("evaluate ftwb1-1", "ftwb1-1")])
def test_a_model_of_another_width_is_refused(study: Repository, words: str, name: str) -> None:
    """Somebody copies models/base of a narrow study by hand: a sound model, but not this one."""
    text = (study.folder / "params.yaml").read_text()
    before = products(study)
    try:
        study.edit("params.yaml", "arch: wide ", "arch: narrow ")
        done = run_stage(study, *words.split())
    finally:
        (study.folder / "params.yaml").write_text(text)
    remedy = "dvc repro base" if name == "base" else "dvc repro ftwb1@1"
    found = f"models/{name}: its hidden_size is 32, where params.yaml says 8; run `{remedy}`"
    assert (done.returncode, done.stderr) == (2, f"worldwidth: {found}\n")
    assert products(study) == before


def without(report: Path, task: str) -> None:
    """The same evaluation, of one task less."""
    values = read_json(report, "")
    del values[task]
    report.unlink()
    write_json(report, values)


def test_evaluations_of_other_tasks_are_refused(study: Repository) -> None:
    folder, before = study.folder / "results", products(study)
    without(folder / "evaluations" / "ftwb1-4.json", "inside")
    done = run_stage(study, "summarize")
    line = "results/evaluations/ftwb1-4.json: not the evaluations of distance, compass, inside"
    assert (done.returncode, done.stderr) == (2, f"worldwidth: {line}; run `dvc repro evaluate@ftwb1-4`\n")
    assert json.loads(before["results/summary.json"]) == json.loads((folder / "summary.json").read_bytes())
    assert not [name for name in os.listdir(folder) if name.endswith(".tmp")]
