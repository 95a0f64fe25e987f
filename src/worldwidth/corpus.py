"""Making a task's corpus: draw its queries, encode them as token ids, write them once."""

from pathlib import Path

import numpy as np

from worldwidth.files import replacing_folder, sha256, write_json
from worldwidth.layout import POPULATIONS
from worldwidth.matrix import Scale
from worldwidth.queries import Queries, draw_splits
from worldwidth.stored_corpus import Lines
from worldwidth.tasks import Integers, Task, load_task
from worldwidth.tokens import BOS, EOS, PAD, ZERO, Vocabulary, characters
from worldwidth.world import City, first_atlantis, points


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
