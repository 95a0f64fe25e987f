"""DVC's cache: where it lies, and letting another work tree use it."""

from pathlib import Path

from worldwidth.dvcio.config import set_local
from worldwidth.dvcio.repo import open_repo


def cache_folder() -> Path:
    """Where this repository's DVC cache lies."""
    with open_repo() as repo:
        return Path(repo.cache.legacy.path)  # cache.dir itself


def use_cache(tree: Path, folder: Path) -> None:
    """Let the DVC of ``tree`` use the cache in ``folder``.

    Raises:
        WorldwidthError: DVC's local config there cannot be read.
    """
    set_local(tree, "cache", "dir", str(folder))
