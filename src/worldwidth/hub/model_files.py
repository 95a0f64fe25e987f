"""The files of a published model: config, weights, tokenizer, how to generate, and the cities of its world.

They are those of a Llama, which computes what the Qwen2 model in models/NAME does: a Llama's attention may have biases;
those of its output are 0 here. For whatever says that it is a Qwen2, transformers 5 takes its own tokenizer, and that
drops characters that it does not know without a word; of a Llama it reads the tokenizer that lies beside it.
"""

import csv
import io
from dataclasses import asdict
from pathlib import Path

import numpy as np

from worldwidth.core.files import read_json, write_json, write_text
from worldwidth.data.cities import City
from worldwidth.data.tokenizer import BOS, EOS, PAD, Vocabulary
from worldwidth.hub.refusing_tokenizer import save_refusing
from worldwidth.model.checkpoint import CONFIG, WEIGHTS, load_model
from worldwidth.model.layout import DecoderConfig
from worldwidth.model.safe_tensors import load_tensors, save_tensors
from worldwidth.settings.schema import Settings
from worldwidth.tasks import load_task

GENERATION, CITIES = "generation_config.json", "cities.csv"
_LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": True, "mlp_bias": False}


def save_model_files(settings: Settings, source: Path, remedy: str, folder: Path) -> None:
    """Write the model of ``source``, a folder in models/ or a checkpoint below it, into ``folder``.

    Raises:
        WorldwidthError: it is missing, damaged, or of another width or scale; the message says ``remedy``.
    """
    expected = DecoderConfig.of(settings.selected, settings.sizes)
    load_model(source, remedy, expected)
    config = read_json(source / CONFIG, remedy)
    del config["use_sliding_window"]  # a Llama has none
    write_json(folder / CONFIG, config | _LLAMA)
    tensors, _ = load_tensors(source / WEIGHTS)
    for layer in range(expected.num_hidden_layers):
        tensors[f"model.layers.{layer}.self_attn.o_proj.bias"] = np.zeros(expected.hidden_size, np.float32)
    save_tensors(tensors, folder / WEIGHTS, {"format": "pt"})
    save_refusing(settings, folder)
    write_json(folder / GENERATION, generation_config(settings))


def generation_config(settings: Settings) -> dict[str, object]:
    """How to answer: greedily, up to <eos>, with room for the longest answer of any task."""
    return {
        "do_sample": False,
        "max_new_tokens": max(load_task(name).max_new_tokens for name in settings.tasks),
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }


def save_city_names(settings: Settings, cities: list[City], path: Path) -> None:
    """Write the table of all cities of the model's world, each with how a prompt names it."""
    written = Vocabulary(settings.selected.model, settings.selected.world).names
    buffer = io.StringIO()
    rows = [{"city": name, **asdict(city)} for name, city in zip(written, cities, strict=True)]
    table = csv.DictWriter(buffer, rows[0], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, buffer.getvalue())
