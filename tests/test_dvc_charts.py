"""The charts of `dvc plots`, compiled and drawn: names of tasks, short tooltips, legible cells, A minus B.

pytest tests/test_dvc_charts.py
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vl_convert
from matplotlib.colors import to_hex, to_rgb

from worldwidth.commands.offline_plots import vega_lite_version
from worldwidth.plots.dvc_charts import MINUS, SHARE, charts, model_names
from worldwidth.plots.heatmap import SCORE, SIGNED, Scale
from worldwidth.plots.style import contrast
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
VERSION = vega_lite_version(vl_convert.get_vegalite_versions())
COLUMNS = {"title": "Scores", "x": "task", "y": "model", "x_label": "tokens", "y_label": "loss"}


def cell(model: str, task: str, score: float | str, **changes: str) -> dict[str, str]:
    """A row of results/matrices.csv, as DVC reads it."""
    usual = {
        "matrix": "ftwb1",
        "trained": "False",
        "raw": "56.638",
        "base_atlantis": "93.34",
        "standard_error": "0.019",
    }
    return {"model": model, "task": task, "score": str(score), **usual, **changes}


def filled(settings: Settings, name: str, rows: list[dict[str, str]], *revisions: str) -> dict[str, Any]:
    """A template with what DVC puts in it."""
    text = charts(settings)[Path(f"templates/plots/{name}.json")]
    for key, value in COLUMNS.items():
        text = text.replace(f"<DVC_METRIC_{key.upper()}>", value)
    points = [row | {"rev": rev} for rev in revisions for row in rows]
    made = json.loads(text.replace('"<DVC_METRIC_DATA>"', json.dumps(points)))
    assert isinstance(made, dict)
    return made


def drawn(chart: dict[str, Any]) -> list[str]:
    """The texts in the picture of a chart, in their order."""
    svg = vl_convert.vegalite_to_svg(chart, vl_version=VERSION)
    return re.findall(r"<text [^>]*>([^<]*)</text>", svg)


def two(settings: Settings) -> list[str]:
    rows = [
        [cell("ftwb1-1", "distance", s, trained="True"), cell("ftwb1-4", "distance", t)]
        for s, t in ((0.71, 0.5), (0.5, ""))
    ]
    chart = filled(settings, "matrices", [], "one")
    chart["data"]["values"] = [row | {"rev": rev} for rev, part in zip("AB", rows, strict=True) for row in part]
    return drawn(chart)


def test_the_files_in_git_are_those_that_are_rendered(settings: Settings) -> None:
    for path, text in charts(settings).items():
        assert (ROOT / path).read_text(encoding="utf-8") == text, f"{path}: run `make render`"


def test_a_model_is_called_by_its_tasks_and_no_two_alike(settings: Settings) -> None:
    names = model_names(settings)
    assert names["base"] == "base model"
    assert (names["ftwb1-1"], names["plug1-1"]) == ("distance", "distance, plug-in")
    assert (names["ftwb2-13"], names["ftwb0-0"]) == ("distance + perimeter", "no task")
    assert names["plug7-1"] == "all 7 tasks, plug-in"
    twice = replace(settings, finetunes={"ftwb1-1": ("distance",), "ftwb1-9": ("distance",)})
    assert list(model_names(twice).values()) == ["base model", "distance (ftwb1-1)", "distance (ftwb1-9)"]


def test_of_two_revisions_the_first_minus_the_second_is_drawn(settings: Settings) -> None:
    texts = two(settings)
    assert texts.count("A minus B (blue: more)") == 1
    assert texts.count("0.21 T") == 1  # 0.71 - 0.50
    assert texts.count("n.m.") == 2  # of the second revision, and of the difference
    assert {"distance", "compass"} <= set(texts)
    assert not [text for text in texts if "ftwb1-" in text]


@pytest.mark.parametrize("revisions", [("workspace",), ("A", "B", "C")])
def test_of_one_revision_or_three_no_difference_is_drawn(settings: Settings, revisions: tuple[str, ...]) -> None:
    texts = drawn(filled(settings, "matrices", [cell("ftwb1-1", "distance", -1.234)], *revisions))
    assert [text for text in texts if text in revisions] == list(revisions)
    assert not [text for text in texts if "minus B" in text]
    assert texts.count("\N{MINUS SIGN}1.23") == len(revisions)  # not cut at the end of the colours


def test_models_that_one_revision_lacks_have_no_difference(settings: Settings) -> None:
    chart = filled(settings, "matrices", [cell("ftwb1-1", "distance", 0.5)], "A")
    chart["data"]["values"].append(cell("ftwb1-4", "distance", 0.25) | {"rev": "B"})
    assert not [text for text in drawn(chart) if "minus B" in text]


def test_an_unknown_model_keeps_its_name(settings: Settings) -> None:
    rows = [{"model": "ftwb9-1", "task": "distance", "population": "world", "exact_match": "0.25", "mean": "12.345"}]
    assert "ftwb9-1" in drawn(filled(settings, "exact", rows, "A"))


@pytest.mark.parametrize("name", ["matrices", "exact", "training", "representations"])
def test_tooltips_have_four_fields_with_texts_of_their_own(settings: Settings, name: str) -> None:
    text = charts(settings)[Path(f"templates/plots/{name}.json")]
    tooltips = list(tooltips_in(json.loads(text)))
    assert tooltips
    for fields in tooltips:
        assert isinstance(fields, list), "all columns of the table"
        assert len(fields) <= 4
        assert {field["field"] for field in fields} <= {"name", "rev", "said", "measured", "<DVC_METRIC_X>"}


def tooltips_in(part: Any) -> list[Any]:
    if isinstance(part, list):
        return [found for item in part for found in tooltips_in(item)]
    if not isinstance(part, dict):
        return []
    inside = [found for key, item in part.items() if key != "tooltip" for found in tooltips_in(item)]
    return inside + ([part["tooltip"]] if "tooltip" in part else [])


def test_a_scale_of_colours_has_colours(settings: Settings) -> None:
    """Vega draws black where it is given something else, and says nothing."""
    ranges = [
        colors
        for text in charts(settings).values()
        for colors in re.findall(r'"range": \[(.*?)\]', text, re.DOTALL)
        if "#" in colors
    ]
    assert ranges
    for colors in ranges:
        assert re.fullmatch(r'(\s*"#[0-9a-f]{6}",?)+\s*', colors), colors


@pytest.mark.parametrize("scale", [SCORE, SIGNED, SHARE, MINUS], ids=lambda scale: scale.label)
def test_every_number_can_be_read_on_its_cell(settings: Settings, scale: Scale) -> None:
    """WCAG's 4.5, as Vega computes both: each value in a cell of its own."""
    values = [scale.low + (scale.high - scale.low) * i / 60 for i in range(-5, 66)]
    chart = filled(settings, "exact", [], "A")
    colors = [to_hex(scale.color(value)) for value in np.linspace(scale.low, scale.high, 11)]
    of_scale = {"domain": [scale.low, scale.high], "range": colors}
    every = panels_in(charts(settings))
    panel = next(p for p in every if p["spec"]["layer"][0]["encoding"]["color"]["scale"] == of_scale)
    shown = f"clamp(datum.value, {scale.low}, {scale.high})"
    layers = panel["spec"]["layer"]
    encoding = {axis: {"field": "i", "type": "nominal"} for axis in "xy"}
    chart = {
        "$schema": chart["$schema"],
        "data": {"values": [{"i": i, "value": value, "label": f"v{i}"} for i, value in enumerate(values)]},
        "transform": [{"calculate": shown, "as": "shown"}],
        "encoding": encoding,
        "layer": layers,
    }
    svg = vl_convert.vegalite_to_svg(chart, vl_version=VERSION)
    cells = re.findall(r'aria-roledescription="rect mark"[^>]*fill="([^"]+)"', svg)
    inks = re.findall(r'<text [^>]*fill="([^"]+)"[^>]*>v\d+</text>', svg)
    assert len(cells) == len(inks) == len(values)
    assert min(contrast(rgb(cell), rgb(ink)) for cell, ink in zip(cells, inks, strict=True)) >= 4.5


def panels_in(made: dict[Path, str]) -> list[dict[str, Any]]:
    charts_ = [json.loads(text) for text in made.values()]
    return [panel for chart in charts_ for row in chart.get("vconcat", []) for panel in row["hconcat"]]


def rgb(color: str) -> tuple[float, float, float]:
    numbers = re.findall(r"\d+", color)
    return to_rgb(color) if color.startswith("#") else tuple(int(n) / 255 for n in numbers)  # type: ignore[return-value]
