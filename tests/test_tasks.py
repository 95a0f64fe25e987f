"""The seven tasks: worked examples, answers against independent references, symmetries.

    pytest tests/test_tasks.py

References share no code with the tasks: shapely decides inside and crossing, whole numbers and
fractions the rest (no float64 where a comparison decides). Queries come from the project's own
drawing (10,000 per task and population) and from tiny grids full of coincidences.
"""

import itertools
import math
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import shapely

from drawn import NAMES, SYMMETRIES
from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City, first_atlantis, points
from worldwidth.data.corpus import POPULATIONS
from worldwidth.data.make_cities import make_cities
from worldwidth.data.queries import draw_splits, query_keys
from worldwidth.settings.load import load
from worldwidth.settings.schema import Corpus, Lines
from worldwidth.tasks import Integers, available, load_task

PARAMS = Path(__file__).parents[1] / "params.yaml"
SIZES = {
    "distance": (2,),
    "trianglearea": (3,),
    "angle": (3,),
    "compass": (2,),
    "inside": (4, 5, 6),
    "perimeter": (2, 3, 4, 5),
    "crossing": (4,),
}
P, Q, R, S, T = (0, 0), (30, 40), (100, 0), (0, 100), (50, -50)
Point = tuple[int, int]


def answers(name: str, queries: Integers) -> list[str]:
    """The task's printed answers to queries given as points (n, k, 2)."""
    task = load_task(name)
    values = task.answer(queries).tolist()
    return [task.labels[value] if task.labels else str(value) for value in values]


