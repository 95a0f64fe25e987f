"""dvc.lock and dvc.yaml as plain values, read without DVC: what each stage ran with and wrote, and what it reads."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.pipeline.render import DVC_YAML
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.strict_yaml import parse_yaml, yaml_text

LOCK = Path("dvc.lock")
CODE = ("src", "stages", "templates")  # folders whose files are dependencies as code

_HASH = re.compile(r"[0-9a-z]+(\.dir)?")
_ENTRY = r"^  {}:\n(?:    .*\n)*"  # of a stage, whose name goes in


@dataclass(frozen=True)
class Record:
    """What dvc.lock says of one stage."""

    deps: dict[str, str]
    """Path -> hash."""
    params: dict[str, Any]
    """Key of params.yaml, such as ``scales.laptop.world`` -> its value."""
    outs: dict[str, str]
    """Path -> hash."""


def read_lock(stages: Collection[str] | None = None) -> dict[str, Record]:
    """This tree's dvc.lock by stage; nothing where there is none.

    Args:
        stages: those that are asked for, to save the time of reading the others; None for all.

    Raises:
        WorldwidthError: it is not as DVC writes it.
    """
    if not LOCK.is_file() or (stages is not None and not stages):
        return {}
    text = yaml_text(LOCK)
    return _parsed(text if stages is None else _excerpt(text, stages))


def _excerpt(text: str, stages: Collection[str]) -> str:
    """The entries of some stages, laid out as DVC does; all of ``text`` where one of them cannot be told so."""
    found = [re.search(_ENTRY.format(re.escape(stage)), text, re.MULTILINE) for stage in stages]
    return "stages:\n" + "".join(entry[0] for entry in found if entry) if all(found) else text


@lru_cache(maxsize=1)
def _parsed(text: str) -> dict[str, Record]:
    return records(parse_yaml(text, str(LOCK)), f"{LOCK}:")


def parse_lock(text: str, name: str) -> dict[str, Record]:
    """The text of a dvc.lock by stage; ``name`` is what it is called in an error.

    Raises:
        WorldwidthError: it is not as DVC writes it.
    """
    return records(parse_yaml(text, name), f"{name} is")


def drop_stages(names: list[str]) -> None:
    """Take the entries of stages that there are no more out of this tree's dvc.lock, which DVC never does."""
    text = LOCK.read_text(encoding="utf-8")
    for name in names:
        text = re.sub(_ENTRY.format(re.escape(name)), "", text, flags=re.MULTILINE)
    write_text(LOCK, text)


def records(values: Any, subject: str) -> dict[str, Record]:
    """The values of a dvc.lock by stage. A hash names a file of the cache, so it must be one.

    Raises:
        WorldwidthError: they are not as DVC writes them.
    """
    try:
        found = {
            name: Record(
                deps={file["path"]: file["md5"] for file in stage.get("deps", [])},
                params=dict(stage.get("params", {}).get(PARAMS.name, {})),
                outs={file["path"]: file["md5"] for file in stage.get("outs", [])},
            )
            for name, stage in values["stages"].items()
        }
        files = [file for record in found.values() for file in (*record.deps.items(), *record.outs.items())]
        if all(isinstance(path, str) and _HASH.fullmatch(digest) for path, digest in files):
            return found
    except (KeyError, TypeError, AttributeError, ValueError):
        pass
    raise WorldwidthError(f"{subject} not a lock file that DVC wrote")


def inputs_of(stage: str) -> dict[str, str]:
    """Path of every out of another stage that ``stage`` reads -> that stage, from dvc.yaml."""
    maker = makers()
    return {path: maker[path] for path in stages_of_yaml()[stage].get("deps", []) if path in maker}


def makers() -> dict[str, str]:
    """Path of every out -> the stage that writes it, from dvc.yaml."""
    return {
        out if isinstance(out, str) else next(iter(out)): name
        for name, values in stages_of_yaml().items()
        for kind in ("outs", "metrics", "plots")
        for out in values.get(kind, [])
    }


def recorded_hashes(inputs: Mapping[str, str]) -> dict[str, str]:
    """Path -> the hash that dvc.lock gives it, for outs, each with its stage; what it does not know is left out.

    Raises:
        WorldwidthError: dvc.lock is not as DVC writes it.
    """
    lock = read_lock(sorted(set(inputs.values())))
    found = {path: lock[maker].outs.get(path) for path, maker in inputs.items() if maker in lock}
    return {path: digest for path, digest in found.items() if digest}


def stages_of_yaml() -> dict[str, Any]:
    """The stages of dvc.yaml under the names that DVC gives them, ``${item}`` and ``${key}`` filled in."""
    return _stages_in(yaml_text(DVC_YAML))


@lru_cache(maxsize=1)
def _stages_in(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, stage in parse_yaml(text, str(DVC_YAML))["stages"].items():
        if "foreach" not in stage:
            found[name] = stage
            continue
        each = stage["foreach"]
        for key, item in each.items() if isinstance(each, dict) else zip(each, each, strict=True):
            text = json.dumps(stage["do"]).replace("${item}", item).replace("${key}", key)
            found[f"{name}@{key}"] = json.loads(text)
    return found


def md5(path: Path) -> str | None:
    """The hash that DVC gives a file; None when there is none."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else None


def value_at(values: Any, dotted: str) -> Any:
    """The value that a key of DVC's, such as ``scales.laptop.world``, names in params.yaml; None if there is none."""
    for part in dotted.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
