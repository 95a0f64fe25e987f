"""`worldwidth graph`: every stage of dvc.yaml in one box, every edge there. `pytest tests/test_graph.py`."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import combinations
from pathlib import Path

import pytest
from dvc.repo import Repo

from worldwidth.commands.graph import mermaid_of, print_graph
from worldwidth.commands.graph_svg import layers_of
from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.lockfile import stages_of_yaml
from worldwidth.dvcio.repo import needs_of
from worldwidth.pipeline.graph import StageGraph, group_of, stage_graph
from worldwidth.pipeline.stages import stage_names
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> StageGraph:
    monkeypatch.chdir(ROOT)
    return stage_graph(stages_of_yaml())


def test_every_stage_is_in_exactly_one_box(graph: StageGraph, settings: Settings) -> None:
    members = [stage for stages in graph.groups.values() for stage in stages]
    assert sorted(members) == sorted(stage_names(settings))


@pytest.mark.filterwarnings("ignore")  # DVC's own dependencies warn
def test_the_edges_are_those_of_dvc(graph: StageGraph) -> None:
    with Repo() as repo:
        needs = needs_of(repo)
    folded = {(group_of(need), group_of(stage)) for stage, of_stage in needs.items() for need in of_stage}
    assert set(graph.edges) == {edge for edge in folded if edge[0] != edge[1]}


def reached(edges: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs between which there is a way."""
    found = set(edges)
    while more := {(a, d) for a, b in found for c, d in edges if b == c} - found:
        found |= more
    return found


def test_what_is_left_out_a_longer_way_implies(graph: StageGraph) -> None:
    essential = graph.essential()
    assert set(essential) < set(graph.edges)
    assert reached(essential) == reached(list(graph.edges))
    for edge in essential:
        assert edge not in reached([other for other in essential if other != edge])


@pytest.mark.parametrize("every", [False, True])
def test_mermaid_has_a_box_a_group_and_an_arrow_an_edge(
    every: bool, graph: StageGraph, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    print_graph(settings, None, every)
    printed = capsys.readouterr().out
    edges = list(graph.edges) if every else graph.essential()
    assert printed.splitlines() == list(mermaid_of(graph, edges))
    assert printed.startswith("flowchart TD\n")
    assert set(re.findall(r"(?m)^    (\w+)\[", printed)) == graph.groups.keys()
    assert re.findall(r"(?m)^    (\w+) --> (\w+)$", printed) == edges
    assert '    ftwb1["ftwb1 \N{MULTIPLICATION SIGN} 7"]\n' in printed
    classes = [name for names in re.findall(r"(?m)^    class (\S+) ", printed) for name in names.split(",")]
    assert sorted(classes) == sorted(graph.groups)


@pytest.mark.parametrize("every", [False, True])
def test_svg_draws_all_of_it_and_no_box_over_another(
    every: bool, graph: StageGraph, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "graph.svg"
    print_graph(settings, path, every)
    edges = list(graph.edges) if every else graph.essential()
    drawing = ElementTree.parse(path).getroot()
    titles = [found.text for found in drawing.iter(f"{SVG}title")]
    assert titles[: len(edges)] == [f"{writer} to {reader}" for writer, reader in edges]
    assert titles[len(edges) :] == [", ".join(stages) for stages in graph.groups.values()]
    boxes = [(float(box.attrib["x"]), float(box.attrib["y"])) for box in drawing.iterfind(f"{SVG}g/{SVG}rect")]
    assert len(boxes) == len(graph.groups)
    for (x, y), (other_x, other_y) in combinations(boxes, 2):
        assert abs(x - other_x) >= 124 or abs(y - other_y) >= 34
    width, height = (float(drawing.attrib[name]) for name in ("width", "height"))
    assert all(0 <= x <= width - 124 and 0 <= y <= height - 34 for x, y in boxes)


def test_a_box_stands_below_all_that_it_reads_from(graph: StageGraph) -> None:
    layers = layers_of(list(graph.groups), graph.edges)
    assert all(layers[writer] < layers[reader] for writer, reader in graph.edges)


def test_another_format_is_refused(graph: StageGraph, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(WorldwidthError, match=r"^--svg: found '.*graph.png'; its name must end with .svg$"):
        print_graph(settings, tmp_path / "graph.png", every=False)
    assert list(tmp_path.iterdir()) == []
