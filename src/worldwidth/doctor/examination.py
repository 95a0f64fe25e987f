"""All checks, and their findings as a list for people or as JSON."""

import json
import re
import sys
import textwrap
from collections import Counter
from dataclasses import asdict
from typing import get_args

from worldwidth.core.text import plural, printable
from worldwidth.doctor import content, disk, dvc_state, environment, repository, training_states
from worldwidth.doctor.finding import Check, Finding, State, guarded

_WIDTH = 120

CHECKS: dict[str, list[tuple[str, Check, str]]] = {
    "environment": [
        ("environment", environment.check_environment, ".venv is as new as pyproject.toml and constraints.txt"),
        ("worldwidth", environment.check_own_package, "installed from this folder"),
        ("Python", environment.check_python, ""),
        ("packages", environment.check_packages, "all as in pyproject.toml and constraints.txt"),
        ("programs", environment.check_programs, "all on PATH; python and dvc are those of this environment"),
        ("hardware", environment.check_hardware, ""),
    ],
    "disk": [
        ("folders", disk.check_folders, "all that exist are folders, readable and writable"),
        ("free space", disk.check_space, ""),
        ("cache links", disk.check_links, ""),
        ("pages of plots", disk.check_offline_plots, "need no network"),
    ],
    "git and params": [
        ("git", repository.check_git, ""),
        ("uncommitted", repository.check_uncommitted, "nothing"),
        ("ignored by git", repository.check_ignored, "nothing that a clone needs"),
        ("params.yaml", repository.check_params, ""),
        ("dvc.yaml", repository.check_pipeline, "is the rendering of params.yaml, the template and the imports"),
        ("dvc.lock", repository.check_lock_file, "holds this code, these params and the committed results"),
    ],
    "DVC": [
        ("DVC", dvc_state.check_dvc, ""),
        ("DVC's locks", dvc_state.check_locks, "free"),
        ("run cache", dvc_state.check_run_cache, "no entry is half written"),
        ("temporary files", dvc_state.check_temporary_files, "none that a killed stage left"),
        ("experiments", dvc_state.check_experiments, "no ghosts of killed ones"),
        ("saved states", training_states.check_saved_states, "no training run was stopped half-way"),
    ],
    "content": [("content", content.check_content, "nothing has been made yet")],
}
"""Area -> what is checked, the check, and what is said where it finds nothing. Earlier faults may cause later ones."""


def run_doctor(as_json: bool) -> None:
    """Make every check in the current folder and print the findings. Exits with 2 if there is a problem."""
    found = _examined({"start": [("start", environment.check_start, "")]})
    if all(finding.state == "ok" for finding in found["start"]):
        found = _examined(CHECKS)
    counts = Counter(finding.state for findings in found.values() for finding in findings)
    if as_json:
        rows = [{"area": area, **asdict(finding)} for area, findings in found.items() for finding in findings]
        states = {state: counts[state] for state in get_args(State)}
        print(json.dumps({**states, "findings": rows}, indent=2, default=str))
    else:
        for area, findings in found.items():
            print("\n".join([area, *(line for finding in findings for line in _lines(finding))]))
        print(f"\n{_sentence(counts)}")
    if counts["problem"]:
        sys.exit(2)


def _examined(checks: dict[str, list[tuple[str, Check, str]]]) -> dict[str, list[Finding]]:
    return {area: [finding for row in rows for finding in guarded(*row)] for area, rows in checks.items()}


def _lines(finding: Finding) -> list[str]:
    start = f"  {finding.state:<8} {printable(finding.checked):<20} "
    lines = textwrap.wrap(printable(finding.found), _WIDTH - len(start), break_on_hyphens=False)
    text = textwrap.indent("\n".join(lines), " " * len(start))
    return [start + text.lstrip(), *_command_lines(finding.command)]


def _command_lines(command: str) -> list[str]:
    """The command, cut at spaces outside quotes and joined by backslashes, so that it can be copied as it stands."""
    lines, line = [], " " * 11 + "$"
    for word in re.findall(r"(?:'[^']*'|\"[^\"]*\"|\\.|[^\s'\"\\])+|#.*", command):
        if len(line) + len(word) > _WIDTH - 3 and line.strip() != "$":
            lines.append(f"{line} \\")
            line = " " * 14
        line += f" {word}"
    return [*lines, line] if command else []


def _sentence(counts: Counter[State]) -> str:
    warnings, problems = (plural(counts[state], state) for state in ("warning", "problem"))
    text = f"{plural(counts.total(), 'check')}: {counts['ok']} ok, {warnings}, {problems}"
    if counts.total() == counts["problem"] == 1:
        return f"{text}; fix it, then ask again: nothing else was looked at"
    if counts["problem"]:
        return f"{text}; fix them from the top, for one may be the cause of another, then ask again"
    return f"{text}; nothing here stops a run"
