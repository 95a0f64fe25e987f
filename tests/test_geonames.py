"""Lists of cities in the layouts in which people have them: `pytest tests/test_geonames.py`."""

import bz2
import gzip
import itertools
import lzma
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from worldwidth.core.errors import WorldwidthError
from worldwidth.data.geonames import Place, read_places
from worldwidth.data.make_cities import make_cities
from worldwidth.settings.load import load
from worldwidth.settings.paths import PARAMS

PLACES = [
    Place(3352136, "Windhoek", "NA", 268_132, -22.55941, 17.08323),
    Place(3530597, "México", "MX", 12_294_193, 19.42847, -99.12766),
    Place(7, '"Quote" town; with, all | of it', "FR", 1_234, 40.0, 2.5),
]


def dump(place: Place, kind: str = "P") -> str:
    """A row as geonames.org writes it: a quote is a letter."""
    row = [str(place.geonameid), place.name, place.name, 'one,"two', str(place.latitude), str(place.longitude), kind]
    return "\t".join([*row, "PPL", place.country_code, *[""] * 5, str(place.population), "", "10", "Etc/UTC", "2024"])


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def table(separator: str, headings: str, row: Callable[[Place], list[str]], end: str = "\n") -> str:
    lines = [headings.split(), *(row(place) for place in PLACES)]
    return "".join(separator.join(line).replace("_", " " if end == "\r\n" else "_") + end for line in lines)


def common(place: Place) -> list[str]:
    return [str(place.geonameid), quoted(place.name), place.country_code, str(place.population)]


def together(place: Place) -> list[str]:
    return [*common(place), quoted(f"{place.latitude}, {place.longitude}")]


def apart(place: Place) -> list[str]:
    return [f"{place.longitude}", f"{place.latitude}", *common(place), "more"]


LAYOUTS = {
    "geonames.org": "".join(f"{dump(place)}\n" for place in PLACES),
    "labels, byte order mark, CRLF": "\ufeff"
    + table(";", "Geoname_ID Name Country_Code Population Coordinates", together, "\r\n"),
    "technical names, commas": table(",", "geoname_id name country_code population coordinates", together),
    "two columns, another order, one more": table(
        "\t", "longitude latitude geonameid name country_code population Name_2", apart
    ),
    "as of its web service": table("|", "lng lat geonameId name countryCode population x", apart),
    "through pandas": table(
        ";", "geonameid name countrycode population coordinates",
        lambda place: [f"{place.geonameid}.0", *together(place)[1:3], f"{place.population}.0", together(place)[4]],
    ),
    "small country codes, empty lines, blanks": "\n"
    + table(
        ";", "geonameid name countrycode population coordinates",
        lambda place: [f" {text}" for text in together(replace(place, country_code=place.country_code.lower()))],
    ).replace("\n", "\n;;;;\n\n"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same_cities(layout: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(LAYOUTS[layout].encode())
    assert read_places(path)[0] == PLACES


def test_what_was_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(LAYOUTS["geonames.org"] + dump(replace(PLACES[0], geonameid=8), "A") + "\n")
    places, said = read_places(path)
    assert places == PLACES
    assert said == (
        f"{path}: 3 cities read; geonames.org's tab-separated columns, without headings; "
        "1 row left out: of another feature class than P"
    )
    path.write_text(LAYOUTS["technical names, commas"])
    assert read_places(path)[1] == (
        f"{path}: 3 cities read; columns by their headings, ',' between them, coordinates in one"
    )
    world = load(PARAMS).scales["smoke"].world
    lines: list[str] = []
    many = "".join(f"{dump(replace(PLACES[0], geonameid=number, population=10**6))}\n" for number in range(1, 12))
    path.write_text(many)
    make_cities(replace(world, source=str(path), cities=10), lines.append)
    assert [re.sub(r"^.*list\.csv: ", "", line) for line in lines] == [
        "11 cities read; geonames.org's tab-separated columns, without headings"
    ]


HEADINGS = "geonameid;name;country_code;population;latitude;longitude\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name,people\nBerlin,1\n", (
            "no column 'geoname id', 'country code', 'population', 'latitude' and 'longitude' (or 'coordinates')",
            "with ',' as the separator: name, people", "`2950159;Berlin;DE;3426354;52.52437;13.41053`",
        )),
        ("", ("no column 'geoname id', 'name'", "found, with ';' as the separator: nothing")),
        (HEADINGS.replace("longitude", "x"), ("no column 'longitude' (or 'coordinates')",)),
        (HEADINGS.replace("name;", "x;name;Name;"), ("column 'name' is there twice",)),
        (HEADINGS + "1;A;DE;1.000;1;2\n", ("row 2: population '1.000'; it must be a whole number of digits alone",)),
        (HEADINGS + "1;A;DE;1,234,567;1;2\n", ("row 2: population '1,234,567'",)),
        (HEADINGS + "1;A;DE;2.2E+07;1;2\n", ("row 2: population '2.2E+07'",)),
        (HEADINGS + "1;A;DE;-1;1;2\n", ("row 2: population '-1'",)),
        (HEADINGS + "0;A;DE;1;1;2\n", ("row 2: geonameid 0; it must be 1 or more",)),
        (HEADINGS + "1;A;DE;1;52,52;13,41\n", ("row 2: coordinates '52,52, 13,41'; they must be degrees such as",)),
        (HEADINGS + "1;A;Germany;1;52;13\n", ("row 2: country code 'GERMANY'; it must be two letters, as DE",)),
        (HEADINGS + "1;A\x1b[2J;DE;x\x1b[2J\u202e;52;13\n", (r"row 2: population 'x\x1b[2J\u202e'",)),
        (HEADINGS + '1;"A" town;DE;1;52;13\n', ("row 2: not text with ';' between columns", "expected after")),
        (HEADINGS.encode() + "1;Köln;DE".encode("latin-1"), ("line 2: not UTF-8 text (byte 0xf6)", "-f LATIN1")),
        (HEADINGS.encode("utf-16"), ("UTF-16 text", "iconv -f UTF-16 -t UTF-8")),
        (HEADINGS.encode("utf-16-le"), ("UTF-16 text",)),
        (HEADINGS.encode("utf-16-be"), ("UTF-16 text",)),
        (gzip.compress(b"x", mtime=0), ("a packed file, not text; unpack it: `gunzip`",)),
        (bz2.compress(HEADINGS.encode()), ("`bunzip2`",)),
        (lzma.compress(HEADINGS.encode()), ("`unxz`",)),
        (b"PK\x03\x04\x14\x00", ("`unzip`",)),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_what_is_no_list_is_refused_in_one_line(content: str | bytes, said: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WorldwidthError) as refused:
        read_places(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert [part for part in said if part not in message] == []


def test_a_folder_in_place_of_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldwidthError, match=r"not a file \(world\.source in params\.yaml\)"):
        read_places(tmp_path)
