"""Widths x seeds at smoke scale as one graph on a Slurm of this machine: `python benchmarks/cluster.py --output FILE`.

Four archs and three seeds are handed in at once to three nodes that are plain processes here (tests/slurm_rig.py), and
collected when all has ended. Counted is what every job did with every stage. One variant is then run serially in a
copy with a cache of its own, and compared byte for byte. Not a measure of speed: the nodes share this machine's cores.
"""

import argparse
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from repository import Repository, products, stages_run
from slurm_rig import FINAL, SlurmRig
from worldwidth.files import write_json

ARCHS, SEEDS = ("narrow", "base", "wide", "wider"), ("1", "2", "3")


def main() -> None:
    """Run the demonstration and print and write what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
    arguments = parser.parse_args()
    if reason := SlurmRig.missing():
        sys.exit(f"no Slurm here: {reason}")
    folder = Path(tempfile.mkdtemp(prefix="worldwidth-cluster-"))
    try:
        with SlurmRig(folder / "slurm") as rig:
            os.environ.update(rig.environment)
            figures = sweep(rig, folder)
        print(json.dumps(figures, indent=2))
        if arguments.output:
            write_json(arguments.output, figures)
    finally:
        shutil.rmtree(folder)


def sweep(rig: SlurmRig, folder: Path) -> dict[str, Any]:
    """Hand in, wait, collect, compare."""
    for name in ("study", "serial"):
        (folder / name).mkdir()
    study, serial = Repository(folder / "study"), Repository(folder / "serial")
    began = time.monotonic()
    output = study.ok("worldwidth", "slurm", "submit", "--archs", *ARCHS, "--seeds", *SEEDS)
    handed_in = time.monotonic()
    jobs = [int(number) for number in re.findall(r"^ +(\d+)  \S+: ", output, re.MULTILINE)]
    print(f"{len(jobs)} jobs handed in after {handed_in - began:.0f} s", flush=True)
    while not {rig.job_states()[job] for job in jobs} <= FINAL:
        print(study.ok("worldwidth", "slurm", "status").splitlines()[-1], flush=True)
        time.sleep(20)
    ended = time.monotonic()
    collected = study.ok("worldwidth", "slurm", "collect")
    restored = time.monotonic()
    again = study.ok("dvc", "repro")
    serial.ok("worldwidth", "run", "--jobs", "1")
    mine, theirs = products(study), products(serial)
    stages = [
        (job.name.split(".")[0], stage, outcome)
        for job in study.folder.glob(".dvc/tmp/worldwidth/slurm/1/*.end.json")
        for stage, outcome in json.loads(job.read_text())["stages"].items()
    ]
    return {
        "variants": len(ARCHS) * len(SEEDS),
        "jobs": len(jobs),
        "states of the jobs": dict(Counter(rig.job_states()[job] for job in jobs)),
        "stages of all variants": len(ARCHS) * len(SEEDS) * len(set(_all_stages(study))),
        "stages handed in": len(stages),
        "outcomes of the stages": dict(Counter(outcome for *_, outcome in stages)),
        "most often that one stage of one variant ran": max(Counter(stage[:2] for stage in stages).values()),
        "commands run by collect": len(stages_run(collected)),
        "commands run by dvc repro afterwards": len(stages_run(again)),
        "experiments": sorted(study.ok("dvc", "exp", "list", "--name-only").split()),
        "files of wide-epochs-s1": len(mine),
        "files that differ from a serial run": sorted(
            name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)
        ),
        "seconds": {
            "submit": round(handed_in - began, 1),
            "all jobs": round(ended - handed_in, 1),
            "collect": round(restored - ended, 1),
        },
    }


def _all_stages(study: Repository) -> list[str]:
    return study.ok("dvc", "stage", "list", "--name-only").split()


if __name__ == "__main__":
    main()
