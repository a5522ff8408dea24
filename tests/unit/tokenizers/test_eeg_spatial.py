"""Electrodes to the field on the head and back: harmonics, what the channels say of them, and what they leave open."""

import mne
import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.special import sph_harm_y
from torch import Tensor

from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.tokenizers.eeg.spatial import (
    DEGREE,
    HARMONICS,
    LEAST_VARIANCE,
    NOISE,
    SpatialDecoder,
    SpatialEncoder,
    evenly,
    harmonics,
    whitening,
)

NAMES = (
    "Fp1",
    "Fp2",
    "F7",
    "F3",
    "Fz",
    "F4",
    "F8",
    "T7",
    "C3",
    "Cz",
    "C4",
    "T8",
    "P7",
    "P3",
    "Pz",
    "P4",
    "P8",
    "O1",
    "O2",
)
DEGREES = np.array([n for n in range(DEGREE + 1) for _ in range(2 * n + 1)])


def places(names: tuple[str, ...] = NAMES) -> Tensor:
    return torch.from_numpy(electrodes(electrode_positions(names)))[None].double()


def everything(n_chans: int) -> Tensor:
    return torch.ones(1, n_chans, dtype=torch.bool)


def field(n_times: int = 300) -> Tensor:
    """Coefficients of smooth fields, (1, K, n_times)."""
    sizes = torch.from_numpy(1 / np.maximum(DEGREES * (DEGREES + 1), 1) ** 2)
    rng = torch.Generator().manual_seed(0)
    return sizes[:, None] * torch.randn(1, HARMONICS, n_times, generator=rng, dtype=torch.float64)


def test_harmonics_are_those_of_scipy() -> None:
    where = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = (where / where.norm(dim=-1, keepdim=True)).numpy()
    colatitude, longitude = np.arccos(unit[:, 2]), np.arctan2(unit[:, 1], unit[:, 0])
    columns = []
    for n in range(DEGREE + 1):
        for m in range(-n, n + 1):
            value = np.sqrt(4 * np.pi) * sph_harm_y(n, abs(m), colatitude, longitude)
            part = value.real if m >= 0 else value.imag
            columns.append(part * (np.sqrt(2) * (-1) ** m if m else 1))  # without the Condon-Shortley phase
    np.testing.assert_allclose(harmonics(where).numpy(), np.stack(columns, axis=1), atol=1e-12)


def test_the_coefficients_are_the_posterior_mean_of_a_gaussian_field() -> None:
    """The other form of the same estimate: covariance of channels, not precision of coefficients."""
    rng = np.random.default_rng(0)
    eeg, seen = rng.standard_normal((19, 40)), harmonics(places()[0, :, :3]).numpy()
    prior = np.diag(1 / np.maximum(DEGREES * (DEGREES + 1), 1))
    expected = prior @ seen.T @ np.linalg.solve(seen @ prior @ seen.T + NOISE * np.eye(19), eeg)
    found = SpatialEncoder()(torch.from_numpy(eeg)[None], places(), everything(19))[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-10)


def test_a_smooth_field_comes_back_where_it_was_recorded_and_where_it_was_not() -> None:
    cap = tuple(mne.channels.make_standard_montage("biosemi64").ch_names)
    eeg, elsewhere = (SpatialDecoder()(field(), where) for where in (places(cap), places()))
    found = SpatialEncoder()(eeg, places(cap), everything(len(cap)))
    for where, truth in ((places(cap), eeg), (places(), elsewhere)):
        error = SpatialDecoder()(found, where) - truth
        assert error.square().sum() < 0.02 * truth.square().sum()


def test_a_quarter_of_the_channels_is_estimated_better_than_by_their_mean() -> None:
    eeg = SpatialDecoder()(field(), places())
    present = everything(19).clone()
    gone = [3, 9, 12, 16]
    present[0, gone] = False
    found = SpatialDecoder()(SpatialEncoder()(eeg, places(), present), places())
    error, mean_error = ((x - eeg)[0, gone].square().sum() for x in (found, eeg[:, present[0]].mean(1, keepdim=True)))
    assert error < 0.2 * mean_error


@pytest.mark.parametrize("n_chans", [1, 2, 3])
def test_few_channels_come_back_and_say_nothing_far_away(n_chans: int) -> None:
    names = ("O1", "Oz", "O2")[:n_chans]
    eeg = torch.ones(1, n_chans, 1, dtype=torch.float64)
    found = SpatialEncoder()(eeg, places(names), everything(n_chans))
    torch.testing.assert_close(SpatialDecoder()(found, places(names)), eeg, atol=0.1, rtol=0)
    assert SpatialDecoder()(found, places(("Fz",))).abs().item() < 0.6


