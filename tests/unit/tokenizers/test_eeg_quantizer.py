"""The quantizers of the EEG tokenizer: codes and vectors agree, levels are prefixes, gradients pass to the semantic
part alone, codes live."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from torch import Tensor

from neuroleon.common.errors import ConfigError
from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.tokenizers.eeg.config import SEMANTIC, EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.quantizer import EEGQuantizer

CVEP = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cvep20" / "cvep20.npz"
LEVELS = 6
RVQ = EEGTokenizerConfig(
    dim=32, heads=2, sources=4, encoder_layers=1, levels=LEVELS, codes=32, code_dim=8, semantic_dim=6
)
CONFIGS = {
    "rvq": RVQ,
    "vq": replace(RVQ, quantizer="vq"),
    "fsq": replace(RVQ, quantizer="fsq", codes=1024, code_dim=5),
}


def vectors(config: EEGTokenizerConfig, n: int, seed: int = 0) -> Tensor:
    """Latents (n, D) whose numbers differ in size, as those of an encoder do."""
    size = torch.linspace(2.0, 0.3, config.latent_dim)
    return torch.randn(n, config.latent_dim, generator=torch.Generator().manual_seed(seed)) * size


def encode(quantizer: EEGQuantizer, latents: Tensor, levels: int | None = None) -> Tensor:
    """Codes (n, levels) of vectors (n, D)."""
    return quantizer.encode(latents[None], levels)[0]


def kept(n: int, levels: int = LEVELS) -> Tensor:
    return torch.full((n,), levels)


@pytest.fixture(scope="module", params=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> EEGTokenizerConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def quantizer(config: EEGTokenizerConfig) -> EEGQuantizer:
    """Its codebooks have seen more vectors than they have codes: of fewer, codes would come out alike."""
    torch.manual_seed(0)
    made, n = EEGQuantizer(config).train(), max(512, 4 * config.codes)
    for _ in range(3):
        made(vectors(config, n), kept(n))
    return made.eval()


def test_use_gives_the_codes_of_training(config: EEGTokenizerConfig, quantizer: EEGQuantizer) -> None:
    latents = vectors(config, 300, seed=1)
    trained = quantizer(latents, kept(300))
    codes = encode(quantizer, latents.double())
    assert codes.shape == (300, LEVELS)
    assert codes.dtype == torch.int64
    assert (0 <= codes.min()) & (codes.max() < config.codes)
    assert (codes == trained.codes).double().mean() > 0.999  # a tie may fall otherwise in single precision
    assert all(len(codes[:, level].unique()) > 10 for level in range(LEVELS))
    as_windows = quantizer.encode(latents.double().reshape(3, 100, -1))
    assert torch.equal(as_windows.flatten(0, 1), codes)


def test_a_code_stands_for_the_vector_that_training_gave_the_decoder(
    config: EEGTokenizerConfig, quantizer: EEGQuantizer
) -> None:
    latents = vectors(config, 200, seed=2)
    for levels in range(1, LEVELS + 1):
        trained = quantizer(latents, kept(200, levels))
        prefix = encode(quantizer, latents, levels)
        assert prefix.shape == (200, levels)
        assert torch.equal(prefix, trained.codes[:, :levels])
        torch.testing.assert_close(quantizer.lookup(prefix), trained.latents)
    torch.testing.assert_close(quantizer.lookup(trained.codes)[:, config.waveform_dim :], trained.semantic)


def test_each_vector_keeps_as_many_levels_as_it_is_told(config: EEGTokenizerConfig, quantizer: EEGQuantizer) -> None:
    latents, keep = vectors(config, 80, seed=3), torch.arange(80) % LEVELS + 1
    mixed = quantizer(latents, keep)
    for levels in range(1, LEVELS + 1):
        rows = keep == levels
        torch.testing.assert_close(mixed.latents[rows], quantizer(latents, kept(80, levels)).latents[rows])
    assert torch.equal(mixed.codes, quantizer(latents, kept(80)).codes), "the codes are those of all levels"


def test_training_gives_the_vectors_that_use_will_look_up(config: EEGTokenizerConfig, quantizer: EEGQuantizer) -> None:
    """With gradients the rotation trick writes the vector as a rotated latent; its value must stay the code's."""
    torch.manual_seed(0)
    made = EEGQuantizer(config).train()
    made(vectors(config, 512), kept(512))
    before = [made.vectors(level).clone() for level in range(LEVELS)]
    trained = made(vectors(config, 100, seed=4).requires_grad_(), kept(100))
    expected = torch.zeros(100, config.latent_dim)
    for level, place in enumerate(config.coded):
        expected[:, place] += before[level][trained.codes[:, level]]
    torch.testing.assert_close(trained.latents.detach(), expected, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_semantic_part_alone(config: EEGTokenizerConfig) -> None:
    torch.manual_seed(0)
    made = EEGQuantizer(config).train()
    made(vectors(config, 512), kept(512))
    for part in ("latents", "semantic", "commitment"):
        latents = vectors(config, 60, seed=5).requires_grad_()
        result = getattr(made(latents, kept(60)), part)
        towards = torch.randn(result.shape, generator=torch.Generator().manual_seed(6))
        (result * towards).sum().backward()
        assert latents.grad is not None
        assert latents.grad.isfinite().all()
        for level in SEMANTIC:
            assert (latents.grad[:, config.coded[level]].norm(dim=1) > 0).all(), part
        assert not latents.grad[:, : config.waveform_dim].any(), part


def test_a_semantic_level_that_is_dropped_passes_no_gradient_of_the_latents(config: EEGTokenizerConfig) -> None:
    torch.manual_seed(0)
    made = EEGQuantizer(config).train()
    made(vectors(config, 512), kept(512))
    latents = vectors(config, 60, seed=5).requires_grad_()
    keep = torch.arange(60) % LEVELS + 1
    made(latents, keep).latents.sum().backward()
    assert latents.grad is not None
    for level in SEMANTIC:
        assert torch.equal(latents.grad[:, config.coded[level]].any(dim=1), keep > level)


@pytest.mark.parametrize("level", SEMANTIC)
def test_the_gradient_is_rotated(level: int) -> None:
    """The rotation trick (Fifty et al. 2024): as the latent is turned onto its code and scaled, so is the gradient."""
    torch.manual_seed(0)
    made, place = EEGQuantizer(RVQ).train(), RVQ.coded[level]
    made(vectors(RVQ, 512), kept(512))
    latents = vectors(RVQ, 60, seed=7).requires_grad_()
    result = made(latents, kept(60)).latents[:, place]
    towards = torch.randn(result.shape, generator=torch.Generator().manual_seed(8))
    (result * towards).sum().backward()
    assert latents.grad is not None
    given, gradient = (x[:, place] for x in (latents.detach(), latents.grad))
    result = result.detach()
    ratio = result.norm(dim=1) / given.norm(dim=1)
    torch.testing.assert_close(gradient.norm(dim=1), ratio * towards.norm(dim=1), rtol=1e-3, atol=1e-4)
    # along the latent it is what `towards` is along the code
    along = (gradient * given).sum(1) / given.norm(dim=1)
    expected = ratio * (towards * result).sum(1) / result.norm(dim=1)
    torch.testing.assert_close(along, expected, rtol=1e-3, atol=1e-3)


def test_each_residual_level_lowers_the_error() -> None:
    torch.manual_seed(0)
    made, seen = EEGQuantizer(RVQ).train(), vectors(RVQ, 512)
    for _ in range(10):
        made(seen, kept(512))
    made.eval()
    parts = {"waveform": slice(0, RVQ.waveform_dim), **{str(level): RVQ.coded[level] for level in SEMANTIC}}
    errors = {name: [seen[:, place].square().mean().item()] for name, place in parts.items()}
    for levels in range(1, LEVELS + 1):
        error = (seen - made.lookup(encode(made, seen, levels))).square()
        for name, place in parts.items():
            errors[name].append(error[:, place].mean().item())
    for name, found in errors.items():
        codes_it = [str(level) == name if level in SEMANTIC else name == "waveform" for level in range(LEVELS)]
        for coded, before, after in zip(codes_it, found, found[1:], strict=False):
            assert after < before - 0.02 * found[0] if coded else after == pytest.approx(before), (name, found)
    assert errors["waveform"][-1] < 0.2 * errors["waveform"][0]


def test_vectors_that_are_set_are_the_vectors(config: EEGTokenizerConfig, quantizer: EEGQuantizer) -> None:
    torch.manual_seed(1)
    other = EEGQuantizer(config).eval()
    for level, place in enumerate(config.coded):
        assert quantizer.vectors(level).shape == (config.codes, place.stop - place.start)
        other.set_vectors(level, quantizer.vectors(level))
    assert torch.equal(other.summands, quantizer.summands)
    latents = vectors(config, 200, seed=9)
    assert torch.equal(encode(other, latents), encode(quantizer, latents))
    trained = other(latents, kept(200))  # does not start anew from its first data
    assert torch.equal(other.summands, quantizer.summands)
    assert torch.equal(trained.codes, encode(quantizer, latents))


def test_finite_scalars_have_one_code_for_each_of_their_values() -> None:
    codebook = EEGQuantizer(CONFIGS["fsq"]).vectors(0)
    assert len(codebook.unique(dim=0)) == 1024
    assert codebook.unique().numel() == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantizer": "lfq"}, "expected rvq, vq or fsq"),
        ({"quantizer": "fsq"}, "1024 codes of 5 numbers"),
        ({"levels": 2}, "levels must be at least 3"),
        ({"codes": 0}, "at least 1"),
        ({"heads": 5}, "multiple of heads"),
        ({"spectral_samples": (200, 700)}, "multiples of 8 steps"),
        ({"scale_min_uV": 0.0}, "scale_min_uV"),
    ],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(RVQ, **change)


