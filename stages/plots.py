"""Draw the figures: `dvc repro plots`."""

from worldwidth.entry import run_stage

from worldwidth import results, world
from worldwidth.files import read_json
from worldwidth.layout import PLOTS, SUMMARY, TRAINING_TABLE
from worldwidth.matrix import Matrix
from worldwidth.study_plots import draw_setting, draw_study


def main(matrix: Matrix) -> None:
    """results/{summary.json,matrices.csv,training.csv}, data/cities.csv -> plots/*.png"""
    cells = results.read_cells()
    headline = read_json(SUMMARY, "run `dvc repro summarize`")
    curves = results.read_table(TRAINING_TABLE, ["model", *results.CURVE_COLUMNS], "run `dvc repro summarize`")
    drawn = draw_study(matrix, cells, headline, PLOTS)
    drawn += draw_setting(matrix, curves, world.load(matrix.selected.world), PLOTS)
    print("plots:", ", ".join(map(str, drawn)))


if __name__ == "__main__":
    run_stage(main)
