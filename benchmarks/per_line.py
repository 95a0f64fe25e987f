"""A line at a time in Python: what corpus.py does with whole columns, for comparison.

Two ways. ``Published`` works as the published study's scripts do: cities as rows of a DataFrame, and a Hugging Face
tokenizer called for every line. ``Lean`` is the same with lists and a dict, about the best that a loop over
lines can do. Neither looks for repeated queries, which corpus.py does. Labels are balanced by rejection.
"""

import math
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import AutoTokenizer

from study import Study
from worldwidth.data.cities import first_atlantis
from worldwidth.data.queries import query_sizes
from worldwidth.data.tokenizer import BOS, EOS, UNK
from worldwidth.tasks import load_task
from worldwidth.tasks.compass import LABELS

Point = tuple[int, int]


@dataclass(frozen=True)
class Line:
    """One line: rows of the cities table, the answer as text, token ids with <bos> and <eos>."""

    cities: list[int]
    answer: str
    ids: list[int]


def _cross(o: Point, a: Point, b: Point) -> int:
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])


def _length(a: Point, b: Point) -> float:
    return math.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2)


def _distance(points: Sequence[Point]) -> str:
    return str(round(_length(points[0], points[1])))


def _triangle_area(points: Sequence[Point]) -> str:
    return str(round(abs(_cross(points[0], points[1], points[2])) / 2))


def _angle(points: Sequence[Point]) -> str:
    a, corner, b = points
    along = (a[0] - corner[0]) * (b[0] - corner[0]) + (a[1] - corner[1]) * (b[1] - corner[1])
    return str(round(math.degrees(math.atan2(abs(_cross(corner, a, b)), along))))


