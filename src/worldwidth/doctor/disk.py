"""The doctor on the disk: folders, free space, how files get from DVC's cache into the work tree, pages of plots."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.text import bytes_text
from worldwidth.doctor.finding import Finding, no_access, quoted, shown
from worldwidth.dvcio.config import DVC_FOLDER, cache_settings, page_template, working_links
from worldwidth.settings.paths import CORPORA, CURVES, EVALUATIONS, MODELS, PLOTS, SCORES

_RESULTS = (CORPORA.parent, CORPORA, MODELS, CURVES.parent, CURVES, EVALUATIONS, SCORES, PLOTS)
_FEW_INODES = 10_000
_SOME_SPACE = 200 * 10**6  # for temporary files, in bytes
_FREE_UP = "dvc gc --workspace --all-commits --all-experiments"
_SHARED = "; DVC's cache lies outside the project: others may use it, so `dvc gc` is no remedy"
_LINK = "dvc config --local cache.type reflink,hardlink,symlink,copy && dvc checkout --relink"


def check_folders() -> Iterator[Finding]:
    """Is every folder that a run writes to a folder, and writable?"""
    for folder in (Path(), DVC_FOLDER, DVC_FOLDER / "tmp", *_RESULTS, cache_settings()[0]):
        name, path = shown(folder) if folder != Path() else "the project's folder", quoted(folder)
        if not os.path.lexists(folder):
            if folder == DVC_FOLDER:
                yield Finding(name, "problem", "not found: this is no DVC project", f"git checkout HEAD -- {path}")
        elif not folder.exists():
            text = f"a link to {os.readlink(folder)}, which is not there"
            yield Finding(name, "problem", text, f"rm {path}", (folder,))
        elif not folder.is_dir():
            command = f"mv {path} {quoted(f'{folder}.in-the-way')}"
            yield Finding(name, "problem", "a file where a folder belongs", command, (folder,))
        elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
            yield no_access(name, folder, "not readable and writable for you")


def check_space() -> Iterator[Finding]:
    """Do the file systems have room for a run at the selected scale?"""
    from worldwidth.engine.costs import line_sizes, stage_sizes
    from worldwidth.settings.load import load

    try:
        settings = load()
        run = sum(stage.get("bytes", 0) for stage in stage_sizes(settings, line_sizes(settings)).values())
        needs = f"for a run at scale {settings.scale}"
    except WorldwidthError:  # the check of params.yaml reports it
        run, needs = 0, "without a run, whose needs are not known"
    disks: dict[int, list[tuple[str, Path, int]]] = {}
    for name, path, need in (
        ("the project", Path(), run),
        ("DVC's cache", cache_settings()[0], run),
        ("temporary files", Path(tempfile.gettempdir()), _SOME_SPACE),
    ):
        folder = _existing(path)
        disks.setdefault(folder.stat().st_dev, []).append((name, folder, need))
    for places in disks.values():
        disk, need = os.statvfs(places[0][1]), sum(need for _, _, need in places)
        free = disk.f_bavail * disk.f_frsize
        text = (
            f"{bytes_text(free)} free for {', '.join(name for name, _, _ in places)}; {bytes_text(need)} needed {needs}"
        )
        few = disk.f_files and disk.f_favail < _FEW_INODES
        if few:
            text = f"{text}, but only {disk.f_favail} more files fit (inodes)"
        if few or free < need:
            own = cache_settings()[0].resolve().is_relative_to(Path.cwd().resolve())
            yield Finding("free space", "problem", text + ("" if own else _SHARED), _FREE_UP if own else "")
        else:
            yield Finding("free space", "ok", text)


def check_links() -> Iterator[Finding]:
    """Which of the allowed link types really work between cache and work tree?"""
    cache, allowed = cache_settings()
    source = _existing(cache)
    works = working_links(source)
    apart = "another" if source.stat().st_dev != Path().stat().st_dev else "the project's"
    text = f"{shown(cache)}{'' if cache.exists() else ', not there yet,'} is on {apart} file system"
    if not works:
        yield Finding("cache links", "problem", f"{text}; none works of {', '.join(allowed)}", _LINK)
    elif works[0] == "copy":
        text += f"; of {', '.join(allowed)} only copy works: all takes twice the disk, switching copies it"
        yield Finding("cache links", "warning", text, _LINK)
    else:
        yield Finding("cache links", "ok", f"{text}; {works[0]} works")


def check_offline_plots() -> Iterator[Finding]:
    """Do the pages of `dvc plots` need a network? DVC stops where a page template is named but not there."""
    install = "python -m worldwidth.commands.offline_plots"
    template = page_template()
    if not template:
        text = "no page template: the pages of `dvc plots` load their charts from a public server"
        yield Finding("pages of plots", "warning", text, install)
    elif not template.is_file():
        yield Finding("pages of plots", "problem", f"{template} is not there: `dvc plots` stops", install)


def _existing(path: Path) -> Path:
    """``path`` or the nearest folder above it that exists."""
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
