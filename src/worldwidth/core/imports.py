"""Which source files a stage's result depends on: the closure of its imports, computed from the code.

DVC does not follow imports, so dvc.yaml lists them. The C++ files of a package belong to whoever imports a module of
it. Left out is the plumbing below: code that moves values and messages but cannot change a number in a result.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from worldwidth.core.files import read_text

PACKAGE = "worldwidth"
SOURCE = Path("src")

PLUMBING = ("core", "settings", "pipeline", "dvcio", "engine", "sweep", "slurm", "doctor", "commands", "cli")
"""Packages that move values, files and messages and cannot change a number: no stage depends on their files. Values
from params.yaml reach a stage as DVC params, so that reading and checking them need not count."""

NOT_PLUMBING = frozenset({"settings.compute"})

_CPP = (".cpp", ".hpp")


def code_closure(script: Path, root: Path = Path()) -> list[str]:
    """Return ``script``, every project file it imports, directly or not, and the C++ beside those, sorted.

    Paths are relative to ``root``.

    Task modules are imported by name at run time and so do not appear: :func:`task_closure` lists them.
    """
    found: set[Path] = set()
    waiting = [root / script]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [_file_of(name, root) for name in imported_modules(path, root) if not is_plumbing(name, root)]
    found |= {file for folder in {path.parent for path in found} for file in folder.iterdir() if file.suffix in _CPP}
    return sorted(path.relative_to(root).as_posix() for path in found)


def code_files(root: Path = Path()) -> list[Path]:
    """Every file of the project's that a closure can hold."""
    folders = (root / SOURCE / PACKAGE, root / "stages")
    return sorted(path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", *_CPP))


def is_plumbing(module: str, root: Path = Path()) -> bool:
    """Whether ``module`` lies in a plumbing package, or holds nothing, as the file of a package that only groups."""
    name = module.removeprefix(f"{PACKAGE}.")
    if name in NOT_PLUMBING:
        return False
    return name == PACKAGE or name.split(".")[0] in PLUMBING or not _file_of(module, root).stat().st_size


def task_closure(tasks: tuple[str, ...], root: Path = Path()) -> list[str]:
    """Return the files that the modules of ``tasks`` import, those modules left out, sorted."""
    own = {_task_file(task) for task in tasks}
    files = {file for task in own for file in code_closure(Path(task), root)}
    return sorted(files - own)


def task_files(tasks: tuple[str, ...]) -> list[str]:
    """The modules of ``tasks`` themselves, in their order."""
    return [_task_file(task) for task in tasks]


def _task_file(task: str) -> str:
    return (SOURCE / PACKAGE / "tasks" / f"{task}.py").as_posix()


@cache
def imported_modules(path: Path, root: Path) -> frozenset[str]:
    """Names of the project's modules that one file imports, at its top or inside a function."""
    modules: set[str] = set()
    for node in _statements(ast.parse(read_text(path))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules.add(node.module)
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    # importing a.b.c runs a and a.b first
    parents = {name.rsplit(".", n)[0] for name in modules for n in range(1, name.count(".") + 1)}
    return frozenset(
        name for name in modules | parents if name.split(".")[0] == PACKAGE and _file_of(name, root).is_file()
    )


def _statements(parent: ast.AST) -> Iterator[ast.AST]:
    """All statements below ``parent``; expressions, which hold no imports, are most of a file and are passed over."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            yield node
            yield from _statements(node)


def _file_of(module: str, root: Path) -> Path:
    path = root / SOURCE / Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
