"""Drawing the queries: disjoint splits, exact balances, populations, streams, small spaces.

pytest tests/test_queries.py
"""

import itertools
from collections import Counter
from dataclasses import replace
from math import comb

import numpy as np
import pytest

from drawn import NAMES, SYMMETRIES, both_populations, lines, rows, small_scale
from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City, first_atlantis
from worldwidth.data.corpus import POPULATIONS, SPLITS
from worldwidth.data.corpus import Lines as EncodedLines
from worldwidth.data.hash_set import KeySet, first_of_equal
from worldwidth.data.make_cities import make_cities
from worldwidth.data.queries import Queries, draw_splits
from worldwidth.settings.schema import Corpus, Scale
from worldwidth.tasks import load_task

Corpora = dict[str, dict[str, tuple[Queries, EncodedLines]]]


def classes(name: str, queries: Queries) -> list[object]:
    return [SYMMETRIES[name](row) for row in rows(queries)]


def draw(name: str, corpus: Corpus, cities: int, population: str = "world", seed: int = 1) -> dict[str, Queries]:
    """Draw on ``cities`` invented real cities and 5 of Atlantis."""
    places = np.random.default_rng(0).integers(-180, 181, size=(cities + 5, 2))
    return draw_splits(name, load_task(name), corpus, population, places, cities, seed)


@pytest.fixture(scope="module")
def scale() -> Scale:
    return small_scale()


@pytest.fixture(scope="module")
def cities(scale: Scale) -> list[City]:
    return make_cities(scale.world)


@pytest.fixture(scope="module")
def corpora(scale: Scale, cities: list[City]) -> Corpora:
    return {name: both_populations(scale, name, cities) for name in NAMES}


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_splits_are_whole_and_share_no_class(name: str, population: str, corpora: Corpora) -> None:
    drawn = {split: classes(name, corpora[name][f"{population}-{split}"][0]) for split in SPLITS}
    assert {split: len(found) for split, found in drawn.items()} == {"train": 1_500, "validation": 62, "test": 500}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not set(drawn[one]) & set(drawn[other]), f"{one} and {other} share queries"
    for split in SPLITS:  # here every space is large enough, for training too
        assert len(set(drawn[split])) == len(drawn[split]), f"{split} repeats a query"


@pytest.mark.parametrize("name", NAMES)
def test_populations_and_distinct_cities(name: str, corpora: Corpora, cities: list[City]) -> None:
    first = first_atlantis(cities)
    for split in SPLITS:
        world, atlantis = (rows(corpora[name][f"{population}-{split}"][0]) for population in POPULATIONS)
        assert all(0 <= city < first for row in world for city in row)
        assert all(max(row) < len(cities) for row in atlantis)
        assert all(any(city >= first for city in row) for row in atlantis)
        assert all(len(set(row)) == len(row) for row in world + atlantis)
    known = {city for split in SPLITS for row in rows(corpora[name][f"world-{split}"][0]) for city in row}
    assert known == set(range(first))


@pytest.mark.parametrize("name", NAMES)
def test_atlantis_takes_every_slot_equally_often(name: str, corpora: Corpora, cities: list[City]) -> None:
    first = first_atlantis(cities)
    found = [row for split in SPLITS for row in rows(corpora[name][f"atlantis-{split}"][0])]
    size = max(map(len, found))
    share = (np.array([row for row in found if len(row) == size]) >= first).mean(axis=0)
    expected = 1 / size + (1 - 1 / size) * 24 / 120  # the chosen slot, and 24 of 120 in the others
    assert (np.abs(share - expected) < 0.1).all(), share


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("name", ["inside", "crossing"])
def test_labels_are_balanced_exactly_within_each_size(name: str, population: str, corpora: Corpora) -> None:
    for split in SPLITS:
        queries, _ = corpora[name][f"{population}-{split}"]
        counts = Counter(zip(map(len, rows(queries)), queries.answers.tolist(), strict=True))
        sizes = {size for size, _ in counts}
        assert sizes == ({4, 5, 6} if name == "inside" else {4})
        assert all(counts[size, 0] == counts[size, 1] for size in sizes)
        of_one_label = [counts[size, 0] for size in sizes]
        assert max(of_one_label) - min(of_one_label) <= 1


@pytest.mark.parametrize("population", POPULATIONS)
def test_perimeter_sizes_are_even(population: str, corpora: Corpora) -> None:
    for split in SPLITS:
        counts = Counter(map(len, rows(corpora["perimeter"][f"{population}-{split}"][0])))
        assert set(counts) == {2, 3, 4, 5}
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("name", ["inside", "crossing"])
def test_an_odd_number_of_lines_is_one_line_off_balance_at_most(name: str) -> None:
    for split, queries in draw(name, lines(train=101, validation=9, test=51), cities=40).items():
        counts = Counter(queries.answers.tolist())
        assert abs(counts[0] - counts[1]) == 1, split
        assert len(queries.answers) == {"train": 101, "validation": 9, "test": 51}[split]


@pytest.mark.parametrize("name", NAMES)
def test_splits_smaller_than_the_number_of_sizes_are_drawn_all_the_same(name: str) -> None:
    drawn = draw(name, lines(train=1, validation=2, test=3), cities=40)
    assert {split: len(queries.cities) for split, queries in drawn.items()} == {"train": 1, "validation": 2, "test": 3}


