"""The tokenizer of a published model: it reads the lines that the model was trained on, and refuses all others.

A city that is none of the model's world, or a prompt of another form, would be answered all the same: from characters
of which the model has learnt nothing, or from ``<unk>``, whose embedding no training has moved. So it is an error. A
text that is no line becomes a space, an unknown city one token: the vocabulary has neither, and as no token stands for
what it lacks, the tokenizer stops. That needs no code of ours where the model is used.
"""

import json
import re
from pathlib import Path

from worldwidth.core.files import write_json
from worldwidth.data.queries import query_sizes
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.settings.schema import Settings
from worldwidth.tasks import Task, load_task

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
REFUSAL = "WordLevel error: Missing [UNK] token from the vocabulary"
"""What the tokenizers library says when it refuses."""
_NO_TOKEN = "refused: not a line of this model's tasks, or not a city of its world"


def save_refusing(settings: Settings, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json: the ids of ``Vocabulary``, <bos> first, no <eos> last."""
    vocabulary = Vocabulary(settings.selected.model, settings.selected.world)
    vocabulary.save(folder)
    path = folder / TOKENIZER
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["special"]]
    tokenizer["model"] |= {"vocab": {token: i for i, token in enumerate(vocabulary.tokens)}, "unk_token": _NO_TOKEN}
    digits = settings.selected.world.id_digits
    city = f"c_[0-9]{{{digits}}}"
    lines = "|".join(line_of(load_task(name), settings, city) for name in settings.tasks)
    tokenizer["normalizer"] = {"type": "Replace", "pattern": {"Regex": rf"\A(?!(?:{lines})\z)[\s\S]+"}, "content": " "}
    known = "|".join(vocabulary.names)
    own = city if vocabulary.one_token_a_city else f"(?!{known}){city}"  # one that is known is spelt out
    tokenizer["pre_tokenizer"]["pattern"] = {"Regex": rf"{own}|[\s\S]"}
    write_json(path, tokenizer)


def line_of(task: Task, settings: Settings, city: str) -> str:
    """The regular expression of a task's lines, the answer there or not yet."""
    answer = f"(?:{'|'.join(task.labels)})?" if task.labels else "[0-9]*"
    sizes = query_sizes(task, settings.selected.corpus)
    queries = (city.join(map(re.escape, task.pieces(size))) for size in sizes)
    return f"(?:{'|'.join(queries)}){answer}"
