"""The transformer: packing, positions, cache, embeddings, the start of training."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from neuroleon.common.errors import CheckpointError, ConfigError
from neuroleon.model.config import PRESETS, ModelConfig, preset
from neuroleon.model.embed import Codebook
from neuroleon.model.flops import block_parameters, forward_flops_per_token, parameter_counts, train_flops_per_token
from neuroleon.model.transformer import Cache, Neuroleon
from neuroleon.model.weights import load_model, save_model

CONFIG = ModelConfig(dim=64, depth=3, heads=4, kv_heads=2, dim_head=16, max_length=64)
N_IDS = 128
BOOKS = {32: torch.randn(16, 5, generator=torch.Generator().manual_seed(1)) + 3, 64: torch.randn(24, 3)}


def stirred(config: ModelConfig = CONFIG, codebooks: dict[int, Tensor] = BOOKS, slots: int = 4) -> Neuroleon:
    """A model whose every weight takes part (at the start, output projections and head are 0)."""
    torch.manual_seed(0)
    model = Neuroleon(config, N_IDS, codebooks, slots={max(codebooks): slots}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def some_ids(*shape: int) -> Tensor:
    return torch.randint(0, N_IDS, shape, generator=torch.Generator().manual_seed(2))


def test_packed_documents_equal_separate_documents() -> None:
    model = stirred()
    lengths = (7, 12, 5)
    parts = [some_ids(1, n) + i for i, n in enumerate(lengths)]
    parts = [p % N_IDS for p in parts]
    documents = torch.cat([torch.full((n,), i) for i, n in enumerate(lengths)])[None]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    with torch.no_grad():
        packed = model(torch.cat(parts, dim=1), positions, documents)
        separate = torch.cat([model(p) for p in parts], dim=1)
    torch.testing.assert_close(packed, separate, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, ModelConfig(dim=32, depth=2, heads=2, kv_heads=1, dim_head=16)])
def test_cached_forward_equals_full_forward(config: ModelConfig) -> None:
    model = stirred(config)
    ids = some_ids(2, 20)
    with torch.no_grad():
        full = model(ids)
        logits, cache = model(ids[:, :9], return_cache=True)
        pieces = [logits]
        for start, stop in ((9, 10), (10, 15), (15, 16), (16, 20)):  # single tokens and chunks
            logits, cache = model(ids[:, start:stop], cache=cache, return_cache=True)
            pieces.append(logits)
    assert cache.length == 20
    torch.testing.assert_close(torch.cat(pieces, dim=1), full, atol=1e-5, rtol=1e-5)


def test_left_padded_rows_with_a_cache_equal_single_rows() -> None:
    model = stirred()
    ids = some_ids(2, 12)
    pad = 4  # row 1 lacks its first 4 tokens
    documents = torch.zeros(2, 12, dtype=torch.long)
    documents[1, :pad] = -1
    positions = torch.stack([torch.arange(12), (torch.arange(12) - pad).clamp_min(0)])
    with torch.no_grad():
        _, cache = model(ids[:, :8], positions[:, :8], documents[:, :8], return_cache=True)
        assert isinstance(cache, Cache)
        swapped = cache.select(torch.tensor([1, 0]))
        step = model(ids[[1, 0], 8:], positions[[1, 0], 8:], documents[[1, 0], 8:], cache=swapped)
        alone = [model(ids[1:, pad:])[:, -4:], model(ids[:1])[:, -4:]]
    torch.testing.assert_close(step, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_logits_only_where_asked_equal_those_of_all_positions() -> None:
    model, ids = stirred(), some_ids(2, 10)
    where = torch.rand(2, 10, generator=torch.Generator().manual_seed(3)) < 0.4
    torch.testing.assert_close(model(ids, where=where), model(ids)[where])


def test_the_future_does_not_reach_the_past() -> None:
    model, ids = stirred(), some_ids(1, 10)
    changed = ids.clone()
    changed[0, 6] = (changed[0, 6] + 1) % N_IDS
    before, after = model(ids), model(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6])
    assert not torch.allclose(before[:, 6:], after[:, 6:])


def test_the_start_is_uniform_and_has_no_bias() -> None:
    model = Neuroleon(CONFIG, N_IDS, BOOKS)
    assert torch.count_nonzero(model(some_ids(1, 5))) == 0
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    hidden, _ = model._hidden(some_ids(1, 5), None, None, None, False)
    torch.testing.assert_close(hidden, model.blocks.final_norm(model.embed(some_ids(1, 5))))  # blocks are the identity
    inner = [m.weight for m in model.blocks.modules() if isinstance(m, nn.Linear) and m.weight.any()]
    assert all(abs(weight.std().item() - CONFIG.init_std) < 0.003 for weight in inner)
    assert model.embed.free.std().item() == pytest.approx(CONFIG.init_std, rel=0.1)
    assert model.embed(torch.arange(32, 48)).std().item() == pytest.approx(CONFIG.init_std, rel=0.3)


def test_codebook_ids_start_where_their_vectors_are() -> None:
    model = Neuroleon(CONFIG, N_IDS, {32: torch.tensor([[0.0, 1.0], [0.01, 1.0], [5.0, -2.0], [-4.0, 7.0]])})
    first, near, far, _ = model.embed(torch.arange(32, 36))
    assert (first - near).norm() < 0.05 * (first - far).norm()
    names = dict(model.named_parameters())
    assert "embed.codebooks.0.delta" in names
    assert "embed.codebooks.0.table" not in names
    assert model.embed.free.shape == (N_IDS - 4, CONFIG.dim)


def in_slots(n_slots: int = 3, codes: int = 4) -> Neuroleon:
    """Ids 32 .. 43 are three residual levels; the model's other weights are far from their start."""
    return stirred(codebooks={32: torch.randn(n_slots * codes, 5)}, slots=n_slots)


