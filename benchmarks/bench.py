"""Measure this project beside the published way of working: `python benchmarks/bench.py`.

`--quick` takes a few minutes, `--only training` runs one section, `--rounds 7` gives tighter medians. The last line
printed is everything as one line of JSON (`| tail -n 1 > FILE.json` keeps it).
"""

import argparse
import importlib
import json
import time
from typing import Any

import torch

import machine
from timing import Options
from worldwidth.core.machine import cores

SECTIONS = ("step", "training", "evaluation")
"""A section is a module beside this file with ``run(options) -> JSON value``; it prints its own tables."""


def main() -> None:
    """Run the chosen sections one after another."""
    options, only = _arguments()
    torch.set_num_threads(1)
    facts = machine.facts()
    print("\n".join(f"{name:<16}{value}" for name, value in facts.items()), flush=True)
    report: dict[str, Any] = {"machine": facts, "quick": options.quick, "sections": {}}
    for name in only:
        print(f"\n=== {name}", flush=True)
        started = time.perf_counter()
        section = importlib.import_module(name).run(options)
        report["sections"][name] = {**section, "seconds": time.perf_counter() - started}
    print(f"\n{json.dumps(_rounded(report), allow_nan=False)}")


def _rounded(value: Any) -> Any:
    """A JSON value with six digits a number: more is noise."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _arguments() -> tuple[Options, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SECTIONS), metavar="A,B", help="sections, with commas between them")
    parser.add_argument("--rounds", type=int, help="turns of every variant (default: a number of each section's own)")
    here = cores()
    parser.add_argument(
        "--threads", type=int, default=here, help=f"training is measured with 1 and with these many (default: {here})"
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and cases; for trying out, not for reporting"
    )
    given = parser.parse_args()
    only = given.only.split(",")
    unknown = [name for name in only if name not in SECTIONS]
    if unknown:
        parser.error(f"--only: unknown section '{unknown[0]}'; allowed: {', '.join(SECTIONS)}")
    for name in ("rounds", "threads"):
        if getattr(given, name) is not None and getattr(given, name) < 1:
            parser.error(f"--{name}: must be 1 or more")
    return Options(quick=given.quick, rounds=given.rounds, threads=given.threads), only


if __name__ == "__main__":
    main()
