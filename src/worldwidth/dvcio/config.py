"""DVC's configuration, version and links. DVC is imported inside the functions: the doctor runs without it, too."""

import os
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import replacing

DVC_FOLDER = Path(".dvc")


def dvc_version() -> str:
    """The version of DVC that is installed here."""
    from dvc import __version__

    return str(__version__)


def config_problems() -> dict[str, str]:
    """Which of the project's two config files DVC cannot read, by name below ``.dvc``, and why."""
    from dvc.config import Config, ConfigError

    problems: dict[str, str] = {}
    for name in ("config", "config.local"):
        try:
            if os.path.lexists(DVC_FOLDER / name):
                Config.validate(Config.load_file(str(DVC_FOLDER / name)))
        except (ConfigError, OSError, ValueError) as error:
            problems[name] = " ".join(str(error).split())
    return problems


def core_settings() -> dict[str, Any]:
    """DVC's section ``core``, of all levels of its config; empty where that cannot be read."""
    try:
        return dict(_config()["core"])
    except (ImportError, WorldwidthError):
        return {}


def has_hardlink_lock(repo: Any) -> bool:
    """Whether DVC is set to lock by hard links, as on a network's file system; all who lock must do it alike."""
    return bool(repo.config["core"].get("hardlink_lock", False))


def cache_settings() -> tuple[Path, list[str]]:
    """DVC's cache folder and the link types it may use; DVC's own defaults where its config cannot be read."""
    try:
        cache = _config()["cache"]
    except (ImportError, WorldwidthError):
        cache = {}
    return Path(cache.get("dir") or DVC_FOLDER / "cache"), list(cache.get("type") or ["reflink", "copy"])


def working_links(source: Path) -> list[str]:
    """Those of the allowed link types, best first, that really work from ``source`` to here, tried by DVC's own test.

    Raises:
        WorldwidthError: DVC's config cannot be read.
    """
    from dvc.fs import localfs
    from dvc_objects.fs.generic import test_links

    _config()
    allowed = cache_settings()[1]
    return list(test_links(allowed, localfs, str(source.absolute()), localfs, str(Path("x").absolute())))


def page_template() -> Path | None:
    """Where DVC looks for the page template of `dvc plots`; None if none is named.

    Raises:
        WorldwidthError: DVC's config cannot be read.
    """
    named = _config()["plots"].get("html_template")
    return DVC_FOLDER / named if named else None


def name_page_template(name: str, root: Path) -> str:
    """Let the DVC of ``root`` use the page template ``name``, unless its local config names one; return which it uses.

    Raises:
        WorldwidthError: DVC's config cannot be read.
    """
    config = _config(root)
    chosen = str(config.load_one("local")["plots"].get("html_template", name))
    if chosen == name:
        set_local(root, "plots", "html_template", name)
    return chosen


def set_local(root: Path, section: str, name: str, value: str) -> None:
    """Set one value in the local config of ``root``'s DVC, as `dvc config --local` does, which writes ASCII only.

    Raises:
        WorldwidthError: it cannot be read.
    """
    from configobj import ConfigObj, ConfigObjError

    path = root / DVC_FOLDER / "config.local"
    try:
        local = ConfigObj(str(path), encoding="utf-8", interpolation=False)
    except (ConfigObjError, OSError, ValueError) as error:
        raise _unreadable(error) from None
    local.setdefault(section, {})[name] = value
    with replacing(path) as temporary, temporary.open("wb") as file:
        local.write(file)


def _config(root: Path = Path()) -> Any:
    from dvc.config import Config, ConfigError

    try:
        return Config(str((root / DVC_FOLDER).absolute()))
    except (ConfigError, OSError, ValueError) as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> WorldwidthError:
    return WorldwidthError(f"DVC's config cannot be read: {' '.join(str(error).split())}")
