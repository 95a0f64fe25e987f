"""DVC's cache: where it lies, and letting another work tree use it."""

from pathlib import Path

from worldwidth.dvcio.repo import open_repo


def cache_folder() -> Path:
    """Where this repository's DVC cache lies."""
    with open_repo() as repo:
        return Path(repo.cache.legacy.path)  # cache.dir itself


def use_cache(tree: Path, folder: Path) -> None:
    """Let the DVC of ``tree`` use the cache in ``folder``."""
    from dvc.config import Config

    with Config(tree / ".dvc").edit("local") as local:
        local["cache"]["dir"] = str(folder)
