"""What the models of several runs make of the same cities: their maps side by side, and how alike they are.

The arrays of all maps are in DVC's cache; tables in git hold what is drawn of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldwidth.comparison.axes import Design
from worldwidth.comparison.runs import RunScores
from worldwidth.core.errors import warn
from worldwidth.core.table import Kind
from worldwidth.dvcio.experiments import Experiment
from worldwidth.dvcio.hashes import Hashes
from worldwidth.evaluation.scores import DIVERGENT, matrix_of
from worldwidth.evaluation.tables import UNREADABLE
from worldwidth.representation.rows import ALL
from worldwidth.representation.similarity import Calibrated, cka, mutual_neighbours
from worldwidth.representation.tables import COLUMNS, SINGLE, Map, finished, read_map, shown_rows
from worldwidth.settings.paths import REPRESENTATION_TABLE, REPRESENTATIONS
from worldwidth.settings.schema import Settings, is_plug_in

WITHIN, LEVELS, REPLICATES = "base and fine-tuned", "levels", "replicates"
"""Kinds of pairs: models of one run; base models of two levels with one replicate, and of two replicates of a level."""
_PLACES = ("region", "x", "y", "seen_x", "seen_y")
_ATLANTIS = "Atlantis"
_TEXT = ("model", "prompt")
_KINDS: dict[str, Kind] = {
    column: "text" if column in _TEXT else "number or none" if column.startswith("region") else "number"
    for column in COLUMNS
}
_HASHES = Hashes()


@dataclass(frozen=True)
class RunMaps:
    """The maps of one run."""

    run: RunScores
    arm: str
    level: str
    maps: dict[str, Map]
    """By model, of those that have one."""
    rows: pd.DataFrame
    """The probes of its maps, a row a model."""

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.run.experiment.name


@dataclass(frozen=True)
class MapTables:
    """What is kept in git of the maps of all runs; empty where they have none."""

    representations: pd.DataFrame
    """:func:`map_table`."""
    similarity: pd.DataFrame
    """:func:`similarity_table`."""
    places: pd.DataFrame
    """:func:`place_table`."""
    checkpoints: pd.DataFrame = field(default_factory=pd.DataFrame)
    """:func:`worldwidth.comparison.checkpoints.checkpoint_table`."""

    @classmethod
    def of(cls, found: Sequence[RunMaps]) -> "MapTables":
        """Those of some maps, without checkpoints."""
        table = map_table(found)
        return cls(table, similarity_table(found), place_table(found, table))


def read_maps(runs: Sequence[RunScores], design: Design, cache: Path) -> list[RunMaps]:
    """The maps of all runs that have some, replicate by replicate; those that lack any are named on stderr.

    Args:
        cache: DVC's cached files by their hash.
    """
    found: list[RunMaps] = []
    for run in sorted(runs, key=lambda run: run.replicate):
        experiment, settings = run.experiment, run.settings
        if experiment.text(REPRESENTATION_TABLE) is None:
            warn(f"{experiment.name}: has no maps, for it was run before there were any; {experiment.remedy}")
            continue
        rows = finished(shown_rows(experiment.table(REPRESENTATION_TABLE, _KINDS)))
        rows = rows[rows["model"].isin(settings.models)]
        maps = {model: each for model in settings.models if (each := _map(experiment, model, cache))}
        if missing := [model for model in settings.models if model not in maps]:
            warn(f"{experiment.name}: the maps of {', '.join(missing)} are not in DVC's cache, or damaged")
        found.append(RunMaps(run, design.arm_of(settings), design.level_of(settings), maps, rows))
    return found


def _map(experiment: Experiment, model: str, cache: Path) -> Map | None:
    """The map of one model; None where the cache lacks it, or it is damaged."""
    digest = experiment.outs.get((REPRESENTATIONS / f"{model}.npz").as_posix(), "")
    path = cache / digest[:2] / digest[2:]
    if not digest or _HASHES.compare(path, digest) != "right":
        return None
    try:
        with path.open("rb") as file:
            return read_map(file)
    except UNREADABLE:
        return None


def map_table(found: Sequence[RunMaps]) -> pd.DataFrame:
    """One row a run and model: the probe of its map, and its mean score in tasks that it was not trained in."""
    parts = [
        of_run.rows.assign(
            arm=of_run.arm,
            level=of_run.level,
            experiment=of_run.name,
            seed=of_run.run.replicate[0],
            atlantis_seed=of_run.run.replicate[1],
            transfer=[_transfer(of_run.run, model) for model in of_run.rows["model"]],
        )
        for of_run in found
    ]
    first = ["arm", "level", "experiment", "seed", "atlantis_seed"]
    return pd.concat(parts, ignore_index=True)[[*first, *COLUMNS, "transfer"]] if parts else pd.DataFrame()


def _transfer(run: RunScores, model: str) -> float:
    """Mean measurable score of ``model`` in tasks that it was not trained in; NaN where there is none."""
    if model == "base":
        return np.nan
    keys = [(matrix_of(model), model, task) for task in run.settings.tasks if not run.trained(model, task)]
    scores = np.array([run.cells[key][0] for key in keys if key in run.cells])
    return float(scores[np.isfinite(scores)].mean()) if np.isfinite(scores).any() else np.nan


def giver_over(table: pd.DataFrame) -> str | None:
    """The single-task model that gives most on the mean over all runs; None where there is none."""
    single = table[table["model"].map(matrix_of) == SINGLE] if len(table) else table
    means = single.groupby("model", sort=False)["transfer"].mean().dropna() if len(single) else pd.Series()
    return None if means.empty else str(means.idxmax())


def shown_models(settings: Settings, table: pd.DataFrame) -> dict[str, str]:
    """The models whose maps are shown, and what each is: the base model, the giver, and that of the divergent task."""
    giver = giver_over(table)
    single = {name: trained for name, trained in settings.finetunes.items() if matrix_of(name) == SINGLE}
    found = {"base": "base model", **({giver: f"{single[giver][0]}, the giver"} if giver in single else {})}
    return found | {name: DIVERGENT for name, trained in single.items() if trained == (DIVERGENT,) and name != giver}


def first_runs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the run with the lowest replicate, of every arm and level."""
    ordered = table.sort_values(["seed", "atlantis_seed"], kind="stable")
    return table[table["experiment"].isin(ordered.drop_duplicates(["arm", "level"])["experiment"])]


