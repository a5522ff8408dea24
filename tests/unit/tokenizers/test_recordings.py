"""Recordings through the EEG tokenizer: what must not change the ids, what is left out, and the way back to mne."""

import doctest
import shutil
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import mne
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_eeg import CONFIG, EXAMPLES, eegmat, real_windows, tiny_tokenizer

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.signals.montage import HEAD_CENTRE_M, HEAD_RADIUS_M, electrode_positions
from neuroleon.tokenizers.eeg.figures import reconstruction_figure
from neuroleon.tokenizers.eeg.surprise import Calibration, nmse
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, RecordingTokens


@pytest.fixture(scope="module")
def tokenizer() -> EEGTokenizer:
    return tiny_tokenizer()


def example(seconds: float | None = None) -> mne.io.BaseRaw:
    """8 electrodes, 240 Hz, 10 s."""
    raw = mne.io.read_raw_edf(EXAMPLES[0], preload=True, verbose="ERROR").set_annotations(None)
    return raw if seconds is None else raw.crop(0, seconds, include_tmax=False)


def all_over(raw: mne.io.BaseRaw) -> mne.io.BaseRaw:
    """The same signals at electrodes all over the head."""
    return raw.rename_channels(
        dict(zip(raw.ch_names, ("Fz", "C3", "Cz", "C4", "P3", "Pz", "P4", "Oz"), strict=True)), verbose="ERROR"
    )


def as_array(raw: mne.io.BaseRaw, **changes: object) -> dict[str, object]:
    return {"data": raw.get_data(), "ch_names": np.array(raw.ch_names), "sfreq": raw.info["sfreq"]} | changes


def same(a: RecordingTokens, b: RecordingTokens) -> bool:
    return bool(np.array_equal(a.ids, b.ids)) and [w.scale for w in a.windows] == [w.scale for w in b.windows]


def unlike(z: float) -> EEGTokenizer:
    """The tiny tokenizer with a calibration after which every window is far (z above 3) or near."""
    tokenizer = tiny_tokenizer()
    wanted = tokenizer.surprise(*next(iter(pairs(tokenizer))))
    calibration = Calibration(log_nmse=float(np.log(wanted)) - z, per_octave=0.0, spread=1.0, fewest=1, most=64)
    return EEGTokenizer(CONFIG, tokenizer.preprocess, tokenizer.network, calibration=calibration)


def pairs(tokenizer: EEGTokenizer) -> list[tuple]:
    windows = list(real_windows())
    return list(zip(windows, tokenizer.encode_windows(windows), strict=True))


def test_raw_epochs_and_array_of_the_same_eeg_give_the_same_ids(tokenizer: EEGTokenizer) -> None:
    raw = example(4.0)
    from_raw, from_array = tokenizer.encode(raw), tokenizer.encode(**as_array(raw))
    (from_epochs,) = tokenizer.encode(mne.EpochsArray(raw.get_data()[None], raw.info, verbose="ERROR"))
    assert len(from_raw) == 32 * CONFIG.levels
    assert len(np.unique(from_raw.ids)) > 2 * CONFIG.levels, "every step would have the same ids"
    assert same(from_raw, from_array)
    assert same(from_raw, from_epochs)


def test_epochs_are_filtered_one_by_one_and_have_one_scale(tokenizer: EEGTokenizer) -> None:
    parts = [example().crop(start, start + 1.5, include_tmax=False) for start in (0, 2, 5)]
    parts[2].apply_function(lambda x: 2 * x)
    epochs = mne.EpochsArray([part.get_data() for part in parts], parts[0].info, tmin=-0.5, verbose="ERROR")
    of_epochs = tokenizer.encode(epochs)
    joined = tokenizer.encode(mne.concatenate_raws(parts, verbose="ERROR"))  # with boundaries, which are pieces
    assert [one.windows[0].scale for one in of_epochs] == [of_epochs[0].windows[0].scale] * 3
    assert np.array_equal(np.concatenate([one.ids for one in of_epochs]), joined.ids)
    assert [one.starts_s for one in of_epochs] == [(-0.5,)] * 3
    assert joined.starts_s == (0.0, 1.5, 3.0)


