"""EEGNet-8,2 (Lawhern et al. 2018, J. Neural Eng. 15, 056013, table 2): a small network for windows of one montage."""

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.baselines.windows import Windows

F1, DEPTH, F2 = 8, 2, 16
DROPOUT = 0.25
STEPS, BATCH, RATE = 200, 64, 4e-3
THINNED_HZ = 100.0  # for time, at a price: cvep20 (validation, 400 steps) .07 here, .18 at 200 Hz
POOLS = (4, 8)
SPATIAL_NORM, DENSE_NORM = 1.0, 0.25
CLIP = 10.0  # scales: an artefact must not be the whole batch


class EEGNetwork(nn.Module):
    """(B, C, T) -> (B, n_classes): filters in time, for each of them filters in space, then in time again.

    The filters in space are computed first. Both are linear, and the normalisation that the paper has between them is
    undone by the one after, so it is left out: the same functions at a fraction of the cost (a 30th at 64 channels).
    """

    def __init__(self, n_chans: int, n_times: int, sfreq: float, n_classes: int) -> None:
        super().__init__()
        n_maps = DEPTH * F1
        self.spatial = nn.Linear(n_chans, n_maps, bias=False)
        self.temporal = nn.Conv1d(1, F1, round(sfreq / 2), bias=False)
        self.separable = nn.Sequential(
            nn.Conv1d(n_maps, n_maps, 16, groups=n_maps, bias=False),
            nn.Conv1d(n_maps, F2, 1, bias=False),
        )
        self.norms = nn.ModuleList([nn.BatchNorm1d(n_maps), nn.BatchNorm1d(F2)])
        self.dense = nn.Linear(F2 * (n_times // POOLS[0] // POOLS[1]), n_classes)

    def forward(self, eeg: Tensor) -> Tensor:
        """Logits."""
        mapped = self.spatial(eeg.transpose(1, 2)).transpose(1, 2)
        hidden = self.norms[0](_filtered(mapped, self.temporal.weight[:, 0].repeat_interleave(DEPTH, dim=0)))
        hidden = functional.dropout(functional.avg_pool1d(functional.elu(hidden), POOLS[0]), DROPOUT, self.training)
        hidden = functional.elu(self.norms[1](self.separable(functional.pad(hidden, (7, 8)))))
        hidden = functional.dropout(functional.avg_pool1d(hidden, POOLS[1]), DROPOUT, self.training)
        return self.dense(hidden.flatten(1))

    @torch.no_grad()
    def bound(self) -> None:
        """Keep the norms of the paper."""
        self.spatial.weight.copy_(self.spatial.weight.renorm(2, 0, SPATIAL_NORM))
        self.dense.weight.copy_(self.dense.weight.renorm(2, 0, DENSE_NORM))


def _filtered(signals: Tensor, kernels: Tensor) -> Tensor:
    """Signals (B, M, T), each with its own kernel (M, K); by FFT: grouped convolutions of K = 100 are slow."""
    n_times, size = signals.shape[-1], kernels.shape[-1]
    n = n_times + size
    spectrum = torch.fft.rfft(signals, n) * torch.fft.rfft(kernels.flip(-1), n)
    return torch.fft.irfft(spectrum, n)[..., size // 2 : size // 2 + n_times]


class EEGNet:
    """The network, trained for 200 steps of 64 windows, labels drawn equally often; subjects together."""

    name, of_subject = "EEGNet", False

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, seen: Windows) -> Self:
        """Train from fresh weights.

        Raises:
            DataError: windows shorter than what one output takes.
        """
        if seen.duration_s * THINNED_HZ < POOLS[0] * POOLS[1]:
            raise DataError(
                f"windows of {seen.duration_s:g} s; it needs {POOLS[0] * POOLS[1] / THINNED_HZ:g} s or more"
            )
        self.answers, index = np.unique(seen.answers, return_inverse=True)
        rng = generator("eegnet", self._seed)
        members = [np.flatnonzero(index == k) for k in range(len(self.answers))]
        eeg, labels = self._read(seen), torch.from_numpy(index)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self._network = EEGNetwork(eeg.shape[1], eeg.shape[2], THINNED_HZ, len(self.answers))
            optimizer = torch.optim.Adam(self._network.parameters(), lr=RATE)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=STEPS)
            self._network.train()
            for _ in range(STEPS):
                drawn = [members[k][rng.integers(len(members[k]))] for k in rng.integers(len(members), size=BATCH)]
                loss = functional.cross_entropy(self._network(eeg[drawn]), labels[drawn])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                self._network.bound()
        self._network.eval()
        return self

    @torch.no_grad()
    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        """Log-probabilities."""
        assert list(names) == list(self.answers), "a classifier answers what it was fitted to"
        logits = [self._network(part) for part in self._read(asked).split(BATCH)]
        return torch.cat(logits).log_softmax(dim=1).double().numpy()

    @staticmethod
    def _read(windows: Windows) -> Tensor:
        thinned = windows.scaled[..., :: max(1, round(windows.sfreq / THINNED_HZ))]
        return torch.from_numpy(thinned.astype(np.float32)).clamp(-CLIP, CLIP)
