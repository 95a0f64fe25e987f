"""Does dvc.lock belong to this tree? Its code, its params and its committed results, compared without DVC.

A clone has no models and no corpora, so `dvc status` cannot tell there; this can.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.pipeline.stages import row_of, stage_names
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.schema import Settings
from worldwidth.settings.strict_yaml import read_yaml

LOCK = Path("dvc.lock")
CODE = ("src", "stages", "templates")  # folders whose files are dependencies as code


def check_lock(settings: Settings) -> None:
    """Compare dvc.lock with the tree.

    Raises:
        WorldwidthError: dvc.lock was written by other code, params or results; the first difference is named.
    """
    if not LOCK.is_file():
        raise WorldwidthError(f"{LOCK}: not found; run `dvc repro`")
    try:
        problem = next(_differences(settings, read_yaml(LOCK)["stages"], read_yaml(PARAMS)), None)
    except (KeyError, TypeError, AttributeError):
        problem = "not a lock file that DVC wrote"
    if problem:
        raise WorldwidthError(f"{LOCK}: {problem}; run `dvc repro` and commit what comes out")


def _differences(settings: Settings, stages: dict[str, Any], params: dict[str, Any]) -> Iterator[str]:
    for name in stage_names(settings):
        if name not in stages:
            yield f"stage {name} has never run"
            continue
        stage = stages[name]
        for dep in stage.get("deps", []):
            path = Path(dep["path"])
            if path.parts[0] in CODE and md5(path) != dep["md5"]:
                yield f"stage {name} ran with another {path}"
        for key, value in stage.get("params", {}).get(PARAMS.name, {}).items():
            if value_at(params, key) != value:
                yield f"stage {name} ran with another value of {key}"
        if row_of(name).in_git:
            for out in stage.get("outs", []):
                if md5(Path(out["path"])) != out["md5"]:
                    yield f"{out['path']} is not what stage {name} wrote"
    for name in stages.keys() - set(stage_names(settings)):
        yield f"stage {name} is no stage of dvc.yaml any more: delete its entry"


def md5(path: Path) -> str | None:
    """The hash that DVC gives a file; None when there is none."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() if path.is_file() else None


def value_at(values: Any, dotted: str) -> Any:
    """The value that a key of DVC's, such as ``scales.laptop.world``, names in params.yaml; None if there is none."""
    for part in dotted.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
