"""The reading of a comparison by people: a section of docs/findings.md, its numbers held against the tables.

The section `## In short` is the reading of a comparison where its first line is ``<!-- comparison: NAME -->``. Every
number in it that has a decimal point is a row of docs/findings.csv: the number as written, a table of
results/comparison/NAME without ``.csv``, the row there (``arm=epochs, published,level=wide``), and its column, or
``half`` for half of the interval. README.md repeats the first paragraph below ``<!-- answer -->``.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from markupsafe import Markup, escape

from worldwidth.comparison.export import COMPARISONS
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text
from worldwidth.core.text import MINUS

FINDINGS, NUMBERS, README = Path("docs/findings.md"), Path("docs/findings.csv"), Path("README.md")
HALF = "half"
"""The column that no table has: half of the interval from ``low`` to ``high``."""
_SECTION = re.compile(r"^## In short\n+<!-- comparison: (\S+) -->\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_ANSWER = re.compile(r"<!-- answer -->\s*\n(.*?)(?:\n\s*\n|\Z)", re.DOTALL)
_NUMBER = re.compile(rf"(?:(?<![\w.])[-{MINUS}])?(?<![\w.])\d[\d,]*\.\d+(?:e[+-]?\d+)?")
_LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")


@dataclass(frozen=True)
class Reading:
    """What people say of one comparison."""

    comparison: str
    paragraphs: tuple[str, ...]
    """In Markdown; the lines of each joined."""

    @property
    def html(self) -> Markup:
        """For the report, which is two folders below the project's."""
        return Markup("\n").join(_html(paragraph) for paragraph in self.paragraphs)

    @property
    def numbers(self) -> list[str]:
        """Those with a decimal point, as they are written."""
        return [number for paragraph in self.paragraphs for number in _NUMBER.findall(_plain(paragraph))]


def read_reading(root: Path = Path()) -> Reading | None:
    """The reading, where docs/findings.md says which comparison it is of."""
    path = root / FINDINGS
    found = _SECTION.search(read_text(path)) if path.is_file() else None
    return Reading(found[1], tuple(_paragraphs(found[2]))) if found else None


def check_reading(root: Path = Path()) -> Reading | None:
    """Hold the reading against the tables, and README.md against the reading.

    Raises:
        WorldwidthError: a number is not listed, not in its table, or another there; or README.md says something else.
    """
    reading = read_reading(root)
    if reading is None:
        return None
    listed = _listed(root / NUMBERS)
    for number in reading.numbers:
        if _value(number) not in {_value(row["number"]) for row in listed}:
            raise WorldwidthError(f"{FINDINGS}: {number} is not in {NUMBERS}; add a row that says where it is from")
    for row in listed:
        _check_number(row, reading, root)
    if (root / README).is_file() and (answer := _ANSWER.search(read_text(root / README))):
        own, other = (_plain(" ".join(text.split())) for text in (reading.paragraphs[0], answer[1]))
        if own != other:
            raise WorldwidthError(
                f"{README}: below <!-- answer --> found '{_differing(other, own)}', expected "
                f"'{_differing(own, other)}', as the first paragraph of In short in {FINDINGS} says"
            )
    return reading


def _paragraphs(section: str) -> Iterator[str]:
    """Paragraphs and items of lists, each as one line."""
    for block in re.split(r"\n\s*\n|\n(?=(?:\d+\.|-) )", section.strip()):
        if text := " ".join(block.split()):
            yield text


def _listed(path: Path) -> list[dict[str, str]]:
    columns = ["number", "table", "rows", "column"]
    try:
        found = list(csv.DictReader(read_text(path).splitlines()))
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; it lists where the numbers of In short in {FINDINGS} are") from None
    for row in found:
        if list(row) != columns or None in row.values():
            there = ", ".join(map(str, row))
            raise WorldwidthError(f"{path}: found columns {there}; they must be {', '.join(columns)}")
    return found


def _check_number(row: dict[str, str], reading: Reading, root: Path) -> None:
    """Refuse a listed number that the reading has not, or that its table has otherwise."""
    number, table = row["number"], COMPARISONS / reading.comparison / f"{row['table']}.csv"
    where = f"{NUMBERS}: {number}: {table}, {row['rows']}, {row['column']}"
    if _value(number) not in map(_value, reading.numbers):
        raise WorldwidthError(f"{NUMBERS}: {number} is no number of In short in {FINDINGS}; take its row out")
    if not (root / table).is_file():
        raise WorldwidthError(f"{where}: there is no such table")
    found = pd.read_csv(root / table, dtype=str, keep_default_na=False)
    for condition in re.split(r",\s*(?=\w+=)", row["rows"]):
        column, _, value = condition.partition("=")
        if column not in found:
            raise WorldwidthError(f"{where}: no column '{column}'; there: {', '.join(map(str, found))}")
        found = found[found[column] == value]
    if len(found) != 1:
        raise WorldwidthError(f"{where}: {len(found)} rows are so; it must be one")
    wanted = ["low", "high"] if row["column"] == HALF else [row["column"]]
    if lacking := [column for column in wanted if column not in found]:
        raise WorldwidthError(f"{where}: no column '{lacking[0]}'; there: {', '.join(map(str, found))}, {HALF}")
    texts = [found[column].iloc[0] for column in wanted]
    try:
        values = [float(text) for text in texts]
    except ValueError:
        raise WorldwidthError(f"{where}: found '{texts[0]}', which is no number") from None
    value = (values[-1] - values[0]) / 2 if row["column"] == HALF else values[0]
    mantissa, e, power = _value(number).partition("e")
    digits = len(mantissa.partition(".")[2])
    if not abs(value - float(_value(number))) <= (0.5 + 1e-6) * 10.0 ** (int(power or 0) - digits):
        raise WorldwidthError(f"{where}: found {number} in {FINDINGS}, expected {value:.{digits}{e or 'f'}}")


def _value(number: str) -> str:
    """A number as Python writes it."""
    return number.replace(MINUS, "-").replace(",", "").lstrip("+")


def _plain(text: str) -> str:
    """Without links and emphasis."""
    return re.sub(r"\*\*|(?<!\w)[*_]|[*_](?!\w)|`", "", _LINK.sub(r"\1", text))


def _differing(one: str, other: str) -> str:
    """``one`` from where it differs, cut short."""
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[max(0, start - 20) : start + 40] or "nothing"


def _html(paragraph: str) -> Markup:
    """A paragraph or an item of a list; links lead from the report's folder."""
    text = str(escape(paragraph))
    text = _LINK.sub(_link, text)
    for pattern, tag in ((r"\*\*(.+?)\*\*", "strong"), (r"(?<!\w)\*(.+?)\*(?!\w)", "em"), (r"`(.+?)`", "code")):
        text = re.sub(pattern, rf"<{tag}>\1</{tag}>", text)
    return Markup(f"<p>{text}</p>")


def _link(found: re.Match[str]) -> str:
    """A link to a file of the project; of any other its text, for nothing on the page leads to a network."""
    text, address = found[1], found[2]
    if re.match(r"[a-z]+:|#", address):
        return text
    return f'<a href="{f"../{address}" if address.startswith("../") else f"../../docs/{address}"}">{text}</a>'
