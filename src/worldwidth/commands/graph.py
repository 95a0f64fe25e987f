"""`worldwidth graph`: the pipeline for people, a box for each group of stages, as Mermaid text or as SVG."""

from collections.abc import Iterator
from pathlib import Path

from worldwidth.commands.graph_svg import svg_of
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.dvcio.lockfile import stages_of_yaml
from worldwidth.pipeline.graph import StageGraph, stage_graph
from worldwidth.pipeline.render import check_rendered
from worldwidth.pipeline.stages import KINDS, Kind, row_of
from worldwidth.settings.schema import Settings

COLORS = dict(zip(KINDS, ("#dbe9f6", "#fde3c8", "#ece1f2", "#d7efdf", "#eeeeee"), strict=True))
"""Kind of a job -> the colour of its stages."""


def print_graph(settings: Settings, svg: Path | None, every: bool) -> None:
    """Print the graph of dvc.yaml as Mermaid text, or write it as SVG.

    Args:
        svg: the file to write.
        every: draw edges that a longer way implies, too.

    Raises:
        WorldwidthError: dvc.yaml is not the rendering of params.yaml, or the file's name says another format.
    """
    check_rendered(settings)
    if svg and svg.suffix != ".svg":
        raise WorldwidthError(f"--svg: found '{svg}'; its name must end with .svg")
    graph = stage_graph(stages_of_yaml())
    edges = list(graph.edges) if every else graph.essential()
    if svg:
        write_text(svg, svg_of(graph, edges, {name: COLORS[kind] for name, kind in _kinds(graph).items()}))
        print(f"written: {svg}")
    else:
        print("\n".join(mermaid_of(graph, edges)))


def mermaid_of(graph: StageGraph, edges: list[tuple[str, str]]) -> Iterator[str]:
    """The lines of a flow chart."""
    yield "flowchart TD"
    for name in graph.groups:
        yield f'    {name}["{graph.title(name)}"]'
    for writer, reader in edges:
        yield f"    {writer} --> {reader}"
    kinds = _kinds(graph)
    for kind, color in COLORS.items():
        if members := [name for name in graph.groups if kinds[name] == kind]:
            yield f"    classDef {kind} fill:{color},stroke:#555555,color:#1a1a1a"
            yield f"    class {','.join(members)} {kind}"


def _kinds(graph: StageGraph) -> dict[str, Kind]:
    return {name: row_of(name).kind for name in graph.groups}
