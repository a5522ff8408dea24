"""Fidelity, robustness and novelty on signals and tokenizers whose truth is known."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_eeg import telling_labels

from neuroleon.evaluation.eeg import novelty as novel
from neuroleon.evaluation.eeg.fidelity import BANDS, CORRELATION, LSD, NMSE, eeg_fidelity, window_measures
from neuroleon.evaluation.eeg.robustness import robustness, source_rate, streaming, without
from neuroleon.evaluation.eeg.sets import coarser
from neuroleon.evaluation.metrics import band, log_spectral_distance_db
from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.recording import Recording
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, EEGTokens

NAMES = ("Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "Fz", "Cz", "Pz", "Oz", "T7", "T8")
PLACES = electrode_positions(NAMES)
CONFIG = EEGTokenizerConfig(
    sources=4, dim=32, heads=2, encoder_layers=1, decoder_layers=1, levels=3, codes=16, code_dim=8, semantic_dim=4
)


def smooth(seed: int, n_times: int = 400, names: tuple[str, ...] = NAMES) -> Window:
    """Two slow waves whose maps are linear over the head, so that neighbours tell a channel; average-referenced."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(n_times) / 200
    places = electrode_positions(names)
    waves = [np.sin(2 * np.pi * rng.uniform(2, 12) * seconds + rng.uniform(0, 6)) for _ in range(2)]
    eeg = sum(np.outer(places @ rng.standard_normal(3), wave) for wave in waves) + rng.normal(0, 0.02, (len(names), 1))
    eeg = 10 * (eeg - eeg.mean(axis=0)).astype(np.float32)
    return Window(eeg, names, places, scale_uV=float(eeg.std()))


@pytest.fixture(scope="module")
def tokenizer() -> EEGTokenizer:
    """Untrained, with codebooks that started from what it sees."""
    torch.manual_seed(0)
    network = telling_labels(EEGNetwork(CONFIG)).train()
    batch = [smooth(seed) for seed in range(8)]
    eeg = torch.from_numpy(np.stack([w.eeg_uV / w.scale_uV for w in batch]))
    places = torch.from_numpy(np.stack([electrodes(w.positions) for w in batch]))
    present, valid = torch.ones(eeg.shape[:2], dtype=torch.bool), torch.ones(8, 400, dtype=torch.bool)
    latents = network.encoder(eeg, places, present, valid).flatten(0, 1)
    network.quantizer(latents, torch.full((len(latents),), CONFIG.levels))
    return EEGTokenizer(CONFIG, Preprocess(), network)


