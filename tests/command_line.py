"""A command in this process, in a folder that holds params.yaml alone, at smoke scale."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from worldwidth import cli
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]


def smoke() -> Settings:
    settings = replace(load(ROOT / "params.yaml"), scale="smoke", arch="narrow")
    scale = replace(settings.selected, statistics=replace(settings.selected.statistics, resamples=100))
    return replace(settings, scales={**settings.scales, "smoke": scale})


def write_params() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    Path("params.yaml").write_text(re.sub(r"(?m)^scale: \w+", "scale: smoke", text), encoding="utf-8")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of `worldwidth ARGUMENTS`."""
    monkeypatch.setattr(sys, "argv", ["worldwidth", *arguments])
    try:
        cli.main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0
