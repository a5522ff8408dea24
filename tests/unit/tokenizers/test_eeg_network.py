"""The network of the EEG tokenizer: what it must not see, what montages it takes, and that causal means causal."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_eeg import telling_labels
from torch import Tensor
from torch.nn import functional

from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.evidence import POWER_FLOOR, Evidence, LogPower
from neuroleon.tokenizers.eeg.network import EEGNetwork, existing_steps, patches

CONFIG = EEGTokenizerConfig(
    sources=4,
    dim=32,
    heads=2,
    encoder_layers=2,
    decoder_layers=2,
    spectral_samples=(200, 800),
    code_dim=8,
    semantic_dim=4,
)
STEP = CONFIG.step_samples
NAMES = ("Fz", "C3", "Cz", "C4", "Pz", "O1", "Oz", "O2")
ALMOST = {"rtol": 0.0, "atol": 1e-9}  # in double precision, where numbers are about 1


def network(**changes: object) -> EEGNetwork:
    torch.manual_seed(0)
    made = telling_labels(EEGNetwork(replace(CONFIG, **changes))).double().eval().requires_grad_(False)
    if made.encoder.context is not None:  # it adds nothing before it has learned
        torch.nn.init.normal_(made.encoder.context.to_semantic.weight, std=0.1)
    return made


@pytest.fixture(scope="module", params=[False, True], ids=["both ways", "causal"])
def either(request: pytest.FixtureRequest) -> EEGNetwork:
    return network(causal=request.param)


@pytest.fixture(scope="module")
def plain() -> EEGNetwork:
    return network()


def signal(n_times: int, n_chans: int = len(NAMES), seed: int = 0) -> Tensor:
    return torch.randn(1, n_chans, n_times, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def places(names: tuple[str, ...] = NAMES) -> Tensor:
    return torch.from_numpy(electrodes(electrode_positions(names)))[None].double()


def encode(
    made: EEGNetwork,
    eeg: Tensor,
    where: Tensor | None = None,
    present: Tensor | None = None,
    n_valid: int | None = None,
) -> Tensor:
    """Latents (n_steps, latent_dim) of one window whose first `n_valid` samples exist."""
    n_times = eeg.shape[-1]
    valid = (torch.arange(n_times) < (n_times if n_valid is None else n_valid))[None]
    present = torch.ones(eeg.shape[:2], dtype=torch.bool) if present is None else present
    return made.encoder(eeg, places() if where is None else where, present, valid)[0]


def padded(eeg: Tensor, n_steps: int, fill: float = 0.0) -> Tensor:
    rest = -eeg.shape[-1] % STEP + n_steps * STEP
    return torch.nn.functional.pad(eeg, (0, rest), value=fill)


def test_channels_that_are_not_present_do_not_matter(either: EEGNetwork) -> None:
    eeg, where, present = signal(400), places(), torch.arange(8)[None] != 3
    filled, moved = eeg.clone(), where.clone()
    filled[:, 3], moved[:, 3] = 1e6, torch.tensor([9.0, -9.0, 9.0, 1.0, 2.0, 3.0, 1.0])
    expected = encode(either, eeg, where, present)
    torch.testing.assert_close(encode(either, filled, moved, present), expected, **ALMOST)
    without = [i for i in range(8) if i != 3]
    torch.testing.assert_close(encode(either, eeg[:, without], where[:, without]), expected, **ALMOST)
    assert not torch.allclose(encode(either, filled, moved), expected)


def test_samples_that_are_not_valid_do_not_matter(either: EEGNetwork) -> None:
    eeg, present = signal(400), torch.ones(1, 8, dtype=torch.bool)
    valid = torch.ones(1, 400, dtype=torch.bool)
    valid[:, 60:110] = valid[:, 390:] = False
    filled = torch.where(valid[:, None], eeg, 1e6)
    one, other = (either.encoder(x, places(), present, valid) for x in (eeg, filled))
    torch.testing.assert_close(one, other, **ALMOST)


@pytest.mark.parametrize("n_times", [50, 88, 400, 430])
@pytest.mark.parametrize("n_steps", [1, 7, 40])
def test_what_is_appended_and_not_valid_changes_no_latent(either: EEGNetwork, n_times: int, n_steps: int) -> None:
    eeg = signal(n_times)
    alone = encode(either, padded(eeg, 0), n_valid=n_times)
    longer = encode(either, padded(eeg, n_steps, fill=7.0), n_valid=n_times)
    torch.testing.assert_close(longer[: len(alone)], alone, **ALMOST)


def test_a_last_step_that_is_not_whole_is_told_from_one_that_ends_in_zeros(plain: EEGNetwork) -> None:
    """By its power; a causal window of power fades to nothing there, and only `EEGTokens.n_times` tells."""
    eeg = padded(signal(88), 0)
    partial, zeros = encode(plain, eeg, n_valid=88), encode(plain, eeg)
    assert partial.shape == (4, CONFIG.latent_dim)
    assert (partial[-1] - zeros[-1]).norm() > 1e-3
    assert existing_steps((torch.arange(100) < 88)[None], STEP).all()
    assert existing_steps((torch.arange(100) < 75)[None], STEP).tolist() == [[True] * 3 + [False]]


def test_the_order_of_channels_does_not_matter(either: EEGNetwork) -> None:
    eeg, where = signal(400), places()
    order = torch.tensor([5, 0, 7, 2, 1, 6, 3, 4])
    torch.testing.assert_close(encode(either, eeg[:, order], where[:, order]), encode(either, eeg, where), **ALMOST)
    assert not torch.allclose(encode(either, eeg[:, order], where), encode(either, eeg, where)), "places do matter"


@pytest.mark.parametrize("n_chans", [1, 2, 256])
def test_any_number_of_channels(plain: EEGNetwork, n_chans: int) -> None:
    directions = torch.randn(1, n_chans, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    where = torch.nn.functional.pad(directions / directions.norm(dim=-1, keepdim=True), (0, 4))
    eeg = signal(200, n_chans)
    latents = encode(plain, eeg, where)
    assert latents.shape == (8, CONFIG.latent_dim)
    assert latents.isfinite().all()
    assert not torch.allclose(encode(plain, -eeg, where), latents), "the signal passes"
    restored = plain.decoder(latents[None], where, torch.ones(1, 8, dtype=torch.bool))
    assert restored.shape == (1, n_chans, 200)
    assert restored.isfinite().all()


def bipolar(anodes: tuple[str, ...], cathodes: tuple[str, ...]) -> Tensor:
    pairs = np.concatenate([electrode_positions(anodes), electrode_positions(cathodes)], axis=1)
    return torch.from_numpy(electrodes(pairs))[None].double()


def test_a_bipolar_electrode_pair_is_decoded_to_the_difference_of_its_electrodes(plain: EEGNetwork) -> None:
    latents = torch.randn(1, 8, CONFIG.latent_dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    exists = torch.ones(1, 8, dtype=torch.bool)
    single = plain.decoder(latents, places(("Fz", "Oz", "C3", "C4")), exists)[0]
    pairs = plain.decoder(latents, bipolar(("Fz", "C3", "Oz"), ("Oz", "C4", "X")), exists)[0]
    torch.testing.assert_close(pairs[0], single[0] - single[1], **ALMOST)
    torch.testing.assert_close(pairs[1], single[2] - single[3], **ALMOST)
    torch.testing.assert_close(pairs[2], single[1], **ALMOST)  # no cathode: the common reference


def test_the_encoder_reads_the_second_electrode_of_a_bipolar_channel(plain: EEGNetwork) -> None:
    eeg, anodes = signal(200, 2), ("Fz", "C3")
    one, other, turned, none = (
        encode(plain, eeg, bipolar(*pair))
        for pair in (
            (anodes, ("Oz", "C4")),
            (anodes, ("Pz", "C4")),
            (("Oz", "C4"), anodes),
            (anodes, ("X", "X")),
        )
    )
    assert not torch.allclose(one, other)
    assert not torch.allclose(one, turned)
    assert not torch.allclose(one, none)
    torch.testing.assert_close(none, encode(plain, eeg, places(anodes)), **ALMOST)


def test_without_a_second_electrode_its_place_means_nothing(plain: EEGNetwork) -> None:
    eeg, where = signal(200), places()
    moved = where.clone()
    moved[..., 3:6] = 0.7
    torch.testing.assert_close(encode(plain, eeg, moved), encode(plain, eeg, where), **ALMOST)
    latents, exists = encode(plain, eeg)[None], torch.ones(1, 8, dtype=torch.bool)
    torch.testing.assert_close(plain.decoder(latents, moved, exists), plain.decoder(latents, where, exists), **ALMOST)


def test_steps_that_do_not_exist_change_nothing_in_the_decoder(plain: EEGNetwork) -> None:
    latents = torch.randn(1, 12, CONFIG.latent_dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    alone = plain.decoder(latents[:, :8], places(), torch.ones(1, 8, dtype=torch.bool))
    longer = plain.decoder(latents, places(), (torch.arange(12) < 8)[None])
    torch.testing.assert_close(longer[..., : 8 * STEP], alone, **ALMOST)


@pytest.mark.parametrize("n_steps", [1, 3, 8, 19, 40])
def test_causal_latents_of_a_prefix_are_the_prefix_of_the_latents(n_steps: int) -> None:
    eeg = signal(1200)
    for causal in (True, False):
        made = network(causal=causal)
        whole, prefix = encode(made, eeg)[:n_steps], encode(made, eeg[..., : n_steps * STEP])
        if causal:
            torch.testing.assert_close(prefix, whole, **ALMOST)
        else:
            assert (prefix - whole)[-1].norm() > 1e-3


def test_a_causal_step_sees_its_own_last_sample() -> None:
    """What it must not see is tested above; this says that it does not wait longer than it has to."""
    made, eeg = network(causal=True), signal(400)
    changed = eeg.clone()
    changed[..., 10 * STEP - 1] += 1.0
    difference = (encode(made, changed) - encode(made, eeg)).norm(dim=-1)
    assert difference[:9].max() < 1e-9
    assert difference[9] > 1e-3


def test_where_a_step_stands_in_its_window_is_in_its_latent(plain: EEGNetwork) -> None:
    one_step = signal(STEP).repeat(1, 1, 160)  # 20 s of one and the same step
    latents = encode(plain, one_step)[60:100]  # far from the ends, which are seen
    assert (latents[1:] - latents[:-1]).norm(dim=-1).min() > 1e-4


@pytest.mark.parametrize("window", [200, 800])
@pytest.mark.parametrize("causal", [False, True])
def test_power_around_a_step_is_that_of_a_plain_fourier_transform(window: int, causal: bool) -> None:
    module = LogPower(replace(CONFIG, causal=causal), window).double().eval()
    field, valid = signal(1000, 36), torch.arange(1000)[None] < 925
    field = field * valid[:, None]
    white = torch.randn(1, 40 if causal else 1, 36, 36, generator=torch.Generator().manual_seed(1)).double()
    power, known = module(field, white, valid)
    found = power[0].reshape(40, 5, module.n_bins)
    hann = torch.hann_window(window).double().numpy()
    for step in (0, 7, 20, 39):
        # long windows are seen anew every half second; when causal, that of the step itself is not yet complete
        block, before = (25, 7 if causal else 4) if window == 200 else (100, 8 if causal else 4)
        first = (step * 25 // block - before) * block
        times = np.arange(first, first + window)
        inside = (times >= 0) & (times < 925)
        frame = np.where(inside, field[0].numpy()[:, times.clip(0, 999)], 0.0) * hann
        assert known[0, step] == ((hann**2)[inside].sum() > (hann**2).sum() / 4)
        if known[0, step]:
            of_frame = white[0, step * 25 // block * block // 25 if causal else 0].numpy() @ frame
            of_places = np.abs(np.fft.rfft(module.places.numpy() @ of_frame))[:, 1 : module.n_bins + 1] ** 2
            of_head = (np.abs(np.fft.rfft(of_frame))[:, 1 : module.n_bins + 1] ** 2).sum(axis=0)
            expected = np.log(np.vstack([of_places, of_head]) / (hann**2)[inside].sum() + POWER_FLOOR)
            np.testing.assert_allclose(found[step].numpy(), expected, atol=1e-9)
    assert bool(known[0, 0]) is not causal, "the window has hardly seen a causal step that is the first"


def test_the_whole_head_is_heard_ten_times_as_loud_in_every_window() -> None:
    """The features of a window are its sources', then the whole head's; those of the next window follow."""
    evidence = Evidence(replace(CONFIG, spectral_samples=(200, 400))).double()
    field = signal(800, 36)
    rhythm = torch.sin(2 * torch.pi * 10 * torch.arange(800) / 200).double()
    changed = field + 3 * torch.outer(signal(1, 36)[0, :, 0], rhythm)[None]
    valid = torch.ones(1, 800, dtype=torch.bool)
    (_, before, _), (_, after, _) = evidence.numbers(field, valid), evidence.numbers(changed, valid)
    assert len(evidence.loudness) == before.shape[-1] == 5 * 45 + 5 * 90
    (loud,) = torch.where(evidence.loudness == 10.0)
    assert loud.tolist() == [*range(4 * 45, 5 * 45), *range(5 * 45 + 4 * 90, 5 * 45 + 5 * 90)]
    louder = (after - before)[0, 16, loud]
    assert louder[:45].argmax() == 10 - 1, "bins of 1 Hz, from 1 Hz on"
    assert louder[45:].argmax() == 20 - 1, "bins of half a hertz"
    assert evidence.frequency.shape == evidence.loudness.shape
    assert evidence.frequency.bincount().tolist() == [5] * (45 + 90), "each of four places and of the head"
    at = evidence.frequency.bincount(weights=(after - before)[0, 16])
    assert (at[:45].argmax(), at[45:].argmax()) == (10 - 1, 20 - 1)


def test_power_is_told_from_the_background_of_the_recording_or_the_usual_one() -> None:
    """Of every place and of the whole head, at the frequencies of every window of power."""
    evidence = Evidence(replace(CONFIG, spectral_samples=(200, 400))).double()
    field, valid = signal(800, 36).repeat(2, 1, 1), torch.ones(2, 800, dtype=torch.bool)
    background = torch.stack([torch.linspace(3.0, -1.0, 45), torch.full((45,), torch.nan)]).double()
    _, alone, _ = evidence.numbers(field, valid, background)
    torch.testing.assert_close(alone[0], alone[1], msg="what was not trained with a background has no use for one")
    usual = torch.linspace(1.0, 2.0, 45)
    evidence.tell_from(usual)
    _, told, _ = evidence.numbers(field, valid, background)
    taken = (alone - told)[:, 16]
    for row, expected in ((0, background[0]), (1, usual.double())):
        whole, halves = taken[row, : 5 * 45].reshape(5, 45), taken[row, 5 * 45 :].reshape(5, 90)
        torch.testing.assert_close(whole, expected.expand(5, -1))
        torch.testing.assert_close(halves[:, 1::2], expected.expand(5, -1))
        torch.testing.assert_close(halves[:, 2::2], ((expected[1:] + expected[:-1]) / 2).expand(5, -1))
        torch.testing.assert_close(halves[:, 0], expected[:1].expand(5), msg="below 1 Hz as at 1 Hz")
    _, unknown, _ = evidence.numbers(field, valid)
    torch.testing.assert_close(unknown[0], told[1])


def test_it_starts_as_principal_components_and_k_means() -> None:
    """What the first components hold comes back from the latents, and codes of several levels come near it."""
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 36 * STEP, generator=rng) * torch.tensor([9.0, 5.0, 3.0, 2.0, 1.0, 0.5])[:, None]
    fields = torch.randn(600, 6, generator=rng) @ mixing / 30
    made = EEGNetwork(replace(CONFIG, codes=64, levels=5))
    made.start_from(fields, torch.zeros(0, 36 * STEP))
    latents = made.encoder.to_waveform(fields)
    made.quantizer.start_from(with_semantic(latents))
    assert latents.var(0).mean().item() == pytest.approx(1.0, rel=0.35)
    assert latents.var(0)[0] < 30 * latents.var(0)[5], "half way to equal parts: the components differ by 300"
    torch.testing.assert_close(made.decoder.from_waveform(latents), fields, atol=1e-3, rtol=1e-3)
    coded = made.decoder.from_waveform(of_codes(made, latents))
    assert (coded - fields).square().mean() < 0.1 * fields.square().mean()
    eeg = signal(8 * STEP).float()
    every = torch.ones(1, len(NAMES), dtype=torch.bool), torch.ones(1, 8 * STEP, dtype=torch.bool)
    of_window = made.eval().encoder(eeg, places().float(), *every)
    field = patches(made.encoder.spatial(eeg, places().float(), every[0]), STEP)
    torch.testing.assert_close(of_window[..., : CONFIG.waveform_dim], made.encoder.to_waveform(field))
    restored = made.decoder(of_window, places().float(), torch.ones(1, 8, dtype=torch.bool))
    expected = made.decoder.from_waveform(of_window[..., : CONFIG.waveform_dim])  # the transformer adds nothing yet
    of_field = expected.unflatten(-1, (36, STEP)).movedim(1, 2).flatten(2)
    torch.testing.assert_close(restored, made.decoder.spatial(of_field, places().float()))


def with_semantic(waveform: Tensor) -> Tensor:
    """Latents (n, latent_dim) whose semantic numbers say nothing."""
    return torch.nn.functional.pad(waveform, (0, 2 * CONFIG.semantic_dim))


def of_codes(made: EEGNetwork, waveform: Tensor, levels: int | None = None) -> Tensor:
    """What codes of the waveform's latents (n, waveform_dim) stand for, of the same shape."""
    codes = made.quantizer.encode(with_semantic(waveform)[None], levels)
    return made.quantizer.lookup(codes)[0, :, : CONFIG.waveform_dim]


