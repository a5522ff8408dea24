"""EEGTokenizer: EEG of any montage to ids, and ids to EEG of any montage.

Folder: `config.json`, `model.safetensors`, `manifest.json`.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from neuroleon.common.checkpoint import save_tensors
from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import atomic_folder, sha256_json, write_json
from neuroleon.common.hub import local_folder
from neuroleon.signals.montage import electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.recording import Recording
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.evidence import Evidence, backgrounds
from neuroleon.tokenizers.eeg.folder import FORMAT, read_folder
from neuroleon.tokenizers.eeg.network import EEGNetwork
from neuroleon.tokenizers.eeg.recordings import encode
from neuroleon.tokenizers.eeg.restored import decode
from neuroleon.tokenizers.eeg.surprise import Calibration, nmse
from neuroleon.tokenizers.eeg.tokens import EEGTokens, RecordingTokens
from neuroleon.tokenizers.eeg.windows import check_positions, check_window, same_shape

if TYPE_CHECKING:
    from mne import BaseEpochs, EpochsArray
    from mne.channels import DigMontage
    from mne.io import BaseRaw, RawArray

__all__ = ["EEGTokenizer", "EEGTokens", "RecordingTokens"]

CLIP = 15.0  # in units of the scale; beyond lies no EEG


class EEGTokenizer:
    """A trained EEG network as a tokenizer: a few lines from a recording to ids, and back.

    >>> tokenizer = EEGTokenizer.from_pretrained("models/default")
    >>> tokens = tokenizer.encode(mne.io.read_raw("my.edf"))  # or mne.Epochs, or an array with ch_names and sfreq
    >>> tokens.ids  # coarse to fine in each step of 125 ms
    array([...])
    >>> tokenizer.decode(tokens)  # 200 Hz, 0.5 to 45 Hz, average reference
    <RawArray ...>
    >>> tokenizer.decode(tokens, montage=["Fz", "Cz", "Oz"]).ch_names  # whether they were recorded or not
    ['Fz', 'Cz', 'Oz']

    Level j of a step, j in 0 .. tokens_per_step - 1, uses local ids [j * codes, (j + 1) * codes). Ids are decided in
    double precision with weights of half precision, so that the order of channels, the unit of the numbers, the company
    in a batch and the machine do not tip them.
    """

    def __init__(
        self,
        config: EEGTokenizerConfig,
        preprocess: Preprocess,
        network: EEGNetwork,
        levels: int | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        """Take a trained network; it is copied. `levels`: see `with_levels`; `calibration`: see `ood_z`."""
        self.config, self.preprocess, self.calibration = config, preprocess, calibration
        self.network = network.as_trained().float().eval().requires_grad_(False)
        for tensor in self.network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
        self._encoder = copy.deepcopy(self.network.encoder).double()
        self.tokens_per_step = config.levels if levels is None else levels

    def with_levels(self, levels: int) -> Self:
        """The same tokenizer with the coarsest `levels` ids of each step only: a lower rate, ids of their own meaning.

        Raises:
            ConfigError: the tokenizer does not have so many.
        """
        if not 1 <= levels <= self.config.levels:
            raise ConfigError(f"EEG tokenizer: {levels} levels asked for; it has 1 to {self.config.levels}")
        view = copy.copy(self)
        view.__dict__.pop("fingerprint", None)
        view.tokens_per_step = levels
        return view

    def reading(self, evidence: Evidence) -> Self:
        """A tokenizer that is the same but for what labels are read by; not calibrated."""
        network = copy.deepcopy(self.network)
        network.encoder.evidence = copy.deepcopy(evidence)
        return type(self)(self.config, self.preprocess, network, self.tokens_per_step)

    def __repr__(self) -> str:
        return (
            f"<EEGTokenizer {self.fingerprint[:12]}: {1 / self.step_s:g} steps a second of {self.tokens_per_step} ids, "
            f"{self.size} ids, {self.bits_per_second:g} bit/s>"
        )

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.tokens_per_step * self.config.codes

    @property
    def bits_per_second(self) -> float:
        return self.config.bits_per_second * self.tokens_per_step / self.config.levels

    @property
    def step_samples(self) -> int:
        return self.config.step_samples

    @property
    def step_s(self) -> float:
        return self.config.step_samples / self.config.sfreq

    @property
    def codebook(self) -> np.ndarray:
        """float32 (size, latent_dim): what every local id adds to the latent of its step."""
        return self.network.quantizer.summands[: self.size].float().cpu().numpy()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the settings and every weight."""
        told = {"format": FORMAT, "preprocess": self.preprocess.to_json(), "levels_in_use": self.tokens_per_step}
        told |= self._people()
        digest = hashlib.sha256(sha256_json(told | asdict(self.config)).encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().astype("<f2").tobytes())
        return digest.hexdigest()

    @property
    def tells_from_background(self) -> bool:
        """Whether rhythms are told from the background spectrum of their recording (`Window.background`); where that
        is not known, from the usual one of training, less reliably."""
        return self.network.encoder.evidence.usual_background is not None

    @property
    def subjects(self) -> tuple[str, ...]:
        """People of whom it knows how far they may be trusted, or what they respond, as sample shards name them."""
        return self.network.encoder.evidence.subjects

    def _people(self) -> dict[str, list[str]]:
        return {"subjects": list(self.subjects)} if self.subjects else {}

    def _tensors(self) -> dict[str, torch.Tensor]:
        """What is stored: the weights in half precision, without what only training needs."""
        parts = {"encoder": self.network.encoder, "decoder": self.network.decoder}
        tensors = {f"{part}.{name}": x for part, module in parts.items() for name, x in module.state_dict().items()}
        codebooks = {f"codebook.{k}": self.network.quantizer.vectors(k) for k in range(self.config.levels)}
        return {name: x.half().cpu() for name, x in (tensors | codebooks).items()}

    def encode(
        self,
        data: "BaseRaw | BaseEpochs | Recording | np.ndarray",
        *,
        ch_names: Sequence[str] | None = None,
        sfreq: float | None = None,
        unit: str = "V",
        subject: str | None = None,
    ) -> RecordingTokens | list[RecordingTokens]:
        """EEG of any montage, rate and duration from 0.25 s on -> its tokens.

        Args:
            data: an `mne.io.Raw`, whose EEG channels are taken except bad ones and those without a known position;
                `mne.Epochs` of 0.25 to 16 s, each of which becomes one window; an array (n_chans, n_times); or a
                `Recording`, which is in microvolts.
            ch_names: names of the rows of an array.
            sfreq: rate of an array, in Hz.
            unit: what the numbers are: V (as mne has them), mV, uV or nV.
            subject: whose EEG it is, where that is one of `subjects`: then labels are read by what is known of them.

        Returns:
            The tokens; of epochs a list, with the scale of all epochs together.

        Raises:
            DataError: this cannot be EEG, an electrode is there twice, or all are unknown.
            ConfigError: no such unit, an array without names and rate, or somebody who is not known.
        """
        self.check_subject(subject)
        return encode(self, data, ch_names, sfreq, unit, subject)

    def check_subject(self, subject: str | None) -> None:
        """Refuse a person who is not known: labels would be read as anybody's, and nobody be told.

        Raises:
            ConfigError: neither None nor one of `subjects`.
        """
        if subject is not None and subject not in self.subjects:
            known = ", ".join(self.subjects) or "nobody"
            raise ConfigError(
                f"subject {subject!r}: this EEG tokenizer knows {known}, as sample shards name people; leave it out, "
                "and labels are read by what all share"
            )

    def decode(
        self,
        tokens: RecordingTokens | Sequence[RecordingTokens],
        montage: "str | Sequence[str] | DigMontage | None" = None,
    ) -> "RawArray | EpochsArray":
        """Tokens -> EEG at the tokenizer's rate, in volts: an `mne.io.RawArray`, of a list an `mne.EpochsArray`.

        Stretches that are in no window hold zeros and an annotation `BAD_ACQ_SKIP`. `info["description"]` names the
        electrodes that were not recorded.

        Args:
            tokens: of `encode`.
            montage: electrode names, one of mne's montages or its name; default: the channels that were tokenized.

        Raises:
            CheckpointError: the tokens are another tokenizer's.
            DataError: an electrode without a known position, or epochs that are not alike.
        """
        return decode(self, tokens, montage)

    def surprise(self, window: Window, tokens: EEGTokens) -> float:
        """Power of what the tokens leave out of a window over the power of the window."""
        return nmse(window, self.decode_windows([tokens], window.positions, window.ch_names)[0])

    def ood_z(self, window: Window, tokens: EEGTokens) -> float:
        """How many spreads a window is harder to give back than held-out EEG; above 3 it is unlike EEG.

        It is measured at all levels: where `with_levels` left some out, the window is encoded again.

        Raises:
            ConfigError: the tokenizer is not calibrated.
        """
        if self.calibration is None:
            raise ConfigError("EEG tokenizer: it is not calibrated; `calibrated` does it, with windows of held-out EEG")
        whole = self.with_levels(self.config.levels)
        if self.tokens_per_step < self.config.levels:
            (tokens,) = whole.encode_windows([window])
        return self.calibration.z(whole.surprise(window, tokens), len(window.ch_names))

    def calibrated(self, windows: Sequence[Window]) -> Self:
        """The same tokenizer, which knows from windows of held-out EEG how well it gives EEG back.

        Raises:
            DataError: fewer than two windows, or as `encode_windows`.
        """
        whole, view = self.with_levels(self.config.levels), copy.copy(self)
        tokens = [whole.encode_windows([window])[0] for window in windows]
        errors = [whole.surprise(*pair) for pair in zip(windows, tokens, strict=True)]
        view.calibration = Calibration.of(errors, [len(window.ch_names) for window in windows])
        return view

    def scale_bin(self, scale_uV: float) -> int:
        """The bin, of `scale_bins` log-spaced ones, that holds an amplitude in microvolts; the outer bins are open."""
        low, high = np.log(self.config.scale_min_uV), np.log(self.config.scale_max_uV)
        position = (np.log(max(scale_uV, 1e-12)) - low) / (high - low) * self.config.scale_bins
        return int(np.clip(np.floor(position), 0, self.config.scale_bins - 1))

    def scale_uV(self, bin_index: int) -> float:
        """The amplitude in the middle of a bin."""
        low, high = np.log(self.config.scale_min_uV), np.log(self.config.scale_max_uV)
        return float(np.exp(low + (bin_index + 0.5) / self.config.scale_bins * (high - low)))

    @torch.no_grad()
    def encode_windows(self, batch: list[Window]) -> list[EEGTokens]:
        """Windows of any montages and durations -> their tokens. A last step that is not whole is marked as such.

        Raises:
            DataError: another rate, shorter than 0.25 s or longer than 16 s, no channel, an unknown position, or a
                value that is not finite.
        """
        for window in batch:
            check_window(window, self.config.sfreq)
        tokens: dict[int, EEGTokens] = {}
        for indices in same_shape(batch):
            ids = self._ids([batch[i] for i in indices])
            for i, row in zip(indices, ids, strict=True):
                n_times = batch[i].eeg_uV.shape[1]
                rest = n_times if n_times % self.step_samples else None
                tokens[i] = EEGTokens(row, self.scale_bin(batch[i].scale_uV), rest)
        return [tokens[i] for i in range(len(batch))]

    def _ids(self, windows: list[Window]) -> np.ndarray:
        """Local ids (n, n_steps * tokens_per_step) of windows of one shape."""
        latents = self._latents(windows)
        codes = self.network.quantizer.encode(latents, self.tokens_per_step)
        return (codes + torch.arange(self.tokens_per_step) * self.config.codes).flatten(1).numpy()

    def _latents(self, windows: list[Window]) -> torch.Tensor:
        """Latents float64 (n, n_steps, latent_dim) of windows of one shape."""
        scaled = np.stack([window.eeg_uV.astype(np.float64) / window.scale_uV for window in windows]).clip(-CLIP, CLIP)
        n, n_chans, n_times = scaled.shape
        missing = -n_times % self.step_samples
        eeg = torch.from_numpy(np.pad(scaled, ((0, 0), (0, 0), (0, missing))))
        places = torch.from_numpy(np.stack([electrodes(window.positions) for window in windows])).double()
        valid = (torch.arange(n_times + missing) < n_times).expand(n, -1)
        present = torch.ones(n, n_chans, dtype=torch.bool)
        subject = self._encoder.evidence.indices([window.subject for window in windows])
        background = backgrounds([window.background for window in windows]).double()
        latents: torch.Tensor = self._encoder(eeg, places, present, valid, subject, background)
        return latents

    @torch.no_grad()
    def latents(self, batch: list[Window]) -> list[np.ndarray]:
        """What is quantized: float32 (n_steps, latent_dim) of each window.

        Raises:
            DataError: as `encode_windows`.
        """
        for window in batch:
            check_window(window, self.config.sfreq)
        return [self._latents([window])[0].float().numpy() for window in batch]

    @torch.no_grad()
    def quantized(self, batch: list[EEGTokens]) -> list[np.ndarray]:
        """What tokens stand for: float32 (n_steps, latent_dim) of each window.

        Raises:
            DataError: ids that are not whole steps, or not in their level's range.
        """
        return [self.network.quantizer.lookup(self._codes(tokens.ids))[0].numpy() for tokens in batch]

    @torch.no_grad()
    def decode_windows(self, batch: list[EEGTokens], positions: np.ndarray, ch_names: tuple[str, ...]) -> list[Window]:
        """Tokens -> windows at the electrodes `positions`, (n_chans, 3) or bipolar (n_chans, 6), in microvolts at the
        middle of the scale bin.

        Raises:
            DataError: ids that are not whole steps, or not in their level's range; or an unknown position.
        """
        positions = np.asarray(positions, dtype=np.float32)
        check_positions(positions, ch_names)
        windows = []
        places = torch.from_numpy(electrodes(positions))[None]
        for tokens in batch:
            latents = self.network.quantizer.lookup(self._codes(tokens.ids))
            exists = torch.ones(latents.shape[:2], dtype=torch.bool)
            signal = self.network.decoder(latents, places, exists)[0].numpy()[:, : tokens.n_times]
            scale_uV = self.scale_uV(tokens.scale)
            windows.append(Window(signal * scale_uV, tuple(ch_names), positions, scale_uV, self.config.sfreq))
        return windows

    def _codes(self, ids: np.ndarray) -> torch.Tensor:
        """Local ids -> codes (1, n_steps, tokens_per_step), checked."""
        ids, per_step = np.asarray(ids), self.tokens_per_step
        if ids.ndim != 1 or not len(ids) or len(ids) % per_step:
            raise DataError(f"EEG ids: found shape {ids.shape}, expected whole steps of {per_step} ids")
        codes = ids.reshape(-1, per_step) - np.arange(per_step) * self.config.codes
        if codes.min() < 0 or codes.max() >= self.config.codes:
            raise DataError("EEG ids: an id lies outside the range of its slot; were they cut inside a step?")
        return torch.from_numpy(codes.astype(np.int64))[None]

    def write(self, folder: Path) -> None:
        """Write settings and weights into an existing folder, without a manifest."""
        told = {"format": FORMAT, "preprocess": self.preprocess.to_json(), "network": asdict(self.config)}
        calibration = {"calibration": asdict(self.calibration)} if self.calibration else {}
        write_json(
            folder / "config.json", told | {"levels_in_use": self.tokens_per_step} | self._people() | calibration
        )
        save_tensors(folder / "model.safetensors", self._tensors())

    def save(self, folder: Path) -> None:
        """Write the folder, all or nothing."""
        with atomic_folder(folder) as temporary:
            self.write(temporary)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> Self:
        """From a tokenizer's folder, a model's folder, or the hub id of either.

        Raises:
            CheckpointError: absent, or as `load`.
        """
        found = local_folder(str(folder))
        inside = found / "tokenizers" / "eeg"
        return cls.load(inside if inside.is_dir() else found)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder of `save`.

        Raises:
            CheckpointError: damaged, of another format, or weights that do not fit their settings.
        """
        return cls(*read_folder(folder))
