"""What stages ran with, what they would run with now, and the first difference: `pytest tests/test_fingerprint.py`."""

from pathlib import Path

import pytest

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.fingerprint import Fingerprint, first_difference, ran_with, would_run_with
from worldwidth.dvcio.lockfile import Record, md5, parse_lock

PARAMS = {"seed": 1, "scales": {"laptop": {"world": {"seed": 42, "cities": 96}}}}


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Record]:
    """Of two stages and a tree that holds what the first has read."""
    monkeypatch.chdir(tmp_path)
    Path("src").mkdir()
    Path("src/cities.py").write_text("code")
    Path("list.csv").write_text("Berlin")
    code, own = md5(Path("src/cities.py")), md5(Path("list.csv"))
    assert code
    assert own
    world = {"scales.laptop.world": {"seed": 42, "cities": 96}}
    return {
        "cities": Record({"src/cities.py": code, "list.csv": own}, world, {"data/cities.csv": "a1"}),
        "base": Record({"data/cities.csv": "a1"}, {"seed": 1}, {"models/base": "b1.dir"}),
    }


def now(ran: Fingerprint, lock: dict[str, Record], params: dict[str, object] | None = None) -> str:
    return first_difference(ran, would_run_with(ran, lock, params or PARAMS))


def test_what_stages_ran_with_is_flat(lock: dict[str, Record]) -> None:
    assert list(ran_with(lock)) == [
        "code src/cities.py", "data list.csv", "params scales.laptop.world", "data data/cities.csv", "params seed",
    ]  # fmt: skip


def test_the_same_tree_makes_no_difference(lock: dict[str, Record]) -> None:
    assert now(ran_with(lock), lock) == ""
    assert now(ran_with(lock), lock, {**PARAMS, "cluster": {"requeues": 9}}) == ""


@pytest.mark.parametrize("path", ["src/cities.py", "list.csv"])
def test_a_file_that_was_edited_or_removed(path: str, lock: dict[str, Record]) -> None:
    Path(path).write_text("edited")
    assert now(ran_with(lock), lock) == f"another {path}"
    Path(path).unlink()
    assert now(ran_with(lock), lock) == f"another {path}"


def test_the_value_that_differs_is_named(lock: dict[str, Record]) -> None:
    params = {"seed": 1, "scales": {"laptop": {"world": {"seed": 42, "cities": 90}}}}
    assert now(ran_with(lock), lock, params) == "scales.laptop.world.cities 96 in place of 90"
    more = {"seed": 1, "scales": {"laptop": {"world": {"seed": 42, "cities": 96, "hills": 3}}}}
    assert now(ran_with(lock), lock, more) == "scales.laptop.world.hills None in place of 3"
    assert now(ran_with(lock), lock, {"seed": 1}).startswith("scales.laptop.world {'seed': 42, ")


def test_an_out_is_what_its_stage_has_written_since(lock: dict[str, Record]) -> None:
    """`dvc repro --single-item cities` leaves a base model of other cities."""
    again = Record(lock["cities"].deps, lock["cities"].params, {"data/cities.csv": "a2"})
    assert now(ran_with({"base": lock["base"]}), {**lock, "cities": again}) == "another data/cities.csv"


def test_an_entry_of_one_alone_is_a_difference() -> None:
    one, other = {"code src/a.py": "1"}, {"code src/a.py": "1", "code src/b.py": "2"}
    assert first_difference(one, other) == first_difference(other, one) == "another src/b.py"


def test_a_lock_file_is_read() -> None:
    text = (
        "schema: '2.0'\nstages:\n  base:\n    cmd: make\n    deps:\n    - path: a\n      hash: md5\n      md5: 0a\n"
        "      size: 1\n    params:\n      params.yaml:\n        seed: 1\n    outs:\n    - path: b\n      md5: 0b.dir\n"
    )
    assert parse_lock(text, "x") == {"base": Record({"a": "0a"}, {"seed": 1}, {"b": "0b.dir"})}
    with pytest.raises(WorldwidthError, match=r"^x is not a lock file that DVC wrote$"):
        parse_lock(text.replace("0b", "../b"), "x")
