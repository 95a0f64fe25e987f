"""The doctor on content: what dvc.lock names, hashed anew in the work tree and in DVC's cache.

DVC itself does not notice damage in its cache: an object that is read-only counts as sound, is linked into the work
tree, and is not even written again by `dvc repro --force`. So an object that is damaged must go first.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from worldwidth.doctor.finding import Finding, listed, no_access, quoted, shown
from worldwidth.doctor.inventory import Inventory, Out
from worldwidth.doctor.repository import locked_stages
from worldwidth.dvcio.config import cache_settings


def check_content() -> Iterator[Finding]:
    """Do the work tree and DVC's cache hold what dvc.lock says, byte for byte?"""
    from worldwidth.pipeline.stages import lies_in_git

    recorded = [(stage, out) for stage, entry in locked_stages().items() for out in entry.get("outs", [])]
    outs = [Out(stage, Path(out["path"]), out["md5"]) for stage, out in recorded if not lies_in_git(stage)]
    found = Inventory(outs, cache_settings()[0] / "files" / "md5")
    for path, reason in found.unreadable.items():
        yield no_access("unreadable", path, f"{shown(path)}: {reason}")
    for fault in (_damaged_objects, _damaged_files, _lost, _not_cached, _not_there):
        yield from fault(found)
    if outs:
        right = f"{sum(piece.cached == 'right' for piece in found.pieces)} of {len(found.pieces)} objects are right"
        yield Finding("hashed anew", "ok", f"{len(outs) - len(_missing(outs))} of {len(outs)} outs are there; {right}")


def _damaged_objects(found: Inventory) -> Iterator[Finding]:
    """Objects that can be had again from the work tree: a file is copied back, a listing written by `dvc commit`."""
    places, commands, objects = [], [], []
    for piece in found.pieces:
        if piece.is_damaged and not piece.is_lost:
            out, path = piece.at("right")[0]
            places.append(path)
            objects.append(piece.object)
            renew = f"rm -rf {quoted(piece.object)} && dvc commit {quoted(out.stage)}"
            commands.append(renew if piece.is_listing else f"install -D -m 444 {quoted(path, piece.object)}")
    if places:
        text = f"in DVC's cache, where DVC does not look, for {listed(places, 3)}; the work tree still has it"
        yield Finding("damaged objects", "problem", text, " && ".join(commands), tuple(objects))


def _damaged_files(found: Inventory) -> Iterator[Finding]:
    """Files of the work tree that the cache has, once the objects above are fixed."""
    again = found.stages_of_lost()
    wrong = [place for piece in found.pieces if not piece.is_lost for place in piece.at("wrong")]
    outs = list(dict.fromkeys(out.path for out, _ in wrong if out.stage not in again))
    places = list(dict.fromkeys(path for out, path in wrong if out.stage not in again))
    if places or found.surplus:
        text = f"not what dvc.lock says: {listed(places, 4)}" if places else "all that dvc.lock names is right"
        text += f"; made by no stage: {listed(found.surplus, 3)}" if found.surplus else ""
        command = f"rm -rf {quoted(*places, *found.surplus)}" + (f" && dvc checkout {quoted(*outs)}" if outs else "")
        yield Finding("damaged files", "problem", text, command, (*places, *found.surplus))


def _lost(found: Inventory) -> Iterator[Finding]:
    """What no place holds any more: its stage must run again, which DVC does only when the damaged object is gone."""
    if stages := found.stages_of_lost():
        pieces = [piece for piece in found.pieces if piece.is_lost]
        objects = [piece.object for piece in pieces if piece.cached == "wrong"]
        places = list(dict.fromkeys(path for piece in pieces for _, path in piece.at("wrong")))
        others = {out.path: 0 for piece in pieces for out, _, _ in piece.places if out.stage not in stages}
        names = listed(places or [piece.places[0][1] for piece in pieces], 4)
        command = f"rm -rf {quoted(*objects, *places)} && dvc repro {quoted(*stages)}"
        command += f" && dvc checkout {quoted(*others)}" if others else ""
        text = f"damaged in the cache and nowhere else to be had: {names}"
        yield Finding("lost content", "problem", text, command, (*objects, *places))


def _not_cached(found: Inventory) -> Iterator[Finding]:
    """Objects that are only in the work tree: `dvc commit` takes them in, and refuses if code or params changed."""
    pieces = [piece for piece in found.pieces if piece.cached == "missing" and not piece.is_damaged]
    if stages := list(dict.fromkeys(out.stage for piece in pieces for out, _ in piece.at("right")[:1])):
        text = f"what {listed(stages)} made is only in the work tree: a run would make it again"
        yield Finding("not in the cache", "warning", text, f"dvc commit {quoted(*stages)}")


def _not_there(found: Inventory) -> Iterator[Finding]:
    """Outs that are not in the work tree, as in a fresh clone."""
    incomplete = {out for piece in found.pieces if piece.cached != "right" for out, _, _ in piece.places}
    missing = _missing(found.outs)
    if cached := [out.path for out in missing if out not in incomplete]:
        text = f"{len(cached)} outs that the cache has: {listed(cached)}"
        yield Finding("not there", "warning", text, f"dvc checkout {quoted(*cached)}")
    if gone := [out.path for out in missing if out in incomplete]:
        yield Finding("not there", "warning", f"{len(gone)} outs, and not in the cache: {listed(gone)}", "make repro")


def _missing(outs: list[Out]) -> list[Out]:
    return [out for out in outs if not os.path.lexists(out.path)]
