"""DVC experiments as git keeps them: which there are, and what lies in them, without checking anything out.

An experiment is a commit under refs/exps/ whose parent is the commit it started from. Its params, dvc.lock and
the small tables are in that commit; per-line scores are in DVC's cache, under the hash that dvc.lock gives.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.core.errors import WorldwidthError, nearest, warn
from worldwidth.core.git import file_at, git
from worldwidth.core.table import Kind, parse_table
from worldwidth.dvcio.lockfile import LOCK, Record, parse_lock
from worldwidth.settings.load import LATER, parse
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import parse_yaml

NAME = re.compile(r"[a-z][a-z0-9_]*-(epochs|tokens|flops)-s\d+(-[A-Za-z0-9_.=-]+)?")
"""What a sweep calls its experiments; sweep/variants.py says how."""

_REF = re.compile(r"refs/exps/(?P<two>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/(?P<name>[^/]+)")


@dataclass(frozen=True)
class Experiment:
    """One DVC experiment."""

    name: str
    commit: str
    baseline: str
    """The commit it started from."""
    time: int
    """When it was made, in seconds since 1970."""
    only: tuple[str, ...] | None = None
    """The fine-tunes that are looked at; None for all that it has."""

    def text(self, path: str | Path) -> str | None:
        """A file of the experiment's commit; None when it is not there.

        Raises:
            WorldwidthError: it is not UTF-8.
        """
        found = file_at(self.commit, Path(path))
        try:
            return None if found is None else found.decode("utf-8")
        except UnicodeDecodeError as error:
            raise WorldwidthError(f"{self.name}: its {path} is not UTF-8 text ({error}); {self.remedy}") from None

    def table(self, path: Path, columns: Mapping[str, Kind]) -> pd.DataFrame:
        """A CSV table of the experiment's commit, with these columns (core/table.py).

        Raises:
            WorldwidthError: it is not there, or not such a table.
        """
        text = self.text(path)
        if not text:
            raise WorldwidthError(f"{self.name}: has no {path}; {self.remedy}")
        try:
            return parse_table(text, columns, f"{self.name}: its {path}")
        except WorldwidthError as error:
            raise WorldwidthError(f"{error}; {self.remedy}") from None

    @cached_property
    def params(self) -> dict[str, Any]:
        """params.yaml as plain values.

        Raises:
            WorldwidthError: it is not YAML.
        """
        values = parse_yaml(self.text(PARAMS) or "", f"{self.name}: its {PARAMS}")
        return values if isinstance(values, dict) else {}

    @cached_property
    def settings(self) -> Settings:
        """params.yaml as settings.

        Raises:
            WorldwidthError: it does not fit this version of worldwidth.
        """
        try:
            found = parse(self.text(PARAMS) or "", PARAMS.name, LATER)
        except WorldwidthError as error:
            said = str(error).replace(f"{PARAMS.name}: ", "")
            raise WorldwidthError(f"{self.name}: its params.yaml is of another version ({said})") from None
        if self.only is None:
            return found
        return replace(found, finetunes={name: found.finetunes[name] for name in self.only})

    @cached_property
    def lock(self) -> dict[str, Record]:
        """dvc.lock by stage.

        Raises:
            WorldwidthError: it is not as DVC writes it.
        """
        try:
            return parse_lock(self.text(LOCK) or "stages: {}", f"{self.name}: its {LOCK}")
        except WorldwidthError as error:
            raise WorldwidthError(f"{error}; {self.remedy}") from None

    @cached_property
    def outs(self) -> dict[str, str]:
        """Output path -> its hash, from dvc.lock."""
        return {path: digest for record in self.lock.values() for path, digest in record.outs.items()}

    @property
    def remedy(self) -> str:
        """What to do when it is damaged."""
        return "the same sweep makes it again"


def list_experiments() -> list[Experiment]:
    """Every experiment of this repository, whatever commit it started from, the newest first.

    One whose commit is gone is named on stderr and left out.
    """
    # a name may hold what Python takes for a line end, or a space, but no \n: git forbids it
    lines = git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").split("\n")
    places = [(commit, _REF.fullmatch(name)) for commit, _, name in (line.partition(" ") for line in lines)]
    made = [(commit, place) for commit, place in places if place]  # refs/exps/ also holds DVC's own bookkeeping
    times = _times([commit for commit, _ in made])
    found: list[Experiment] = []
    for commit, place in made:
        if commit in times:
            found.append(Experiment(place["name"], commit, place["two"] + place["rest"], times[commit]))
        else:
            warn(f"{place[0]}: left out, for its commit {commit[:12]} is not there; `git update-ref -d` removes it")
    return sorted(found, key=lambda experiment: (-experiment.time, experiment.name))


def _times(commits: list[str]) -> dict[str, int]:
    """When each commit was made, in seconds since 1970; those that are not there are left out."""
    if not commits:
        return {}
    lines = git("rev-list", "--no-walk=unsorted", "--ignore-missing", "--timestamp", *commits).split("\n")
    return {commit: int(time) for time, _, commit in (line.partition(" ") for line in lines) if commit}


def find_experiments(names: list[str]) -> list[Experiment]:
    """The newest experiment of each name.

    Raises:
        WorldwidthError: one does not exist.
    """
    newest: dict[str, Experiment] = {}
    for experiment in list_experiments():
        newest.setdefault(experiment.name, experiment)
    for name in names:
        if name not in newest:
            there = ", ".join(sorted(newest)[:12]) or "none"
            raise WorldwidthError(
                f"experiment '{name}': not found, or removed; there are: {there}{nearest(name, newest)}; "
                "`worldwidth sweep` and `make widths` make them"
            )
    return [newest[name] for name in dict.fromkeys(names)]
