"""Corpus generation, lines a second including token ids: whole columns (this project) against a line at a time."""

import random
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from per_line import Lean, Line, PerLine, Published
from study import Study, fewer_lines, load_study
from timing import Comparison, Options, number, print_table, take_turns
from worldwidth.data.cities import points
from worldwidth.data.corpus import POPULATIONS
from worldwidth.data.make_corpus import encode, generate
from worldwidth.data.queries import Queries
from worldwidth.tasks import Integers, load_task

_PAPER_DIVISOR = 5  # paper scale: 200,000 of the 1,000,000 training lines a task, and so on
PUBLISHED, LEAN, OURS = "published", "lean loop", "columns"
_LINES = {PUBLISHED: 300, LEAN: 2000}  # a round
_CHECKED = 300


def run(options: Options) -> dict[str, Any]:
    """Both worlds, every task."""
    rounds = options.turns(default=5, quick=1)
    paper = load_study("paper")
    paper = paper.with_lines(fewer_lines(paper.scale.corpus, _PAPER_DIVISOR))
    return {name: _compare(name, study, rounds) for name, study in (("paper", paper), ("laptop", load_study("laptop")))}


def _compare(name: str, study: Study, rounds: int) -> dict[str, Any]:
    """task -> variant -> statistics."""
    lines = study.scale.corpus
    share = lines.world.train / (lines.world.train + lines.atlantis.train)
    report: dict[str, Any] = {}
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        random.seed(0)
        makers: dict[str, PerLine] = {PUBLISHED: Published(study, Path(folder)), LEAN: Lean(study)}
        for task in study.tasks:
            for maker in makers.values():
                _check(study, task, maker)
            loops = {key: partial(_per_line_rate, maker, task, share, _LINES[key]) for key, maker in makers.items()}
            rates = take_turns({**loops, OURS: partial(_column_rate, study, task)}, rounds, warm_up=True)
            ratios = {key: Comparison(rates, reference=key).statistics() for key in makers}
            report[task] = {**ratios[PUBLISHED], "ratios_to_lean": _ratios(ratios[LEAN][OURS])}
            rows.append(
                [
                    task,
                    *(number(ratios[LEAN][key]["median"]) for key in (PUBLISHED, LEAN)),
                    *(number(ratios[LEAN][OURS][key]) for key in ("min", "median", "max")),
                    *(f"{number(r)}x" for key in makers for r in _ratios(ratios[key][OURS]).values()),
                ]
            )
    print_table(
        f"{name} world, {study.scale.world.cities:,} cities: lines a second, token ids included; rounds: {rounds}",
        ["task", PUBLISHED, LEAN, f"{OURS}: min", "median", "max", "published x", "by round", "lean x", "by round"],
        rows,
    )
    return report


def _ratios(entry: dict[str, Any]) -> dict[str, float]:
    return {key: entry[key] for key in ("ratio", "ratio_of_rounds")}


def _per_line_rate(maker: PerLine, task: str, world_share: float, count: int) -> float:
    """Lines a second, in this project's proportion of the two populations."""
    world = round(count * world_share)
    started = time.perf_counter()
    maker.lines(task, "world", world)
    maker.lines(task, "atlantis", count - world)
    return count / (time.perf_counter() - started)


def _column_rate(study: Study, task: str) -> float:
    """Lines a second of the whole corpus: all splits of both populations, disjoint, balanced, encoded."""
    started = time.perf_counter()
    corpus = generate(study.scale, task, study.cities)
    return sum(len(lines) for _, lines in corpus.values()) / (time.perf_counter() - started)


def _check(study: Study, name: str, maker: PerLine) -> None:
    """Both ways give the same answers and the same ids, for queries that either has drawn."""
    for population in POPULATIONS:
        _check_encoded(study, name, maker.lines(name, population, _CHECKED))
    small = study.with_lines(fewer_lines(study.scale.corpus, max(1, study.scale.corpus.atlantis.test // _CHECKED)))
    for key, (queries, lines) in generate(small.scale, name, study.cities).items():
        if key.endswith("test"):
            for row, ids, length in zip(queries.cities.tolist(), lines.tokens, lines.lengths, strict=True):
                again = maker.line(name, [city for city in row if city >= 0])
                assert again.ids == ids[:length].tolist(), f"{name}: {again} where the corpus has {ids[:length]}"


def _check_encoded(study: Study, name: str, drawn: list[Line]) -> None:
    """Answer and encode the queries of ``drawn`` by columns and compare."""
    task = load_task(name)
    for size in {len(line.cities) for line in drawn}:
        chosen = [line for line in drawn if len(line.cities) == size]
        cities: Integers = np.array([line.cities for line in chosen], dtype=np.int64)
        answers = task.answer(points(study.cities)[cities])
        lines = encode(task, study.vocabulary, Queries(cities, answers))
        for line, answer, ids, length in zip(chosen, answers, lines.tokens, lines.lengths, strict=True):
            text = task.labels[answer] if task.labels else str(answer)
            assert (text, ids[:length].tolist()) == (line.answer, line.ids), f"{name}: {line} where columns say {text}"
