"""Model folders: exact round trips, plain transformers on the same files, and clear errors for damaged ones.

pytest tests/test_checkpoints.py
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from short_runs import Model
from worldwidth.core.errors import WorldwidthError
from worldwidth.data.corpus import POPULATIONS, Lines, StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.checkpoint import copy_tokenizer, load_model, save_model
from worldwidth.model.decoding import torch_decoder
from worldwidth.model.generate import greedy_answers

pytestmark = pytest.mark.usefixtures("one_thread")

FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
REMEDY = "run `dvc repro base`"
TOKENS = ("cities", "characters")
MakeModel = Callable[..., Model]
Corpora = dict[str, dict[str, StoredCorpus]]


def scrambled(model: Model) -> Model:
    """``model`` with another value in every weight, so that a mix-up shows."""
    config, weights = model
    return config, np.random.default_rng(9).permutation(len(weights)).astype(np.float32)


@pytest.fixture
def folder(make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary], tmp_path: Path) -> Path:
    save_model(*scrambled(make_model("narrow")), tmp_path / "models" / "base", smoke_vocabularies["cities"].save)
    return tmp_path / "models" / "base"


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("arch", ["narrow", "base", "wide", "wider"])
def test_a_saved_model_is_read_back_bit_by_bit(
    arch: str, tokens: str, make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary], tmp_path: Path
) -> None:
    config, weights = scrambled(make_model(arch, tokens))
    before = weights.copy()
    save_model(config, weights, tmp_path / "model", smoke_vocabularies[tokens].save)
    found, again = load_model(tmp_path / "model", REMEDY)
    assert found == config
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, before)
    np.testing.assert_array_equal(weights, before, "saving leaves them alone")


def test_the_folder_holds_four_files_and_the_same_model_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == FILES
    save_model(*load_model(folder, REMEDY), tmp_path / "again", copy_tokenizer(folder))
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_the_names_and_shapes_are_those_of_transformers(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "Qwen2ForCausalLM"
    wanted, stored = model.state_dict(), load_file(folder / "model.safetensors")
    assert set(stored) == set(wanted)
    assert all(torch.equal(stored[name], wanted[name]) for name in stored)
    config = model.config
    assert (config.vocab_size, config.hidden_size, config.intermediate_size) == (178, 8, 32)
    assert (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) == (2, 2, 2)
    assert (config.rms_norm_eps, config.rope_parameters["rope_theta"], config.hidden_act) == (1e-6, 10_000.0, "silu")
    assert not config.tie_word_embeddings
    assert not config.use_sliding_window
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 2, 3)
    assert json.loads((folder / "config.json").read_text())["rope_theta"] == 10_000.0, "transformers 4 reads this one"


def test_a_model_saved_by_transformers_is_read(folder: Path, tmp_path: Path) -> None:
    """Somebody fine-tunes it with other tools and brings it back: transformers 5 writes no plain rope_theta."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "theirs")
    config = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert "rope_theta" not in config
    assert "torch_dtype" not in config
    wanted, found = load_model(folder, REMEDY), load_model(tmp_path / "theirs", REMEDY)
    assert found[0] == wanted[0]
    np.testing.assert_array_equal(found[1], wanted[1])


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_theta": 10_000.0},
        {"rope_theta": 10_000.0, "rope_scaling": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0}},
        {"rope_parameters": {"rope_theta": 10_000.0}, "dtype": "float32"},
    ],
    ids=str,
)
def test_both_spellings_of_a_config_are_read(rope: dict[str, object], folder: Path) -> None:
    without_rope(folder, **rope)
    assert load_model(folder, REMEDY)[0].rope_theta == 10_000.0


@pytest.mark.parametrize(
    "rope",
    [
        {},
        {"rope_parameters": "default"},
        {"rope_parameters": {"rope_type": "default"}},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0}},
        {"rope_theta": 10_000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    ],
    ids=str,
)
def test_rotary_embeddings_of_another_kind_are_refused(rope: dict[str, object], folder: Path) -> None:
    without_rope(folder, **rope)
    refused(folder)


