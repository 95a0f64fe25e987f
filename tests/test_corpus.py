"""Encoding and storing the corpora: every line says what the cities table says; damage is noticed.

    pytest tests/test_corpus.py

Tokens are decoded here by the specification's table, not by the project's vocabulary.
"""

import errno
import itertools
import json
import mmap
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from drawn import both_populations, lines, rows, small_scale
from worldwidth.core.errors import WorldwidthError
from worldwidth.data.cities import City, first_atlantis, points
from worldwidth.data.corpus import POPULATIONS, SPLITS, StoredCorpus
from worldwidth.data.corpus import Lines as EncodedLines
from worldwidth.data.make_cities import make_cities
from worldwidth.data.make_corpus import best_constants, encode, save
from worldwidth.data.queries import Queries, draw_splits
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.settings.load import load
from worldwidth.settings.paths import ATLANTIS_CORPORA, CORPORA
from worldwidth.settings.schema import Scale
from worldwidth.tasks import load_task

ROOT = Path(__file__).parents[1]
NAMES = ("distance", "trianglearea", "angle", "compass", "inside", "perimeter", "crossing")
Corpora = dict[str, dict[str, tuple[Queries, EncodedLines]]]
Published = tuple[Scale, list[City], dict[tuple[str, str], Queries]]

FOLDERS = {"world": CORPORA, "atlantis": ATLANTIS_CORPORA}
EXPRESSIONS = {  # @: a city
    "distance": r"dist\(@,@\)=(0|[1-9]\d*)",
    "trianglearea": r"triarea\(@,@,@\)=(0|[1-9]\d*)",
    "angle": r"angle\(@,@,@\)=(0|[1-9]\d*)",
    "compass": r"compass\(@,@\)=(E|NE|N|NW|W|SW|S|SE)",
    "inside": r"inside\(@;@,@,@(,@)?(,@)?\)=(TRUE|FALSE)",
    "perimeter": r"perimeter\(@,@(,@)?(,@)?(,@)?\)=(0|[1-9]\d*)",
    "crossing": r"cross\(@,@;@,@\)=(TRUE|FALSE)",
}


@pytest.fixture(scope="module")
def scale() -> Scale:
    return small_scale()


@pytest.fixture(scope="module")
def cities(scale: Scale) -> list[City]:
    return make_cities(scale.world)


@pytest.fixture(scope="module")
def corpora(scale: Scale, cities: list[City]) -> Corpora:
    return {name: both_populations(scale, name, cities) for name in NAMES}


@pytest.fixture(scope="module")
def published() -> Published:
    """The published world and 10,000 test queries of every task and population."""
    paper = load(ROOT / "params.yaml").scales["paper"]
    table = make_cities(paper.world)
    corpus, places, first = lines(train=20, validation=20, test=10_000), points(table), first_atlantis(table)
    drawn = {
        (name, population): draw_splits(name, load_task(name), corpus, population, places, first, seed=42)["test"]
        for name, population in itertools.product(NAMES, POPULATIONS)
    }
    return paper, table, drawn


def spec_decode(ids: list[int], names: list[str]) -> str:
    """Ids to text by the table of the specification, written again."""
    characters = [chr(code) for code in range(33, 127) if not chr(code).isdigit()] + list("0123456789")
    assert ids[0] == 2
    assert ids[-1] == 3
    return "".join([*characters, *names][i - 4] for i in ids[1:-1])


@pytest.mark.parametrize("tokens", ["characters", "cities"])
@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_the_text_whose_answer_a_fresh_computation_gives(
    name: str, tokens: Literal["characters", "cities"], scale: Scale, cities: list[City], corpora: Corpora
) -> None:
    task, model = load_task(name), replace(scale.model, tokens=tokens)
    vocabulary = Vocabulary(model, scale.world)
    written = [f"c_{city.city_id:03d}" for city in cities]
    row_of = {text: row for row, text in enumerate(written)}
    pattern = re.compile(EXPRESSIONS[name].replace("@", r"c_\d{3}"))
    for key, (queries, stored) in corpora[name].items():
        encoded = stored if tokens == "characters" else encode(task, vocabulary, queries)
        assert encoded.tokens.shape == (len(queries.cities), encoded.lengths.max())
        assert encoded.tokens.dtype == (np.uint8 if len(vocabulary) <= 256 else np.uint16)
        for row, ids, length in zip(rows(queries), encoded.tokens.tolist(), encoded.lengths.tolist(), strict=True):
            assert not any(ids[length:]), "what follows the line must be <pad>"
            assert 0 not in ids[:length]
            text = spec_decode(ids[:length], written)
            assert pattern.fullmatch(text), (key, text)
            asked = tuple(row_of[city] for city in re.findall(r"c_\d{3}", text))
            assert asked == row
            places = np.array([[(cities[i].x, cities[i].y) for i in asked]])
            answer = int(task.answer(places)[0])
            assert text.split("=")[1] == (task.labels[answer] if task.labels else str(answer))
            assert len(ids[:length]) == (len(text) + 2 if tokens == "characters" else len(text) + 2 - 4 * len(row))


