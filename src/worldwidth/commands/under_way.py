"""Curves of trainings under way, from the states that they save now and then: the newest of each model."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from worldwidth.core.files import check_regular
from worldwidth.settings.compute import parameter_count, training_steps
from worldwidth.settings.schema import Settings
from worldwidth.training.resume import STATE, VALUES, states_folder

_LARGEST = 1 << 28  # bytes of a header; a file with a longer one is damaged


def curves_under_way(settings: Settings) -> dict[str, pd.DataFrame]:
    """Model -> its curve so far, of trainings of this study: those of another width or length are left out."""
    found: dict[str, tuple[float, pd.DataFrame]] = {}
    for path in states_folder().glob(f"*/{STATE}"):
        try:
            header, saved_at = _header(path), path.stat().st_mtime
            values = json.loads(header["__metadata__"][VALUES])
            name, size = values["name"], header["weights"]["shape"]
            curve = pd.DataFrame(values["curve"])
        except (OSError, ValueError, KeyError, TypeError):  # it is gone, or cut off
            continue
        fits = name in settings.models and size == [parameter_count(settings.selected, settings.sizes)]
        if fits and values["steps"] == training_steps(settings, name) and len(curve) > 1:  # one point is no line
            found[name] = max(found.get(name, (0.0, curve)), (saved_at, curve), key=lambda one: one[0])
    return {name: curve for name, (_, curve) in found.items()}


def _header(path: Path) -> Any:
    """What stands before the tensors in a file of safetensors: a length, then JSON."""
    check_regular(path)
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _LARGEST:
            raise ValueError("no header")
        return json.loads(file.read(size))
