"""A task's corpus on disk: every line as token ids, read by memory map.

data/corpora/<task>/manifest.json                  sizes, best constant answers
data/corpora/<task>/<population>-<split>.tokens.npy    (n, longest) ids, <pad> past the end
data/corpora/<task>/<population>-<split>.lengths.npy   (n,) ids before the padding
data/corpora/<task>/<population>-<split>.cities.npy    (n, k) rows of the cities table, -1 past the end
"""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import check_regular, read_json
from worldwidth.settings.paths import CORPORA

POPULATIONS = ("world", "atlantis")
SPLITS = ("train", "validation", "test")

Ids = NDArray[Any]  # uint8 or uint16, by the size of the vocabulary


@dataclass(frozen=True)
class Lines:
    """n encoded lines: ``tokens`` (n, longest) and ``lengths`` (n,)."""

    tokens: Ids
    lengths: NDArray[Any]

    def __len__(self) -> int:
        return len(self.tokens)

    def first(self, count: int) -> "Lines":
        """The first ``count`` lines; their order is random already."""
        return Lines(self.tokens[:count], self.lengths[:count])


class StoredCorpus:
    """One task's corpus, read back."""

    def __init__(self, name: str, root: Path = CORPORA) -> None:
        self.name, self.folder = name, root / name
        self._remedy = f"run `dvc repro corpus@{name}`"
        self._arrays: dict[str, NDArray[Any]] = {}
        path = self.folder / "manifest.json"
        self.manifest = read_json(path, self._remedy)
        if not isinstance(self.manifest, dict) or self.manifest.get("task") != name:
            raise WorldwidthError(f"{path}: not the manifest of {name}; {self._remedy}")

    def lines(self, population: str, split: str) -> Lines:
        """The encoded lines of one split."""
        name = f"{population}-{split}"
        return Lines(self._array(f"{name}.tokens.npy"), self._array(f"{name}.lengths.npy"))

    def cities(self, population: str, split: str) -> NDArray[Any]:
        """The queries of one split as rows of the cities table, (n, k), -1 past the end."""
        return self._array(f"{population}-{split}.cities.npy")

    def best_constants(self, population: str) -> dict[str, str]:
        """:func:`best_constants` of the training lines of ``population``."""
        found: dict[str, str] = self.manifest["best_constants"][population]
        return found

    def _array(self, file: str) -> NDArray[Any]:
        if file not in self._arrays:  # several models in one process share what was read
            self._arrays[file] = self._read(file)
        return self._arrays[file]

    def _read(self, file: str) -> NDArray[Any]:
        path = self.folder / file
        try:
            array: NDArray[Any] = _mapped(path)
        except FileNotFoundError:
            raise WorldwidthError(f"{path}: not found; {self._remedy}") from None
        except (ValueError, OSError, EOFError) as error:
            raise WorldwidthError(f"{path}: not a whole array ({error}); {self._remedy}") from None
        return array


def _mapped(path: Path) -> NDArray[Any]:
    """The array of a file, mapped into memory; read, where the file system cannot map, as some of networks."""
    check_regular(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
