"""The causal front-end: the same bits in any chunks, its delay, what it decides at the start, and lost samples."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_eeg import EXAMPLES, eegmat

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.signals.causal import CausalFrontEnd, CausalSignal, Decided, apply_causal, decide
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.recording import Recording
from neuroleon.signals.resampler import Resampler

NAMES = ("C3", "C4", "Cz", "Fz", "O1", "Pz")
RATES = [100.0, 128.0, 160.0, 200.0, 250.0, 255.9, 256.0, 500.0, 512.0, 2048.0]
KNOWN = Decided(scale_uV=10.0)
AS_RECORDED = replace(KNOWN, reference="none")


def brain(n_times: int, sfreq: float = 256.0, n_chans: int = len(NAMES), seed: int = 0) -> np.ndarray:
    """A random walk that returns to zero, with the offset of a real amplifier: float32 microvolts."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((n_chans, n_times + 500)) * 40 / np.sqrt(sfreq)
    walk = np.array([np.convolve(row, np.exp(-np.arange(500) / (0.1 * sfreq)), "valid") for row in steps])
    return (walk[:, :n_times] * 2 + 4000).astype(np.float32)


def front_end(sfreq: float = 256.0, n_chans: int = len(NAMES), **settings: Any) -> CausalFrontEnd:
    return CausalFrontEnd(
        Preprocess(), NAMES[:n_chans], electrode_positions(NAMES[:n_chans]), sfreq, **{"decided": KNOWN} | settings
    )


def recording(eeg_uV: np.ndarray, sfreq: float = 256.0, **changes: Any) -> Recording:
    names = NAMES[: len(eeg_uV)]
    made = Recording(eeg_uV.astype(np.float32), names, electrode_positions(names), sfreq, (), "r", "s")
    return replace(made, **changes)


def together(parts: list[CausalSignal]) -> CausalSignal:
    parts = [part for part in parts if len(part.valid)]
    return CausalSignal(np.concatenate([p.eeg_uV for p in parts], axis=1), np.concatenate([p.valid for p in parts]))


def in_chunks(made: CausalFrontEnd, eeg_uV: np.ndarray, lengths: list[int]) -> CausalSignal:
    """Chunks of these lengths in turn, until there is nothing left."""
    parts, start, turn = [], 0, 0
    while start < eeg_uV.shape[1]:
        stop = start + lengths[turn % len(lengths)]
        parts.append(made.push(eeg_uV[:, start:stop]))
        start, turn = stop, turn + 1
    return together([*parts, made.finish()])


def same(a: CausalSignal, b: CausalSignal) -> bool:
    return np.array_equal(a.eeg_uV, b.eeg_uV) and np.array_equal(a.valid, b.valid)


def delay_samples(late: np.ndarray, reference: np.ndarray) -> float:
    """How much later one signal (n_chans, n_times) is, in samples: the peak of the cross-correlation, by a parabola."""
    n = reference.shape[1] - 20
    scores = [float((late[:, lag : lag + n] * reference[:, :n]).sum()) for lag in range(20)]
    peak = int(np.argmax(scores[1:-1])) + 1
    before, here, after = scores[peak - 1 : peak + 2]
    return peak + 0.5 * (before - after) / (before - 2 * here + after)


# --- chunks


@settings(max_examples=20, deadline=None)
@given(
    sfreq=st.sampled_from(RATES),
    lengths=st.lists(st.integers(0, 4) | st.integers(20, 700), min_size=1, max_size=8).filter(lambda n: sum(n) > 99),
    lost=st.lists(st.tuples(st.integers(0, 850), st.integers(1, 90), st.integers(0, 5)), max_size=3),
    calibrated=st.booleans(),
)
def test_any_chunks_give_the_same_bits(
    sfreq: float, lengths: list[int], lost: list[tuple[int, int, int]], calibrated: bool
) -> None:
    eeg_uV = brain(900, sfreq)
    for start, n, channel in lost:
        eeg_uV[channel, start : start + n] = np.nan
    how: dict[str, Any] = {"decided": None, "calibration_s": 0.6} if calibrated else {}
    try:
        whole = in_chunks(front_end(sfreq, **how), eeg_uV, [eeg_uV.shape[1]])
    except DataError as error:
        assume("in which no 0.25 s hold finite values" not in str(error))
        raise
    assert same(in_chunks(front_end(sfreq, **how), eeg_uV, lengths), whole)
    assert len(whole.valid) == int(np.ceil(900 * front_end(sfreq).ratio))
    assert whole.eeg_uV.dtype == np.float32


