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

    object: Path
    """Its place in DVC's cache."""
    is_listing: bool
    cached: Content
    places: list[tuple[Out, Path, Content]] = field(default_factory=list)
    """Where it belongs in the work tree, in the order of dvc.lock; ``missing`` only where all of the out is."""

    def at(self, content: Content) -> list[tuple[Out, Path]]:
        """The places where it is right, wrong or missing."""
        return [(out, path) for out, path, found in self.places if found == content]

    @property
    def is_damaged(self) -> bool:
        """Whether the cache cannot bring back what is wrong: its object is damaged, or not there."""
        return self.cached == "wrong" or (self.cached == "missing" and bool(self.at("wrong")))

    @property
    def is_lost(self) -> bool:
        """Whether the work tree cannot bring back the object either."""
        return self.is_damaged and not self.at("right")


class Inventory:
    """All pieces of ``outs``, hashed in the work tree and below ``cache``."""

    def __init__(self, outs: list[Out], cache: Path) -> None:
        self.outs, self._cache, self._hashes, self._pieces = outs, cache, Hashes(), dict[str, Piece]()
        self.surplus: list[Path] = []
        """Files in folders of outs that no stage wrote."""
        self.unreadable: dict[str, str] = {}
        """Path -> what kept an out, or an object, from being compared."""
        for out in outs:
            try:
                self._take(out)
            except OSError as error:
                self.unreadable[str(error.filename or out.path)] = error.strerror or str(error)
        self.pieces = list(self._pieces.values())

    def stages_of_lost(self) -> list[str]:
        """The first stage that makes each lost piece; another one that has it, too, gets it from the cache."""
        return list(dict.fromkeys(piece.places[0][0].stage for piece in self.pieces if piece.is_lost))

    def _take(self, out: Out) -> None:
        content, whole = self._hashes.compare(out.path, out.digest), self._piece(out.digest)
        files: dict[str, str] | None = None
        if whole.is_listing and whole.cached == "right":
            files = read_listing(whole.object)
        elif whole.is_listing and content == "right":
            files = {name: self._hashes.file(out.path / name) for name in files_below(out.path)}
        if files is None or content != "wrong":  # else the fault lies with its files
            whole.places.append((out, out.path, content))
        for name, digest in (files or {}).items():
            kept = content == "wrong" and self._hashes.compare(out.path / name, digest) == "right"
            place = out.path / name if out.path.is_dir() or content == "missing" else out.path
            self._piece(digest).places.append((out, place, "right" if kept else content))
        if files is not None and out.path.is_dir():
            self.surplus += [out.path / name for name in files_below(out.path) if name not in files]

    def _piece(self, digest: str) -> Piece:
        if digest not in self._pieces:
            place = self._cache / digest[:2] / digest[2:]
            cached = self._hashes.compare(place, digest.removesuffix(LISTING))
            self._pieces[digest] = Piece(place, digest.endswith(LISTING), cached)
        return self._pieces[digest]
