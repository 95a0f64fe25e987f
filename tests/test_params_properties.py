"""Thousands of broken and of sound params.yaml, drawn at random but the same every time.

    pytest tests/test_params_properties.py

Whatever the file holds, ``load`` returns the matrix or says one line; what it accepts is what DVC reads there, and
becomes a dvc.yaml of plain commands on files of the project. The smallest scale of the real file is what is broken.
"""

import copy
import dataclasses
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import dpath
import pytest
import yaml
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA
from dvc.utils.serialize import load_yaml, parse_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dvc_yaml import ROOT, expanded
from matrices import matrices, written_somehow
from params_file import TEXT
from worldwidth.core.errors import WorldwidthError
from worldwidth.pipeline import render as rendering
from worldwidth.pipeline.render import render
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

REPRODUCIBLE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SMALL = re.sub(r"scale: [a-z]+", "scale: smoke", TEXT[: TEXT.index("\n  laptop:")]) + "\n"
VALUES: dict[str, Any] = yaml.safe_load(SMALL)
LINES = SMALL.splitlines()

TRICKS = (
    *("&a ", "*a", "*b", "<<: *a\n", "<<: {seed: 1}\n", "&a [*a]", "<<", "="),
    *("!!python/object/apply:os.system [id]", "!!python/name:os.system ", "!!python/tuple [1]", "!foo ", "! ", "!"),
    *("!!int x", "!!int '7'", "!!bool x", "!!float x", "!!null x", "!!str 1", "!!binary x", "!!binary aGk="),
    *("!!set {a}", "!!timestamp x", "!!omap [a: 1]", "!!pairs [a: 1]", "!!map [1]", "!!seq {a: 1}"),
    *("1e999", "-1e999", ".inf", "-.inf", ".nan", "1" + "0" * 5000, "0x" + "f" * 9000, "1e-999", "1.", "9" * 400),
    *("010", "0o17", "0x1F", "0b11", "1_000", "1:30", "+5", "-0", "1e3", "1e", "_1"),
    *("yes", "on", "off", "null", "~", "true", "2020-01-01", "2020-99-99", "2020-01-01T00:00:00Z"),
    *("\t", "\x00", "\x01", "\x1b[31m", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ufffe", "\U0001f600"),
    *("é", "\r"),
    *("---\n", "...\n", "\n--- {}\n", "%YAML 1.1\n---\n", "%TAG ! tag:x\n---\n", "# ", "\n", "    ", "@", "`", "%"),
    *("[", "]", "{", "}", "? ", ": ", "- ", ", ", "'", '"', "|\n", ">-\n", "[" * 40, "{a: " * 40, "- " * 40),
    *("1: 2\n", "null: 1\n", "true: 1\n", "2020-01-01: 1\n", "[1, 2]: 3\n", "? {a: 1}\n: 1\n"),
    *("0x" + "f" * 9000 + ": 1\n", "x" * 9999),
    *('"\\ud800"', '"\\0\\e\\u2028"', '"a\\nb"', "${seed}", "{{ 7 * 7 }}", "../x", "$(id)"),
)  # fmt: skip


def one_line(path: Path) -> Settings | None:
    """The matrix, or None when ``load`` says one line that is fit for a terminal; anything else fails the test."""
    try:
        return load(path)
    except WorldwidthError as error:
        said = str(error)
        assert said.startswith(f"{path}: ")
        assert said.isprintable()
        assert len(said) < 500 + len(str(path))
        return None


def assert_read_alike(found: Any, by_dvc: Any) -> None:
    """``found``, settings or one of their values, is what DVC read at the same place."""
    if dataclasses.is_dataclass(found):
        defaults = {
            field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            for field in dataclasses.fields(found)
        }
        for name in defaults:
            if name in by_dvc:
                assert_read_alike(getattr(found, name), by_dvc[name])
            else:
                assert getattr(found, name) == defaults[name]
        assert by_dvc.keys() <= defaults.keys()
    elif isinstance(found, dict):
        assert list(found) == list(by_dvc)
        for name, value in found.items():
            assert_read_alike(value, by_dvc[name])
    elif isinstance(found, tuple):
        assert isinstance(by_dvc, list)
        for one, other in zip(found, by_dvc, strict=True):
            assert_read_alike(one, other)
    else:
        assert found == by_dvc
        assert type(by_dvc) in ((int, float) if isinstance(found, float) else (type(found),))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("params") / "params.yaml"


def check(path: Path, text: str) -> Settings | None:
    path.write_text(text, encoding="utf-8", newline="")
    settings = one_line(path)
    if settings:
        assert_read_alike(settings, load_yaml(str(path)))
    return settings


# --- broken files

payloads = st.sampled_from(TRICKS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
places = st.integers(0, len(SMALL))
edits = st.tuples(places, st.sampled_from([0, 0, 0, 1, 5, 40, 400]), payloads)
"""Where, how many characters go, and what comes instead."""


@pytest.mark.many
@settings(REPRODUCIBLE, max_examples=2000)
@given(st.lists(edits, min_size=1, max_size=4))
def test_text_broken_anywhere_is_one_line(path: Path, changes: list[tuple[int, int, str]]) -> None:
    text = SMALL
    for place, length, payload in changes:
        text = text[:place] + payload + text[place + length :]
    check(path, text)


value_lines = st.sampled_from([i for i, line in enumerate(LINES) if re.search(r": +[^ #{]", line)])


@pytest.mark.many
@settings(REPRODUCIBLE, max_examples=2000)
@given(st.dictionaries(value_lines, payloads, min_size=1, max_size=2), st.sampled_from(["{}", "[{}]", "{{{}: 1}}"]))
def test_a_line_with_another_value_is_one_line(path: Path, changes: dict[int, str], form: str) -> None:
    lines = list(LINES)
    for number, payload in changes.items():
        lines[number] = f"{lines[number].split(': ')[0]}: {form.format(payload)}"
    check(path, "\n".join(lines) + "\n")


def places_in(values: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [found for key, child in children for found in ((*place, key), *places_in(child, (*place, key)))]


scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-3, 70) | st.floats() | st.text(max_size=40) | st.binary()
    | st.dates() | st.datetimes() | st.sampled_from(["wide", "smoke", "distance", "geonames", "auto", "all", "muon"])
)  # fmt: skip
keys = (
    st.text(max_size=5)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.dates()
    | st.sampled_from(["seed", "true", "base"])
)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4) | st.sets(scalars, max_size=2),
    max_leaves=8,
)