def test_a_derivation_measures_a_difference() -> None:
    pairs = (("Fp1", "F7"), ("F7", "T7"), ("T7", "P7"), ("P7", "O1"))
    both = np.concatenate(
        [electrode_positions([a for a, _ in pairs]), electrode_positions([b for _, b in pairs])], axis=1
    )
    derived = torch.from_numpy(electrodes(both))[None].double()
    decoded = SpatialDecoder()(field(), derived)
    one, other = (SpatialDecoder()(field(), places(tuple(p[i] for p in pairs))) for i in (0, 1))
    torch.testing.assert_close(decoded, one - other)
    again = SpatialDecoder()(SpatialEncoder()(decoded, derived, everything(4)), derived)
    assert (again - decoded).square().sum() < 0.2 * decoded.square().sum()


def test_places_are_spread_over_the_head() -> None:
    where = evenly(16)
    torch.testing.assert_close(where.norm(dim=-1), torch.ones(16))
    assert where[:, 2].min() > -0.2
    nearest = (torch.cdist(where, where) + 9 * torch.eye(16)).min(dim=1).values
    assert nearest.min() > 0.4


# --- what all of a window's EEG has in common, divided out


def mixed(n_times: int = 400, seed: int = 0) -> Tensor:
    """A field (1, K, n_times) whose coefficients go together, some of them loud."""
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(HARMONICS, HARMONICS, generator=rng, dtype=torch.float64) * torch.linspace(3, 0.3, HARMONICS)
    return mixing @ torch.randn(1, HARMONICS, n_times, generator=rng, dtype=torch.float64)


def every_sample(made: Tensor) -> Tensor:
    return torch.ones(1, made.shape[-1], dtype=torch.bool)


def test_a_window_is_whitened_by_the_inverse_root_of_its_own_covariance() -> None:
    made = mixed()
    white = whitening(made, every_sample(made), 25, causal=False)
    assert white.shape == (1, 1, HARMONICS, HARMONICS)
    covariance = (made[0] @ made[0].mT / made.shape[-1]).numpy()
    least = LEAST_VARIANCE * np.linalg.eigvalsh(covariance)[-1] * np.eye(HARMONICS)
    np.testing.assert_allclose(white[0, 0].numpy(), np.linalg.inv(sqrtm(covariance + least)), atol=1e-9)
    after = white[0, 0] @ made[0]
    of_after = torch.linalg.eigvalsh(after @ after.mT / made.shape[-1])
    assert of_after[-1] == pytest.approx(1 / (1 + LEAST_VARIANCE))
    assert of_after[len(of_after) // 2] > 0.5, "before, they differ by a thousand"


def test_what_is_whitened_has_no_unit() -> None:
    made = mixed()
    one, other = (whitening(x, every_sample(x), 25, causal=False) for x in (made, 1000 * made))
    torch.testing.assert_close(one, 1000 * other)


def test_when_causal_a_step_is_whitened_by_what_is_known_at_its_end() -> None:
    made = mixed(n_times=200)
    white = whitening(made, every_sample(made), 25, causal=True)
    assert white.shape == (1, 8, HARMONICS, HARMONICS)
    for step in range(8):
        so_far = made[..., : (step + 1) * 25]
        expected = whitening(so_far, every_sample(so_far), 25, causal=False)[:, 0]
        torch.testing.assert_close(white[:, step], expected)


@pytest.mark.parametrize("causal", [False, True])
def test_samples_that_are_not_valid_have_no_part_in_it(causal: bool) -> None:
    made, valid = mixed(n_times=200), torch.arange(200)[None] < 110
    loud = made.where(valid[:, None], torch.tensor(1e6).double())
    white = whitening(loud, valid, 25, causal=causal)
    cut = whitening(made[..., :125], valid[:, :125], 25, causal=causal)
    torch.testing.assert_close(white[:, -1], cut[:, -1])
    assert whitening(made, torch.zeros_like(valid), 25, causal=causal).isfinite().all()


def test_what_four_channels_do_not_tell_is_not_made_loud() -> None:
    """Of 36 coefficients they tell three or four; the others are sums of these, and their noise is rounding."""
    encoder, names = SpatialEncoder(), ("TP9", "AF7", "AF8", "TP10")
    eeg = torch.randn(1, 4, 400, generator=torch.Generator().manual_seed(0))
    made = encoder(eeg - eeg.mean(dim=1, keepdim=True), places(names).float(), everything(4))
    after = whitening(made, every_sample(made), 25, causal=False)[0] @ made
    assert after.square().sum(dim=1).mean() == pytest.approx(3.0, rel=0.05), "one for each direction there is"
