import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.recording import Event, Recording

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
AS_RECORDED = Preprocess(reference="none")


def recording(eeg_uV: np.ndarray, sfreq: float = 256.0, **changes: object) -> Recording:
    n = len(eeg_uV)
    made = Recording(
        eeg_uV=eeg_uV.astype(np.float32),
        ch_names=tuple(f"E{i}" for i in range(n)),
        positions=np.arange(3.0 * n, dtype=np.float32).reshape(n, 3),
        sfreq=sfreq,
        events=(),
        name="r",
        subject="s",
    )
    return replace(made, **changes)


def noise(n_chans: int = 8, n_times: int = 5120, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 20, (n_chans, n_times))


@pytest.mark.parametrize("sfreq", [128.0, 160.0, 200.0, 240.0, 250.0, 256.0, 500.0, 512.0, 1000.0, 255.9])
def test_a_10_hz_sine_stays_what_it_is_at_every_rate(sfreq: float) -> None:
    """Amplitude, frequency and phase: the filter is zero-phase and the resampling keeps time."""
    phase = np.arange(4)[:, None]
    times = np.arange(int(20 * sfreq)) / sfreq
    out = AS_RECORDED.apply(recording(50 * np.sin(2 * np.pi * 10 * times + phase) + 4000, sfreq)).recording
    assert out.sfreq == 200.0
    assert abs(out.n_times - 20 * 200) <= 1
    middle = slice(1000, 3000)
    expected = 50 * np.sin(2 * np.pi * 10 * np.arange(out.n_times) / 200 + phase)
    np.testing.assert_allclose(out.eeg_uV[:, middle], expected[:, middle], atol=1.0)


def test_drift_and_fast_activity_are_removed_and_the_edge_follows_the_rate() -> None:
    times = np.arange(20 * 128) / 128
    slow, fast = 500 * np.sin(2 * np.pi * 0.05 * times), 500 * np.sin(2 * np.pi * 63 * times)
    out = Preprocess(high_hz=75.0, reference="none", notch="none").apply(
        recording((slow + fast)[None] + noise(4, 2560), 128.0)
    )
    assert out.band_hz == (0.5, pytest.approx(51.2))
    assert np.abs(out.recording.eeg_uV[:, 400:-400]).max() < 200


@pytest.mark.parametrize("line", [50.0, 60.0])
def test_a_power_line_is_found_and_removed_and_no_other(line: float) -> None:
    hum = 60 * np.sin(2 * np.pi * line * np.arange(5120) / 256)
    auto = AS_RECORDED.apply(recording(noise() + hum))
    assert auto.notch_hz == (line,)
    clean = AS_RECORDED.apply(recording(noise()))
    assert clean.notch_hz == ()
    off = replace(AS_RECORDED, notch="none").apply(recording(noise() + hum))
    assert off.notch_hz == ()
    left, without = (np.abs(r.recording.eeg_uV - clean.recording.eeg_uV) for r in (auto, off))
    assert left.max() < 16  # at the ends too
    assert left[:, 200:-200].max() < 3  # the EEG at that frequency itself
    assert without.max() > 25
    assert without[:, 200:-200].max() > 4


def test_events_and_boundaries_keep_their_times() -> None:
    """An impulse is found at the same second after resampling, in every piece."""
    eeg_uV = noise(4, 3000) * 1e-2
    impulses = [300, 1500, 2600]
    eeg_uV[:, impulses] += 1000
    events = tuple(Event(i / 256, "blink") for i in impulses)
    out = AS_RECORDED.apply(recording(eeg_uV, events=events, boundaries=(1001, 2003))).recording
    assert out.events == events
    assert out.boundaries == (782, 1565)
    for event in out.events:
        around = slice(int(event.onset_s * 200) - 40, int(event.onset_s * 200) + 40)
        found_s = (around.start + np.argmax(out.eeg_uV[0, around])) / 200
        assert found_s == pytest.approx(event.onset_s, abs=0.0051)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(40, 400), min_size=1, max_size=12), st.sampled_from([128.0, 240.0, 256.0, 500.0]))
def test_many_odd_pieces_never_shift_time(lengths: list[int], sfreq: float) -> None:
    edges = np.cumsum(lengths)
    data = recording(noise(2, int(edges[-1])), sfreq, boundaries=tuple(edges[:-1].tolist()))
    out = AS_RECORDED.apply(data).recording
    for before, after in zip([*data.boundaries, data.n_times], [*out.boundaries, out.n_times], strict=True):
        assert abs(after / 200 - before / sfreq) <= 0.5 / 200 + 1e-9
    assert np.isfinite(out.eeg_uV).all()


