"""A half-finished study, drawn as far as it goes: what is missing is hatched and listed.

Curves, those of trainings under way too, and the answers as they are come first; scores once the base model is
evaluated.
"""

from pathlib import Path

import pandas as pd

from worldwidth.commands.under_way import curves_under_way
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import listed
from worldwidth.evaluation import tables
from worldwidth.plots.so_far import draw_raw
from worldwidth.plots.study import draw_study, draw_training
from worldwidth.plots.style import save_figure
from worldwidth.settings.paths import CURVES, EVALUATIONS, PARTIAL, SCORES
from worldwidth.settings.schema import Settings


def draw_partial(settings: Settings) -> None:
    """Draw what there is on disk into partial/; committed results stay as they are.

    Raises:
        WorldwidthError: nothing is there, or something is damaged.
    """
    trained = [model for model in settings.models if (CURVES / f"{model}.csv").is_file()]
    under_way = {name: curve for name, curve in curves_under_way(settings).items() if name not in trained}
    done = tuple(model for model in settings.models if _is_evaluated(model))
    if not (trained or under_way or done):
        raise WorldwidthError("nothing to draw yet: no model is trained, and none under way is saved; `worldwidth run`")
    drawn = _scores(settings, done) + _answers(settings, done) + _curves(settings, trained, under_way)
    print("drawn:", ", ".join(map(str, drawn)))
    print(f"trained: {len(trained)} of {len(settings.models)} models{_listed(under_way)}")
    print(f"evaluated: {len(done)} of {len(settings.models)} models")
    missing = [model for model in settings.models if model not in done]
    if missing:
        print("missing:", ", ".join(missing))
    if "base" not in done:
        print("scores are drawn once the base model is evaluated, for they compare with it: `dvc repro evaluate@base`")


def _scores(settings: Settings, done: tuple[str, ...]) -> list[Path]:
    if "base" not in done:
        return []
    study = tables.load_study(settings, done)
    cells, headline = tables.compute_matrices(study, settings.selected.statistics.resamples)
    return draw_study(settings, cells, headline, PARTIAL, frozenset(settings.models) - set(done))


def _answers(settings: Settings, done: tuple[str, ...]) -> list[Path]:
    reports = {model: tables.load_evaluation(model, settings.tasks) for model in done}
    return [save_figure("answers", lambda: draw_raw(settings, reports), PARTIAL)] if reports else []


def _curves(settings: Settings, trained: list[str], under_way: dict[str, pd.DataFrame]) -> list[Path]:
    curves = {model: tables.load_curve(model) for model in trained} | under_way
    if not curves:
        return []
    table = pd.concat([curves[model].assign(model=model) for model in settings.models if model in curves])
    return [save_figure("training", lambda: draw_training(settings, table), PARTIAL)]


def _listed(under_way: dict[str, pd.DataFrame]) -> str:
    places = [f"{name} at step {int(curve['step'].iloc[-1]):,}" for name, curve in under_way.items()]
    return f"; under way: {listed(places)}" if places else ""


def _is_evaluated(model: str) -> bool:
    return (EVALUATIONS / f"{model}.json").is_file() and (SCORES / f"{model}.npz").is_file()
