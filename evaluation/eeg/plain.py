"""The plain ways to make few bits of EEG, which the EEG tokenizer is measured against: PCA with k-means or scalars.

Both code patches of 100 ms of all channels at once. PCA needs one fixed montage, so each is fitted anew for every set,
on its own training windows: an advantage over a tokenizer of any montage, and one that a new cap takes away.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import Protocol, Self

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.baselines.responses import band_passed
from neuroleon.signals.window import Window

PATCH_SAMPLES = 20  # 100 ms at 200 Hz
MOST_PATCHES = 20_000  # that are fitted to, drawn from the training windows
PATCHES_PER_CODE = 16  # below, codebooks learn their training patches by heart
LARGEST_CODE_BITS = 10
ABSENT_RIDGE = 1e-3  # of the mean variance: average-referenced channels have a singular covariance
SMALLEST_SIZE = 1e-3  # of a channel, in units of the scale: a flat one stays flat
LLOYD_ROUNDS = 20


class Codec(Protocol):
    """EEG to bits and back, fitted on training windows; `bits_per_second` is what those windows took."""

    @property
    def name(self) -> str: ...
    @property
    def bits_per_second(self) -> float: ...
    def restore(self, windows: list[Window]) -> list[np.ndarray]:
        """The decoded microvolts (n_chans, n_times) of each window, in its own shape."""
        ...


def patch_starts(n_times: int, patch: int) -> list[int]:
    """Where patches begin; the last overlaps the one before when `n_times` is no multiple, so nothing is padded."""
    return [*range(0, n_times - patch, patch), n_times - patch]


def spent_bits_per_second(windows: Sequence[Window], patch: int, bits_of_patch: Sequence[float]) -> float:
    """Bits over seconds of windows whose patches take `bits_of_patch`, one number for each window."""
    bits = [b * len(patch_starts(w.eeg_uV.shape[1], patch)) for w, b in zip(windows, bits_of_patch, strict=True)]
    return float(sum(bits) / sum(w.eeg_uV.shape[1] / w.sfreq for w in windows))


def bits_of_patch(windows: Sequence[Window], bits_per_second: float) -> int:
    """Whole bits of 100 ms at a rate; 100, 200, 400, 800, 1600 bit/s are 10 to 160 bits.

    Raises:
        ConfigError: they are not whole, or none.
        DataError: no window, another rate than 200 Hz, or one shorter than a patch.
    """
    check_windows(windows, PATCH_SAMPLES)
    bits = bits_per_second * PATCH_SAMPLES / windows[0].sfreq
    if bits < 1 or bits != int(bits):
        raise ConfigError(f"plain codec: {bits_per_second:g} bit/s are {bits:g} bits per 100 ms; give a multiple of 10")
    return int(bits)


def check_windows(windows: Sequence[Window], shortest: int) -> None:
    """Raise DataError unless there are windows at 200 Hz of at least `shortest` samples."""
    if not windows:
        raise DataError("codec: no window to fit or restore; give one or more")
    for window in windows:
        if window.sfreq != 200.0 or window.eeg_uV.shape[1] < shortest:
            raise DataError(
                f"codec: a window of {window.eeg_uV.shape[1]} samples at {window.sfreq:g} Hz; expected at least "
                f"{shortest} at 200 Hz"
            )


@dataclass(frozen=True, kw_only=True)
class Montage:
    """Patches of fixed channels: d = n_chans * 20 numbers, channel by channel.

    Signals are in units of their window's scale, and of the size of their channel, `sizes` (n_chans, 1). A channel that
    a window lacks is filled with its expected value given the others, as of a Gaussian with `mean` (d,) and
    `covariance` (d, d): it costs bits, and is not handed back.
    """

    ch_names: tuple[str, ...]
    sizes: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def fit(cls, windows: Sequence[Window]) -> Self:
        """The channels of the windows that have most, and how these depend on each other."""
        montages = Counter(window.ch_names for window in windows)
        ch_names = max(montages, key=lambda names: (len(names), montages[names], names))
        whole = [window.eeg_uV / window.scale_uV for window in windows if window.ch_names == ch_names]
        sizes = np.concatenate(whole, axis=1).std(axis=1, keepdims=True).clip(min=SMALLEST_SIZE)
        mean, covariance = _moments(np.concatenate([_cut(signal / sizes) for signal in whole]))
        return cls(ch_names=ch_names, sizes=sizes, mean=mean, covariance=covariance)

    def rows(self, window: Window) -> list[int]:
        """Where the channels of a window are among ours.

        Raises:
            DataError: one is not.
        """
        if unknown := [name for name in window.ch_names if name not in self.ch_names]:
            raise DataError(
                f"plain codec: channels {', '.join(unknown)} are not of the montage {', '.join(self.ch_names)} that it "
                "was fitted to; fit one for these windows"
            )
        return [self.ch_names.index(name) for name in window.ch_names]

    def patches(self, windows: Sequence[Window]) -> np.ndarray:
        """All patches of the windows, one window after the other: float32 (n, d)."""
        found = []
        for window in windows:
            rows = self.rows(window)
            signal = np.zeros((len(self.ch_names), window.eeg_uV.shape[1]), np.float32)
            signal[rows] = window.eeg_uV / window.scale_uV / self.sizes[rows]
            patches = _cut(signal)
            found.append(self._filled(patches, rows) if len(rows) < len(self.ch_names) else patches)
        return np.concatenate(found)

    def _filled(self, patches: np.ndarray, rows: Sequence[int]) -> np.ndarray:
        known = np.isin(np.arange(len(self.ch_names)), rows).repeat(PATCH_SAMPLES)
        of_known = self.covariance[np.ix_(known, known)]
        ridge = ABSENT_RIDGE * np.trace(of_known) / len(of_known) * np.eye(len(of_known))
        weights = np.linalg.solve(of_known + ridge, self.covariance[np.ix_(known, ~known)])
        patches[:, ~known] = (patches[:, known] - self.mean[known]) @ weights + self.mean[~known]
        return patches

    def signals(self, patches: np.ndarray, windows: Sequence[Window]) -> list[np.ndarray]:
        """Patches (n, d) of all windows -> microvolts of each window, at its own channels."""
        by_channel = patches.reshape(-1, len(self.ch_names), PATCH_SAMPLES)
        signals, used = [], 0
        for window in windows:
            signal, rows = np.empty_like(window.eeg_uV), self.rows(window)
            for start in patch_starts(signal.shape[1], PATCH_SAMPLES):
                signal[:, start : start + PATCH_SAMPLES] = by_channel[used, rows]
                used += 1
            signals.append((signal * self.sizes[rows] * window.scale_uV).astype(np.float32))
        return signals


def _cut(scaled: np.ndarray) -> np.ndarray:
    """Patches (n, n_chans * 20) of a window's signal (n_chans, n_times)."""
    starts = patch_starts(scaled.shape[1], PATCH_SAMPLES)
    return np.stack([scaled[:, start : start + PATCH_SAMPLES].ravel() for start in starts])


