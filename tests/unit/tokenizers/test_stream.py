"""Streams of ids: chunk by chunk they are the ids of the whole recording, and a prefix has those of its steps."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from tiny_eeg import CONFIG, EXAMPLES, ROOT, eegmat, real_windows, telling_labels, tiny_tokenizer

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.signals.causal import Decided, apply_causal
from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.recording import Recording
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.causal import encode_causal
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.recordings import WINDOW_S
from neuroleon.tokenizers.eeg.stream import WINDOW_STEPS, EEGStream, StreamStep, windows_of
from neuroleon.tokenizers.eeg.surprise import Calibration
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

CVEP = ROOT.parent / "shared" / "data" / "cvep20" / "cvep20.npz"
CVEP_NAMES = ("Fz", "T7", "O1", "POz", "Oz", "Iz", "O2", "T8")
NAMES = ("Fz", "Cz", "Pz", "O1", "O2")
FAR_FROM_EEG = Calibration(log_nmse=-50.0, per_octave=0.0, spread=1.0, fewest=1, most=64)


@cache
def tokenizer() -> EEGTokenizer:
    """Causal, untrained, with codes for what its encoder makes of real EEG."""
    torch.manual_seed(0)
    config = replace(CONFIG, causal=True)
    network = telling_labels(EEGNetwork(config)).train()
    for path in EXAMPLES:
        windows = real_windows(path)
        eeg = torch.from_numpy(np.stack([window.eeg_uV / window.scale_uV for window in windows]))
        places = torch.from_numpy(np.stack([electrodes(window.positions) for window in windows]))
        valid, present = (
            torch.ones(len(eeg), eeg.shape[2], dtype=torch.bool),
            torch.ones(eeg.shape[:2], dtype=torch.bool),
        )
        with torch.no_grad():
            latents = network.encoder(eeg, places, present, valid).flatten(0, 1)
            network.quantizer(latents, torch.full((len(latents),), config.levels))
    return EEGTokenizer(config, Preprocess(), network)


@cache
def real(seconds: float = 30.0, sfreq: int = 500) -> Recording:
    """The start of a recording of mental arithmetic, at some rate, for EEG has nothing above 125 Hz."""
    whole = read_recording(eegmat())
    eeg_uV = whole.eeg_uV[:, : int(seconds * 500)]
    if sfreq != 500:
        eeg_uV = resample_poly(eeg_uV.astype(np.float64), sfreq, 500, axis=1, padtype="line").astype(np.float32)
    return replace(whole, eeg_uV=eeg_uV, sfreq=float(sfreq), events=())


@cache
def whole_ids(seconds: float = 30.0, sfreq: int = 500, calibration_s: float = 8.0) -> np.ndarray:
    return encode_causal(tokenizer(), real(seconds, sfreq), calibration_s).ids.reshape(-1, CONFIG.levels)


def stream_of(recording: Recording, **settings: Any) -> EEGStream:
    return EEGStream(tokenizer(), recording.ch_names, recording.sfreq, recording.positions, **settings)


def in_chunks(stream: EEGStream, eeg: np.ndarray, lengths: list[int]) -> list[StreamStep]:
    """Chunks of these lengths in turn, until there is nothing left."""
    steps, start, turn = [], 0, 0
    while start < eeg.shape[1]:
        steps += stream.push(eeg[:, start : start + lengths[turn % len(lengths)]])
        start, turn = start + lengths[turn % len(lengths)], turn + 1
    return steps + stream.finish()


def ids_of(steps: list[StreamStep]) -> np.ndarray:
    """(n_steps, levels), after a look at the order of the steps."""
    assert [(step.window, step.step) for step in steps] == [divmod(i, WINDOW_STEPS) for i in range(len(steps))]
    return np.stack([step.ids for step in steps])


# --- chunks and the whole


@settings(max_examples=5, deadline=None)
@given(lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=8).filter(lambda n: sum(n) > 200))
def test_the_ids_of_chunks_are_those_of_the_whole_recording(lengths: list[int]) -> None:
    steps = in_chunks(stream_of(real()), real().eeg_uV, lengths)
    assert np.array_equal(ids_of(steps), whole_ids())
    assert len(steps) == 240
    assert len(np.unique(whole_ids())) > CONFIG.levels * CONFIG.codes / 4, "every step would have the same ids"


@pytest.mark.parametrize("sfreq", [160, 250, 256, 512])
def test_chunks_of_every_rate(sfreq: int) -> None:
    recording = real(9.1, sfreq)
    steps = in_chunks(stream_of(recording, calibration_s=3.0), recording.eeg_uV, [sfreq // 10, 7, sfreq])
    assert np.array_equal(ids_of(steps), whole_ids(9.1, sfreq, 3.0))
    assert len(steps) == 73  # 9.1 s are 72.8 steps


@pytest.mark.parametrize("n_times", [1, 10**9])
def test_chunks_of_one_sample_and_of_everything(n_times: int) -> None:
    recording = real(2.0, 250)
    steps = in_chunks(stream_of(recording, calibration_s=1.0), recording.eeg_uV, [n_times])
    assert np.array_equal(ids_of(steps), whole_ids(2.0, 250, 1.0))


def test_a_speller_trial_in_chunks() -> None:
    if not CVEP.exists():
        pytest.skip("shared/data/cvep20 is not here")
    with np.load(CVEP) as stored:
        eeg_uV = (stored["x"][3] * float(np.ravel(stored["scale_uv"])[0])).astype(np.float32)
        recording = Recording(eeg_uV, CVEP_NAMES, electrode_positions(CVEP_NAMES), float(stored["fs"]), (), "t", "s")
    whole = encode_causal(tokenizer(), recording, 2.0)
    steps = in_chunks(stream_of(recording, calibration_s=2.0), eeg_uV, [24, 1, 100])
    assert np.array_equal(ids_of(steps).ravel(), whole.ids)


def test_a_step_is_there_as_soon_as_its_last_sample_is() -> None:
    recording = real(6.0, 250)
    stream = stream_of(recording, calibration_s=1.0)
    end = (40 * 25 - 1) * 5 // 4 + 1  # samples of 250 Hz by the time of the 1000th at 200 Hz
    before = stream.push(recording.eeg_uV[:, : end - 1])
    (last,) = stream.push(recording.eeg_uV[:, end - 1 : end])
    assert (len(before), last.window, last.step) == (39, 1, 7)
    assert np.array_equal(ids_of([*before, last]), whole_ids(6.0, 250, 1.0)[:40])


def test_windows_of_a_stream_are_windows_of_the_tokenizer() -> None:
    """Each window is encoded on its own, from its start; and the ids are those of the front-end's own signal."""
    made, valid = apply_causal(Preprocess(), by_name(real(10.1)))
    assert valid.all()
    recording = made.recording
    windows = [
        Window(recording.eeg_uV[:, a:b], recording.ch_names, recording.positions, made.scale_uV)
        for a, b in ((0, 800), (800, 1600), (1600, recording.n_times))
    ]
    found = windows_of(in_chunks(stream_of(real(10.1)), real(10.1).eeg_uV, [10**9]))
    for tokens, expected in zip(found, tokenizer().encode_windows(windows), strict=True):
        assert np.array_equal(tokens.ids, expected.ids)
        assert (tokens.scale, tokens.n_times) == (expected.scale, expected.n_times)
    assert found[-1].n_times == recording.n_times - 1600 == 420
    assert WINDOW_STEPS * tokenizer().step_s == WINDOW_S