@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_is_bit_identical_and_another_seed_is_not(
    name: str, scale: Scale, cities: list[City], corpora: Corpora
) -> None:
    again = both_populations(scale, name, cities)
    elsewhere = replace(scale.world, seed=43, atlantis=replace(scale.world.atlantis, seed=43))
    other = both_populations(replace(scale, world=elsewhere), name, cities)
    for key, (queries, encoded) in corpora[name].items():
        assert (again[key][0].cities == queries.cities).all()
        assert (again[key][0].answers == queries.answers).all()
        assert (again[key][1].tokens == encoded.tokens).all()
        assert (again[key][1].lengths == encoded.lengths).all()
        assert (other[key][0].cities != queries.cities).any()


@pytest.mark.parametrize("piece", [1, 7, 1_000_000])
@pytest.mark.parametrize("name", NAMES)
def test_how_many_queries_are_worked_on_at_once_changes_nothing(
    name: str, piece: int, scale: Scale, cities: list[City], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of distance there are fewer different queries than training lines: they repeat.
    few = replace(scale, world=replace(scale.world, cities=20), corpus=lines(train=300, validation=6, test=40))
    table = [*cities[:20], *cities[first_atlantis(cities) :]]
    expected = both_populations(few, name, table)
    for module in ("queries", "make_corpus"):
        monkeypatch.setattr(f"worldwidth.data.{module}.PIECE", piece)
    for key, (queries, encoded) in both_populations(few, name, table).items():
        assert (queries.cities == expected[key][0].cities).all()
        assert (queries.answers == expected[key][0].answers).all()
        assert (encoded.tokens == expected[key][1].tokens).all()
        assert (encoded.lengths == expected[key][1].lengths).all()


def test_a_key_set_knows_what_a_python_set_knows() -> None:
    rng = np.random.default_rng(6)
    low = rng.integers(1, 60, size=(50, 40), dtype=np.uint64)
    last_slot = np.uint64(2**64 - 1) - low  # all in the last slot at first: they go on at the start of the table
    for batches in (low, last_slot, rng.integers(1, 2**64, size=(50, 40), dtype=np.uint64)):
        keys, known = KeySet(batches[0], room=batches.size), set(batches[0].tolist())
        for batch in batches:
            assert keys.contains(batch).tolist() == [key in known for key in batch.tolist()]
            keys.add(batch)
            known |= set(batch.tolist())
        assert keys.contains(batches.ravel()).all()


@pytest.mark.parametrize("count", [0, 1, 2, 1_000])
def test_the_first_of_equal_keys(count: int) -> None:
    keys = np.random.default_rng(7).integers(1, 300, size=count, dtype=np.uint64)
    listed = keys.tolist()
    assert first_of_equal(keys).tolist() == [i for i, key in enumerate(listed) if key not in listed[:i]]


def test_every_split_has_a_stream_of_its_own() -> None:
    few, many = (draw("angle", lines(train, validation=20, test=50), cities=60) for train in (10, 300))
    assert (few["test"].cities == many["test"].cities).all()
    assert (few["validation"].cities == many["validation"].cities).all()
    assert not set(classes("angle", few["test"])) & set(classes("angle", many["train"]))


@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize(("one", "other"), [("distance", "compass"), ("angle", "trianglearea")])
def test_no_two_tasks_see_the_same_queries(one: str, other: str, population: str) -> None:
    corpus = lines(train=20, validation=20, test=2_000)
    first, second = (
        {frozenset(row) for row in rows(draw(name, corpus, 1_000, population)["test"])} for name in (one, other)
    )
    # Of 499,500 pairs about 8 meet by chance, of the 5,010 pairs with one of five Atlantis cities about 800.
    assert len(first & second) < (1_000 if population == "atlantis" and one == "distance" else 30)


@pytest.mark.parametrize("train", [100, 4_400, 24_000])
def test_a_train_split_larger_than_its_space_repeats_but_covers_every_class(train: int) -> None:
    drawn = draw("distance", lines(train, validation=10, test=100), cities=96)
    found = Counter(classes("distance", drawn["train"]))
    space = comb(96, 2) - 110
    assert len(drawn["train"].cities) == train
    assert len(found) == min(train, space)


def test_a_train_split_just_larger_than_a_large_space_covers_every_class() -> None:
    drawn = draw("distance", lines(train=54_300, validation=10, test=100), cities=330)
    missing = comb(330, 2) - 110 - len(set(classes("distance", drawn["train"])))
    assert missing == 0, f"{missing} classes never used, yet others are repeated"


def test_a_test_split_that_needs_nearly_its_whole_space_gets_it() -> None:
    drawn = draw("distance", lines(train=4, validation=4, test=comb(330, 2) - 8), cities=330)
    assert len(set(classes("distance", drawn["test"]))) == comb(330, 2) - 8


@pytest.mark.parametrize(
    ("split", "corpus", "wanted", "found"),
    [
        ("test", lines(train=10, validation=4, test=46), 46, 45),
        ("validation", lines(train=10, validation=6, test=40), 6, 5),
        ("train", lines(train=10, validation=5, test=40), 10, 0),
    ],
)
def test_a_space_too_small_for_a_split_is_a_readable_error(split: str, corpus: Corpus, wanted: int, found: int) -> None:
    with pytest.raises(WorldwidthError) as error:
        draw("distance", corpus, cities=10)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"distance, world, {split}: {wanted} different queries wanted, {found} left")
