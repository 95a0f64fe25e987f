"""Token ids: the specification's table, round trips, and the same ids from Hugging Face's tokenizer.

pytest tests/test_tokens.py
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from transformers import AutoTokenizer

from worldwidth.data.tokenizer import BOS, EOS, ID_OF, PAD, UNK, Vocabulary, characters
from worldwidth.settings.compute import CHARACTER_IDS, vocabulary_size
from worldwidth.settings.load import load
from worldwidth.settings.schema import Scale

PARAMS = Path(__file__).parents[1] / "params.yaml"
Mode = Literal["characters", "cities"]
MODES: tuple[Mode, ...] = ("characters", "cities")
IDS = (42, 7, 999, 0, 310)  # city ids, as the cities table has them: in no order


def scale_of(mode: Mode, digits: int = 3) -> Scale:
    laptop = load(PARAMS).scales["laptop"]
    world = replace(laptop.world, cities=10, id_digits=digits, atlantis=replace(laptop.world.atlantis, cities=2))
    return replace(laptop, model=replace(laptop.model, tokens=mode), world=world)


def vocabulary_of(mode: Mode, digits: int = 3) -> Vocabulary:
    scale = scale_of(mode, digits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worldwidth.data.tokenizer.city_ids", lambda world: np.array(IDS))
        return Vocabulary(scale.model, scale.world)


@pytest.fixture(scope="module", params=MODES)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return vocabulary_of(request.param)


TEXTS = [
    "dist(c_042,c_999)=123",
    "inside(c_007;c_042,c_310,c_000)=FALSE",
    "cross(c_007,c_042;c_310,c_000)=TRUE",
    "compass(c_310,c_000)=NE",
    "perimeter(",
    "dist(c_042,c_",
    "c_0421",
    "c_42_042",
    "cc_042c_007",
    "".join(map(chr, range(33, 127))),
]


def test_the_ids_of_the_specification() -> None:
    assert (PAD, UNK, BOS, EOS) == (0, 1, 2, 3)
    stated = {"(": 11, ")": 12, ",": 15, ";": 20, "=": 22, "A": 26, "_": 56, "a": 58, "z": 83, "!": 4, "~": 87}
    stated |= {str(digit): 88 + digit for digit in range(10)}
    assert {character: ID_OF[character] for character in stated} == stated
    assert CHARACTER_IDS == 98
    assert sorted(ID_OF.values()) == list(range(4, 98))
    without_digits = [character for character in sorted(ID_OF, key=ord) if not character.isdigit()]
    assert [ID_OF[character] for character in without_digits] == list(range(4, 88))


@pytest.mark.parametrize("mode", MODES)
def test_the_vocabulary_holds_the_special_ids_the_characters_and_maybe_the_cities(mode: Mode) -> None:
    vocabulary = vocabulary_of(mode)
    assert vocabulary.tokens[:5] == ["<pad>", "<unk>", "<bos>", "<eos>", "!"]
    assert vocabulary.tokens[97] == "9"
    assert vocabulary.tokens[98:] == (["c_042", "c_007", "c_999", "c_000", "c_310"] if mode == "cities" else [])
    assert len(vocabulary) == len(vocabulary.tokens) == len(set(vocabulary.tokens))
    assert vocabulary_size(scale_of(mode)) == (98 + 12 if mode == "cities" else 98)


def test_known_ids() -> None:
    text = [61, 66, 76, 77, 11, 60, 56, 88, 92, 90, 15, 60, 56, 97, 97, 97, 12, 22, 89]
    assert vocabulary_of("characters").encode("dist(c_042,c_999)=1") == text
    assert vocabulary_of("cities").encode("dist(c_042,c_999)=1") == [61, 66, 76, 77, 11, 98, 15, 100, 12, 22, 89]
    assert characters("dist(c_042,c_999)=1") == text


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip(text: str, vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode(text)
    assert UNK not in ids
    assert vocabulary.decode(ids) == text
    assert vocabulary.decode([BOS, *ids, EOS, *vocabulary.encode("rest"), PAD]) == text, "ends at the first <eos>"


@pytest.mark.parametrize("digits", [3, 4, 6])
def test_the_city_table_is_what_encode_gives(digits: int) -> None:
    for mode in MODES:
        vocabulary = vocabulary_of(mode, digits)
        table = vocabulary.city_table()
        assert table.shape == (len(IDS), 1 if mode == "cities" else 2 + digits)
        for city_id, ids in zip(IDS, table.tolist(), strict=True):
            assert vocabulary.decode(ids) == f"c_{city_id:0{digits}d}"


@pytest.mark.parametrize(
    ("text", "unknown"), [("a b", 1), ("ä", 1), ("\n", 1), ("dist(東京)", 2), ("\t=\x7f", 2), ("", 0), ("😀", 1)]
)
def test_unknown_characters(text: str, unknown: int, vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode(text)
    assert len(ids) == len(text)
    assert ids.count(UNK) == unknown
    assert vocabulary.decode(ids) == "".join(c for c in text if c in ID_OF)
    assert characters(text) == ids


def test_a_city_that_does_not_exist_is_spelt_out() -> None:
    for mode in ("cities", "characters"):
        assert vocabulary_of(mode).encode("c_555") == [60, 56, 93, 93, 93]


@pytest.fixture(scope="module", params=MODES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Vocabulary, Any, Path]:
    """A vocabulary, and its tokenizer as AutoTokenizer loads it from the saved folder."""
    folder = tmp_path_factory.mktemp(request.param)
    vocabulary = vocabulary_of(request.param)
    vocabulary.save(folder)
    return vocabulary, AutoTokenizer.from_pretrained(str(folder)), folder


@pytest.mark.parametrize("text", TEXTS)
def test_auto_tokenizer_gives_the_same_ids_and_text(text: str, pair: tuple[Vocabulary, Any, Path]) -> None:
    vocabulary, tokenizer, _ = pair
    ids = tokenizer(text)["input_ids"]
    assert ids == [BOS, *vocabulary.encode(text)]
    assert tokenizer.encode(text, add_special_tokens=False) == vocabulary.encode(text)
    assert tokenizer.decode([*ids, EOS, PAD, PAD], skip_special_tokens=True) == vocabulary.decode(ids) == text
    assert tokenizer.decode([*ids, EOS]) == f"<bos>{text}<eos>"


@pytest.mark.parametrize("text", ["a b", "ä", "\n", "dist(東京)", "c_555", " c_042 ", "a\n\nb", "é\r\n"])
def test_auto_tokenizer_agrees_on_what_is_unknown(text: str, pair: tuple[Vocabulary, Any, Path]) -> None:
    vocabulary, tokenizer, _ = pair
    assert tokenizer(text)["input_ids"] == [BOS, *vocabulary.encode(text)]


def test_auto_tokenizer_agrees_on_random_texts(pair: tuple[Vocabulary, Any, Path]) -> None:
    vocabulary, tokenizer, _ = pair
    rng = np.random.default_rng(0)
    pieces = np.array(["c_", "c_042", "c_9", "042", "c_555", "_", "c", "(", "=", "TRUE", "99", "ä"])
    texts = ["".join(rng.choice(pieces, size=rng.integers(1, 12))) for _ in range(2_000)]
    found = tokenizer(texts)["input_ids"]
    wrong = [text for text, ids in zip(texts, found, strict=True) if ids != [BOS, *vocabulary.encode(text)]]
    assert wrong == []


def test_auto_tokenizer_knows_the_special_tokens_and_pads_on_the_left(pair: tuple[Vocabulary, Any, Path]) -> None:
    vocabulary, tokenizer, _ = pair
    assert len(tokenizer) == len(vocabulary)
    special = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert special == (0, 1, 2, 3)
    batch = tokenizer(["a=", "dist("], padding=True)
    assert batch["input_ids"] == [[0, 0, 0, 2, 58, 22], [2, 61, 66, 76, 77, 11]]
    assert batch["attention_mask"] == [[0, 0, 0, 1, 1, 1], [1] * 6]
    assert "token_type_ids" not in batch


def test_a_tokenizer_saved_by_transformers_is_the_same_again(
    pair: tuple[Vocabulary, Any, Path], tmp_path: Path
) -> None:
    tokenizer = pair[1]
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(str(tmp_path))
    for text in TEXTS:
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_the_saved_files_are_plain_json_and_the_same_every_time(
    pair: tuple[Vocabulary, Any, Path], tmp_path: Path
) -> None:
    vocabulary, _, folder = pair
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    vocabulary.save(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
        assert json.loads((folder / name).read_text(encoding="utf-8"))
