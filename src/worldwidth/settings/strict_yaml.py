"""YAML as plain values, read by the very parser with which DVC reads params.yaml and dvc.lock.

So the two cannot disagree about ``1e-3``, ``010``, ``yes``, a merge key or a key listed twice. It is ruamel.yaml's
safe loader, which builds no Python objects, with two guards. Before anything is built, the size of what the text stands
for is bounded: that parser, in C, overflows the stack where brackets are nested by the thousand, and a few lines of
aliases of aliases can stand for billions of values. Afterwards only what JSON has is let through: dates, bytes, sets
and keys that are no text are refused.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event, ScalarEvent

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import check_regular
from worldwidth.core.text import printable

LARGEST = 2**24
"""Characters that a text may have, and may stand for: some forty times dvc.lock with all its models."""

_DEEPEST = 32  # the two files nest seven levels deep
_OVERHEAD = 8  # what a value weighs beside its characters
_MOST_BITS = 1024  # Python prints at most 4,300 digits; no float is larger


@dataclass
class _Node:
    """A value, its aliases written out; while it is open, as far as it has been read."""

    anchor: str | None
    size: int = _OVERHEAD
    height: int = 0
    """Levels below it."""

    def take(self, child: "_Node") -> None:
        self.size += child.size
        self.height = max(self.height, child.height + 1)


def read_yaml(path: Path, largest: int = LARGEST) -> Any:
    """Read one YAML document from a file.

    Raises:
        WorldwidthError: the file is missing, is not UTF-8, or :func:`parse_yaml` refuses it.
    """
    return parse_yaml(yaml_text(path, largest), str(path), largest)


def yaml_text(path: Path, largest: int = LARGEST) -> str:
    """The text of a YAML file; of one that is too large so much that :func:`parse_yaml` refuses it.

    Raises:
        WorldwidthError: the file is missing, or is not UTF-8.
    """
    try:
        check_regular(path)
        with path.open(encoding="utf-8") as file:
            return file.read(largest + 1)
    except FileNotFoundError:
        above = next((folder for folder in Path.cwd().parents if (folder / path).is_file()), None)
        command = f": `cd {shlex.quote(str(above))}`" if above else ""
        raise WorldwidthError(f"{path}: not found; run this in the project's folder{command}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorldwidthError(f"{path}: not readable as UTF-8 text ({error})") from None


def parse_yaml(text: str, name: str, largest: int = LARGEST) -> Any:
    """Read one YAML document; only mappings with text as keys, lists, text, numbers, true, false and null come out.

    Args:
        name: what the text is called in an error.
        largest: characters that it may have or stand for.

    Raises:
        WorldwidthError: it is not YAML, repeats a key, is too large or too deep, or holds something else.
    """
    try:
        problem = _too_large(text, largest)
        values = None if problem else YAML(typ="safe").load(text)
    except Exception as error:  # a scalar that does not fit its tag is a KeyError, ValueError or else, as it comes
        raise WorldwidthError(f"{name}: {_reason(error)}") from None
    problem = problem or next(_foreign(values, ""), None)
    if problem:
        raise WorldwidthError(f"{name}: {problem}")
    return values


def excerpt(text: str) -> str:
    """At most 60 characters of ``text`` for a message; what does not print, or could steer a terminal, is escaped."""
    shown = printable(text[:61])
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _too_large(text: str, largest: int) -> str | None:
    """Why ``text`` must not be built, from its parsing events alone; None when it may be."""
    if len(text) > largest:
        return f"over {largest:,} characters; it must be smaller"
    events: Iterable[Event] = YAML(typ="safe").parse(text)
    anchors: dict[str | None, _Node] = {}
    opened = [_Node(None)]
    for event in events:
        line = event.start_mark.line + 1
        ended = None
        if isinstance(event, CollectionStartEvent):
            opened.append(_Node(event.anchor))
        elif isinstance(event, CollectionEndEvent):
            ended = opened.pop()
        elif isinstance(event, ScalarEvent):
            ended = _Node(event.anchor, _OVERHEAD + len(event.value))
        elif isinstance(event, AliasEvent):
            if any(parent.anchor == event.anchor for parent in opened):
                return f"line {line}: Circular reference: '*{excerpt(event.anchor)}' stands within itself"
            ended = anchors.get(event.anchor)  # an unknown one is refused when building
        if ended:
            anchors[ended.anchor] = ended
            opened[-1].take(ended)
        if opened[-1].size > largest:
            return f"line {line}: with its aliases written out this is over {largest:,} characters; use fewer"
        if len(opened) + opened[-1].height > _DEEPEST:
            return f"line {line}: nested too deep; at most {_DEEPEST - 2} levels"
    return None


def _foreign(value: Any, place: str) -> Iterator[str]:
    """What in a value JSON does not have, or Python cannot print."""
    where = f"{place}: " if place else ""
    if isinstance(value, dict):
        for key, child in value.items():
            if not isinstance(key, str):
                yield f"{where}a key that YAML reads as {type(key).__name__}; every key must be text: put it in quotes"
            yield from _foreign(child, f"{place}.{excerpt(str(key))}".lstrip("."))
    elif isinstance(value, list):
        for i, child in enumerate(value):
            yield from _foreign(child, f"{place}.{i}".lstrip("."))
    elif isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            yield f"{where}found a number of {value.bit_length():,} bits; at most {_MOST_BITS:,}"
    elif not isinstance(value, str | float | None):
        yield f"{where}found {excerpt(str(value))}, which YAML reads as {type(value).__name__}; put text in quotes"


def _reason(error: Exception) -> str:
    """One line for what the parser says over several."""
    problem = str(getattr(error, "problem", None) or error or type(error).__name__).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    twice = re.match(r'found duplicate (?:merge )?key "(.*?)"', str(getattr(error, "problem", None)), re.DOTALL)
    if twice:
        return f"{where}key '{excerpt(twice[1])}' is listed twice in the same place; keep one"
    return f"{where}not valid YAML: {excerpt(problem)}"
