"""The same commit, params and machine give the same bytes, wherever and however the stages are started.

That a whole study is the same run serially and in parallel, in two folders, is in test_parallel.py.

pytest tests/test_determinism.py
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from repository import PROJECT, Repository, products
from small_study import copy_of, finished_study
from worldwidth.data.random_streams import stream

STAGES = (
    ("cities",), ("corpus", "distance"), ("corpus", "compass"), ("corpus", "inside"), ("atlantis",), ("recipe",),
    ("added",), ("pretrain",), ("finetune", "ftwb1-1"), ("finetune", "ftwb2-15"),
    ("evaluate", "base"), ("evaluate", "ftwb1-1"), ("represent", "base"), ("represent", "ftwb1-1"),
)  # fmt: skip

# what one machine may have otherwise than another, or one day than the next
SURROUNDINGS = {"PYTHONHASHSEED": "2", "TZ": "Asia/Kathmandu", "LC_ALL": "C", "OMP_NUM_THREADS": "2"}


@pytest.mark.pipeline
def test_surroundings_change_no_byte(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    """Another folder, hash seed, time zone, locale and number of threads, and no DVC: as `worldwidth run` made it."""
    study, folder = finished_study(tmp_path_factory.getbasetemp()), tmp_path / "a folder with blanks"
    copy_of(study, folder)
    for made in (".git", ".dvc", "data", "models", "results", "plots"):
        shutil.rmtree(folder / made)
    for stage, *arguments in STAGES:
        command = [sys.executable, f"stages/{stage}.py", *arguments]
        environment = os.environ | SURROUNDINGS | {"PYTHONPATH": "src"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    one, other = products(study), products(Repository.at(folder))
    assert len(other) > 60
    assert other.keys() <= one.keys()
    assert [name for name in other if other[name] != one[name]] == []


# named streams

GLOBAL = ("torch.rand", "torch.randn", "torch.randint", "torch.randperm", "torch.manual_seed", "os.urandom")


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for folder in ("src", "stages"):
        for path in sorted((PROJECT / folder).rglob("*.py")):
            yield from ((path.relative_to(PROJECT), node) for node in ast.walk(ast.parse(path.read_text("utf-8"))))


def test_every_stream_has_a_first_name_of_its_own() -> None:
    calls = [
        (path, node)
        for path, node in nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "stream"
    ]
    named = [(path, node.args[1]) for path, node in calls if path.name != "random_streams.py"]
    names = [name.value for _, name in named if isinstance(name, ast.Constant)]
    assert len(names) == len(named) >= 7, "a stream's first name is written where it is used"
    assert len(set(names)) == len(names)


def test_nothing_else_is_random() -> None:
    """No global stream, no clock, no order of chance."""
    forbidden = {"random", "secrets", "uuid"}
    for path, node in nodes():
        if isinstance(node, ast.Import):
            assert not forbidden & {alias.name for alias in node.names}, path
        if isinstance(node, ast.ImportFrom):
            assert node.module not in forbidden, path
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if path.name != "random_streams.py":
                assert not text.startswith(("np.random.", "numpy.random.")) or text == "np.random.Generator", path
            assert text not in GLOBAL, path


def test_streams_are_independent() -> None:
    """Under one seed as well as under neighbouring seeds, and where names look alike."""
    names = [("order", "base", 0), ("order", "base", 1), ("order", "ftwb1-1", 0), ("city_id",), ("atlantis",)]
    drawn = {(seed, name): stream(seed, *name).random(2000) for seed in (0, 1, 42) for name in names}
    for one, other in combinations(drawn.values(), 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    assert stream(1, "a").integers(2**63) == stream(1, "a").integers(2**63)