@pytest.fixture(scope="module")
def real_latents() -> Tensor:
    """6400 latents of 2 s windows of real EEG, from an untrained encoder."""
    if not CVEP.is_file():
        pytest.skip("the shared data is absent")
    with np.load(CVEP) as data:
        eeg, names = resample_poly(data["x"].astype(np.float32), 5, 6, axis=-1)[..., :400], data["ch"].tolist()
    eeg = torch.from_numpy(eeg / (np.diff(np.percentile(eeg, [25, 75])) / 1.349)).float()
    torch.manual_seed(0)
    encoder = EEGNetwork(replace(RVQ, decoder_layers=1, code_dim=16, semantic_dim=16)).encoder.eval()
    torch.nn.init.normal_(encoder.context.to_semantic.weight)
    places = torch.from_numpy(electrodes(electrode_positions(names)))[None].expand(100, -1, -1)
    everything = torch.ones(100, 8, dtype=torch.bool), torch.ones(100, 400, dtype=torch.bool)
    with torch.no_grad():
        return torch.cat([encoder(part, places, *everything).flatten(0, 1) for part in eeg.split(100)])


N_CODES = 512


def updated(latents: Tensor) -> tuple[EEGQuantizer, float]:
    """A codebook after 50 batches of about as many vectors as it has codes; share of codes that a last update moves
    by more than a quarter of the spread of the latents."""
    torch.manual_seed(1)
    made = EEGQuantizer(replace(RVQ, levels=3, codes=N_CODES, code_dim=16, semantic_dim=16)).train()
    rng = torch.Generator().manual_seed(2)
    for _ in range(50):
        made(latents[torch.randint(len(latents), (N_CODES,), generator=rng)], kept(N_CODES, 3))
    before = made.vectors(0).clone()
    made(latents[torch.randint(len(latents), (N_CODES,), generator=rng)], kept(N_CODES, 3))
    moved = (made.vectors(0) - before).norm(dim=1) > latents[:, :16].std(0).norm() / 4
    return made.eval(), moved.double().mean().item()


