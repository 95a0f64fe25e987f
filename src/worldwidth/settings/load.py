"""params.yaml -> Settings; :func:`load` is its only reader.

An unknown key, a wrong type or an impossible value is one line that names the path in the file, what was found, what
is allowed and the nearest valid name.
"""

import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from worldwidth.core.errors import WorldwidthError, nearest
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.rules import broken_rule
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import excerpt, read_yaml

_LARGEST = 2**20  # characters: a hundred times the file with its three scales


def load(path: Path = PARAMS) -> Settings:
    """Read and validate the whole of ``path``.

    Raises:
        WorldwidthError: one line: file, path in it, what was found, what is allowed, nearest name.
    """
    values = read_yaml(path, _LARGEST)
    if not isinstance(values, dict):
        found = "nothing" if values is None else excerpt(json.dumps(values, ensure_ascii=False))
        raise WorldwidthError(f"{path}: the top level: found {found}; it must be a mapping")
    try:
        # JSON is the only form in which pydantic is strict and still takes a list for a tuple.
        settings = TypeAdapter(Settings).validate_json(json.dumps(values))
    except ValidationError as error:
        raise WorldwidthError(f"{path}: {_describe(error)}") from None
    problem = broken_rule(settings)
    if problem:
        raise WorldwidthError(f"{path}: {problem}")
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


def _describe(errors: ValidationError) -> str:
    """Turn pydantic's errors into one line: path, what was found, what is allowed, nearest name.

    A misspelt key is both unknown and missing; the unknown one tells more.
    """
    found_errors: list[Any] = list(errors.errors())
    error = next((e for e in found_errors if e["type"] == "unexpected_keyword_argument"), found_errors[0])
    kind, location = error["type"], [str(part) for part in error["loc"] if part != "[key]"]
    path = ".".join(map(excerpt, location)) or "the top level"
    if kind == "json_invalid":
        return "holds text that is not valid Unicode"
    found = excerpt(json.dumps(error["input"], ensure_ascii=False))
    if kind == "unexpected_keyword_argument":
        allowed = _keys_at(location[:-1])
        return f"{path}: unknown key; allowed here: {', '.join(allowed)}{nearest(location[-1], allowed)}"
    if kind in ("missing", "missing_keyword_only_argument"):
        return f"{path}: missing; it must be set"
    if "[key]" in error["loc"]:
        return f"{path}: not a valid name here; it must match {error['ctx']['pattern']}"
    if kind == "literal_error":
        allowed = [part.strip(" '") for part in error["ctx"]["expected"].replace(" or ", ",").split(",")]
        return f"{path}: found {found}; allowed: {', '.join(allowed)}{nearest(str(error['input']), allowed)}"
    rule = re.sub(r"^\w+ should ", "", error["msg"])
    for term, plain in (("an object", "a mapping"), ("a valid array", "a list"), (" after validation", "")):
        rule = rule.replace(term, plain)
    return f"{path}: found {found}; it must {rule}"


def _keys_at(location: list[str]) -> list[str]:
    """Names of the settings allowed below ``location``, found by walking the dataclasses."""
    kind: Any = Settings
    for part in location:
        if dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind)[part]
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