def test_what_must_survive_is_in_the_first_code() -> None:
    """A hundredth of the power, which the waveform alone would leave to the last levels."""
    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 36 * STEP, generator=rng) * torch.tensor([9.0, 5.0, 3.0, 2.0, 1.0, 0.8])[:, None]
    sources = torch.randn(2000, 6, generator=rng)
    fields = sources @ mixing / 30
    readout = torch.linalg.pinv(mixing / 30)[:, 5:].mT  # the last source alone
    kept = {}
    for name, rows in (("waveform", readout[:0]), ("meaning", readout)):
        made = EEGNetwork(replace(CONFIG, codes=64, levels=5))
        made.start_from(fields, rows)
        made.quantizer.start_from(with_semantic(made.encoder.to_waveform(fields)))
        first = of_codes(made, made.encoder.to_waveform(fields), levels=1)
        restored = made.decoder.from_waveform(first) @ readout[0]
        kept[name] = float(torch.corrcoef(torch.stack([restored, sources[:, 5]]))[0, 1])
        assert not made.encoder.to_waveform.weight.requires_grad, "training leaves it where it is"
        torch.nn.init.normal_(made.decoder.to_field.parametrizations.weight.original)
        torch.nn.init.normal_(made.decoder.to_field.parametrizations.bias.original)
        hidden = torch.randn(5, CONFIG.dim, generator=rng)
        added = made.decoder.to_field(hidden)
        read = added @ functional.normalize(rows, dim=1).mT
        assert read.norm() <= 1e-5 * added.norm(), "what is read is the codes' alone to say"
        torch.testing.assert_close(made.as_trained().decoder.to_field(hidden), added)
    assert kept["waveform"] < 0.6
    assert kept["meaning"] > 0.9
