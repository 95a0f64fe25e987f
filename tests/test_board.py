"""`execution.tensorboard`: curves that TensorBoard can read while they grow. `pytest tests/test_board.py`."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.progress import Standing
from worldwidth.engine.board import board

FIRST = Standing("ftwb1-3", 10, 40, 2.5, 1000.0, 3.0, resumed=False)


def scalars(folder: Path) -> dict[str, list[tuple[float, int, float]]]:
    """By tag wall time, step and value, as TensorBoard reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    found = EventAccumulator(str(folder))
    found.Reload()
    return {
        tag: [(event.wall_time, event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_a_training_is_a_run_of_tensorboard(empty_project: Path) -> None:
    with board("curves") as write:
        write("wide-epochs-s1: ftwb1@3", 100.0, FIRST)
        write("wide-epochs-s1: ftwb1@3", 101.0, replace(FIRST, step=20, loss=1.5))
        write("base", 102.0, replace(FIRST, loss=0.5))
    assert scalars(Path("curves/wide-epochs-s1/ftwb1-3")) == {
        "loss": [(100.0, 10, 2.5), (101.0, 20, 1.5)],
        "tokens a second": [(100.0, 10, 1000.0), (101.0, 20, 1000.0)],
    }
    assert scalars(Path("curves/base"))["loss"] == [(102.0, 10, 0.5)]


def test_it_is_off_by_default(empty_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with board("") as write:
        write("base", 100.0, FIRST)
    assert list(empty_project.iterdir()) == []


def test_without_tensorboard_one_line_says_what_to_do(empty_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with (
        pytest.raises(WorldwidthError, match=r"^execution.tensorboard: found 'curves', but .*pip install"),
        board("curves"),
    ):
        pass


def test_a_folder_that_cannot_be_is_named(empty_project: Path) -> None:
    Path("curves").write_text("a file")
    with pytest.raises(WorldwidthError, match=r"^execution.tensorboard: curves/base: "), board("curves") as write:
        write("base", 100.0, FIRST)
