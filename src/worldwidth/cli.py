"""The command line: `worldwidth check | plan | run | widths | compare | slurm | ...`. `worldwidth -h` explains."""

from worldwidth.core.command import exit_codes

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worldwidth.core.errors import WorldwidthError

if TYPE_CHECKING:
    from worldwidth.settings.schema import Settings


def main() -> None:
    """Parse the command line and run the command. Exits with 2 on bad input."""
    parser = _parser()
    arguments = parser.parse_args()
    with exit_codes():
        arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="worldwidth", description=sys.modules["worldwidth"].__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    render = commands.add_parser("render", help="write dvc.yaml and the JSON schema from params.yaml and the template")
    render.add_argument("--check", action="store_true", help="write nothing; fail if they are not up to date")
    render.set_defaults(run=_render)

    check = commands.add_parser("check", help="validate params.yaml; is dvc.yaml its rendering?")
    check.add_argument(
        "--lock", action="store_true", help="and do dvc.lock and the committed results belong to this tree?"
    )
    check.set_defaults(run=_check)

    plan = commands.add_parser("plan", help="stages, steps, tokens, FLOPs and disk; what will run and why")
    plan.add_argument("--json", action="store_true", help="the same as JSON")
    plan.set_defaults(run=_plan)

    doctor = commands.add_parser("doctor", help="what is wrong here, and the command that mends it; changes nothing")
    doctor.add_argument("--json", action="store_true", help="the same as JSON")
    doctor.set_defaults(run=_doctor)

    run = commands.add_parser("run", help="bring everything up to date, several stages at a time")
    run.add_argument(
        "--jobs", type=_count, help="jobs at a time (default and most: one a GPU; without GPUs: a core each)"
    )
    run.add_argument("--gpus", type=_names, help="ids of the GPUs to use, one a job, as 0,1 (default: all visible)")
    run.set_defaults(run=_run)

    widths = commands.add_parser("widths", help="run widths x seeds x budgets as DVC experiments; skips what exists")
    _add_variants(widths, archs="all of the scale")
    widths.add_argument("--jobs", type=_count, help="as for `run`")
    widths.set_defaults(run=_widths)

    compare = commands.add_parser("compare", help="compare experiments: tables, figures, report/index.html")
    compare.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="default: all that `widths` made")
    compare.add_argument(
        "--pair", nargs=2, action="append", default=[], metavar=("ARCH", "OTHER"), help="draw this difference, too"
    )
    compare.set_defaults(run=_compare)

    slurm = commands.add_parser("slurm", help="the study on a Slurm cluster: plan, submit, status, collect")
    _add_slurm(slurm.add_subparsers(required=True, metavar="COMMAND"))

    job = commands.add_parser("job", help="bring some stages up to date in this process, as `run` does")
    job.add_argument("stages", nargs="+", metavar="STAGE")
    job.set_defaults(run=_job)

    sample = commands.add_parser("sample", help="print lines of a corpus as the model reads them, with their cities")
    sample.add_argument("--task", required=True)
    sample.add_argument("--population", default="world", help="world (default) or atlantis")
    sample.add_argument("--split", default="test", help="train, validation or test (default)")
    sample.add_argument("-n", type=int, default=20, help="number of lines (default 20)")
    sample.add_argument("--json", action="store_true", help="one JSON object a line")
    sample.set_defaults(run=_sample)

    plots = commands.add_parser("plots", help="draw what a half-finished study has so far, into partial/")
    plots.add_argument("--partial", action="store_true", required=True, help="hatch and list what is missing")
    plots.set_defaults(run=_plots)
    return parser


def _add_variants(parser: argparse.ArgumentParser, archs: str) -> None:
    parser.add_argument("--archs", nargs="+", metavar="ARCH", help=f"default: {archs}")
    parser.add_argument("--seeds", nargs="+", type=_seed, metavar="SEED", help="default: the seed of params.yaml")
    parser.add_argument("--budgets", nargs="+", metavar="BUDGET", help="epochs, tokens, flops; default: params.yaml's")


