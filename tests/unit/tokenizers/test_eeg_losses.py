"""What the EEG tokenizer is trained to give back: golden values, and what must not count."""

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroleon.tokenizers.eeg.losses import STFT_SAMPLES, reconstruction_losses

ALL = {"wave", "amplitude", "phase", "correlation", "whitened"}


def signals(n: int = 2, n_chans: int = 3, n_times: int = 400) -> tuple[Tensor, Tensor]:
    """A target like EEG (a random walk without its mean), and a noisy copy."""
    rng = np.random.default_rng(0)
    walk = rng.standard_normal((n, n_chans, n_times)).cumsum(axis=-1)
    target = (walk - walk.mean(axis=-1, keepdims=True)) / walk.std()
    noisy = 0.7 * target + 0.3 * rng.standard_normal(target.shape)
    return torch.from_numpy(noisy).float(), torch.from_numpy(target).float()


def everything(target: Tensor) -> tuple[Tensor, Tensor]:
    """All channels known, all samples valid."""
    return torch.ones(target.shape[:2], dtype=torch.bool), torch.ones(target.shape[::2], dtype=torch.bool)


def test_what_is_given_back_exactly_costs_nothing() -> None:
    _, target = signals()
    found = reconstruction_losses(target, target, *everything(target))
    assert found.keys() == ALL
    assert all(abs(found[name].item()) < 1e-4 for name in ALL - {"phase"}), found
    assert 0 <= found["phase"] < 0.1  # bins without power have no phase
    noisy = reconstruction_losses(signals()[0], target, *everything(target))
    assert all(noisy[name] > 0.05 + 2 * found[name] for name in ALL), noisy


def test_unknown_channels_and_invalid_samples_do_not_count() -> None:
    predicted, target = signals()
    known, valid = everything(target)
    known[0, 2] = known[1, 0] = False
    valid[0, 300:] = valid[1, 50:75] = False
    expected = reconstruction_losses(predicted, target, known, valid)
    counts = known[..., None] & valid[:, None]
    rng = torch.Generator().manual_seed(1)
    for filled in ((predicted, 100 * torch.randn(target.shape, generator=rng)), (torch.full_like(target, 7.0), target)):
        given = [torch.where(counts, x, other) for x, other in zip((predicted, target), filled, strict=True)]
        found = reconstruction_losses(*given, known, valid)
        for name in ALL:
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)
    every = reconstruction_losses(predicted, target, *everything(target))
    assert all(every[name] != expected[name] for name in ALL)


def test_a_window_in_a_longer_batch_costs_what_it_costs_alone() -> None:
    predicted, target = signals(n=1)
    known, valid = everything(target)
    alone = reconstruction_losses(predicted, target, known, valid)
    longer = [torch.nn.functional.pad(x, (0, 800), value=3.0) for x in (predicted, target)]
    found = reconstruction_losses(*longer, known, torch.nn.functional.pad(valid, (0, 800)))
    for name in ALL:
        assert found[name].item() == pytest.approx(alone[name].item(), rel=0.05), name


@pytest.mark.parametrize("n_times", [25, 50, 100])
def test_windows_shorter_than_the_longest_spectrum_have_losses_too(n_times: int) -> None:
    predicted, target = signals(n_times=n_times)
    found = reconstruction_losses(predicted.requires_grad_(), target, *everything(target))
    torch.stack(list(found.values())).sum().backward()
    assert all(value.isfinite() for value in found.values())
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_correlation_is_pearsons_over_the_samples_that_are_there() -> None:
    predicted, target = signals()
    known, valid = everything(target)
    valid[0, 250:] = False
    found = reconstruction_losses(predicted, target, known, valid)["correlation"].item()
    pearson = [
        np.corrcoef(predicted[i, c, : (250, 400)[i]], target[i, c, : (250, 400)[i]])[0, 1]
        for i in range(2)
        for c in range(3)
    ]
    assert found == pytest.approx(1 - np.mean(pearson), abs=1e-4)
    moved = reconstruction_losses(3 * predicted + 5, target, known, valid)["correlation"].item()
    assert moved == pytest.approx(found, abs=1e-3), "neither gain nor offset"
    opposite = reconstruction_losses(-target, target, known, valid)["correlation"].item()
    assert opposite == pytest.approx(2, abs=1e-3)