def test_the_last_id_of_a_step_is_embedded_as_the_whole_latent() -> None:
    model = in_slots()
    (book,) = model.embed.codebooks
    ids = torch.tensor([3, 33, 38, 40, 35, 36, 43, 7, 39])  # text, a step, a step, text, an id without those before it
    parts = {i: [k] for i, k in enumerate([1, 6, 8], start=1)} | {2: [1, 6], 3: [1, 6, 8], 5: [3, 4], 6: [3, 4, 11]}
    parts |= {4: [3], 8: [7]}
    found = model.embed(ids)
    for place, local in parts.items():
        last = local[-1]
        expected = book.projection(book.table[local].sum(0)) + book.slot[last // 4] + book.delta[last]
        torch.testing.assert_close(found[place], expected)
    torch.testing.assert_close(found[0], model.embed(ids[:1])[0])
    apart = model.embed(ids, torch.tensor([0, 0, 1, 1, 1, 1, 1, 1, 1]))
    torch.testing.assert_close(apart[2], model.embed(ids[2:])[0])


def test_levels_keep_their_proportions() -> None:
    coarse = torch.randn(4, 5)
    model = Neuroleon(CONFIG, N_IDS, {32: torch.cat([coarse, 0.1 * coarse + 3])}, slots={32: 2})
    table = model.embed.codebooks[0].table
    torch.testing.assert_close(table[4:], 0.1 * table[:4], atol=1e-5, rtol=0)
    assert table.square().mean().item() * 2 == pytest.approx(1.0)


def test_columns_that_only_some_slots_describe_are_heard_as_loud_as_the_others() -> None:
    """Small numbers in columns of their own are scaled by themselves, and columns that nobody describes stay 0."""
    rng, table = np.random.default_rng(0), np.zeros((3, 16, 9), np.float32)
    table[0, :, :4], table[2, :, :4] = rng.normal(size=(16, 4)), rng.normal(size=(16, 4)) / 2
    table[1, :, 4:7] = 0.01 * rng.normal(size=(16, 3)) + 5.0
    found = Codebook(0, torch.from_numpy(table.reshape(48, 9)), 3, 8).table.reshape(3, 16, 9)
    variance = found.square().mean(dim=1).sum(dim=0)
    assert variance[:4].mean().item() == pytest.approx(1.0, abs=1e-4)
    assert variance[4:7].mean().item() == pytest.approx(1.0, abs=1e-4)
    assert not found[..., 7:].any()
    assert found[2, :, :4].std() < found[0, :, :4].std(), "levels of the same columns keep their proportions"


def test_steps_are_embedded_alike_whole_and_through_the_cache() -> None:
    model = in_slots()
    ids = torch.tensor([[3, 33, 38, 40, 35, 36, 43, 7], [33, 38, 40, 35, 36, 43, 33, 39]])
    full = model(ids)
    pieces, cache = [], None
    with torch.no_grad():
        for t in range(ids.shape[1]):
            logits, cache = model(ids[:, t : t + 1], cache=cache, return_cache=True)
            pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), full, atol=1e-5, rtol=1e-5)