def _add_slurm(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plan = commands.add_parser("plan", help="the jobs, what each waits for and asks for; hands in nothing")
    _add_variants(plan, archs="the arch of params.yaml")
    plan.add_argument("--json", action="store_true", help="the same as JSON")
    plan.set_defaults(run=_slurm_plan)

    submit = commands.add_parser("submit", help="hand in what is missing; returns at once")
    _add_variants(submit, archs="the arch of params.yaml")
    submit.set_defaults(run=_slurm_submit)

    status = commands.add_parser("status", help="what became of every stage that was handed in")
    status.add_argument("--json", action="store_true", help="the same as JSON")
    status.set_defaults(run=_slurm_status)

    collect = commands.add_parser("collect", help="restore the results here; runs nothing; says what is missing")
    collect.set_defaults(run=_slurm_collect)

    work = commands.add_parser("work", help="what a job does on its node")
    work.add_argument("spec", type=Path)
    work.set_defaults(run=_slurm_work)


def _settings() -> "Settings":
    from worldwidth.settings.load import load

    return load()


def _render(arguments: argparse.Namespace) -> None:
    from worldwidth.pipeline.render import stale_files, write_rendered

    settings = _settings()
    if arguments.check:
        stale = ", ".join(map(str, stale_files(settings)))
        if stale:
            raise WorldwidthError(f"not up to date with params.yaml and the template: {stale}; run `make render`")
        print("dvc.yaml and docs/params.schema.json match params.yaml and the template")
    else:
        changed = write_rendered(settings)
        print("wrote " + ", ".join(map(str, changed)) if changed else "nothing to do: up to date")


def _check(arguments: argparse.Namespace) -> None:
    from worldwidth.dvcio.fingerprint import check_lock
    from worldwidth.pipeline.render import check_rendered

    settings = _settings()
    check_rendered(settings)
    print("params.yaml is sound, and dvc.yaml is its rendering")
    if arguments.lock:
        check_lock(settings)
        print("dvc.lock holds this code, these params and the committed results")


def _plan(arguments: argparse.Namespace) -> None:
    from worldwidth.commands.plan import print_plan

    print_plan(_settings(), as_json=arguments.json)


def _doctor(arguments: argparse.Namespace) -> None:
    from worldwidth.doctor.examination import run_doctor

    run_doctor(as_json=arguments.json)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found '{text}'; it must be a whole number of at least 1")
    return int(text)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"found '{text}'; it must be ids with commas between them, as 0,1")
    return names


def _run(arguments: argparse.Namespace) -> None:
    from worldwidth.engine.run import run_study

    run_study(_settings(), arguments.jobs, arguments.gpus)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found '{text}'; it must be a whole number of at least 0")
    return int(text)


def _widths(arguments: argparse.Namespace) -> None:
    from worldwidth.sweep.widths import run_widths

    run_widths(_settings(), arguments.archs, arguments.seeds, arguments.budgets, arguments.jobs)


def _compare(arguments: argparse.Namespace) -> None:
    from worldwidth.commands.compare import run_compare

    run_compare(_settings(), arguments.experiments, [(arch, other) for arch, other in arguments.pair])


def _slurm_plan(arguments: argparse.Namespace) -> None:
    from worldwidth.slurm.plan import print_plan

    print_plan(_settings(), arguments.archs, arguments.seeds, arguments.budgets, as_json=arguments.json)


def _slurm_submit(arguments: argparse.Namespace) -> None:
    from worldwidth.slurm.submit import submit

    submit(_settings(), arguments.archs, arguments.seeds, arguments.budgets)


def _slurm_status(arguments: argparse.Namespace) -> None:
    from worldwidth.slurm.status import print_status

    print_status(as_json=arguments.json)


def _slurm_collect(arguments: argparse.Namespace) -> None:
    from worldwidth.slurm.collect import collect

    collect(_settings())


def _slurm_work(arguments: argparse.Namespace) -> None:
    from worldwidth.slurm.worker import work

    work(arguments.spec)


def _job(arguments: argparse.Namespace) -> None:
    from worldwidth.engine.job import run_job

    run_job(_settings(), arguments.stages)


def _sample(arguments: argparse.Namespace) -> None:
    from worldwidth.commands.sample import print_sample

    print_sample(
        _settings(), arguments.task, arguments.population, arguments.split, arguments.n, as_json=arguments.json
    )


def _plots(arguments: argparse.Namespace) -> None:
    from worldwidth.commands.preview import draw_partial

    draw_partial(_settings())


if __name__ == "__main__":
    main()
