"""Kill every way of running, at random moments, until it is through: `python benchmarks/soak.py --kills 30`.

In turns: `worldwidth run`, `dvc repro`, `dvc exp run --temp` and `make widths` at smoke scale, and a pre-training at
laptop scale, killed inside. With SIGKILL to the command, to the last process that it started, and to all of them at
once, in turns. The same command is run again until it ends with 0; then dvc.lock must name the bytes of an undisturbed
run. Writes a row for every kill to docs/results/soak.csv. Works on clones of this commit; takes about 20 minutes.
"""

import argparse
import csv
import itertools
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import yaml

PROJECT = Path(__file__).parents[1]
TARGETS = ("command", "last", "all")
NAME = "narrow-epochs-s42"


@dataclass(frozen=True)
class Way:
    """One way of running."""

    command: tuple[str, ...]
    scale: str = "smoke"
    stages: tuple[str, ...] = ()
    """Which are up to date afterwards; empty: all."""
    experiment: str = ""
    """The name of the experiment that it makes; empty: it leaves its results in the work tree."""
    part: float = 0.35
    """Of the time of an undisturbed run: the longest until a kill."""


WAYS = {
    "run": Way(("worldwidth", "run", "--jobs", "2")),
    "repro": Way(("dvc", "repro")),
    "exp": Way(("dvc", "exp", "run", "--temp", "--force", "--name", NAME), experiment=NAME),
    "widths": Way(("make", "widths", "ARCHS=narrow"), experiment=NAME),
    "training": Way(("dvc", "repro", "base"), "laptop", stages=("base",), part=0.4),
}


@dataclass
class Kill:
    """One kill, and what the run that it hit came to."""

    way: str
    study: int
    run: int
    seconds: float
    """From the start of the run to the kill."""
    target: str
    exit_code: int | None = None
    """Of the command: -9 where it was killed itself."""
    seconds_to_end: float = 0.0
    """From the kill until no process was left."""
    recorded: int = 0
    """Stages in dvc.lock afterwards, of the work tree."""


