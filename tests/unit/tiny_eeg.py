"""A small EEG tokenizer whose codebooks were started from real windows, and real recordings, for tests."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.signals.montage import electrodes
from neuroleon.signals.plausibility import pieces
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples" / "recordings").glob("*.edf"))
CONFIG = EEGTokenizerConfig(
    sources=4, dim=32, heads=2, encoder_layers=1, decoder_layers=1, levels=4, codes=32, code_dim=8, semantic_dim=4
)


def telling_labels(network: EEGNetwork) -> EEGNetwork:
    """The network, whose semantic numbers say something, as if they were fitted to a set of two labels, which `ann` and
    `bob` have responses of their own for, and are trusted alike."""
    evidence = network.encoder.evidence
    evidence.know(["ann", "bob"], responses=True, rhythms=True)
    assert evidence.own is not None
    assert evidence.own_rhythms is not None
    torch.nn.init.normal_(evidence.own.heard, std=0.03)
    torch.nn.init.normal_(evidence.own.templates, std=0.1)
    torch.nn.init.normal_(evidence.templates, std=0.01)
    torch.nn.init.normal_(evidence.spectra, std=0.01)
    evidence.tell_from(torch.linspace(2.0, -1.0, 45))
    of_own = (evidence.own.posterior, evidence.own_rhythms.posterior)
    for posterior in (evidence.of_responses, evidence.of_rhythms, *of_own):
        posterior.same_set[:2, :2] = 1.0
        posterior.trust[..., 1:, :] = 1.0
    return network


def eegmat(name: str = "Subject00_2.edf") -> Path:
    """A recording of 62 s, 19 electrodes, 500 Hz, of the EEG mental arithmetic set; the test is skipped without it."""
    path = ROOT.parent / "shared" / "data" / "eegmat" / name
    if not path.exists():
        pytest.skip("shared/data/eegmat is not here")
    return path


@cache
def real_windows(path: Path = EXAMPLES[0], seconds: float = 1.0) -> tuple[Window, ...]:
    """Consecutive windows of a recording."""
    made = Preprocess().apply(read_recording(path))
    recording, size = made.recording, round(seconds * 200)
    return tuple(
        Window(recording.eeg_uV[:, start : start + size], recording.ch_names, recording.positions, made.scale_uV)
        for first, stop in pieces(recording.n_times, recording.boundaries)
        for start in range(first, stop - size + 1, size)
    )


@cache
def tiny_tokenizer() -> EEGTokenizer:
    """Untrained, but with codes for what its encoder makes of real EEG."""
    torch.manual_seed(0)
    network = telling_labels(EEGNetwork(CONFIG)).train()
    windows = [window for path in EXAMPLES for window in real_windows(path)]
    for chans in {len(window.ch_names) for window in windows}:
        batch = [window for window in windows if len(window.ch_names) == chans]
        eeg = torch.from_numpy(np.stack([window.eeg_uV / window.scale_uV for window in batch]))
        places = torch.from_numpy(np.stack([electrodes(window.positions) for window in batch]))
        valid = torch.ones(len(batch), eeg.shape[2], dtype=torch.bool)
        with torch.no_grad():
            latents = network.encoder(eeg, places, torch.ones(eeg.shape[:2], dtype=torch.bool), valid).flatten(0, 1)
            network.quantizer(latents, torch.full((len(latents),), CONFIG.levels))
    return EEGTokenizer(CONFIG, Preprocess(), network)
