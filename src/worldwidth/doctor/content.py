"""The doctor on content: what dvc.lock names, hashed anew in the work tree and in DVC's cache.

DVC itself does not notice damage in its cache: an object that is read-only counts as sound, is linked into the work
tree, and is not even written again by `dvc repro --force`. So an object that is damaged must go first.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from worldwidth.doctor.finding import Finding, listed, needed, one_line, quoted, shown
from worldwidth.doctor.inventory import Inventory, Out, Piece, take_inventory
from worldwidth.doctor.repository import LOCK, locked_stages
from worldwidth.dvcio.config import cache_settings


def check_content() -> Iterator[Finding]:
    """Do the work tree and DVC's cache hold what dvc.lock says, byte for byte?"""
    with needed(LOCK):
        outs = recorded_outs()
    if not outs:
        return
    found = take_inventory(outs, cache_settings()[0] / "files" / "md5")
    pieces = list(found.pieces.values())
    damaged = [piece for piece in pieces if piece.is_damaged]
    lost = [piece for piece in damaged if not piece.at("right")]
    for error in found.unreadable:
        command = f"chmod -R u+rwX {quoted(error.filename)}"
        yield Finding("unreadable", "problem", f"{shown(error.filename)}: {one_line(error.strerror)}", command)
    yield from _damaged_objects([piece for piece in damaged if piece.at("right")])
    yield from _damaged_files([piece for piece in pieces if piece not in lost], _stages(lost), found.surplus)
    yield from _lost(lost)
    yield from _not_cached([piece for piece in pieces if piece.cached == "missing" and not piece.is_damaged])
    yield from _not_there(found)
    counts = Counter(piece.cached for piece in pieces)
    text = f"{len(outs) - len(found.missing)} of {len(outs)} outs are there; "
    yield Finding("hashed anew", "ok", f"{text}{counts['right']} of {len(pieces)} objects are right")


def recorded_outs() -> list[Out]:
    """The outs of dvc.lock, in its order; those that git keeps have no object in DVC's cache and are left out.

    Raises:
        WorldwidthError: dvc.lock cannot be read.
    """
    from worldwidth.pipeline.stages import lies_in_git

    return [
        Out(stage, Path(out["path"]), out["md5"])
        for stage, entry in locked_stages().items()
        if not lies_in_git(stage)
        for out in entry.get("outs", [])
    ]


def _damaged_objects(pieces: list[Piece]) -> Iterator[Finding]:
    """Objects that can be had again from the work tree: a file is copied back, a listing written by `dvc commit`."""
    places = [piece.at("right")[0] for piece in pieces]
    commands = [
        f"rm -rf {quoted(piece.object)} && dvc commit {quoted(out.stage)}"
        if piece.is_listing
        else f"install -D -m 444 {quoted(path, piece.object)}"
        for piece, (out, path) in zip(pieces, places, strict=True)
    ]
    if pieces:
        names = listed([path for _, path in places], 3)
        text = f"in DVC's cache, where DVC does not look, for {names}; the work tree still has it"
        yield Finding("damaged objects", "problem", text, " && ".join(commands))


def _damaged_files(pieces: list[Piece], made_again: list[str], surplus: list[Path]) -> Iterator[Finding]:
    """Files of the work tree that the cache has, once the objects above are fixed."""
    wrong = [place for piece in pieces for place in piece.at("wrong") if place[0].stage not in made_again]
    places, outs = list(dict.fromkeys(path for _, path in wrong)), list(dict.fromkeys(out.path for out, _ in wrong))
    if places or surplus:
        text = f"not what dvc.lock says: {listed(places, 4)}" if places else "all that dvc.lock names is right"
        text += f"; made by no stage: {listed(surplus, 3)}" if surplus else ""
        command = f"rm -rf {quoted(*places, *surplus)}" + (f" && dvc checkout {quoted(*outs)}" if outs else "")
        yield Finding("damaged files", "problem", text, command)


def _lost(pieces: list[Piece]) -> Iterator[Finding]:
    """What no place holds any more: its stage must run again, which DVC does only when the damaged object is gone."""
    if pieces:
        objects = [piece.object for piece in pieces if piece.cached == "wrong"]
        places = list(dict.fromkeys(path for piece in pieces for _, path in piece.at("wrong")))
        stages = _stages(pieces)
        others = list(
            dict.fromkeys(out.path for piece in pieces for out, _, _ in piece.places if out.stage not in stages)
        )
        names = listed(places or [piece.places[0][1] for piece in pieces], 4)
        command = f"rm -rf {quoted(*objects, *places)} && dvc repro {quoted(*stages)}"
        command += f" && dvc checkout {quoted(*others)}" if others else ""
        yield Finding("lost content", "problem", f"damaged in the cache and nowhere else to be had: {names}", command)


def _not_cached(pieces: list[Piece]) -> Iterator[Finding]:
    """Objects that are only in the work tree: `dvc commit` takes them in, and refuses if code or params changed."""
    if stages := list(dict.fromkeys(piece.at("right")[0][0].stage for piece in pieces if piece.at("right"))):
        text = f"objects of {listed(stages)}: a run would make them again"
        yield Finding("not in the cache", "warning", text, f"dvc commit {quoted(*stages)}")


def _not_there(found: Inventory) -> Iterator[Finding]:
    """Outs that are not in the work tree, as in a fresh clone."""
    incomplete = {out for piece in found.pieces.values() if piece.cached != "right" for out, _, _ in piece.places}
    cached = [out.path for out in found.missing if out not in incomplete]
    gone = [out.path for out in found.missing if out in incomplete]
    for outs, where, command in (
        (cached, "that the cache has", f"dvc checkout {quoted(*cached)}"),
        (gone, "and not in the cache", "make repro"),
    ):
        if outs:
            yield Finding("not there", "warning", f"{len(outs)} outs, {where}: {listed(outs)}", command)


def _stages(pieces: list[Piece]) -> list[str]:
    """The first stage that makes each piece; another one that has it, too, gets it from the cache."""
    return list(dict.fromkeys(piece.places[0][0].stage for piece in pieces))
