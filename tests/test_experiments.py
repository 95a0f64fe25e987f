"""Experiments read from git, and which may be compared: `pytest tests/test_experiments.py`.

The experiments here are commits made by git alone, laid out as DVC lays them out.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from repository import PROJECT
from worldwidth.commands.compare import of_sweep, run_compare
from worldwidth.comparison.compatibility import check_comparable
from worldwidth.comparison.runs import load_runs
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.git import git
from worldwidth.dvcio.experiments import Experiment, find_experiments, list_experiments
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings
from worldwidth.sweep.variants import Variant
from worldwidth.sweep.widths import present_experiment

PARAMS = yaml.safe_load((PROJECT / "params.yaml").read_text())


def lock(code: str = "c1", corpus: str = "d1") -> dict[str, Any]:
    """A dvc.lock in short: one stage that trains, one that only sums up."""
    return {
        "stages": {
            "base": {
                "deps": [{"path": "src/worldwidth/training.py", "md5": code}, {"path": "data/cities.csv", "md5": "x"}]
            },
            "corpus@distance": {"outs": [{"path": "data/corpora/distance", "md5": corpus}]},
            "summarize": {"deps": [{"path": "src/worldwidth/results.py", "md5": f"{code}{corpus}"}]},
        }
    }


class Laboratory:
    """A git repository with experiments in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._git("init", "-q")
        self._git("commit", "-qm", "start", "--allow-empty")
        self._seconds = 1_700_000_000

    def _git(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        command = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments]
        done = subprocess.run(command, cwd=self.folder, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def add(self, name: str, lock: dict[str, Any] | None = None, **changes: Any) -> str:
        """Save an experiment with these top-level params; later ones are newer. Returns its commit."""
        start = self._git("rev-parse", "HEAD")
        (self.folder / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}, sort_keys=False))
        (self.folder / "dvc.lock").write_text(yaml.safe_dump(lock or {}))
        self._git("add", "-A")
        self._seconds += 10
        dated = {**os.environ, "GIT_COMMITTER_DATE": f"{self._seconds} +0000"}
        self._git("commit", "-qm", name, environment=dated)
        commit = self._git("rev-parse", "HEAD")
        self._git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/{name}", commit)
        self._git("reset", "-q", "--hard", start)
        return commit


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laboratory:
    monkeypatch.chdir(tmp_path)
    return Laboratory(tmp_path)


def at_smoke() -> Settings:
    from dataclasses import replace

    return replace(load(PROJECT / "params.yaml"), scale="smoke")


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


def pair(laboratory: Laboratory, first: dict[str, Any], second: dict[str, Any]) -> list[Experiment]:
    laboratory.add("narrow-epochs-s1", **first)
    laboratory.add("wide-epochs-s1", **second)
    return find_experiments(["narrow-epochs-s1", "wide-epochs-s1"])


def changed_world(**changes: Any) -> dict[str, Any]:
    scale = PARAMS["scales"]["laptop"]
    return {**PARAMS["scales"], "laptop": {**scale, "world": {**scale["world"], **changes}}}


def test_arch_seed_budget_and_what_only_sums_up_may_differ(laboratory: Laboratory) -> None:
    laptop = PARAMS["scales"]["laptop"]
    others = {
        **PARAMS["scales"],
        "laptop": {**laptop, "statistics": {"resamples": 300}, "execution": {"models_per_job": 9}},
    }
    first = {"arch": "narrow", "lock": lock()}
    second: dict[str, Any] = {"arch": "wide", "seed": 9, "budget": "flops", "scales": others, "lock": lock()}
    second["lock"]["stages"]["summarize"]["deps"][0]["md5"] = "another"
    check_comparable(pair(laboratory, first, second))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": "smoke"}, "their scales are laptop and smoke"),
        ({"scales": changed_world(seed=7)}, "scales.laptop.world.seed is 42 in one and 7 in the other"),
        ({"scales": changed_world(cities=90)}, "scales.laptop.world.cities is 96 in one and 90 in the other"),
        ({"lock": lock(code="c2")}, "they were made by different versions of src/worldwidth/training.py"),
        ({"lock": lock(corpus="d2")}, "their data/corpora/distance differ: the test lines are not the same"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(
    laboratory: Laboratory, change: dict[str, Any], said: str
) -> None:
    experiments = pair(laboratory, {"lock": lock()}, {"lock": lock(), **change})
    with pytest.raises(WorldwidthError, match="narrow-epochs-s1 and wide-epochs-s1 cannot be compared: ") as refused:
        check_comparable(experiments)
    assert said in str(refused.value)


def test_the_sweep_s_experiments_of_the_scale_are_taken(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1", scale="smoke", seed=3)
    newer = laboratory.add("wide-epochs-s1", scale="smoke", seed=1)
    laboratory.add("narrow-epochs-s1", scale="laptop")
    laboratory.add("lively-newt", scale="smoke")
    assert [(e.name, e.commit) for e in of_sweep(at_smoke())] == [("wide-epochs-s1", newer)]


def test_without_experiments_it_says_what_to_do(laboratory: Laboratory) -> None:
    with pytest.raises(WorldwidthError, match="no experiments of scale smoke: run `make widths` first"):
        run_compare(at_smoke(), [], [])
    laboratory.add("narrow-epochs-s1", scale="laptop")
    with pytest.raises(WorldwidthError, match=r"no experiments of scale smoke \(there are some of laptop\)"):
        run_compare(at_smoke(), [], [])


def test_two_runs_of_one_kind_are_refused(laboratory: Laboratory) -> None:
    laboratory.add("one", seed=1)
    laboratory.add("two", seed=1)
    with pytest.raises(
        WorldwidthError, match="one and two: both are arch wide, budget epochs, seed 1; name one of them"
    ):
        run_compare(at_smoke(), ["one", "two"], [])


def test_a_pair_of_an_unknown_width_is_refused(laboratory: Laboratory) -> None:
    laboratory.add("one", arch="wide")
    with pytest.raises(
        WorldwidthError, match="arch 'wider': not among the experiments; there: wide; did you mean 'wide'"
    ):
        run_compare(at_smoke(), ["one"], [("wide", "wider")])


def test_scores_that_are_not_in_the_cache_are_said(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.add("wide-epochs-s1", lock=lock())
    with pytest.raises(
        WorldwidthError, match=r"wide-epochs-s1: the base model's scores are not in DVC's cache .*`dvc exp pull`"
    ):
        load_runs(list_experiments(), tmp_path, 100)


def test_an_experiment_of_another_scale_is_not_overwritten(laboratory: Laboratory) -> None:
    laboratory.add("wide-epochs-s1", scale="laptop", seed=1)
    with pytest.raises(
        WorldwidthError, match="'wide-epochs-s1': there is one of scale laptop, not smoke; keep it under"
    ):
        present_experiment(at_smoke(), Variant("wide", "epochs", 1), git("rev-parse", "HEAD"))
