"""The whole study's time: `dvc repro`, one stage after another, against `worldwidth run`; and where it goes.

A shim in the place of ``python`` notes when the commands of `dvc repro` start and end: what is between them is DVC.
Start-up is what each stage script takes to its first own line, measured by calling it with arguments that it refuses.
The rest is compute.
"""

import filecmp
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from study import ROOT
from timing import Options, number, print_table
from worldwidth.settings.strict_yaml import read_yaml

_SHIM = """#!/bin/sh
start=$(date +%s.%N)
"{python}" "$@"
code=$?
end=$(date +%s.%N)
times > "{log}.$$"  # not in a pipe: a shell of its own would have used no time
echo "$1 $start $end $(tail -n 1 "{log}.$$")" >> "{log}"
exit $code
"""
_RESULTS = ("results/summary.json", "results/matrices.csv", "results/evaluations.csv", "results/training.csv")
_NOTHING_TO_DO = 3  # times that an idle run is measured


@dataclass(frozen=True)
class _Spent:
    """Wall-clock and processor seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class _Command:
    """One stage's process under `dvc repro`."""

    script: str
    spent: _Spent


def run(options: Options) -> dict[str, Any]:
    """Run the study both ways in fresh folders, as often as there are rounds."""
    scale = "smoke" if options.quick else "laptop"
    rounds = [_round(scale) for _ in range(options.turns(default=1, quick=1))]
    _print(scale, rounds)
    return {"scale": scale, "rounds": rounds}


def _round(scale: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        serial, parallel = Path(place) / "serial", Path(place) / "parallel"
        for folder in (serial, parallel):
            _copy_project(folder, scale)
        start_up = {script: _start_up(serial, script) for script in sorted(_scripts(serial))}
        log, environment = _with_shim(Path(place))
        repro = _measure(serial, environment, "dvc", "repro")
        commands = [_parsed(line) for line in log.read_text(encoding="utf-8").splitlines()]
        side_by_side = _measure(parallel, _environment(), "worldwidth", "run")
        same = all(filecmp.cmp(serial / name, parallel / name, shallow=False) for name in _RESULTS)
        same &= read_yaml(serial / "dvc.lock") == read_yaml(parallel / "dvc.lock")
        starts = sum(start_up[command.script] for command in commands)
        return {
            "commands": len(commands),
            "repro": {
                "wall": repro.wall,
                "cpu": repro.cpu,
                "dvc": repro.wall - sum(command.spent.wall for command in commands),
                "start_up": starts,
                "compute": sum(command.spent.wall for command in commands) - starts,
                "compute_cpu": sum(command.spent.cpu for command in commands) - starts,
            },
            "run": {"wall": side_by_side.wall, "cpu": side_by_side.cpu},
            "same_results_and_lock": same,
            "nothing_to_do": {
                "dvc repro": _idle(lambda: _measure(serial, _environment(), "dvc", "repro")),
                "worldwidth run": _idle(lambda: _measure(parallel, _environment(), "worldwidth", "run")),
            },
            "start_up_of": start_up,
        }


def _copy_project(folder: Path, scale: str) -> None:
    """The project as it stands, without results, in a git repository of its own."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, names):
        if not name.startswith(("results/", "plots/", "dvc.lock")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(params.replace("scale: laptop", f"scale: {scale}", 1), encoding="utf-8")
    author = ["-c", "user.name=b", "-c", "user.email=b@example.org"]
    for command in (["init"], ["add", "."], [*author, "commit", "-m", "b"]):
        subprocess.run(["git", *command], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _environment() -> dict[str, str]:
    """This process's, with the programs beside this Python first and the folder's own code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}


def _with_shim(place: Path) -> tuple[Path, dict[str, str]]:
    """A log, and an environment in which every ``python`` writes its times into it."""
    log, shim = place / "commands.txt", place / "shim" / "python"
    shim.parent.mkdir()
    shim.write_text(_SHIM.format(python=sys.executable, log=log), encoding="utf-8")
    shim.chmod(0o755)
    environment = _environment()
    return log, {**environment, "PATH": f"{shim.parent}{os.pathsep}{environment['PATH']}"}


def _measure(folder: Path, environment: dict[str, str], *command: str) -> _Spent:
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return _Spent(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def _idle(measure: Callable[[], _Spent]) -> float:
    return median(measure().wall for _ in range(_NOTHING_TO_DO))


def _scripts(folder: Path) -> set[str]:
    return {f"stages/{path.name}" for path in (folder / "stages").glob("*.py")}


def _start_up(folder: Path, script: str) -> float:
    """Seconds until a stage has imported everything and read params.yaml; training imports torch's compiler as well."""
    train = script in ("stages/pretrain.py", "stages/finetune.py")
    code = f"import runpy, sys; sys.argv = ['{script}', '', '', '']; runpy.run_path('{script}', run_name='__main__')"
    code = f"import torch._dynamo; {code}" if train else code

    def once() -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=_environment(), stderr=subprocess.DEVNULL)
        return time.perf_counter() - started

    once()
    return median(once() for _ in range(3))


def _parsed(line: str) -> _Command:
    """``stages/NAME.py START END 0m1.5s 0m0.2s``; the last two: the processor's time, the user's and the system's."""
    script, start, end, *cpu = line.split()
    minutes_seconds = [value.rstrip("s").split("m") for value in cpu]
    seconds = sum(60 * float(minutes) + float(rest) for minutes, rest in minutes_seconds)
    return _Command(script, _Spent(float(end) - float(start), seconds))


def _print(scale: str, rounds: list[dict[str, Any]]) -> None:
    rows: list[list[str]] = []
    for found in rounds:
        repro, parallel = found["repro"], found["run"]
        over = repro["dvc"] + repro["start_up"]
        rows.append(
            ["dvc repro", *_cells(repro["wall"], repro["cpu"], repro["compute_cpu"]), f"{over / repro['wall']:.0%}"]
        )
        over = parallel["cpu"] - repro["compute_cpu"]
        share = f"{over / parallel['cpu']:.0%}"
        rows.append(["worldwidth run", *_cells(parallel["wall"], parallel["cpu"], repro["compute_cpu"]), share])
    print_table(f"The study at scale {scale}, seconds", ["", "wall", "CPU", "compute (CPU)", "overhead"], rows)
    for found in rounds:
        repro, idle = found["repro"], found["nothing_to_do"]
        print(
            f"dvc repro: {found['commands']} commands; compute {number(repro['compute'])} s, Python's start-up "
            f"{number(repro['start_up'])} s, DVC {number(repro['dvc'])} s"
            f"\nnothing to do: dvc repro {number(idle['dvc repro'])} s, "
            f"worldwidth run {number(idle['worldwidth run'])} s"
            f"\nresults and dvc.lock the same: {found['same_results_and_lock']}; "
            f"dvc repro / worldwidth run: {repro['wall'] / found['run']['wall']:.2f}"
        )


def _cells(*values: float) -> list[str]:
    return [number(value) for value in values]
