"""The charts of `dvc plots show` and `dvc plots diff`: Vega-Lite templates, which `worldwidth render` writes.

DVC fills a template with one table and the names of two of its columns. Which tasks a model was trained on, no table
says, so it is in the templates. Colours and inks are those of the figures.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from worldwidth.evaluation.scores import DIFFERENCE
from worldwidth.plots.heatmap import SCORE, SIGNED, Scale
from worldwidth.plots.style import ink_on
from worldwidth.settings.schema import Settings, is_plug_in

FOLDER = Path("templates/plots")
X, Y = "<DVC_METRIC_X>", "<DVC_METRIC_Y>"
SHARE = Scale("Blues", 0.0, 1.0, "share exact")
MINUS = Scale("RdBu", -0.5, 0.5, "first minus second")
_MANY = 4  # tasks that a name lists at most
_LINES = (
    "#0072b2", "#e69f00", "#cc79a7", "#009e73", "#d55e00", "#56b4e9", "#000000", "#999999", "#7f3c8d", "#b8860b",
)  # fmt: skip
"""Of models, which are told apart in one chart; the colours of archs mean archs."""
_OWN_COLORS = {"resolve": {"scale": {"color": "independent"}}}

Chart = dict[str, Any]
Transform = list[dict[str, Any]]


def charts(settings: Settings) -> dict[Path, str]:
    """Path of every template -> its text."""
    made = {
        "matrices": _matrices(settings),
        "exact": _exact(settings),
        "training": _training(settings),
        "representations": _representations(settings),
    }
    return {FOLDER / f"{name}.json": json.dumps(chart, indent=1) + "\n" for name, chart in made.items()}


def model_names(settings: Settings) -> dict[str, str]:
    """What every model is called: the tasks that it was trained on; no two have the same name."""
    names = {"base": "base model"}
    for model, tasks in settings.finetunes.items():
        trained = " + ".join(tasks) if len(tasks) <= _MANY else f"all {len(tasks)} tasks"
        names[model] = (trained or "no task") + (", plug-in" if is_plug_in(model) else "")
    times = Counter(names.values())
    return {model: name if times[name] == 1 else f"{name} ({model})" for model, name in names.items()}


def _kinds(settings: Settings) -> dict[str, list[str]]:
    """The fine-tuned models by kind; a kind without models is left out."""
    found: dict[str, list[str]] = {"fine-tuned on one task or none": [], "fine-tuned on several tasks": []}
    for model, tasks in settings.finetunes.items():
        several = list(found)[len(tasks) > 1]
        found.setdefault("plug-ins: new embeddings alone" if is_plug_in(model) else several, []).append(model)
    return {kind: models for kind, models in found.items() if models}


def _chart(settings: Settings, transform: Transform, **parts: Any) -> Chart:
    """A template: the table, its rows numbered and with each model's name; then what is to be done with it."""
    names = json.dumps(model_names(settings), ensure_ascii=False)
    named = {"calculate": f"({names})[datum.model] || datum.model", "as": "name"}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": "<DVC_METRIC_DATA>"},
        "title": "<DVC_METRIC_TITLE>",
        "config": {"title": {"anchor": "start"}},
        "transform": [{"window": [{"op": "row_number", "as": "order"}]}, named, *transform],
        **parts,
    }


def _matrices(settings: Settings) -> Chart:
    raw = "format(toNumber(datum.raw), '.3~r') + ', base model ' + format(toNumber(datum.base_atlantis), '.3~r')"
    prepared = [
        {"calculate": _number("datum.score"), "as": "value"},
        {"calculate": f"datum.value === null ? '' : ' ± ' + {_text('toNumber(datum.standard_error)')}", "as": "spread"},
        {"calculate": raw, "as": "measured"},
        {"calculate": "datum.trained == 'True' ? ' T' : ''", "as": "mark"},
    ]
    rows = [
        (kind, f"datum.matrix != '{DIFFERENCE}' && {_one_of(models)}", SCORE)
        for kind, models in _kinds(settings).items()
    ]
    rows.append(("several tasks minus the better of their single-task models", _is("matrix", DIFFERENCE), SIGNED))
    return _chart(settings, prepared, vconcat=[_heat_maps(*row, "error, or accuracy") for row in rows], **_OWN_COLORS)