@pytest.mark.parametrize("n_chans", [1, 6])
def test_single_samples_give_the_same_bits_as_the_whole(n_chans: int) -> None:
    eeg_uV = brain(700, n_chans=n_chans)
    made, whole = front_end(n_chans=n_chans), front_end(n_chans=n_chans).push(eeg_uV)
    for i in range(700):
        step = made.push(eeg_uV[:, i : i + 1])
        n_before = -(-i * 25 // 32)
        assert np.array_equal(step.eeg_uV, whole.eeg_uV[:, n_before : n_before + step.eeg_uV.shape[1]])
        assert n_before + step.eeg_uV.shape[1] == -(-(i + 1) * 25 // 32), "a sample is there as soon as its time is"


def test_a_whole_recording_is_a_stream_of_it() -> None:
    real = read_recording(eegmat())
    real = replace(real, eeg_uV=real.eeg_uV[:, :10_000], events=())
    made, valid = apply_causal(Preprocess(), real, calibration_s=4.0)
    stream = CausalFrontEnd(Preprocess(), real.ch_names, real.positions, real.sfreq, calibration_s=4.0)
    found = in_chunks(stream, real.eeg_uV, [37, 1, 611])
    assert np.array_equal(found.eeg_uV, made.recording.eeg_uV)
    assert valid.all() and found.valid.all()
    assert (stream.ch_names, made.recording.sfreq, made.recording.n_times) == (made.recording.ch_names, 200.0, 4000)
    assert stream.decided is not None and stream.decided.scale_uV == made.scale_uV
    assert np.array_equal(stream.positions, made.recording.positions)


def test_each_piece_of_a_recording_starts_anew_at_its_time() -> None:
    eeg_uV = brain(3000)
    made, valid = apply_causal(Preprocess(), recording(eeg_uV, boundaries=(1001, 2003)), calibration_s=2.0)
    offline = Preprocess().apply(recording(eeg_uV, boundaries=(1001, 2003))).recording
    assert made.recording.boundaries == offline.boundaries == (782, 1565)
    assert len(valid) == made.recording.n_times == 1565 + 779
    decided = decide(Preprocess(), recording(eeg_uV[:, :512]))
    third = front_end(decided=decided).push(eeg_uV[:, 2003:])
    assert np.array_equal(made.recording.eeg_uV[:, 1565:], third.eeg_uV)


# --- the signal


@pytest.mark.parametrize("sfreq", RATES)
def test_a_10_hz_sine_comes_through_after_the_delay(sfreq: float) -> None:
    phase, made = np.arange(4)[:, None], front_end(sfreq, 4, decided=AS_RECORDED)
    times = np.arange(int(10 * sfreq)) / sfreq
    out = made.push(4000 + 50 * np.sin(2 * np.pi * 10 * times + phase)).eeg_uV
    out_times = np.arange(out.shape[1]) / 200
    expected = 50 * np.sin(2 * np.pi * 10 * (out_times - made.delay_s) + phase)
    settled = out_times > 4
    # group and phase delay differ by a few milliseconds, which at 10 Hz is a fifth of the amplitude
    np.testing.assert_allclose(out[:, settled], expected[:, settled], atol=12)
    assert np.abs(out[:, settled]).max() == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize("path", [None, *EXAMPLES], ids=lambda path: path.stem if path else "eegmat")
def test_the_delay_that_is_told_is_that_of_real_eeg(path: Any) -> None:
    real = read_recording(path or eegmat())
    stop = min([int(30 * real.sfreq), real.n_times, *real.boundaries])
    real = replace(real, eeg_uV=real.eeg_uV[:, :stop], events=(), boundaries=())
    offline = Preprocess().apply(real).recording
    made, _ = apply_causal(Preprocess(), real)
    rows = [made.recording.ch_names.index(name) for name in offline.ch_names]
    delay_s = CausalFrontEnd(Preprocess(), real.ch_names, real.positions, real.sfreq).delay_s
    n = min(made.recording.n_times, offline.n_times)
    late = made.recording.eeg_uV[rows, :n]
    assert delay_samples(late, offline.eeg_uV[:, :n]) / 200 == pytest.approx(delay_s, abs=0.005)
    lag = round(delay_s * 200)
    assert np.corrcoef(late[:, lag:].ravel(), offline.eeg_uV[:, : n - lag].ravel())[0, 1] > 0.85


def test_the_offset_of_a_device_is_no_step_at_the_start() -> None:
    eeg_uV = brain(2560).astype(np.float64)
    plain, offset = (front_end().push(eeg_uV + x).eeg_uV for x in (0.0, np.arange(6)[:, None] * 1e5))
    np.testing.assert_allclose(plain, offset, atol=1e-5)
    assert np.abs(plain[:, :200]).max() < 2 * np.abs(plain[:, 200:]).max()


@pytest.mark.parametrize("sfreq", [250.0, 512.0, 1000.0])
def test_what_would_fold_into_the_band_is_removed_and_the_band_is_not(sfreq: float) -> None:
    times = np.arange(int(4 * sfreq)) / sfreq
    for hz, gain in ((10.0, 1.0), (45.0, 1.0), (157.0, 0.0)):
        if hz < sfreq / 2:
            made = Resampler(sfreq, 200.0, 45.0)
            out, _ = made.push(np.cos(2 * np.pi * hz * times)[None], np.ones(len(times), bool))
            expected = gain * np.cos(2 * np.pi * hz * (np.arange(out.shape[1]) / 200 - made.delay_s))
            assert np.abs(out[0, 100:] - expected[100:]).max() < 0.002


def test_nothing_is_resampled_where_the_rate_is_right() -> None:
    made = Resampler(200.0, 200.0, 45.0)
    signal = brain(50)
    out, valid = made.push(signal, np.ones(50, bool))
    assert np.array_equal(out, signal) and valid.all() and made.delay_s == 0


def test_the_result_is_referenced_to_the_average_unless_decided_otherwise() -> None:
    eeg_uV = brain(2560)
    average, recorded = (front_end(decided=d).push(eeg_uV).eeg_uV for d in (KNOWN, AS_RECORDED))
    np.testing.assert_allclose(average, recorded - recorded.mean(axis=0), atol=1e-4)
    assert np.abs(recorded.mean(axis=0)).max() > 1


# --- what is decided


def test_the_calibration_decides_what_the_front_end_of_recordings_does() -> None:
    eeg_uV = brain(5120)
    eeg_uV += (60 * np.sin(2 * np.pi * 50 * np.arange(5120) / 256)).astype(np.float32)
    eeg_uV[2] = 7.0
    made = front_end(decided=None)
    assert not len(made.push(eeg_uV[:, :2047]).valid)
    assert made.decided is None
    first = made.push(eeg_uV[:, 2047:2048])
    offline = Preprocess().apply(recording(eeg_uV[:, :2048]))
    assert made.decided == Decided(scale_uV=offline.scale_uV, bad_channels={"Cz": "flat"}, notch_hz=(50.0,))
    assert made.ch_names == ("C3", "C4", "Fz", "O1", "Pz")
    assert first.eeg_uV.shape == (5, 1600), "the calibration stretch itself is not lost"
    late = made.push(eeg_uV[:, 2048:]).eeg_uV[:, 400:]
    left = np.abs(np.fft.rfft(late * np.hanning(late.shape[1])))
    at_50 = round(50 / 200 * late.shape[1])
    assert left[:, at_50 - 3 : at_50 + 4].max() < 3 * np.median(left[:, at_50 - 60 : at_50 - 20])


def test_what_an_earlier_session_decided_saves_the_wait() -> None:
    eeg_uV = brain(2560)
    calibrated = front_end(decided=None, calibration_s=3.0)
    later = [calibrated.push(eeg_uV)]
    given = front_end(decided=calibrated.decided)
    assert len(given.push(eeg_uV[:, :10]).valid) == 8
    assert same(together(later), front_end(decided=calibrated.decided).push(eeg_uV))


def test_three_channels_or_derivations_stay_as_they_are_referenced() -> None:
    few = front_end(n_chans=3, decided=None)
    few.push(brain(2560, n_chans=3))
    assert few.decided is not None and few.decided.reference == "none"
    pairs = np.concatenate([electrode_positions(NAMES), electrode_positions(NAMES[::-1])], axis=1)
    bipolar = CausalFrontEnd(Preprocess(), NAMES, pairs, 256.0)
    bipolar.push(brain(2560))
    assert bipolar.decided is not None and bipolar.decided.reference == "none"


def test_a_stream_shorter_than_its_calibration_is_decided_on_at_its_end() -> None:
    eeg_uV = brain(300)
    made = front_end(decided=None)
    assert not len(made.push(eeg_uV).valid)
    assert made.finish().eeg_uV.shape == (6, 235)
    assert not len(made.finish().valid)
    assert made.decided == decide(Preprocess(), recording(eeg_uV))
    assert front_end(decided=None, calibration_s=300 / 256).push(eeg_uV).eeg_uV.shape == (6, 235)


# --- lost samples


def test_lost_samples_are_marked_and_what_follows_is_as_if_they_had_come() -> None:
    eeg_uV = brain(2560)
    whole = front_end().push(eeg_uV)
    holed = eeg_uV.copy()
    holed[1, 1000:1005] = np.nan
    holed[3, 1003] = np.inf
    found = front_end().push(holed)
    lost = np.flatnonzero(~found.valid)
    # those that one of the 5 samples is in: the filter has 9 taps at 256 Hz
    assert lost.tolist() == [k for k in range(2000) if 1000 <= k * 32 // 25 <= 1004 + 8]
    assert (found.eeg_uV[:, lost] == 0).all()
    assert np.array_equal(found.eeg_uV[:, :782], whole.eeg_uV[:, :782])
    assert np.abs(found.eeg_uV - whole.eeg_uV)[:, 792:].max() < 0.3 * whole.eeg_uV.std()


def test_what_a_bad_channel_loses_does_not_matter() -> None:
    eeg_uV = brain(2560)
    decided = replace(KNOWN, bad_channels={"Fz": "loose"})
    holed = eeg_uV.copy()
    holed[3] = np.nan
    assert same(front_end(decided=decided).push(holed), front_end(decided=decided).push(eeg_uV))


def test_a_calibration_with_lost_samples_decides_on_the_rest() -> None:
    eeg_uV = brain(2560)
    eeg_uV[:, 700:730] = np.nan  # a packet
    eeg_uV[4, 500:] = np.nan  # a channel that works no longer
    made = front_end(decided=None)
    found = made.push(eeg_uV)
    assert made.decided is not None
    assert made.decided.bad_channels == {"O1": "holds NaN or infinity"}
    rest = recording(np.delete(eeg_uV[:, :2048], np.s_[700:730], axis=1), boundaries=(700,))
    assert made.decided.scale_uV == Preprocess().apply(rest).scale_uV
    assert 24 <= (~found.valid).sum() <= 34
    assert np.isfinite(found.eeg_uV).all()


def test_a_stream_that_begins_with_lost_samples() -> None:
    eeg_uV = brain(2560)
    eeg_uV[:, :100] = np.nan
    found = front_end().push(eeg_uV)
    assert not found.valid[:78].any()
    assert found.valid[90:].all()
    assert np.abs(found.eeg_uV).max() < 200


# --- what is refused


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sfreq": 99.0}, DataError, "99 Hz, expected at least 100"),
        ({"sfreq": float("nan")}, DataError, "nan Hz"),
        ({"calibration_s": 0.2}, ConfigError, "at least 0.25"),
        ({"decided": replace(KNOWN, bad_channels={"Ozz": ""})}, ConfigError, "Ozz .* not in the stream"),
        ({"decided": replace(KNOWN, bad_channels=dict.fromkeys(NAMES, ""))}, ConfigError, "every channel"),
    ],
)
def test_wrong_settings_are_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        front_end(**change)


@pytest.mark.parametrize("scale_uV", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale_uV: float) -> None:
    with pytest.raises(ConfigError, match="scale_uV"):
        Decided(scale_uV=scale_uV)


@pytest.mark.parametrize(
    ("eeg_uV", "message"),
    [
        (np.zeros((6, 0)), "0 s, in which no 0.25 s"),
        (brain(63), "0.246.* s, in which no 0.25 s"),
        (np.full((6, 500), np.nan), "6 of 6 channels .* hold NaN"),
        (brain(500) * 1e-6, "the unit is wrong"),
        (np.zeros((6, 500)), "flat"),
    ],
)
def test_a_stream_that_nothing_can_be_decided_on_is_refused(eeg_uV: np.ndarray, message: str) -> None:
    made = front_end(decided=None)
    made.push(eeg_uV)
    with pytest.raises(DataError, match=message):
        made.finish()
