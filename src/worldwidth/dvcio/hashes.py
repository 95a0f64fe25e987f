"""Files hashed anew, the way DVC 3 does it, without asking DVC: it trusts a read-only cache file unread."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Literal

Content = Literal["right", "wrong", "missing"]

LISTING = ".dir"
"""How the hash of a folder ends: it is that of the listing of its files."""


class Hashes:
    """MD5 of files by path. What several links lead to is read once, as long as nobody writes to it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def compare(self, path: Path, digest: str) -> Content:
        """Whether the file, or folder, at ``path`` has the hash that DVC recorded.

        Raises:
            OSError: it is there and cannot be read.
        """
        if not os.path.lexists(path):
            return "missing"
        if not path.exists() or path.is_dir() != digest.endswith(LISTING):  # a dangling link; one in place of the other
            return "wrong"
        return "right" if (self.folder(path) if path.is_dir() else self.file(path)) == digest else "wrong"

    def file(self, path: Path) -> str:
        """MD5 of a file's bytes; empty for what is no file: a FIFO would keep its reader waiting for ever."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return ""
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = hashlib.file_digest(file, _md5).hexdigest()
        return self._known[key]

    def folder(self, path: Path) -> str:
        """Hash of a folder: MD5 of the JSON list of its files, by path, with ``.dir`` behind it."""
        files = ({"md5": self.file(path / name), "relpath": name} for name in files_below(path))
        return _md5(json.dumps(list(files)).encode()).hexdigest() + LISTING


def files_below(folder: Path) -> list[str]:
    """Paths of all files below ``folder``, relative to it, sorted as DVC sorts them.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    walked = os.walk(folder, onerror=refuse, followlinks=True)
    return sorted(Path(place, name).relative_to(folder).as_posix() for place, _, names in walked for name in names)


def read_listing(path: Path) -> dict[str, str]:
    """File -> hash, from the listing of a folder in DVC's cache, which must be undamaged."""
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_text(encoding="utf-8"))}


def _md5(data: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(data, usedforsecurity=False)
