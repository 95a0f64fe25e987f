"""The maps of all models: one table, headline numbers, figures: `dvc repro representations`."""

from worldwidth.engine.stage_main import run_stage

from worldwidth.core.files import write_json
from worldwidth.evaluation.tables import check_models, read_cells, write_table
from worldwidth.plots.probes import draw_representations
from worldwidth.representation.tables import headline, load_rows, maps_against_transfer, transfer_of
from worldwidth.settings.paths import MATRICES, PLOTS, REPRESENTATION_SUMMARY, REPRESENTATION_TABLE
from worldwidth.settings.schema import Settings


def main(settings: Settings) -> None:
    """results/representations/*, results/matrices.csv -> results/representations.{csv,json}, plots/*.png"""
    cells = read_cells()
    check_models((cell.model for cell in cells), settings, MATRICES)
    table = load_rows(settings)
    found = headline(table, maps_against_transfer(table, transfer_of(cells)))
    write_table(table, REPRESENTATION_TABLE)
    write_json(REPRESENTATION_SUMMARY, found)
    drawn = draw_representations(settings, table, cells, PLOTS)
    print("representations:", REPRESENTATION_TABLE, *drawn)


if __name__ == "__main__":
    run_stage(main)
