"""The doctor on the disk: folders, free space, how files get from DVC's cache into the work tree, pages of plots."""

import os
from collections.abc import Iterator
from pathlib import Path

from worldwidth.doctor.finding import AGAIN, Finding, one_line, quoted, shown, size
from worldwidth.settings.paths import CORPORA, CURVES, EVALUATIONS, MODELS, PLOTS, SCORES

_DVC = Path(".dvc")
_FOLDERS = (_DVC, _DVC / "tmp", CORPORA.parent, CORPORA, MODELS, CURVES.parent, CURVES, EVALUATIONS, SCORES, PLOTS)
_FEW_INODES = 10_000
_SOME_SPACE = 200 * 10**6  # for temporary files, in bytes


def cache_settings() -> tuple[Path, list[str]]:
    """DVC's cache folder and the link types it may use; DVC's own defaults where its config cannot be read."""
    try:
        from dvc.config import Config

        cache = Config(str(_DVC.absolute()))["cache"]
    except Exception:  # not installed, or a broken config: said by the check of DVC itself
        cache = {}
    return Path(cache.get("dir") or _DVC / "cache"), list(cache.get("type") or ["reflink", "copy"])


def config_problems() -> dict[str, str]:
    """Which of the project's two config files DVC cannot read, by name below ``.dvc``, and why."""
    from dvc.config import Config, ConfigError

    problems: dict[str, str] = {}
    for name in ("config", "config.local"):
        try:
            if os.path.lexists(_DVC / name):
                Config.validate(Config.load_file(str(_DVC / name)))
        except (ConfigError, OSError) as error:
            problems[name] = one_line(error)
    return problems


def _without_config(checked: str) -> Iterator[Finding]:
    if config_problems():
        yield Finding(checked, "warning", "not checked, for DVC's config cannot be read; mend that first", AGAIN)


def check_folders() -> Iterator[Finding]:
    """Is every folder that a run writes to a folder, and writable?"""
    folders = [Path(), *_FOLDERS, cache_settings()[0]]
    sound = True
    for folder in folders:
        finding = _folder(folder)
        if finding:
            sound = False
            yield finding
    if sound:
        yield Finding("folders", "ok", "all that exist are folders, readable and writable")


def _folder(folder: Path) -> Finding | None:
    name = shown(folder) if folder != Path() else "the project's folder"
    if not os.path.lexists(folder):
        found = "not found: this is no DVC project"
        return Finding(name, "problem", found, f"git checkout HEAD -- {_DVC}") if folder == _DVC else None
    if folder.is_symlink() and not folder.exists():
        found = f"a link to {os.readlink(folder)}, which is not there"
        return Finding(name, "problem", found, f"rm {quoted(folder)}")
    if not folder.is_dir():
        return Finding(
            name, "problem", "a file where a folder belongs", f"mv {quoted(folder)} {quoted(f'{folder}.in-the-way')}"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        return Finding(name, "problem", "not readable and writable for you", f"chmod -R u+rwX {quoted(folder)}")
    return None


def check_space() -> Iterator[Finding]:
    """Do the file systems have room for a run at the selected scale?"""
    import tempfile

    from worldwidth.core.errors import WorldwidthError
    from worldwidth.engine.costs import line_sizes, stage_sizes
    from worldwidth.settings.load import load

    try:
        settings = load()
        run = sum(stage.get("bytes", 0) for stage in stage_sizes(settings, line_sizes(settings)).values())
        asks = f"a run at scale {settings.scale} writes {size(run)} here"
    except WorldwidthError:  # said by the check of params.yaml
        run, asks = 0, "how much a run writes is not known"
    places = {"project": (Path(), run), "DVC's cache": (cache_settings()[0], run)}
    places["temporary files"] = (Path(tempfile.gettempdir()), _SOME_SPACE)
    needed: dict[int, int] = {}
    for path, need in places.values():
        device = _existing(path).stat().st_dev
        needed[device] = needed.get(device, 0) + need
    for name, (path, need) in places.items():
        folder = _existing(path)
        disk, together = os.statvfs(folder), needed[folder.stat().st_dev]
        free, room = disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None
        text = f"{size(free)} free" + (f"; {asks}" if need == run else "")
        free_up = "dvc gc --workspace --all-commits --all-experiments"
        if free < together:
            yield Finding(name, "problem", f"{text}; {size(together)} in all on this file system", free_up)
        elif room is not None and room < _FEW_INODES:
            yield Finding(name, "problem", f"{text}, but only {room} more files can be made (inodes)", free_up)
        else:
            yield Finding(name, "ok", text)


def check_links() -> Iterator[Finding]:
    """Which of the allowed link types really work between cache and work tree? Tried with DVC's own test."""
    from dvc.fs import localfs
    from dvc_objects.fs.generic import test_links

    if skipped := list(_without_config("cache links")):
        yield from skipped
        return
    cache, allowed = cache_settings()
    source = _existing(cache)
    works = test_links(allowed, localfs, str(source.absolute()), localfs, str(Path("x").absolute()))
    place = f"the cache, {shown(cache)}, " + ("" if cache.exists() else "is not there yet; it ")
    apart = source.stat().st_dev != Path().stat().st_dev
    place += "lies on another file system" if apart else "lies on the project's file system"
    better = "dvc config --local cache.type reflink,hardlink,symlink,copy && dvc checkout --relink"
    if not works:
        yield Finding("cache links", "problem", f"{place}; none works of {', '.join(allowed)}", better)
    elif works[0] == "copy":
        found = f"{place}; of {', '.join(allowed)} only copy works: all takes twice the disk, switching copies it"
        yield Finding("cache links", "warning", found, better)
    else:
        yield Finding("cache links", "ok", f"{place}; {works[0]} works")


def check_offline_plots() -> Iterator[Finding]:
    """Do the pages of `dvc plots` need a network? DVC stops where a page template is named but not there."""
    from dvc.config import Config

    if skipped := list(_without_config("pages of plots")):
        yield from skipped
        return
    install = "python -m worldwidth.commands.offline_plots"
    named = Config(str(_DVC.absolute()))["plots"].get("html_template")
    if not named:
        found = "no page template: the pages of `dvc plots` load their charts from a public server"
        yield Finding("pages of plots", "warning", found, install)
    elif not (_DVC / named).is_file():
        yield Finding("pages of plots", "problem", f"{_DVC / named} is not there: `dvc plots` stops", install)
    else:
        yield Finding("pages of plots", "ok", "need no network")


def _existing(path: Path) -> Path:
    """``path`` or the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
