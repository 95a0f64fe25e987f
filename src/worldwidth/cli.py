"""The command line: `worldwidth check | plan | run | sweep | compare | slurm | ...`. `worldwidth -h` explains."""

from worldwidth.core.command import exit_codes

import argparse
import inspect
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
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
    is_long: bool
    """Whether `execution.notify` is told when it has ended."""
    example: str
    """A line that help ends with; empty for commands that others call, which help does not list."""


def main() -> None:
    """Parse the command line and run the command. Exits with 2 on bad input."""
    values = vars(_parser().parse_args())
    with exit_codes():
        function = _imported(values["function"])
        takes = inspect.signature(function).parameters
        if "settings" in takes:
            values["settings"] = _imported("settings.load:load")()
        arguments = {name: value for name, value in values.items() if name in takes}
        command = f"worldwidth {values['words']}"
        with _imported("engine.notify:notifying")(values["settings"], command) if values["is_long"] else nullcontext():
            function(**arguments)


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"worldwidth.{module}"), attribute)


def _parser() -> argparse.ArgumentParser:
    parser = _of(argparse.ArgumentParser, "", prog="worldwidth", description=sys.modules["worldwidth"].__doc__)
    groups = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    for command in COMMANDS:
        group, _, word = command.words.rpartition(" ")
        listed = {"help": command.help} if command.example or not command.function else {}
        added = _of(groups[group].add_parser, command.example, name=word, description=command.help, **listed)
        added.set_defaults(function=command.function, words=command.words, is_long=command.is_long)
        if not command.function:
            groups[command.words] = added.add_subparsers(required=True, metavar="COMMAND")
        for names, keywords in command.options:
            added.add_argument(*names, **keywords)
    return parser


def _of(make: Callable[..., argparse.ArgumentParser], example: str, **keywords: Any) -> argparse.ArgumentParser:
    """A parser whose help fits 80 columns, and ends with ``example``."""
    return make(
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=min(shutil.get_terminal_size().columns, 80)),
        epilog=f"example: {example}" if example else None,
        **keywords,
    )


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


def _axis(text: str) -> tuple[str, list[str]]:
    axis, _, values = text.partition("=")
    listed = [value.strip() for value in values.split(",")]
    if not axis or not all(listed):
        raise argparse.ArgumentTypeError(
            f"found '{text}'; it must be a setting and values with commas between them, as seed=1,2"
        )
    return axis, listed


def _command(
    words: str, help: str, function: str = "", *options: Option, is_long: bool = False, example: str = ""
) -> Command:
    return Command(words, help, function, options, is_long, example)


def _option(*names: str, **keywords: Any) -> Option:
    return names, keywords


def _flag(name: str, help: str, **keywords: Any) -> Option:
    return _option(name, help=help, action="store_true", **keywords)


