"""Kill a training and the whole pipeline at random moments until they are through: `python benchmarks/soak.py`.

Each is run once uninterrupted, then killed again and again and started anew; what comes out must be the same bytes.
Writes a row for every life to docs/results/soak.csv. Takes about half an hour; it works on copies of the project.
"""

import argparse
import csv
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
GOES_ON = re.compile(r"(\S+): goes on after step ([\d,]+) of ([\d,]+)")


@dataclass(frozen=True)
class Soak:
    """What is killed, and how long after its start."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    """One after another, again and again; the first makes the reference."""
    seconds: tuple[float, float]
    settings: dict[str, str]
    """Top-level keys of params.yaml that are changed."""


SOAKS = (
    Soak("training", (("dvc", "repro", "base"),), (3.0, 20.0), {"scale": "laptop", "arch": "narrow"}),
    Soak("pipeline", (("dvc", "repro"), ("worldwidth", "run")), (1.0, 25.0), {"scale": "smoke", "arch": "wide"}),
)


@dataclass(frozen=True)
class Life:
    """One process group from its start to its end."""

    soak: str
    life: int
    command: str
    signal: str
    """Empty for one that ended by itself: at the end, or at once with 255 over what DVC had half written."""
    seconds: float
    """From the start to the signal, or to the end."""
    exit_code: int
    resumed: str
    """Trainings that went on from a saved state: model after step."""
    done: int
    """Stages that are recorded in dvc.lock afterwards."""


def main() -> None:
    """Run both soaks; exit with 1 if anything that came out differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="of each soak, at least (default 30)")
    parser.add_argument("--only", choices=[soak.name for soak in SOAKS], help="one of the two")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "soak.csv")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    lives: list[Life] = []
    same = True
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        for soak in SOAKS:
            if arguments.only not in (None, soak.name):
                continue
            reference = _copy(Path(folder) / soak.name / "reference", soak)
            _run(soak.commands[0], reference)
            wanted = _content(reference)
            kills, attempt = 0, 0
            while kills < arguments.kills:
                attempt += 1
                tree = _copy(Path(folder) / soak.name / str(attempt), soak)
                for life in _until_done(soak, tree, moments):
                    lives.append(life)
                    kills += bool(life.signal)
                    print(*asdict(life).values(), sep=", ", flush=True)
                differing = sorted(name for name, _ in _content(tree) ^ wanted)
                same = same and not differing
                print(
                    f"{soak.name} {attempt}: {kills} kills so far; {len(wanted)} files,",
                    _verdict(differing),
                    flush=True,
                )
                _write(lives, arguments.out)
    sys.exit(0 if same else 1)


def _verdict(differing: list[str]) -> str:
    return f"different: {', '.join(differing[:6])}" if differing else "all the same bytes"


def _copy(folder: Path, soak: Soak) -> Path:
    """A clone of the project at this commit with other settings, and with a DVC cache of its own."""
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(folder)], check=True)
    params = (folder / "params.yaml").read_text()
    for key, value in soak.settings.items():
        params, count = re.subn(rf"(?m)^{key}: \w+", f"{key}: {value}", params)
        assert count == 1, key
    (folder / "params.yaml").write_text(params.replace("resume_seconds: 10\n", "resume_seconds: 1\n"))
    (folder / "dvc.lock").unlink()  # as if nothing had ever run
    return folder


def _until_done(soak: Soak, tree: Path, moments: random.Random) -> Iterator[Life]:
    number_of_life, exit_code = 0, -1
    while exit_code:
        command = soak.commands[number_of_life % len(soak.commands)]
        number_of_life += 1
        number, seconds = moments.choice(SIGNALS), moments.uniform(*soak.seconds)
        process, started = _start(command, tree), time.monotonic()
        try:
            output, _ = process.communicate(timeout=seconds)
            used = ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, number)
            output, _ = process.communicate()
            _wait_for_the_dead(process.pid)
            used = number.name
        took = round(time.monotonic() - started, 1)
        resumed = " ".join(f"{name}:{step.replace(',', '')}" for name, step, _ in GOES_ON.findall(output))
        lock = tree / "dvc.lock"
        done = len(re.findall(r"(?m)^  \S+:$", lock.read_text())) if lock.is_file() else 0
        assert "Traceback" not in output, output
        exit_code = process.returncode
        yield Life(soak.name, number_of_life, " ".join(command), used, took, exit_code, resumed, done)
        # a kill while DVC wrote dvc.lock or its run cache: `dvc repro` stops, `worldwidth run` mends that
        half_written = "dvc.lock" in output or "not 'NoneType'" in output
        if exit_code and not used and not half_written:
            raise SystemExit(f"it ended by itself with {exit_code}:\n{output}")


def _start(command: tuple[str, ...], tree: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _wait_for_the_dead(group: int) -> None:
    """Until the system has forgotten the processes: DVC takes one that is dead but not reaped for alive."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def _run(command: tuple[str, ...], tree: Path) -> None:
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _content(tree: Path) -> set[tuple[str, str]]:
    """(path, hash) of every file that the pipeline writes, those in git and in DVC's cache alike."""
    folders = ("data", "models", "results", "plots")
    files = [path for folder in folders for path in (tree / folder).rglob("[!.]*") if path.is_file()]
    return {
        (path.relative_to(tree).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
        if not path.is_relative_to(tree / "results" / "comparison")
    }


def _write(lives: list[Life], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Life)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(life) for life in lives)


if __name__ == "__main__":
    main()
