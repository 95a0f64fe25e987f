"""params.yaml -> Settings; :func:`load` is its only reader.

An unknown key, a wrong type or an impossible value is one line that names the path in the file, what was found, what
is allowed and the nearest valid name.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.problems import describe
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import excerpt, parse_yaml, yaml_text

LATER = MappingProxyType({"colours": "RdYlGn"})
"""Keys that params.yaml of an older experiment can lack, and which change no result of it."""
_LARGEST = 2**20  # characters: a hundred times the file with its three scales


def load(path: Path = PARAMS) -> Settings:
    """Read and validate the whole of ``path``.

    Raises:
        WorldwidthError: one line: file, path in it, what was found, what is allowed, nearest name.
    """
    return parse(yaml_text(path, _LARGEST), str(path))


def parse(text: str, name: str, may_lack: Mapping[str, Any] = MappingProxyType({})) -> Settings:
    """The settings of a text.

    Args:
        name: what it is called in an error.
        may_lack: keys at its top that it need not have, with what they then are.

    Raises:
        WorldwidthError: as :func:`load`.
    """
    values = parse_yaml(text, name, _LARGEST)
    if not isinstance(values, dict):
        found = "nothing" if values is None else excerpt(json.dumps(values, ensure_ascii=False))
        raise WorldwidthError(f"{name}: the top level: found {found}; it must be a mapping")
    values = {**may_lack, **values}
    try:
        # JSON is the only form in which pydantic is strict and still takes a list for a tuple.
        settings = TypeAdapter(Settings).validate_json(json.dumps(values))
    except ValidationError as error:
        raise WorldwidthError(f"{name}: {describe(error, '', Settings)}") from None
    problem = broken_rule(settings)
    if problem:
        raise WorldwidthError(f"{name}: {problem}")
    return settings


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of params.yaml, for editors."""
    schema = TypeAdapter(Settings).json_schema()
    for node in _mappings(schema):
        if "patternProperties" in node:  # pydantic leaves other names open there; load() does not
            node["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _mappings(node: Any) -> Iterator[dict[str, Any]]:
    """All mappings inside a JSON value."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _mappings(child)
