"""DVC's own view of this repository."""

import shlex
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import check_regular
from worldwidth.core.locks import is_held
from worldwidth.dvcio.config import has_hardlink_lock
from worldwidth.dvcio.lockfile import LOCK
from worldwidth.dvcio.private import explain, is_known
from worldwidth.pipeline.render import DVC_YAML
from worldwidth.settings.axes import set_keys
from worldwidth.settings.paths import PARAMS


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

    for path in (PARAMS, DVC_YAML, LOCK):  # DVC would wait for ever for what comes out of a FIFO
        check_regular(path)
    repo = Repo.__new__(Repo)  # in two steps: it knows where its database is before that is opened
    try:
        Repo.__init__(repo, _wait_for_lock=wait)
        with repo:
            if has_hardlink_lock(repo):
                _remove_plain_locks(Path(repo.tmp_dir))
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
            said = (
                "another DVC command is running here: wait for it, then ask again; `worldwidth status` says what runs"
            )
            raise WorldwidthError(f"{said}; if there is none: `worldwidth doctor`") from None
        raise WorldwidthError(f"DVC: {' '.join(str(error).split())}") from None
    except (AttributeError, ImportError, TypeError) as error:
        if is_known():
            raise
        raise WorldwidthError(explain(error)) from None
    except DvcException as error:
        raise WorldwidthError(f"DVC cannot read the pipeline: {str(error).splitlines()[0]}") from None


def _remove_plain_locks(folder: Path) -> None:
    """Delete what DVC's ordinary locks left in ``folder``: to locks by hard link, a file that is there is held."""
    for name in ("lock", "rwlock.lock"):
        with suppress(FileNotFoundError):
            if (folder / name).stat().st_nlink == 1 and not is_held(folder / name):
                (folder / name).unlink()


def stages_named(repo: Any, names: Iterable[str]) -> list[Any]:
    """DVC's stages of these names, or groups of them; dvc.yaml and dvc.lock are read once until ``repo`` is reset.

    Raises:
        DvcException: there is none of a name.
    """
    stages = repo.index.stages
    found: list[Any] = []
    for name in names:
        own = [stage for stage in stages if name in (stage.addressing, stage.addressing.split("@")[0])]
        found += own or repo.stage.collect(name)
    return found


def needs_of(repo: Any) -> dict[str, set[str]]:
    """Stage -> the stages it reads from, from DVC's graph."""
    graph = repo.index.graph
    return {stage.addressing: {need.addressing for need in graph.successors(stage)} for stage in graph}


def ancestors(names: Iterable[str], needs: Mapping[str, Iterable[str]]) -> set[str]:
    """All stages that those in ``names`` depend on, given which stages each one reads from."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        new = set(needs[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def edit_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Set keys, dotted ones in their mappings, of a YAML file; keep its comments and layout, as `dvc exp run -S`."""
    from dvc.utils.serialize import modify_yaml

    with modify_yaml(str(path)) as found:
        set_keys(found, values)
