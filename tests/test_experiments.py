"""Experiments read from git, and what of them is compared: `pytest tests/test_experiments.py`.

The experiments here are commits made by git alone, laid out as DVC lays them out.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from laboratory import CURVES, EVALUATIONS, PARAMS, Laboratory, edited, lock, save_scores, sound_tables, with_scores
from worldwidth.comparison.runs import read_run
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import git
from worldwidth.dvcio.experiments import find_experiments, list_experiments
from worldwidth.settings.load import LATER, parse


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.chdir(tmp_path)
    return Laboratory(tmp_path)


def test_experiments_are_found_newest_first(laboratory: Laboratory) -> None:
    older = laboratory.add("wide-epochs-s1", arch="wide", seed=1)
    newer = laboratory.add("narrow-epochs-s1", arch="narrow", seed=1)
    laboratory._git("update-ref", "refs/exps/exec/EXEC_HEAD", older)  # DVC's own
    found = list_experiments()
    assert [(e.name, e.commit, e.baseline) for e in found] == [
        ("narrow-epochs-s1", newer, git("rev-parse", "HEAD")),
        ("wide-epochs-s1", older, git("rev-parse", "HEAD")),
    ]
    assert (found[0].settings.arch, found[0].settings.seed) == ("narrow", 1)
    assert found[0].text("no/such/file") is None


@pytest.mark.parametrize("name", ["a\u00a0b", "a\u2028b", "a\u0085b", "a'b", 'a"b', "a$(b)"])
def test_an_odd_name_stops_nothing(laboratory: Laboratory, name: str) -> None:
    odd, newer = laboratory.add(name, arch="wide"), laboratory.add("narrow-epochs-s1", arch="narrow")
    assert [(e.name, e.commit) for e in list_experiments()] == [("narrow-epochs-s1", newer), (name, odd)]


def test_an_experiment_whose_commit_is_gone_is_left_out(
    laboratory: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = laboratory.add("wide-epochs-s1", arch="wide")
    there = laboratory.add("narrow-epochs-s1", arch="narrow")
    (laboratory.folder / ".git" / "objects" / gone[:2] / gone[2:]).unlink()
    assert [e.commit for e in list_experiments()] == [there]
    assert re.fullmatch(
        rf"worldwidth: refs/exps/.*/wide-epochs-s1: left out, for its commit {gone[:12]} is not there; .*\n",
        capsys.readouterr().err,
    )


def test_an_unknown_or_removed_experiment_is_said_with_the_nearest(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1")
    with pytest.raises(
        WorldwidthError, match=r"'wide-epoch-s1': not found, or removed; .*did you mean 'wide-epochs-s1'"
    ):
        find_experiments(["wide-epoch-s1"])


def test_params_of_another_version_are_one_line(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1", budgets="epochs")
    (found,) = list_experiments()
    with pytest.raises(
        WorldwidthError, match=r"wide-epochs-s1: its params.yaml is of another version \(budgets: unknown"
    ):
        _ = found.settings


def test_params_from_before_a_key_that_changes_no_result_are_taken() -> None:
    """The work tree's own must have it, for a stage depends on it."""
    old = yaml.safe_dump({key: value for key, value in PARAMS.items() if key != "colours"})
    assert parse(old, "params.yaml", LATER).colours == "RdYlGn"
    with pytest.raises(WorldwidthError, match=r"^params.yaml: colours: "):
        parse(old, "params.yaml")


def test_scores_that_are_not_in_the_cache_are_said(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.add("wide-epochs-s1", lock=lock())
    with pytest.raises(
        WorldwidthError, match=r"wide-epochs-s1: the base model's scores are not in DVC's cache .*`dvc exp pull`"
    ):
        read_run(list_experiments()[0], tmp_path)


DAMAGED = {
    "a table gone": ({}, "has no results/evaluations.csv"),
    "a column gone": (edited(EVALUATIONS, "population", "folk"), "no column 'population'; found: model, task, folk"),
    "text for a number": (edited(CURVES, "600", "many"), "row 2: flops: found 'many'; it must be a whole number"),
    "NaN for a number": (edited(CURVES, "1.5", "nan"), "row 2: loss: found 'nan'; it must be a number"),
    "an empty field": (edited(CURVES, "600", ""), "row 2: flops: found an empty field; it must be a whole number"),
    "no tokens": (edited(CURVES, "100", "0"), "row 2: tokens: found '0'; it must be a whole number of at least 1"),
    "a row twice": (edited(EVALUATIONS, "atlantis", "world"), "has not one entry of base distance world"),
    "a model gone": (edited(CURVES, "base", "bass"), "has not one entry of base"),
    "cut off": (edited(CURVES, "ftwb1-7,9,100,600,1.5,\n", "ftwb1-7,9"), "its results/training.csv"),
    "no table": ({**sound_tables(), CURVES: 'a,b\n"1'}, "its results/training.csv: no table"),
}


@pytest.mark.parametrize(("files", "said"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_table_is_named(laboratory: Laboratory, files: dict[str, str], said: str, tmp_path: Path) -> None:
    laboratory.add("wide-epochs-s1", lock(), files)
    with pytest.raises(WorldwidthError, match=r"^wide-epochs-s1: .*the same sweep makes it again$") as refused:
        read_run(list_experiments()[0], tmp_path)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [{"distance.world": value} for value in (np.full(39, 0.5), np.full((40, 1), 0.5), np.full(40, np.nan))]
    + [{"distance.world": np.full(40, "0.5")}],
    ids=["length", "shape", "nan", "text"],
)
def test_scores_of_another_kind_are_named(laboratory: Laboratory, changes: dict[str, Any], tmp_path: Path) -> None:
    laboratory.add("wide-epochs-s1", with_scores(save_scores(tmp_path, **changes)))
    with pytest.raises(WorldwidthError, match=r"^wide-epochs-s1: its results/scores/base.npz, .* is damaged; "):
        read_run(list_experiments()[0], tmp_path)
