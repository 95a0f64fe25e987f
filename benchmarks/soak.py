"""Kill `worldwidth run` at random moments until it is through: `python benchmarks/soak.py --kills 20`.

At smoke scale, with SIGKILL to the parent, to one of its jobs, and to all of them at once, in turns. The same command
is run again until it ends with 0; then every file must hold the bytes of an undisturbed run. Writes a row for every
kill to docs/results/soak.csv. Works on clones of this commit; takes some ten times as long as one run.
"""

import argparse
import csv
import itertools
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

PROJECT = Path(__file__).parents[1]
COMMAND = ("worldwidth", "run", "--jobs", "2")
SETTINGS = {r"(?m)^scale: \w+": "scale: smoke", r"resume_seconds: 10\n": "resume_seconds: 1\n"}
TARGETS = ("parent", "job", "all")


@dataclass
class Kill:
    """One kill, and what the run that it hit came to."""

    study: int
    run: int
    seconds: float
    """From the start of the run to the kill."""
    target: str
    exit_code: int | None = None
    """Of the run: -9 where the parent was killed, 2 where it said what it could not do."""
    seconds_to_end: float = 0.0
    """From the kill until no process was left."""
    recorded: int = 0
    """Stages in dvc.lock afterwards."""


def main() -> None:
    """Exit with 1 if any file differs, or if a run needs a helping hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "soak.csv")
    arguments = parser.parse_args()
    kills, study = list[Kill](), 0
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        began = time.monotonic()
        reference = copy_project(Path(folder) / "reference")
        run(reference, 0, 0, blows(0, 0.0), 0)
        longest = 0.35 * (time.monotonic() - began)
        print(f"undisturbed: {len(content(reference))} files, {longest:.0f} s at most to a kill", flush=True)
        planned = blows(arguments.seed, longest)
        while len(kills) < arguments.kills:
            study, number = study + 1, 0
            tree, exit_code = copy_project(Path(folder) / str(study)), 1
            while exit_code:
                number += 1
                exit_code, new = run(tree, study, number, planned, arguments.kills - len(kills))
                kills += new
                for kill in new:
                    print(kill, flush=True)
                if exit_code and not new:
                    sys.exit(f"undisturbed, it ended with {exit_code}: {(tree / 'log').read_text()[-2000:]}")
            differing = sorted(content(tree).items() ^ content(reference).items())
            print(f"study {study}: {'all the same bytes' if not differing else differing[:6]}", flush=True)
            if differing:
                sys.exit(1)
    with arguments.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(kills[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(kill) for kill in kills)


def copy_project(tree: Path) -> Path:
    """A clone of this commit at smoke scale, with a DVC cache of its own, as if nothing had ever run."""
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(tree)], check=True)
    params = (tree / "params.yaml").read_text()
    for old, new in SETTINGS.items():
        params, count = re.subn(old, new, params)
        assert count, old
    (tree / "params.yaml").write_text(params)
    (tree / "dvc.lock").unlink()
    return tree


def blows(seed: int, longest: float) -> Iterator[tuple[float, str]]:
    """For ever: seconds to wait, ``longest`` at most, and what to kill then."""
    dice = random.Random(seed)
    for target in itertools.cycle(TARGETS):
        yield dice.uniform(0, longest), target


def run(tree: Path, study: int, number: int, planned: Iterator[tuple[float, str]], most: int) -> tuple[int, list[Kill]]:
    """Run the command in ``tree`` with at most ``most`` kills; return its exit code and them, once all has ended."""
    kills: list[Kill] = []
    log = tree / "log"
    with log.open("w") as file:
        process = subprocess.Popen(COMMAND, cwd=tree, stdout=file, stderr=file, start_new_session=True)
    began = last = time.monotonic()
    while process.poll() is None:
        seconds, target = next(planned)
        moment = time.monotonic() + seconds
        while process.poll() is None and (time.monotonic() < moment or len(kills) == most):
            time.sleep(0.05)
        if process.poll() is None and strike(psutil.Process(process.pid), target):
            last = time.monotonic()
            kills.append(Kill(study, number, round(last - began, 1), target))
    while left := at_work(tree):  # jobs that were left alone save, and end
        assert time.monotonic() - last < 600, f"still there: {left}"
        time.sleep(0.05)
    assert "Traceback" not in log.read_text(), log.read_text()
    lock = tree / "dvc.lock"
    for kill in kills:
        kill.exit_code, kill.seconds_to_end = process.returncode, round(time.monotonic() - last, 1)
        kill.recorded = len(re.findall(r"(?m)^  \S+:$", lock.read_text())) if lock.is_file() else 0
    return process.returncode, kills


def strike(parent: psutil.Process, target: str) -> bool:
    """Kill ``target``; return whether it was there."""
    jobs = parent.children(recursive=True)
    victims = {"parent": [parent], "job": jobs[-1:], "all": [parent, *jobs]}[target]
    for victim in victims:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    return bool(victims)


def at_work(tree: Path) -> list[str]:
    """The processes that work in ``tree``; not the dead that nobody has reaped."""
    found = psutil.process_iter(["cwd", "status", "cmdline"])
    alive = [process.info for process in found if process.info["status"] != psutil.STATUS_ZOMBIE]
    return [" ".join(info["cmdline"] or []) for info in alive if info["cwd"] == str(tree)]


def content(tree: Path) -> dict[str, bytes]:
    """Every file that the pipeline writes, those in git and in DVC's cache alike."""
    folders = ("data", "models", "results", "plots")
    files = [path for folder in folders for path in (tree / folder).rglob("*") if path.is_file()]
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in files if path.name != ".gitignore"}


if __name__ == "__main__":
    main()
