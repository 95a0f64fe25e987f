"""A whole study of 16 stages through the real DVC, with the quick tests: everything still fits together.

pytest tests/test_tiny_study.py
"""

import json
from pathlib import Path

import pytest

from repository import products
from small_study import copy_of, finished_study


def test_a_tiny_study_from_params_to_figures(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    study = copy_of(finished_study(tmp_path_factory.getbasetemp(), ("ftwb1-1",)), tmp_path)
    study.ok("worldwidth", "check", "--lock")
    assert study.changed_stages() == set()
    made = products(study)
    assert {"data/cities.csv", "models/ftwb1-1/model.safetensors", "plots/ftwb1.png"} <= made.keys()
    summary = json.loads(made["results/summary.json"])
    assert summary["ftwb1"]["cells"] == 3
