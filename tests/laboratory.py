"""A git repository with experiments in it, made by git alone and laid out as DVC lays them out."""

import hashlib
import os
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from repository import PROJECT
from worldwidth.settings.axes import set_keys

PARAMS = yaml.safe_load((PROJECT / "params.yaml").read_text())
for _scale in PARAMS["scales"].values():  # as the published recipe has it: one rate for all archs
    _scale["finetuning"] |= _scale["recipes"]["published"]["finetuning"]
    for _arch in _scale["archs"].values():
        _arch.pop("finetuning", None)
EVALUATIONS, CURVES = "results/evaluations.csv", "results/training.csv"
LEARNER, TABLES = "src/worldwidth/training.py", "src/worldwidth/results.py"
"""Code of stages that make numbers, and of those that only sum them up."""


def edited_params(**changes: Any) -> dict[str, Any]:
    """The top-level keys of params.yaml that hold these changes; ``__`` in a name stands for a dot."""
    found = deepcopy(PARAMS)
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    set_keys(found, dotted)
    return {top: found[top] for top in {key.split(".")[0] for key in dotted}}


def stage_inputs(params: dict[str, Any], own_list: str = "") -> dict[str, list[str]]:
    """Stage -> what it reads, in short; every stage is in it."""
    corpora = [f"data/corpora/{task}" for task in params["tasks"]]
    models = ["base", *params["finetunes"]]
    read = [*corpora, "data/atlantis", LEARNER]
    return {
        "check": ["stages/check.py"],
        "cities": ["data/checked.txt", *([own_list] if own_list else [])],
        **{f"corpus@{task}": ["data/cities.csv"] for task in params["tasks"]},
        "atlantis": ["data/cities.csv"],
        "recipe": ["stages/recipe.py"],
        "added": ["data/atlantis", "stages/added.py"],
        "base": [*corpora, "data/added", LEARNER, "data/pretraining.json"],
        **{name.replace("-", "@"): [*read, "models/base"] for name in params["finetunes"]},
        **{f"evaluate@{model}": [*read, f"models/{model}"] for model in models},
        **{f"represent@{model}": ["data/cities.csv", f"models/{model}"] for model in models},
        "summarize": [TABLES],
        "plots": [TABLES, "data/atlantis.csv", "results/summary.json"],
        "representations": [TABLES],
    }


def stage_outs(stage: str) -> list[str]:
    """What a stage writes, in short."""
    kind, _, member = stage.partition("@")
    some = {
        "check": ["data/checked.txt"],
        "cities": ["data/cities.csv"],
        "corpus": [f"data/corpora/{member}"],
        "atlantis": ["data/atlantis.csv", "data/atlantis"],
        "recipe": ["data/pretraining.json", "data/finetuning.json", "data/plug_in.json"],
        "added": ["data/added"],
        "summarize": ["results/summary.json"],
    }
    trained = kind == "base" or kind.startswith(("ftwb", "plug"))
    return some.get(kind, [f"models/{stage.replace('@', '-')}"] if trained else [])


def lock(hashes: dict[str, str] | None = None, own_list: str = "", **changes: Any) -> dict[str, Any]:
    """A dvc.lock of params.yaml with these top-level values.

    Args:
        hashes: those of some files; every other one has that of its path.
    """
    params = {**PARAMS, **changes}
    known = hashes or {}

    def files(paths: list[str]) -> list[dict[str, str]]:
        return [{"path": path, "md5": known.get(path, md5_of(path))} for path in paths]

    return {
        "stages": {
            stage: {"deps": files(inputs), "params": {"params.yaml": {}}, "outs": files(stage_outs(stage))}
            for stage, inputs in stage_inputs(params, own_list).items()
        }
    }


def dvc_yaml(own_list: str = "", **changes: Any) -> str:
    """The dvc.yaml that goes with it."""
    stages = {
        stage: {"cmd": "true", "deps": inputs, "outs": stage_outs(stage)}
        for stage, inputs in stage_inputs({**PARAMS, **changes}, own_list).items()
    }
    return yaml.safe_dump({"stages": stages}, sort_keys=False)


def md5_of(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def sound_tables() -> dict[str, str]:
    """The tables of a run that a comparison reads."""
    tests = [f"base,{task},{population},0.5,40,7.5" for task in PARAMS["tasks"] for population in ("world", "atlantis")]
    curves = [f"{model},9,100,600,1.5," for model in ("base", *PARAMS["finetunes"])]
    return {
        EVALUATIONS: "\n".join(["model,task,population,mean,n,constant_mean", *tests, ""]),
        CURVES: "\n".join(["model,step,tokens,flops,loss,validation_loss", *curves, ""]),
    }


def save_scores(cache: Path, **changes: Any) -> str:
    """Per-line scores of a model as an object of DVC's cache; returns its hash."""
    sound = {f"{task}.{p}": np.full(40, 0.5) for task in PARAMS["tasks"] for p in ("world", "atlantis")}
    np.savez(cache / "new.npz", **{**sound, **changes})
    digest = hashlib.md5((cache / "new.npz").read_bytes(), usedforsecurity=False).hexdigest()
    (cache / digest[:2]).mkdir(exist_ok=True)
    (cache / "new.npz").rename(cache / digest[:2] / digest[2:])
    return digest


def edited(name: str, old: str, new: str) -> dict[str, str]:
    """The tables with an edit in one of them."""
    tables = sound_tables()
    assert old in tables[name]
    return {**tables, name: tables[name].replace(old, new, 1)}


def with_scores(digest: str, models: tuple[str, ...] = ("base",), **changes: Any) -> dict[str, Any]:
    """A dvc.lock in which these models have the per-line scores of ``digest``."""
    made = lock(**changes)
    for model in models:
        scores = {"path": f"results/scores/{model}.npz", "md5": digest}
        made["stages"][f"evaluate@{model}"]["outs"] = [scores]
    return made


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

    def params(self, **changes: Any) -> None:
        """Write params.yaml, with these top-level values, into the tree."""
        (self.folder / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **changes}, sort_keys=False))

    def add(
        self, name: str, lock: dict[str, Any] | None = None, files: dict[str, str] | None = None, **changes: Any
    ) -> str:
        """Save an experiment with these top-level params; later ones are newer. Returns its commit."""
        start = self._git("rev-parse", "HEAD")
        self.params(**changes)
        (self.folder / "dvc.lock").write_text(yaml.safe_dump(lock or {"stages": {}}))
        tables = sound_tables() if files is None else files
        for path, text in tables.items():
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_text(text)
        self._git("add", "params.yaml", "dvc.lock", *tables)
        self._seconds += 10
        dated = {**os.environ, "GIT_COMMITTER_DATE": f"{self._seconds} +0000"}
        self._git("commit", "-qm", name, environment=dated)
        commit = self._git("rev-parse", "HEAD")
        self._git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/{name}", commit)
        self._git("reset", "-q", "--hard", start)
        return commit
