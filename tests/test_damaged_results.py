"""Missing and damaged files of a finished study: one line that names the file and the command that makes it.

pytest tests/test_damaged_results.py
"""

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fake_study import arrays, compute
from worldwidth.core.errors import WorldwidthError
from worldwidth.evaluation import tables
from worldwidth.settings.load import load
from worldwidth.settings.paths import CURVES, EVALUATIONS, MATRICES, SCORES
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings() -> Settings:
    return replace(load(ROOT / "params.yaml"), scale="smoke")


def refused(call: Callable[[], object], path: Path, remedy: str) -> None:
    """``call`` fails with one line that names the file and what to do."""
    with pytest.raises(WorldwidthError) as caught:
        call()
    message = str(caught.value)
    del caught
    if path.suffix == ".npz":
        gc.collect(1)  # a file left open warns now, which pytest makes an error of this test
    assert "\n" not in message
    assert str(path) in message
    assert f"`dvc repro {remedy}`" in message


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for at in range(60, len(content) - 60, 7):
        content[at] ^= 0xFF
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("<html>\n<b>a, b, c</b>\n</html>\n")


DAMAGES = [Path.unlink, cut, flip, empty, text]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("model", ["base", "ftwb2-12"])
def test_damaged_scores(settings: Settings, study: Path, damage: Callable[[Path], None], model: str) -> None:
    path = SCORES / f"{model}.npz"
    damage(path)
    refused(lambda: compute(settings), path, f"evaluate@{model}")


@pytest.mark.parametrize(
    "wrong", ["one array is missing", "one array is short", "one array is of text", "no archive but one array"]
)
def test_scores_that_are_not_those_of_this_study(settings: Settings, study: Path, wrong: str) -> None:
    path = SCORES / "ftwb1-3.npz"
    lines = arrays(path)
    if wrong == "one array is missing":
        del lines["crossing.atlantis"]
    elif wrong == "one array is short":
        lines["crossing.atlantis"] = lines["crossing.atlantis"][:-1]
    elif wrong == "one array is of text":
        lines["crossing.atlantis"] = lines["crossing.atlantis"].astype(str)
    if wrong == "no archive but one array":
        with path.open("wb") as file:
            np.save(file, lines["angle.world"])
    else:
        np.savez_compressed(path, **lines)
    refused(lambda: compute(settings), path, "evaluate@ftwb1-3")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_evaluation_of_the_base_model(
    settings: Settings, study: Path, damage: Callable[[Path], None]
) -> None:
    damage(EVALUATIONS / "base.json")
    refused(lambda: compute(settings), EVALUATIONS / "base.json", "evaluate@base")


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_evaluation(settings: Settings, study: Path, damage: Callable[[Path], None]) -> None:
    damage(EVALUATIONS / "ftwb2-15.json")
    refused(lambda: tables.evaluation_table(settings), EVALUATIONS / "ftwb2-15.json", "evaluate@ftwb2-15")


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"distance": {"world": {}}}'])
def test_json_that_is_no_evaluation_of_this_study(settings: Settings, study: Path, content: str) -> None:
    path = EVALUATIONS / "base.json"
    path.write_text(content)
    refused(lambda: compute(settings), path, "evaluate@base")
    refused(lambda: tables.evaluation_table(settings), path, "evaluate@base")


@pytest.mark.parametrize("damage", [*DAMAGES, "no rows", "cut in its last row", "no flops", "more fields than columns"])
def test_a_damaged_training_curve(settings: Settings, study: Path, damage: Callable[[Path], None] | str) -> None:
    path = CURVES / "ftwb1-4.csv"
    content = path.read_text()
    if damage == "no rows":
        path.write_text(content.splitlines()[0] + "\n")
    elif damage == "cut in its last row":
        path.write_text(content[: content.rindex("\n", 0, -1) + 5])
    elif damage == "no flops":
        path.write_text(content.replace("flops", "flop"))
    elif damage == "more fields than columns":
        path.write_text(content + "1,2,3,4,5,6,7,8,9,10\n")
    else:
        assert callable(damage)
        damage(path)
    refused(lambda: tables.compute_summary(settings), path, "ftwb1@4")


