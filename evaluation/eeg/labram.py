"""A tokenizer of LaBraM's kind (Jiang et al. 2024, section 2.3), built from the parts of ours: a code for each channel.

Each patch of each channel is one code of a single codebook of 8192, looked up by direction. At 1 s a patch, as LaBraM
has it, 8 channels are 104 bit/s and 64 are 832; here the length of a patch follows from the rate that is asked for.
Losses and transformer are ours: what is compared is one level for each channel against residual levels for all at once.
# B batch, C channels, N patches, P samples of a patch, D model
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Self

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm
from vector_quantize_pytorch import VectorQuantize

from neuroleon.common.errors import ConfigError
from neuroleon.common.seed import generator
from neuroleon.evaluation.eeg.plain import check_windows, patch_starts, spent_bits_per_second
from neuroleon.signals.montage import electrodes
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.losses import reconstruction_losses
from neuroleon.tokenizers.eeg.network import StepPosition, TemporalTransformer
from neuroleon.tokenizers.eeg.quantizer import DEAD_SHARE
from neuroleon.tokenizers.eeg.spatial import HARMONICS, measured

CODES, CODE_DIM = 8192, 64  # LaBraM's
DIM, LAYERS = 128, 2
VECTORS_PER_BATCH = 768
CONTINUOUS_SHARE = 0.25  # of the steps come before the quantizer: k-means then starts on latents that mean something
WEIGHTS = {"wave": 1.0, "amplitude": 0.3, "phase": 0.3, "correlation": 0.5, "whitened": 1.0}  # as in training of ours
RATE = 1e-3


def patch_samples(windows: Sequence[Window], bits_per_second: float) -> int:
    """Samples of a patch, at most the shortest window, for which these windows take nearest to `bits_per_second`.

    Of equally good ones the shortest, whose last patch overlaps least with the one before.

    Raises:
        ConfigError: the rate is not positive.
    """
    if not bits_per_second > 0:
        raise ConfigError(f"LaBraM's kind: {bits_per_second:g} bit/s; expected a positive rate")
    one_of_each = {window.eeg_uV.shape: window for window in windows}
    counts = Counter(window.eeg_uV.shape for window in windows)
    seconds = sum(window.eeg_uV.shape[1] / window.sfreq for window in windows)

    def distance(patch: int) -> float:
        spent = sum(counts[shape] * _bits(window, patch) for shape, window in one_of_each.items())
        return abs(spent / seconds - bits_per_second)

    return min(range(1, min(shape[1] for shape in counts) + 1), key=distance)


def _bits(window: Window, patch: int) -> float:
    """Bits of a window: 13 for each patch of each channel."""
    n_chans, n_times = window.eeg_uV.shape
    return log2(CODES) * n_chans * len(patch_starts(n_times, patch))


class ChannelwiseVQ(nn.Module):
    """Patches of one channel -> a code each -> the patches."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        config = EEGTokenizerConfig(dim=DIM)
        self.patch = patch
        self.place = nn.Sequential(nn.Linear(HARMONICS + 1, DIM), nn.GELU(), nn.Linear(DIM, DIM))
        self.position = StepPosition(DIM)
        self.embed, self.from_code = nn.Linear(patch, DIM), nn.Linear(CODE_DIM, DIM)
        self.encoder, self.decoder = TemporalTransformer(config, LAYERS), TemporalTransformer(config, LAYERS)
        self.to_code, self.to_patch = nn.Linear(DIM, CODE_DIM), nn.Linear(DIM, patch)
        # beside the transformers, as in ours: their norms take the amplitude away
        self.direct_in = nn.Linear(patch, CODE_DIM, bias=False)
        self.direct_out = nn.Linear(CODE_DIM, patch, bias=False)
        self.quantizer = VectorQuantize(
            dim=CODE_DIM,
            codebook_size=CODES,
            use_cosine_sim=True,
            decay=0.99,
            kmeans_init=True,
            threshold_ema_dead_code=DEAD_SHARE * VECTORS_PER_BATCH / CODES,
            commitment_weight=1.0,
            rotation_trick=False,
        )

    def told(self, places: Tensor, n_patches: int) -> Tensor:
        """What is known of patches beside their samples, place and turn: places (B, C, 7) -> (B * C, N, D)."""
        place = self.place(torch.cat([measured(places), places[..., 6:]], dim=-1))
        return rearrange(place, "b c d -> (b c) 1 d") + self.position(n_patches)

    def encode(self, eeg: Tensor, places: Tensor) -> Tensor:
        """eeg (B, C, T) in units of the scale, places (B, C, 7) -> latents (B * C, N, 64), to be looked up."""
        starts = patch_starts(eeg.shape[-1], self.patch)
        patches = torch.stack([eeg[..., start : start + self.patch] for start in starts], dim=-2)
        patches = rearrange(patches, "b c n p -> (b c) n p")
        hidden = self.encoder(self.embed(patches) + self.told(places, len(starts)), _all(patches))
        return self.to_code(hidden) + self.direct_in(patches)

    def decode(self, codes: Tensor, places: Tensor, n_times: int) -> Tensor:
        """codes (B * C, N, 64), places (B, C, 7) -> (B, C, T) of T = `n_times` samples."""
        n_patches = codes.shape[1]
        hidden = self.decoder(self.from_code(codes) + self.told(places, n_patches), _all(codes))
        restored = self.to_patch(hidden) + self.direct_out(codes)
        new = n_times - (n_patches - 1) * self.patch  # samples of the last patch that the one before does not reach
        signal = torch.cat([restored[:, :-1].flatten(1), restored[:, -1, -new:]], dim=1)
        return rearrange(signal, "(b c) t -> b c t", b=len(places))


