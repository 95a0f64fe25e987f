"""What the tests of tasks, queries and corpora share: a small study to draw, and which queries count as the same."""

from collections.abc import Callable
from dataclasses import replace

from params_file import PARAMS
from worldwidth.data.cities import City
from worldwidth.data.corpus import POPULATIONS
from worldwidth.data.corpus import Lines as EncodedLines
from worldwidth.data.make_corpus import generate
from worldwidth.data.queries import Queries
from worldwidth.settings.load import load
from worldwidth.settings.schema import Corpus, Lines, Scale

NAMES = ("distance", "trianglearea", "angle", "compass", "inside", "perimeter", "crossing")
SYMMETRIES: dict[str, Callable[[tuple[int, ...]], frozenset[object] | tuple[object, ...]]] = {
    # a query -> what it has in common with those that ask the same; written again here, from the specification
    "distance": frozenset,
    "compass": frozenset,
    "trianglearea": frozenset,
    "angle": lambda c: (frozenset((c[0], c[2])), c[1]),
    "inside": lambda c: (c[0], frozenset(c[1:])),
    "perimeter": lambda c: frozenset(frozenset((c[i], c[i - 1])) for i in range(len(c))),  # the legs of the tour
    "crossing": lambda c: frozenset((frozenset(c[:2]), frozenset(c[2:]))),
}


def rows(queries: Queries) -> list[tuple[int, ...]]:
    return [tuple(city for city in row if city >= 0) for row in queries.cities.tolist()]


def lines(train: int, validation: int, test: int) -> Corpus:
    both = Lines(train=train, validation=validation, test=test)
    return Corpus(world=both, atlantis=both, hull_cities=(3, 5), tour_cities=(2, 5))


def small_scale() -> Scale:
    """96 real cities and 24 of Atlantis, characters, queries of every size."""
    laptop = load(PARAMS).scales["laptop"]
    world = replace(laptop.world, cities=96, id_digits=3, units_per_degree=1, seed=42)
    world = replace(world, atlantis=replace(world.atlantis, cities=24))
    model = replace(laptop.model, tokens="characters")
    return replace(laptop, world=world, model=model, corpus=lines(train=1_500, validation=62, test=500))


def both_populations(scale: Scale, name: str, cities: list[City]) -> dict[str, tuple[Queries, EncodedLines]]:
    """All splits of a task: ``"world-train"`` -> (queries, lines)."""
    return {
        f"{population}-{split}": drawn
        for population in POPULATIONS
        for split, drawn in generate(scale, name, population, cities).items()
    }
