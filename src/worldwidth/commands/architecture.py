"""The packages and their imports as a picture in docs/architecture.md: `python -m worldwidth.commands.architecture`.

`make render` runs it. The arrows come from the code, so that the picture cannot show another one.
"""

from worldwidth.core.command import exit_codes

from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import write_text
from worldwidth.core.imports import PACKAGE, PLUMBING, SOURCE, imported_modules

PAGE = Path("docs/architecture.md")
START, END = "```mermaid\n", "```\n"

HOLDS = {
    "core": "errors, files, locks, signals, imports: knows nothing of the study",
    "tasks": "a file a task: its queries, answers and text",
    "settings": "params.yaml as one checked object, and what follows from it",
    "data": "cities, queries, corpora, token ids, named random streams",
    "model": "flat weights, prefix trees, the decoder in torch, decoding; checkpoints",
    "native": "a training step, the optimisers and decoding in C++, and what builds it",
    "training": "the step, the loop, what goes into a batch, resuming, publishing",
    "evaluation": "answers, scores, matrices, the study's tables",
    "representation": "where a model has its cities: probes of its residual stream, and how alike two models are",
    "pipeline": "THE table of stages, dvc.yaml from it, groups of stages as jobs",
    "dvcio": "all that talks to DVC: forecast, restore, repair, experiments",
    "engine": "the start of a stage; stages side by side on one machine, and what is shown of them",
    "comparison": "runs compared, with the seed as the unit",
    "plots": "figures of a study and of a comparison",
    "report": "the comparison as one HTML file",
    "hub": "models as Hugging Face repositories",
    "sweep": "variants as one graph of jobs",
    "slurm": "jobs of a cluster: submit, work, status, collect",
    "doctor": "what is wrong here, and the command that fixes it",
    "commands": "plan, status, graph, compare, sample, plots: commands that are no package",
    "stages": "one short script a stage: what DVC runs",
}
"""What is written in each box. An arrow leads to a package higher in this list."""


def picture(root: Path = Path()) -> str:
    """The flow chart as Mermaid text: an arrow is an import, left out where longer ways lead to the same package."""
    order = list(HOLDS)
    needs = {package: _needs(package, root) for package in order}
    below = {package: needs[package] & set(order[: order.index(package)]) for package in order}

    def reached(package: str) -> set[str]:
        return below[package].union(*map(reached, below[package]))

    lines = ["flowchart TD"]
    for package in reversed(order):
        lines.append(f'    {package}["{package}/<br>{HOLDS[package]}"]')
    for package in reversed(order):
        further = set[str]().union(*map(reached, below[package]))
        lines += [f"    {package} --> {need}" for need in order if need in needs[package] - further]
    lines.append("    classDef plumbing stroke-dasharray: 5 5")
    lines.append(f"    class {','.join(package for package in order if package in PLUMBING)} plumbing")
    return "\n".join(lines) + "\n"


def _needs(package: str, root: Path) -> set[str]:
    """The packages that the files of ``package`` import."""
    folder = root / "stages" if package == "stages" else root / SOURCE / PACKAGE / package
    modules = {module for path in folder.rglob("*.py") for module in imported_modules(path, root)}
    return {module.split(".")[1] for module in modules if "." in module} - {package}


def with_picture(page: str, drawn: str) -> str:
    """``page`` with ``drawn`` as its Mermaid block.

    Raises:
        WorldwidthError: it has none.
    """
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise WorldwidthError(f"{PAGE}: no block between ```mermaid and ```; restore it with `git checkout {PAGE}`")
    return before + start + drawn + end + after


def main() -> None:
    """Write the picture into the page."""
    with exit_codes():
        if not PAGE.is_file():
            raise WorldwidthError(f"{PAGE}: not found; run this in the project's folder")
        write_text(PAGE, with_picture(PAGE.read_text(encoding="utf-8"), picture()))


if __name__ == "__main__":
    main()