def without_rope(folder: Path, **changes: object) -> None:
    """Another config.json, in which all that concerns rotary embeddings are ``changes``."""
    values = json.loads((folder / "config.json").read_text())
    kept = {key: value for key, value in values.items() if "rope" not in key and "dtype" not in key}
    (folder / "config.json").write_text(json.dumps(kept | changes))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["model.layers.1.self_attn.k_proj.bias", "model.embed_tokens.weight"])
def test_weights_that_are_no_numbers_are_refused(name: str, value: float, folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[name].view(-1)[-1] = value
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    assert refused(folder).startswith(f"{folder / 'model.safetensors'}: {name} holds NaN or infinite weights; ")


def answer_texts(answers: np.ndarray[Any, Any], vocabulary: Vocabulary) -> list[str]:
    return [vocabulary.decode(row) for row in answers.tolist()]


@pytest.mark.parametrize("tokens", TOKENS)
def test_generate_of_transformers_gives_the_same_answers(
    tokens: str,
    trained: dict[str, Model],
    smoke_corpora: Corpora,
    smoke_vocabularies: dict[str, Vocabulary],
    tmp_path: Path,
) -> None:
    vocabulary, new = smoke_vocabularies[tokens], 12
    save_model(*trained[tokens], tmp_path, vocabulary.save)
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    decode, prompts = torch_decoder(*trained[tokens], "cpu", 1), list[str]()
    found: list[str] = []
    ids: list[list[int]] = []
    for corpus in smoke_corpora[tokens].values():
        for population in POPULATIONS:
            lines = corpus.lines(population, "test").first(12)
            answers = greedy_answers(decode, lines, new, 64)
            ids += answers.tolist()
            found += answer_texts(answers, vocabulary)
            prompts += [vocabulary.decode(row).split("=")[0] + "=" for row in lines.tokens.tolist()]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)  # to the left
    assert len(set(batch["attention_mask"].sum(dim=1).tolist())) >= 4, "the prompts must differ in length"
    with torch.no_grad():
        generated = model.generate(**batch, max_new_tokens=new, do_sample=False)[:, batch["input_ids"].shape[1] :]
    wanted = np.zeros((len(prompts), new), dtype=np.int64)
    wanted[:, : generated.shape[1]] = generated.numpy()
    assert ids == wanted.tolist()
    assert found == tokenizer.batch_decode(generated, skip_special_tokens=True)
    assert len(set(found)) > 30, "the answers must vary"


@pytest.mark.parametrize("tokens", TOKENS)
def test_prompts_are_tokenized_as_the_corpora_are(
    tokens: str,
    make_model: MakeModel,
    smoke_corpora: Corpora,
    smoke_vocabularies: dict[str, Vocabulary],
    tmp_path: Path,
) -> None:
    save_model(*make_model("narrow", tokens), tmp_path, smoke_vocabularies[tokens].save)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for corpus in smoke_corpora[tokens].values():
        lines: Lines = corpus.lines("atlantis", "test")
        for row, length in zip(lines.tokens.tolist(), lines.lengths.tolist(), strict=True):
            text = tokenizer.decode(row[:length], skip_special_tokens=True)
            assert text == smoke_vocabularies[tokens].decode(row)
            assert [*tokenizer(text)["input_ids"], 3] == row[:length]


@pytest.mark.parametrize("tokens", TOKENS)
def test_odd_prompts_are_tokenized_by_the_vocabulary(
    tokens: str, make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary], tmp_path: Path
) -> None:
    """Beside config.json transformers 5 splits the text its own way; only what is in no vocabulary may differ."""
    vocabulary = smoke_vocabularies[tokens]
    save_model(*make_model("narrow", tokens), tmp_path, vocabulary.save)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    name = vocabulary.names[0]
    absent = next(f"c_{i:02d}" for i in range(100) if f"c_{i:02d}" not in vocabulary.names)
    for text in (f"dist({name}0,c{name})=", f"angle({absent}", "it'sdon't123", "A..B--C"):
        assert tokenizer(text)["input_ids"] == [2, *vocabulary.encode(text)], text


