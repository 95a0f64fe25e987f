"""Fill the disk at every out of a study, in the work tree and in DVC's cache: `python benchmarks/disk_full.py`.

At smoke scale, with three tasks and a fine-tune. One out after another is made anew, and as soon as a byte of it is to
be written, the disk is full: that of the work tree, or that of the cache. Asked is that no command ends with 0 while
something is missing, that none ends with a traceback, and that, with space again, the same command ends with 0 and the
same bytes. Writes a row for every case to docs/results/disk-full.csv. Works on a clone of this commit.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from soak import PROJECT, WAYS, copy_project

PLACES = ("tree", "cache")
COMMANDS = {"run": "worldwidth run --jobs 1", "repro": "dvc repro", "job": "worldwidth job {stage}"}
SAMPLE = ("data/cities.csv", "models/base", "results/summary.json")
"""Outs at which the whole commands are tried, too."""

FULL = '''
"""As sitecustomize.py: the disk is full from the first byte of an out on, for this process and all that follow."""
import errno, os, resource, sys

PLACE, OUT = os.environ["DISK_FULL"], os.path.abspath(os.environ["DISK_FULL_FROM"])
CACHE = os.path.abspath(".dvc/cache")
MARK = os.path.abspath(".git/disk-is-full")
TEMPORARY = os.path.join(os.path.dirname(OUT), f".{os.path.basename(OUT)}.tmp")

def look(event, args):
    if event == "open":
        written = args[0] if isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR) else None
    elif event == "os.mkdir":
        written = args[0]
    elif event == "shutil.copyfile":
        written = args[1]
    else:
        return
    if written is None:
        return
    written = os.path.abspath(os.fspath(written))
    if PLACE == "tree":
        if written.startswith(TEMPORARY) and not os.path.exists(MARK):
            os.close(os.open(MARK, os.O_CREAT))
        if os.path.exists(MARK):
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    elif written.startswith(CACHE) and written.endswith(".tmp") and event != "os.mkdir":
        if event == "shutil.copyfile" and (os.path.abspath(args[0]) + "/").startswith(OUT + "/"):
            os.close(os.open(MARK, os.O_CREAT))
        if os.path.exists(MARK):
            os.close(os.open(written, os.O_CREAT | os.O_RDONLY))  # a half of the file, as a full disk leaves
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), written)

if os.path.isdir(".dvc"):
    sys.addaudithook(look)
'''


@dataclass
class Case:
    """One out at which the disk was full, and what came of it."""

    command: str
    place: str
    stage: str
    out: str
    exit_code: int = -1
    said: str = ""
    """The first line of ours, or the last error of DVC's."""
    to_do: int = 0
    """Stages that DVC says are not done afterwards."""
    again: int = -1
    """Exit code of the same command, with space."""
    differing: int = 0
    """Files that then were not as in the reference."""

    @property
    def is_right(self) -> bool:
        """Whether nothing went wrong without a word, and all was well again afterwards.

        Of what git keeps, `dvc repro` ends well without a copy in the cache, which only its run cache would miss.
        """
        is_said = self.exit_code != 0 or (self.command == COMMANDS["repro"] and self.to_do == 0)
        return is_said and self.again == 0 and self.differing == 0


