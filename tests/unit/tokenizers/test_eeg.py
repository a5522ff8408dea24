"""The EEG tokenizer: what must not change its ids, what must, what its folder holds, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_eeg import telling_labels

from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import atomic_folder, read_json, write_json
from neuroleon.signals.background import background_of
from neuroleon.signals.from_mne import array_recording
from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import RESPONSES, RHYTHMS, EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.recordings import prepared, stretch
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, EEGTokens, RecordingTokens

NAMES = ("Fz", "C3", "Cz", "C4", "Pz", "O1", "Oz", "O2")
CONFIG = EEGTokenizerConfig(
    sources=4, dim=32, heads=2, encoder_layers=1, decoder_layers=1, levels=4, codes=16, code_dim=8, semantic_dim=4
)
QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def window(seed: int, n_times: int = 200, names: tuple[str, ...] = NAMES) -> Window:
    rng = np.random.default_rng(seed)
    walk = rng.standard_normal((len(names), n_times)).cumsum(axis=1)
    eeg = (walk - walk.mean(axis=1, keepdims=True)).astype(np.float32)
    return Window(eeg, names, electrode_positions(names), scale_uV=float(eeg.std()))


def bipolar(made: Window, cathodes: tuple[str, ...]) -> Window:
    """The same numbers, said to be recorded against other electrodes; an unknown one is the common reference."""
    return replace(made, positions=np.concatenate([made.positions, electrode_positions(cathodes)], axis=1))


@pytest.fixture(scope="module")
def network() -> EEGNetwork:
    torch.manual_seed(0)
    made = telling_labels(EEGNetwork(CONFIG)).train()
    for seed in range(3):  # the codebooks start from latents that they see
        batch = [window(10 * seed + i) for i in range(8)]
        eeg = torch.from_numpy(np.stack([w.eeg_uV / w.scale_uV for w in batch]))
        places = torch.from_numpy(np.stack([electrodes(w.positions) for w in batch]))
        valid = torch.ones(8, 200, dtype=torch.bool)
        latents = made.encoder(eeg, places, torch.ones(eeg.shape[:2], dtype=torch.bool), valid).flatten(0, 1)
        made.quantizer(latents, torch.full((len(latents),), CONFIG.levels))
    return made


@pytest.fixture(scope="module")
def tokenizer(network: EEGNetwork) -> EEGTokenizer:
    return EEGTokenizer(CONFIG, Preprocess(), network)


def test_ids_lie_in_the_range_of_their_level(tokenizer: EEGTokenizer) -> None:
    (tokens,) = tokenizer.encode_windows([window(1)])
    levels = tokens.ids.reshape(-1, CONFIG.levels) // CONFIG.codes
    assert (tokens.ids.shape, tokens.ids.dtype, tokens.n_times) == ((8 * CONFIG.levels,), np.int64, None)
    assert (levels == np.arange(CONFIG.levels)).all()
    assert len(np.unique(tokens.ids)) > 3 * CONFIG.levels, "every step would have the same ids"
    assert (tokenizer.size, tokenizer.tokens_per_step, tokenizer.step_s) == (64, 4, 0.125)
    assert tokenizer.bits_per_second == 8 * 4 * 4


@QUICK
@given(order=st.permutations(range(len(NAMES))), seed=st.integers(0, 99))
def test_the_order_of_channels_does_not_matter(tokenizer: EEGTokenizer, order: list[int], seed: int) -> None:
    plain = window(seed)
    permuted = replace(
        plain, eeg_uV=plain.eeg_uV[order], positions=plain.positions[order], ch_names=tuple(NAMES[i] for i in order)
    )
    a, b = tokenizer.encode_windows([plain, permuted])
    assert np.array_equal(a.ids, b.ids)


@QUICK
@given(seed=st.integers(0, 99))
def test_a_unit_a_thousand_times_smaller_changes_the_scale_token_only(tokenizer: EEGTokenizer, seed: int) -> None:
    plain = window(seed)
    plain = replace(plain, eeg_uV=plain.eeg_uV / np.float32(plain.scale_uV * 2), scale_uV=0.5)
    louder = replace(plain, eeg_uV=plain.eeg_uV * 1000, scale_uV=500.0)
    a, b = tokenizer.encode_windows([plain, louder])
    assert np.array_equal(a.ids, b.ids)
    assert b.scale - a.scale == 24  # 32 bins for four powers of ten, three of which lie between the two


@QUICK
@given(data=st.data())
def test_the_company_in_a_batch_does_not_matter(tokenizer: EEGTokenizer, data: st.DataObject) -> None:
    kinds = [(200, NAMES), (200, NAMES), (50, ("Oz",)), (88, NAMES), (500, ("Cz", "Oz"))]
    chosen = data.draw(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=6))
    batch = [window(seed, *kinds[kind]) for kind, seed in chosen]
    together = tokenizer.encode_windows(batch)
    for made, tokens in zip(batch, together, strict=True):
        (alone,) = tokenizer.encode_windows([made])
        assert np.array_equal(alone.ids, tokens.ids)
        assert (alone.scale, alone.n_times) == (tokens.scale, tokens.n_times)


@pytest.mark.parametrize(("n_times", "n_steps"), [(50, 2), (51, 3), (88, 4), (100, 4), (3199, 128), (3200, 128)])
def test_windows_of_a_quarter_second_to_sixteen_seconds(tokenizer: EEGTokenizer, n_times: int, n_steps: int) -> None:
    made = window(4, n_times, ("Cz", "Oz"))
    (tokens,) = tokenizer.encode_windows([made])
    assert len(tokens.ids) == n_steps * CONFIG.levels
    assert tokens.n_times == (n_times if n_times % 25 else None)
    (restored,) = tokenizer.decode_windows([tokens], made.positions, made.ch_names)
    assert restored.eeg_uV.shape == made.eeg_uV.shape
    (latents,), (quantized,) = tokenizer.latents([made]), tokenizer.quantized([tokens])
    assert latents.shape == quantized.shape == (n_steps, CONFIG.latent_dim)
    assert latents.dtype == quantized.dtype == np.float32


def test_a_step_that_is_not_whole_is_not_one_that_ends_in_zeros(tokenizer: EEGTokenizer) -> None:
    """Its power is that of the samples there are, and its tokens say where it ends."""
    partial = window(4, 88)
    zeros = replace(partial, eeg_uV=np.pad(partial.eeg_uV, ((0, 0), (0, 12))))
    a, b = tokenizer.latents([partial, zeros])
    rhythms = CONFIG.coded[RHYTHMS]
    assert np.array_equal(a[:, : CONFIG.waveform_dim], b[:, : CONFIG.waveform_dim])
    assert np.abs(a - b)[-1, rhythms].max() > 1e-5, "far above rounding in double precision, with small random weights"
    assert [tokens.n_times for tokens in tokenizer.encode_windows([partial, zeros])] == [88, None]


def test_a_bipolar_window_has_ids_of_its_own_and_is_restored_as_one(tokenizer: EEGTokenizer) -> None:
    plain = window(2, names=("Fz", "C3", "O1"))
    pairs, none = bipolar(plain, ("Pz", "C4", "O2")), bipolar(plain, ("X", "X", "X"))
    a, b, c = tokenizer.encode_windows([plain, pairs, none])
    assert not np.array_equal(a.ids, b.ids)
    assert np.array_equal(a.ids, c.ids), "without a second electrode it is recorded against the common reference"
    single = tokenizer.decode_windows([b], electrode_positions(("Fz", "Pz")), ("Fz", "Pz"))[0]
    (restored,) = tokenizer.decode_windows([b], pairs.positions, ("Fz-Pz", "C3-C4", "O1-O2"))
    np.testing.assert_allclose(restored.eeg_uV[0], single.eeg_uV[0] - single.eeg_uV[1], atol=1e-4)
    assert restored.positions.shape == (3, 6)


def test_tokens_become_microvolts_at_any_electrodes(tokenizer: EEGTokenizer) -> None:
    first, second = tokenizer.encode_windows([window(5), window(6, 88)])
    names = ("Fp1", "Fp2", "O1")
    restored = tokenizer.decode_windows([first, second], electrode_positions(names), names)
    assert [w.eeg_uV.shape for w in restored] == [(3, 200), (3, 88)]
    assert {w.ch_names for w in restored} == {names}
    assert [tokenizer.scale_bin(w.scale_uV) for w in restored] == [first.scale, second.scale]
    louder = replace(first, scale=first.scale + 8)  # a quarter of four powers of ten
    (ten_times,) = tokenizer.decode_windows([louder], electrode_positions(names), names)
    np.testing.assert_allclose(ten_times.eeg_uV, 10 * restored[0].eeg_uV, rtol=1e-4)


@given(scale=st.floats(0.11, 990))
def test_the_scale_token_keeps_the_amplitude_within_a_bin(tokenizer: EEGTokenizer, scale: float) -> None:
    ratio = tokenizer.scale_uV(tokenizer.scale_bin(scale)) / scale
    assert abs(np.log(ratio)) <= np.log(CONFIG.scale_max_uV / CONFIG.scale_min_uV) / CONFIG.scale_bins


def test_amplitudes_that_no_bin_holds_are_in_the_outer_ones(tokenizer: EEGTokenizer) -> None:
    assert [tokenizer.scale_bin(x) for x in (1e-30, 0.05, 0.11, 990.0, 1e9)] == [0, 0, 0, 31, 31]


def test_fewer_levels_are_the_coarsest_ids_of_each_step(tokenizer: EEGTokenizer) -> None:
    made = window(7)
    (whole,) = tokenizer.encode_windows([made])
    errors, fingerprints = [], [tokenizer.fingerprint]
    for levels in (1, 2, 3):
        coarse = tokenizer.with_levels(levels)
        (tokens,) = coarse.encode_windows([made])
        assert np.array_equal(tokens.ids.reshape(-1, levels), whole.ids.reshape(-1, CONFIG.levels)[:, :levels])
        assert coarse.size == len(coarse.codebook) == levels * CONFIG.codes
        assert coarse.bits_per_second == 8 * 4 * levels
        assert np.array_equal(coarse.codebook, tokenizer.codebook[: coarse.size])
        errors.append(np.square(coarse.quantized([tokens])[0] - coarse.latents([made])[0]).mean())
        fingerprints.append(coarse.fingerprint)
    errors.append(np.square(tokenizer.quantized([whole])[0] - tokenizer.latents([made])[0]).mean())
    assert (np.diff(errors) < 0).all()
    assert len(set(fingerprints)) == 4, "ids of one rate mean nothing to who was taught another"
    assert tokenizer.with_levels(2).with_levels(4).fingerprint == tokenizer.fingerprint
    assert tokenizer.tokens_per_step == 4
    for wrong in (0, 5):
        with pytest.raises(ConfigError, match="1 to 4"):
            tokenizer.with_levels(wrong)
    with pytest.raises(DataError, match="EEG ids"):
        tokenizer.with_levels(3).decode_windows([whole], made.positions, made.ch_names)


def test_a_person_who_is_known_has_responses_of_their_own_and_company_of_others_changes_none(
    tokenizer: EEGTokenizer,
) -> None:
    assert tokenizer.subjects == ("ann", "bob")
    people = [None, "ann", "bob", "eve", "ann"]
    windows = [replace(window(1), subject=name) for name in people]
    nobody, ann, bob, eve, again = (tokens.ids for tokens in tokenizer.encode_windows(windows))
    for one, other in ((nobody, ann), (nobody, bob), (ann, bob)):
        differ = {i % CONFIG.levels for i in np.flatnonzero(one != other)}
        assert RESPONSES in differ <= {RESPONSES, RHYTHMS}, "the waveform is what it is"
    assert np.array_equal(eve, nobody), "somebody else is anybody"
    assert np.array_equal(again, ann)
    alone = [tokenizer.encode_windows([made])[0].ids for made in windows]
    assert all(map(np.array_equal, alone, (nobody, ann, bob, eve, again)))


def test_power_is_told_from_the_recording_and_that_of_others_in_a_batch_changes_none(tokenizer: EEGTokenizer) -> None:
    loud, quiet = ((level,) * 45 for level in (12.0, -9.0))
    windows = [replace(window(1), background=background) for background in (None, loud, quiet, loud)]
    usual, one, other, again = (tokens.ids for tokens in tokenizer.encode_windows(windows))
    for first, second in ((usual, one), (usual, other), (one, other)):
        differ = {i % CONFIG.levels for i in np.flatnonzero(first != second)}
        assert RHYTHMS in differ <= {RESPONSES, RHYTHMS}, "the waveform is what it is"
    assert np.array_equal(one, again)
    alone = [tokenizer.encode_windows([made])[0].ids for made in windows]
    assert all(map(np.array_equal, alone, (usual, one, other, again)))


def test_a_recording_of_a_minute_has_a_background_and_each_of_its_windows_too(tokenizer: EEGTokenizer) -> None:
    made = window(3, n_times=200 * 64)
    found = tokenizer.encode(made.eeg_uV, ch_names=made.ch_names, sfreq=200.0, unit="uV")
    assert isinstance(found, RecordingTokens)
    clean = prepared(tokenizer, array_recording(made.eeg_uV, list(made.ch_names), 200.0, "uV"))
    assert clean.background is not None and clean.background == background_of(clean.recording.eeg_uV, 200.0, ())
    cut = [stretch(clean, start, start + 800) for start in range(0, 200 * 64, 800)]
    ids = [tokens.ids for tokens in tokenizer.encode_windows(cut)]
    assert np.array_equal(np.concatenate(ids), found.ids)
    without = tokenizer.encode_windows([replace(w, background=None) for w in cut])
    assert not np.array_equal(np.concatenate([tokens.ids for tokens in without]), found.ids)


def test_a_recording_is_encoded_as_that_of_the_person_who_is_named(tokenizer: EEGTokenizer) -> None:
    made = window(3, n_times=800)
    given = {"ch_names": made.ch_names, "sfreq": 200.0, "unit": "uV"}
    anybody, ann = (tokenizer.encode(made.eeg_uV, subject=name, **given) for name in (None, "ann"))
    assert isinstance(anybody, RecordingTokens)
    assert isinstance(ann, RecordingTokens)
    assert not np.array_equal(anybody.ids, ann.ids)
    with pytest.raises(ConfigError, match=r"'eve': this EEG tokenizer knows ann, bob, as sample shards name people"):
        tokenizer.encode(made.eeg_uV, subject="eve", **given)


def test_the_codebook_row_of_an_id_is_the_vector_it_stands_for(tokenizer: EEGTokenizer) -> None:
    (tokens,) = tokenizer.encode_windows([window(8)])
    rows = tokenizer.codebook[tokens.ids].reshape(-1, CONFIG.levels, CONFIG.latent_dim)
    np.testing.assert_allclose(rows.sum(axis=1), tokenizer.quantized([tokens])[0], atol=1e-6)
    # and it is the nearest: the ids of the first levels of waveform and meaning by hand
    (latents,) = tokenizer.latents([window(8)])
    ids = tokens.ids.reshape(-1, CONFIG.levels)
    for level, place in enumerate(CONFIG.coded[:3]):
        rows = tokenizer.codebook[level * CONFIG.codes : (level + 1) * CONFIG.codes]
        assert not np.delete(rows, np.r_[place], axis=1).any(), "a level says nothing of the other part"
        distance = np.square(latents[:, None, place] - rows[None, :, place]).sum(-1)
        assert np.array_equal(ids[:, level], level * CONFIG.codes + distance.argmin(1))


def test_what_is_kept_of_the_network_is_a_copy_in_half_precision(network: EEGNetwork) -> None:
    made = EEGTokenizer(CONFIG, Preprocess(), network)
    before = made.encode_windows([window(9)])[0].ids
    assert all(torch.equal(x, x.half().float()) for x in made.network.state_dict().values() if x.is_floating_point())
    original = network.encoder.context.heard.weight.data.clone()
    try:
        network.encoder.context.heard.weight.data.zero_()
        assert np.array_equal(made.encode_windows([window(9)])[0].ids, before)
    finally:
        network.encoder.context.heard.weight.data.copy_(original)
    assert not torch.equal(original, original.half().float()), "the trained weights stay as they were"
    assert network.training


# --- folders


@pytest.mark.parametrize("levels", [4, 2])
def test_a_saved_tokenizer_gives_the_same_ids(tokenizer: EEGTokenizer, tmp_path: Path, levels: int) -> None:
    tokenizer.with_levels(levels).save(tmp_path / "eeg")
    loaded = EEGTokenizer.load(tmp_path / "eeg")
    assert loaded.tokens_per_step == levels
    assert loaded.fingerprint == tokenizer.with_levels(levels).fingerprint
    assert loaded.preprocess == tokenizer.preprocess
    assert loaded.config == CONFIG
    batch = [replace(window(seed, 88 + seed), background=(seed / 10,) * 45 if seed % 2 else None) for seed in range(20)]
    for a, b in zip(loaded.encode_windows(batch), tokenizer.with_levels(levels).encode_windows(batch), strict=True):
        assert np.array_equal(a.ids, b.ids)
    assert loaded.with_levels(4).fingerprint == tokenizer.fingerprint, "all levels are in the folder"
    stored = load_file(tmp_path / "eeg" / "model.safetensors")
    assert {x.dtype for x in stored.values()} == {torch.float16}
    assert [tuple(stored[f"codebook.{level}"].shape) for level in range(4)] == [(16, 8), (16, 4), (16, 4), (16, 8)]
    assert not [name for name in stored if name.startswith("quantizer")]


@pytest.mark.parametrize("quantizer", [{"quantizer": "vq"}, {"quantizer": "fsq", "codes": 1024, "code_dim": 5}])
def test_every_quantizer_is_saved_and_loaded(tmp_path: Path, quantizer: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, **quantizer)
    network = EEGNetwork(config).train()
    network.quantizer(torch.randn(256, config.latent_dim), torch.full((256,), config.levels))
    made = EEGTokenizer(config, Preprocess(), network)
    made.save(tmp_path / "eeg")
    loaded = EEGTokenizer.load(tmp_path / "eeg")
    (a,), (b,) = made.encode_windows([window(1)]), loaded.encode_windows([window(1)])
    assert np.array_equal(a.ids, b.ids)
    assert np.array_equal(made.quantized([a])[0], loaded.quantized([b])[0])
    assert loaded.fingerprint == made.fingerprint
    assert loaded.size == config.levels * config.codes


def test_the_fingerprint_tells_every_weight_and_setting(network: EEGNetwork, tokenizer: EEGTokenizer) -> None:
    found = {tokenizer.fingerprint}
    found.add(EEGTokenizer(CONFIG, Preprocess(high_hz=40.0), network).fingerprint)
    found.add(EEGTokenizer(replace(CONFIG, scale_bins=16), Preprocess(), network).fingerprint)
    for weight in (
        network.encoder.context.gate.bias,
        network.decoder.from_waveform.weight,
        network.quantizer.vectors(2),
    ):
        original = weight.data.clone()
        try:
            weight.data.flatten()[0] += 0.01
            found.add(EEGTokenizer(CONFIG, Preprocess(), network).fingerprint)
        finally:
            weight.data.copy_(original)
    assert len(found) == 6
    assert EEGTokenizer(CONFIG, Preprocess(), network).fingerprint in found


def test_a_changed_byte_is_refused(tokenizer: EEGTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "eeg")
    weights = tmp_path / "eeg" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="sha256"):
        EEGTokenizer.load(tmp_path / "eeg")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_missing_file_is_refused(tokenizer: EEGTokenizer, tmp_path: Path, name: str) -> None:
    tokenizer.save(tmp_path / "eeg")
    (tmp_path / "eeg" / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        EEGTokenizer.load(tmp_path / "eeg")
    with pytest.raises(CheckpointError, match="no such folder"):
        EEGTokenizer.load(tmp_path / "other")


def settings_changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        stored = read_json(folder / "config.json")
        write_json(folder / "config.json", change(stored))

    return edit


def weights_changed(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")

    return edit


def network_with(**change: Any) -> Callable[[Path], None]:
    return settings_changed(lambda stored: {**stored, "network": stored["network"] | change})


BIAS = "encoder.context.gate.bias"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (settings_changed(lambda stored: stored | {"format": "neuroleon.eeg-tokenizer/1"}), "format is not"),
        (settings_changed(lambda stored: [stored]), "format is not"),
        (settings_changed(lambda stored: {k: v for k, v in stored.items() if k != "preprocess"}), "preprocess"),
        (settings_changed(lambda stored: stored | {"preprocess": {"low_hz": 1.0}}), "preprocess"),
        (settings_changed(lambda stored: stored | {"levels_in_use": 5}), "config.json: .*5"),
        (settings_changed(lambda stored: stored | {"levels_in_use": 0}), "config.json: .*0"),
        (settings_changed(lambda stored: stored | {"levels_in_use": "many"}), "config.json"),
        (settings_changed(lambda stored: stored | {"subjects": ["ann"]}), "does not fit"),
        (settings_changed(lambda stored: {k: v for k, v in stored.items() if k != "subjects"}), "does not fit"),
        (settings_changed(lambda stored: stored | {"subjects": 2}), "config.json"),
        (network_with(levels=3), "levels_in_use is 4, expected 1 to 3"),
        (network_with(levels=5), "does not fit"),
        (network_with(semantic_dim=5), "does not fit"),
        (network_with(codes=32), "does not fit"),
        (network_with(sources=5), "does not fit"),
        (network_with(encoder_layers=2), "does not fit"),
        (network_with(heads=5), "heads"),
        (network_with(colour=1), "colour"),
        (network_with(dim="wide"), "config.json"),
        (weights_changed(lambda tensors: tensors | {BIAS: torch.zeros(3).half()}), "does not fit"),
        (weights_changed(lambda tensors: tensors | {"more": torch.zeros(3).half()}), "does not fit"),
        (weights_changed(lambda tensors: {k: v for k, v in tensors.items() if k != BIAS}), "does not fit"),
        (weights_changed(lambda tensors: {k: v for k, v in tensors.items() if k != "codebook.2"}), "does not fit"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"nothing"), "safetensors"),
    ],
)
def test_a_folder_that_is_whole_but_wrong_is_refused(
    tokenizer: EEGTokenizer, tmp_path: Path, edit: Callable[[Path], None], message: str
) -> None:
    with atomic_folder(tmp_path / "eeg") as folder:
        tokenizer.write(folder)
        edit(folder)
    with pytest.raises(CheckpointError, match=message):
        EEGTokenizer.load(tmp_path / "eeg")


# --- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sfreq": 250.0}, "250.0 Hz"),
        ({"eeg_uV": np.zeros((8, 49), np.float32)}, r"0.245 s; .*0.25 to 16 s"),
        ({"eeg_uV": np.zeros((8, 3201), np.float32)}, r"16.005 s; .*0.25 to 16 s"),
        ({"eeg_uV": np.zeros((8, 0), np.float32)}, "0 s"),
        ({"eeg_uV": np.full((8, 200), np.nan, np.float32)}, "NaN"),
        ({"eeg_uV": np.full((8, 200), -np.inf, np.float32)}, "infinite"),
        ({"positions": np.full((8, 3), np.nan, np.float32)}, "no known position for Fz"),
        ({"positions": np.zeros((7, 3), np.float32)}, "positions"),
        ({"positions": np.zeros((8, 4), np.float32)}, "positions"),
        ({"ch_names": NAMES[:7], "positions": np.zeros((7, 3), np.float32)}, "8 channels and 7 names"),
        (
            {
                "ch_names": (),
                "positions": np.zeros((0, 3), np.float32),
                "eeg_uV": np.zeros((0, 200), np.float32),
            },
            "0 channels",
        ),
        ({"scale_uV": 0.0}, "not positive"),
        ({"scale_uV": np.inf}, "not positive"),
        ({"scale_uV": np.nan}, "not positive"),
        ({"background": (1.0,) * 44}, "44 numbers; expected 45 finite"),
        ({"background": (np.nan,) * 45}, "45 finite"),
    ],
)
def test_a_bad_window_is_refused(tokenizer: EEGTokenizer, change: dict[str, Any], message: str) -> None:
    bad = replace(window(1), **change)
    with pytest.raises(DataError, match=message):
        tokenizer.encode_windows([window(2), bad])
    with pytest.raises(DataError, match=message):
        tokenizer.latents([bad])


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(3),
        np.zeros(0, int),
        np.zeros(CONFIG.levels, int),
        np.arange(CONFIG.levels) * CONFIG.codes - 1,
        np.arange(CONFIG.levels)[None] * CONFIG.codes,
    ],
)
def test_ids_that_are_no_whole_steps_or_in_the_wrong_level_are_refused(
    tokenizer: EEGTokenizer, ids: np.ndarray
) -> None:
    with pytest.raises(DataError, match="EEG ids"):
        tokenizer.decode_windows([EEGTokens(ids, 3)], electrode_positions(NAMES), NAMES)
    with pytest.raises(DataError, match="EEG ids"):
        tokenizer.quantized([EEGTokens(ids, 3)])


@pytest.mark.parametrize(
    ("names", "message"), [((), "0 channels"), (("Oz", "X"), "no known position for X"), (("Oz",) * 3, "3 channels")]
)
def test_eeg_is_not_decoded_at_unknown_places(tokenizer: EEGTokenizer, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        tokenizer.decode_windows(tokenizer.encode_windows([window(1)]), electrode_positions(names[:2]), names)