def _compass(points: Sequence[Point]) -> str:
    dx, dy = points[1][0] - points[0][0], points[1][1] - points[0][1]
    if dx == 0 and dy == 0:
        return "N"
    return LABELS[int((math.degrees(math.atan2(dy, dx)) % 360 + 22.5) % 360 // 45)]


def _half_hull(points: list[Point]) -> list[Point]:
    chain: list[Point] = []
    for point in points:
        while len(chain) > 1 and _cross(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain[:-1]


def _inside(points: Sequence[Point]) -> str:
    """Andrew's monotone chain, then the side of every edge."""
    query, ordered = points[0], sorted(points[1:])
    hull = _half_hull(ordered) + _half_hull(ordered[::-1])
    edges = zip(hull, hull[1:] + hull[:1], strict=True)
    return "TRUE" if len(hull) > 2 and all(_cross(a, b, query) >= 0 for a, b in edges) else "FALSE"


def _perimeter(points: Sequence[Point]) -> str:
    legs = [_length(points[i], points[i + 1]) for i in range(len(points) - 1)]
    if len(legs) > 1:
        legs.append(_length(points[-1], points[0]))
    return str(round(sum(legs)))


def _on_segment(a: Point, b: Point, p: Point) -> bool:
    """Whether ``p``, which lies on the line through a and b, lies between them."""
    return min(a[0], b[0]) <= p[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= p[1] <= max(a[1], b[1])


def _crossing(points: Sequence[Point]) -> str:
    a, b, c, d = points
    c_side, d_side, a_side, b_side = _cross(a, b, c), _cross(a, b, d), _cross(c, d, a), _cross(c, d, b)
    properly = (
        (c_side > 0) != (d_side > 0) and (a_side > 0) != (b_side > 0) and 0 not in (c_side, d_side, a_side, b_side)
    )
    touching = (
        (c_side == 0 and _on_segment(a, b, c))
        or (d_side == 0 and _on_segment(a, b, d))
        or (a_side == 0 and _on_segment(c, d, a))
        or (b_side == 0 and _on_segment(c, d, b))
    )
    return "TRUE" if properly or touching else "FALSE"


_ANSWERS: dict[str, Callable[[Sequence[Point]], str]] = {
    "distance": _distance,
    "trianglearea": _triangle_area,
    "angle": _angle,
    "compass": _compass,
    "inside": _inside,
    "perimeter": _perimeter,
    "crossing": _crossing,
}


class PerLine(ABC):
    """Draws, answers and tokenises one line after another."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.atlantis, self.total = first_atlantis(study.cities), len(study.cities)

    @abstractmethod
    def sample(self, start: int, end: int, count: int) -> list[int]:
        """``count`` different cities of those from row ``start`` up to ``end``."""

    @abstractmethod
    def places(self, cities: list[int]) -> list[Point]:
        """Their x and y."""

    @abstractmethod
    def names(self, cities: list[int]) -> list[str]:
        """How they are written."""

    @abstractmethod
    def tokenise(self, text: str) -> list[int]:
        """Ids of a whole line."""

    def line(self, name: str, cities: list[int]) -> Line:
        """Answer and tokenise one query."""
        return self._written(name, cities, _ANSWERS[name](self.places(cities)))

    def lines(self, name: str, population: str, count: int) -> list[Line]:
        """``count`` lines of task ``name``, half of them TRUE where the task is balanced."""
        task = load_task(name)
        sizes = query_sizes(task, self.study.scale.corpus)
        left = {label: (count + i) // 2 for i, label in enumerate(task.labels)} if task.balanced else {"": count}
        lines: list[Line] = []
        while len(lines) < count:
            cities = self._draw(population, random.choice(sizes))
            answer = _ANSWERS[name](self.places(cities))
            label = answer if task.balanced else ""
            if left[label]:
                left[label] -= 1
                lines.append(self._written(name, cities, answer))
        return lines

    def _draw(self, population: str, size: int) -> list[int]:
        if population == "world":
            return self.sample(0, self.atlantis, size)
        cities = self.sample(0, self.total, size - 1) + self.sample(self.atlantis, self.total, 1)
        if len(set(cities)) < size:
            return self._draw(population, size)
        random.shuffle(cities)
        return cities

    def _written(self, name: str, cities: list[int], answer: str) -> Line:
        pieces = load_task(name).pieces(len(cities))
        groups = [piece + city for piece, city in zip(pieces, self.names(cities), strict=False)]
        return Line(cities, answer, self.tokenise("".join(groups) + pieces[-1] + answer))


class Lean(PerLine):
    """Lists and a dict."""

    def __init__(self, study: Study) -> None:
        super().__init__(study)
        self._points = [(city.x, city.y) for city in study.cities]
        self._names = study.vocabulary.names
        self._id_of = {token: i for i, token in enumerate(study.vocabulary.tokens)}
        self._group = re.compile(r"c_\d+|.") if study.vocabulary.one_token_a_city else None

    def sample(self, start: int, end: int, count: int) -> list[int]:
        return random.sample(range(start, end), count)

    def places(self, cities: list[int]) -> list[Point]:
        return [self._points[city] for city in cities]

    def names(self, cities: list[int]) -> list[str]:
        return [self._names[city] for city in cities]

    def tokenise(self, text: str) -> list[int]:
        tokens = self._group.findall(text) if self._group else text
        return [BOS, *(self._id_of.get(token, UNK) for token in tokens), EOS]


class Published(PerLine):
    """A DataFrame and the saved tokenizer."""

    def __init__(self, study: Study, folder: Path) -> None:
        super().__init__(study)
        self._table = pd.DataFrame([{"city_id": city.city_id, "x": city.x, "y": city.y} for city in study.cities])
        self._rng = np.random.default_rng(0)
        study.vocabulary.save(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)

    def sample(self, start: int, end: int, count: int) -> list[int]:
        return [start + int(i) for i in self._rng.choice(end - start, size=count, replace=False)]

    def places(self, cities: list[int]) -> list[Point]:
        return [(int(row["x"]), int(row["y"])) for _, row in self._table.iloc[cities].iterrows()]

    def names(self, cities: list[int]) -> list[str]:
        digits = self.study.scale.world.id_digits
        return [f"c_{city_id:0{digits}d}" for city_id in self._table.iloc[cities]["city_id"]]

    def tokenise(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text + "<eos>")["input_ids"]
        return ids
