"""A task's corpus on disk: every line as token ids, read by memory map.

data/corpora/<task>/manifest.json          sizes, best constant answers
data/corpora/<task>/<split>.tokens.npy     (n, longest) ids, <pad> past the end
data/corpora/<task>/<split>.lengths.npy    (n,) ids before the padding
data/corpora/<task>/<split>.cities.npy     (n, k) rows of the cities, real ones first, -1 past the end

and the same below data/atlantis of the queries about Atlantis. Its training lines are below data/added, too, where
pre-training is to have them.
"""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import check_regular, read_json
from worldwidth.settings.paths import ADDED_CORPORA, ATLANTIS_CORPORA, CORPORA

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
    """One task's corpus, both populations, read back as it is asked for."""

    def __init__(self, name: str, root: Path = Path()) -> None:
        """``root`` is the folder of the project."""
        self.name = name
        folders = {"world": CORPORA, "atlantis": ATLANTIS_CORPORA, "added": ADDED_CORPORA}
        self._folders = {population: root / folder / name for population, folder in folders.items()}
        self._remedies = {"world": f"run `dvc repro corpus@{name}`", "atlantis": "run `dvc repro atlantis`"}
        self._remedies["added"] = "run `dvc repro added`"
        self._read_before: dict[Path, Any] = {}

    def lines(self, population: str, split: str) -> Lines:
        """The encoded lines of one split."""
        return Lines(self._array(population, f"{split}.tokens.npy"), self._array(population, f"{split}.lengths.npy"))

    def cities(self, population: str, split: str) -> NDArray[Any]:
        """The queries of one split as rows of the cities, real ones first, (n, k), -1 past the end."""
        return self._array(population, f"{split}.cities.npy")

    def best_constants(self, population: str) -> dict[str, str]:
        """:func:`best_constants` of the training lines of ``population``."""
        path = self._folders[population] / "manifest.json"
        if path not in self._read_before:
            manifest = read_json(path, self._remedies[population])
            if not isinstance(manifest, dict) or manifest.get("task") != self.name:
                raise WorldwidthError(f"{path}: not the manifest of {self.name}; {self._remedies[population]}")
            self._read_before[path] = manifest
        found: dict[str, str] = self._read_before[path]["best_constants"]
        return found

    def _array(self, population: str, file: str) -> NDArray[Any]:
        path = self._folders[population] / file
        if path not in self._read_before:  # several models in one process share what was read
            self._read_before[path] = _read(path, self._remedies[population])
        array: NDArray[Any] = self._read_before[path]
        return array


def _read(path: Path, remedy: str) -> NDArray[Any]:
    try:
        return _mapped(path)
    except FileNotFoundError:
        raise WorldwidthError(f"{path}: not found; {remedy}") from None
    except (ValueError, OSError, EOFError) as error:
        raise WorldwidthError(f"{path}: not a whole array ({error}); {remedy}") from None


def _mapped(path: Path) -> NDArray[Any]:
    """The array of a file, mapped into memory; read, where the file system cannot map, as some of networks."""
    check_regular(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
