"""What every stage script does first and last: read the matrix, refuse a stale dvc.yaml, say errors in a line."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from worldwidth.errors import WorldwidthError, nearest
from worldwidth.matrix import Matrix, load
from worldwidth.pipeline import check_rendered


def run_stage(main: Callable[..., None], *names: str) -> None:
    """Call ``main(matrix, *arguments)`` with one command-line argument for each of ``names``.

    Exits with 2 and one line on stderr when the input is bad, and with 130 on Ctrl-C.
    """
    with exit_codes():
        arguments = sys.argv[1:]
        if len(arguments) != len(names):
            raise WorldwidthError(f"usage: python {sys.argv[0]} {' '.join(names)}")
        matrix = load()
        check_rendered(matrix)
        main(matrix, *arguments)


class exit_codes:  # noqa: N801 - reads as a verb: `with exit_codes():`
    """Turn errors meant for people into one line on stderr and exit code 2."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WorldwidthError):
            print(f"worldwidth: {error}", file=sys.stderr)
            sys.exit(2)
        if isinstance(error, BrokenPipeError):  # `worldwidth sample ... | head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)
        if isinstance(error, KeyboardInterrupt):
            print("worldwidth: stopped; nothing half-written is left", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, OSError) and error.filename:  # disk full, a read-only folder
            print(f"worldwidth: {error.filename}: {error.strerror}", file=sys.stderr)
            sys.exit(2)


def known_model(matrix: Matrix, name: str) -> str:
    """Return ``name`` if it is a model of the matrix.

    Raises:
        WorldwidthError: it is not.
    """
    if name not in matrix.models:
        raise WorldwidthError(
            f"model '{name}': not in params.yaml; allowed: {', '.join(matrix.models)}{nearest(name, matrix.models)}"
        )
    return name


def scratch_folder() -> Path:
    """Where things outside DVC's outs are kept: below .dvc/tmp of the main checkout, also in a temporary run."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".dvc" / "tmp" / "worldwidth"
