"""A comparison as it lies in git: read back from its tables, so that figures and the report are drawn from these alone.

The numbers have the digits that the tables have, and whatever is drawn, now or from a clone, is drawn from them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.comparison.axes import Design
from worldwidth.comparison.declared import Declared
from worldwidth.comparison.export import TABLES
from worldwidth.comparison.metrics import metrics_of
from worldwidth.comparison.representations import MapTables
from worldwidth.comparison.tables import Comparison
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text
from worldwidth.settings.axes import parse_value, with_values
from worldwidth.settings.load import LATER, parse
from worldwidth.settings.questions import Analysis
from worldwidth.settings.schema import Settings

PROVENANCE = "provenance.json"
_MAPS = [field.name for field in fields(MapTables)]
_TEXT = (
    "arm", "level", "other", "other_level", "levels", "experiment", "other_experiment", "commit", "missing_models",
    "note",
)  # fmt: skip
"""Columns of text, which may look like numbers, or be empty."""


@dataclass(frozen=True)
class Stored:
    """What one folder holds."""

    comparison: Comparison
    maps: MapTables
    provenance: dict[str, Any]


def read_comparison(folder: Path) -> Stored:
    """The comparison that `worldwidth compare` has written into ``folder``.

    Raises:
        WorldwidthError: a file is missing, or of another version.
    """
    remedy = f"`worldwidth compare --out {folder.name}` writes it again"
    try:
        provenance = json.loads(read_text(folder / PROVENANCE))
        tables = {name: _table(folder / f"{name}.csv") for name in (*TABLES, *_MAPS)}
        settings = _settings(provenance)
        runs = tables["runs"].set_index("experiment").loc[[each["name"] for each in provenance["experiments"]]]
        everything = _settings_of_runs(settings, runs, [*provenance["by"], *provenance["within"]])
        design = Design.of(everything, provenance["by"], provenance["within"], provenance["arms"])
        plan = provenance["analysis"]
    except FileNotFoundError as error:
        raise WorldwidthError(f"{error.filename}: not found; {remedy}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise WorldwidthError(f"{folder}: of another version ({type(error).__name__}: {error}); {remedy}") from None
    maps = MapTables(**{name: tables.pop(name) for name in _MAPS})
    comparison = Comparison(
        settings=everything[0],
        of_archs={one.arch: one for one in reversed(everything)},
        design=design,
        arms=design.arms_of(everything),
        metrics=metrics_of(everything[0]),
        declared=_declared(plan) if plan else None,
        **tables,
    )
    return Stored(comparison, maps, provenance)


def _table(path: Path) -> pd.DataFrame:
    """One table; an empty one where there is no file, which is how an empty one is written."""
    if not path.is_file():
        return pd.DataFrame()
    table = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(_TEXT, "str"))
    return table.fillna({column: "" for column in _TEXT if column in table})


def _settings(provenance: dict[str, Any]) -> Settings:
    """Those of the first run, in the fine-tunes that were compared."""
    found = parse(provenance["params"], PROVENANCE, LATER)
    return replace(found, finetunes={name: found.finetunes[name] for name in provenance["finetunes"]})


def _settings_of_runs(settings: Settings, runs: pd.DataFrame, axes: Sequence[str]) -> list[Settings]:
    """``settings`` turned to what each run has on the axes, which its row says."""
    columns = [key for key in dict.fromkeys(["arch", "budget", *axes]) if key in runs]
    rows = [tuple(row) for row in runs[columns].astype(str).itertuples(index=False)]
    replicates = runs[["seed", "atlantis_seed"]].itertuples(index=False)
    turned = {
        row: with_values(settings, [(key, parse_value(key, text)) for key, text in zip(columns, row, strict=True)])
        for row in dict.fromkeys(rows)
    }
    return [replace(turned[row], seed=int(seed)) for row, (seed, _) in zip(rows, replicates, strict=True)]


def _declared(plan: dict[str, Any]) -> Declared:
    return Declared(Analysis(**plan["analysis"]), plan["by"], plan["commit"], plan["time"], plan["first_run"])
