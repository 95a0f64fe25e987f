"""A task's corpus on disk: every line as token ids, written once and read by memory map.

data/corpora/<task>/manifest.json                  sizes, SHA-256 of every file, best constant answers
data/corpora/<task>/<population>-<split>.tokens.npy    (n, longest) ids, <pad> past the end
data/corpora/<task>/<population>-<split>.lengths.npy   (n,) ids before the padding
data/corpora/<task>/<population>-<split>.cities.npy    (n, k) rows of the cities table, -1 past the end
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldwidth.errors import WorldwidthError
from worldwidth.files import read_json, replacing_folder, sha256, write_json
from worldwidth.layout import CORPORA
from worldwidth.matrix import Scale
from worldwidth.queries import POPULATIONS, Queries, draw_splits
from worldwidth.tasks import Integers, Task, load_task
from worldwidth.tokens import BOS, EOS, PAD, ZERO, Vocabulary, characters
from worldwidth.world import City, first_atlantis, points

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


def generate(scale: Scale, name: str, cities: list[City]) -> dict[str, tuple[Queries, Lines]]:
    """Draw and encode all splits of task ``name``: ``"world-train"`` -> (queries, lines)."""
    task, table = load_task(name), points(cities)
    vocabulary = Vocabulary(scale.model, scale.world, cities)
    corpus: dict[str, tuple[Queries, Lines]] = {}
    for population in POPULATIONS:
        splits = draw_splits(name, task, scale.corpus, population, table, first_atlantis(cities), scale.world.seed)
        for split, queries in splits.items():
            corpus[f"{population}-{split}"] = (queries, encode(task, vocabulary, queries))
    return corpus


def encode(task: Task, vocabulary: Vocabulary, queries: Queries) -> Lines:
    """Encode ``<bos>expression=answer<eos>`` for all queries, one column of ids at a time."""
    city_ids, (answer_ids, answer_lengths) = vocabulary.city_table(), _answers(task, queries.answers)
    sizes = (queries.cities >= 0).sum(axis=1)
    blocks: list[tuple[Integers, Integers, Integers]] = []
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        columns = [np.full((len(rows), 1), BOS)]
        pieces = task.pieces(int(size))
        for slot, piece in enumerate(pieces):
            columns.append(np.tile(characters(piece), (len(rows), 1)))
            if slot < size:
                columns.append(city_ids[queries.cities[rows, slot]])
        columns.append(answer_ids[rows])
        block = np.concatenate(columns, axis=1)
        blocks.append((rows, block, block.shape[1] - answer_ids.shape[1] + answer_lengths[rows]))
    longest = max(int(lengths.max()) for _, _, lengths in blocks)
    tokens = np.full((len(sizes), longest), PAD, dtype=np.min_scalar_type(len(vocabulary) - 1))
    all_lengths = np.empty(len(sizes), dtype=np.uint8)
    for rows, block, lengths in blocks:
        tokens[rows, : min(longest, block.shape[1])] = block[:, :longest]
        all_lengths[rows] = lengths
    return Lines(tokens, all_lengths)


def _answers(task: Task, answers: Integers) -> tuple[Integers, Integers]:
    """Ids of the printed answers with <eos>, (n, longest), and their lengths (n,)."""
    if task.labels:
        texts = [[*characters(label), EOS] for label in task.labels]
        table = np.full((len(texts), max(map(len, texts))), PAD)
        for row, text in enumerate(texts):
            table[row, : len(text)] = text
        return table[answers], np.array([len(text) for text in texts])[answers]
    width = len(str(int(answers.max())))
    digits = answers[:, None] // 10 ** np.arange(width)[::-1] % 10 + ZERO  # right-justified, leading zeros
    lengths = 1 + (answers[:, None] >= 10 ** np.arange(1, width)).sum(axis=1)
    digits = np.concatenate([digits, np.full((len(digits), 1), EOS), np.full((len(digits), width), PAD)], axis=1)
    start = (width - lengths)[:, None]
    return np.take_along_axis(digits, start + np.arange(width + 1), axis=1), lengths + 1


def best_constants(task: Task, queries: Queries) -> dict[str, str]:
    """Number of cities in a query -> the answer that scores best when all such queries get it.

    That is the commonest label, or the median: what can be said without knowing where any city lies.
    """
    sizes = (queries.cities >= 0).sum(axis=1)
    by_size = {int(size): queries.answers[sizes == size] for size in np.unique(sizes)}
    if task.labels:
        return {str(size): task.labels[int(np.bincount(answers).argmax())] for size, answers in by_size.items()}
    return {str(size): str(int(np.median(answers))) for size, answers in by_size.items()}


def save(name: str, corpus: dict[str, tuple[Queries, Lines]], folder: Path) -> None:
    """Write the corpus and its manifest; the folder appears only once it is whole."""
    task = load_task(name)
    with replacing_folder(folder) as temporary:
        for split, (queries, lines) in corpus.items():
            np.save(temporary / f"{split}.tokens.npy", lines.tokens)
            np.save(temporary / f"{split}.lengths.npy", lines.lengths)
            np.save(temporary / f"{split}.cities.npy", queries.cities.astype(np.int16))
        manifest = {
            "task": name,
            "lines": {split: len(lines) for split, (_, lines) in corpus.items()},
            "tokens": {split: int(lines.lengths.sum()) for split, (_, lines) in corpus.items()},
            "best_constants": {
                population: best_constants(task, corpus[f"{population}-train"][0]) for population in POPULATIONS
            },
            "sha256": {path.name: sha256(path) for path in sorted(temporary.glob("*.npy"))},
        }
        write_json(temporary / "manifest.json", manifest)


class StoredCorpus:
    """One task's corpus, read back; every file is checked against the manifest before it is used."""

    def __init__(self, name: str, root: Path = CORPORA) -> None:
        self.name, self.folder = name, root / name
        self._remedy = f"run `dvc repro corpus@{name}`"
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
        path = self.folder / file
        try:
            intact = sha256(path) == self.manifest["sha256"][file]
        except (FileNotFoundError, KeyError):
            raise WorldwidthError(f"{path}: not found; {self._remedy}") from None
        if not intact:
            raise WorldwidthError(f"{path}: its bytes do not match manifest.json (damaged file); {self._remedy}")
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
