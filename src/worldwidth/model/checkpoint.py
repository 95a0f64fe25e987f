"""Model folders that plain transformers loads: config.json, model.safetensors, tokenizer files."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import OR_DOCTOR, naming, read_json, write_json
from worldwidth.data.tokenizer import BOS, EOS, PAD
from worldwidth.model.layout import DecoderConfig, Weights, parameter_count, views
from worldwidth.model.safe_tensors import Arrays, load_tensors, save_tensors

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_MAX_POSITIONS = 128  # the longest line has 57 tokens; rotary embeddings need no table


def save_model(config: DecoderConfig, weights: Weights, folder: Path, save_tokenizer: Callable[[Path], None]) -> None:
    """Write a model, its ``weights`` (n,) flat, into ``folder`` in transformers' Qwen2 format (32-bit weights).

    Raises:
        OSError: the folder could not be written, as when the disk is full; the error names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with naming(folder):
        write_json(folder / CONFIG, _transformers_config(config))
        save_tokenizer(folder)
        save_tensors(_to_transformers(config, weights), folder / WEIGHTS, {"format": "pt"})


def copy_tokenizer(source: Path) -> Callable[[Path], None]:
    """Return a ``save_tokenizer`` that copies the files of another model folder."""

    def copy(folder: Path) -> None:
        for name in TOKENIZER_FILES:
            (folder / name).write_bytes((source / name).read_bytes())

    return copy


def load_model(folder: Path, remedy: str, expected: DecoderConfig | None = None) -> tuple[DecoderConfig, Weights]:
    """Read a model folder back: its sizes and its weights (n,), flat.

    Args:
        remedy: what to do if it cannot be read, as "run `dvc repro base`".
        expected: the settings that the model must have, where they are known.

    Raises:
        WorldwidthError: a file is missing or damaged, a weight is NaN or infinite, or the model is of another kind
            than ``expected``.
    """
    values = read_json(folder / CONFIG, remedy)
    try:
        config = _read_config(values)
        _refuse_other(folder, config, expected, remedy)
        tensors, _ = load_tensors(folder / WEIGHTS)
        _refuse_ruined(folder, tensors, remedy)
        weights = _from_transformers(config, tensors)
    except FileNotFoundError:
        raise WorldwidthError(f"{folder / WEIGHTS}: not found; {remedy}") from None
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        reason = str(error).splitlines()[0]
        raise WorldwidthError(f"{folder}: not a whole model of this kind ({reason}); {remedy}{OR_DOCTOR}") from None
    return config, weights


def _read_config(values: dict[str, Any]) -> DecoderConfig:
    """The sizes in a config.json of transformers 4 or 5, which keeps ``rope_theta`` among its ``rope_parameters``.

    Raises:
        ValueError: its rotary embeddings are scaled, which the decoder does not do, or a size is no number.
        KeyError, TypeError, AttributeError: it is no such file.
    """
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise ValueError(f"rotary embeddings of type {kind!r} where 'default' is needed")
    sizes = {key: (rope | values)[key] for key in DecoderConfig.__dataclass_fields__}
    for key, value in sizes.items():
        if not isinstance(value, int | float):
            raise ValueError(f"its {key} is {value!r}")
    return DecoderConfig(**sizes)


def _refuse_ruined(folder: Path, tensors: Arrays, remedy: str) -> None:
    """Refuse weights with which every answer would be wrong, and yet be counted."""
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise WorldwidthError(f"{folder / WEIGHTS}: {name} holds NaN or infinite weights; {remedy}{OR_DOCTOR}")


def _refuse_other(folder: Path, config: DecoderConfig, expected: DecoderConfig | None, remedy: str) -> None:
    """Refuse a model that is sound, but of another width or scale."""
    for name, value in asdict(expected).items() if expected else ():
        found = getattr(config, name)
        if found != value:
            raise WorldwidthError(f"{folder}: its {name} is {found}, where params.yaml says {value}; {remedy}")


