"""The doctor on the environment: Python, packages, programs, cores and GPUs."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from worldwidth.core.machine import cores
from worldwidth.doctor.finding import REBUILD, Finding, State, listed, quoted, shown

_PYPROJECT, _CONSTRAINTS, _READY = Path("pyproject.toml"), Path("constraints.txt"), Path(".venv/.ready")
_INSTALL_PROGRAM = "brew install" if sys.platform == "darwin" else "sudo apt-get install"
_ACTIVATE = Path(".venv/bin/activate")
_PROJECT = ("params.yaml", "dvc.yaml")
_INSTALL = "python -m pip install --constraint constraints.txt --editable '.[dev]'"


def check_start() -> Iterator[Finding]:
    """Can anything be examined: the project's folder, the user's to write to, and the packages? At most one problem."""
    if not any(map(os.path.lexists, _PROJECT)):
        above = [folder for folder in Path.cwd().parents if all((folder / name).is_file() for name in _PROJECT)]
        command = f"cd {quoted(above[0])} && make doctor" if above else ""
        yield Finding("folder", "problem", "this is not the project's folder: no params.yaml, no dvc.yaml", command)
    elif not os.access(Path(), os.W_OK | os.X_OK, effective_ids=True) and Path().stat().st_uid != os.geteuid():
        text = "the project's folder belongs to another user, and you may not write to it: work in a clone of your own"
        yield Finding("folder", "problem", text, f"git clone {quoted(Path.cwd())} ~/worldwidth")
    elif _PYPROJECT.is_file() and (missing := _missing_packages()):
        text = f"{listed(missing, 3)} not installed in {shown(sys.prefix)}, the environment that is in use"
        command = "make env"
        if _READY.is_file():
            command = REBUILD if Path(sys.prefix).resolve() == _READY.parent.resolve() else f"source {_ACTIVATE}"
        yield Finding("environment", "problem", text, command)


def _missing_packages() -> list[str]:
    names = [re.match(r"[\w.-]+", line) for line in _project()["dependencies"]]
    there = {_key(found.name) for found in importlib.metadata.distributions()}
    return [name[0] for name in names if name and _key(name[0]) not in there]


def check_environment() -> Iterator[Finding]:
    """Is .venv as new as what it is made from? The same question that make asks before every target."""
    if not _READY.is_file():
        yield Finding("environment", "warning", f"{_READY} is not there: `make env` has not ended here", "make env")
        return
    made = _READY.stat().st_mtime_ns
    if newer := [path.name for path in (_PYPROJECT, _CONSTRAINTS) if path.exists() and path.stat().st_mtime_ns > made]:
        yield Finding("environment", "warning", f".venv is older than {' and '.join(newer)}", "make env")


def check_own_package() -> Iterator[Finding]:
    """Is the code that runs here the code that lies here? Stages take src/ by themselves; the command does not."""
    imported, here = Path(__file__).resolve().parents[1], Path("src/worldwidth").resolve()
    # an installation in place leaves a second description, without its origin, in src/
    installed = importlib.metadata.distributions(name="worldwidth")
    origins = [distribution.read_text("direct_url.json") or "" for distribution in installed]
    if not here.is_dir():
        yield Finding("worldwidth", "problem", "src/worldwidth is not here", "git checkout HEAD -- src")
    elif imported != here:
        yield Finding("worldwidth", "problem", f"the code that runs is that of {imported}", _INSTALL)
    elif not origins:
        yield Finding("worldwidth", "problem", "not installed in this environment", REBUILD)
    elif here.parents[1] not in map(_folder_of, origins):
        yield Finding("worldwidth", "warning", "the `worldwidth` command is installed from another folder", _INSTALL)


def check_python() -> Iterator[Finding]:
    """Does pyproject.toml allow this Python?"""
    from packaging.specifiers import SpecifierSet

    allowed, version = _project()["requires-python"], ".".join(map(str, sys.version_info[:3]))
    text, fits = f"{version}, {allowed} is required; {shown(sys.executable)}", version in SpecifierSet(allowed)
    command = "" if fits else "rm -rf .venv && make PYTHON=python3.12 env"
    yield Finding("Python", "ok" if fits else "problem", text, command)


def check_packages() -> Iterator[Finding]:
    """Is every package there, in a version that is allowed, and in the one the results were made with?"""
    from packaging.requirements import Requirement

    project, constraints = _project(), _CONSTRAINTS.read_text(encoding="utf-8")
    versions = {_key(found.name): found.version for found in importlib.metadata.distributions()}
    pins = [pin for pin in re.findall(r"^[\w.-]+==\S+", constraints, re.M) if _key(pin.split("==")[0]) in versions]
    rows: list[tuple[str, State, list[str], str]] = [
        ("packages", "problem", project["dependencies"], ""),
        ("packages for tests", "warning", project["optional-dependencies"]["dev"], ""),
        ("pinned versions", "warning", pins, "last digits of results may differ from those in git: "),
    ]
    for checked, fault, lines, meaning in rows:
        wrong: list[str] = []
        for requirement in map(Requirement, lines):
            version = versions.get(_key(requirement.name))
            if not version:
                wrong.append(f"{requirement.name} is not installed")
            elif not requirement.specifier.contains(version, prereleases=True):
                wrong.append(f"{requirement.name} {version} is not {requirement.specifier}")
        if wrong:
            yield Finding(checked, fault, f"{meaning}{listed(wrong)}", REBUILD)
    needed = {_key(Requirement(line).name) for line in project["dependencies"]}
    elsewhere = [folder for name in sorted(needed) if (folder := _before_this_environment(name))]
    if elsewhere:
        text = f"PYTHONPATH puts packages of other folders before those of {shown(sys.prefix)}: {listed(elsewhere)}"
        yield Finding("PYTHONPATH", "warning", text, "unset PYTHONPATH")


def check_programs() -> Iterator[Finding]:
    """Stages run `python ...`: the one on PATH must be this one. DVC needs git; only people need make."""
    own = {Path(sysconfig.get_path("scripts")).resolve(), Path(sys.executable).parent.resolve()}
    activate = Path(sys.prefix) / "bin" / "activate"
    command = f"source {quoted(activate if activate.is_file() else _ACTIVATE)}"
    for name in ("python", "dvc"):
        place = shutil.which(name)
        if place is None or Path(place).parent.resolve() not in own:
            text = f"the one on PATH is {place}, not of this environment" if place else "not on PATH: stages cannot run"
            yield Finding(f"`{name}`", "problem", text, command)
    shell = os.environ.get("SHELL") or "/bin/sh"
    try:
        works = not subprocess.run([shell, "-c", "exit 0"], capture_output=True, timeout=10).returncode
    except (OSError, subprocess.TimeoutExpired):
        works = False
    if not works:
        text = f"SHELL is {shell}, to which DVC gives every command, and it runs none"
        yield Finding("shell", "problem", text, "export SHELL=/bin/sh")
    if not shutil.which("git"):
        yield Finding("`git`", "problem", "not on PATH; DVC needs it", f"{_INSTALL_PROGRAM} git")
    if not shutil.which("make"):
        text = "not on PATH; only the targets of the Makefile need it"
        yield Finding("`make`", "warning", text, f"{_INSTALL_PROGRAM} make")


def check_hardware() -> Iterator[Finding]:
    """Do torch and the native step start, and is there what params.yaml asks for?"""
    import torch

    from worldwidth.native.step import unavailable
    from worldwidth.settings.load import load
    from worldwidth.settings.paths import PARAMS

    here, gpus = cores(), torch.cuda.device_count()
    mps = "; Apple's GPU (MPS) is not used: runs take the CPU" if torch.backends.mps.is_available() else ""
    yield Finding("torch", "ok", f"{torch.__version__}; CPU cores: {here}, GPUs: {gpus}{mps}")
    settings = load()
    asked, key, edit = settings.selected.hardware, f"scales.{settings.scale}.hardware", f"${{EDITOR:-vi}} {PARAMS}"
    threads = max(asked.threads, asked.pretraining_threads)
    if asked.device == "cuda" and not gpus:
        yield Finding("hardware", "problem", f"{key}.device is cuda, and torch sees no GPU here", edit)
    elif (reason := unavailable()) and asked.engine == "native":
        yield Finding("hardware", "problem", f"{key}.engine is native, and {reason}", edit)
    elif reason:
        yield Finding("native step", "warning", f"{reason}; on a CPU torch computes, which takes 3 to 7 times as long")
    else:
        yield Finding("native step", "ok", "built for this machine")
    if asked.device != "cuda" and threads > here:
        yield Finding("hardware", "warning", f"{key} asks for {threads} threads; CPU cores here: {here}", edit)


def _folder_of(origin: str) -> Path | None:
    """The folder that pip installed from, by its record; None if it was none."""
    url = urlsplit(json.loads(origin or "{}").get("url", ""))
    return Path(url2pathname(url.path)).resolve() if url.scheme == "file" else None


def _before_this_environment(package: str) -> str:
    """The package and its folder, where PYTHONPATH brings it; empty where it does not."""
    added = [Path(entry).resolve() for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    found = next(iter(importlib.metadata.distributions(name=package)), None)
    folder = Path(str(found.locate_file(""))).resolve() if found else None
    return f"{package} ({shown(folder)})" if folder in added and folder else ""


def _key(name: str) -> str:
    """The name of a package as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]
    return table