def distance_reference(query: list[Point]) -> str:
    (ax, ay), (bx, by) = query
    squared = (bx - ax) ** 2 + (by - ay) ** 2
    # r <= sqrt(n) + 1/2 < r + 1; a root of a whole number is never half-way between two whole numbers.
    return str((math.isqrt(4 * squared) + 1) // 2)


def trianglearea_reference(query: list[Point]) -> str:
    shoelace = sum(ax * by - bx * ay for (ax, ay), (bx, by) in itertools.pairwise([*query, query[0]]))
    return str(round(abs(Fraction(shoelace, 2))))  # Python rounds a Fraction half to even


def angle_reference(query: list[Point]) -> str:
    """The difference of two headings; checked to 1e-9 of a degree to be far from a rounding border."""
    (ax, ay), (bx, by), (cx, cy) = query
    if (ax, ay) == (bx, by) or (cx, cy) == (bx, by):
        return "0"
    turn = abs(math.degrees(math.atan2(ay - by, ax - bx) - math.atan2(cy - by, cx - bx)))
    degrees = min(turn, 360 - turn)
    assert abs(degrees % 1 - 0.5) > 1e-9, "the reference itself cannot decide this one"
    return str(math.floor(degrees + 0.5))


def compass_reference(query: list[Point]) -> str:
    """By whole numbers: within 22.5 degrees of an axis iff (|dx| + |dy|)^2 < 2 * (the longer side)^2."""
    (ax, ay), (bx, by) = query
    dx, dy = bx - ax, by - ay
    if dx == dy == 0:
        return "N"
    total = (abs(dx) + abs(dy)) ** 2
    vertical = "" if total < 2 * dx * dx else "N" if dy > 0 else "S"
    horizontal = "" if total < 2 * dy * dy else "E" if dx > 0 else "W"
    return vertical + horizontal


def perimeter_reference(query: list[Point]) -> str:
    stops = query if len(query) == 2 else [*query, query[0]]
    with localcontext() as context:
        context.prec = 40
        legs = [Decimal((bx - ax) ** 2 + (by - ay) ** 2).sqrt() for (ax, ay), (bx, by) in itertools.pairwise(stops)]
        return str(sum(legs, Decimal(0)).quantize(Decimal(1), ROUND_HALF_EVEN))


def inside_reference(queries: Integers) -> list[str]:
    hulls = shapely.convex_hull(shapely.multipoints(queries[:, 1:].astype(float)))
    meets = shapely.intersects(hulls, shapely.points(queries[:, 0].astype(float)))
    return ["TRUE" if m and a > 0 else "FALSE" for m, a in zip(meets, shapely.area(hulls), strict=True)]


def crossing_reference(queries: Integers) -> list[str]:
    def segments(ends: Integers) -> np.ndarray:
        point = (ends[:, 0] == ends[:, 1]).all(axis=1)  # two cities in one place: a point, which GEOS wants as such
        coordinates = ends.astype(float)
        found: np.ndarray = np.where(point, shapely.points(coordinates[:, 0]), shapely.linestrings(coordinates))
        return found

    meets = shapely.intersects(segments(queries[:, :2]), segments(queries[:, 2:]))
    return ["TRUE" if met else "FALSE" for met in meets]


def each(reference: Callable[[list[Point]], str]) -> Callable[[Integers], list[str]]:
    return lambda queries: [reference([(x, y) for x, y in query]) for query in queries.tolist()]


REFERENCES: dict[str, Callable[[Integers], list[str]]] = {
    "distance": each(distance_reference),
    "trianglearea": each(trianglearea_reference),
    "angle": each(angle_reference),
    "compass": each(compass_reference),
    "inside": inside_reference,
    "perimeter": each(perimeter_reference),
    "crossing": crossing_reference,
}


def assert_agrees(name: str, queries: Integers) -> None:
    got, expected = answers(name, queries), REFERENCES[name](queries)
    wrong = [(q.tolist(), g, e) for q, g, e in zip(queries, got, expected, strict=True) if g != e]
    assert not wrong, f"{name}: {len(wrong)} of {len(got)} differ; points, answer, reference: {wrong[:3]}"


@pytest.fixture(scope="module")
def published_cities() -> list[City]:
    return make_cities(load(PARAMS).scales["paper"].world)


@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [
        ("distance", [P, Q], "50"),
        ("perimeter", [P, Q], "50"),
        ("perimeter", [P, Q, R], "231"),
        ("trianglearea", [P, Q, R], "2000"),
        ("trianglearea", [(0, 0), (5, 0), (0, 1)], "2"),  # 2.5
        ("trianglearea", [(0, 0), (7, 0), (0, 1)], "4"),  # 3.5
        ("trianglearea", [(0, 0), (0, 1), (1, 0)], "0"),  # 0.5
        ("trianglearea", [(0, 0), (1, 1), (2, 2)], "0"),
        ("angle", [R, P, S], "90"),
        ("angle", [P, Q, R], "97"),
        ("angle", [P, R, (200, 0)], "180"),
        ("angle", [R, P, (200, 0)], "0"),
        ("angle", [P, P, R], "0"),
        ("angle", [R, P, P], "0"),
        ("angle", [P, P, P], "0"),
        ("compass", [P, R], "E"),
        ("compass", [P, S], "N"),
        ("compass", [P, T], "SE"),
        ("compass", [R, P], "W"),
        ("compass", [S, P], "S"),
        ("compass", [P, (7, 7)], "NE"),
        ("compass", [P, (-7, 7)], "NW"),
        ("compass", [P, (-7, -7)], "SW"),
        ("compass", [P, (1000, 414)], "E"),  # tan 22.5 degrees = 0.41421...
        ("compass", [P, (1000, 415)], "NE"),
        ("compass", [P, (1000, -414)], "E"),
        ("compass", [P, (1000, -415)], "SE"),
        ("compass", [P, P], "N"),
        ("inside", [Q, P, R, S], "TRUE"),
        ("inside", [(50, 50), P, R, S], "TRUE"),  # on the edge RS
        ("inside", [(51, 50), P, R, S], "FALSE"),
        ("inside", [P, P, R, S], "TRUE"),  # on a corner
        ("inside", [(50, 0), P, R, (200, 0)], "FALSE"),  # a hull without area
        ("inside", [P, P, P, P], "FALSE"),
        ("crossing", [P, (100, 100), R, S], "TRUE"),
        ("crossing", [P, R, S, (100, 100)], "FALSE"),  # parallel
        ("crossing", [P, R, R, S], "TRUE"),  # a shared end
        ("crossing", [P, R, (50, 0), S], "TRUE"),  # a touching end
        ("crossing", [P, R, (50, 0), (200, 0)], "TRUE"),  # collinear, overlapping
        ("crossing", [P, R, (101, 0), (200, 0)], "FALSE"),  # collinear, apart
        ("crossing", [P, P, P, R], "TRUE"),  # a point on a segment
        ("crossing", [P, P, (0, 1), R], "FALSE"),
    ],
)
def test_worked_examples(name: str, query: list[Point], expected: str) -> None:
    assert answers(name, np.array([query])) == [expected]


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_ten_thousand_drawn_queries_agree_with_the_reference(
    name: str, population: str, published_cities: list[City]
) -> None:
    lines = Lines(train=20, validation=20, test=10_000)
    corpus = Corpus(world=lines, atlantis=lines, hull_cities=(3, 5), tour_cities=(2, 5))
    table, first = points(published_cities), first_atlantis(published_cities)
    queries = draw_splits(name, load_task(name), corpus, population, table, first, seed=7)["test"]
    sizes = (queries.cities >= 0).sum(axis=1)
    assert len(queries.cities) == 10_000
    assert set(sizes.tolist()) == set(SIZES[name])
    for size in SIZES[name]:
        places = table[queries.cities[sizes == size, :size]]
        assert_agrees(name, places)
        assert (load_task(name).answer(places) == queries.answers[sizes == size]).all()