class LowPass:
    """A codec that keeps what is below 20 Hz, and loses the rest as what it was never shown."""

    size, tokens_per_step, preprocess, calibration = 4, 1, Preprocess(), None

    def encode_windows(self, batch: list[Window]) -> list[Any]:
        return [SimpleNamespace(ids=np.zeros(w.eeg_uV.shape[1] // 25, int), eeg=w.eeg_uV) for w in batch]

    def decode_windows(self, batch: list[Any], positions: np.ndarray, ch_names: tuple[str, ...]) -> list[Window]:
        kept = [band(t.eeg, 0.0, 20.0, 200.0) + np.random.default_rng(0).normal(0, 0.3, t.eeg.shape) for t in batch]
        return [Window(x.astype(np.float32), ch_names, positions, 1.0) for x in kept]


def test_log_spectral_distance_golden() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 4, 4000))
    assert log_spectral_distance_db(first, first, 200.0) == 0.0
    assert log_spectral_distance_db(first, 2 * first, 200.0) == pytest.approx(20 * np.log10(2))
    assert log_spectral_distance_db(first, second, 200.0) == pytest.approx(7.6, abs=0.3)
    assert log_spectral_distance_db(first, np.zeros_like(first), 200.0) < 61, "the floor is 60 dB down"
    assert np.isfinite(log_spectral_distance_db(first[:, :60], second[:, :60], 200.0)), "shorter than a frame"


def test_measures_see_the_band_that_is_lost() -> None:
    seconds = np.arange(400) / 200
    slow, fast = (np.tile(np.sin(2 * np.pi * hz * seconds), (2, 1)) for hz in (10, 20))
    measures = window_measures(slow + fast, slow + 1e-6 * np.roll(fast, 3), 200.0)
    assert measures[BANDS["alpha"]] == pytest.approx(1.0) and measures[BANDS["beta"]] < 0.9
    assert measures[NMSE] == pytest.approx(0.5, abs=1e-3)
    assert measures[CORRELATION] == pytest.approx(np.sqrt(0.5), abs=1e-3)


def test_a_band_without_a_bin_has_no_correlation() -> None:
    window = np.random.default_rng(0).standard_normal((2, 50))  # 0.25 s: bins of 4 Hz, none from 1 to below 4
    measures = window_measures(window, window, 200.0)
    assert np.isnan(measures[BANDS["delta"]]) and measures[BANDS["theta"]] == pytest.approx(1.0)


def test_what_no_window_has_is_left_out(tokenizer: EEGTokenizer) -> None:
    windows = [smooth(seed, 50) for seed in range(4)]
    tokens = tokenizer.encode_windows(windows)
    found = eeg_fidelity(tokenizer, "toy", windows, tokens, windows, clusters=np.arange(4), seed=0)
    assert BANDS["delta"] not in found.measures and found.measures[CORRELATION].mean == pytest.approx(1.0)
    assert found.measures[LSD].mean == 0.0
    assert [c.name for c in found.codes] == ["level 1", "level 2", "level 3"] and found.codes[0].n_tokens == 8


def test_order_and_unit_keep_ids_and_lost_channels_do_not_keep_all(tokenizer: EEGTokenizer) -> None:
    windows = [smooth(seed) for seed in range(6)]
    found = robustness(tokenizer, "toy", windows, np.arange(6), seed=0)
    assert found.permuted == 1.0 and found.units == {"x10": (1.0, True), "x1000": (1.0, True)}
    assert found.dropped is not None and 0 < found.dropped.mean < 1
    assert found.filled["splines"].nmse.mean < 0.05 and found.filled["splines"].correlation.mean > 0.95
    assert found.filled["tokenizer"].nmse.mean > 0.3, "an untrained decoder cannot fill in"


def test_a_tokenizer_that_minds_order_or_unit_is_caught(
    tokenizer: EEGTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def minds(batch: list[Window]) -> list[EEGTokens]:
        first = [int(abs(w.eeg_uV[0, 0]) * 100) % CONFIG.codes for w in batch]
        return [EEGTokens(np.tile(code + np.arange(3) * CONFIG.codes, 16), 7) for code in first]

    broken = tokenizer.with_levels(3)
    monkeypatch.setattr(broken, "encode_windows", minds)
    found = robustness(broken, "toy", [smooth(seed) for seed in range(4)], np.arange(4), seed=0)
    assert found.permuted < 1.0 and found.units["x10"][0] < 1.0 and not found.units["x10"][1]


def test_few_channels_are_not_dropped(tokenizer: EEGTokenizer) -> None:
    found = robustness(tokenizer, "toy", [smooth(s, names=("O1", "O2", "Oz")) for s in range(3)], np.arange(3), seed=0)
    assert found.dropped is None and found.filled == {}


def test_a_lost_channel_does_not_stay_in_the_average() -> None:
    window = smooth(0)
    kept = without(window, np.array([0, 5]))
    assert window.averaged and kept.averaged
    assert kept.ch_names == tuple(n for i, n in enumerate(NAMES) if i not in (0, 5)) and kept.positions.shape == (14, 3)
    as_recorded = replace(window, eeg_uV=window.eeg_uV + window.eeg_uV[:1])
    np.testing.assert_array_equal(without(as_recorded, np.array([0])).eeg_uV, as_recorded.eeg_uV[1:])


def test_the_rate_of_the_source_matters_little(tokenizer: EEGTokenizer) -> None:
    rng = np.random.default_rng(0)
    eeg = rng.standard_normal((len(NAMES), 6000)).cumsum(axis=1).astype(np.float32)
    fast = Recording(eeg, NAMES, PLACES, 500.0, (), "walk", "s1")
    found = source_rate(tokenizer, fast)
    assert found is not None and found.n_steps == 3 * 32 and found.first > 0.9
    assert source_rate(tokenizer, replace(fast, sfreq=256.0)) is None


def test_only_a_causal_tokenizer_streams(tokenizer: EEGTokenizer) -> None:
    torch.manual_seed(0)
    causal = EEGTokenizer(replace(CONFIG, causal=True), Preprocess(), EEGNetwork(replace(CONFIG, causal=True)))
    for level, place in enumerate(CONFIG.coded):
        causal.network.quantizer.set_vectors(level, torch.randn(CONFIG.codes, place.stop - place.start))
    windows = [smooth(seed) for seed in range(3)]
    assert streaming(causal, windows) == 1.0
    assert streaming(tokenizer, windows) < 1.0


def test_white_noise_is_flagged_and_eeg_with_random_phases_is_not() -> None:
    windows = [smooth(seed) for seed in range(60)]
    rows = {row.kind: row for row in novel.novelty(LowPass(), "toy", windows[:30], windows[30:], seed=0)}  # type: ignore[arg-type]
    assert rows[novel.WHITE].flagged == rows[novel.FLAT].flagged == 1.0
    assert rows[novel.EEG].flagged < 0.1 and abs(rows[novel.EEG].mean_z) < 1
    assert rows[novel.PHASES].flagged < 0.2


def test_random_phases_keep_spectra_and_cross_spectra() -> None:
    window = smooth(1)
    turned = novel.KINDS[novel.PHASES](window, Preprocess(), np.random.default_rng(0))
    np.testing.assert_allclose(
        turned.eeg_uV @ turned.eeg_uV.T, window.eeg_uV @ window.eeg_uV.T, rtol=1e-3, atol=1e-2 * window.scale_uV**2
    )
    assert abs(np.corrcoef(turned.eeg_uV[0], window.eeg_uV[0])[0, 1]) < 0.9


def test_white_noise_comes_through_the_front_end_at_the_scale_of_the_window() -> None:
    window = smooth(2)
    noise = novel.KINDS[novel.WHITE](window, Preprocess(), np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(noise.eeg_uV)) ** 2
    assert noise.eeg_uV.shape == window.eeg_uV.shape and noise.eeg_uV.std() == pytest.approx(window.scale_uV, rel=0.1)
    assert spectrum[:, 120:].mean() < 0.01 * spectrum[:, 20:80].mean(), "60 Hz and more are cut"


def test_the_front_end_refuses_a_flat_line() -> None:
    of_recording, of_window = novel.front_end_on_flat(smooth(3), seed=0)
    assert "median amplitude" in of_recording and of_window == "flat"


def test_a_prefix_of_each_step_is_the_coarser_code(tokenizer: EEGTokenizer) -> None:
    window = smooth(4)
    (whole,), (coarse,) = tokenizer.encode_windows([window]), tokenizer.with_levels(2).encode_windows([window])
    np.testing.assert_array_equal(coarser(whole, 3, 2).ids, coarse.ids)
    assert coarser(whole, 3, 2).scale == whole.scale
