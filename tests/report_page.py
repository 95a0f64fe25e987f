"""A report written for a test, and read again as a browser would: its tags, tables, words and data."""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from worldwidth.comparison.representations import MapTables
from worldwidth.comparison.tables import Comparison
from worldwidth.report.page import write_report

PROJECT = Path(__file__).parents[1]
VOID = {"meta", "br", "hr", "img", "link", "input"}
PROVENANCE: dict[str, Any] = {
    "name": "laptop",
    "by": ["arch"],
    "sweeps": [],
    "worldwidth_commit": "0123abcd" * 5,
    "params": "arch: wide\n",
    "versions": {"Python": "3.11"},
    "machine": "two cores",
    "time": "2026-01-02T03:04:05+00:00",
    "experiments": [{"name": "wide-epochs-s1", "commit": "f" * 40}],
}


@dataclass
class Table:
    """A table of the page."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def row(self, label: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == label)


class Page(HTMLParser):
    """A page taken apart; tags that do not close, or close another, are an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.opened: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[Table] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.opened == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert len(found) == len(attrs), f"{tag} has an attribute twice"
        self.tags.append((tag, found))
        if tag not in VOID:
            self.opened.append(tag)
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.opened.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.opened):
            return
        self.words.append(data)
        if {"td", "th"} & set(self.opened):
            row = self.tables[-1].rows[-1]
            row[-1] = f"{row[-1]} {data.strip()}".strip()
        elif "caption" in self.opened:
            self.tables[-1].caption += data

    def table(self, caption: str) -> Table:
        return next(table for table in self.tables if table.caption == caption)

    def attributes(self, name: str) -> list[str]:
        return [str(found[name]) for _, found in self.tags if name in found]


NO_MAPS = MapTables(*(pd.DataFrame() for _ in range(3)))


def page_of(comparison: Comparison, folder: Path, **provenance: Any) -> Page:
    """Write the report and read it again; drawing the curves is what takes the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worldwidth.report.page.draw_curves", lambda *_: Figure())
        path = folder / "report" / "index.html"
        write_report(comparison, NO_MAPS, {**PROVENANCE, **provenance}, path, PROJECT)
    return Page(path.read_text(encoding="utf-8"))


def data_of(page: Page) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data
