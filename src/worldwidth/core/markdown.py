"""Markdown for a terminal: what is too wide is put below each other, so that no value is cut or wrapped."""

import shutil
import sys
from collections.abc import Iterator
from itertools import groupby

from worldwidth.core.text import wrapped


def print_markdown(text: str) -> None:
    """Print Markdown, in a pipe as it is, in a terminal in its width."""
    print(fitted(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def fitted(text: str, width: int) -> str:
    """The same text in lines of at most ``width`` columns, where a name and a value of its tables are no wider.

    The columns of a table that do not fit follow in further tables, with its first column before them.
    """
    lines: list[str] = []
    for is_table, group in groupby(text.split("\n"), key=lambda line: line.startswith("|")):
        if is_table:
            lines += _tables([line.strip("|").split("|") for line in group], width)
        else:
            lines += [part for line in group for part in wrapped(line, width=width) or [""]]
    return "\n".join(lines)


def _tables(rows: list[list[str]], width: int) -> Iterator[str]:
    """The lines of a table, or of several with an empty line between them."""
    used, columns = len(rows[0][0]) + 2, list[int]()
    parts: list[list[int]] = []
    for column in range(1, len(rows[0])):
        size = len(rows[0][column]) + 1
        if columns and used + size > width:
            parts.append(columns)
            used, columns = len(rows[0][0]) + 2, []
        columns.append(column)
        used += size
    for number, part in enumerate([*parts, columns]):
        if number:
            yield ""
        for row in rows:
            yield f"|{'|'.join([row[0], *(row[column] for column in part)])}|"
