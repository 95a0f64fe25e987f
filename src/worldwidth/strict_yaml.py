"""params.yaml as plain Python values, read by PyYAML's safe loader with two repairs.

PyYAML keeps the last of two equal keys without a word, and reads numbers as YAML 1.1 does: ``1e-3`` is
text, ``010`` is 8, ``1:30`` is 90. DVC, which reads the same file, does none of that; so that the two
always agree, here a repeated key is an error and numbers are those of YAML 1.2.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from worldwidth.errors import WorldwidthError


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise WorldwidthError(f"line {line}: key '{key}' stands twice in the same place; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


# Numbers as YAML 1.2 writes them: no octal 010, no 1:30 in base sixty, and 1e-3 without a dot.
_NUMBERS = {
    "tag:yaml.org,2002:int": r"[-+]?[0-9]+",
    "tag:yaml.org,2002:float": r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in _NUMBERS.items():
    _StrictLoader.add_implicit_resolver(_tag, re.compile(f"^({_pattern})$"), list("-+.0123456789"))
_StrictLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def read_yaml(path: Path) -> Any:
    """Read one YAML document.

    Raises:
        WorldwidthError: the file is missing, is not UTF-8, is not YAML, or repeats a key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; run this in the project's folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorldwidthError(f"{path}: not readable as UTF-8 text ({error})") from None
    try:
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader: builds no Python objects
    except WorldwidthError as error:
        raise WorldwidthError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise WorldwidthError(f"{path}:{where} not valid YAML: {problem}") from None
