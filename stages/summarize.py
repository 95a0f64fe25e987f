"""Matrices and headline statistics from all evaluations: `dvc repro summarize`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.core.files import write_json
from worldwidth.evaluation import tables
from worldwidth.settings.paths import EVALUATION_TABLE, MATRICES, SUMMARY, TRAINING_TABLE
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """results/{evaluations,scores,training}/* -> results/{matrices,evaluations,training}.csv, results/summary.json"""
    study = tables.load_study(settings, settings.models)
    cells, headline = tables.compute_matrices(study, settings.selected.statistics.resamples)
    tables.write_table(tables.cells_table(cells), MATRICES)
    tables.write_table(tables.evaluation_table(settings), EVALUATION_TABLE)
    tables.write_table(tables.training_table(settings), TRAINING_TABLE)
    write_json(SUMMARY, {**headline, **tables.compute_summary(settings)})
    for name, values in headline.items():
        print(f"{name}: {values['measurable']} of {values['cells']} cells measurable", *(_shown(values)), sep=", ")


def _shown(values: dict[str, float | None]) -> list[str]:
    blocks = ("trained", "transfer", tables.ABOVE, "overall")
    return [
        f"{block.replace('_', ' ')} {values[block]:.2f} (std over cells {values[f'{block}_std']:.2f})"
        for block in blocks
        if values.get(block) is not None
    ]


if __name__ == "__main__":
    run_stage(main)