def test_codes_are_used_and_stay_where_they_are(real_latents: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the usual threshold of two vectors in each batch, most codes are drawn anew in every update."""
    made, moved = updated(real_latents)
    codes = encode(made, real_latents)
    assert all(len(codes[:, level].unique()) > 0.9 * N_CODES for level in range(3))
    assert moved < 0.05
    monkeypatch.setattr("neuroleon.tokenizers.eeg.quantizer.DEAD_SHARE", 2.0)  # of a fair share of one vector
    usual, moved_usually = updated(real_latents)
    assert moved_usually > 0.3, "this test would not notice the fault that it is for"
    error, usual_error = ((real_latents - m.lookup(encode(m, real_latents))).square().mean() for m in (made, usual))
    assert error < 0.9 * usual_error


@pytest.mark.parametrize("kind", ["rvq", "vq"])
def test_it_starts_as_k_means_of_what_the_levels_before_left(kind: str) -> None:
    config = CONFIGS[kind]
    made, latents = EEGQuantizer(config), vectors(config, 400)
    made.start_from(latents)
    codes = made.encode(latents[None])
    left = [latents, *(latents - made.lookup(codes[..., :k])[0] for k in range(1, LEVELS + 1))]
    for place, (before, after) in zip(config.coded, pairwise(left), strict=True):
        assert after[:, place].square().mean() < 0.95 * before[:, place].square().mean()
    before = made.summands.clone()
    made.eval()(latents, kept(400))
    assert torch.equal(made.summands, before), "nothing starts them anew"


def test_few_latents_start_every_code() -> None:
    made = EEGQuantizer(RVQ)
    made.start_from(vectors(RVQ, 5))
    assert made.summands.isfinite().all()


def test_of_equal_codes_the_first_is_taken() -> None:
    """Wherever a step stands: rounding would else decide, and the ids of a part not be those of the whole."""
    made, latents = EEGQuantizer(RVQ), vectors(RVQ, 64)
    made.start_from(latents)
    book = made.vectors(0).clone()
    book[16:32] = book[:16]
    made.set_vectors(0, book)
    assert encode(made, latents.double())[:, 0].max() < 16
