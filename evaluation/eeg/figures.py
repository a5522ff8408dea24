"""Figures of the tokenizer report: bands, codes, and accuracy against bits per second."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroleon.evaluation.eeg.contest import Curve
from neuroleon.evaluation.eeg.fidelity import BANDS, CORRELATION
from neuroleon.evaluation.metrics import BANDS_HZ
from neuroleon.evaluation.tokenizers import CodeUse, Fidelity

_DPI = 130
_COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown")


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def bands_figure(path: Path, full: Sequence[Fidelity], wanted: dict[str, float]) -> None:
    """Write a PNG: correlation overall and per band, a dot for each set and a bar at their mean; `wanted` are gates."""
    names = [CORRELATION, *BANDS.values()]
    labels = ["all", *(f"{name}\n{low:g}-{high:g} Hz" for name, (low, high) in BANDS_HZ.items())]
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        values = [f.measures[name].mean for f in full if name in f.measures]
        spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(len(values))
        axes.scatter(place + spread, values, s=16, color="tab:blue", alpha=0.7, linewidths=0, label="one set")
        if values:
            axes.hlines(np.mean(values), place - 0.3, place + 0.3, color="black", linewidth=2, label="mean of the sets")
        if name in wanted:
            axes.hlines(wanted[name], place - 0.36, place + 0.36, color="tab:red", linestyle=":", label="gate")
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    axes.legend(handles.values(), handles.keys(), fontsize=8, loc="lower left", frameon=False, ncols=3)
    axes.set_xticks(range(len(names)), labels, fontsize=9)
    axes.set_ylabel("correlation with the original", fontsize=9)
    lowest = min(f.measures[name].low for f in full for name in names if name in f.measures)
    axes.set_ylim(min(0.0, lowest) - 0.1, 1.0)
    _tidy(axes)
    figure.savefig(path, dpi=_DPI)


def codes_figure(path: Path, levels: Sequence[CodeUse]) -> None:
    """Write a PNG: perplexity and codes used of each level, over all sets together."""
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(1, len(levels) + 1)
    axes.bar(places, [level.used * level.size for level in levels], color="0.85", label="codes used")
    axes.bar(places, [level.perplexity for level in levels], width=0.5, color="tab:blue", label="perplexity")
    axes.axhline(levels[0].size, color="black", linewidth=0.8, linestyle=":")
    axes.set_ylim(0, 1.25 * levels[0].size)
    axes.set_xticks(places)
    axes.set_xlabel(f"level of a step, coarse to fine ({levels[0].n_tokens} ids of each)", fontsize=9)
    axes.set_ylabel(f"of {levels[0].size} codes", fontsize=9)
    axes.legend(fontsize=8, loc="upper center", frameon=False, ncols=2)
    _tidy(axes)
    figure.savefig(path, dpi=_DPI)


def curve_figure(path: Path, curve: Curve) -> None:
    """Write a PNG: accuracy of one probe on what each codec gives back, against its bits per second."""
    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axes = figure.add_subplot()
    axes.axhspan(curve.raw.low, curve.raw.high, color="0.9", linewidth=0)
    axes.axhline(curve.raw.mean, color="black", linewidth=1.2, label="raw signal")
    axes.axhline(curve.chance, color="black", linewidth=0.8, linestyle=":", label="chance")
    for colour, codec in zip(_COLOURS, dict.fromkeys(point.codec for point in curve.points), strict=False):
        points = sorted((p for p in curve.points if p.codec == codec), key=lambda p: p.bits_per_second)
        rates, means = [p.bits_per_second for p in points], [p.accuracy.mean for p in points]
        spans = [
            [p.accuracy.mean - p.accuracy.low for p in points],
            [p.accuracy.high - p.accuracy.mean for p in points],
        ]
        axes.errorbar(rates, means, yerr=spans, color=colour, marker="o", markersize=4, capsize=2, label=codec)
    axes.set_xscale("log", base=2)
    ticks = sorted({round(point.bits_per_second) for point in curve.points})
    shown = [tick for i, tick in enumerate(ticks) if i == 0 or tick / ticks[i - 1] > 1.1]
    axes.set_xticks(shown, [str(tick) for tick in shown], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("bits per second", fontsize=9)
    axes.set_ylabel(f"accuracy on {curve.recipe}\n({curve.probe})", fontsize=9)
    axes.set_ylim(0, 1)
    axes.legend(fontsize=8, loc="best", frameon=False)
    _tidy(axes)
    figure.savefig(path, dpi=_DPI)
