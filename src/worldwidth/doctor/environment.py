"""The doctor on the environment: Python, packages, programs, cores and GPUs."""

import importlib.metadata
import os
import re
import shutil
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldwidth.doctor.finding import Finding, listed, one_line, quoted, rebuild, shown

_PYPROJECT = Path("pyproject.toml")
_CONSTRAINTS = Path("constraints.txt")
_READY = Path(".venv/.ready")
_INSTALL = "python -m pip install --constraint constraints.txt --editable '.[dev]'"


def check_python() -> Iterator[Finding]:
    """Is this environment as new as what it was made from, with this folder's code and a Python that it allows?"""
    yield _environment()
    yield _own_package()
    from packaging.specifiers import SpecifierSet

    allowed = _project()["requires-python"]
    version = ".".join(map(str, sys.version_info[:3]))
    if version in SpecifierSet(allowed):
        yield Finding("Python", "ok", f"{version} ({allowed} is asked for), {shown(sys.executable)}")
    else:
        command = "rm -rf .venv && make PYTHON=python3.12 env"
        yield Finding("Python", "problem", f"{version}, and {allowed} is asked for", command)


def _environment() -> Finding:
    """The same question that make asks before every target."""
    if not _READY.is_file():
        return Finding("environment", "warning", f"{_READY} is not there: `make env` has not ended here", "make env")
    made = _READY.stat().st_mtime_ns
    newer = [path.name for path in (_PYPROJECT, _CONSTRAINTS) if path.exists() and path.stat().st_mtime_ns > made]
    if newer:
        return Finding("environment", "warning", f".venv is older than {' and '.join(newer)}", "make env")
    return Finding("environment", "ok", ".venv is as new as pyproject.toml and constraints.txt")


def _own_package() -> Finding:
    """Is the code that runs here the code that lies here? Stages take src/ by themselves; the command does not."""
    imported, here = Path(__file__).resolve().parents[1], Path("src/worldwidth").resolve()
    if not here.is_dir():
        return Finding("worldwidth", "problem", "src/worldwidth is not here", "git checkout HEAD -- src")
    if imported != here:
        return Finding("worldwidth", "problem", f"the code that runs is that of {imported}", _INSTALL)
    # an installation in place leaves a second description, without its origin, in src/
    installed = list(importlib.metadata.distributions(name="worldwidth"))
    if not installed:
        return Finding("worldwidth", "problem", "not installed in this environment", rebuild())
    origins = [distribution.read_text("direct_url.json") or "" for distribution in installed]
    if not any(f'"file://{Path.cwd()}"' in origin for origin in origins):
        return Finding("worldwidth", "warning", "the `worldwidth` command is installed from another folder", _INSTALL)
    return Finding("worldwidth", "ok", "installed from this folder")


def check_packages() -> Iterator[Finding]:
    """Is every package there, in a version that is allowed, and in the one the results were made with?"""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    project = _project()
    for checked, lines, state in (
        ("packages", project["dependencies"], "problem"),
        ("packages for tests", project["optional-dependencies"]["dev"], "warning"),
    ):
        wrong = [text for line in lines if (text := _misfit(Requirement(line)))]
        if wrong:
            yield Finding(checked, "problem" if state == "problem" else "warning", listed(wrong), rebuild())
        else:
            yield Finding(checked, "ok", f"all {len(lines)} of pyproject.toml")
    pins = re.findall(r"^([\w.-]+)==(\S+)", _CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    there = [(name, pin, found) for name, pin in pins if (found := _version(name))]
    other = [f"{name} {found} instead of {pin}" for name, pin, found in there if found not in SpecifierSet(f"=={pin}")]
    if other:
        found = f"not as in constraints.txt, so last digits of results may differ: {listed(other)}"
        yield Finding("pinned versions", "warning", found, rebuild())
    else:
        yield Finding("pinned versions", "ok", "all as in constraints.txt")


def _misfit(requirement: Any) -> str:
    """Why an installed package does not do; empty if it does."""
    found = _version(requirement.name)
    if found is None:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} {found} is not {requirement.specifier}"
    return ""


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_programs() -> Iterator[Finding]:
    """Stages run `python ...`: the one on PATH must be this one. `worldwidth run` needs make, and DVC needs git."""
    own = {Path(sysconfig.get_path("scripts")).resolve(), Path(sys.executable).parent.resolve()}
    activate = Path(sys.prefix) / "bin" / "activate"
    command = f"source {quoted(activate if activate.is_file() else Path('.venv/bin/activate'))}"
    for name in ("python", "dvc"):
        place = shutil.which(name)
        if place is None:
            yield Finding(f"`{name}`", "problem", "not on PATH: stages cannot run", command)
        elif Path(place).parent.resolve() not in own:
            found = f"the one on PATH is {place}, not of this environment"
            yield Finding(f"`{name}`", "problem", found, command)
        else:
            yield Finding(f"`{name}`", "ok", shown(place))
    for name, what in (("git", "DVC"), ("make", "`worldwidth run`")):
        place = shutil.which(name)
        if place is None:
            yield Finding(f"`{name}`", "problem", f"not on PATH; {what} needs it", f"sudo apt-get install {name}")
        else:
            yield Finding(f"`{name}`", "ok", place)


def check_hardware() -> Iterator[Finding]:
    """Does torch start, and is there what params.yaml asks for?"""
    try:
        import torch
    except ImportError as error:
        yield Finding("torch", "problem", f"cannot be imported: {one_line(error)}", rebuild())
        return
    cores, threads, gpus = len(os.sched_getaffinity(0)), torch.get_num_threads(), torch.cuda.device_count()
    yield Finding("torch", "ok", f"{torch.__version__}: CPU cores: {cores}, threads: {threads}, GPUs: {gpus}")

    from worldwidth.core.errors import WorldwidthError
    from worldwidth.settings.load import load
    from worldwidth.settings.paths import PARAMS

    try:
        settings = load()
    except WorldwidthError:
        return  # said by the check of params.yaml
    asked, edit = settings.selected.hardware, f"${{EDITOR:-vi}} {PARAMS}"
    key = f"scales.{settings.scale}.hardware"
    if asked.device == "cuda" and not gpus:
        yield Finding("hardware", "problem", f"{key}.device is cuda, and torch sees no GPU here", edit)
    elif asked.device != "cuda" and max(asked.threads, asked.pretraining_threads) > cores:
        most = max(asked.threads, asked.pretraining_threads)
        yield Finding("hardware", "warning", f"{key} asks for {most} threads; CPU cores here: {cores}", edit)
    else:
        yield Finding("hardware", "ok", f"{key} fits: {asked.device}, threads a job: {asked.threads}")


def _project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]
    return table
