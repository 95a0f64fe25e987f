"""Matrices and headline statistics from all evaluations: `dvc repro summarize`."""

from worldwidth.entry import run_stage

from worldwidth import results
from worldwidth.files import write_json
from worldwidth.layout import EVALUATION_TABLE, MATRICES, SUMMARY, TRAINING_TABLE
from worldwidth.matrix import Matrix


def main(matrix: Matrix) -> None:
    """results/{evaluations,scores,training}/* -> results/{matrices,evaluations,training}.csv, results/summary.json"""
    study = results.load_study(matrix, matrix.models)
    cells, headline = results.compute_matrices(study, matrix.selected.statistics.resamples)
    results.write_table(results.cells_table(cells), MATRICES)
    results.write_table(results.evaluation_table(matrix), EVALUATION_TABLE)
    results.write_table(results.training_table(matrix), TRAINING_TABLE)
    write_json(SUMMARY, {**headline, **results.compute_summary(matrix)})
    for name, values in headline.items():
        print(f"{name}: {values['measurable']} of {values['cells']} cells measurable", *(_shown(values)), sep=", ")


def _shown(values: dict[str, float | None]) -> list[str]:
    blocks = [block for block in ("trained", "transfer", "overall") if values.get(block) is not None]
    return [f"{block} {values[block]:.2f} (std over cells {values[f'{block}_std']:.2f})" for block in blocks]


if __name__ == "__main__":
    run_stage(main)
