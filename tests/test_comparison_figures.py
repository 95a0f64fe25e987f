"""All figures of a comparison: which there are, what their files are called and hold, and that they fit on a page.

pytest tests/test_comparison_figures.py
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from fake_comparisons import ROOT
from fake_plots import caption, nothing_is_cut
from fake_runs import fake_runs
from worldwidth.comparison.tables import Comparison, compare
from worldwidth.plots import comparison as figures_of
from worldwidth.plots.comparison import (
    draw_comparison_figures,
    draw_difference,
    draw_matrices,
    draw_retention,
    draw_scores,
)
from worldwidth.plots.divergence import draw_divergence, draw_givers
from worldwidth.plots.efficiency import draw_efficiency
from worldwidth.plots.losses import draw_curves
from worldwidth.plots.patterns import draw_patterns
from worldwidth.plots.style import PAGE, save_figure
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

pytestmark = pytest.mark.usefixtures("no_figure_is_kept")


@pytest.mark.parametrize("name", ["comparison", "one_seed", "one_width"])
def test_no_text_is_cut(request: pytest.FixtureRequest, name: str) -> None:
    made: Comparison = request.getfixturevalue(name)
    figures = [draw_scores(made), draw_curves(made), draw_matrices(made, "epochs")]
    figures.append(draw_retention(made, made.arms[-1]))
    if len(made.archs) > 1:
        figures.append(draw_difference(made, "epochs", made.archs[0], made.archs[-1]))
    for figure in figures:
        nothing_is_cut(figure)


def test_four_widths_of_the_whole_study_fit_on_a_page() -> None:
    settings = load(ROOT / "params.yaml")
    whole = compare(fake_runs(settings, seeds=(1,)))
    signed = whole.cells.assign(mean=whole.cells["mean"].where(whole.cells["matrix"] != "difference", -0.28))
    table = whole.cell_differences.assign(n=3, mean=-0.28, low=-0.98, high=-0.08)
    for figure in (
        draw_matrices(replace(whole, cells=signed), "epochs"),
        draw_difference(replace(whole, cell_differences=table), "epochs", "narrow", "wider"),
    ):
        nothing_is_cut(figure)
        assert figure.get_figwidth() == pytest.approx(PAGE / 72, rel=0.02)


def test_figures_of_arms_are_named_after_them(
    curves_over_rates: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures_of, "save_printed", lambda figures, folder, _: [folder / name for name in figures])
    files = [path.name for path in draw_comparison_figures(curves_over_rates, tmp_path)]
    arm = ["matrices-epochs-lr5e-4", "difference-epochs-lr5e-4-narrow-wide", "retention-epochs-lr5e-4"]
    assert files[:4] == [*arm, "patterns-epochs-lr5e-4"]
    assert files[-6:] == ["answer", "scores", "curves", "efficiency", "divergence", "givers"]
    assert len(files) == len(set(files)) == 4 * 4 + 6


def test_names_of_the_files(comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures_of, "save_printed", lambda figures, folder, _: [folder / name for name in figures])
    files = draw_comparison_figures(comparison, tmp_path, [("wide", "narrow"), ("wide", "wider"), ("wide", "none")])
    assert files == [
        tmp_path / name
        for name in (
            "matrices-epochs",
            "difference-epochs-narrow-wider",
            "difference-epochs-narrow-wide",
            "difference-epochs-wide-wider",
            "retention-epochs",
            "patterns-epochs",
            "matrices-flops",
            "difference-flops-narrow-wide",
            "retention-flops",
            "patterns-flops",
            "answer",
            "scores",
            "curves",
            "efficiency",
            "divergence",
            "givers",
        )
    ]


def test_files(one_seed: Comparison, tmp_path: Path) -> None:
    """The same bytes every time, whatever style the caller has set."""
    mine = tmp_path / "once" / "mine.png"
    mine.parent.mkdir()
    for name in ("mine", "matrices-flops", "patterns-flops"):  # the others are of a comparison that had another arm
        (tmp_path / "once" / f"{name}.png").touch()
    files = draw_comparison_figures(one_seed, tmp_path / "once")
    names = [
        "matrices-epochs",
        "difference-epochs-narrow-wide",
        "retention-epochs",
        "patterns-epochs",
        "answer",
        "scores",
        "curves",
    ]
    names += ["efficiency", "divergence", "givers"]
    assert [path.name for path in files] == [f"{name}.{kind}" for name in names for kind in ("png", "pdf", "svg")]
    assert sorted((tmp_path / "once").iterdir()) == sorted([*files, mine])
    files = [path for path in files if path.suffix == ".png"]
    with plt.rc_context({"font.size": 20, "figure.dpi": 40, "lines.linewidth": 9, "text.color": "red"}):
        again = [
            save_figure("difference", lambda: draw_difference(one_seed, "epochs", "narrow", "wide"), tmp_path),
            save_figure("scores", lambda: draw_scores(one_seed), tmp_path),
            save_figure("curves", lambda: draw_curves(one_seed), tmp_path),
            save_figure("patterns", lambda: draw_patterns(one_seed, "epochs"), tmp_path),
            save_figure("efficiency", lambda: draw_efficiency(one_seed), tmp_path),
            save_figure("divergence", lambda: draw_divergence(one_seed), tmp_path),
            save_figure("givers", lambda: draw_givers(one_seed), tmp_path),
        ]
    for first, second in zip((files[1], *files[5:7], files[3], *files[7:]), again, strict=True):
        assert first.read_bytes() == second.read_bytes(), second.name


@pytest.mark.parametrize(("name", "tasks"), [("ftwb0-0", ()), ("plug1-1", ("distance",))])
def test_models_that_answer_nothing_have_the_other_figures(
    small_matrix: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tasks: tuple[str, ...]
) -> None:
    """As of a sweep with `only: [ftwb0]`, whose question is what its base models know."""
    comparison = compare(
        fake_runs(replace(small_matrix, finetunes={name: tasks}), archs=("narrow", "wide"), seeds=(1, 2))
    )
    drawn: dict[str, Figure] = {}

    def save(figures: dict[str, Callable[[], Figure]], _: Path, __: object) -> list[Path]:
        drawn.update({name: draw() for name, draw in figures.items()})
        return []

    monkeypatch.setattr(figures_of, "save_printed", save)
    draw_comparison_figures(comparison, tmp_path)
    assert {"matrices-epochs", "difference-epochs-narrow-wide", "scores", "curves"} <= drawn.keys()
    assert "answer" not in drawn


def test_figures_of_one_run(small_matrix: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Figure] = {}

    def save(figures: dict[str, Callable[[], Figure]], folder: Path, _: object) -> list[Path]:
        drawn.update({name: draw() for name, draw in figures.items()})
        return [folder / name for name in figures]

    monkeypatch.setattr(figures_of, "save_printed", save)
    run = compare(fake_runs(small_matrix, archs=("narrow",), seeds=(1,)))
    draw_comparison_figures(run, tmp_path, [("narrow", "wide")])
    names = ["matrices-epochs", "retention-epochs", "answer", "scores", "curves", "efficiency", "divergence", "givers"]
    assert list(drawn) == names  # one run has no pattern to hold against another
    assert "Numbers: one seed." in caption(drawn["matrices-epochs"])