def place_table(found: Sequence[RunMaps], table: pd.DataFrame) -> pd.DataFrame:
    """One row a city and shown map, of the first run of every arm and level: where it lies, and where it is read."""
    if table.empty:
        return table
    shown, first = shown_models(found[0].run.settings, table), set(first_runs(table)["experiment"])
    parts = [
        _places(each).assign(arm=run.arm, level=run.level, model=model)
        for run in found
        if run.name in first
        for model, each in run.maps.items()
        if model in shown
    ]
    return pd.concat(parts, ignore_index=True)[["arm", "level", "model", *_PLACES]] if parts else pd.DataFrame()


def _places(found: Map) -> pd.DataFrame:
    seen = found.ordinary_seen[found.shown], found.atlantis_seen[found.shown]
    return lie_and_seen((found.ordinary, found.atlantis), seen, found.regions)


def lie_and_seen(lie: tuple[Any, Any], seen: tuple[Any, Any], regions: Any) -> pd.DataFrame:
    """One row a city: its region, where it lies, and where it is read; ordinary cities first, then Atlantis."""
    parts = []
    for of_lie, of_seen, region in zip(lie, seen, (regions, _ATLANTIS), strict=True):
        x, y, seen_x, seen_y = np.hstack([of_lie, of_seen]).T
        parts.append(pd.DataFrame(dict(zip(_PLACES, (region, x, y, seen_x, seen_y), strict=True))))
    return pd.concat(parts, ignore_index=True)


def map_of(places: pd.DataFrame, layer: int) -> Map:
    """The map that some rows of :func:`place_table` are of; it has no features."""
    is_new = places["region"] == _ATLANTIS
    (x, seen), (new_x, new_seen) = (
        (part[["x", "y"]].to_numpy(), part[["seen_x", "seen_y"]].to_numpy()[None])
        for part in (places[~is_new], places[is_new])
    )
    regions = places[~is_new]["region"].to_numpy()
    return Map((ALL,), layer, x, new_x, regions, seen, new_seen, np.empty((layer + 1, len(x), 0)))


def similarity_table(found: Sequence[RunMaps]) -> pd.DataFrame:
    """One row a pair of models: how alike the features of their maps are, by CKA and by mutual neighbours.

    Without plug-ins that move the embeddings of new cities alone: for ordinary ones they are their base model.
    """
    return pd.DataFrame(_similarity_rows(found))


def _similarity_rows(found: Sequence[RunMaps]) -> Iterator[dict[str, Any]]:
    for run in found:
        yield from (_pair(WITHIN, run, run, "base", model) for model in run.maps if _is_other(run, model))
    for one, other in combinations([run for run in found if "base" in run.maps], 2):
        same = (one.level == other.level, one.run.replicate == other.run.replicate)
        kind = {(True, False): REPLICATES, (False, True): LEVELS}.get(same)
        if kind and one.arm == other.arm and np.array_equal(one.maps["base"].ordinary, other.maps["base"].ordinary):
            yield _pair(kind, one, other, "base", "base")


def _is_other(run: RunMaps, model: str) -> bool:
    """Whether ``model`` can see ordinary cities otherwise than its base model, and both have maps."""
    is_same = is_plug_in(model) and run.run.settings.plug_in.trainable == "new_embeddings"
    return model != "base" in run.maps and not is_same


def _pair(kind: str, one: RunMaps, other: RunMaps, model: str, other_model: str) -> dict[str, Any]:
    first, second = one.maps[model], other.maps[other_model]
    features = first.features[first.layer], second.features[second.layer]
    return {
        "kind": kind,
        "arm": one.arm,
        "level": one.level,
        "other_level": other.level,
        "experiment": one.name,
        "other_experiment": other.name,
        "model": model,
        "other_model": other_model,
        "layer": first.layer,
        "other_layer": second.layer,
        "cities": len(first.ordinary),
        **_columns("cka", cka(*features)),
        **_columns("neighbours", mutual_neighbours(*features)),
    }


def _columns(name: str, found: Calibrated) -> dict[str, float]:
    return {**{f"{name}_{key}": value for key, value in asdict(found).items()}, f"{name}_score": found.score}