def test_nothing_leaks_across_a_boundary() -> None:
    data = noise(4, 2560)
    changed = data.copy()
    changed[:, 1280:] += noise(4, 1280, seed=1) * 20
    outs = [AS_RECORDED.apply(recording(x, boundaries=(1280,))).recording.eeg_uV for x in (data, changed)]
    np.testing.assert_array_equal(outs[0][:, :1000], outs[1][:, :1000])


def test_pieces_that_are_filtered_together_come_out_as_if_each_were_alone() -> None:
    """To the last bit: more than fit one call, of three lengths in turn."""
    lengths = np.tile([250, 300, 255], 70)
    edges = np.cumsum(lengths)
    eeg_uV = noise(3, edges[-1])
    alone = Preprocess(notch="none")
    out = alone.apply(recording(eeg_uV, 250.0, boundaries=tuple(edges[:-1].tolist()))).recording
    starts = (edges - lengths).tolist()
    for start, length in zip(starts, lengths.tolist(), strict=True):
        expected = alone.apply(recording(eeg_uV[:, start : start + length], 250.0)).recording.eeg_uV
        found = out.eeg_uV[:, start * 4 // 5 : (start + length) * 4 // 5]
        np.testing.assert_array_equal(found, expected)


def test_bad_channels_are_dropped_with_their_reason() -> None:
    eeg_uV = noise()
    eeg_uV[1] = 3.0
    eeg_uV[4, 77] = np.inf
    eeg_uV[6] *= 30
    out = Preprocess().apply(recording(eeg_uV))
    assert out.bad_channels == {
        "E1": "flat",
        "E4": "holds NaN or infinity",
        "E6": "its power is far from the other channels'",
    }
    assert out.recording.ch_names == ("E0", "E2", "E3", "E5", "E7")
    np.testing.assert_array_equal(out.recording.positions[:, 0] / 3, [0, 2, 3, 5, 7])
    assert out.scale_uV == pytest.approx(20 * np.sqrt(45 / 128) * np.sqrt(4 / 5), rel=0.1)
    clean = Preprocess().apply(recording(noise()[[0, 2, 3, 5, 7]]))
    np.testing.assert_allclose(out.recording.eeg_uV, clean.recording.eeg_uV, atol=1e-3)


REAL_FAULTS = ("flat", "gap of NaN", "hum", "white noise", "rail", "clipped", "disconnected")


def spoilt(eeg_uV: np.ndarray, row: int, fault: str, sfreq: float) -> np.ndarray:
    """The recording with one channel as electrodes and amplifiers spoil it."""
    rng, made, n_times = np.random.default_rng(0), eeg_uV.astype(np.float64), eeg_uV.shape[1]
    channel, scale = made[row].copy(), 1.48 * np.median(np.abs(made[row] - np.median(made[row])))
    third = slice(n_times // 3, 2 * n_times // 3)
    made[row] = {
        "flat": np.full(n_times, channel.mean()),
        "gap of NaN": np.where(np.arange(n_times) // sfreq == 5, np.nan, channel),
        "hum": channel + 100 * scale * np.sin(2 * np.pi * 50 * np.arange(n_times) / sfreq),
        "white noise": channel + 10 * scale * rng.normal(size=n_times),
        "rail": np.minimum(channel, np.percentile(channel, 99.5)),
        "clipped": np.clip(channel, *np.median(channel) + scale * np.array([-1, 1])),
        "disconnected": 0.01 * channel,
    }[fault]
    if fault == "rail":
        made[row, third] = made[row].max()
    return made.astype(np.float32)


@pytest.fixture(scope="module")
def real() -> dict[str, Recording]:
    """Twenty seconds of a clinical recording and of a speller whose eight channels differ much."""
    if not DATA.is_dir():
        pytest.skip("the real recordings are not beside the checkout")
    clinical = read_recording(DATA / "eegmat/Subject00_1.edf")
    speller = next(READERS["npz_trials"].read(DATA / "cvep20", {"file": "cvep20.npz"}))
    found = {}
    for made in (clinical, speller):
        n_times = round(20 * made.sfreq)
        inside = tuple(edge for edge in made.boundaries if edge < n_times)
        found[made.name] = replace(made, eeg_uV=made.eeg_uV[:, :n_times], boundaries=inside)
    return found


@pytest.mark.parametrize("fault", REAL_FAULTS)
@pytest.mark.parametrize("name", ["Subject00_1", "1-0"])
def test_a_spoilt_channel_of_a_real_recording_is_found_and_no_other(
    real: dict[str, Recording], name: str, fault: str
) -> None:
    whole = real[name]
    assert Preprocess().apply(whole).bad_channels == {}
    row = 3
    out = Preprocess().apply(replace(whole, eeg_uV=spoilt(whole.eeg_uV, row, fault, whole.sfreq)))
    assert set(out.bad_channels) == {whole.ch_names[row]}
    assert whole.ch_names[row] not in out.recording.ch_names
    if fault in {"rail", "clipped"}:
        assert out.bad_channels[whole.ch_names[row]] == "saturated"


@pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not beside the checkout")
def test_a_real_channel_that_is_dead_in_a_fifth_of_the_trials_is_left_out() -> None:
    subjects = READERS["npz_trials"].read(DATA / "uci_smni", {"file": "uci_smni.npz"})
    dead = next(recording for recording in subjects if recording.name.startswith("co2a0000368"))
    assert Preprocess().apply(dead).bad_channels["Cz"] == "saturated"


def test_derivations_are_left_out_of_the_average_reference() -> None:
    places = np.full((8, 6), np.nan, np.float32)
    places[:, :3] = np.random.default_rng(0).normal(size=(8, 3))
    assert Preprocess().apply(recording(noise(), positions=places)).notes == ()
    places[2, 3:] = 0.5
    out = Preprocess().apply(recording(noise(), positions=places))
    as_recorded = AS_RECORDED.apply(recording(noise())).recording.eeg_uV
    assert out.reference == "average"
    assert out.notes == ("bipolar derivations stay as they are, without the average reference",)
    np.testing.assert_array_equal(out.recording.positions, places)
    others = [0, 1, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(out.recording.eeg_uV[2], as_recorded[2], atol=1e-4)
    expected = as_recorded[others] - as_recorded[others].mean(axis=0)
    np.testing.assert_allclose(out.recording.eeg_uV[others], expected, atol=1e-4)
    places[:5, 3:] = 0.5
    assert Preprocess().apply(recording(noise(), positions=places)).reference == "none"


def test_more_than_half_are_never_dropped_and_that_is_said() -> None:
    eeg_uV = noise()
    eeg_uV[:5] *= 1e-3
    out = Preprocess().apply(recording(eeg_uV))
    assert len(out.recording.ch_names) == 8
    assert "kept E0" in out.notes[0]
    eeg_uV[:5, 0] = np.nan
    with pytest.raises(DataError, match="5 of 8"):
        Preprocess().apply(recording(eeg_uV))


def test_the_average_reference_needs_four_channels() -> None:
    eeg_uV = noise() + 100 * np.sin(np.arange(5120) / 5)  # on all channels alike
    out = Preprocess().apply(recording(eeg_uV))
    assert out.reference == "average"
    np.testing.assert_allclose(out.recording.eeg_uV.mean(axis=0), 0, atol=1e-4)
    three = Preprocess().apply(recording(eeg_uV[:3]))
    assert three.reference == "none"
    assert np.abs(three.recording.eeg_uV.mean(axis=0)).max() > 50
    assert AS_RECORDED.apply(recording(eeg_uV)).reference == "none"


def test_a_recording_without_signal_is_refused() -> None:
    with pytest.raises(DataError, match="nothing is left"):
        Preprocess().apply(recording(np.zeros((4, 2560))))


def test_the_unit_changes_the_scale_and_nothing_else() -> None:
    one, ten = (Preprocess().apply(recording(noise() * factor)) for factor in (1, 10))
    assert ten.scale_uV == pytest.approx(10 * one.scale_uV, rel=1e-4)
    np.testing.assert_allclose(
        ten.recording.eeg_uV / ten.scale_uV, one.recording.eeg_uV / one.scale_uV, rtol=0, atol=1e-3
    )


CHANGES = {"low_hz": 1.0, "high_hz": 40.0, "notch": "none", "sfreq": 256.0, "reference": "none", "clip": 10.0}


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_changes_the_fingerprint(field: str) -> None:
    changed = replace(Preprocess(), **{field: CHANGES[field]})
    assert changed.fingerprint != Preprocess().fingerprint
    assert Preprocess.from_json(json.loads(json.dumps(changed.to_json()))) == changed


def test_whole_numbers_are_the_same_setting() -> None:
    assert Preprocess(high_hz=45, sfreq=200, clip=15).fingerprint == Preprocess().fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"low_hz": 0.0},
        {"high_hz": 100.0},
        {"low_hz": 50.0},
        {"notch": "50"},
        {"reference": "Cz"},
        {"clip": 0},
        {"colour": "red"},
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Preprocess.from_json(Preprocess().to_json() | change)


@pytest.mark.skipif(not DATA.is_dir(), reason="the real recordings are not beside the checkout")
def test_real_one_second_trials_keep_their_length() -> None:
    trials = next(READERS["npz_trials"].read(DATA / "uci_smni", {"file": "uci_smni.npz"}))
    out = Preprocess().apply(trials)
    assert out.recording.n_times == 30 * 200
    assert out.recording.boundaries == tuple(range(200, 6000, 200))
    assert 1 < out.scale_uV < 30
