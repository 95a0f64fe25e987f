"""The doctor on content: what dvc.lock names, hashed anew in the work tree and in DVC's cache.

DVC itself does not notice damage in its cache: an object that is read-only counts as sound, is linked into the work
tree, and is not even written again by `dvc repro --force`. So an object that is damaged must go first.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from worldwidth.doctor.disk import cache_settings
from worldwidth.doctor.finding import AGAIN, Finding, listed, one_line, quoted, shown
from worldwidth.doctor.inventory import Inventory, Out, take_inventory
from worldwidth.doctor.repository import lock_problem
from worldwidth.pipeline.stages import lies_in_git

_LOCK = Path("dvc.lock")
_Name = TypeVar("_Name", str, Path)


def check_content() -> Iterator[Finding]:
    """Do the work tree and DVC's cache hold what dvc.lock says, byte for byte?"""
    if lock_problem():
        yield Finding("content", "warning", "not compared, for dvc.lock cannot be read; mend that first", AGAIN)
        return
    if not _LOCK.exists():
        yield Finding("content", "ok", "nothing has been made yet")
        return
    found = take_inventory(recorded_outs(), cache_settings()[0] / "files" / "md5")
    for error in found.unreadable:
        command = f"chmod -R u+rwX {quoted(error.filename)}"
        yield Finding("unreadable", "problem", f"{shown(error.filename)}: {one_line(error.strerror)}", command)
    yield from _damaged_objects(found)
    yield from _damaged_files(found)
    yield from _lost(found)
    yield from _not_cached(found)
    yield from _not_there(found)
    there, objects = len(found.outs) - len(found.missing), [piece.in_cache for piece in found.pieces]
    text = f"{there} of {len(found.outs)} outs are there; {objects.count('right')} of {len(objects)} objects are right"
    yield Finding("hashed anew", "ok", text)


def recorded_outs() -> list[Out]:
    """The outs of dvc.lock, in its order; those that git keeps have no object in DVC's cache and are left out.

    Raises:
        WorldwidthError: dvc.lock cannot be read.
    """
    from worldwidth.settings.strict_yaml import read_yaml

    return [
        Out(stage, Path(out["path"]), out["md5"])
        for stage, entry in read_yaml(_LOCK)["stages"].items()
        if not lies_in_git(stage)
        for out in entry.get("outs", [])
    ]


def _damaged_objects(found: Inventory) -> Iterator[Finding]:
    """Objects that can be had again from the work tree: a file is copied back, a listing written by `dvc commit`."""
    damaged = [p for p in found.pieces if p.right and (p.in_cache == "wrong" or (p.in_cache == "missing" and p.wrong))]
    if not damaged:
        return
    commands: list[str] = []
    for piece in damaged:
        out, path = piece.right[0]
        if piece.is_listing:
            commands.append(f"rm -rf {quoted(piece.object)} && dvc commit {quoted(out.stage)}")
        else:
            folder = f"mkdir -p {quoted(piece.object.parent)} && " if piece.in_cache == "missing" else ""
            commands.append(f"{folder}install -m 444 {quoted(path, piece.object)}")
    names = listed([shown(piece.right[0][1]) for piece in damaged], 3)
    text = f"in DVC's cache, where DVC does not look, for {names}; the work tree still has it"
    yield Finding("damaged objects", "problem", text, " && ".join(commands))


def _damaged_files(found: Inventory) -> Iterator[Finding]:
    """Files of the work tree that the cache has, once the objects above are mended."""
    lost = {piece.outs[0].stage for piece in found.pieces if piece.is_lost}
    pieces = [piece for piece in found.pieces if piece.wrong and not piece.is_lost]
    places = _unique(path for piece in pieces for out, path in piece.wrong if out.stage not in lost)
    outs = _unique(out.path for piece in pieces for out, _ in piece.wrong if out.stage not in lost)
    if not places and not found.surplus:
        return
    names = listed(list(map(shown, places)), 4)
    text = f"not what dvc.lock says: {names}" if places else "all that dvc.lock names is right"
    if found.surplus:
        text += f"; made by no stage: {listed(list(map(shown, found.surplus)), 3)}"
    command = f"rm -rf {quoted(*places, *found.surplus)}" + (f" && dvc checkout {quoted(*outs)}" if outs else "")
    yield Finding("damaged files", "problem", text, command)


def _lost(found: Inventory) -> Iterator[Finding]:
    """What no place holds any more: its stage must run again, which DVC does only when the damaged object is gone."""
    lost = [piece for piece in found.pieces if piece.is_lost]
    if not lost:
        return
    objects = [piece.object for piece in lost if piece.in_cache == "wrong"]
    places = _unique(path for piece in lost for _, path in piece.wrong)
    stages = _unique(piece.outs[0].stage for piece in lost)
    others = _unique(out.path for piece in lost for out in piece.outs if out.stage not in stages)
    names = listed(list(map(shown, places or [piece.outs[0].path for piece in lost])), 4)
    command = f"rm -rf {quoted(*objects, *places)} && dvc repro {quoted(*stages)}"
    command += f" && dvc checkout {quoted(*others)}" if others else ""
    yield Finding("lost content", "problem", f"damaged in the cache and nowhere else to be had: {names}", command)


def _not_cached(found: Inventory) -> Iterator[Finding]:
    """Objects that are only in the work tree: `dvc commit` takes them in, and refuses if code or params changed."""
    pieces = [piece for piece in found.pieces if piece.in_cache == "missing" and piece.right and not piece.wrong]
    if pieces:
        stages = _unique(piece.right[0][0].stage for piece in pieces)
        text = f"{len(pieces)} of {len(found.pieces)} objects, of {listed(stages)}: a run would make them again"
        yield Finding("not in the cache", "warning", text, f"dvc commit {quoted(*stages)}")


def _not_there(found: Inventory) -> Iterator[Finding]:
    """Outs that are not in the work tree, as in a fresh clone."""
    lost = {out for piece in found.pieces if piece.in_cache != "right" for out in piece.outs}
    restorable = [out.path for out in found.missing if out not in lost]
    gone = [shown(out.path) for out in found.missing if out in lost]
    if restorable:
        text = f"{len(restorable)} outs that the cache has: {listed(list(map(shown, restorable)))}"
        yield Finding("not there", "warning", text, f"dvc checkout {quoted(*restorable)}")
    if gone:
        text = f"{len(gone)} outs, and not in the cache: {listed(gone)}"
        yield Finding("not there", "warning", text, "make repro")


def _unique(names: Iterable[_Name]) -> list[_Name]:
    return list(dict.fromkeys(names))
