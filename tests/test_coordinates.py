"""The coordinate check, under mup and with each of its rules broken: `pytest tests/test_coordinates.py`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest

import worldwidth.model.parametrization
from worldwidth.commands import coordinates as command
from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City
from worldwidth.model.layout import MATRICES
from worldwidth.model.parametrization import Factors, factors
from worldwidth.native.compute import ONE_THREAD
from worldwidth.plots.coordinates import draw_coordinates, shown_places
from worldwidth.settings.schema import Settings
from worldwidth.training import coordinates as check
from worldwidth.training.coordinates import Coordinate, coordinates, draw_mixtures, growth, widths_of

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTHS = ["narrow", "base", "wide", "wider"]
PLACES = ("layer 1", "layer 2", "logits")
Kind = Literal["adamw", "muon"]


def measured(settings: Settings, cities: list[City], archs: list[str] | None = None) -> list[Coordinate]:
    mixture, seen = draw_mixtures(settings, cities[:60])
    runs = coordinates(settings, archs or WIDTHS, mixture, seen, ONE_THREAD)
    return [row for run in runs for row in run]


def growths(rows: list[Coordinate], parametrization: str) -> dict[str, float]:
    """How the change after all steps grows with the width: place -> exponent."""
    found: dict[str, float] = {}
    for place in ("embedding", *PLACES):
        own = [r for r in rows if (r.parametrization, r.place, r.step) == (parametrization, place, check.STEPS)]
        assert [row.arch for row in own] == WIDTHS
        found[place] = growth([row.hidden_size for row in own], [row.change for row in own])
    return found


@pytest.fixture
def one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SEEDS", 1)


def with_optimizer(settings: Settings, optimizer: Kind) -> Settings:
    scale = replace(settings.selected, pretraining=replace(settings.selected.pretraining, optimizer=optimizer))
    return replace(settings, scales={**settings.scales, "smoke": scale})


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_under_mup_the_change_does_not_grow_with_the_width(
    optimizer: Kind, one_seed: None, smoke: dict[str, Settings], smoke_cities: list[City]
) -> None:
    rows = measured(with_optimizer(smoke["cities"], optimizer), smoke_cities)
    mup, standard = growths(rows, "mup"), growths(rows, "standard")
    assert all(abs(mup[place]) < 0.3 for place in mup), mup
    assert all(standard[place] > 0.5 for place in PLACES), standard


RULES: dict[str, tuple[Kind, Callable[[str, Factors], Factors]]] = {
    "rate of hidden matrices": ("adamw", lambda name, own: own._replace(rate=1.0) if name in MATRICES else own),
    "spread of hidden matrices": ("muon", lambda name, own: own._replace(initial=1.0) if name in MATRICES else own),
    "rate of the head": ("muon", lambda name, own: own._replace(rate=1.0) if name == "lm_head" else own),
    "rate of the embedding": ("muon", lambda name, own: own._replace(rate=own.epsilon) if name == "embed" else own),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_broken_rule_is_seen(
    rule: str,
    one_seed: None,
    smoke: dict[str, Settings],
    smoke_cities: list[City],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optimizer, broken = RULES[rule]

    def changed(name: str, width_ratio: float | None) -> Factors:
        return broken(name, factors(name, width_ratio))

    monkeypatch.setattr(check, "PARAMETRIZATIONS", ("mup",))
    monkeypatch.setattr(worldwidth.model.parametrization, "factors", changed)
    found = growths(measured(with_optimizer(smoke["cities"], optimizer), smoke_cities), "mup")
    assert max(abs(value) for value in found.values()) > 0.3, found


def test_what_is_measured(one_seed: None, smoke: dict[str, Settings], smoke_cities: list[City]) -> None:
    rows = measured(smoke["cities"], smoke_cities, ["narrow", "wide"])
    of_one = len(rows) // 4
    assert of_one == 11 * 4
    assert {(row.step, row.place) for row in rows[:of_one]} == {
        (step, place) for step in range(11) for place in ("embedding", *PLACES)
    }
    assert all((row.change == 0) == (row.step == 0) for row in rows)
    assert all(row.size > 0 for row in rows)
    by = {(row.parametrization, row.arch, row.step, row.place): row for row in rows}
    for place in ("embedding", *PLACES):
        (standard, mup) = (by[parametrization, "wide", 0, place] for parametrization in ("standard", "mup"))
        assert standard.size == mup.size, "the reference"
    first = by["standard", "narrow", 0, "embedding"].size
    assert first == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.1), "mean absolute value of N(0, 0.1)"


def test_growth_is_the_exponent() -> None:
    assert growth([8, 16, 64], [3 * 8**0.7, 3 * 16**0.7, 3 * 64**0.7]) == pytest.approx(0.7)


def test_the_widths_are_those_of_as_many_layers_as_the_reference(smoke: dict[str, Settings]) -> None:
    settings = smoke["cities"]
    assert widths_of(settings, None) == WIDTHS
    assert widths_of(replace(settings, reference="deep"), None) == ["deep"]
    assert widths_of(settings, ["wide", "deep", "narrow", "wide"]) == ["narrow", "deep", "wide"]
    with pytest.raises(WorldwidthError, match=r"arch 'wyde': allowed: narrow, .*did you mean 'wide'"):
        widths_of(settings, ["narrow", "wyde"])


def test_the_command(
    one_seed: None,
    smoke: dict[str, Settings],
    empty_project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variant of other depth beside a width: what one of them lacks is a dash."""
    monkeypatch.setattr(check, "STEPS", 2)
    command.print_coordinates(smoke["cities"], ["deep", "narrow"])
    said = capsys.readouterr().out
    table = pd.read_csv("results/coordinates/smoke.csv")
    assert list(table.columns) == list(Coordinate.__dataclass_fields__)
    assert len(table) == 2 * (4 + 10) * 3
    assert Path("results/coordinates/smoke.png").stat().st_size > 5000
    assert "standard        narrow      deep    growth" in said
    shown = next(line for line in said.splitlines() if line.startswith("logits"))
    rows = table[(table["step"] == 2) & (table["place"] == "logits") & (table["parametrization"] == "standard")]
    assert [float(cell) for cell in shown.split()[1:3]] == pytest.approx(list(rows["change"]), rel=0.01)
    lacking = [line.split() for line in said.splitlines() if line.startswith("layer 5")]
    assert [(row[2], row[4]) for row in lacking] == [("-", "-")] * 2, "no layer 5, and so no growth"
    assert shown_places(table) == ["embedding", "layer 1", "layer 2", "logits"]


def test_the_figure(one_seed: None, smoke: dict[str, Settings], smoke_cities: list[City]) -> None:
    rows = measured(smoke["cities"], smoke_cities, ["narrow", "wide"])
    table = pd.DataFrame([row.__dict__ for row in rows])
    figure = draw_coordinates(smoke["cities"], table)
    panels = np.array(figure.axes).reshape(2, 4)
    assert [axes.get_title() for axes in panels[0]] == ["embedding", "layer 1", "layer 2", "logits"]
    for row, parametrization in zip(panels, ("standard", "mup"), strict=True):
        assert row[0].get_ylabel().startswith(parametrization)
        (narrow, wide) = row[3].get_lines()
        for line, arch in ((narrow, "narrow"), (wide, "wide")):
            own = table[(table["parametrization"] == parametrization) & (table["arch"] == arch)]
            logits = own[(own["place"] == "logits") & (own["step"] > 0)]
            np.testing.assert_allclose(line.get_ydata(), logits["change"])
