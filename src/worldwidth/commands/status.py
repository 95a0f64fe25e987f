"""`worldwidth status`: what runs in this project now. It takes no lock, so that it always answers."""

import json
import time
from dataclasses import asdict
from typing import Any

from worldwidth.engine.view import View, duration, views


def print_status(as_json: bool) -> None:
    """Print what every run, sweep and stage of this project is doing, as text or as JSON."""
    found = views()
    if as_json:
        print(json.dumps([_values(view) for view in found], indent=2))
    elif not found:
        print("nothing runs here; `worldwidth plan` says what would run, `worldwidth slurm status` asks a cluster")
    else:
        print("\n\n".join("\n".join(_lines(view)) for view in found))


def _lines(view: View) -> list[str]:
    now = time.time()
    since = f"{view.command}, since {_clock(view.since)} ({duration(round(now - view.since))})"
    lines = [f"{since}: process {view.pid}"]
    for running in view.running:
        lines.append(f"  {running.name}, since {_clock(running.since)}")
        lines.append(f"    {running.text(now)}")
    if view.total > 1:
        lines.append(str(view))
    return lines


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment))


def _values(view: View) -> dict[str, Any]:
    return {**asdict(view), "elapsed": round(time.time() - view.since, 1)}