@pytest.mark.parametrize("damage", [*DAMAGES, "cut in its last row", "no scores", "one column more", "no text field"])
def test_a_damaged_table_of_cells(settings: Settings, study: Path, damage: Callable[[Path], None] | str) -> None:
    cells, _ = compute(settings)
    table = tables.cells_table(cells)
    tables.write_table(table, MATRICES)
    if damage == "cut in its last row":
        content = MATRICES.read_text()
        MATRICES.write_text(content[: content.rindex("\n", 0, -1) + 40])
    elif damage == "no scores":
        tables.write_table(table.drop(columns="score"), MATRICES)
    elif damage == "one column more":
        tables.write_table(table.assign(width=64), MATRICES)
    elif damage == "no text field":
        tables.write_table(table.assign(matrix=table["matrix"].where(table["model"] != "ftwb1-3")), MATRICES)
    else:
        assert callable(damage)
        damage(MATRICES)
    refused(tables.read_cells, MATRICES, "summarize")


@pytest.mark.parametrize(
    ("model", "whose"),
    [
        (["ftwb1-4", "sha of ftwb1-4"], "another model ftwb1-4"),
        (["ftwb1-3", "sha of another seed"], "other weights than its evaluations"),
        ([], "another model"),
    ],
)
def test_scores_of_another_model(settings: Settings, study: Path, model: list[str], whose: str) -> None:
    path = SCORES / "ftwb1-3.npz"
    np.savez_compressed(path, **(arrays(path) | {"model": np.array(model)}))
    with pytest.raises(WorldwidthError) as caught:
        compute(settings)
    assert str(caught.value) == f"{path}: of {whose}; run `dvc repro evaluate@ftwb1-3`"


def test_evaluations_of_another_model(settings: Settings, study: Path) -> None:
    path = EVALUATIONS / "ftwb1-3.json"
    path.write_bytes((EVALUATIONS / "ftwb1-4.json").read_bytes())
    with pytest.raises(WorldwidthError) as caught:
        compute(settings)
    assert str(caught.value) == f"{path}: of another model, ftwb1-4; run `dvc repro evaluate@ftwb1-3`"


def test_tables_of_other_models_are_not_drawn(settings: Settings) -> None:
    tables.check_models(settings.finetunes, settings, MATRICES)
    tables.check_models(settings.models, settings, MATRICES)
    fewer = [model for model in settings.models if model != "ftwb1-3"]
    refused(lambda: tables.check_models(fewer, settings, MATRICES), MATRICES, "summarize")
    with pytest.raises(WorldwidthError, match=r"^results/matrices.csv: another study's ftwb3-123; "):
        tables.check_models([*settings.models, "ftwb3-123"], settings, MATRICES)


def with_one_wrong_bit(path: Path) -> Iterator[None]:
    """The file with one wrong bit, again and again elsewhere."""
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 500)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        yield
    path.write_bytes(whole)


def test_one_wrong_bit_never_gives_other_scores(study: Path) -> None:
    """The CRC of zip sees to that; what it does not cover are dates and the like."""
    path, found_out = SCORES / "ftwb1-3.npz", 0
    wanted = arrays(path)
    wanted.pop("model")
    lines = {key: values.size for key, values in wanted.items()}
    for _ in with_one_wrong_bit(path):
        try:
            found = tables.load_scores("ftwb1-3", "sha of ftwb1-3", lines)
        except WorldwidthError:
            found_out += 1
        else:
            assert all((found[key] == wanted[key]).all() for key in wanted)
    gc.collect()
    assert found_out > 300


def test_an_evaluation_of_more_tasks_is_refused(settings: Settings, study: Path) -> None:
    fewer = replace(settings, tasks=settings.tasks[:-1])
    refused(lambda: tables.evaluation_table(fewer), EVALUATIONS / "base.json", "evaluate@base")
