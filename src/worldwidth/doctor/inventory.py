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
    cached: Content
    places: list[tuple[Out, Path, Content]] = field(default_factory=list)
    """Where it belongs in the work tree, in the order of dvc.lock; ``missing`` only where all of the out is."""

    def at(self, content: Content) -> list[tuple[Out, Path]]:
        """The places where it is right, wrong or missing."""
        return [(out, path) for out, path, found in self.places if found == content]

    @property
    def is_listing(self) -> bool:
        """Whether it is the listing of a folder."""
        return self.digest.endswith(LISTING)

    @property
    def is_damaged(self) -> bool:
        """Whether the cache cannot bring back what is wrong: its object is damaged, or not there."""
        return self.cached == "wrong" or (self.cached == "missing" and bool(self.at("wrong")))


@dataclass
class Inventory:
    """What :func:`take_inventory` finds."""

    pieces: dict[str, Piece] = field(default_factory=dict)
    """By hash."""
    missing: list[Out] = field(default_factory=list)
    """Outs that are not in the work tree at all."""
    surplus: list[Path] = field(default_factory=list)
    """Files in folders of outs that no stage wrote."""
    unreadable: list[OSError] = field(default_factory=list)
    """What kept an out, or an object, from being compared."""


def take_inventory(outs: list[Out], cache: Path) -> Inventory:
    """Hash all of ``outs`` and their objects below ``cache``."""
    found, hashes = Inventory(), Hashes()
    for out in outs:
        try:
            _take(out, cache, hashes, found)
        except OSError as error:
            if error.filename is None:
                raise
            found.unreadable.append(error)
    return found


def _take(out: Out, cache: Path, hashes: Hashes, found: Inventory) -> None:
    def piece(digest: str) -> Piece:
        if digest not in found.pieces:
            place = cache / digest[:2] / digest[2:]
            found.pieces[digest] = Piece(digest, place, hashes.compare(place, digest.removesuffix(LISTING)))
        return found.pieces[digest]

    content, whole = hashes.compare(out.path, out.digest), piece(out.digest)
    if content == "missing":
        found.missing.append(out)
    files: dict[str, str] | None = None
    if whole.is_listing and whole.cached == "right":
        files = read_listing(whole.object)
    elif whole.is_listing and content == "right":
        files = {name: hashes.file(out.path / name) for name in files_below(out.path)}
    if files is None or content != "wrong":  # else the fault lies with its files
        whole.places.append((out, out.path, content))
    for name, digest in (files or {}).items():
        path = out.path / name
        right = content == "right" or hashes.compare(path, digest) == "right"
        fault: Content = "missing" if content == "missing" else "wrong"
        part = (out, path if fault == "missing" or out.path.is_dir() else out.path, "right" if right else fault)
        piece(digest).places.append(part)
    if files is not None and out.path.is_dir():
        found.surplus += [out.path / name for name in files_below(out.path) if name not in files]