def by_name(recording: Recording) -> Recording:
    order = np.argsort(recording.ch_names)
    names = tuple(recording.ch_names[i] for i in order)
    return replace(recording, eeg_uV=recording.eeg_uV[order], ch_names=names, positions=recording.positions[order])


@settings(max_examples=12, deadline=None)
@given(n_steps=st.integers(2, 32), which=st.integers(0, 3), seed=st.none() | st.integers(0, 99))
def test_a_causal_tokenizer_gives_a_prefix_of_a_window_the_prefix_of_its_ids(
    n_steps: int, which: int, seed: int | None
) -> None:
    window = real_windows(eegmat(), seconds=4.0)[which]
    if seed is not None:
        noise = np.random.default_rng(seed).standard_normal(window.eeg_uV.shape)
        window = replace(window, eeg_uV=(noise * window.scale_uV).astype(np.float32))
    part = replace(window, eeg_uV=window.eeg_uV[:, : n_steps * 25])
    whole, prefix = tokenizer().encode_windows([window, part])
    assert np.array_equal(prefix.ids, whole.ids[: n_steps * CONFIG.levels])


def test_a_recording_with_boundaries_is_one_stream_for_each_piece() -> None:
    recording = replace(real(30.0), boundaries=(4600, 4680, 8000))
    whole = encode_causal(tokenizer(), recording)
    assert whole.boundaries == (1840, 1872, 3200)
    assert whole.starts_s == (0.0, 4.0, 8.0, 9.36, 13.36, 16.0, 20.0, 24.0, 28.0)
    assert whole.gaps_s == ((9.2, 9.36),)
    assert "0.16 s in 1 pieces" in whole.notes[0]
    # the calibration ends before the first boundary, so that a stream decides the same
    first = stream_of(real())
    expected = in_chunks(first, recording.eeg_uV[:, :4600], [900])
    assert np.array_equal(np.concatenate([w.ids for w in whole.windows[:3]]), ids_of(expected).ravel())
    third = in_chunks(stream_of(real(), decided=first.decided), recording.eeg_uV[:, 4680:8000], [333])
    assert np.array_equal(np.concatenate([w.ids for w in whole.windows[3:5]]), ids_of(third).ravel())
    restored = tokenizer().decode(whole)
    assert (restored.n_times, restored.ch_names) == (whole.n_times, list(whole.ch_names))


