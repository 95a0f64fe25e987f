"""DVC's cache: where it lies, and letting another work tree use it."""

import shutil
from contextlib import suppress
from pathlib import Path

from worldwidth.dvcio.repo import open_repo


def cache_folder() -> Path:
    """Where this repository's DVC cache lies."""
    with open_repo() as repo:
        return Path(repo.cache.legacy.path)  # cache.dir itself


def use_cache(tree: Path, folder: Path, source: Path) -> None:
    """Let the DVC of ``tree`` use the cache in ``folder``, and be set as the user has set that of ``source``.

    What the user has set for one checkout alone, such as the kind of lock and of links, holds in its clones too.
    """
    from dvc.config import Config

    with suppress(FileNotFoundError):
        shutil.copyfile(source / ".dvc" / "config.local", tree / ".dvc" / "config.local")
    with Config(tree / ".dvc").edit("local") as local:
        local["cache"]["dir"] = str(folder)
        local.get("exp", {}).pop("auto_push", None)
