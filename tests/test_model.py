"""The decoder against transformers' Qwen2 with the same weights: logits, loss, gradients, sizes; and how it starts.

pytest tests/test_model.py
"""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoModelForCausalLM

import worldwidth.model.decoder
from worldwidth.data.corpus import StoredCorpus
from worldwidth.data.tokenizer import Vocabulary
from worldwidth.model.checkpoint import save_model
from worldwidth.model.decoder import CachedAttention, Decoder, PackedAttention
from worldwidth.model.packing import Batch
from worldwidth.settings.compute import parameter_count, vocabulary_size
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings
from worldwidth.training.mixture import Mixture, pretraining_mixture
from worldwidth.training.run import batch_loss

pytestmark = pytest.mark.usefixtures("one_thread")

PARAMS = Path(__file__).parents[1] / "params.yaml"
CPU = torch.device("cpu")
ARCHS = ("narrow", "base", "wide", "wider")
PUBLISHED = ("paper", "narrow")
VARIANTS = [("smoke", arch) for arch in ARCHS] + [PUBLISHED]
MakeDecoder = Callable[..., Decoder]
Corpora = dict[str, dict[str, StoredCorpus]]


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def variant(request: pytest.FixtureRequest) -> tuple[str, str]:
    scale, arch = request.param
    return scale, arch


@pytest.fixture(scope="module")
def tokens(variant: tuple[str, str]) -> str:
    return "characters" if variant == PUBLISHED else "cities"


