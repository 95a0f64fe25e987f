"""How long stages took on this machine, and so how long the next run will take: timings/stages.json.

`worldwidth run` and sweeps write it; it is neither in git nor in DVC. A training is expected to take as long a step as
that of its scale and arch before it.
"""

import json
from contextlib import suppress
from statistics import fmean
from typing import Any

from worldwidth.core.files import read_text, write_json
from worldwidth.pipeline.stages import row_of
from worldwidth.settings.compute import training_steps
from worldwidth.settings.paths import TIMINGS
from worldwidth.settings.schema import Settings

STAGE_TIMINGS = TIMINGS / "stages.json"
START = "start of a job"
"""As a stage: what a job takes beside its stages, as to load torch."""

_TRAINING = ("base", "finetunes")


class Timings:
    """What is known, by scale, arch and stage."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
        with suppress(OSError, ValueError):
            found: Any = json.loads(read_text(STAGE_TIMINGS))
            if isinstance(found, dict):
                self._known = found

    def expected(self, settings: Settings, stage: str) -> float | None:
        """Seconds that ``stage`` will take: as the last time, or as others of its group; None if that is unknown."""
        with suppress(AttributeError, KeyError, TypeError):  # a file that somebody edited
            known = self._known.get(settings.scale, {}).get(settings.arch, {})
            group = stage.partition("@")[0]
            records = [known[stage]] if stage in known else [
                record for name, record in known.items() if name.partition("@")[0] == group
            ]  # fmt: skip
            if records:
                each = fmean(record["seconds"] / record["steps"] for record in records)
                return each * _steps(settings, stage)
        return None

    def add(self, settings: Settings, stage: str, seconds: float) -> None:
        """``stage`` has taken so long."""
        of_arch = self._known.setdefault(settings.scale, {}).setdefault(settings.arch, {})
        of_arch[stage] = {**of_arch.get(stage, {}), "seconds": round(seconds, 2), "steps": _steps(settings, stage)}

    def peak(self, settings: Settings) -> int | None:
        """The most bytes that a job of this scale and arch held; None if that is unknown."""
        with suppress(AttributeError, KeyError, TypeError):
            return int(self._known[settings.scale][settings.arch][START]["bytes"])
        return None

    def add_peak(self, settings: Settings, peak: int) -> None:
        """A job has held so many bytes."""
        start = self._known.setdefault(settings.scale, {}).setdefault(settings.arch, {}).get(START)
        if start:
            start["bytes"] = max(peak, self.peak(settings) or 0)

    def write(self) -> None:
        """Keep it for the next run; a file that cannot be written is no reason to stop."""
        with suppress(OSError):
            write_json(STAGE_TIMINGS, self._known)


def _steps(settings: Settings, stage: str) -> int:
    """Optimiser steps of a training; 1 of another stage."""
    if stage == START or row_of(stage).kind not in _TRAINING:
        return 1
    return training_steps(settings, stage.replace("@", "-", 1))
