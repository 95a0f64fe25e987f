"""DVC's own view of this repository."""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.dvcio.private import explain, is_known


class DamagedHashesError(WorldwidthError):
    """DVC's database of file hashes, which only saves it time, cannot be read; it lies in ``folder``."""

    def __init__(self, folder: Path, reason: object) -> None:
        super().__init__(
            f"DVC's database of file hashes is damaged ({reason}); it only saves time: "
            f"`rm -r {shlex.quote(str(folder))}`, or `worldwidth run`, which does the same"
        )
        self.folder = folder


@contextmanager
def open_repo(wait: bool = False) -> Iterator[Any]:
    """DVC's own view of this repository; ``wait`` makes its lock wait for other DVC commands.

    Raises:
        WorldwidthError: inside, DVC cannot read the pipeline, or (without ``wait``) another DVC command is running.
        DamagedHashesError: inside, DVC's database is damaged.
    """
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.repo import Repo

    repo = Repo.__new__(Repo)  # in two steps: it knows where its database is before that is opened
    try:
        Repo.__init__(repo, _wait_for_lock=wait)
        with repo:
            yield repo
    except sqlite3.OperationalError as error:  # a full disk, no right to write, no locks on this file system
        raise WorldwidthError(
            f"DVC's database of file hashes in {repo.site_cache_dir}: {error}; make room or end what uses it, and run "
            "the same command again, or put it elsewhere: `dvc config --local core.site_cache_dir FOLDER`"
        ) from None
    except sqlite3.DatabaseError as error:
        raise DamagedHashesError(Path(repo.site_cache_dir), error) from None
    except LockError as error:
        if str(error).startswith("Unable to acquire lock"):
            raise WorldwidthError("another DVC command is running here: wait for it, then ask again") from None
        raise WorldwidthError(f"DVC: {' '.join(str(error).split())}") from None
    except (AttributeError, ImportError, TypeError) as error:
        if is_known():
            raise
        raise WorldwidthError(explain(error)) from None
    except DvcException as error:
        raise WorldwidthError(f"DVC cannot read the pipeline: {str(error).splitlines()[0]}") from None
    except sqlite3.Error as error:
        raise WorldwidthError(
            f"DVC's database of hashes cannot be written ({error}), as when the disk is full: make room, and run the "
            "same command again"
        ) from None


def needs_of(repo: Any) -> dict[str, set[str]]:
    """Stage -> the stages it reads from, from DVC's graph."""
    graph = repo.index.graph
    return {stage.addressing: {need.addressing for need in graph.successors(stage)} for stage in graph}


def edit_yaml(path: Path, values: dict[str, Any]) -> None:
    """Set keys of a YAML file and keep its comments and layout, as `dvc exp run -S` does."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(str(path)) as found:
        found.update(values)
