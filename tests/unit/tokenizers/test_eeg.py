"""The EEG tokenizer: what must not change its ids, what must, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.common.files import atomic_folder, read_json, write_json
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.losses import reconstruction_losses
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, EEGTokens

NAMES = ("Fz", "C3", "Cz", "C4", "Pz", "O1", "Oz", "O2")
CONFIG = EEGTokenizerConfig(sources=4, dim=32, heads=2, encoder_layers=1, decoder_layers=1, codes=16, code_dim=8)


def window(seed: int, n_steps: int = 8, names: tuple[str, ...] = NAMES) -> Window:
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((len(names), n_steps * 25)).cumsum(axis=1)
    eeg = (steps - steps.mean(axis=1, keepdims=True)).astype(np.float32)
    return Window(eeg, names, electrode_positions(names), scale_uV=float(eeg.std()))


@pytest.fixture(scope="module")
def tokenizer() -> EEGTokenizer:
    torch.manual_seed(0)
    network = EEGNetwork(CONFIG).train()
    for seed in range(3):  # the codebooks start from latents that they see
        batch = [window(10 * seed + i) for i in range(8)]
        eeg = torch.from_numpy(np.stack([w.eeg_uV / w.scale_uV for w in batch]))
        places = torch.from_numpy(np.stack([w.positions for w in batch]))
        network.quantizer(network.encoder(eeg, places, torch.ones(eeg.shape[:2], dtype=torch.bool)))
    return EEGTokenizer(CONFIG, network)


def test_ids_lie_in_the_range_of_their_slot(tokenizer: EEGTokenizer) -> None:
    (tokens,) = tokenizer.encode([window(1)])
    slots = tokens.ids.reshape(-1, CONFIG.tokens_per_step) // CONFIG.codes
    assert len(tokens.ids) == 8 * CONFIG.tokens_per_step
    assert (slots == np.arange(CONFIG.tokens_per_step)).all()
    assert len(np.unique(tokens.ids)) > CONFIG.tokens_per_step, "every window would have the same ids"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(len(NAMES))), seed=st.integers(0, 99))
def test_the_order_of_channels_does_not_matter(tokenizer: EEGTokenizer, order: list[int], seed: int) -> None:
    plain = window(seed)
    permuted = replace(
        plain, eeg_uV=plain.eeg_uV[order], positions=plain.positions[order], ch_names=tuple(NAMES[i] for i in order)
    )
    a, b = tokenizer.encode([plain, permuted])
    assert np.mean(a.ids == b.ids) > 0.98  # sums in another order may tip a tie


def test_a_unit_ten_times_larger_changes_the_scale_token_only(tokenizer: EEGTokenizer) -> None:
    plain = window(3)
    louder = replace(plain, eeg_uV=plain.eeg_uV * 8, scale_uV=plain.scale_uV * 8)
    a, b = tokenizer.encode([plain, louder])
    assert (a.ids == b.ids).all()
    per_bin = np.log(CONFIG.scale_max_uV / CONFIG.scale_min_uV) / CONFIG.scale_bins
    assert b.scale - a.scale == pytest.approx(np.log(8) / per_bin, abs=1)


def test_windows_of_different_montages_and_durations_go_in_one_batch(tokenizer: EEGTokenizer) -> None:
    batch = [window(1), window(2, n_steps=4, names=("Oz",)), window(3, n_steps=20)]
    alone = [tokenizer.encode([w])[0] for w in batch]
    together = tokenizer.encode(batch)
    for a, b in zip(alone, together, strict=True):
        assert (a.ids == b.ids).all()
    assert [len(t.ids) // CONFIG.tokens_per_step for t in together] == [8, 4, 20]


def test_tokens_become_microvolts_at_any_electrodes(tokenizer: EEGTokenizer) -> None:
    (tokens,) = tokenizer.encode([window(5)])
    names = ("Fp1", "Fp2", "O1")
    (restored,) = tokenizer.decode([tokens], electrode_positions(names), names)
    assert restored.eeg_uV.shape == (3, 200)
    assert restored.ch_names == names
    assert tokenizer.scale_bin(restored.scale_uV) == tokens.scale


@given(scale=st.floats(0.11, 990))
def test_the_scale_token_keeps_the_amplitude_within_a_bin(tokenizer: EEGTokenizer, scale: float) -> None:
    ratio = tokenizer.scale_uV(tokenizer.scale_bin(scale)) / scale
    assert abs(np.log(ratio)) <= np.log(CONFIG.scale_max_uV / CONFIG.scale_min_uV) / CONFIG.scale_bins


def test_a_saved_tokenizer_gives_the_same_ids(tokenizer: EEGTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "eeg")
    loaded = EEGTokenizer.load(tmp_path / "eeg")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert (loaded.encode([window(7)])[0].ids == tokenizer.encode([window(7)])[0].ids).all()
    assert loaded.codebook.shape == (CONFIG.size, CONFIG.code_dim)


def test_the_codebook_row_of_an_id_is_the_vector_it_stands_for(tokenizer: EEGTokenizer) -> None:
    (tokens,) = tokenizer.encode([window(8)])
    rows = torch.from_numpy(tokenizer.codebook)[tokens.ids].reshape(-1, CONFIG.levels, CONFIG.slots, CONFIG.code_dim)
    looked_up = tokenizer.network.quantizer.lookup(
        torch.from_numpy(tokens.ids.reshape(1, -1, CONFIG.tokens_per_step) % CONFIG.codes)
    )
    torch.testing.assert_close(rows.sum(dim=1).flatten(1), looked_up[0])


def test_a_changed_byte_is_refused(tokenizer: EEGTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "eeg")
    weights = tmp_path / "eeg" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256"):
        EEGTokenizer.load(tmp_path / "eeg")


@pytest.mark.parametrize("change", [{"slots": 2}, {"heads": 5}, {"colour": 1}])
def test_settings_that_the_weights_do_not_fit_are_refused(
    tokenizer: EEGTokenizer, tmp_path: Path, change: dict[str, int]
) -> None:
    with atomic_folder(tmp_path / "eeg") as folder:
        tokenizer.write(folder)
        stored = read_json(folder / "config.json")
        write_json(folder / "config.json", {**stored, "network": stored["network"] | change})
    with pytest.raises(CheckpointError):
        EEGTokenizer.load(tmp_path / "eeg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sfreq": 250.0}, "250.0 Hz"),
        ({"eeg_uV": np.zeros((8, 201), np.float32)}, "whole steps"),
        ({"eeg_uV": np.zeros((8, 0), np.float32)}, "whole steps"),
        ({"eeg_uV": np.full((8, 200), np.nan, np.float32)}, "NaN"),
        ({"positions": np.full((8, 3), np.nan, np.float32)}, "no known position for Fz"),
        ({"positions": np.zeros((7, 3), np.float32)}, "positions"),
        ({"ch_names": NAMES[:7], "positions": np.zeros((7, 3), np.float32)}, "8 channels and 7 names"),
        ({"scale_uV": 0.0}, "not positive"),
        ({"scale_uV": np.inf}, "not positive"),
    ],
)
def test_a_bad_window_is_refused(tokenizer: EEGTokenizer, change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        tokenizer.encode([replace(window(1), **change)])


@pytest.mark.parametrize("ids", [np.arange(3), np.zeros(0, int), np.zeros(CONFIG.tokens_per_step, int)])
def test_ids_that_are_no_whole_steps_or_in_the_wrong_slot_are_refused(tokenizer: EEGTokenizer, ids: np.ndarray) -> None:
    with pytest.raises(DataError, match="EEG ids"):
        tokenizer.decode([EEGTokens(ids, 3)], electrode_positions(NAMES), NAMES)


@pytest.mark.parametrize(
    ("names", "message"), [((), "0 channels"), (("Oz", "X"), "no known position for X"), (("Oz",) * 3, "3 channels")]
)
def test_eeg_is_not_decoded_at_unknown_places(tokenizer: EEGTokenizer, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        tokenizer.decode(tokenizer.encode([window(1)]), electrode_positions(names[:2]), names)


def test_phase_loss_sees_a_shift_and_not_a_gain() -> None:
    time = torch.arange(400) / 200
    wave = torch.sin(2 * torch.pi * 10 * time)[None, None]
    present = torch.ones(1, 1, dtype=torch.bool)
    same = reconstruction_losses(wave * 2, wave, present)
    shifted = reconstruction_losses(wave.roll(10, -1), wave, present)  # half a period
    assert same["phase"] < 0.05
    assert shifted["phase"] > 1.5
    assert same["amplitude"] > 10 * reconstruction_losses(wave, wave, present)["amplitude"] + 0.1