def main() -> None:
    """Exit with 1 if a command was silent, broke off with a traceback, or did not go on afterwards."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "results" / "disk-full.csv")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="disk-full-") as folder:
        reference = finished(Path(folder) / "reference")
        cases = [case for name in arguments.commands for case in planned(reference, name)]
        with arguments.out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(asdict(cases[0])), lineterminator="\n")
            writer.writeheader()
            for number, case in enumerate(cases, 1):
                fill(reference, case, Path(folder) / "tree")
                writer.writerow(asdict(case))
                file.flush()
                print(f"{number} of {len(cases)}: {case}", flush=True)
    wrong = [case for case in cases if not case.is_right]
    print(f"{len(cases) - len(wrong)} of {len(cases)} cases are right")
    sys.exit(1 if wrong else 0)


def finished(tree: Path) -> Path:
    """A finished study of three tasks and a fine-tune."""
    copy_project(WAYS["run"], tree)
    path = tree / "params.yaml"
    params = path.read_text().splitlines(keepends=True)
    tasks = ["tasks: [distance, compass, inside]\n" if line.startswith("tasks:") else line for line in params]
    path.write_text("".join(line for line in tasks if not line.startswith("  ftwb") or "ftwb1-4:" in line))
    for command in ("worldwidth render", "git add -A", "git commit -qm small", "worldwidth run --jobs 2"):
        subprocess.run(command.split(), cwd=tree, check=True, stdout=subprocess.DEVNULL)
    return tree


def recorded(tree: Path) -> dict[str, dict[str, Any]]:
    """dvc.lock by stage."""
    stages: dict[str, dict[str, Any]] = yaml.safe_load((tree / "dvc.lock").read_text())["stages"]
    return stages


def planned(reference: Path, command: str) -> Iterator[Case]:
    """Every out and place for the jobs of `worldwidth run`, a sample for it and for the others."""
    stored = set[str]()
    for stage, entry in recorded(reference).items():
        for out in entry["outs"]:
            if command == "job" or out["path"] in SAMPLE:
                places = PLACES[:1] if out["md5"] in stored else PLACES  # an object that is there is not written again
                yield from (Case(COMMANDS[command].format(stage=stage), place, stage, out["path"]) for place in places)
            stored.add(out["md5"])


def fill(reference: Path, case: Case, tree: Path) -> None:
    """Try ``case`` on a copy of the reference, and write down what comes of it."""
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(reference, tree, symlinks=True)
    forget(tree, case.stage)
    (tree / "src" / "sitecustomize.py").write_text(FULL)
    environment = os.environ | {"DISK_FULL": case.place, "DISK_FULL_FROM": case.out, "PYTHONPATH": "src"}
    done = subprocess.run(case.command.split(), cwd=tree, env=environment, capture_output=True, text=True)
    assert (tree / ".git" / "disk-is-full").exists(), f"{case.out} was not written: {done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    (tree / "src" / "sitecustomize.py").unlink()
    (tree / ".git" / "disk-is-full").unlink()
    case.exit_code = done.returncode
    lines = done.stderr.splitlines()
    ours, dvcs = ([line for line in lines if line.startswith(who)] for who in ("worldwidth: ", "ERROR: "))
    case.said = [*ours, *dvcs[::-1], ""][0].replace(f"{tree}/", "")
    if case.exit_code == 0:
        case.to_do = len(json.loads(subprocess.run(["dvc", "status", "--json"], cwd=tree, capture_output=True).stdout))
    case.again = subprocess.run(case.command.split(), cwd=tree, capture_output=True).returncode
    case.differing = len(dict(content(tree).items() ^ content(reference).items()))


def content(tree: Path) -> dict[str, bytes]:
    """Every file that the pipeline writes, those in git and in DVC's cache alike."""
    folders = ("data", "models", "results", "plots")
    files = [path for folder in folders for path in (tree / folder).rglob("*") if path.is_file()]
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in files if path.name != ".gitignore"}


def forget(tree: Path, stage: str) -> None:
    """Let neither tree nor cache know the outs of ``stage``."""
    shutil.rmtree(tree / ".dvc" / "cache" / "runs")
    store = tree / ".dvc" / "cache" / "files" / "md5"
    for out in recorded(tree)[stage]["outs"]:
        path, place = store / out["md5"][:2] / out["md5"][2:], tree / out["path"]
        listed = json.loads(path.read_text()) if out["md5"].endswith(".dir") else []
        for digest in (out["md5"], *(entry["md5"] for entry in listed)):
            (store / digest[:2] / digest[2:]).unlink(missing_ok=True)
        shutil.rmtree(place) if place.is_dir() else place.unlink()


if __name__ == "__main__":
    main()
