"""The command line: `worldwidth check | plan | run | widths | compare | slurm | ...`. `worldwidth -h` explains."""

from worldwidth.core.command import exit_codes

import argparse
import inspect
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

Option = tuple[tuple[str, ...], dict[str, Any]]


class Command(NamedTuple):
    """One row of the table of commands."""

    words: str
    help: str
    function: str
    """``module:name`` below this package, imported when the command runs; empty for a group of commands.

    It gets, by name, those of its parameters that the options fill, and ``settings``, which are params.yaml."""
    options: tuple[Option, ...]


def main() -> None:
    """Parse the command line and run the command. Exits with 2 on bad input."""
    values = vars(_parser().parse_args())
    with exit_codes():
        function = _imported(values["function"])
        takes = inspect.signature(function).parameters
        if "settings" in takes:
            values["settings"] = _imported("settings.load:load")()
        function(**{name: value for name, value in values.items() if name in takes})


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"worldwidth.{module}"), attribute)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worldwidth", description=sys.modules["worldwidth"].__doc__)
    groups = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for command in COMMANDS:
        group, _, word = command.words.rpartition(" ")
        added = groups[group].add_parser(word, help=command.help)
        added.set_defaults(function=command.function)
        if not command.function:
            groups[command.words] = added.add_subparsers(required=True, metavar="COMMAND")
        for names, keywords in command.options:
            added.add_argument(*names, **keywords)
    return parser


def _count(text: str) -> int:
    return _whole_number(text, least=1)


def _seed(text: str) -> int:
    return _whole_number(text, least=0)


def _whole_number(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"found '{text}'; it must be a whole number of at least {least}")
    return int(text)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"found '{text}'; it must be ids with commas between them, as 0,1")
    return names


def _command(words: str, help: str, function: str = "", *options: Option) -> Command:
    return Command(words, help, function, options)


def _option(*names: str, **keywords: Any) -> Option:
    return names, keywords


def _flag(name: str, help: str, **keywords: Any) -> Option:
    return _option(name, help=help, action="store_true", **keywords)


def _archs(default: str) -> Option:
    return _option("--archs", nargs="+", metavar="ARCH", help=f"default: {default}")


_SEEDS = _option("--seeds", nargs="+", type=_seed, metavar="SEED", help="default: the seed of params.yaml")
_BUDGETS = _option("--budgets", nargs="+", metavar="BUDGET", help="epochs, tokens, flops; default: params.yaml's")
_VARIANTS = (_archs("the arch of params.yaml"), _SEEDS, _BUDGETS)
_JSON = _flag("--json", "the same as JSON", dest="as_json")

COMMANDS = (
    _command(
        "render", "write dvc.yaml and the JSON schema from params.yaml and the template", "commands.check:run_render",
        _flag("--check", "write nothing; fail if they are not up to date"),
    ),
    _command(
        "check", "validate params.yaml; is dvc.yaml its rendering?", "commands.check:run_check",
        _flag("--lock", "and do dvc.lock and the committed results belong to this tree?"),
    ),
    _command("plan", "stages, steps, tokens, FLOPs and disk; what will run and why", "commands.plan:print_plan", _JSON),
    _command(
        "doctor", "what is wrong here, and the command that fixes it; changes nothing",
        "doctor.examination:run_doctor", _JSON,
    ),
    _command(
        "run", "bring everything up to date, several stages at a time", "engine.run:run_study",
        _option("--jobs", type=_count, help="jobs at a time (default and most: one a GPU; without GPUs: a core each)"),
        _option("--gpus", type=_names, help="ids of the GPUs to use, one a job, as 0,1 (default: all visible)"),
    ),
    _command(
        "widths", "run widths x seeds x budgets as DVC experiments; skips what exists", "sweep.widths:run_widths",
        _archs("all of the scale"), _SEEDS, _BUDGETS, _option("--jobs", type=_count, help="as for `run`"),
    ),
    _command(
        "compare", "compare experiments: tables, figures, report/index.html", "commands.compare:run_compare",
        _option("names", nargs="*", metavar="EXPERIMENT", help="default: all that `widths` made"),
        _option(
            "--pair", dest="pairs", nargs=2, action="append", default=[], metavar=("ARCH", "OTHER"),
            help="draw this difference, too",
        ),
    ),
    _command("slurm", "the study on a Slurm cluster: plan, submit, status, collect"),
    _command(
        "slurm plan", "the jobs, what each waits for and asks for; submits nothing", "slurm.plan:print_plan",
        *_VARIANTS, _JSON,
    ),
    _command("slurm submit", "submit what is missing; returns at once", "slurm.submit:submit", *_VARIANTS),
    _command("slurm status", "what became of every stage that was submitted", "slurm.status:print_status", _JSON),
    _command("slurm collect", "restore the results here; runs nothing; says what is missing", "slurm.collect:collect"),
    _command(
        "slurm work", "what a job does on its node", "slurm.worker:work",
        _option("job", type=Path, help="its name, in the folder of its submission"),
    ),
    _command(
        "job", "bring some stages up to date in this process, as `run` does", "engine.job:run_job",
        _option("names", nargs="+", metavar="STAGE"),
    ),
    _command(
        "work", "what a job of `widths` does in its work tree", "sweep.work:work",
        _option("names", nargs="*", metavar="STAGE"),
        _option("--save", nargs=2, metavar=("EXPERIMENT", "REPOSITORY"), help="and save the variant, if it is whole"),
    ),
    _command(
        "sample", "print lines of a corpus as the model reads them, with their cities", "commands.sample:print_sample",
        _option("--task", required=True),
        _option("--population", default="world", help="world (default) or atlantis"),
        _option("--split", default="test", help="train, validation or test (default)"),
        _option("-n", dest="count", metavar="N", type=int, default=20, help="number of lines (default 20)"),
        _flag("--json", "one JSON object a line", dest="as_json"),
    ),
    _command(
        "plots", "draw what a half-finished study has so far, into partial/", "commands.preview:draw_partial",
        _flag("--partial", "hatch and list what is missing", required=True),
    ),
)  # fmt: skip


if __name__ == "__main__":
    main()
