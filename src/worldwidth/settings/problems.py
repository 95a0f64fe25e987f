"""What pydantic finds wrong, as one line for people."""

import dataclasses
import json
import re
import typing
from typing import Any

from pydantic import ValidationError

from worldwidth.core.errors import nearest
from worldwidth.settings.strict_yaml import excerpt


def describe(errors: ValidationError, place: str, model: type) -> str:
    """Turn pydantic's errors into one line: path, what was found, what is allowed, nearest name.

    Args:
        place: the path in the file of what was validated; empty for the whole file.
        model: the dataclass that it was to be.

    A misspelt key is both unknown and missing; the unknown one tells more.
    """
    found_errors: list[Any] = list(errors.errors())
    error = next((e for e in found_errors if e["type"] == "unexpected_keyword_argument"), found_errors[0])
    kind, location = error["type"], [str(part) for part in error["loc"] if part != "[key]"]
    if "vary" in location and location[-1] in ("int", "float", "str"):  # what pydantic tried last
        location, error = location[:-1], {**error, "msg": "Input should be a number or text"}
    path = ".".join([*filter(None, [place]), *map(excerpt, location)]) or "the top level"
    if kind == "json_invalid":
        return "holds text that is not valid Unicode"
    found = excerpt(json.dumps(error["input"], ensure_ascii=False))
    if kind == "unexpected_keyword_argument":
        allowed = _keys_at(model, location[:-1])
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


def _keys_at(model: type, location: list[str]) -> list[str]:
    """Names of the settings allowed below ``location`` in ``model``, found by walking the dataclasses."""
    kind: Any = model
    for part in location:
        if dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind)[part]
        elif typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
