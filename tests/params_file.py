"""The real params.yaml, and edited copies of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

PARAMS = Path(__file__).parents[1] / "params.yaml"
TEXT = PARAMS.read_text(encoding="utf-8")
VALUES: dict[str, Any] = yaml.safe_load(TEXT)
MISSING = object()
Place = tuple[str | int, ...]

SMOKE: Place = ("scales", "smoke")
PLACES: dict[Place, tuple[str, str]] = {  # where: an unknown key, the name that was meant
    (): ("aerch", "arch"),
    SMOKE: ("modell", "model"),
    (*SMOKE, "world"): ("citys", "cities"),
    (*SMOKE, "world", "atlantis"): ("centre", "center"),
    (*SMOKE, "corpus"): ("hull_citys", "hull_cities"),
    (*SMOKE, "corpus", "atlantis"): ("tests", "test"),
    (*SMOKE, "model"): ("num_layers", "num_hidden_layers"),
    (*SMOKE, "archs", "wide"): ("hidden", "hidden_size"),
    (*SMOKE, "pretraining"): ("learning_rat", "learning_rate"),
    (*SMOKE, "finetuning"): ("epoch", "epochs"),
    (*SMOKE, "evaluation"): ("batchsize", "batch_size"),
    (*SMOKE, "statistics"): ("resample", "resamples"),
    (*SMOKE, "hardware"): ("thread", "threads"),
}
AT_EVERY_LEVEL = pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(place) or "top")


def edited(*changes: tuple[Place, Any]) -> dict[str, Any]:
    """The parsed params.yaml with values set, or taken out with MISSING."""
    values = copy.deepcopy(VALUES)
    for path, value in changes:
        place: Any = values
        for part in path[:-1]:
            place = place[part]
        if value is MISSING:
            del place[path[-1]]
        else:
            place[path[-1]] = value
    return values


def written(folder: Path, content: dict[str, Any] | list[Any] | str | bytes) -> Path:
    path = folder / "params.yaml"
    if isinstance(content, (dict, list)):
        content = yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def with_seed(text: str) -> str:
    """The text of params.yaml with another seed line."""
    assert TEXT.count("\nseed: 42 ") == 1
    return TEXT.replace("\nseed: 42 ", f"\n{text} ")
