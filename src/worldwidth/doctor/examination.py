"""All checks, and their findings as a list for people or as JSON."""

import json
import re
import sys
import textwrap
from collections import Counter
from dataclasses import asdict
from typing import get_args

from worldwidth.doctor.content import check_content
from worldwidth.doctor.disk import check_folders, check_links, check_offline_plots, check_space
from worldwidth.doctor.dvc_state import check_dvc, check_leftovers, check_run_cache, check_saved_states
from worldwidth.doctor.environment import check_hardware, check_packages, check_programs, check_python
from worldwidth.doctor.finding import Check, Finding, State, guarded
from worldwidth.doctor.repository import check_git, check_lock_file, check_params, check_pipeline

_WIDTH = 120
_COLUMN = 20

CHECKS: dict[str, dict[str, Check]] = {
    "environment": {
        "Python": check_python,
        "packages": check_packages,
        "programs": check_programs,
        "hardware": check_hardware,
    },
    "disk": {
        "folders": check_folders,
        "free space": check_space,
        "cache links": check_links,
        "pages of plots": check_offline_plots,
    },
    "git and params": {
        "git": check_git,
        "params.yaml": check_params,
        "dvc.yaml": check_pipeline,
        "dvc.lock": check_lock_file,
    },
    "DVC": {
        "DVC": check_dvc,
        "run cache": check_run_cache,
        "leftovers": check_leftovers,
        "saved states": check_saved_states,
    },
    "content": {"content": check_content},
}
"""Area -> what is checked -> the check. Earlier findings may be the cause of later ones."""


def examine() -> dict[str, list[Finding]]:
    """Make every check in the current folder; area -> findings."""
    return {
        area: [finding for checked, check in checks.items() for finding in guarded(checked, check)]
        for area, checks in CHECKS.items()
    }


def run_doctor(as_json: bool) -> None:
    """Print what :func:`examine` finds, as a list or as JSON. Exits with 2 if there is a problem."""
    found = examine()
    counts = Counter(finding.state for findings in found.values() for finding in findings)
    if as_json:
        rows = [{"area": area, **asdict(finding)} for area, findings in found.items() for finding in findings]
        print(json.dumps({**{state: counts[state] for state in get_args(State)}, "findings": rows}, indent=2))
    else:
        for area, findings in found.items():
            print(area)
            for finding in findings:
                print("\n".join(_lines(finding)))
        print("\n" + _sentence(counts))
    if counts["problem"]:
        sys.exit(2)


def _lines(finding: Finding) -> list[str]:
    start = f"  {finding.state:<8} {finding.checked:<{_COLUMN}} "
    indent = " " * len(start)
    text = textwrap.wrap(
        finding.found, _WIDTH, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False
    ) or [start.rstrip()]
    return text + _command_lines(finding.command, " " * 11)


def _command_lines(command: str, indent: str) -> list[str]:
    """The command, cut at spaces outside quotes and joined by backslashes, so that it can be copied as it stands."""
    lines, line = [], f"{indent}$"
    for word in re.findall(r"(?:'[^']*'|\"[^\"]*\"|\\.|[^\s'\"\\])+|#.*", command):
        if len(line) + len(word) > _WIDTH - 3 and line.strip() != "$":
            lines.append(f"{line} \\")
            line = f"{indent}   "
        line += f" {word}"
    return [*lines, line] if command else []


def _sentence(counts: Counter[State]) -> str:
    total = sum(counts.values())
    warnings, problems = counts["warning"], counts["problem"]
    text = f"{total} checks: {counts['ok']} ok, {_counted(warnings, 'warning')}, {_counted(problems, 'problem')}"
    if problems:
        return f"{text}; mend them from the top, for one may be the cause of another, then ask again"
    return f"{text}; nothing here stops a run"


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
