"""Making a task's corpus: draw its queries, encode them as token ids, write them once."""

import io
from functools import lru_cache
from pathlib import Path

import numpy as np

from worldwidth.core.files import replacing_folder, write_json
from worldwidth.data.cities import City, points
from worldwidth.data.corpus import Ids, Lines
from worldwidth.data.queries import PIECE, Queries, draw_splits
from worldwidth.data.tokenizer import BOS, EOS, PAD, ZERO, Vocabulary, characters
from worldwidth.settings.schema import Scale
from worldwidth.tasks import Integers, Task, load_task


def generate(scale: Scale, name: str, population: str, cities: list[City]) -> dict[str, tuple[Queries, Lines]]:
    """Draw and encode all splits of task ``name`` about ``population``: ``"train"`` -> (queries, lines).

    Args:
        cities: the real ones; for Atlantis also its own, behind them.
    """
    task, world = load_task(name), scale.world
    seed = world.atlantis.seed if population == "atlantis" else world.seed
    splits = draw_splits(name, task, scale.corpus, population, points(cities), world.cities, seed)
    vocabulary = Vocabulary(scale.model, world)
    return {split: (queries, encode(task, vocabulary, queries)) for split, queries in splits.items()}


def encode(task: Task, vocabulary: Vocabulary, queries: Queries) -> Lines:
    """Encode ``<bos>expression=answer<eos>`` for all queries, those of one size at a time."""
    city_ids = _city_ids(vocabulary)
    answer_ids, lengths = _answers(task, queries.answers)
    sizes = (queries.cities.T >= 0).sum(axis=0, dtype=np.uint8)
    frames = {int(size): _frame(task, int(size), city_ids.shape[1]) for size in np.unique(sizes)}
    for size, (frame, _) in frames.items():
        lengths[sizes == size] += len(frame)
    tokens = np.full((len(sizes), lengths.max()), PAD, dtype=city_ids.dtype)
    for start in range(0, len(sizes), PIECE):
        for size, (frame, places) in frames.items():
            rows = start + np.flatnonzero(sizes[start : start + PIECE] == size)
            cities = queries.cities.take(rows, axis=0)
            block = np.full((len(rows), tokens.shape[1]), PAD, dtype=city_ids.dtype)
            block[:, : len(frame)] = frame
            for city, place in zip(cities.T, places, strict=False):
                block[:, place : place + city_ids.shape[1]] = city_ids.take(city, axis=0)
            end = block[:, len(frame) : len(frame) + answer_ids.shape[1]]
            end[:] = answer_ids.take(rows, axis=0)[:, : end.shape[1]]
            tokens[rows] = block
    return Lines(tokens, lengths)


@lru_cache(maxsize=1)  # the splits of a corpus share it
def _city_ids(vocabulary: Vocabulary) -> Ids:
    """Ids of every city, (cities, tokens a city), in the type of the stored ids."""
    return vocabulary.city_table().astype(np.min_scalar_type(len(vocabulary) - 1))


def _frame(task: Task, size: int, city_width: int) -> tuple[list[int], list[int]]:
    """Ids of a line of ``size`` cities before its answer, <pad> in the place of cities; where each city starts."""
    frame, places = [BOS], []
    for piece in task.pieces(size):
        frame += characters(piece)
        places.append(len(frame))
        frame += [PAD] * city_width
    return frame[: places[-1]], places[:-1]


def _answers(task: Task, answers: Integers) -> tuple[Ids, Ids]:
    """Ids of the printed answers with <eos>, (n, longest), and their lengths (n,), both uint8."""
    if task.labels:
        texts = [[*characters(label), EOS] for label in task.labels]
        table = np.full((len(texts), max(map(len, texts))), PAD, dtype=np.uint8)
        for row, text in enumerate(texts):
            table[row, : len(text)] = text
        return table.take(answers, axis=0), np.array([len(text) for text in texts], dtype=np.uint8).take(answers)
    width = len(str(int(answers.max())))
    digits = np.ones(len(answers), dtype=np.uint8)
    for power in range(1, width):
        digits += answers >= 10**power
    ids = np.empty((width + 1, len(answers)), dtype=np.uint8)
    left = answers * (10 ** np.arange(width)[::-1]).take(digits - 1)  # as if every answer had ``width`` digits
    for place in range(width + 1):
        unit = 10 ** max(width - 1 - place, 0)
        digit = left // unit
        left -= digit * unit  # % is slower
        ids[place] = np.where(place < digits, digit + ZERO, np.where(place == digits, EOS, PAD))
    return np.ascontiguousarray(ids.T), digits + 1


def best_constants(task: Task, queries: Queries) -> dict[str, str]:
    """Number of cities in a query -> the answer that scores best when all such queries get it.

    That is the commonest label, or the median: what can be said without knowing where any city lies.
    """
    sizes = (queries.cities >= 0).sum(axis=1)
    by_size = {int(size): queries.answers[sizes == size] for size in np.unique(sizes)}
    if task.labels:
        return {str(size): task.labels[int(np.bincount(answers).argmax())] for size, answers in by_size.items()}
    return {str(size): str(int(np.median(answers))) for size, answers in by_size.items()}


def save(name: str, population: str, corpus: dict[str, tuple[Queries, Lines]], folder: Path) -> None:
    """Write the corpus of a task about ``population``, and its manifest; the folder appears only once it is whole.

    Raises:
        OSError: it could not be written, as when the disk is full.
    """
    task = load_task(name)
    with replacing_folder(folder) as temporary:
        for split, (queries, lines) in corpus.items():
            _save_array(lines.tokens, temporary / f"{split}.tokens.npy")
            _save_array(lines.lengths, temporary / f"{split}.lengths.npy")
            _save_array(queries.cities.astype(np.int16), temporary / f"{split}.cities.npy")
        manifest = {
            "task": name,
            "population": population,
            "lines": {split: len(lines) for split, (_, lines) in corpus.items()},
            "tokens": {split: int(lines.lengths.sum()) for split, (_, lines) in corpus.items()},
            "best_constants": best_constants(task, corpus["train"][0]),
        }
        write_json(temporary / "manifest.json", manifest)


def _save_array(array: Ids, path: Path) -> None:
    """What np.save writes. By itself, on a full disk, it may leave a cut-off file without an error."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    path.write_bytes(buffer.getbuffer())
