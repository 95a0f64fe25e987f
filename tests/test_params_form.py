"""params.yaml is written as DVC writes it: `dvc exp run -S` changes the value and nothing else.

pytest tests/test_params_form.py
"""

import difflib
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import modify_yaml

from params_file import TEXT, VALUES, Place


def leaves(values: Any, place: Place = ()) -> list[tuple[Place, Any]]:
    """Every value of a file that is no mapping."""
    if not isinstance(values, dict):
        return [(place, values)]
    return [found for key, child in values.items() for found in leaves(child, (*place, key))]


def another(value: Any) -> Any:
    """A value of the same kind and length."""
    if isinstance(value, list):
        return [another(item) for item in value]
    return value[:-1] + "x" if isinstance(value, str) and value else 7 if isinstance(value, int) else 7.5


def changed_lines(after: str) -> list[str]:
    difference = difflib.unified_diff(TEXT.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in difference if line.startswith("+") and not line.startswith("+++")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(TEXT, encoding="utf-8")
    return tmp_path / "params.yaml"


def test_what_dvc_reads_it_writes_back(path: Path) -> None:
    with modify_yaml(str(path)):
        pass
    assert path.read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize("override", ["arch=wide", "scales.laptop.corpus.hull_cities=[3,3]"])
def test_an_override_that_says_the_same_changes_no_byte(path: Path, override: str) -> None:
    """DVC turns every list of the file into a plain one, whatever it is asked to set."""
    apply_overrides(path, [override])
    assert path.read_text(encoding="utf-8") == TEXT


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("arch=wider", "arch: wider"),
        ("seed=43", "seed: 43"),
        ("finetuning_budget=flops", "finetuning_budget: flops"),
        ("scales.laptop.finetuning.learning_rate=0.004", "      learning_rate: 0.004"),
        ("scales.laptop.archs.deep.num_hidden_layers=6", "        num_hidden_layers: 6"),
        (
            "scales.laptop.world.atlantis.seed=43",
            "      atlantis: {cities: 24, center: [-35.0, 35.0], std: 3.0, seed: 43}",
        ),
    ],
)
def test_an_override_changes_one_line(path: Path, override: str, line: str) -> None:
    apply_overrides(path, [override])
    (found,) = changed_lines(path.read_text(encoding="utf-8"))
    assert found.startswith(f"+{line}")


def test_every_value_can_be_set_alone(path: Path) -> None:
    """All at once: the file keeps its lines, and a line that holds no value that was set stays as it is."""
    places = leaves(VALUES)
    assert len(places) > 200
    with modify_yaml(str(path)) as values:
        for place, value in places:
            parent = values
            for key in place[:-1]:
                parent = parent[key]
            parent[place[-1]] = another(value)
    before, after = TEXT.splitlines(), path.read_text(encoding="utf-8").splitlines()
    assert len(after) == len(before)
    assert [line.partition("#")[2] for line in after] == [line.partition("#")[2] for line in before]
    assert [line.split(":")[0] for line in after if ":" in line] == [
        line.split(":")[0] for line in before if ":" in line
    ]