def _moments(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = patches.mean(axis=0, dtype=np.float64)
    centred = patches - mean
    return mean, centred.T @ centred / len(centred)


@dataclass(frozen=True, kw_only=True)
class PatchPCA:
    """Principal axes (d, d) of a montage's patches around their `mean` (d,), by falling variance `variances` (d,)."""

    montage: Montage
    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray

    @classmethod
    def fit(cls, windows: Sequence[Window], seed: int) -> tuple[Self, np.ndarray]:
        """The axes, and the components (n, d) of at most 20,000 training patches.

        Raises:
            DataError: a window has a channel that those with most channels lack.
        """
        montage = Montage.fit(windows)
        patches = montage.patches(windows)
        patches = patches[np.sort(generator("patches", seed).permutation(len(patches))[:MOST_PATCHES])]
        mean, covariance = _moments(patches)
        variances, axes = np.linalg.eigh(covariance)
        axes = axes[:, ::-1].astype(np.float32)
        pca = cls(montage=montage, mean=mean, axes=axes, variances=variances[::-1].clip(min=0.0))
        return pca, pca._components(patches)

    def _components(self, patches: np.ndarray) -> np.ndarray:
        return ((patches - self.mean) @ self.axes).astype(np.float32)

    def components(self, windows: Sequence[Window]) -> np.ndarray:
        """Patches of the windows along the axes: float32 (n, d)."""
        return self._components(self.montage.patches(windows))

    def signals(self, components: np.ndarray, windows: Sequence[Window]) -> list[np.ndarray]:
        """The first components (n, k) of all patches of the windows -> microvolts of each window."""
        patches = components @ self.axes[:, : components.shape[1]].T + self.mean
        return self.montage.signals(patches.astype(np.float32), windows)


def nearest(values: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Index (n,) of the code (m, d) nearest to each of `values` (n, d)."""
    lengths = (codebook**2).sum(axis=1)
    blocks = np.array_split(values, max(1, len(values) // 8192))
    return np.concatenate([(lengths - 2 * block @ codebook.T).argmin(axis=1) for block in blocks])


@dataclass(frozen=True, kw_only=True)
class PlainCodec:
    """PCA, then product and residual k-means: each codebook refines what the ones before left of a group of components.

    `stages` are (group of components, codes (m, group)) in their order. With `band_hz` only that band is coded, and
    nothing else comes back: a worse waveform, and at low rates more of a response that lies in the band.
    """

    name: str
    bits_per_second: float
    band_hz: tuple[float, float] | None
    pca: PatchPCA
    stages: tuple[tuple[slice, np.ndarray], ...]

    @classmethod
    def fit(
        cls,
        windows: Sequence[Window],
        bits_per_second: float,
        seed: int,
        band_hz: tuple[float, float] | None = None,
    ) -> Self:
        """Spend the bits of a patch codebook by codebook, each on the group that has most left to describe.

        Raises:
            ConfigError: no multiple of 10 bit/s.
            DataError: no windows, of another rate than 200 Hz, shorter than 100 ms, or too few for a codebook.
        """
        bits = left = bits_of_patch(windows, bits_per_second)
        pca, rest = PatchPCA.fit(_in_band(windows, band_hz), seed)
        code_bits = min(LARGEST_CODE_BITS, int(log2(max(1, len(rest) / PATCHES_PER_CODE))))
        if code_bits < 1:
            raise DataError(f"plain codec: {len(rest)} patches to fit to; expected {2 * PATCHES_PER_CODE}, add windows")
        groups = component_groups(left, rest.shape[1])
        stages = []
        with tqdm(total=left, desc="plain codec", unit="bit", leave=False, dynamic_ncols=True) as bar:
            while left:
                of_code = min(code_bits, left)
                group = max(groups, key=lambda g: float((rest[:, g] ** 2).sum()))
                codes = _k_means(rest[:, group], 2**of_code, seed)
                rest[:, group] -= codes[nearest(rest[:, group], codes)]
                stages.append((group, codes))
                left -= of_code
                bar.update(of_code)
        return cls(
            name="PCA + k-means" + (f", {band_hz[0]:g} to {band_hz[1]:g} Hz" if band_hz else ""),
            bits_per_second=spent_bits_per_second(windows, PATCH_SAMPLES, [bits] * len(windows)),
            band_hz=band_hz,
            pca=pca,
            stages=tuple(stages),
        )

    def restore(self, windows: list[Window]) -> list[np.ndarray]:
        """Decoded microvolts; see `Codec`.

        Raises:
            DataError: a window has a channel, or a rate, that the codec was not fitted to.
        """
        check_windows(windows, PATCH_SAMPLES)
        rest = self.pca.components(_in_band(windows, self.band_hz))[:, : max(group.stop for group, _ in self.stages)]
        total = np.zeros_like(rest)
        for group, codes in self.stages:
            found = codes[nearest(rest[:, group], codes)]
            total[:, group] += found
            rest[:, group] -= found
        return self.pca.signals(total, windows)


def _in_band(windows: Sequence[Window], band_hz: tuple[float, float] | None) -> Sequence[Window]:
    if band_hz is None:
        return windows
    return [replace(w, eeg_uV=band_passed(w.eeg_uV, band_hz).astype(np.float32)) for w in windows]


def component_groups(bits: int, n_components: int) -> list[slice]:
    """Which components share codebooks, given the bits of a patch.

    Found on validation windows of `cvep20` (share right, standard error .03, / error over signal energy). 10 bits:
    30 components .47 / .551, 60 .47 / .556, 160 .48 / .567. 20 bits: one group of 40 .58 / .420, groups of 20 .59 /
    .411. 40 bits: one group of 60 .66 / .278, groups of 20 .63 / .267, of 10 .65 / .269. 80 bits: one group of 80
    .72 / .143, groups of 20 .71 / .133, of 10 .70 / .133. 160 bits: groups of 20 .83 / .045, of 10 .83 / .043, of 5
    .84 / .045. Codebooks of 256 were no better (40 bits .66 / .279, 80 bits .72 / .146, 160 bits .83 / .045), nor were
    components whose variances were made more equal (10 bits .39 / .616).
    """
    used = min(n_components, 60 + bits // 4)
    width = used if bits <= 10 else 20 if bits <= 20 else 10
    return [slice(start, min(start + width, used)) for start in range(0, used, width)]


def _k_means(values: np.ndarray, n_codes: int, seed: int) -> np.ndarray:
    """Codes float32 (n_codes, d) of values (n, d)."""
    from sklearn.cluster import KMeans

    rounds = KMeans(n_codes, init="random", n_init=1, max_iter=LLOYD_ROUNDS, random_state=seed, copy_x=True)
    return rounds.fit(values).cluster_centers_.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class PcaScalarCodec:
    """PCA, then one scalar quantizer for each component (Lloyd 1982, Max 1960), as many bits as its variance deserves.

    `levels` are the values of the components that get bits, largest variance first, 2 to the power of their bits each.
    """

    name: str
    bits_per_second: float
    pca: PatchPCA
    levels: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, windows: Sequence[Window], bits_per_second: float, seed: int) -> Self:
        """Each bit goes to the component with most distortion left, a quarter with every bit (reverse water-filling).

        Raises:
            ConfigError: no multiple of 10 bit/s.
            DataError: no windows, of another rate than 200 Hz, or shorter than 100 ms.
        """
        bits = bits_of_patch(windows, bits_per_second)
        pca, components = PatchPCA.fit(windows, seed)
        given = np.zeros(len(pca.variances), int)
        for _ in range(bits):
            given[np.argmax(pca.variances / 4.0**given)] += 1
        levels = tuple(_lloyd_max(components[:, i], 2 ** int(given[i])) for i in np.flatnonzero(given))
        spent = spent_bits_per_second(windows, PATCH_SAMPLES, [bits] * len(windows))
        return cls(name="PCA + scalars", bits_per_second=spent, pca=pca, levels=levels)

    def restore(self, windows: list[Window]) -> list[np.ndarray]:
        """Decoded microvolts; see `Codec`.

        Raises:
            DataError: a window has a channel, or a rate, that the codec was not fitted to.
        """
        check_windows(windows, PATCH_SAMPLES)
        components = self.pca.components(windows)[:, : len(self.levels)]
        for column, levels in zip(components.T, self.levels, strict=True):
            column[:] = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, column)]
        return self.pca.signals(components, windows)


def _lloyd_max(values: np.ndarray, n_levels: int) -> np.ndarray:
    """The levels, ascending, of a quantizer of values (n,): each is the mean of the values that are nearest to it."""
    levels = np.quantile(values, (np.arange(n_levels) + 0.5) / n_levels).astype(np.float64)
    for _ in range(LLOYD_ROUNDS):
        nearest_level = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
        counts = np.bincount(nearest_level, minlength=n_levels)
        sums = np.bincount(nearest_level, weights=values, minlength=n_levels)
        levels = np.sort(np.where(counts > 0, sums / np.maximum(counts, 1), levels))
    return levels.astype(np.float32)
