"""Text to token ids and back, and the same as a Hugging Face tokenizer.

98 ids: 0 <pad>, 1 <unk>, 2 <bos>, 3 <eos>, then printable ASCII 33..126 in ASCII order without the
digits (4..87), then the digits (88..97). With ``tokens: cities`` every city adds one id, in the order
of the cities tables: the group ``c_042`` is then one token. The text is the same either way.
"""

import json
import re
from pathlib import Path

import numpy as np

from worldwidth.core.files import write_json
from worldwidth.data.cities import city_ids
from worldwidth.settings.compute import CHARACTER_IDS
from worldwidth.settings.schema import Model, World
from worldwidth.tasks import Integers

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
PAD, UNK, BOS, EOS = range(4)
CHARACTERS = "".join(c for c in map(chr, range(33, 127)) if not c.isdigit()) + "0123456789"
ID_OF = {character: len(SPECIAL) + i for i, character in enumerate(CHARACTERS)}
EQUALS, ZERO = ID_OF["="], ID_OF["0"]
assert len(SPECIAL) + len(CHARACTERS) == CHARACTER_IDS


def characters(text: str) -> list[int]:
    """Ids of ``text``, a character each."""
    return [ID_OF.get(character, UNK) for character in text]


class Vocabulary:
    """The token ids of one world: characters, and cities where the scale says so."""

    def __init__(self, model: Model, world: World) -> None:
        self.names = [f"c_{city_id:0{world.id_digits}d}" for city_id in city_ids(world)]
        """How each city is written, real ones first."""
        self.one_token_a_city = model.tokens == "cities"
        self.tokens = [*SPECIAL, *CHARACTERS, *(self.names if self.one_token_a_city else [])]
        self._id_of = {token: i for i, token in enumerate(self.tokens)}
        groups = self.names if self.one_token_a_city else []
        self._split = re.compile("|".join([*groups, r"[\s\S]"]))

    def __len__(self) -> int:
        return len(self.tokens)

    def city_table(self) -> Integers:
        """Ids of every city as written in the text: (cities, tokens a city)."""
        return np.array([self.encode(name) for name in self.names], dtype=np.int64)

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` without <bos> and <eos>; what is not in the vocabulary is <unk>."""
        return [self._id_of.get(token, UNK) for token in self._split.findall(text)]

    def decode(self, ids: list[int]) -> str:
        """Text of ``ids`` up to the first <eos>; the other special ids are left out."""
        end = ids.index(EOS) if EOS in ids else len(ids)
        return "".join(self.tokens[i] for i in ids[:end] if i >= len(SPECIAL))

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which ``AutoTokenizer`` loads as they stand.

        The tokenizer puts <bos> first and no <eos> last, so that an encoded prompt can be continued.
        Cities are added tokens, found before any text is split: transformers 5 puts the splitting rule of
        its own Qwen2 tokenizer in the place of the one written here.
        """
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

        tokenizer = Tokenizer(models.WordLevel(vocab=self._id_of, unk_token=SPECIAL[UNK]))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", BOS)]
        )
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens(list(SPECIAL))
        if self.one_token_a_city:
            tokenizer.add_tokens([AddedToken(name, normalized=False) for name in self.names])
        write_json(folder / "tokenizer.json", json.loads(tokenizer.to_str()))
        write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "pad_token": "<pad>",
                "unk_token": "<unk>",
                "bos_token": "<bos>",
                "eos_token": "<eos>",
                "clean_up_tokenization_spaces": False,
                "model_input_names": ["input_ids", "attention_mask"],
                "padding_side": "left",
            },
        )