def test_the_whitened_correlation_hears_fast_rhythms_as_well_as_slow_ones() -> None:
    predicted, target = signals()
    known, valid = everything(target)
    valid[0, 250:] = False
    flat = [[x[i, c, : (250, 400)[i]].numpy() for i in range(2) for c in range(3)] for x in (predicted, target)]
    pearson = [np.corrcoef(a[1:] - 0.9 * a[:-1], b[1:] - 0.9 * b[:-1])[0, 1] for a, b in zip(*flat, strict=True)]
    found = reconstruction_losses(predicted, target, known, valid)
    assert found["whitened"].item() == pytest.approx(1 - np.mean(pearson), abs=1e-3)
    time = torch.arange(400) / 200
    slow, fast = (torch.sin(2 * torch.pi * hertz * time)[None, None] for hertz in (2, 40))
    lost = reconstruction_losses(slow, slow + 0.1 * fast, *everything(slow))
    assert lost["correlation"] < 0.02
    assert lost["whitened"] > 0.2


def test_the_wave_loss_is_the_smooth_distance() -> None:
    predicted, target = signals()
    known, valid = everything(target)
    valid[:, 100:] = False
    difference = (predicted - target)[..., :100].abs().numpy()
    expected = np.where(difference < 1, difference**2 / 2, difference - 0.5).mean()
    found = reconstruction_losses(predicted, target, known, valid)["wave"].item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_amplitude_and_phase_are_those_of_plain_spectra() -> None:
    predicted, target = signals(n=1, n_chans=1)
    amplitude, phase = [], []
    for n_fft in STFT_SAMPLES:
        hann = np.hanning(n_fft + 1)[:-1] / np.sqrt(n_fft)
        a, b = (
            np.stack([np.fft.rfft(padded[i : i + n_fft] * hann) for i in range(0, 401, n_fft // 4)])
            for padded in (np.pad(x[0, 0].numpy().astype(np.float64), n_fft // 2) for x in (predicted, target))
        )
        amplitude.append(np.abs(np.log(np.abs(a) + 0.1) - np.log(np.abs(b) + 0.1)).mean())
        cosine = (a * b.conj()).real / (np.abs(a) * np.abs(b) + 1e-3)
        phase.append(((1 - cosine) * np.abs(b)).sum() / np.abs(b).sum())  # loud bins of the target count
    found = reconstruction_losses(predicted, target, *everything(target))
    assert found["amplitude"].item() == pytest.approx(np.mean(amplitude), rel=1e-4)
    assert found["phase"].item() == pytest.approx(np.mean(phase), rel=1e-4)


def test_phase_sees_a_shift_and_not_a_gain_and_amplitude_the_other_way_round() -> None:
    wave = torch.sin(2 * torch.pi * 10 * torch.arange(400) / 200)[None, None]
    rest = everything(wave)
    same, gain, shifted = (reconstruction_losses(x, wave, *rest) for x in (wave, wave * 2, wave.roll(10, -1)))
    assert gain["phase"] < 0.05
    assert shifted["phase"] > 1.5  # half a period
    assert gain["amplitude"] > same["amplitude"] + 0.1
    assert gain["amplitude"] > 3 * shifted["amplitude"]


def test_silence_has_a_gradient() -> None:
    _, target = signals()
    silence = torch.zeros_like(target).requires_grad_()
    found = reconstruction_losses(silence, target, *everything(target))
    torch.stack(list(found.values())).sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()
    assert silence.grad.norm() > 0
