"""A half-finished study, drawn as far as it goes: what is missing is hatched and listed."""

from worldwidth import results
from worldwidth.errors import WorldwidthError
from worldwidth.layout import EVALUATIONS, PARTIAL, SCORES
from worldwidth.matrix import Matrix
from worldwidth.study_plots import draw_study


def draw_partial(matrix: Matrix) -> None:
    """Draw the matrices from the evaluations on disk into partial/; committed results stay as they are.

    Raises:
        WorldwidthError: the base model is not evaluated yet, so that no score can be normalised.
    """
    done = tuple(model for model in matrix.models if _is_evaluated(model))
    missing = [model for model in matrix.models if model not in done]
    if "base" not in done:
        raise WorldwidthError("nothing to draw yet: every score needs the base model; run `dvc repro evaluate@base`")
    study = results.load_study(matrix, done)
    cells, headline = results.compute_matrices(study, matrix.selected.statistics.resamples)
    drawn = draw_study(matrix, cells, headline, PARTIAL, frozenset(missing))
    print("drawn:", ", ".join(map(str, drawn)))
    print(f"evaluated: {len(done)} of {len(matrix.models)} models")
    if missing:
        print("missing:", ", ".join(missing))


def _is_evaluated(model: str) -> bool:
    return (EVALUATIONS / f"{model}.json").is_file() and (SCORES / f"{model}.npz").is_file()
