"""One model's map of the world, through every task's prompt and after every layer.

A row of the table is one probe (probe.py): its held-out R2 and error on ordinary cities, and where a probe of all
ordinary cities puts Atlantis, whose cities no probe is fitted on. The prompt ``all`` is the mean of the features of
all tasks; only through it are whole regions held out, too, and it alone is asked at checkpoints. Prompts differ from
the first layer on: the embedding has one row, that of ``all``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from worldwidth.core.arrays import save_arrays
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text, write_text
from worldwidth.core.table import parse_table
from worldwidth.data.cities import City, load_cities, points
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.checkpoint import load_model
from worldwidth.model.layout import DecoderConfig, Weights
from worldwidth.representation.hidden import Features, Prompts, hidden_states, prompts_of
from worldwidth.representation.probe import RANGE, Floats, distances, fitted, folds_by, folds_of, held_out
from worldwidth.representation.rows import ALL, Row, map_layer, table_of
from worldwidth.settings.names import stage_of
from worldwidth.settings.paths import CURVES, MODELS, REPRESENTATIONS
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task

MOST = 512
"""Ordinary cities that are probed at most, the most populous ones."""


@dataclass(frozen=True)
class Plane:
    """The cities that are probed."""

    ordinary: Floats
    """(n, 2)"""
    atlantis: Floats
    """(m, 2)"""
    regions: tuple[str, ...]
    """(n,)"""

    @classmethod
    def of(cls, cities: list[City]) -> "Plane":
        """The most populous ordinary cities, and all of Atlantis."""
        real = [city for city in cities if not city.is_atlantis][:MOST]
        new = [city for city in cities if city.is_atlantis]
        places = [points(group).astype(np.float64) for group in (real, new)]
        return cls(places[0], places[1], tuple(city.region for city in real))


def represent_and_save(settings: Settings, name: str) -> None:
    """Read models/NAME, of the base model the checkpoints too, and write results/representations/NAME.{csv,npz}.

    Raises:
        WorldwidthError: a model is missing, damaged, or of another width or scale.
    """
    expected, remedy = DecoderConfig.of(settings.selected, settings.sizes), f"run `dvc repro {stage_of(name)}`"
    plane = Plane.of(load_cities(settings.selected.world))
    prompts = all_prompts(settings, len(plane.ordinary))
    rows: list[Row] = []
    with threadpool_limits(1):  # no bit then depends on how many there are
        for step, folder in folders_of(name):
            config, weights = load_model(folder, remedy, expected)
            features = features_of(config, weights, prompts)
            if folder != MODELS / name:
                features = {ALL: features[ALL]}
            found, arrays = measure(features, plane, name, step)
            rows += found
    write_text(REPRESENTATIONS / f"{name}.csv", table_of(rows).to_csv(index=False, lineterminator="\n"))
    save_arrays(REPRESENTATIONS / f"{name}.npz", arrays)
    last = next(row for row in rows[::-1] if row.prompt == ALL and row.layer == map_layer(config.num_hidden_layers))
    print(
        f"{name}: a map of ordinary cities with R2 {last.r2:.2f} (shuffled {last.null_r2:.2f}); "
        f"Atlantis {last.atlantis_error:.1f} units off, the mean would be {last.atlantis_guess_error:.1f}"
    )


def folders_of(name: str) -> list[tuple[int, Path]]:
    """Steps of training and the folder of each model that is looked at, the finished one last."""
    folder = MODELS / name
    steps = sorted(int(path.name) for path in (folder / "steps").iterdir()) if name == "base" else []
    return [*((step, folder / "steps" / str(step)) for step in steps), (_steps_of(name), folder)]


def _steps_of(name: str) -> int:
    """Steps that a model was trained for, by its training curve."""
    path = CURVES / f"{name}.csv"
    try:
        return int(parse_table(read_text(path), {"step": "count"}, str(path))["step"].iloc[-1])
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; run `dvc repro {stage_of(name)}`") from None


def all_prompts(settings: Settings, probed: int) -> dict[str, Prompts]:
    """The prompts of every task about the first ``probed`` ordinary cities and Atlantis."""
    vocabulary = Vocabulary(settings.selected.model, settings.selected.world)
    chosen = np.r_[:probed, settings.selected.world.cities : len(vocabulary.names)]
    found = {task: prompts_of(load_task(task), vocabulary) for task in settings.tasks}
    return {task: Prompts(prompts.tokens[chosen], prompts.places) for task, prompts in found.items()}


def features_of(config: DecoderConfig, weights: Weights, prompts: dict[str, Prompts]) -> dict[str, Features]:
    """Features by prompt, (layers + 1, cities, 2 hidden_size) each, the mean of all at last."""
    found = {task: hidden_states(config, weights, of_task) for task, of_task in prompts.items()}
    return {**found, ALL: np.mean(list(found.values()), axis=0)}


def measure(
    features: dict[str, Features], plane: Plane, name: str, step: int
) -> tuple[list[Row], dict[str, NDArray[Any]]]:
    """All probes of one model: their rows, and the arrays that maps and similarities are made from.

    The arrays are those of :class:`worldwidth.representation.tables.Map`.
    """
    n, layers = len(plane.ordinary), len(features[ALL])
    rows: list[Row] = []
    seen: list[tuple[Floats, Floats]] = []
    for prompt, of_prompt in features.items():
        for layer in range(0 if prompt == ALL else 1, layers):
            where = {"model": name, "step": step, "prompt": prompt, "layer": layer}
            row, known, new = _row(of_prompt[layer, :n], of_prompt[layer, n:], plane, prompt == ALL, **where)
            rows.append(row)
            if layer == map_layer(layers - 1):
                seen.append((known, new))
    ordinary, atlantis = (np.stack(part).astype(np.float32) for part in zip(*seen, strict=True))
    return rows, {
        "prompts": np.array(list(features)),
        "layer": np.array(map_layer(layers - 1)),
        "ordinary": plane.ordinary,
        "atlantis": plane.atlantis,
        "regions": np.array(plane.regions),
        "ordinary_seen": ordinary,
        "atlantis_seen": atlantis,
        "features": features[ALL][:, :n],
    }


def _row(
    ordinary: Features, atlantis: Features, plane: Plane, by_region: bool, **where: Any
) -> tuple[Row, Floats, Floats]:
    """One probe, and where it puts ordinary cities, held out, and Atlantis."""
    known = held_out(ordinary, plane.ordinary, folds_of(len(ordinary)))
    regions = folds_by(plane.regions) if by_region else []
    apart = held_out(ordinary, plane.ordinary, regions) if len(regions) > 1 else None
    new: Floats = fitted(ordinary, plane.ordinary)(atlantis)
    error, new_error = distances(known.predicted, plane.ordinary), distances(new, plane.atlantis)
    low, high = np.percentile(known.null, RANGE)
    guess = float(distances(plane.atlantis, plane.ordinary.mean(axis=0)).mean())
    row = Row(
        **where,
        cities=len(ordinary),
        r2=known.r2,
        null_r2=float(known.null.mean()),
        null_low=float(low),
        null_high=float(high),
        region_r2=apart.r2 if apart else None,
        region_null_r2=float(apart.null.mean()) if apart else None,
        error=float(error.mean()),
        median_error=float(np.median(error)),
        guess_error=float(known.guess.mean()),
        atlantis_error=float(new_error.mean()),
        atlantis_median_error=float(np.median(new_error)),
        atlantis_guess_error=guess,
        atlantis_share=float(new_error.mean()) / guess,
        plane=_plane(ordinary),
    )
    return row, known.predicted, new


def _plane(features: Features) -> float:
    """Share of the variance of (n, features) in their first two principal components."""
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False).astype(np.float64) ** 2
    return float(values[:2].sum() / values.sum())
