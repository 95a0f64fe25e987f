"""CPU seconds of a sweep at smoke scale, where next to nothing of them is training: `python benchmarks/sweep.py`.

In a new clone of the last commit: `worldwidth widths` of one width, with the first seed, which makes what all variants
share, then with the others, then with all, which are there. Prints a line of JSON.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def main() -> None:
    """Sweep, and print seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="narrow")
    parser.add_argument("--seeds", type=int, default=3, help="variants in all, at least 2 (default 3)")
    options = parser.parse_args()
    seeds = [str(seed) for seed in range(1, options.seeds + 1)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), folder], check=True)
        params = Path(folder) / "params.yaml"
        params.write_text(params.read_text(encoding="utf-8").replace("scale: laptop", "scale: smoke"), encoding="utf-8")
        first, others, again = (widths(folder, options.arch, some) for some in (seeds[:1], seeds[1:], seeds))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True).stdout
    seconds = {
        "first variant": round(first, 1),
        "each further variant": round(others / (len(seeds) - 1), 1),
        "all there": round(again, 1),
    }
    print(json.dumps({"commit": commit.strip(), "variants": len(seeds), "load": os.getloadavg()[0], **seconds}))


def widths(folder: str, arch: str, seeds: list[str]) -> float:
    """CPU seconds of `worldwidth widths` in ``folder``, and of all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "worldwidth.cli", "widths", "--archs", arch, "--seeds", *seeds]
    environment = os.environ | {"PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