def test_every_id_has_its_own_embedding() -> None:
    vectors = stirred().embed(torch.arange(N_IDS))
    assert len(torch.unique(vectors, dim=0)) == N_IDS


def test_every_parameter_gets_a_gradient() -> None:
    model = stirred()
    ids = torch.arange(N_IDS)[None]
    torch.nn.functional.cross_entropy(model(ids)[0], ids[0]).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_copy_has_its_own_weights() -> None:
    """An averaged copy of the weights must not follow the live ones (x-transformers' tied head does)."""
    model = stirred()
    twin, ids = copy.deepcopy(model), some_ids(1, 4)
    expected = model(ids).detach()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    torch.testing.assert_close(twin(ids), expected)


def test_dropout_acts_in_training_only() -> None:
    model = stirred(ModelConfig(dim=64, depth=2, heads=4, kv_heads=2, dim_head=16, dropout=0.5))
    ids = some_ids(1, 6)
    torch.testing.assert_close(model(ids), model(ids))
    model.train()
    assert not torch.allclose(model(ids), model(ids))


def test_a_saved_model_gives_the_same_logits(tmp_path) -> None:
    model, ids = stirred(), some_ids(1, 9)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.config == model.config
    assert torch.equal(again(ids), model(ids))
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(tmp_path)


def test_a_model_saved_in_half_precision_keeps_its_positions(tmp_path) -> None:
    model = stirred()
    save_model(copy.deepcopy(model).half(), tmp_path)
    again = load_model(tmp_path)
    assert again.head.weight.dtype == torch.float32
    assert torch.equal(again.blocks.rotary_pos_emb.inv_freq, model.blocks.rotary_pos_emb.inv_freq)


def test_a_saved_model_with_a_missing_weight_is_refused(tmp_path) -> None:
    save_model(stirred(), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("head.weight")
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"head\.weight"):
        load_model(tmp_path)


def test_presets_have_the_size_of_their_name() -> None:
    expected = {"nano": 2e6, "7m": 7e6, "60m": 60e6, "350m": 300e6, "1b": 1e9, "7b": 7e9}
    for name, size in expected.items():
        assert block_parameters(PRESETS[name]) == pytest.approx(size, rel=0.12), name
    assert (preset("350m").depth, preset("350m").dim) == (24, 1024)
    with pytest.raises(ConfigError, match="nano"):
        preset("huge")


def test_counts_match_the_model() -> None:
    model = Neuroleon(CONFIG, N_IDS, BOOKS)
    matrices = sum(m.weight.numel() for m in model.blocks.modules() if isinstance(m, nn.Linear))
    assert matrices == block_parameters(CONFIG)
    counts = parameter_counts(model)
    assert counts["total"] == sum(p.numel() for p in model.parameters())
    one = forward_flops_per_token(CONFIG, N_IDS, 1)
    assert one == 2 * (matrices + model.head.weight.numel()) + 4 * CONFIG.depth * CONFIG.heads * CONFIG.dim_head
    assert train_flops_per_token(CONFIG, N_IDS, 1) == 3 * one


@pytest.mark.parametrize(
    "wrong", [{"heads": 6, "kv_heads": 4}, {"dim_head": 15}, {"dropout": 1.0}, {"depth": 0}, {"init_std": 0.0}]
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        ModelConfig(**wrong)


def test_overlapping_codebooks_are_refused() -> None:
    with pytest.raises(ConfigError, match="overlaps"):
        Neuroleon(CONFIG, N_IDS, {32: torch.randn(16, 2), 40: torch.randn(16, 2)})
    with pytest.raises(ConfigError, match="vocabulary"):
        Neuroleon(CONFIG, N_IDS, {120: torch.randn(16, 2)})
    with pytest.raises(ConfigError, match="slots"):
        Neuroleon(CONFIG, N_IDS, {32: torch.randn(16, 2)}, slots={32: 3})