class _Vary(argparse.Action):
    """Adds an axis, which is the option's ``const``, and its values, as text."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), (self.const, [str(value) for value in values])])


def _of_axis(name: str, axis: str, metavar: str, **keywords: Any) -> Option:
    return _option(
        name, action=_Vary, dest="vary", const=axis, nargs="+", metavar=metavar, default=[],
        help=f"the same as --vary {axis}={metavar},...", **keywords,
    )  # fmt: skip


_WIDTHS = (
    _of_axis("--archs", "arch", "ARCH"),
    _of_axis("--seeds", "seed", "SEED", type=_seed),
    _of_axis("--budgets", "budget", "BUDGET"),
)
_SWEEP = (
    _option("names", nargs="*", metavar="NAME", help="of `sweeps` in params.yaml; the options add to each"),
    _option(
        "--vary",
        action="append",
        type=_axis,
        default=[],
        metavar="KEY=V1,V2",
        help="run with each of these values, as finetuning.learning_rate=1e-3,4e-3; may be given again",
    ),
    *_WIDTHS,
    _option("--replicates", type=_count, metavar="N", help="pairs of a seed and an Atlantis draw"),
    _option("--only", nargs="+", default=[], metavar="MODEL", help="train these fine-tunes, by name or its start"),
    _option("--suffix", default="", metavar="WORD", help="put -WORD behind the names of the experiments"),
)
_JOBS = _option("--jobs", type=_count, help="as for `run`")
_FORCE = _flag("--force", "replace experiments of the same names that are other runs")
_JSON = _flag("--json", "the same as JSON", dest="as_json")

COMMANDS = (
    _command(
        "render", "write dvc.yaml and the JSON schema from params.yaml and the template", "commands.check:run_render",
        _flag("--check", "write nothing; fail if they are not up to date"),
        example="worldwidth render",
    ),
    _command(
        "check", "validate params.yaml; is dvc.yaml its rendering?", "commands.check:run_check",
        _flag("--lock", "and do dvc.lock and the committed results belong to this tree?"),
        example="worldwidth check --lock",
    ),
    _command(
        "plan", "stages, steps, tokens, FLOPs, disk and time; what will run and why", "commands.plan:print_plan",
        _flag("--all", "a row for every stage", dest="every"),
        _option("--sweep", metavar="NAME", help="the difference that this sweep's replicates can tell from none"),
        _option("--replicates", type=_count, metavar="N", help="with --sweep: what so many would tell"),
        _JSON,
        example="worldwidth plan --all",
    ),
    _command(
        "graph", "the pipeline as Mermaid text or SVG, a box for each group of stages", "commands.graph:print_graph",
        _option("--svg", type=Path, metavar="FILE", help="write it as SVG"),
        _flag("--all", "draw edges that a longer way implies, too", dest="every"),
        example="worldwidth graph --svg pipeline.svg",
    ),
    _command(
        "doctor", "what is wrong here, and the command that fixes it; changes nothing",
        "doctor.examination:run_doctor", _JSON,
        example="worldwidth doctor",
    ),
    _command(
        "run", "bring everything up to date, several stages at a time", "engine.run:run_study",
        _option("--jobs", type=_count, help="jobs at a time (default and most: one a GPU; without GPUs: a core each)"),
        _option("--gpus", type=_names, help="ids of the GPUs to use, one a job, as 0,1 (default: all visible)"),
        is_long=True,
        example="worldwidth run --jobs 2",
    ),
    _command(
        "status", "what runs here now, since when, and for how long still", "commands.status:print_status",
        _JSON, example="worldwidth status",
    ),
    _command(
        "sweep", "run the variants of a study as DVC experiments; skips what exists", "sweep.run:run_named",
        *_SWEEP, _JOBS, _FORCE, is_long=True,
        example="worldwidth sweep --vary arch=narrow,wide --only ftwb1",
    ),
    _command(
        "widths", "the sweep `widths`: all archs that it names, as DVC experiments", "sweep.run:run_widths",
        *_WIDTHS, _JOBS, _FORCE, is_long=True,
        example="worldwidth widths --archs narrow wide --seeds 42 43",
    ),
    _command(
        "tune", "choose each arch's fine-tuning learning rate on validation lines of another draw",
        "commands.tune:run_tune",
        _option("--archs", nargs="+", metavar="ARCH", help="default: all of the scale"),
        _JOBS,
        _flag("--write", "put the chosen rates into params.yaml"),
        _FORCE,
        is_long=True,
        example="worldwidth tune --archs narrow --write",
    ),
    _command(
        "frontier", "choose the ratio of the body's rate to the embedding's on validation lines of another draw",
        "commands.frontier:run_frontier", _JOBS, _FORCE, is_long=True,
        example="worldwidth frontier --jobs 2",
    ),
    _command(
        "compare", "compare experiments by an axis: tables, figures, report/NAME/index.html",
        "commands.compare:run_compare",
        _option(
            "names", nargs="*", metavar="EXPERIMENT",
            help="or sweeps of params.yaml; default: those of the scale that differ in arch, budget and seeds",
        ),
        _option(
            "--by", type=_names, metavar="AXIS[,AXIS]",
            help="arch, or a setting as finetuning.learning_rate; default: what the sweep varies, or arch",
        ),
        _option("--out", metavar="NAME", help="of the folders that it is written to; default: the sweep's or scale's"),
        _option(
            "--from", dest="source", metavar="NAME",
            help="draw a comparison again from its tables in results/comparison, as in a fresh clone",
        ),
        _option(
            "--pair", dest="pairs", nargs=2, action="append", default=[], metavar=("VALUE", "OTHER"),
            help="draw this difference, too",
        ),
        example="worldwidth compare --by finetuning.learning_rate",
    ),
    _command(
        "publish", "lay out models as Hugging Face repositories, their checkpoints as branches; needs no network",
        "commands.publish:publish",
        _option("names", nargs="+", metavar="MODEL", help="as in models/: base, ftwb2-12"),
        _option("--to", type=Path, required=True, metavar="FOLDER", help="of one; each of several gets FOLDER/MODEL"),
        example="worldwidth publish ftwb2-12 --to ../ftwb2-12",
    ),
    _command("slurm", "the study on a Slurm cluster: plan, submit, status, collect"),
    _command(
        "slurm plan", "the jobs, what each waits for and asks for; submits nothing", "slurm.plan:print_plan",
        *_SWEEP, _JSON,
        example="worldwidth slurm plan --archs narrow wide",
    ),
    _command(
        "slurm submit", "submit what is missing; returns at once", "slurm.submit:submit",
        *_SWEEP, _FORCE, example="worldwidth slurm submit widths --replicates 3",
    ),
    _command(
        "slurm status", "what became of every stage that was submitted", "slurm.status:print_status",
        _JSON, example="worldwidth slurm status",
    ),
    _command(
        "slurm collect", "restore the results here; runs nothing; says what is missing", "slurm.collect:collect",
        _FORCE,
        example="worldwidth slurm collect",
    ),
    _command(
        "slurm work", "what a job does on its node", "slurm.worker:work",
        _option("job", type=Path, help="its name, in the folder of its submission"),
    ),
    _command(
        "job", "bring some stages up to date in this process, as `run` does", "engine.job:run_job",
        _option("names", nargs="+", metavar="STAGE"),
    ),
    _command(
        "work", "what a job of a sweep does in its work tree", "sweep.work:work",
        _option("names", nargs="*", metavar="STAGE"),
        _option("--save", nargs=2, metavar=("EXPERIMENT", "REPOSITORY"), help="and save the variant, if it is whole"),
    ),
    _command(
        "coordinates", "do the first steps move models of all widths alike? under standard and mup; table and figure",
        "commands.coordinates:print_coordinates",
        _option("--archs", nargs="+", metavar="ARCH", help="default: all with as many layers as the reference"),
        example="worldwidth coordinates --archs narrow wide",
    ),
    _command(
        "sample", "print lines of a corpus as the model reads them, with their cities", "commands.sample:print_sample",
        _option("--task", required=True),
        _option("--population", default="world", help="world (default) or atlantis"),
        _option("--split", default="test", help="train, validation or test (default)"),
        _option("-n", dest="count", metavar="N", type=int, default=20, help="number of lines (default 20)"),
        _flag("--json", "one JSON object a line", dest="as_json"),
        example="worldwidth sample --task inside --population atlantis -n 5",
    ),
    _command(
        "plots", "draw what a half-finished study has so far, into partial/", "commands.preview:draw_partial",
        _flag("--partial", "hatch and list what is missing", required=True),
        example="worldwidth plots --partial",
    ),
)  # fmt: skip


if __name__ == "__main__":
    main()
