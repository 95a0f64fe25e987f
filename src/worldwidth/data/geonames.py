"""A user's list of cities, in the layouts in which GeoNames and its re-publishers ship them: docs/cities.md."""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import plural
from worldwidth.settings.strict_yaml import excerpt


@dataclass(frozen=True)
class Place:
    """A city as its source gives it, before it gets a place on the plane and an id. Degrees."""

    geonameid: int
    name: str
    country_code: str
    population: int
    latitude: float
    longitude: float


_DUMP = (
    "geonameid", "name", "asciiname", "alternatenames", "latitude", "longitude", "featureclass", "featurecode",
    "countrycode", "cc2", "admin1code", "admin2code", "admin3code", "admin4code", "population", "elevation", "dem",
    "timezone", "modificationdate",
)  # fmt: skip
"""The columns of geonames.org's own files, which have no headings."""
_NEEDED = {"geonameid": "geoname id", "name": "name", "countrycode": "country code", "population": "population"}
_POINT = ("latitude", "longitude")
_SAME = {"lat": "latitude", "lon": "longitude", "lng": "longitude", "long": "longitude"}
_SEPARATORS = {";": "';'", ",": "','", "\t": "tab", "|": "'|'"}
_EXAMPLE = (
    "wanted are two lines such as `geonameid;name;country_code;population;latitude;longitude` and "
    "`2950159;Berlin;DE;3426354;52.52437;13.41053`, or geonames.org's own file; see docs/cities.md"
)
_PACKED = {b"PK\x03\x04": "unzip", b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz"}
_WHOLE = re.compile(r"([0-9]+)(?:\.0)?")  # 1234.0: how pandas writes a column in which a number is missing
_COUNTRY = re.compile(r"[A-Z]{2}|")


@dataclass(frozen=True)
class _Layout:
    """How the columns of a file are told apart, and which there are."""

    separator: str
    columns: list[str]
    """Their names in small letters and digits alone."""
    has_headings: bool

    def rows(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Number and fields of every row that holds something, without the headings.

        Raises:
            csv.Error: a quote does not end, or stands within a field.
        """
        lines = io.StringIO(text, newline=None)
        if self.has_headings:
            found = csv.reader(lines, delimiter=self.separator, skipinitialspace=True, strict=True)
        else:
            found = csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE)  # geonames.org quotes nothing
        rows = ((number, row) for number, row in enumerate(found, start=1) if any(map(str.strip, row)))
        return itertools.islice(rows, int(self.has_headings), None)

    def described(self) -> str:
        """The layout in a few words."""
        if not self.has_headings:
            return "geonames.org's tab-separated columns, without headings"
        point = "latitude and longitude in two" if _has_point(self.columns) else "coordinates in one"
        return f"columns by their headings, {_SEPARATORS[self.separator]} between them, {point}"


def read_places(path: Path) -> tuple[list[Place], str]:
    """Read a list of cities; no value is guessed or filled in: the country code NA is Namibia.

    Rows of another feature class than P, populated places, are left out: countries have a population as well.

    Returns:
        The cities as they come, and what was read, in a line for people.

    Raises:
        WorldwidthError: it is no such list; the row, or all the columns that are missing, are named.
    """
    text = _text(path)
    layout = _layout(path, text)
    places: list[Place] = []
    seen: dict[int, int] = {}
    number, others = int(layout.has_headings), 0
    try:
        for number, row in layout.rows(text):
            place = _place(layout.columns, row)
            if place is None:
                others += 1
                continue
            first = seen.setdefault(place.geonameid, number)
            if first != number:
                raise ValueError(f"geonameid {place.geonameid} is listed in row {first} already")
            places.append(place)
    except csv.Error as error:  # a quote that never ends swallows the rest of the file
        said = f"not text with {_SEPARATORS[layout.separator]} between columns ({error})"
        raise WorldwidthError(f"{path}: row {number + 1}: {said}") from None
    except ValueError as error:
        raise WorldwidthError(f"{path}: row {number}: {error}") from None
    left_out = f"; {plural(others, 'row')} left out: of another feature class than P" if others else ""
    return places, f"{path}: {len(places)} cities read; {layout.described()}{left_out}"


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():
        raise WorldwidthError(f"{path}: not a file (world.source in params.yaml)")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found (world.source in params.yaml)") from None
    for start, program in _PACKED.items():
        if content.startswith(start):
            raise WorldwidthError(f"{path}: a packed file, not text; unpack it: `{program}`")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:2]:
        raise WorldwidthError(f"{path}: UTF-16 text; save it as UTF-8: `iconv -f UTF-16 -t UTF-8 {path} > NEW`")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise WorldwidthError(
            f"{path}: line {line}: not UTF-8 text (byte {content[error.start]:#x}); if it is Latin-1: "
            f"`iconv -f LATIN1 -t UTF-8 {path} > NEW`"
        ) from None


def _layout(path: Path, text: str) -> _Layout:
    """What the first line says: geonames.org's own columns, or headings."""
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    if first.count("\t") == len(_DUMP) - 1 and first.split("\t")[0].isdecimal():
        return _Layout("\t", [*_DUMP], has_headings=False)
    candidates = []
    for separator in _SEPARATORS:
        names = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        plain = [re.sub(r"[\W_]", "", name.lower()) for name in names]
        candidates.append((_Layout(separator, [_SAME.get(name, name) for name in plain], has_headings=True), names))
    layout, names = min(candidates, key=lambda found: (len(_missing(found[0].columns)), -len(found[1])))
    twice = [name for name in (*_NEEDED, *_POINT, "coordinates") if layout.columns.count(name) > 1]
    if twice:
        raise WorldwidthError(f"{path}: column '{twice[0]}' is there twice; keep one")
    if missing := _missing(layout.columns):
        found = ", ".join(excerpt(name.strip()) for name in names[:20]) or "nothing"
        raise WorldwidthError(
            f"{path}: no column {', '.join(missing)}; found, with {_SEPARATORS[layout.separator]} as the separator: "
            f"{found}; {_EXAMPLE}"
        )
    return layout


def _missing(columns: list[str]) -> list[str]:
    """What people call the columns that are not there, in quotes."""
    missing = [f"'{name}'" for key, name in _NEEDED.items() if key not in columns]
    if "coordinates" not in columns and not _has_point(columns):
        apart = " and ".join(f"'{name}'" for name in _POINT if name not in columns)
        missing.append(f"{apart} (or 'coordinates')")
    return missing


def _has_point(columns: list[str]) -> bool:
    return set(_POINT) <= set(columns)


def _place(columns: list[str], row: list[str]) -> Place | None:
    """The city of a row; None if it is none.

    Raises:
        ValueError: its fields cannot be read.
    """
    if len(row) != len(columns):
        raise ValueError(f"{len(row)} fields where there are {len(columns)} columns; is it cut off, or a quote lost?")
    field = dict(zip(columns, map(str.strip, row), strict=True))
    if field.get("featureclass", "P") not in ("P", ""):
        return None
    latitude, longitude = _point(field)
    country = field["countrycode"].upper()
    if not _COUNTRY.fullmatch(country):
        raise ValueError(f"country code '{excerpt(country)}'; it must be two letters, as DE")
    geonameid = _whole(field["geonameid"], "geoname id")
    if geonameid < 1:
        raise ValueError(f"geonameid {geonameid}; it must be 1 or more")
    return Place(geonameid, field["name"], country, _whole(field["population"], "population"), latitude, longitude)


def _point(field: dict[str, str]) -> tuple[float, float]:
    texts = [field[name] for name in _POINT] if _has_point([*field]) else field["coordinates"].split(",")
    try:
        latitude, longitude = map(float, texts)
    except ValueError:
        shown = excerpt(", ".join(texts))
        raise ValueError(f"coordinates '{shown}'; they must be degrees such as 52.52437, 13.41053") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # also refuses NaN
        raise ValueError(f"coordinates {latitude}, {longitude} lie outside the map")
    return latitude, longitude


def _whole(text: str, what: str) -> int:
    found = _WHOLE.fullmatch(text)
    if not found:
        raise ValueError(f"{what} '{excerpt(text)}'; it must be a whole number of digits alone, as 3426354")
    return int(found[1])