def main() -> None:
    """Exit with 1 if any file differs, or if a run needs a helping hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="how many (default 30)")
    parser.add_argument("--a-study", type=int, default=6, help="the most kills of one study (default 6)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="which (default all)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "soak.csv")
    arguments = parser.parse_args()
    kills = list[Kill]()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        undisturbed: dict[str, tuple[dict[str, str], float]] = {}
        dice, targets = random.Random(arguments.seed), itertools.cycle(TARGETS)
        for study, name in enumerate(itertools.cycle(arguments.ways), start=1):
            if len(kills) >= arguments.kills:
                break
            way = WAYS[name]
            if name not in undisturbed:
                undisturbed[name] = run_undisturbed(way, Path(folder) / name)
            wanted, seconds = undisturbed[name]
            blows = ((dice.uniform(0, way.part * seconds), target) for target in targets)
            tree = copy_project(way, Path(folder) / str(study))
            kills += run_killed(name, study, tree, blows, min(arguments.a_study, arguments.kills - len(kills)))
            differing = sorted(outs(tree, way).items() ^ wanted.items())
            print(f"study {study}, {name}: {'all the same bytes' if not differing else differing[:6]}", flush=True)
            if differing:
                sys.exit(1)
            shutil.rmtree(tree)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(kills[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(kill) for kill in kills)


def copy_project(way: Way, tree: Path) -> Path:
    """A clone of this commit at the scale of ``way``, with a DVC cache of its own, as if nothing had ever run."""
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(tree)], check=True)
    arch = "narrow" if way.experiment else "wide"
    settings = {
        r"(?m)^scale: \w+": f"scale: {way.scale}",
        r"(?m)^arch: \w+": f"arch: {arch}",
        r"resume_seconds: 10\n": "resume_seconds: 1\n",
    }
    params = (tree / "params.yaml").read_text(encoding="utf-8")
    for old, new in settings.items():
        params, count = re.subn(old, new, params)
        assert count, old
    (tree / "params.yaml").write_text(params, encoding="utf-8")
    (tree / "dvc.lock").unlink()
    someone = ("-c", "user.name=soak", "-c", "user.email=soak@example.org")
    subprocess.run(["git", *someone, "commit", "--quiet", "--all", "--message", "a study"], cwd=tree, check=True)
    (tree / ".venv").mkdir()  # for make: this environment
    for part in ("bin", "lib", "pyvenv.cfg"):
        (tree / ".venv" / part).symlink_to(Path(sys.prefix) / part)
    (tree / ".venv" / ".ready").touch()
    return tree


def run_undisturbed(way: Way, tree: Path) -> tuple[dict[str, str], float]:
    """What ``way`` comes to, and how many seconds it takes."""
    copy_project(way, tree)
    began = time.monotonic()
    code = ended(tree, start(tree, way))
    assert code == 0, (tree / "log").read_text(encoding="utf-8")[-2000:]
    seconds = time.monotonic() - began
    found = outs(tree, way)
    print(f"undisturbed: {' '.join(way.command)}: {len(found)} outs, {seconds:.0f} s", flush=True)
    shutil.rmtree(tree)
    return found, seconds


def run_killed(name: str, study: int, tree: Path, blows: Iterator[tuple[float, str]], most: int) -> list[Kill]:
    """Run the command of a way again and again until it ends with 0; return the kills, ``most`` at most."""
    kills: list[Kill] = []
    for number in itertools.count(1):
        exit_code, new = run(tree, name, study, number, blows, most - len(kills))
        kills += new
        for kill in new:
            print(kill, flush=True)
        if not exit_code:
            return kills
        if not new:
            sys.exit(f"undisturbed, it ended with {exit_code}: {(tree / 'log').read_text()[-2000:]}")
    raise AssertionError


def run(
    tree: Path, name: str, study: int, number: int, blows: Iterator[tuple[float, str]], most: int
) -> tuple[int, list[Kill]]:
    """Run the command in ``tree`` with at most ``most`` kills; return its exit code and them, once all has ended."""
    kills: list[Kill] = []
    process = start(tree, WAYS[name])
    began = last = time.monotonic()
    while process.poll() is None:
        seconds, target = next(blows)
        moment = time.monotonic() + seconds
        while process.poll() is None and (time.monotonic() < moment or len(kills) == most):
            time.sleep(0.05)
        if process.poll() is None and strike(psutil.Process(process.pid), target):
            last = time.monotonic()
            kills.append(Kill(name, study, number, round(last - began, 1), target))
    exit_code = ended(tree, process)
    lock = tree / "dvc.lock"
    for kill in kills:
        kill.exit_code, kill.seconds_to_end = exit_code, round(time.monotonic() - last, 1)
        kill.recorded = len(re.findall(r"(?m)^  \S+:$", lock.read_text())) if lock.is_file() else 0
    return exit_code, kills


def start(tree: Path, way: Way) -> "subprocess.Popen[bytes]":
    """Start the command of ``way``; its output goes to a file."""
    with (tree / "log").open("w") as file:
        return subprocess.Popen(way.command, cwd=tree, stdout=file, stderr=file, start_new_session=True)


def ended(tree: Path, process: "subprocess.Popen[bytes]") -> int:
    """Wait until all that works in ``tree`` has ended; return the command's exit code."""
    code, began = process.wait(), time.monotonic()
    while left := at_work(tree):  # jobs that were left alone save, and end
        assert time.monotonic() - began < 600, f"still there: {left}"
        time.sleep(0.05)
    log = (tree / "log").read_text(encoding="utf-8")
    assert "Traceback" not in log, log
    return code


def strike(command: psutil.Process, target: str) -> bool:
    """Kill ``target``; return whether it was there."""
    started = command.children(recursive=True)
    victims = {"command": [command], "last": started[-1:], "all": [command, *started]}[target]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    return bool(victims)


def at_work(tree: Path) -> list[str]:
    """The processes that work in ``tree`` or below; not the dead that nobody has reaped."""
    found = psutil.process_iter(["cwd", "status", "cmdline"])
    alive = [process.info for process in found if process.info["status"] != psutil.STATUS_ZOMBIE]
    return [" ".join(info["cmdline"] or []) for info in alive if f"{info['cwd']}/".startswith(f"{tree}/")]


def outs(tree: Path, way: Way) -> dict[str, str]:
    """Path of every out -> the MD5 that dvc.lock has for it, and that DVC finds to be that of the file."""
    if way.experiment:
        references = shown(tree, "git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
        (reference,) = (found for found in references if found.endswith(f"/{way.experiment}"))
        text = shown(tree, "git", "show", f"{reference}:dvc.lock")
    else:
        text = (tree / "dvc.lock").read_text(encoding="utf-8")
        assert "up to date" in (said := shown(tree, "dvc", "status", *way.stages)), said
    stages = yaml.safe_load(text)["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def shown(tree: Path, *command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
