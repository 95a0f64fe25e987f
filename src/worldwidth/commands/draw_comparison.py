"""`worldwidth compare --from NAME`: all that is drawn and written of a comparison, from its tables alone."""

from dataclasses import replace
from pathlib import Path

from worldwidth.comparison.axes import Axis
from worldwidth.comparison.export import COMPARISONS, markdown, write_markdown
from worldwidth.comparison.latex import write_latex
from worldwidth.comparison.stored import PROVENANCE, Stored, read_comparison
from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.plots.comparison import draw_comparison_figures
from worldwidth.plots.representations import draw_representation_figures
from worldwidth.report.page import write_report
from worldwidth.settings.schema import Colours

REPORTS = Path("report")


def run_draw(name: str, pairs: list[tuple[str, str]], colours: Colours) -> None:
    """Draw a comparison again and print what is known about it.

    Args:
        name: of the folder in results/comparison.
        pairs: two levels each, whose difference is drawn beside that of the first and the last.
        colours: of scores, as params.yaml has them now.

    Raises:
        WorldwidthError: there is none of that name, its files are of another version, or a level is not in it.
    """
    known = sorted(path.parent.name for path in COMPARISONS.glob(f"*/{PROVENANCE}"))
    if name not in known:
        raise WorldwidthError(
            f"--from: found '{name}'; there, in {COMPARISONS}: {', '.join(known) or 'none'}{nearest(name, known)}"
        )
    stored = read_comparison(COMPARISONS / name)
    check_pairs(pairs, stored.comparison.axis)
    files = draw(stored, name, pairs, colours)
    print(markdown(stored.comparison))
    print(f"drawn again: {len(files)} files in {COMPARISONS / name}, and {REPORTS / name / 'index.html'}")


def draw(stored: Stored, name: str, pairs: list[tuple[str, str]], colours: Colours) -> list[Path]:
    """Write all that is drawn from the tables of a comparison; return the files that are not the report."""
    folder, comparison = COMPARISONS / name, stored.comparison
    comparison = replace(comparison, settings=replace(comparison.settings, colours=colours))
    written = [write_markdown(comparison, folder), write_latex(comparison, folder)]
    written += draw_comparison_figures(comparison, folder, pairs)
    written += draw_representation_figures(comparison, stored.maps, folder)
    write_report(comparison, stored.maps, stored.provenance, REPORTS / name / "index.html")
    return written


def check_pairs(pairs: list[tuple[str, str]], axis: Axis) -> None:
    """Refuse a level that is not compared.

    Raises:
        WorldwidthError: it is not.
    """
    for level in (level for pair in pairs for level in pair):
        if level not in axis.levels:
            raise WorldwidthError(
                f"{axis.key} '{level}': not among the experiments; there: {', '.join(axis.levels)}"
                f"{nearest(level, axis.levels)}"
            )
