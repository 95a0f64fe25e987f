"""The analysis that params.yaml declares, and whether git has it from before the runs that it judges."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from worldwidth.comparison.metrics import metrics_of
from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.core.git import file_at, git
from worldwidth.dvcio.experiments import Experiment
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.questions import Analysis
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import parse_yaml

KEY = "analysis"


@dataclass(frozen=True)
class Declared:
    """A declared analysis beside the runs that a comparison is of."""

    analysis: Analysis
    by: str
    """The axis that the runs are compared by."""
    commit: str
    """The oldest one since which the section is as it is now; empty where it is not committed."""
    time: int
    """When that was made, in seconds since 1970."""
    first_run: int
    """When the first of the runs was saved."""

    @property
    def is_of_this_axis(self) -> bool:
        """Whether it was declared for what is compared."""
        return self.analysis.by == self.by

    @property
    def is_before(self) -> bool:
        """Whether the declared analysis decides: it is for this axis, and older than every run."""
        return self.is_of_this_axis and bool(self.commit) and self.time <= self.first_run

    @property
    def said(self) -> str:
        """The same in words."""
        if not self.is_of_this_axis:
            return f"declared for {self.analysis.by}, not for {self.by}: exploratory"
        if not self.commit:
            return f"{KEY} of {PARAMS} is not committed: exploratory"
        made, run = _date(self.time), _date(self.first_run)
        if not self.is_before:
            return f"declared after the runs ({made}, commit {self.commit[:8]}; first run {run}): exploratory"
        return f"declared on {made} (commit {self.commit[:8]}), before the first run ({run})"


def check_analysis(settings: Settings) -> None:
    """Refuse a declared metric that the study has not.

    Raises:
        WorldwidthError: it has not.
    """
    found, metrics = settings.analysis, metrics_of(settings)
    if found and found.primary not in metrics:
        raise WorldwidthError(
            f"{PARAMS}: {KEY}.primary: found '{found.primary}'; it must be a metric of this study: "
            f"{', '.join(metrics)}{nearest(found.primary, metrics)}"
        )


def declared(settings: Settings, by: str, experiments: Sequence[Experiment]) -> Declared | None:
    """What params.yaml declares now, and since when it does; None where it declares nothing.

    Raises:
        WorldwidthError: git failed.
    """
    if settings.analysis is None:
        return None
    commit, time = unchanged_since()
    return Declared(settings.analysis, by, commit, time, min(experiment.time for experiment in experiments))


def unchanged_since(folder: Path = Path()) -> tuple[str, int]:
    """The oldest commit, with its time, since which the section is as it is in the work tree; empty where HEAD has
    another.

    Raises:
        WorldwidthError: git failed.
    """
    now = _section((folder / PARAMS).read_bytes())
    found = ("", 0)
    for line in git("log", "--format=%H %ct", "--", PARAMS.as_posix(), folder=folder).splitlines():
        commit, _, time = line.partition(" ")
        if _section(file_at(commit, PARAMS, folder) or b"") != now:
            break
        found = (commit, int(time))
    return found


def _section(text: bytes) -> str:
    """The section as JSON; empty where the file has none, or is none."""
    try:
        values = parse_yaml(text.decode("utf-8"), PARAMS.name)
    except (UnicodeDecodeError, WorldwidthError):
        return ""
    section = values.get(KEY) if isinstance(values, dict) else None
    return json.dumps(section, sort_keys=True) if section else ""


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