def test_lines_of_the_published_size(published: Published) -> None:
    scale, _, drawn = published
    vocabulary = Vocabulary(scale.model, scale.world)
    encoded = {name: encode(load_task(name), vocabulary, drawn[name, "world"]) for name in NAMES}
    longest = {name: found.tokens.shape[1] for name, found in encoded.items()}
    assert max(longest.values()) == longest["inside"] == 57
    sizes, answers = (drawn["inside", "world"].cities >= 0).sum(axis=1), drawn["inside", "world"].answers
    assert ((encoded["inside"].lengths == 57) == ((sizes == 6) & (answers == 0))).all()
    # The specification says 36.4; with k uniform in perimeter and in both labels of inside it is 36.2.
    assert np.mean([found.lengths.mean() for found in encoded.values()]) == pytest.approx(36.2, abs=0.05)


@pytest.mark.parametrize(
    ("name", "world", "atlantis"),
    [
        ("distance", 475, 396),
        ("trianglearea", 100_300, 85_300),
        ("angle", 46.5, 48.1),
        ("perimeter", 927, 725),
        ("compass", 0.304, 0.378),
        ("inside", 0.5, 0.5),
        ("crossing", 0.5, 0.5),
    ],
)
def test_the_best_constant_answer_scores_the_published_level(
    name: str, world: float, atlantis: float, published: Published
) -> None:
    task = load_task(name)
    for population, level in (("world", world), ("atlantis", atlantis)):
        queries = published[2][name, population]
        sizes = (queries.cities >= 0).sum(axis=1)
        scores: list[float] = []
        for size, constant in best_constants(task, queries).items():
            answers = queries.answers[sizes == int(size)]
            if task.labels:
                scores.append(float((answers == task.labels.index(constant)).mean()))
                assert all(scores[-1] >= (answers == label).mean() for label in range(len(task.labels)))
            else:
                scores.append(float(np.abs(answers - int(constant)).mean()))
                others = [int(constant) + step for step in (-50, -5, -1, 1, 5, 50)]
                assert all(scores[-1] <= np.abs(answers - other).mean() for other in others)
        assert float(np.mean(scores)) == pytest.approx(level, rel=0.04)


@pytest.fixture
def stored(corpora: Corpora, tmp_path: Path) -> Path:
    for population, root in FOLDERS.items():
        splits = {split: corpora["inside"][f"{population}-{split}"] for split in SPLITS}
        save("inside", population, splits, tmp_path / root / "inside")
    return tmp_path


def test_a_stored_corpus_is_read_back_as_it_was(stored: Path, corpora: Corpora) -> None:
    corpus = StoredCorpus("inside", stored)
    for population, split in itertools.product(POPULATIONS, SPLITS):
        queries, encoded = corpora["inside"][f"{population}-{split}"]
        found = corpus.lines(population, split)
        manifest = json.loads((stored / FOLDERS[population] / "inside" / "manifest.json").read_text())
        assert len(found) == len(encoded) == manifest["lines"][split]
        assert (found.tokens == encoded.tokens).all()
        assert (found.lengths == encoded.lengths).all()
        assert (corpus.cities(population, split) == queries.cities).all()
        assert manifest["tokens"][split] == (encoded.tokens != 0).sum()
        assert (found.first(7).tokens == encoded.tokens[:7]).all()
        assert len(found.first(7)) == 7
    assert set(corpus.best_constants("world").values()) <= {"TRUE", "FALSE"}
    for folder in FOLDERS.values():
        assert [path.name for path in (stored / folder).iterdir()] == ["inside"], "no temporary file is left"


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_a_file_system_that_cannot_map_is_read(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = StoredCorpus("inside", stored).lines("world", "train")

    def cannot(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", cannot)
    read = StoredCorpus("inside", stored).lines("world", "train")
    assert not isinstance(read.tokens, np.memmap)
    assert (read.tokens == mapped.tokens).all()
    assert (read.lengths == mapped.lengths).all()


@pytest.mark.parametrize("part", ["tokens", "lengths", "cities"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        Path.unlink,
        make_fifo,
    ],
    ids=["cut off", "empty", "missing", "a FIFO"],
)
def test_a_damaged_stored_file_is_named(part: str, damage: Callable[[Path], object], stored: Path) -> None:
    path = stored / ATLANTIS_CORPORA / "inside" / f"test.{part}.npy"
    damage(path)
    corpus = StoredCorpus("inside", stored)
    with pytest.raises(WorldwidthError) as error:
        corpus.cities("atlantis", "test") if part == "cities" else corpus.lines("atlantis", "test")
    assert str(error.value).startswith(f"{path}: ")
    assert "dvc repro atlantis" in str(error.value)
    assert "\n" not in str(error.value)
    assert len(corpus.lines("world", "test")) == 500, "the other files are still good"


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '"text"'])
def test_a_damaged_manifest_is_named(content: str | None, stored: Path) -> None:
    path = stored / CORPORA / "inside" / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(WorldwidthError) as error:
        StoredCorpus("inside", stored).best_constants("world")
    assert str(stored / CORPORA / "inside") in str(error.value)
    assert "dvc repro corpus@inside" in str(error.value)
