"""Every content that dvc.lock names, and where it is: in DVC's cache, in the work tree, in both, damaged, nowhere."""

from dataclasses import dataclass, field
from pathlib import Path

from worldwidth.dvcio.hashes import LISTING, Content, Hashes, files_below, read_listing


@dataclass(frozen=True)
class Out:
    """What a stage wrote, as dvc.lock has it: a file or a folder."""

    stage: str
    path: Path
    digest: str


@dataclass
class Piece:
    """One content: the bytes of a file, or the listing of a folder. Equal files of several outs are one."""

    digest: str
    object: Path
    """Its place in DVC's cache."""
    in_cache: Content
    outs: list[Out] = field(default_factory=list)
    """Where it belongs, in the order of dvc.lock."""
    right: list[tuple[Out, Path]] = field(default_factory=list)
    """Places in the work tree that hold it."""
    wrong: list[tuple[Out, Path]] = field(default_factory=list)
    """Places that should; those in outs that are not there at all left out."""

    @property
    def is_listing(self) -> bool:
        """Whether it is the listing of a folder."""
        return self.digest.endswith(LISTING)

    @property
    def is_lost(self) -> bool:
        """Whether it was there once, and is nowhere now."""
        return not self.right and (self.in_cache == "wrong" or (self.in_cache == "missing" and bool(self.wrong)))


@dataclass
class Inventory:
    """What :func:`take_inventory` finds."""

    outs: list[Out]
    pieces: list[Piece] = field(default_factory=list)
    missing: list[Out] = field(default_factory=list)
    """Outs that are not in the work tree at all."""
    surplus: list[Path] = field(default_factory=list)
    """Files in folders of outs that no stage wrote."""
    unreadable: list[OSError] = field(default_factory=list)
    """What kept an out, or an object, from being compared."""


def take_inventory(outs: list[Out], cache: Path) -> Inventory:
    """Hash all of ``outs`` and their objects below ``cache``."""
    found, hashes, pieces = Inventory(outs), Hashes(), dict[str, Piece]()
    for out in outs:
        try:
            _take(out, cache, hashes, pieces, found)
        except OSError as error:
            if error.filename is None:
                raise
            found.unreadable.append(error)
    found.pieces = list(pieces.values())
    return found


def _take(out: Out, cache: Path, hashes: Hashes, pieces: dict[str, Piece], found: Inventory) -> None:
    whole = hashes.compare(out.path, out.digest)
    if whole == "missing":
        found.missing.append(out)
    piece = _piece(out.digest, cache, hashes, pieces)
    piece.outs.append(out)
    if not piece.is_listing:
        _note(piece, out, out.path, whole)
        return
    expected = _expected(piece, out, whole, hashes)
    if whole == "right" or expected is None:  # else it is the files that are wrong
        _note(piece, out, out.path, whole)
    for name, digest in (expected or {}).items():
        part = _piece(digest, cache, hashes, pieces)
        part.outs.append(out)
        if whole == "missing":
            continue
        if out.path.is_dir():
            content = hashes.compare(out.path / name, digest)
            _note(part, out, out.path / name, "wrong" if content == "missing" else content)
        else:
            _note(part, out, out.path, "wrong")
    if expected is not None and out.path.is_dir():
        found.surplus += [out.path / name for name in files_below(out.path) if name not in expected]


def _expected(listing: Piece, out: Out, whole: Content, hashes: Hashes) -> dict[str, str] | None:
    """File -> hash of a folder: from the cache's listing, or else from the folder if it is right; else unknown."""
    if listing.in_cache == "right":
        return read_listing(listing.object)
    if whole == "right":
        return {name: hashes.file(out.path / name) for name in files_below(out.path)}
    return None


def _piece(digest: str, cache: Path, hashes: Hashes, pieces: dict[str, Piece]) -> Piece:
    if digest not in pieces:
        path = cache / digest[:2] / digest[2:]
        pieces[digest] = Piece(digest, path, hashes.compare(path, digest.removesuffix(LISTING)))
    return pieces[digest]


def _note(piece: Piece, out: Out, path: Path, content: Content) -> None:
    if content == "right":
        piece.right.append((out, path))
    elif content == "wrong":
        piece.wrong.append((out, path))
