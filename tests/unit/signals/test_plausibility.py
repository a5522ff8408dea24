from dataclasses import replace

import numpy as np
import pytest

from neuroleon.common.errors import DataError
from neuroleon.signals.plausibility import (
    check_recording,
    high_passed,
    normalise_unknown_unit,
    reject_reason,
    robust_scale,
    saturated_channels,
)
from neuroleon.signals.recording import Recording, Window

NAMES = ("Fp1", "Cz", "Oz", "Pz")


def recording(factor: float = 1.0, **changes: object) -> Recording:
    rng = np.random.default_rng(0)
    eeg_uV = (4200 + 20 * rng.normal(size=(4, 2560))) * factor  # the offset of a real headset
    made = Recording(
        eeg_uV=eeg_uV.astype(np.float32),
        ch_names=NAMES,
        positions=np.zeros((4, 3), np.float32),
        sfreq=256.0,
        events=(),
        name="r",
        subject="s",
    )
    return replace(made, **changes)


def window(eeg_uV: np.ndarray) -> Window:
    return Window(eeg_uV=eeg_uV, ch_names=NAMES, positions=np.zeros((4, 3), np.float32), scale_uV=20.0)


def with_nan(*channels: int) -> np.ndarray:
    eeg_uV = recording().eeg_uV.copy()
    eeg_uV[list(channels), 100] = np.nan
    return eeg_uV


def test_eeg_with_an_offset_and_one_broken_channel_passes() -> None:
    check_recording(recording(), "a.edf")
    check_recording(recording(eeg_uV=with_nan(2)), "a.edf")


@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e6])
def test_a_wrong_unit_is_refused_with_the_remedy(factor: float) -> None:
    with pytest.raises(DataError, match=r"a\.edf.*--unit"):
        check_recording(recording(factor), "a.edf")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eeg_uV": np.zeros((4, 0), np.float32)}, "no samples"),
        ({"eeg_uV": np.full((4, 2560), 7.0, np.float32)}, "flat"),
        ({"eeg_uV": with_nan(0, 1, 3)}, "Fp1, Cz, Pz"),
        ({"sfreq": 64.0}, "64 Hz"),
        ({"sfreq": float("nan")}, "nan Hz"),
        ({"ch_names": ("Fp1", "Cz", "Cz", "Pz")}, "not unique"),
    ],
)
def test_what_is_no_eeg_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_recording(recording(**changes), "a.edf")


def test_the_high_pass_stays_inside_the_pieces() -> None:
    """A step at a boundary is no signal; without the boundary it rings."""
    eeg_uV = np.repeat([[0.0, 1000.0]], 1280, axis=1).astype(np.float32).repeat(4, axis=0)
    step = recording(eeg_uV=eeg_uV)
    assert np.abs(high_passed(step)).max() > 100
    assert np.abs(high_passed(replace(step, boundaries=(1280,)))).max() < 1e-6


def test_an_unknown_unit_is_scaled_to_ten_microvolts_and_noted() -> None:
    for factor in (1e-6, 1e3):
        scaled = normalise_unknown_unit(recording(factor))
        assert robust_scale(high_passed(scaled)) == pytest.approx(10, rel=1e-3)
        assert "multiplied by" in scaled.left_out["(unit)"]
        check_recording(scaled, "a.edf")
    with pytest.raises(DataError, match="flat"):
        normalise_unknown_unit(recording(0.0))


def test_windows_are_rejected_for_a_named_reason() -> None:
    good = np.random.default_rng(0).normal(0, 20, (4, 200)).astype(np.float32)
    cases = {
        "non-finite": np.where(np.arange(200) == 5, np.nan, good),
        "too large": np.where(np.arange(200) == 5, 1600, good),
        "flat": np.concatenate([good[:2], good[2:] * 1e-3]),
    }
    assert reject_reason(window(good)) is None
    assert {name: reject_reason(window(eeg_uV)) for name, eeg_uV in cases.items()} == {name: name for name in cases}
    assert reject_reason(window(np.concatenate([good[:3], good[3:] * 1e-3]))) is None  # one channel of four


def rhythm(n_times: int = 2560) -> np.ndarray:
    """Four channels of 10 Hz and slower, 256 Hz, with steps of 0.5 uV as a 12-bit amplifier gives them."""
    slow = np.cumsum(np.random.default_rng(0).normal(0, 2, (4, n_times)), axis=1)
    return np.round((slow + 20 * np.sin(2 * np.pi * 10 * np.arange(n_times) / 256)) * 2) / 2


def test_a_channel_that_is_clipped_or_at_a_rail_is_saturated() -> None:
    eeg_uV = rhythm()
    assert not saturated_channels(recording(eeg_uV=eeg_uV)).any()
    eeg_uV[1] = np.clip(eeg_uV[1], *np.percentile(eeg_uV[1], [10, 90]))
    eeg_uV[2, 1000:1300] = eeg_uV[2].max()  # a tenth of the time at the upper rail
    eeg_uV[3, 1000:1060] = eeg_uV[3].min()  # 2 %
    assert saturated_channels(recording(eeg_uV=eeg_uV)).tolist() == [False, True, True, False]


def test_pieces_have_rails_of_their_own() -> None:
    """Trials whose mean was taken away, and a channel that was dead in one trial of four."""
    eeg_uV = rhythm()
    eeg_uV[1] = np.clip(eeg_uV[1], *np.percentile(eeg_uV[1], [10, 90]))
    eeg_uV[2, 640:1280] = 0.0
    edges = (640, 1280, 1920)
    trials = np.concatenate([t - t.mean(axis=1, keepdims=True) for t in np.split(eeg_uV, edges, axis=1)], axis=1)
    assert saturated_channels(recording(eeg_uV=trials, boundaries=edges)).tolist() == [False, True, True, False]
    assert not saturated_channels(recording(eeg_uV=trials[:, :4], boundaries=(2,))).any()  # too short to tell


def test_a_few_levels_are_no_saturation() -> None:
    coarse = np.round(np.random.default_rng(0).normal(0, 2, (4, 2560)))  # a dozen levels
    assert not saturated_channels(recording(eeg_uV=coarse)).any()


def test_robust_scale_is_the_standard_deviation_of_gaussian_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 30, (8, 20_000))
    noise[:, :200] = 1e6  # outliers do not move it
    assert robust_scale(noise) == pytest.approx(30, rel=0.05)