@pytest.fixture(scope="module")
def model(variant: tuple[str, str], tokens: str, make_decoder: MakeDecoder) -> Decoder:
    """Every width of the smoke scale and the published narrow one, with weights as lively as trained ones.

    Biases and norms are moved away from 0 and 1, where mistakes would not show.
    """
    scale = load(PARAMS).scales["paper"] if variant == PUBLISHED else None
    model = make_decoder(variant[1], tokens, scale)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def twin(
    model: Decoder, tokens: str, smoke_vocabularies: dict[str, Vocabulary], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The same weights in transformers' own model, through the files."""
    folder = tmp_path_factory.mktemp("model")
    save_model(model, folder, smoke_vocabularies[tokens].save)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def mixed_rows(mixture: Mixture) -> np.ndarray[Any, Any]:
    """Thirty rows with lines of every length, in no order."""
    rows = np.concatenate([np.flatnonzero(mixture.lengths == length)[:4] for length in np.unique(mixture.lengths)])
    return np.random.default_rng(0).permutation(rows)[:30]


def padded(mixture: Mixture, rows: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
    """Right-padded ids and attention mask, as transformers takes them: (lines, longest) each."""
    lengths = mixture.lengths[rows].astype(int)
    ids = torch.from_numpy(mixture.tokens[rows, : lengths.max()].astype(np.int64))
    return ids, (torch.arange(ids.shape[1]) < torch.from_numpy(lengths)[:, None]).long()


def packed_logits(model: Decoder, batch: Batch) -> Tensor:
    attention = PackedAttention(batch.lengths)
    logits: Tensor = model.lm_head(model(batch.ids, attention.positions, attention))
    return logits


def close(found: Tensor, wanted: Tensor) -> bool:
    """Equal to 1e-5 of the size of the numbers."""
    return bool((found - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max())))


def test_logits_are_those_of_transformers(model: Decoder, twin: Any, tokens: str, smoke_corpora: Corpora) -> None:
    mixture = pretraining_mixture(smoke_corpora[tokens])
    rows = mixed_rows(mixture)
    ids, mask = padded(mixture, rows)
    assert len(set(mask.sum(dim=1).tolist())) >= 4, "the lines must differ in length"
    with torch.no_grad():
        wanted = twin(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        found = packed_logits(model, mixture.batch(rows, "all", CPU))
    assert found.dtype == wanted.dtype == torch.float32
    assert float(wanted.std()) > 0.1
    assert close(found, wanted)


def gradients_under_our_names(twin: Any, heads: int) -> dict[str, Tensor]:
    """transformers' gradients, fused as the decoder's weights are, rotary pairs side by side."""
    grads = {name: parameter.grad for name, parameter in twin.named_parameters()}

    def paired(x: Tensor) -> Tensor:
        size = len(x) // heads
        order = [h * size + i + half for h in range(heads) for i in range(size // 2) for half in (0, size // 2)]
        return x[order]

    fused = {
        "embed.weight": grads["model.embed_tokens.weight"],
        "norm": grads["model.norm.weight"],
        "lm_head.weight": grads["lm_head.weight"],
    }
    for i in range(twin.config.num_hidden_layers):
        there, here = f"model.layers.{i}.", f"layers.{i}."
        for kind in ("weight", "bias"):
            q, k, v = (grads[f"{there}self_attn.{part}_proj.{kind}"] for part in "qkv")
            fused[f"{here}qkv.{kind}"] = torch.cat([paired(q), paired(k), v])
        fused[f"{here}gate_up.weight"] = torch.cat([grads[f"{there}mlp.{p}_proj.weight"] for p in ("gate", "up")])
        fused[f"{here}down.weight"] = grads[f"{there}mlp.down_proj.weight"]
        fused[f"{here}o.weight"] = grads[f"{there}self_attn.o_proj.weight"]
        fused[f"{here}input_norm"] = grads[f"{there}input_layernorm.weight"]
        fused[f"{here}post_norm"] = grads[f"{there}post_attention_layernorm.weight"]
    return fused


@pytest.mark.parametrize("loss", ["all", "answer"])
def test_loss_and_gradients_are_those_of_transformers(
    loss: str, model: Decoder, twin: Any, tokens: str, smoke_corpora: Corpora, smoke_vocabularies: dict[str, Vocabulary]
) -> None:
    mixture = pretraining_mixture(smoke_corpora[tokens])
    rows = mixed_rows(mixture)
    ids, mask = padded(mixture, rows)
    labels = ids.masked_fill(mask == 0, -100)
    if loss == "answer":
        equals = smoke_vocabularies[tokens].encode("=")[0]
        for line in labels:
            line[: line.tolist().index(equals) + 1] = -100
    model.zero_grad()
    twin.zero_grad()
    wanted = twin(input_ids=ids, attention_mask=mask, labels=labels).loss
    wanted.backward()
    found = batch_loss(model, mixture.batch(rows, loss, CPU))
    found.backward()  # type: ignore[no-untyped-call]
    assert found.item() == pytest.approx(wanted.item(), abs=1e-5)
    gradients = gradients_under_our_names(twin, model.config.num_attention_heads)
    assert set(gradients) == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        size = float(gradients[name].abs().max())
        assert size > 1e-4, name
        assert float((parameter.grad - gradients[name]).abs().max()) <= 1e-4 * size, name


def test_parameter_counts_agree(
    variant: tuple[str, str], model: Decoder, twin: Any, tokens: str, smoke: dict[str, Settings]
) -> None:
    scale = load(PARAMS).scales["paper"] if variant == PUBLISHED else smoke[tokens].selected
    counted = parameter_count(scale.model, scale.archs[variant[1]], vocabulary_size(scale))
    assert model.parameter_count() == counted == twin.num_parameters()
    if variant == PUBLISHED:
        assert counted == 407_744


def test_lines_of_a_batch_do_not_see_each_other(model: Decoder, tokens: str, smoke_corpora: Corpora) -> None:
    mixture = pretraining_mixture(smoke_corpora[tokens])
    batch = mixture.batch(mixed_rows(mixture), "all", CPU)
    attention = PackedAttention(batch.lengths)
    ends = batch.lengths.cumsum(0)
    with torch.no_grad():
        before = model(batch.ids, attention.positions, attention)
        for line in (0, 7, len(ends) - 1):
            own = slice(int(ends[line] - batch.lengths[line]), int(ends[line]))
            ids = batch.ids.clone()
            ids[own] = (ids[own] + 17) % 98
            after = model(ids, attention.positions, attention)
            others = torch.ones(len(ids), dtype=torch.bool)
            others[own] = False
            assert (after[others] - before[others]).abs().max() <= 1e-6
            assert (after[own] - before[own]).abs().min(dim=1).values.max() > 1e-3, "the line itself changes"
        for end, length in zip(ends.tolist(), batch.lengths.tolist(), strict=True):
            alone = PackedAttention(torch.tensor([length]))
            found = model(batch.ids[end - length : end], alone.positions, alone)
            assert close(found, before[end - length : end]), "a line alone gives what it gives in company"


def test_no_token_sees_a_later_one(model: Decoder, tokens: str, smoke_corpora: Corpora) -> None:
    mixture = pretraining_mixture(smoke_corpora[tokens])
    batch = mixture.batch(mixed_rows(mixture), "all", CPU)
    attention = PackedAttention(batch.lengths)
    ids = torch.where(attention.positions >= 5, (batch.ids + 29) % 98, batch.ids)
    early = attention.positions < 5
    with torch.no_grad():
        before, after = (model(x, attention.positions, attention) for x in (batch.ids, ids))
    assert (before[early] - after[early]).abs().max() <= 1e-6
    assert (before[~early] - after[~early]).abs().mean() > 1e-2


def test_positions_and_slots_of_packed_lines() -> None:
    attention = PackedAttention(torch.tensor([3, 1, 4]))
    assert attention.positions.tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert attention.slots.tolist() == [0, 1, 2, 4, 8, 9, 10, 11]
    assert attention.longest == 4


def test_attention_by_plain_products_is_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the attention is written out, on a GPU it is torch's own: both are the same, gradients included."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([5, 2, 7, 1])
    attention = PackedAttention(lengths)
    qk = torch.randn(15, 2, 3, 4, generator=generator, requires_grad=True)
    v = torch.randn(15, 1, 3, 4, generator=generator, requires_grad=True)
    weights = torch.randn(15, 12, generator=generator)

    def fused(q: Tensor, k: Tensor, v: Tensor, causal: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    results = []
    for patched in (False, True):
        if patched:
            monkeypatch.setattr(worldwidth.model.decoder, "_attend", fused)
        out = attention(0, qk, v)
        results.append((out, *torch.autograd.grad((out * weights).sum(), (qk, v))))
    for plain, other in zip(*results, strict=True):
        assert torch.allclose(plain, other, atol=1e-6)


@pytest.mark.parametrize("first", [9, 6, 1])
def test_decoding_with_a_cache_is_the_packed_forward(first: int, make_decoder: MakeDecoder) -> None:
    """``first`` tokens at once, then one at a time."""
    model = make_decoder("wide")
    ids = torch.randint(4, 98, (5, 9), generator=torch.Generator().manual_seed(0))
    packed, cached = PackedAttention(torch.full((5,), 9)), CachedAttention(model.config.num_hidden_layers, lines=5)
    with torch.no_grad():
        wanted = model(ids.flatten(), packed.positions, packed).view(5, 9, -1)
        found = model(ids[:, :first].flatten(), torch.arange(first).repeat(5), cached).view(5, first, -1)
        assert close(found, wanted[:, :first])
        for position in range(first, 9):
            found = model(ids[:, position], torch.full((5,), position), cached)
            assert close(found, wanted[:, position])


def test_lines_that_end_leave_the_cache(make_decoder: MakeDecoder) -> None:
    model = make_decoder("wide")
    ids = torch.randint(4, 98, (5, 9), generator=torch.Generator().manual_seed(0))
    packed, cached = PackedAttention(torch.full((5,), 9)), CachedAttention(model.config.num_hidden_layers, lines=5)
    rows = torch.arange(5)
    with torch.no_grad():
        wanted = model(ids.flatten(), packed.positions, packed).view(5, 9, -1)
        for position in range(9):
            if position in (3, 6):
                kept = torch.tensor([0, 2, 4]) if position == 3 else torch.tensor([2])
                cached.keep(kept)
                rows = rows[kept]
            found = model(ids[rows, position], torch.full((len(rows),), position), cached)
            assert close(found, wanted[rows, position])
    assert rows.tolist() == [4]


def test_the_initial_weights(make_decoder: MakeDecoder) -> None:
    model = make_decoder("narrow", "characters", load(PARAMS).scales["paper"], seed=5)
    matrices = {name: p.detach() for name, p in model.named_parameters() if p.ndim == 2}
    assert len(matrices) == 2 + 4 * 6
    for name, matrix in matrices.items():
        n = matrix.numel()
        assert abs(float(matrix.mean())) < 5 * 0.1 / math.sqrt(n), name
        assert float(matrix.std()) == pytest.approx(0.1, rel=5 / math.sqrt(2 * n)), name
    drawn = torch.cat([matrix.flatten() for matrix in matrices.values()]) / 0.1
    for z, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):  # a normal distribution, neither uniform nor truncated
        assert float((drawn.abs() < z).float().mean()) == pytest.approx(share, abs=0.004)
    assert float(drawn.abs().max()) > 4
    vectors = {name: p.detach() for name, p in model.named_parameters() if p.ndim == 1}
    assert all((vector == (0 if name.endswith("bias") else 1)).all() for name, vector in vectors.items())
    assert len({float(matrix.sum()) for matrix in matrices.values()}) == len(matrices), "no two matrices are alike"


def test_initialization_hangs_on_the_seed_alone(make_decoder: MakeDecoder) -> None:
    torch.manual_seed(0)
    first = make_decoder("base", seed=5).state_dict()
    torch.manual_seed(1)
    torch.rand(3)
    again, other = make_decoder("base", seed=5).state_dict(), make_decoder("base", seed=6).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(not torch.equal(first[name], other[name]) for name in first if first[name].ndim == 2)


def test_initialize_sets_every_weight(make_decoder: MakeDecoder) -> None:
    model = make_decoder("base", seed=5)
    wanted = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
    model.initialize(torch.Generator().manual_seed(5))
    assert all(torch.equal(wanted[name], value) for name, value in model.state_dict().items())


def test_the_range_scales_the_initial_weights(make_decoder: MakeDecoder, smoke: dict[str, Settings]) -> None:
    scale = smoke["cities"].selected
    halved = replace(scale, model=replace(scale.model, initializer_range=0.05))
    big, small = make_decoder("base").lm_head.weight, make_decoder("base", scale=halved).lm_head.weight
    assert torch.allclose(big / 2, small)