def refused(folder: Path) -> str:
    """The message of the error that reading ``folder`` gives; one line that says where and what to do."""
    with pytest.raises(WorldwidthError) as caught:
        load_model(folder, REMEDY)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "; run `dvc repro base`" in message
    assert "\n" not in message
    assert len(message) < len(str(folder)) + 300
    assert caught.value.__suppress_context__ or not caught.value.__context__, "no second traceback above the error"
    return message


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "not found" in refused(tmp_path / "models" / "base")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    assert refused(folder).startswith(f"{folder / name}: not found")


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -4, -1000])
def test_a_truncated_weights_file_is_refused(keep: int, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder)


def test_weights_are_no_map_of_their_file(folder: Path) -> None:
    """A process that reads a map of a file that has been cut off is killed."""
    _, weights = load_model(folder, REMEDY)
    wanted = weights.copy()
    (folder / "model.safetensors").write_bytes(b"")
    np.testing.assert_array_equal(weights, wanted)


@pytest.mark.parametrize("at", [0, 3, 7, 8, 9, 40, 100, 200, 400])
def test_a_flipped_byte_in_the_header_is_refused(at: int, folder: Path) -> None:
    flip(folder / "model.safetensors", at)
    refused(folder)


def test_a_sound_model_of_another_width_is_refused(
    folder: Path, make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    wide = make_model("wide")[0]
    with pytest.raises(WorldwidthError) as caught:
        load_model(folder, REMEDY, wide)
    assert str(caught.value) == f"{folder}: its hidden_size is 8, where params.yaml says 32; {REMEDY}"
    with pytest.raises(WorldwidthError, match=r"its vocab_size is 178, where params\.yaml says 98;"):
        load_model(folder, REMEDY, make_model("narrow", "characters")[0])
    assert load_model(folder, REMEDY, make_model("narrow")[0])[0].hidden_size == 8


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '"text"', "\x00", '{"vocab_size": 178}'])
def test_a_broken_config_is_refused(content: str, folder: Path) -> None:
    (folder / "config.json").write_text(content)
    refused(folder)


def test_a_config_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    refused(folder)


def with_config(folder: Path, **changes: object) -> None:
    """Another config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": 16},
        {"hidden_size": 16, "intermediate_size": 64, "num_attention_heads": 4},
        {"intermediate_size": 64},
        {"vocab_size": 98},
        {"vocab_size": 179},
        {"num_hidden_layers": 3},
        {"num_hidden_layers": 1},
    ],
    ids=str,
)
def test_a_config_of_another_size_is_refused(changes: dict[str, int], folder: Path) -> None:
    with_config(folder, **changes)
    refused(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_size": "8"},
        {"hidden_size": None},
        {"hidden_size": -8},
        {"hidden_size": 8.0},
        {"hidden_size": 10**12},
        {"hidden_size": 200_000},
        {"num_attention_heads": 0},
        {"num_attention_heads": 3},
        {"num_hidden_layers": "two"},
        {"rope_theta": "warm"},
    ],
    ids=str,
)
def test_a_config_with_impossible_values_is_refused(changes: dict[str, object], folder: Path) -> None:
    with_config(folder, **changes)
    refused(folder)


def test_the_weights_of_another_width_are_refused(
    folder: Path, make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary], tmp_path: Path
) -> None:
    save_model(*make_model("wide"), tmp_path / "wide", smoke_vocabularies["cities"].save)
    shutil.copyfile(tmp_path / "wide" / "model.safetensors", folder / "model.safetensors")
    assert "(44,512 weights where 4,984 are needed)" in refused(folder)


def test_saving_over_a_folder_replaces_it(
    folder: Path, make_model: MakeModel, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    save_model(*make_model("wide"), folder, smoke_vocabularies["cities"].save)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert load_model(folder, REMEDY)[0].hidden_size == 32
