"""The rendered dvc.yaml, parsed, and its stages as DVC expands them."""

import json
from pathlib import Path
from typing import Any

import yaml

from worldwidth.pipeline.render import render
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
Stages = dict[str, dict[str, Any]]


def parsed(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render(settings, ROOT))
    return found


def expanded(settings: Settings) -> Stages:
    """Every stage with its name as DVC gives it, ${item} and ${key} filled in."""
    found: Stages = {}
    for name, stage in parsed(settings)["stages"].items():
        if "foreach" not in stage:
            found[name] = stage
            continue
        over = stage["foreach"]
        pairs = over.items() if isinstance(over, dict) else ((item, item) for item in over)
        for key, item in pairs:
            text = json.dumps(stage["do"]).replace("${item}", item).replace("${key}", key)
            found[f"{name}@{key}"] = json.loads(text)
    return found