@pytest.mark.many
@settings(REPRODUCIBLE, max_examples=1000)
@given(st.sampled_from(places_in(VALUES)), st.sampled_from(["set", "set", "add", "rename", "remove"]), keys, junk)
def test_another_value_anywhere_is_one_line(path: Path, place: tuple[Any, ...], how: str, key: Any, value: Any) -> None:
    values = copy.deepcopy(VALUES)
    parent: Any = values
    for part in place[:-1]:
        parent = parent[part]
    if how == "set":
        parent[place[-1]] = value
    elif isinstance(parent, dict):
        old = parent.pop(place[-1]) if how in ("rename", "remove") else value
        if how != "remove":
            parent[key] = old
    else:
        parent.insert(place[-1], value)
    check(path, yaml.dump(values, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True))


def test_the_file_that_is_broken_is_sound(path: Path) -> None:
    assert check(path, SMALL) is not None


def bomb(levels: int) -> str:
    """Ten to the power of ``levels`` values in a few lines."""
    rows = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join([f"a0: &a0 [{', '.join(['x'] * 10)}]", *rows, SMALL])


def merged(levels: int) -> str:
    """The same with merge keys, which are written out while the mappings are built."""
    rows = [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, levels)]
    return "\n".join(["a0: &a0 {x: 1}", *rows, SMALL])


