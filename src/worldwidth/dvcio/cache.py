"""DVC's cache: where it lies, and letting another work tree use it."""

import shutil
from contextlib import suppress
from pathlib import Path

from worldwidth.dvcio.config import set_local
from worldwidth.dvcio.repo import open_repo


def cache_folder() -> Path:
    """Where this repository's DVC cache lies."""
    with open_repo() as repo:
        return Path(repo.cache.legacy.path)  # cache.dir itself


def use_cache(tree: Path, folder: Path, source: Path) -> None:
    """Let the DVC of ``tree`` use the cache in ``folder``, and be set as the user has set that of ``source``.

    What the user has set for one checkout alone, such as the kind of lock and of links, holds in its clones too.

    Raises:
        WorldwidthError: DVC's local config there cannot be read.
    """
    with suppress(FileNotFoundError):
        shutil.copyfile(source / ".dvc" / "config.local", tree / ".dvc" / "config.local")
    set_local(tree, "cache", "dir", str(folder))
    set_local(tree, "exp", "auto_push", "false")
