"""EEGTokenizer: EEG of any montage to ids, and ids to EEG of any montage.

Folder: `config.json`, `model.safetensors`, `manifest.json`.
"""

import copy
import hashlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch

from neuroleon.common.checkpoint import load_tensors, save_tensors
from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import atomic_folder, read_json, sha256_json, verify_folder, write_json
from neuroleon.signals.montage import electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.network import EEGNetwork

FORMAT = "neuroleon.eeg-tokenizer/2"
CLIP = 15.0  # in units of the scale; beyond lies no EEG
SHORTEST_S = 0.25
LONGEST_STEPS = 128  # after which a step's position in the window repeats


@dataclass(frozen=True)
class EEGTokens:
    """One window: ids int64 (n_steps * tokens_per_step,), time-major, coarse to fine in a step; its scale bin; and its
    samples, where its last step is not whole."""

    ids: np.ndarray
    scale: int
    n_times: int | None = None


class EEGTokenizer:
    """A trained EEG network as a tokenizer.

    Level j of a step, j in 0 .. tokens_per_step - 1, uses local ids [j * codes, (j + 1) * codes). Ids are decided in double
    precision with weights of half precision, so that the order of channels, the unit of the numbers, the company in a batch
    and the machine do not tip them.
    """

    def __init__(
        self, config: EEGTokenizerConfig, preprocess: Preprocess, network: EEGNetwork, levels: int | None = None
    ) -> None:
        """Take a trained network; it is copied. `levels`: see `with_levels`."""
        self.config, self.preprocess = config, preprocess
        self.network = copy.deepcopy(network).float().eval().requires_grad_(False)
        for tensor in self.network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
        self._encoder = copy.deepcopy(self.network.encoder).double()
        self.tokens_per_step = config.levels if levels is None else levels

    def with_levels(self, levels: int) -> Self:
        """The same tokenizer with the coarsest `levels` ids of each step only: a lower rate, and ids of their own meaning.

        Raises:
            ConfigError: the tokenizer does not have so many.
        """
        if not 1 <= levels <= self.config.levels:
            raise ConfigError(f"EEG tokenizer: {levels} levels asked for; it has 1 to {self.config.levels}")
        view = copy.copy(self)
        view.__dict__.pop("fingerprint", None)
        view.tokens_per_step = levels
        return view

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
        """float32 (size, code_dim): the vector of every local id."""
        return self.network.quantizer.codebook[: self.size].float().cpu().numpy()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the settings and every weight."""
        told = {"format": FORMAT, "preprocess": self.preprocess.to_json(), "levels": self.tokens_per_step}
        digest = hashlib.sha256(sha256_json(told | asdict(self.config)).encode())
        for name, tensor in sorted(self._tensors().items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().astype("<f2").tobytes())
        return digest.hexdigest()

    def _tensors(self) -> dict[str, torch.Tensor]:
        """What is stored: the weights in half precision, without what only training needs."""
        parts = {"encoder": self.network.encoder, "decoder": self.network.decoder}
        tensors = {f"{part}.{name}": x for part, module in parts.items() for name, x in module.state_dict().items()}
        return {name: x.half().cpu() for name, x in (tensors | {"codebook": self.network.quantizer.codebook}).items()}

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
            DataError: another rate, shorter than 0.25 s or longer than 16 s, no channel, an unknown position, or a value
                that is not finite.
        """
        for window in batch:
            self._check(window)
        tokens: dict[int, EEGTokens] = {}
        for indices in _same_shape(batch):
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
        latents: torch.Tensor = self._encoder(eeg, places, torch.ones(n, n_chans, dtype=torch.bool), valid)
        return latents

    @torch.no_grad()
    def latents(self, batch: list[Window]) -> list[np.ndarray]:
        """What is quantized: float32 (n_steps, latent_dim) of each window.

        Raises:
            DataError: as `encode_windows`.
        """
        for window in batch:
            self._check(window)
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
        """Tokens -> windows at the electrodes `positions`, (n_chans, 3) or bipolar (n_chans, 6), in microvolts at the middle
        of the scale bin.

        Raises:
            DataError: ids that are not whole steps, or not in their level's range; or an unknown position.
        """
        positions = np.asarray(positions, dtype=np.float32)
        _check_positions(positions, ch_names)
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

    def _check(self, window: Window) -> None:
        n_chans, n_times = window.eeg_uV.shape
        if window.sfreq != self.config.sfreq:
            raise DataError(
                f"window: {window.sfreq} Hz, the EEG tokenizer takes {self.config.sfreq} Hz; preprocess it first"
            )
        longest_s = LONGEST_STEPS * self.step_s
        if not SHORTEST_S <= n_times / window.sfreq <= longest_s:
            raise DataError(
                f"window: {n_times / window.sfreq:g} s; the EEG tokenizer takes {SHORTEST_S:g} to {longest_s:g} s at a "
                "time; cut it, or give the whole recording to `encode`"
            )
        if n_chans != len(window.ch_names):
            raise DataError(f"window: {n_chans} channels and {len(window.ch_names)} names; expected one for each")
        _check_positions(window.positions, window.ch_names)
        if not (np.isfinite(window.eeg_uV).all() and 0 < window.scale_uV < np.inf):
            raise DataError("window: holds NaN or infinite values, or a scale that is not positive; reject it")

    def write(self, folder: Path) -> None:
        """Write settings and weights into an existing folder, without a manifest."""
        told = {"format": FORMAT, "preprocess": self.preprocess.to_json(), "network": asdict(self.config)}
        write_json(folder / "config.json", told | {"levels_in_use": self.tokens_per_step})
        save_tensors(folder / "model.safetensors", self._tensors())

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
            network_settings = stored["network"] | {"spectral_samples": tuple(stored["network"]["spectral_samples"])}
            config = EEGTokenizerConfig(**network_settings)
            preprocess, levels = Preprocess.from_json(stored["preprocess"]), int(stored["levels_in_use"])
            network = EEGNetwork(config)
        except (KeyError, TypeError, ValueError, ConfigError, RuntimeError) as error:
            raise CheckpointError(f"{folder}/config.json: {error}; it was written by another version") from None
        tensors = {name: x.float() for name, x in load_tensors(folder / "model.safetensors").items()}
        codebook = tensors.pop("codebook", torch.zeros(0))
        learned = {name for name in network.state_dict() if not name.startswith("quantizer.")}
        wrong = [name for name in learned & set(tensors) if network.state_dict()[name].shape != tensors[name].shape]
        if set(tensors) != learned or wrong or codebook.shape != network.quantizer.codebook.shape:
            raise CheckpointError(f"{folder}: model.safetensors does not fit config.json; copy the folder again")
        network.load_state_dict(tensors, strict=False)
        network.quantizer.set_codebook(codebook)
        return cls(config, preprocess, network, levels)


def _check_positions(positions: np.ndarray, ch_names: tuple[str, ...]) -> None:
    if not ch_names or positions.shape not in {(len(ch_names), 3), (len(ch_names), 6)}:
        raise DataError(
            f"EEG: {len(ch_names)} channels with positions {positions.shape}; expected one or more, (channels, 3), or "
            "(channels, 6) for bipolar derivations"
        )
    if unknown := [name for name, place in zip(ch_names, positions, strict=True) if not np.isfinite(place[:3]).all()]:
        raise DataError(f"EEG: no known position for {', '.join(unknown)}; leave these channels out")


def _same_shape(batch: list[Window]) -> list[list[int]]:
    """Indices of windows grouped by (channels, samples), so that each group is one tensor without padding."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, window in enumerate(batch):
        groups.setdefault(window.eeg_uV.shape, []).append(index)
    return list(groups.values())