def _all(rows: Tensor) -> Tensor:
    """(B, N) of True: every patch exists."""
    return torch.ones(rows.shape[:2], dtype=torch.bool)


@dataclass(frozen=True, kw_only=True)
class LabramCodec:
    """A trained `ChannelwiseVQ`. `bits_per_second` is the rate reached: patches are whole samples."""

    name: str
    bits_per_second: float
    network: ChannelwiseVQ

    @classmethod
    def fit(cls, windows: Sequence[Window], bits_per_second: float, steps: int, seed: int) -> Self:
        """Train on windows of any montages for `steps` batches of about 768 patches; a seed always gives one codec.

        Raises:
            ConfigError: as `patch_samples`.
            DataError: no windows, or another rate than 200 Hz.
        """
        check_windows(windows, 1)
        patch = patch_samples(windows, bits_per_second)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _trained(ChannelwiseVQ(patch), _Batches(windows, patch, seed), steps)
        spent = spent_bits_per_second(windows, patch, [log2(CODES) * len(window.ch_names) for window in windows])
        return cls(name="LaBraM's kind", bits_per_second=spent, network=network)

    @torch.no_grad()
    def restore(self, windows: list[Window]) -> list[np.ndarray]:
        """Decoded microvolts; see `plain.Codec`.

        Raises:
            DataError: another rate than 200 Hz, or a window shorter than a patch.
        """
        check_windows(windows, self.network.patch)
        found = []
        for window in windows:
            eeg, places = _stacked([window])
            codes = self.network.quantizer(self.network.encode(eeg, places))[0]
            restored = self.network.decode(codes, places, eeg.shape[-1])
            found.append(restored[0].numpy() * np.float32(window.scale_uV))
        return found


def _stacked(windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
    """Windows of one shape -> (B, C, T) in units of their scale, (B, C, 7)."""
    eeg = np.stack([(window.eeg_uV / window.scale_uV).astype(np.float32) for window in windows])
    return torch.from_numpy(eeg), torch.from_numpy(np.stack([electrodes(window.positions) for window in windows]))


class _Batches:
    """Draws windows of one shape, about 768 patches of them; how often a shape comes is its share of the windows."""

    def __init__(self, windows: Sequence[Window], patch: int, seed: int) -> None:
        shapes: dict[tuple[int, ...], list[Window]] = defaultdict(list)
        for window in windows:
            shapes[window.eeg_uV.shape].append(window)
        self.groups, self.patch = list(shapes.values()), patch
        self.shares = np.array([len(group) for group in self.groups]) / len(windows)
        self.rng = generator("labram", seed)

    def draw(self) -> tuple[Tensor, Tensor]:
        group = self.groups[self.rng.choice(len(self.groups), p=self.shares)]
        n_chans, n_times = group[0].eeg_uV.shape
        n = max(1, VECTORS_PER_BATCH // (n_chans * len(patch_starts(n_times, self.patch))))
        return _stacked([group[i] for i in self.rng.integers(len(group), size=n)])


def _trained(network: ChannelwiseVQ, batches: _Batches, steps: int) -> ChannelwiseVQ:
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    network.train()
    continuous = int(CONTINUOUS_SHARE * steps)
    with tqdm(range(steps), desc="LaBraM's kind", unit="step", leave=False, dynamic_ncols=True) as bar:
        for step in bar:
            if step == continuous:
                _start_codes(network, batches)
            eeg, places = batches.draw()
            latents = network.encode(eeg, places)
            if step < continuous:
                codes, commitment = functional.normalize(latents, dim=-1), latents.new_zeros(())
            else:
                codes, _, commitment = network.quantizer(latents)
            known, valid = torch.ones(eeg.shape[:2], dtype=torch.bool), torch.ones(eeg.shape[::2], dtype=torch.bool)
            parts = reconstruction_losses(network.decode(codes, places, eeg.shape[-1]), eeg, known, valid)
            loss = commitment.sum() + torch.stack([weight * parts[name] for name, weight in WEIGHTS.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _start_codes(network: ChannelwiseVQ, batches: _Batches) -> None:
    """k-means on at least one latent for each code; one batch has fewer."""
    latents: list[Tensor] = []
    while sum(map(len, latents)) < CODES:
        latents.append(network.encode(*batches.draw()).flatten(0, 1))
    network.quantizer(torch.cat(latents)[None])
