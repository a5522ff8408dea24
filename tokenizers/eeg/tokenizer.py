"""EEGTokenizer: windows of any montage to ids, and ids to windows of any montage.

Folder: `config.json`, `model.safetensors`, `manifest.json`.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch

from neuroleon.common.checkpoint import load_weights, save_tensors
from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import atomic_folder, read_json, sha256_json, verify_folder, write_json
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork

FORMAT = "neuroleon.eeg-tokenizer/1"
CLIP = 15.0  # in units of the scale; beyond lies no EEG


@dataclass(frozen=True)
class EEGTokens:
    """One window: ids int64 (n_steps * tokens_per_step,), time-major, coarse to fine in a step; and its scale bin."""

    ids: np.ndarray
    scale: int


class EEGTokenizer:
    """A trained EEG network as a tokenizer.

    Slot j of a step, j in 0 .. tokens_per_step - 1, uses local ids [j * codes, (j + 1) * codes).
    """

    def __init__(self, config: EEGTokenizerConfig, network: EEGNetwork) -> None:
        self.config = config
        self.network = network.eval().requires_grad_(False)

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.config.size

    @property
    def tokens_per_step(self) -> int:
        return self.config.tokens_per_step

    @property
    def step_samples(self) -> int:
        return self.config.step_samples

    @property
    def step_s(self) -> float:
        return self.config.step_samples / self.config.sfreq

    @property
    def codebook(self) -> np.ndarray:
        """float32 (size, code_dim): the vector of every local id."""
        return self.network.quantizer.codebook.float().cpu().numpy()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the settings and every weight."""
        digest = hashlib.sha256(sha256_json({"format": FORMAT, **asdict(self.config)}).encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.float().cpu().numpy().astype("<f4").tobytes())
        return digest.hexdigest()

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
    def encode(self, batch: list[Window]) -> list[EEGTokens]:
        """Windows of any montages and durations -> their tokens.

        Raises:
            DataError: another rate, a duration that is no whole number of steps, no channel, an unknown position,
                or a value that is not finite.
        """
        for window in batch:
            self._check(window)
        tokens: list[EEGTokens | None] = [None] * len(batch)
        for indices in _same_shape(batch):
            eeg = torch.from_numpy(np.stack([batch[i].eeg_uV / batch[i].scale_uV for i in indices])).float()
            positions = torch.from_numpy(np.stack([batch[i].positions for i in indices])).float()
            present = torch.ones(eeg.shape[:2], dtype=torch.bool)
            latents = self.network.encoder(eeg.clamp(-CLIP, CLIP), positions, present)
            _, codes, _ = self.network.quantizer(latents)
            slots = torch.arange(self.tokens_per_step) * self.config.codes
            ids = (codes + slots).flatten(1).numpy()
            for row, index in enumerate(indices):
                tokens[index] = EEGTokens(ids[row], self.scale_bin(batch[index].scale_uV))
        return [token for token in tokens if token is not None]

    @torch.no_grad()
    def decode(self, batch: list[EEGTokens], positions: np.ndarray, ch_names: tuple[str, ...]) -> list[Window]:
        """Tokens -> windows at the electrodes `positions` (n_chans, 3), in microvolts at the middle of the scale bin.

        Raises:
            DataError: ids that are not whole steps, or not in their slot's range; or an unknown position.
        """
        _check_positions(positions, ch_names)
        windows = []
        place = torch.from_numpy(np.asarray(positions, dtype=np.float32))[None]
        for tokens in batch:
            codes = self._codes(tokens.ids)
            signal = self.network.decoder(self.network.quantizer.lookup(codes), place)[0].numpy()
            scale_uV = self.scale_uV(tokens.scale)
            windows.append(Window(signal * scale_uV, tuple(ch_names), place[0].numpy(), scale_uV, self.config.sfreq))
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

    def _check(self, window: Window) -> None:
        n_chans, n_times = window.eeg_uV.shape
        if window.sfreq != self.config.sfreq:
            raise DataError(
                f"window: {window.sfreq} Hz, the EEG tokenizer takes {self.config.sfreq} Hz; preprocess it first"
            )
        if not n_times or n_times % self.step_samples:
            raise DataError(
                f"window: {n_times} samples; the EEG tokenizer takes whole steps of {self.step_samples} samples "
                f"({self.step_s} s); cut {n_times // self.step_samples * self.step_samples} of them"
            )
        if n_chans != len(window.ch_names):
            raise DataError(f"window: {n_chans} channels and {len(window.ch_names)} names; expected one for each")
        _check_positions(window.positions, window.ch_names)
        if not (np.isfinite(window.eeg_uV).all() and 0 < window.scale_uV < np.inf):
            raise DataError("window: holds NaN or infinite values, or a scale that is not positive; reject it")

    def write(self, folder: Path) -> None:
        """Write settings and weights into an existing folder, without a manifest."""
        write_json(folder / "config.json", {"format": FORMAT, "network": asdict(self.config)})
        save_tensors(folder / "model.safetensors", self.network.state_dict())

    def save(self, folder: Path) -> None:
        """Write the folder, all or nothing."""
        with atomic_folder(folder) as temporary:
            self.write(temporary)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a folder of `save`.

        Raises:
            CheckpointError: damaged, of another format, or weights that do not fit their settings.
        """
        verify_folder(folder)
        stored = read_json(folder / "config.json")
        if not isinstance(stored, dict) or stored.get("format") != FORMAT:
            raise CheckpointError(f"{folder}/config.json: format is not {FORMAT!r}; copy the folder again")
        try:
            config = EEGTokenizerConfig(**stored["network"])
            network = EEGNetwork(config)
        except (KeyError, TypeError, ConfigError, RuntimeError) as error:
            raise CheckpointError(f"{folder}/config.json: {error}; it was written by another version") from None
        load_weights(network, folder / "model.safetensors")
        return cls(config, network)


def _check_positions(positions: np.ndarray, ch_names: tuple[str, ...]) -> None:
    if not ch_names or positions.shape != (len(ch_names), 3):
        raise DataError(
            f"EEG: {len(ch_names)} channels with positions {positions.shape}; expected one or more, (channels, 3)"
        )
    if unknown := [name for name, place in zip(ch_names, positions, strict=True) if not np.isfinite(place).all()]:
        raise DataError(f"EEG: no known position for {', '.join(unknown)}; leave these channels out")


def _same_shape(batch: list[Window]) -> list[list[int]]:
    """Indices of windows grouped by (channels, samples), so that each group is one tensor without padding."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, window in enumerate(batch):
        groups.setdefault(window.eeg_uV.shape, []).append(index)
    return list(groups.values())