def _transformers_config(config: DecoderConfig) -> dict[str, object]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        **asdict(config),
        "num_key_value_heads": config.num_attention_heads,
        "hidden_act": "silu",
        "max_position_embeddings": _MAX_POSITIONS,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "attention_dropout": 0.0,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        # transformers 5 reads the second form, 4 the plain rope_theta among the settings above
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def _halves(weight: Weights, heads: int) -> Weights:
    """Rows of q or k with rotary pairs side by side -> transformers' order, first halves before second halves."""
    return weight.reshape(heads, -1, 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _pairs(weight: Weights, heads: int) -> Weights:
    """The inverse of :func:`_halves`."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _to_transformers(config: DecoderConfig, weights: Weights) -> Arrays:
    """The weights under transformers' names, fused matrices taken apart."""
    heads, named = config.num_attention_heads, views(weights, config)
    tensors = {
        "model.embed_tokens.weight": named["embed"],
        "model.norm.weight": named["norm"],
        "lm_head.weight": named["lm_head"],
    }
    for i in range(config.num_hidden_layers):
        prefix = f"model.layers.{i}."
        for kind, fused in (("weight", named["qkv"][i]), ("bias", named["qkv_bias"][i])):
            q, k, v = np.split(fused, 3)
            tensors[f"{prefix}self_attn.q_proj.{kind}"] = _halves(q, heads)
            tensors[f"{prefix}self_attn.k_proj.{kind}"] = _halves(k, heads)
            tensors[f"{prefix}self_attn.v_proj.{kind}"] = v
        gate, up = np.split(named["gate_up"][i], 2)
        tensors[f"{prefix}mlp.gate_proj.weight"] = gate
        tensors[f"{prefix}mlp.up_proj.weight"] = up
        tensors[f"{prefix}mlp.down_proj.weight"] = named["down"][i]
        tensors[f"{prefix}self_attn.o_proj.weight"] = named["o"][i]
        tensors[f"{prefix}input_layernorm.weight"] = named["input_norm"][i]
        tensors[f"{prefix}post_attention_layernorm.weight"] = named["post_norm"][i]
    return {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}


def _from_transformers(config: DecoderConfig, tensors: Arrays) -> Weights:
    """The flat weights (n,) of tensors under transformers' names, whose shapes must agree."""
    heads, needed = config.num_attention_heads, parameter_count(config)
    found = sum(tensor.size for tensor in tensors.values())
    if found != needed:  # before memory is asked for
        raise ValueError(f"{found:,} weights where {needed:,} are needed")
    weights = np.zeros(needed, np.float32)
    unexpected = tensors.keys() - _to_transformers(config, weights).keys()
    if unexpected:
        raise ValueError(f"weights without a place: {min(unexpected)}")

    def put(place: Weights, *parts: Weights) -> None:
        value = np.concatenate(parts)
        if value.shape != place.shape:
            raise ValueError(f"weights of shape {value.shape} where {place.shape} is needed")
        place[:] = value

    named = views(weights, config)
    put(named["embed"], tensors["model.embed_tokens.weight"])
    put(named["norm"], tensors["model.norm.weight"])
    put(named["lm_head"], tensors["lm_head.weight"])
    for i in range(config.num_hidden_layers):
        prefix = f"model.layers.{i}."
        for kind, place in (("weight", named["qkv"][i]), ("bias", named["qkv_bias"][i])):
            q, k, v = (tensors[f"{prefix}self_attn.{part}_proj.{kind}"] for part in "qkv")
            put(place, _pairs(q, heads), _pairs(k, heads), v)
        put(named["gate_up"][i], *(tensors[f"{prefix}mlp.{part}_proj.weight"] for part in ("gate", "up")))
        put(named["down"][i], tensors[f"{prefix}mlp.down_proj.weight"])
        put(named["o"][i], tensors[f"{prefix}self_attn.o_proj.weight"])
        put(named["input_norm"][i], tensors[f"{prefix}input_layernorm.weight"])
        put(named["post_norm"][i], tensors[f"{prefix}post_attention_layernorm.weight"])
    return weights
