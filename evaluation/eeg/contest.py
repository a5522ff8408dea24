"""The tokenizer beside simpler codecs: one table at one rate, and accuracy against bits per second."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import DataError
from neuroleon.evaluation.eeg.fidelity import CORRELATION, LSD, NMSE, window_measures
from neuroleon.evaluation.eeg.labram import LabramCodec
from neuroleon.evaluation.eeg.plain import Codec, PcaScalarCodec, PlainCodec
from neuroleon.evaluation.eeg.probes import FLASH_BAND_HZ, ProbeResult
from neuroleon.evaluation.eeg.retention import cannot_be_probed, probe_for
from neuroleon.evaluation.eeg.sets import MeasuredSet
from neuroleon.evaluation.stats import Estimate
from neuroleon.evaluation.tokenizers import over_windows
from neuroleon.signals.window import Window

OURS = "ours"
OUR_BITS = (80, 160, 400, 800, 1280)
PLAIN_BITS = (100, 200, 400, 800, 1600)
LABRAM_STEPS = 400
CODECS: dict[str, Callable[[Sequence[Window], float, int], Codec]] = {
    "LaBraM's kind": lambda windows, bits, seed: LabramCodec.fit(windows, bits, LABRAM_STEPS, seed),
    "PCA + scalars": PcaScalarCodec.fit,
    "PCA + k-means": PlainCodec.fit,
}


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """Accuracy on what one codec gives back at one rate."""

    codec: str
    bits_per_second: float
    accuracy: Estimate


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy of one probe against bits per second, on one set."""

    recipe: str
    probe: str
    chance: float
    raw: Estimate
    points: tuple[RatePoint, ...]


@dataclass(frozen=True, kw_only=True)
class CodecRow:
    """One codec on one set; `accuracy` and `chance` are None where the set has no labels to tell."""

    recipe: str
    codec: str
    bits_per_second: float
    correlation: Estimate
    nmse: Estimate
    lsd: Estimate
    accuracy: Estimate | None
    chance: float | None


def curve(measured: MeasuredSet, seed: int) -> Curve:
    """The set's probe on the raw signal, and on what ours and PCA + k-means give back at five rates each.

    PCA + k-means once of the whole signal, and once of the band that the probe reads: its bits are then for that alone.

    Raises:
        DataError: no probe can be trained, or no codec fitted.
    """
    tokenizer, splits = measured.tokenizer, ("train", measured.split)
    per_level = tokenizer.bits_per_second / tokenizer.tokens_per_step
    levels = [k for bits in OUR_BITS if 1 <= (k := round(bits / per_level)) <= tokenizer.tokens_per_step]
    raw = _probed(measured, lambda split: None)
    points = []
    plain = [(band_hz, bits) for band_hz in (None, FLASH_BAND_HZ) for bits in PLAIN_BITS]
    with tqdm(total=len(levels) + len(plain), desc=f"curve, {measured.recipe}", unit="rate") as bar:
        for k in levels:
            found = _probed(measured, partial(measured.signals, levels=k))
            points.append(RatePoint(codec=OURS, bits_per_second=k * per_level, accuracy=found.balanced))
            bar.update()
        for band_hz, bits in plain:
            codec = PlainCodec.fit(measured.windows("train"), bits, seed, band_hz)
            back = {split: codec.restore(measured.windows(split)) for split in splits}
            found = _probed(measured, back.__getitem__)
            points.append(RatePoint(codec=codec.name, bits_per_second=codec.bits_per_second, accuracy=found.balanced))
            bar.update()
    return Curve(recipe=measured.recipe, probe=raw.probe, chance=raw.chance, raw=raw.balanced, points=tuple(points))


def _probed(measured: MeasuredSet, signals: Callable[[str], Sequence[np.ndarray] | None]) -> ProbeResult:
    """The set's probe, trained and asked on `signals(split)`; None stands for the set's own."""
    train, test = (measured.labelled(split, signals(split)) for split in ("train", measured.split))
    return probe_for(test)(train, test)


def contest(measured: MeasuredSet, seed: int) -> tuple[list[CodecRow], list[str]]:
    """Ours at all levels, then each simpler codec at that rate, on the scored windows; and what was left out, why."""
    bits, every = measured.tokenizer.bits_per_second, measured.tokenizer.tokens_per_step
    rows = [_row(measured, OURS, bits, partial(measured.signals, levels=every), seed)]
    left_out = []
    for name, fit in CODECS.items():
        try:
            codec = fit(measured.windows("train"), bits, seed)
            back = {split: codec.restore(measured.windows(split)) for split in ("train", measured.split)}
        except DataError as error:
            left_out.append(f"side by side, {measured.recipe}, {name}: {error}")
        else:
            rows.append(_row(measured, name, codec.bits_per_second, back.__getitem__, seed))
    return rows, left_out


def _row(
    measured: MeasuredSet, codec: str, bits_per_second: float, signals: Callable[[str], Sequence[np.ndarray]], seed: int
) -> CodecRow:
    pairs = zip(measured.windows(measured.split), signals(measured.split), strict=True)
    found = [window_measures(window.eeg_uV, back, window.sfreq) for window, back in pairs]
    correlation, error, distance = (
        over_windows([row[name] for row in found], measured.scored.clusters, seed) for name in (CORRELATION, NMSE, LSD)
    )
    probed = None if cannot_be_probed(measured) else _probed(measured, signals)
    return CodecRow(
        recipe=measured.recipe,
        codec=codec,
        bits_per_second=bits_per_second,
        correlation=correlation,
        nmse=error,
        lsd=distance,
        accuracy=probed.balanced if probed else None,
        chance=probed.chance if probed else None,
    )