def chain(levels: int) -> str:
    """No line is deep, all together are."""
    rows = [f"a{i}: &a{i} [[[[*a{i - 1}]]]]" for i in range(1, levels)]
    return "\n".join(["a0: &a0 [x]", *rows, SMALL])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(bomb(9), "with its aliases written out this is over", id="aliases of aliases"),
        pytest.param(merged(12), "with its aliases written out this is over", id="merge keys of merge keys"),
        pytest.param(f"a: &a {'x' * 10_000}\nb: [{'*a, ' * 200}]\n", "written out", id="a long text many times"),
        pytest.param(chain(4000), "nested too deep", id="depth in many steps"),
        pytest.param("- " * 100_000, "nested too deep", id="depth in one line"),
        pytest.param("{a: " * 100_000, "nested too deep", id="open braces"),
        pytest.param("# " + "x" * 2**20, "over 1,048,576 characters", id="a huge file"),
    ],
)
def test_what_would_grow_without_bounds_is_refused_before_it_is_built(
    path: Path, text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(text)
    monkeypatch.setattr(YAML, "load", lambda *_: pytest.fail("it was built"))
    with pytest.raises(WorldwidthError, match=expected):
        load(path)


def test_an_alias_that_is_small_is_a_value_like_any_other(path: Path) -> None:
    betas = "betas:\n      - 0.9\n      - 0.999\n"
    shared = SMALL.replace(betas, "betas: &betas [0.9, 0.999]\n", 1)
    shared = shared.replace(betas, "betas: *betas\n", 1)
    assert check(path, shared) == check(path, SMALL)


# --- sound files


@settings(REPRODUCIBLE, max_examples=120)
@given(st.data())
def test_a_sound_matrix_is_never_refused_however_it_is_written(path: Path, data: st.DataObject) -> None:
    values = data.draw(matrices())
    text = data.draw(written_somehow(values))
    path.write_text(text, encoding="utf-8", newline="")
    settings = load(path)
    assert parse_yaml(text, path) == values
    assert_read_alike(settings, parse_yaml(text, path))


PLAIN = re.compile(r"[A-Za-z0-9_@.-]+")


def assert_inside(path: str) -> None:
    """A path of plain characters below the project's folder."""
    parts = PurePosixPath(path).parts
    assert parts
    for part in parts:
        assert PLAIN.fullmatch(part)
        assert part not in ("..", ".git", ".dvc")


@pytest.fixture(scope="module")
def quick_closures() -> Iterator[None]:
    """The imports of the stages are looked up once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("code_closure", "task_closure"):
            patch.setattr(rendering, name, cache(getattr(rendering, name)))
        yield


@pytest.mark.usefixtures("quick_closures")
@settings(REPRODUCIBLE, max_examples=50)
@given(values=matrices())
def test_a_sound_matrix_becomes_plain_commands_on_files_of_the_project(path: Path, values: dict[str, Any]) -> None:
    path.write_text(yaml.dump(values, Dumper=yaml.CSafeDumper, sort_keys=False))
    settings = load(path)
    COMPILED_MULTI_STAGE_SCHEMA(parse_yaml(render(settings, ROOT), "dvc.yaml"))
    stages = expanded(settings)
    assert len(stages) == 9 + len(settings.tasks) + len(settings.finetunes) + 2 * len(settings.models)
    written: list[str] = []
    for stage in stages.values():
        env, assignment, python, script, *arguments = shlex.split(stage["cmd"])
        assert (env, assignment, python) == ("env", "PYTHONPATH=src", "python")
        assert (ROOT / script).is_file()
        assert script in stage["deps"]
        assert all(PLAIN.fullmatch(argument) and not argument.startswith("-") for argument in arguments)
        for key in stage["params"]:
            names = key.replace("${scale}", settings.scale).replace("${arch}", settings.arch)
            assert dpath.get(values, names.replace("${reference}", settings.reference), separator=".") is not None
        outs = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        written += [out if isinstance(out, str) else next(iter(out)) for out in outs]
        for file in stage["deps"]:
            assert_inside(file)
    for file in written:
        assert_inside(file)
    assert len(set(map(str.lower, written))) == len(written), "no two stages write one file, on any disk"
