"""Lines of a corpus for a person to check by eye: the text, and the cities it names with their places."""

import json
from collections.abc import Iterator
from typing import Any

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.core.text import printable
from worldwidth.data.cities import load_cities
from worldwidth.data.corpus import POPULATIONS, SPLITS, StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.settings.schema import Settings


def print_sample(settings: Settings, task: str, population: str, split: str, count: int, as_json: bool) -> None:
    """Print the first ``count`` lines of one split, as text or as JSON lines."""
    for option, found, allowed in (
        ("--task", task, settings.tasks),
        ("--population", population, POPULATIONS),
        ("--split", split, SPLITS),
    ):
        if found not in allowed:
            raise WorldwidthError(f"{option}: found '{found}'; allowed: {', '.join(allowed)}{nearest(found, allowed)}")
    if count < 1:
        raise WorldwidthError(f"-n: found {count}; allowed: 1 or more")
    for line in sample_lines(settings, task, population, split, count):
        print(json.dumps(line) if as_json else _readable(line))


def sample_lines(settings: Settings, task: str, population: str, split: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield the first ``count`` lines: text, task, population, split, answer, cities in the order of the text."""
    scale = settings.selected
    cities = load_cities(scale.world)
    vocabulary, corpus = Vocabulary(scale.model, scale.world), StoredCorpus(task)
    lines, rows = corpus.lines(population, split).first(count), corpus.cities(population, split)
    for ids, length, row in zip(lines.tokens, lines.lengths, rows, strict=False):
        text = vocabulary.decode(ids[:length].tolist())
        named = [cities[i] for i in row if i >= 0]
        yield {
            "text": text,
            "task": task,
            "population": population,
            "split": split,
            "answer": text.split("=", 1)[1],
            "cities": [
                {"city_id": c.city_id, "name": c.name, "x": c.x, "y": c.y, "is_atlantis": c.is_atlantis} for c in named
            ],
        }


def _readable(line: dict[str, Any]) -> str:
    places = ", ".join(f"{printable(city['name'])} ({city['x']}, {city['y']})" for city in line["cities"])
    return f"{line['text']:<48}  {places}"