def _exact(settings: Settings) -> Chart:
    prepared = [
        {"calculate": "toNumber(datum.exact_match)", "as": "value"},
        {"calculate": "''", "as": "spread"},
        {"calculate": "format(toNumber(datum.mean), '.3~r')", "as": "measured"},
        {"calculate": "''", "as": "mark"},
    ]
    places = (("on ordinary cities", "world"), ("on Atlantis", "atlantis"))
    rows = [_heat_maps(title, _is("population", place), SHARE, "error, or accuracy") for title, place in places]
    return _chart(settings, prepared, vconcat=rows, **_OWN_COLORS)


def _heat_maps(title: str, kept: str, scale: Scale, measured: str) -> Chart:
    """One of ``value`` for each revision; of two revisions, then, the first minus the second."""
    own = [
        {"filter": kept},
        {"calculate": f"{_text('datum.value')} + datum.mark", "as": "label"},
        {"calculate": f"{_text('datum.value')} + datum.spread", "as": "said"},
    ]
    ends = [
        {"op": f"{which}_value", "field": field, "as": f"{which}_{field}"}
        for which in ("first", "last")
        for field in ("rev", "value")
    ]
    each = {"sort": [{"field": "order"}], "groupby": [X, Y], "frame": [None, None]}
    lacking = "datum.first_value === null || datum.last_value === null"
    minus: Transform = [
        {"filter": kept},
        {"joinaggregate": [{"op": "distinct", "field": "rev", "as": "revisions"}]},
        {"filter": "datum.revisions == 2"},
        {"window": [*ends, {"op": "row_number", "as": "turn"}], **each},
        {"filter": "datum.turn == 1 && datum.first_rev != datum.last_rev"},
        {"calculate": f"{lacking} ? null : datum.first_value - datum.last_value", "as": "value"},
        {"calculate": "datum.first_rev + ' minus ' + datum.last_rev + ' (blue: more)'", "as": "rev"},
        {"calculate": f"{_text('datum.value')} + datum.mark", "as": "label"},
        {"calculate": _text("datum.value"), "as": "said"},
        {"calculate": f"{_text('datum.first_value')} + ' and ' + {_text('datum.last_value')}", "as": "measured"},
    ]
    return {
        "title": {"text": title, "fontSize": 12},
        "hconcat": [
            _heat_map(own, scale, scale.label, measured),
            _heat_map(minus, MINUS, MINUS.label, "first and second"),
        ],
        **_OWN_COLORS,
    }


def _heat_map(transform: Transform, scale: Scale, said: str, measured: str) -> Chart:
    in_order = {"field": "order", "op": "min"}
    bar = {"title": scale.label, "orient": "bottom", "gradientLength": 200, "offset": 4}
    legend = None if scale == MINUS else bar  # it would be there without its panel
    shown = f"clamp(datum.value, {scale.low}, {scale.high})"
    color = {
        "condition": {"test": "datum.value === null", "value": "#eeeeee"},
        "field": "shown",
        "type": "quantitative",
        "scale": {"domain": [scale.low, scale.high], "range": [color for color, _ in scale.shades(11)]},
        "legend": legend,
    }
    white = {"condition": {"test": _needs_white(scale), "value": "#ffffff"}, "value": "#010101"}
    return {
        "transform": [*transform, {"calculate": f"datum.value === null ? null : {shown}", "as": "shown"}],
        "facet": {"column": {"field": "rev", "type": "nominal", "sort": None, "title": None}},
        "spec": {
            "width": {"step": 43},
            "height": {"step": 22},
            "encoding": {
                "x": {"field": X, "type": "nominal", "sort": in_order, "axis": {"labelAngle": -40, "title": None}},
                "y": {"field": "name", "type": "nominal", "sort": in_order, "axis": {"title": None, "labelLimit": 260}},
                "tooltip": _tooltip(name="trained on", **{X: "evaluated on"}, said=said, measured=measured),
            },
            "layer": [
                {"mark": "rect", "encoding": {"color": color}},
                {
                    "mark": {"type": "text", "fontSize": 10},
                    "encoding": {"text": {"field": "label", "type": "nominal"}, "color": white},
                },
            ],
        },
    }


def _training(settings: Settings) -> Chart:
    prepared = [
        {"calculate": f"toNumber(datum['{X}'])", "as": "across"},
        {"calculate": f"toNumber(datum['{Y}'])", "as": "up"},
        {"calculate": "format(datum.across, ',')", "as": "said"},
        {"calculate": "format(datum.up, '.3f')", "as": "measured"},
    ]
    kinds = {"pre-training": ["base"], **_kinds(settings)}
    return _chart(
        settings,
        prepared,
        concat=[_curves(kind, models) for kind, models in kinds.items()],
        columns=2,
        resolve={"scale": {"color": "independent", "strokeDash": "shared"}},
    )


