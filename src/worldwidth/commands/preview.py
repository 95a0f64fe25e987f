"""A half-finished study, drawn as far as it goes: what is missing is hatched and listed."""

from worldwidth.core.errors import WorldwidthError
from worldwidth.evaluation import tables
from worldwidth.plots.study import draw_study
from worldwidth.settings.paths import EVALUATIONS, PARTIAL, SCORES
from worldwidth.settings.schema import Settings


def draw_partial(settings: Settings) -> None:
    """Draw the matrices from the evaluations on disk into partial/; committed results stay as they are.

    Raises:
        WorldwidthError: the base model is not evaluated yet, so that no score can be normalised.
    """
    done = tuple(model for model in settings.models if _is_evaluated(model))
    missing = [model for model in settings.models if model not in done]
    if "base" not in done:
        raise WorldwidthError("nothing to draw yet: every score needs the base model; run `dvc repro evaluate@base`")
    study = tables.load_study(settings, done)
    cells, headline = tables.compute_matrices(study, settings.selected.statistics.resamples)
    drawn = draw_study(settings, cells, headline, PARTIAL, frozenset(missing))
    print("drawn:", ", ".join(map(str, drawn)))
    print(f"evaluated: {len(done)} of {len(settings.models)} models")
    if missing:
        print("missing:", ", ".join(missing))


def _is_evaluated(model: str) -> bool:
    return (EVALUATIONS / f"{model}.json").is_file() and (SCORES / f"{model}.npz").is_file()
