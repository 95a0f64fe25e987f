"""Where the native code is built and what is said where it cannot be: `pytest tests/test_native_build.py`."""

import ctypes
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plain_decoder import a_config, needs_native
from worldwidth.core.errors import WorldwidthError
from worldwidth.native import build as building
from worldwidth.native.__main__ import main
from worldwidth.native.build import build, instruction_set, library_path
from worldwidth.native.library import library
from worldwidth.native.step import unavailable


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Python environment in an odd place in which nothing is built yet, and no home."""
    folder = tmp_path / "ein Ördner"
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("CPATH", "/nonexistent")
    library.cache_clear()
    yield folder
    library.cache_clear()


@needs_native
def test_it_is_built_once_where_it_is_missing_with_the_same_bytes(
    request: pytest.FixtureRequest,
) -> None:
    instructions = instruction_set()
    expected = build(instructions).read_bytes()
    environment: Path = request.getfixturevalue("environment")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, [instructions] * 2)
    assert first == second == library_path(instructions)
    assert first.is_relative_to(environment)
    assert first.read_bytes() == expected
    assert sorted(path.suffix for path in environment.rglob("*") if path.is_file()) == [".lock", ".so"]
    built = first.stat().st_mtime_ns
    assert build(instructions).stat().st_mtime_ns == built
    assert ctypes.CDLL(str(first)).step


def test_an_edited_source_is_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = library_path("x86_64_v3")
    for source in building.SOURCES.glob("*.?pp"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(building, "SOURCES", tmp_path)
    assert library_path("x86_64_v3") == before
    with (tmp_path / "gemm.hpp").open("a") as file:
        file.write("\n")
    assert library_path("x86_64_v3") not in (before, library_path("x86_64_v4"))


def test_other_processors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(platform, "machine", lambda: "aarch64")
        assert "on aarch64: it needs Linux on x86_64 with AVX2" in unavailable()
    with monkeypatch.context() as patched:
        patched.setattr(building, "processor_flags", lambda: {"fpu", "sse2", "avx"})
        assert "it needs Linux on x86_64 with AVX2" in unavailable()
        patched.setattr(building, "processor_flags", lambda: set(building.INSTRUCTIONS["x86_64_v3"].split()))
        assert instruction_set() == "x86_64_v3"


def test_what_is_missing_or_broken_is_one_line(
    environment: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("worldwidth.native.__main__.instruction_set", lambda: "x86_64_v3")
    monkeypatch.setattr("worldwidth.native.library.instruction_set", lambda: "x86_64_v3")
    with monkeypatch.context() as patched:
        patched.setattr(building, "FLAGS", ("-no-such-flag",))
        main()
        said = capsys.readouterr().out
        assert said.startswith("the native code could not be built: error: ")
        assert said.endswith("; training and decoding run on torch\n")
        assert said.count("\n") == 1

    def nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patched:
        patched.setattr(importlib.metadata, "version", nothing)
        assert unavailable() == "no compiler for the native code: the package ziglang is missing; `make env`"
    environment.mkdir(exist_ok=True)
    path = library_path("x86_64_v3")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("not a library")
    assert unavailable().startswith("the native code could not be loaded: ")
    monkeypatch.setattr(sys, "prefix", "/proc/nowhere")
    with pytest.raises(WorldwidthError, match=r"the native code could not be built: .*No such file"):
        build("x86_64_v3")


def test_heads_that_are_too_large_are_told() -> None:
    assert (
        unavailable(a_config(128, 16, 1))
        == "no native code for heads of 128 channels, only for an even number up to 64"
    )
    assert "heads of 3 channels" in unavailable(a_config(6, 16, 2))


def test_it_runs_without_a_shell_s_settings() -> None:
    """`make env` calls it so, in whatever environment."""
    command = [sys.executable, "-m", "worldwidth.native"]
    done = subprocess.run(command, env={"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, check=True)
    assert done.stderr == b""