def _curves(title: str, models: list[str]) -> Chart:
    """Curves of some models; to point at one means to point near one of its points."""
    tooltip = _tooltip(name="trained on", rev="revision", said="<DVC_METRIC_X_LABEL>", measured="<DVC_METRIC_Y_LABEL>")
    across: dict[str, Any] = {"field": "across", "type": "quantitative", "scale": {"type": "log", "nice": False}}
    up: dict[str, Any] = {"field": "up", "type": "quantitative", "scale": {"zero": False}}
    legend = {"title": None, "labelLimit": 260}
    dash = {"field": "rev", "type": "nominal", "sort": None, "legend": {"title": None, "orient": "bottom"}}
    color = {"field": "name", "type": "nominal", "sort": {"field": "order", "op": "min"}, "legend": legend}
    return {
        "title": {"text": title, "fontSize": 12},
        "transform": [{"filter": _one_of(models)}],
        "width": 340,
        "height": 260,
        "encoding": {
            "x": across | {"axis": {"title": "<DVC_METRIC_X_LABEL>", "format": "~s"}},
            "y": up | {"axis": {"title": "<DVC_METRIC_Y_LABEL>"}},
            "color": color | {"scale": {"range": list(_LINES)}},
        },
        "layer": [
            {"mark": "line", "encoding": {"strokeDash": dash}},
            {"mark": {"type": "point", "size": 80, "opacity": 0}, "encoding": {"tooltip": tooltip}},
        ],
    }


def _representations(settings: Settings) -> Chart:
    """Every model's last map but one, from the prompts of all tasks."""
    prepared: Transform = [
        {"filter": "datum.prompt == 'all'"},
        {"calculate": "toNumber(datum.layer)", "as": "depth"},
        {"calculate": "toNumber(datum.step)", "as": "at"},
        {
            "joinaggregate": [
                {"op": "max", "field": "depth", "as": "layers"},
                {"op": "max", "field": "at", "as": "end"},
            ],
            "groupby": ["rev", Y],
        },
        {"filter": "datum.depth == max(1, datum.layers - 1) && datum.at == datum.end"},
        {"calculate": f"toNumber(datum['{X}'])", "as": "shown"},
        {"calculate": "format(datum.shown, '.1f')", "as": "said"},
        {"calculate": "format(toNumber(datum.atlantis_guess_error), '.1f')", "as": "measured"},
    ]
    tooltip = _tooltip(name="trained on", rev="revision", said="units off", measured="units off, best guess")
    return _chart(
        settings,
        prepared,
        width=420,
        height={"step": 16},
        mark={"type": "point", "filled": True, "size": 60},
        encoding={
            "x": {"field": "shown", "type": "quantitative", "title": "<DVC_METRIC_X_LABEL>"},
            "y": {
                "field": "name",
                "type": "nominal",
                "sort": {"field": "order", "op": "min"},
                "axis": {"title": None, "grid": True, "labelLimit": 260},
            },
            "color": {"field": "rev", "type": "nominal", "sort": None, "title": None, "scale": {"range": list(_LINES)}},
            "shape": {"field": "rev", "type": "nominal", "sort": None, "title": None},
            "tooltip": tooltip,
        },
    )


def _one_of(models: list[str]) -> str:
    return f"indexof({json.dumps(models)}, datum.model) >= 0"


def _is(column: str, value: str) -> str:
    return f"datum.{column} == '{value}'"


def _number(field: str) -> str:
    """A field of a CSV table as a number; null where it is empty."""
    return f"{field} === '' || {field} === null ? null : toNumber({field})"


def _text(value: str) -> str:
    """A number with two decimals, or that it is not measurable."""
    return f"({value} === null ? 'n.m.' : format({value}, '.2f'))"


def _tooltip(**titles: str) -> list[dict[str, str]]:
    return [{"field": field, "type": "nominal", "title": title} for field, title in titles.items()]


def _needs_white(scale: Scale) -> str:
    """Where white has more contrast than black (WCAG): the test of a cell, from the colours of ``scale``."""
    values = np.linspace(scale.low, scale.high, 401)
    is_white = np.array([ink_on(scale.color(value)) == "#ffffff" for value in values])
    edges = np.flatnonzero(np.diff(np.r_[False, is_white, False].astype(int)))
    return " || ".join(
        f"(datum.value !== null && datum.shown >= {values[start]:.4g} && datum.shown <= {values[end - 1]:.4g})"
        for start, end in edges.reshape(-1, 2)
    )
