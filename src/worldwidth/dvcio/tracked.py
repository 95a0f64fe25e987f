"""Code, params and lists of a user's own, edited while a stage runs: its result is refused.

DVC hashes them when a stage has ended, and would record the edited ones as what made the result.
"""

import re
import shlex
from collections.abc import Iterable
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.fingerprint import Fingerprint, first_difference, would_run_with
from worldwidth.dvcio.lockfile import CODE, inputs_of, stages_of_yaml
from worldwidth.settings.paths import PARAMS
from worldwidth.settings.strict_yaml import read_yaml


class Tracked:
    """What dvc.yaml says that stages depend on, outs of other stages left out, as it is when this is made.

    To be made before the process has loaded any of it.
    """

    def __init__(self, stages: Iterable[str]) -> None:
        params = read_yaml(PARAMS)
        self._entries = {stage: _entries(stage, params) for stage in stages}
        self._found = {stage: _now(entries, params) for stage, entries in self._entries.items()}

    def refuse_edited(self, stages: Iterable[str] = ()) -> None:
        """Compare with how it is now; of all the stages, or of some.

        Raises:
            WorldwidthError: something was edited; it is named.
        """
        params = read_yaml(PARAMS)
        for stage in stages or self._found:
            edit = first_difference(_now(self._entries[stage], params), self._found[stage])
            if edit:
                raise WorldwidthError(
                    f"{stage}: edited while it ran ({edit}), so that it is not recorded; run the same command again"
                )


def stage_of(command: list[str]) -> str | None:
    """DVC's name of the stage whose command in dvc.yaml ends with the words of ``command``: its script and arguments.

    The same under DVC and by hand.
    """
    for name, stage in stages_of_yaml().items():
        if shlex.split(stage["cmd"])[-len(command) :] == command:
            return name
    return None


def _entries(stage: str, params: dict[str, Any]) -> list[str]:
    """The keys of its fingerprint, such as ``code src/...`` or ``params seed``; ``params`` is params.yaml."""
    declared, made = stages_of_yaml()[stage], inputs_of(stage)
    files = [path for path in declared.get("deps", []) if path not in made]
    keys = [re.sub(r"\$\{(\w+)\}", lambda match: str(params.get(match[1])), key) for key in declared.get("params", [])]
    of_files = [f"{'code' if path.split('/')[0] in CODE else 'data'} {path}" for path in files]
    return [*of_files, *(f"params {key}" for key in keys)]


def _now(entries: list[str], params: dict[str, Any]) -> Fingerprint:
    return would_run_with(dict.fromkeys(entries), {}, params)