@pytest.mark.parametrize("name", NAMES)
def test_tiny_grids_full_of_coincidences_agree_with_the_reference(name: str) -> None:
    rng = np.random.default_rng(1)
    for span, size in itertools.product((2, 3, 5, 9), SIZES[name]):
        assert_agrees(name, rng.integers(span, size=(2_000, size, 2)) - span // 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_largest_plane_does_not_overflow(name: str) -> None:
    rng = np.random.default_rng(2)  # units_per_degree 100: x to 18,000, y to 9,000
    for size in SIZES[name]:
        corners = rng.integers(-1, 2, size=(1_000, size, 2)) * np.array([17_999, 8_999])
        assert_agrees(name, corners + rng.integers(-1, 2, size=corners.shape))


def test_hulls_of_many_cities_agree_with_the_reference() -> None:
    rng = np.random.default_rng(3)
    for hull in range(6, 13):
        assert_agrees("inside", rng.integers(9, size=(500, 1 + hull, 2)))


@pytest.mark.parametrize("name", NAMES)
def test_canonical_form_and_key_are_equal_exactly_under_the_symmetries_of_the_task(name: str) -> None:
    task = load_task(name)
    rng = np.random.default_rng(4)
    for size in SIZES[name]:
        for _ in range(3):
            row = rng.choice(5_175, size=size, replace=False)
            orders = np.array([row[list(order)] for order in itertools.permutations(range(size))])
            given = orders.copy()
            forms = [tuple(form) for form in task.canonical(orders).tolist()]
            keys = query_keys(task, orders).tolist()
            assert (orders == given).all(), "canonical changed its argument"
            assert all(sorted(form) == sorted(row.tolist()) for form in forms)
            classes = [SYMMETRIES[name](tuple(order)) for order in orders.tolist()]
            number = len(set(classes))
            assert len(set(forms)) == len(set(keys)) == len(set(zip(classes, forms, keys, strict=True))) == number


@pytest.mark.parametrize("name", [name for name in NAMES if name != "compass"])
def test_queries_of_one_class_have_one_answer(name: str) -> None:
    task = load_task(name)
    rng = np.random.default_rng(5)
    for size in SIZES[name]:
        places = rng.integers(-5, 6, size=(300, size, 2))
        seen: dict[tuple[int, object], int] = {}
        for order in itertools.permutations(range(size)):
            for i, answer in enumerate(task.answer(places[:, list(order)]).tolist()):
                assert seen.setdefault((i, SYMMETRIES[name](order)), answer) == answer, (places[i].tolist(), order)


def test_keys_of_different_classes_differ() -> None:
    pairs = np.array(list(itertools.combinations(range(700), 2)))
    keys = query_keys(load_task("distance"), pairs)
    assert len(np.unique(keys)) == len(pairs)
    tour = load_task("perimeter")
    assert query_keys(tour, np.array([[0, 1]])) != query_keys(tour, np.array([[0, 1, 2]]))


@pytest.mark.parametrize(
    ("name", "count", "text"),
    [
        ("distance", 2, "dist(@,@)="),
        ("trianglearea", 3, "triarea(@,@,@)="),
        ("angle", 3, "angle(@,@,@)="),
        ("compass", 2, "compass(@,@)="),
        ("inside", 4, "inside(@;@,@,@)="),
        ("inside", 6, "inside(@;@,@,@,@,@)="),
        ("perimeter", 2, "perimeter(@,@)="),
        ("perimeter", 5, "perimeter(@,@,@,@,@)="),
        ("crossing", 4, "cross(@,@;@,@)="),
    ],
)
def test_expressions(name: str, count: int, text: str) -> None:
    assert "@".join(load_task(name).pieces(count)) == text


def test_failure_values_and_decoding_limits_are_the_published_ones() -> None:
    failures = {"distance": 4_024.92, "trianglearea": 3_240_000, "angle": 180, "perimeter": 20_000}
    for name in NAMES:
        task = load_task(name)
        assert bool(task.labels) == (name not in failures)
        if not task.labels:
            assert task.failure(units_per_degree=10) == pytest.approx(failures[name], rel=1e-12)
        assert task.max_new_tokens == (30 if name in ("trianglearea", "angle", "perimeter") else 20)
    assert load_task("angle").failure(1) == load_task("angle").failure(100) == 180


def test_the_seven_tasks_are_available_and_an_unknown_one_is_named() -> None:
    assert available() == sorted(NAMES)
    assert load(PARAMS).tasks == NAMES
    assert [name for name in NAMES if load_task(name).balanced] == ["inside", "crossing"]
    with pytest.raises(WorldwidthError, match=r"distanse.*did you mean 'distance'\?$"):
        load_task("distanse")
