"""Draw the figures: `dvc repro plots`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.core.files import read_json
from worldwidth.data.cities import load_cities
from worldwidth.evaluation import tables
from worldwidth.plots.study import draw_setting, draw_study
from worldwidth.settings.paths import MATRICES, PLOTS, SUMMARY, TRAINING_TABLE
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """results/{summary.json,matrices.csv,training.csv}, data/cities.csv -> plots/*.png"""
    cells = tables.read_cells()
    tables.check_models((cell.model for cell in cells), settings, MATRICES)
    headline = read_json(SUMMARY, "run `dvc repro summarize`")
    curves = tables.read_table(TRAINING_TABLE, ["model", *tables.CURVE_COLUMNS], "run `dvc repro summarize`")
    tables.check_models(curves["model"], settings, TRAINING_TABLE)
    drawn = draw_study(settings, cells, headline, PLOTS)
    drawn += draw_setting(settings, curves, load_cities(settings.selected.world), PLOTS)
    print("plots:", ", ".join(map(str, drawn)))


if __name__ == "__main__":
    run_stage(main)
