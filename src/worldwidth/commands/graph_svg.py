"""A small layered drawing of a graph as SVG: boxes in layers, each below all that it reads from.

As Sugiyama, Tagawa and Toda have it (1981): layers by the longest way, points on the way of long edges, and a few
sweeps that bring each box near the middle of its neighbours.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from xml.sax.saxutils import escape

from worldwidth.pipeline.graph import StageGraph

Edge = tuple[str, str]

_BOX, _HEIGHT, _GAP, _STEP, _EDGE = 124, 34, 18, 74, 16
"""Width and height of a box, space between two, between two layers' tops, and around all, in pixels."""
_POINT = 24  # width of the place that a long edge has in a layer
_SWEEPS = 8


def svg_of(graph: StageGraph, edges: Sequence[Edge], colors: Mapping[str, str]) -> str:
    """The drawing; every edge as a curve from the writer down to the reader."""
    layers = layers_of(list(graph.groups), edges)
    ways = {edge: _way(edge, layers) for edge in edges}
    rows = _rows(layers, ways)
    middles = _middles(rows, ways)
    width = max(middles[row[-1]] + _width(row[-1]) / 2 for row in rows) + _EDGE
    height = 2 * _EDGE + _STEP * (len(rows) - 1) + _HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="13">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555555"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
    ]
    for (writer, reader), way in ways.items():
        curve = _curve(way, middles, layers[writer])
        lines.append(
            f'<path d="{curve}" fill="none" stroke="#555555" marker-end="url(#head)"><title>{escape(writer)} to '
            f"{escape(reader)}</title></path>"
        )
    for name in graph.groups:
        x, y = middles[name], _EDGE + _STEP * layers[name]
        members = escape(", ".join(graph.groups[name]))
        lines.append(
            f'<g><title>{members}</title><rect x="{x - _BOX / 2:.1f}" y="{y}" width="{_BOX}" height="{_HEIGHT}" rx="5" '
            f'fill="{colors[name]}" stroke="#555555"/><text x="{x:.1f}" y="{y + _HEIGHT / 2 + 4.5}" '
            f'text-anchor="middle" fill="#1a1a1a">{escape(graph.title(name))}</text></g>'
        )
    return "\n".join([*lines, "</svg>", ""])


def layers_of(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """Name -> its layer, below those of all that it reads from; ``names`` come after what they read from."""
    layers: dict[str, int] = {}
    for name in names:
        layers[name] = max((layers[writer] + 1 for writer, reader in edges if reader == name), default=0)
    return layers


def _way(edge: Edge, layers: Mapping[str, int]) -> list[str]:
    """The writer, a point in each layer on the way, and the reader."""
    writer, reader = edge
    return [writer, *(f"{writer} {reader} {layer}" for layer in range(layers[writer] + 1, layers[reader])), reader]


def _rows(layers: Mapping[str, int], ways: Mapping[Edge, list[str]]) -> list[list[str]]:
    """What stands in each layer, from left to right, so that few edges cross."""
    rows: list[list[str]] = [[] for _ in range(max(layers.values()) + 1)]
    for name, layer in layers.items():
        rows[layer].append(name)
    for (writer, _), way in ways.items():
        for offset, point in enumerate(way[1:-1], 1):
            rows[layers[writer] + offset].append(point)
    near = _neighbours(ways)
    for sweep in range(_SWEEPS):
        place = {name: (i + 0.5) / len(row) for row in rows for i, name in enumerate(row)}
        for row in rows if sweep % 2 == 0 else reversed(rows):
            row.sort(key=lambda name: fmean([place[other] for other in near.get(name, ())] or [place[name]]))
            place |= {name: (i + 0.5) / len(row) for i, name in enumerate(row)}
    return rows


def _neighbours(ways: Mapping[Edge, list[str]]) -> dict[str, list[str]]:
    near: dict[str, list[str]] = {}
    for way in ways.values():
        for above, below in pairwise(way):
            near.setdefault(above, []).append(below)
            near.setdefault(below, []).append(above)
    return near


def _middles(rows: Sequence[Sequence[str]], ways: Mapping[Edge, list[str]]) -> dict[str, float]:
    """Name -> where its middle is from the left, in pixels: near its neighbours', and none over another."""
    middles: dict[str, float] = {}
    for row in rows:
        at = -sum(_width(name) + _GAP for name in row) / 2
        for name in row:
            middles[name] = at + _width(name) / 2
            at += _width(name) + _GAP
    near = _neighbours(ways)
    for sweep in range(_SWEEPS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wanted = [fmean([middles[other] for other in near.get(name, [name])]) for name in row]
            middles |= dict(zip(row, _apart(row, wanted), strict=True))
    left = min(middles[row[0]] - _width(row[0]) / 2 for row in rows)
    return {name: middle - left + _EDGE for name, middle in middles.items()}


def _apart(row: Sequence[str], wanted: Sequence[float]) -> list[float]:
    """Places as near as can be to the wanted ones, in the row's order, with the gap between neighbours."""
    offsets = [0.0]
    for one, other in pairwise(row):
        offsets.append(offsets[-1] + (_width(one) + _width(other)) / 2 + _GAP)
    blocks: list[list[float]] = []  # of differences between wanted and offset, which must not fall: pool what does
    for want, offset in zip(wanted, offsets, strict=True):
        blocks.append([want - offset])
        while len(blocks) > 1 and fmean(blocks[-2]) > fmean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    shifts = [fmean(block) for block in blocks for _ in block]
    return [offset + shift for offset, shift in zip(offsets, shifts, strict=True)]


def _width(name: str) -> float:
    return _POINT if " " in name else _BOX


def _curve(way: Sequence[str], middles: Mapping[str, float], first: int) -> str:
    """An SVG path from the bottom of the first box through the points to the top of the last."""
    top = _EDGE + _STEP * first
    x, y = middles[way[0]], top + _HEIGHT
    path = f"M{x:.1f} {y}"
    for offset, name in enumerate(way[1:], 1):
        below = top + _STEP * offset
        half = (y + below) / 2
        x, x_before = middles[name], x
        path += f"C{x_before:.1f} {half} {x:.1f} {half} {x:.1f} {below}"
        y = below
        if name != way[-1]:
            y += _HEIGHT
            path += f"L{x:.1f} {y}"
    return path