def test_the_stream_of_a_person_who_is_known_has_the_ids_of_their_recording() -> None:
    whole = encode_causal(tokenizer(), real(), subject="ann").ids.reshape(-1, CONFIG.levels)
    stream = stream_of(real(), subject="ann")
    assert np.array_equal(ids_of(in_chunks(stream, real().eeg_uV, [700])), whole)
    assert not np.array_equal(whole, whole_ids())
    with pytest.raises(ConfigError, match="knows ann, bob"):
        stream_of(real(), subject="eve")


# --- what a user sees


def test_the_last_step_of_a_finished_stream_is_marked() -> None:
    recording = real(4.56, 250)
    stream = stream_of(recording, calibration_s=1.0)
    steps = stream.push(recording.eeg_uV)
    last = stream.finish()
    assert [step.n_times for step in steps + last] == [25] * 36 + [12]
    assert [(step.n_valid, step.window, step.step) for step in last] == [(12, 1, 4)]
    windows = windows_of(steps + last)
    assert [(len(w.ids), w.n_times) for w in windows] == [(32 * CONFIG.levels, None), (5 * CONFIG.levels, 112)]
    restored = tokenizer().decode_windows(windows, stream.positions, stream.ch_names)
    assert [window.eeg_uV.shape for window in restored] == [(19, 800), (19, 112)]
    assert stream.finish() == []
    with pytest.raises(DataError, match="finished"):
        stream.push(recording.eeg_uV)


def test_a_stream_that_ends_with_a_whole_step_has_no_more() -> None:
    recording = real(4.0, 250)
    stream = stream_of(recording, calibration_s=1.0)
    assert len(stream.push(recording.eeg_uV)) == 32
    assert stream.finish() == []


def test_a_stream_shorter_than_its_calibration_gives_everything_at_its_end() -> None:
    recording = real(2.0, 250)
    stream = stream_of(recording)
    assert stream.push(recording.eeg_uV) == []
    assert stream.decided is None
    assert np.array_equal(ids_of(stream.finish()), whole_ids(2.0, 250))
    short = stream_of(recording)
    short.push(recording.eeg_uV[:, :62])
    with pytest.raises(DataError, match=r"0\.25 s"):
        short.finish()


def test_the_calibration_is_waited_for_once() -> None:
    recording = real(6.0, 250)
    first = stream_of(recording, calibration_s=3.0)
    assert first.push(recording.eeg_uV[:, :749]) == []
    assert len(first.push(recording.eeg_uV[:, 749:750])) == 24
    later = stream_of(recording, decided=first.decided)
    assert len(later.push(recording.eeg_uV[:, :32])) == 1
    assert first.delay_s == later.delay_s == pytest.approx(0.0263, abs=1e-3)


def test_channels_that_are_no_eeg_or_bad_are_left_out_in_any_order_and_unit() -> None:
    recording = real(4.0, 250)
    rows = [recording.ch_names.index(name) for name in ("Fz", "Cz", "Pz", "O1", "O2")]
    eeg = np.concatenate([recording.eeg_uV[rows], np.zeros((2, 1000), np.float32)])
    names = ["fz", "CZ", "Pz", "O1", "O2", "ECG", "Oz"]
    stream = EEGStream(tokenizer(), names, 250.0, calibration_s=2.0)
    ids = ids_of(stream.push(eeg) + stream.finish())
    assert stream.ch_names == ("Cz", "Fz", "O1", "O2", "Pz")
    assert stream.positions.shape == (5, 3)
    assert stream.left_out == {"ECG": "ecg, not EEG", "Oz": "flat"}
    order = [6, 3, 0, 5, 4, 2, 1]
    other = EEGStream(tokenizer(), [names[i] for i in order], 250.0, calibration_s=2.0)
    assert np.array_equal(ids_of(other.push(eeg[order])), ids)
    volts = EEGStream(tokenizer(), names, 250.0, calibration_s=2.0, unit="V")
    assert (
        ids_of(volts.push(eeg.astype(np.float64) * 1e-6)) == ids
    ).mean() > 0.99  # the last bits of the numbers differ
    with pytest.raises(DataError, match="unit is wrong"):
        EEGStream(tokenizer(), names, 250.0, calibration_s=2.0).push(eeg * np.float32(1e-6))