@pytest.mark.parametrize(("unit", "factor"), [("mV", 1e3), ("uV", 1e6), ("nV", 1e9)])
def test_the_unit_changes_nothing(tokenizer: EEGTokenizer, unit: str, factor: float) -> None:
    raw = example(2.0)
    tokens = tokenizer.encode(raw)
    assert same(tokens, tokenizer.encode(**as_array(raw, data=raw.get_data() * factor, unit=unit)))
    assert same(tokens, tokenizer.encode(raw.apply_function(lambda x: x * factor), unit=unit))


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(8)))
def test_the_order_of_channels_changes_not_one_id(order: list[int]) -> None:
    raw = example(2.0)
    names = [raw.ch_names[i] for i in order]
    permuted = tiny_tokenizer().encode(**as_array(raw, data=raw.get_data()[order], ch_names=names))
    assert same(tiny_tokenizer().encode(raw), permuted)
    assert permuted.ch_names == tuple(names), "the recording keeps its own order"


def test_channels_are_summed_in_one_order(tokenizer: EEGTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding in another order would tip an id too rarely for the test above to see."""
    orders = []
    encode_windows = EEGTokenizer.encode_windows

    def spy(self: EEGTokenizer, batch: list) -> list:
        orders.append(batch[0].ch_names)
        return encode_windows(self, batch)

    monkeypatch.setattr(EEGTokenizer, "encode_windows", spy)
    raw = example(2.0)
    tokenizer.encode(raw)
    tokenizer.encode(raw.reorder_channels(raw.ch_names[::-1]))
    assert orders == [tuple(sorted(raw.ch_names))] * 2


@pytest.mark.parametrize("stock", ["standard_1020", "spherical_1005", "biosemi64", "easycap-M1"])
def test_a_montage_that_was_not_measured_says_no_more_than_the_names(tokenizer: EEGTokenizer, stock: str) -> None:
    raw = all_over(example(2.0))
    placed = raw.copy().set_montage(stock.replace("standard", "colin27"), on_missing="raise", verbose="ERROR")
    assert same(tokenizer.encode(raw), tokenizer.encode(placed))


def test_measured_electrodes_are_where_they_were_measured(tokenizer: EEGTokenizer) -> None:
    raw = all_over(example(2.0))
    by_name = electrode_positions(raw.ch_names)
    moved = by_name + np.array([0, 0.05, 0.05])  # 5 mm to the front and up
    places = dict(zip(raw.ch_names, moved * HEAD_RADIUS_M + HEAD_CENTRE_M, strict=True))
    raw.set_montage(mne.channels.make_dig_montage(places, coord_frame="head"), verbose="ERROR")
    np.testing.assert_allclose(tokenizer.encode(raw).positions, moved, atol=1e-5)


def test_the_rate_of_the_recording_hardly_changes_the_ids(tokenizer: EEGTokenizer) -> None:
    """Of 40 s at 500 and at 200 Hz, 97 % of the ids were equal, 99 % of the coarsest (another file: 95 % and 98 %)."""
    fast = mne.io.read_raw_edf(eegmat(), preload=True, verbose="ERROR").crop(10, 50, include_tmax=False)
    slow = fast.copy().resample(200, method="polyphase", verbose="ERROR")
    a, b = (tokenizer.encode(raw).ids.reshape(-1, CONFIG.levels) for raw in (fast, slow))
    assert fast.info["sfreq"] == 500
    assert np.mean(a[:, 0] == b[:, 0]) > 0.9
    assert np.mean(a == b) > 0.9


@pytest.mark.parametrize(
    ("seconds", "starts", "steps"), [(0.25, 1, 2), (0.44, 1, 4), (3.9, 1, 32), (4.1, 1, 33), (10.0, 3, 80)]
)
def test_any_duration_from_a_quarter_of_a_second(
    tokenizer: EEGTokenizer, seconds: float, starts: int, steps: int
) -> None:
    tokens = tokenizer.encode(example(seconds))
    assert (len(tokens.windows), tokens.n_steps, len(tokens)) == (starts, steps, steps * CONFIG.levels)
    assert tokens.left_out_s == 0
    restored = tokenizer.decode(tokens)
    assert restored.n_times == tokens.n_times == pytest.approx(200 * seconds, abs=1)
    assert np.all(restored.get_data().std(axis=0) > 0), "every sample is in a window"


def test_ten_seconds_and_a_bit_are_three_windows(tokenizer: EEGTokenizer) -> None:
    tokens = tokenizer.encode(mne.io.read_raw_edf(eegmat(), verbose="ERROR").crop(0, 10.3, include_tmax=False))
    assert tokens.starts_s == (0.0, 4.0, 8.0)
    assert [len(window.ids) // CONFIG.levels for window in tokens.windows] == [32, 32, 19]
    assert tokens.windows[-1].n_times == 460


def test_pieces_too_short_or_flat_are_left_out_and_said_so(tokenizer: EEGTokenizer) -> None:
    parts = [example().crop(1, 1 + length, include_tmax=False) for length in (2.0, 0.2, 1.0, 1.5)]
    parts[2].apply_function(lambda x: 0 * x)
    tokens = tokenizer.encode(mne.concatenate_raws(parts, verbose="ERROR"))
    assert tokens.gaps_s == ((2.0, 2.2), (2.2, 3.2))
    assert tokens.left_out_s == pytest.approx(1.2)
    assert "1.2 s in 2 pieces" in repr(tokens)
    restored = tokenizer.decode(tokens)
    marks = [(a["description"], round(a["onset"], 6), a["duration"]) for a in restored.annotations]
    assert ("BAD_ACQ_SKIP", 2.0, pytest.approx(0.2)) in marks
    assert ("EDGE boundary", 3.2, 0.0) in marks
    silent = (restored.get_data() == 0).all(axis=0)
    assert np.array_equal(np.flatnonzero(silent), np.arange(400, 640))
    assert tokenizer.encode(restored).gaps_s == tokens.gaps_s, "what is left out once is left out again"


def test_bad_channels_and_what_is_no_eeg_are_left_out(tokenizer: EEGTokenizer) -> None:
    raw = example(2.0)
    whole = raw.copy()
    raw.info["bads"] = ["T7"]
    raw.set_channel_types({"Fz": "eog"}, verbose="ERROR")
    raw.rename_channels({"Iz": "left elbow"})
    tokens = tokenizer.encode(raw)
    assert tokens.left_out == {"T7": "marked bad in the file", "Fz": "eog, not EEG", "left elbow": "no known position"}
    assert same(tokens, tokenizer.encode(whole.drop_channels(["T7", "Fz", "Iz"])))


def test_decoding_at_other_electrodes(tokenizer: EEGTokenizer) -> None:
    tokens = tokenizer.encode(example(1.0))
    named = tokenizer.decode(tokens, ["Oz", "Fp1"])
    whole = tokenizer.decode(tokens, "standard_1020")
    given = tokenizer.decode(tokens, mne.channels.make_standard_montage("biosemi64"))
    assert (named.ch_names, named.info["sfreq"], named.n_times) == (["Oz", "Fp1"], 200.0, 200)
    assert "estimated: Fp1" in named.info["description"]
    own = tokenizer.decode(tokens)
    np.testing.assert_array_equal(named.get_data(["Oz"]), own.get_data(["Oz"]))
    assert 1e-7 < own.get_data().std() < 1e-4, "volts"
    assert len({"T7", "T3"} & set(whole.ch_names)) == 1
    assert len(given.ch_names) == 64
    place = named.get_montage().get_positions()["ch_pos"]["Fp1"]
    np.testing.assert_allclose((place - HEAD_CENTRE_M) / HEAD_RADIUS_M, electrode_positions(["Fp1"])[0], atol=1e-5)


def test_electrodes_at_unknown_places_are_refused_by_name(tokenizer: EEGTokenizer) -> None:
    tokens = tokenizer.encode(example(0.5))
    with pytest.raises(DataError, match="no known position for elbow"):
        tokenizer.decode(tokens, ["Cz", "elbow"])
    with pytest.raises(DataError, match="each once"):
        tokenizer.decode(tokens, ["Cz", "Cz"])
    with pytest.raises(ConfigError, match="mne has none of that name"):
        tokenizer.decode(tokens, "cz")


def test_epochs_become_epochs(tokenizer: EEGTokenizer) -> None:
    data = example().get_data()[:, :2352].reshape(8, 14, 168).transpose(1, 0, 2)
    tokens = tokenizer.encode(mne.EpochsArray(data, example().info, tmin=-0.2, verbose="ERROR"))
    restored = tokenizer.decode(tokens)
    assert isinstance(restored, mne.EpochsArray)
    assert restored.get_data().shape == (14, 8, 140)
    assert restored.get_data().any(axis=1).all(), "every sample is in a window"
    assert restored.tmin == -0.2
    with pytest.raises(DataError, match="2 lengths or channels"):
        tokenizer.decode([tokens[0], replace(tokens[1], n_times=99)])


def test_epochs_of_a_fraction_of_a_sample_are_equally_long(tokenizer: EEGTokenizer) -> None:
    """104 samples at 240 Hz are 86.7 at 200 Hz: of epochs side by side, every third would have one sample less."""
    data = example().get_data()[:, :1040].reshape(8, 10, 104).transpose(1, 0, 2)
    tokens = tokenizer.encode(mne.EpochsArray(data, example().info, verbose="ERROR"))
    assert {one.n_times for one in tokens} == {one.windows[0].n_times for one in tokens} == {86}


def test_bipolar_derivations_go_through(tokenizer: EEGTokenizer) -> None:
    raw = mne.set_bipolar_reference(
        example(1.0), ["Fz", "O1", "POz"], ["T7", "T8", "Oz"], drop_refs=True, verbose="ERROR"
    )
    raw.pick(["Fz-T7", "O1-T8", "POz-Oz"])
    tokens = tokenizer.encode(raw)
    restored = tokenizer.decode(tokens)
    assert tokens.positions.shape == (3, 6)
    assert restored.ch_names == ["Fz-T7", "O1-T8", "POz-Oz"]
    assert same(tokenizer.encode(restored), tokenizer.encode(**as_array(restored))), "no position of mne's misleads"


def test_tokens_are_kept_in_a_file_without_pickles(tokenizer: EEGTokenizer, tmp_path: Path) -> None:
    parts = [example().crop(0, length, include_tmax=False) for length in (4.3, 0.1, 1.06)]
    tokens = replace(
        tokenizer.encode(mne.concatenate_raws(parts, verbose="ERROR")), left_out={"Pz": "bad", "ECG Anna": "ecg"}
    )
    tokens.save(tmp_path / "a.npz")
    loaded = RecordingTokens.load(tmp_path / "a.npz")
    unlike = {"windows": 0, "positions": 0, "name": "a", "left_out": {"Pz": "bad", "column 1": "ecg"}}
    assert asdict(tokens) | unlike == asdict(loaded) | {"windows": 0, "positions": 0}, "names of people are not kept"
    np.testing.assert_array_equal(tokens.positions, loaded.positions)
    for a, b in zip(tokens.windows, loaded.windows, strict=True):
        assert (a.ids.tolist(), a.scale, a.n_times) == (b.ids.tolist(), b.scale, b.n_times)
    assert loaded.ids.dtype == np.int64
    np.testing.assert_array_equal(tokenizer.decode(tokens).get_data(), tokenizer.decode(loaded).get_data())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


def test_a_file_that_is_not_whole_is_refused(tokenizer: EEGTokenizer, tmp_path: Path) -> None:
    tokenizer.encode(example(0.5)).save(tmp_path / "a.npz")
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    np.savez(tmp_path / "other.npz", ids=np.zeros(3))
    for name, message in (("cut", "cut.npz"), ("other", "about"), ("none", "no such file")):
        with pytest.raises(DataError, match=message):
            RecordingTokens.load(tmp_path / f"{name}.npz")


def test_tokens_of_another_tokenizer_are_refused_with_both_names(tokenizer: EEGTokenizer) -> None:
    tokens = tokenizer.encode(example(0.5))
    coarse = tokenizer.with_levels(2)
    with pytest.raises(CheckpointError, match=f"{tokens.fingerprint[:12]}.*{coarse.fingerprint[:12]}"):
        coarse.decode(tokens)
    assert len(coarse.encode(example(0.5))) == len(tokens) // 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"ch_names": None}, ConfigError, "an array needs both"),
        ({"sfreq": None}, ConfigError, "an array needs both"),
        ({"unit": "T"}, ConfigError, "unit 'T'"),
        ({"data": np.zeros((2, 8, 400))}, DataError, "mne.EpochsArray"),
        ({"data": np.zeros((7, 400))}, DataError, "7, 400"),
        ({"data": np.zeros((8, 400))}, DataError, "flat"),
        ({"data": np.full((8, 400), np.nan)}, DataError, "NaN"),
        ({"unit": "uV"}, DataError, "the unit is wrong"),
        ({"ch_names": ["x", *"abcdefg"]}, DataError, "none of its 8 columns"),
    ],
)
def test_what_cannot_be_tokenized_is_refused(
    tokenizer: EEGTokenizer, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tokenizer.encode(**as_array(example(2.0), **changes))


def test_recordings_and_epochs_of_other_lengths_are_refused(tokenizer: EEGTokenizer) -> None:
    raw = example()
    with pytest.raises(DataError, match=r"shorter than 0\.25 s"):
        tokenizer.encode(example(0.2))
    with pytest.raises(ConfigError, match="mne object has its own"):
        tokenizer.encode(raw, sfreq=200.0)
    for n_times in (50, 240 * 17):
        data = np.resize(raw.get_data(), (2, 8, n_times))
        with pytest.raises(DataError, match="an epoch is one window"):
            tokenizer.encode(mne.EpochsArray(data, raw.info, verbose="ERROR"))
    data = raw.get_data()[None, :, :480] * np.array([1, 0, 1])[:, None, None]
    with pytest.raises(DataError, match="epochs: 1 are flat"):
        tokenizer.encode(mne.EpochsArray(data, raw.info, verbose="ERROR"))


def test_a_tokenizer_is_found_in_its_folder_and_in_a_models(tokenizer: EEGTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "model" / "tokenizers" / "eeg")
    for folder in (tmp_path / "model", tmp_path / "model" / "tokenizers" / "eeg"):
        assert EEGTokenizer.from_pretrained(folder).fingerprint == tokenizer.fingerprint
    with pytest.raises(CheckpointError, match="no such folder"):
        EEGTokenizer.from_pretrained(tmp_path / "nothing")


def test_surprise_is_the_part_that_is_lost(tokenizer: EEGTokenizer) -> None:
    window, tokens = pairs(tokenizer)[0]
    (restored,) = tokenizer.decode_windows([tokens], window.positions, window.ch_names)
    lost = np.square(restored.eeg_uV - window.eeg_uV).sum() / np.square(window.eeg_uV).sum()
    assert tokenizer.surprise(window, tokens) == pytest.approx(lost, rel=1e-5)
    assert nmse(window, window) == pytest.approx(0, abs=1e-9)
    assert nmse(window, replace(window, eeg_uV=0 * window.eeg_uV)) == pytest.approx(1)


def test_a_calibration_is_kept_and_changes_neither_ids_nor_fingerprint(tokenizer: EEGTokenizer, tmp_path: Path) -> None:
    assert tokenizer.calibration is None
    with pytest.raises(ConfigError, match="not calibrated"):
        tokenizer.ood_z(*pairs(tokenizer)[0])
    calibrated = tokenizer.calibrated(real_windows())
    z = [calibrated.ood_z(*pair) for pair in pairs(calibrated)]
    assert np.median(z) == pytest.approx(0, abs=1e-6)
    assert 2 * np.mean(np.clip(z, 0, None) ** 2) == pytest.approx(1)
    assert calibrated.fingerprint == tokenizer.fingerprint
    calibrated.save(tmp_path / "eeg")
    assert EEGTokenizer.load(tmp_path / "eeg").calibration == calibrated.calibration
    coarse = calibrated.with_levels(1)
    assert [coarse.ood_z(*pair) for pair in pairs(coarse)] == z, "it is measured at all levels"
    with pytest.raises(DataError, match="1 windows"):
        tokenizer.calibrated(real_windows()[:1])


def test_a_calibration_knows_that_more_channels_come_back_worse() -> None:
    channels = [4, 4, 4, 16, 16, 16, 64, 64, 64]
    errors = [0.05 * n**0.5 * factor for n, factor in zip(channels, [0.1, 1.0, 1.2] * 3, strict=True)]
    calibration = Calibration.of(errors, channels)
    assert calibration.per_octave == pytest.approx(np.log(2) / 2)
    assert [calibration.z(0.05 * n**0.5, n) for n in (4, 16, 64)] == pytest.approx([0, 0, 0], abs=1e-6)
    worst = calibration.z(0.05 * 4**0.5 * 1.2, 4)
    assert worst == pytest.approx(1.5**0.5), "blinks that come back well do not widen it"
    assert calibration.z(0.4, 256) == calibration.z(0.4, 64), "no guess beyond the channels seen"
    alone = Calibration.of([0.1, 0.2, 0.3], [6, 6, 6])
    assert alone.per_octave == 0 and alone.z(0.2, 64) == pytest.approx(0)


def test_what_is_unlike_eeg_is_never_decoded_silently() -> None:
    strange, usual = unlike(z=7.0), unlike(z=0.0)
    tokens = strange.encode(example(1.0))
    assert tokens.ood_z == pytest.approx(7, abs=1)
    assert "unlike EEG (z = " in repr(tokens)
    with pytest.warns(UserWarning, match="unlike EEG"):
        strange.decode(tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert usual.decode(usual.encode(example(1.0))).n_times == 200


def test_the_example_of_the_docstring_runs(
    tokenizer: EEGTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer.save(tmp_path / "models" / "default" / "tokenizers" / "eeg")
    shutil.copy(EXAMPLES[0], tmp_path / "my.edf")
    monkeypatch.chdir(tmp_path)
    names = {"EEGTokenizer": EEGTokenizer, "mne": mne}
    found = doctest.DocTestParser().get_doctest(EEGTokenizer.__doc__ or "", names, "EEGTokenizer", None, None)
    mne.set_log_level("ERROR")
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found)
    assert outcome.attempted >= 5
    assert outcome.failed == 0


@pytest.mark.parametrize("n_chans", [2, 8])
def test_a_figure_has_waveforms_spectra_and_topographies(tokenizer: EEGTokenizer, n_chans: int) -> None:
    whole = real_windows()[0]
    window = replace(
        whole, eeg_uV=whole.eeg_uV[:n_chans], ch_names=whole.ch_names[:n_chans], positions=whole.positions[:n_chans]
    )
    (restored,) = tokenizer.decode_windows(tokenizer.encode_windows([window]), window.positions, window.ch_names)
    figure = reconstruction_figure(window, restored, "title")
    titles = {axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")}
    words = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert {"waveforms", "spectra, median and middle half of the channels"} <= titles
    assert ({"alpha, original", "alpha, restored", "correlation"} <= titles) == (n_chans >= 4)
    assert any("this recording has 2" in text for text in words) == (n_chans < 4)