def test_lost_samples_are_counted_and_never_filled() -> None:
    recording = real(6.0, 250)
    holed = recording.eeg_uV.copy()
    holed[:, 600:700] = np.nan
    holed[4, 1000] = np.nan
    steps = in_chunks(stream_of(recording, calibration_s=1.0), holed, [61])
    n_valid = np.array([step.n_valid for step in steps])
    assert (n_valid[:19] == 25).all() and n_valid[19] == 5  # 600 samples of 250 Hz are 480 of 200 Hz
    assert (n_valid[20:22] == 0).all() and 0 < n_valid[22] < 25
    assert n_valid[32] == 25 - 8  # all that the filter of the resampling mixes with one sample
    assert n_valid[33:].min() == n_valid[23:32].min() == 25
    expected = whole_ids(6.0, 250, 1.0)
    ids = ids_of(steps)
    assert np.array_equal(ids[:19], expected[:19])
    assert not np.array_equal(ids[20:22], expected[20:22])
    whole = encode_causal(tokenizer(), replace(recording, eeg_uV=holed), 1.0)
    assert np.array_equal(whole.ids, ids.ravel())
    assert "lost: 0.475 s" in whole.notes[-1]
    # what stood in the lost samples of the other channels is not seen
    changed = holed.copy()
    changed[:4, 1000] += 500
    again = in_chunks(stream_of(recording, calibration_s=1.0), changed, [61])
    assert np.array_equal(ids_of(again), ids)


def test_the_tokens_of_a_whole_recording_say_what_they_are() -> None:
    calibrated = EEGTokenizer(tokenizer().config, Preprocess(), tokenizer().network, 2, FAR_FROM_EEG)
    recording = real(9.0)
    bad = recording.eeg_uV.copy()
    bad[3] = 0.0
    tokens = encode_causal(calibrated, replace(recording, eeg_uV=bad, left_out={"ECG": "ECG, not EEG"}))
    assert tokens.ch_names == tuple(name for i, name in enumerate(recording.ch_names) if i != 3)
    assert tokens.positions.shape == (18, 3)
    assert tokens.left_out == {"ECG": "ECG, not EEG", recording.ch_names[3]: "flat"}
    assert (tokens.tokens_per_step, tokens.n_steps, tokens.n_times) == (2, 72, 1800)
    assert tokens.fingerprint == calibrated.fingerprint
    assert tokens.ood_z is not None and tokens.ood_z > 3
    assert "unlike EEG" in tokens.notes[-1]
    assert encode_causal(tokenizer(), recording).ood_z is None


# --- what is refused


def test_a_tokenizer_that_looks_ahead_is_refused() -> None:
    for wrong in (
        lambda: EEGStream(tiny_tokenizer(), NAMES, 250.0),
        lambda: encode_causal(tiny_tokenizer(), real(2.0)),
    ):
        with pytest.raises(ConfigError, match=r"configs/eeg-tokenizer-causal\.yaml"):
            wrong()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ch_names": ("Fz", "Cz", "Pz", "O1", "Fz")}, DataError, "Fz"),
        ({"ch_names": ("EOG", "ECG", "x", "y", "z")}, DataError, "none of its 5 columns"),
        ({"sfreq": 64.0}, DataError, "64 Hz"),
        ({"positions": np.zeros((4, 3))}, DataError, r"\(4, 3\), expected \(5, 3\)"),
        ({"unit": "kV"}, ConfigError, "kV"),
        ({"calibration_s": 0.0}, ConfigError, "0.25"),
        ({"decided": Decided(scale_uV=1.0, bad_channels={"T9": "loose"})}, ConfigError, "T9"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        EEGStream(tokenizer(), **{"ch_names": NAMES, "sfreq": 250.0} | change)


@pytest.mark.parametrize(
    "chunk", [np.zeros((4, 10)), np.zeros(5), np.zeros((5, 10), complex), np.zeros((1, 5, 10)), [["a"]] * 5]
)
def test_a_chunk_of_another_shape_is_refused(chunk: Any) -> None:
    stream = EEGStream(tokenizer(), NAMES, 250.0)
    with pytest.raises(DataError, match=r"expected real numbers \(5, n\)"):
        stream.push(chunk)
    assert stream.push(np.zeros((5, 0))) == []


def test_the_causal_preset_differs_in_nothing_else() -> None:
    plain, causal = (
        yaml.safe_load(Path(ROOT / "configs" / f"eeg-tokenizer{name}.yaml").read_text()) for name in ("", "-causal")
    )
    assert causal == plain | {"network": plain.get("network", {}) | {"causal": True}}
