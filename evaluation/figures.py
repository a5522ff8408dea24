"""Pictures of a report: sheets of pictures, trials with target and outputs, and EEG before and after its tokenizer."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroleon.evaluation.results import Shown
from neuroleon.signals.window import Window

MAX_ROWS = 12
MAX_SHOWN = 8
MAX_CHANNELS = 4
_TITLE_LENGTH = 28  # characters that fit above a picture of 2 inches at 9 points


def short(title: str, length: int = _TITLE_LENGTH) -> str:
    """At most `length` characters of a title."""
    return title if len(title) <= length else title[: length - 1] + "…"


def without_middle(title: str, length: int) -> str:
    """At most `length` characters of a title, first and last ones: names of one set often begin alike."""
    last = length * 2 // 3
    return title if len(title) <= length else f"{title[: length - last - 1]}…{title[-last:]}"


def tidy(axes: Axes) -> None:
    """No frame but the two axes."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def picture_sheet(path: Path, title: str, rows: Sequence[tuple[list[np.ndarray], list[str]]]) -> None:
    """Write a PNG: one row per item, uint8 pictures side by side, each under its title; at most 12 rows."""
    rows = rows[:MAX_ROWS]
    columns = max(len(pictures) for pictures, _ in rows)
    height = 2.3 * len(rows) + 0.5
    figure = Figure(figsize=(2.1 * columns, height))  # a constrained layout of 36 axes takes seconds
    figure.suptitle(title, fontsize=11, y=1 - 0.2 / height, va="center")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.05 / height, top=1 - 0.65 / height, hspace=0.2, wspace=0.08)
    for axis in grid.flat:
        axis.axis("off")
    for axes, (pictures, titles) in zip(grid, rows, strict=True):
        for axis, picture, text in zip(axes, pictures, titles, strict=False):
            axis.imshow(picture, interpolation="nearest")
            axis.set_title(short(text), fontsize=9)
    figure.savefig(path, dpi=110)


def shown_figure(path: Path, title: str, shown: Sequence[Shown]) -> None:
    """Write a PNG: a row for each trial (at most 8) with its EEG, the target, and what came under each condition."""
    shown = shown[:MAX_SHOWN]
    conditions = list(dict.fromkeys(name for one in shown for name in one.outputs))
    row, top, bottom, eeg, cell = 1.75, 0.75, 0.5, 4.2, 1.75  # inches
    width, height = eeg + cell * (1 + len(conditions)) + 0.2, row * len(shown) + top + bottom
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, fontsize=11, x=0.15 / width, y=1 - 0.2 / height, ha="left", va="center")
    for i, one in enumerate(shown):
        base = (height - top - (i + 1) * row + 0.12) / height
        axes = figure.add_axes((0.75 / width, base, (eeg - 0.95) / width, (row - 0.32) / height))
        eeg_traces(axes, one.window)
        if i == len(shown) - 1:
            axes.set_xlabel("time (s)", fontsize=8)
        for k, name in enumerate(("target", *conditions)):
            axes = figure.add_axes(((eeg + k * cell) / width, base, (cell - 0.12) / width, (row - 0.32) / height))
            axes.axis("off")
            _output(axes, one, name)
    for k, name in enumerate(("EEG", "target", *conditions)):
        x = 0.75 if k == 0 else eeg + (k - 1) * cell + (cell - 0.12) / 2
        align = "left" if k == 0 else "center"
        y = 1 - (top - 0.2) / height
        figure.text(x / width, y, name, fontsize=9, fontweight="bold", ha=align, va="center")
    figure.savefig(path, dpi=110)


def _output(axes: Axes, one: Shown, name: str) -> None:
    """A picture or a text, and above it what it counts as, marked as right or wrong."""
    value = one.target if name == "target" else one.outputs.get(name)
    wanted = one.titles.get("target", one.titles.get("seen"))
    called = wanted if name == "target" else one.titles.get(name)
    if called is not None:
        mark = "" if name == "target" or wanted is None else "✓ " if called == wanted else "✗ "
        axes.set_title(
            mark + ("" if isinstance(value, str) and value == called else short(called, 22)), fontsize=8, pad=2
        )
    if isinstance(value, str):
        lines = wrap(value, 23)
        text = "\n".join([*lines[:7], "…"] if len(lines) > 7 else lines) or "(nothing)"
        axes.text(0.5, 0.5, text, fontsize=8, ha="center", va="center", transform=axes.transAxes)
    elif value is not None:
        axes.imshow(value, interpolation="nearest")


def eeg_traces(axes: Axes, window: Window) -> None:
    """Up to four channels of a window, spread over the head, under each other on one scale; the bar is in µV."""
    chosen = spread_channels(window)
    signals = window.eeg_uV[chosen] - np.median(window.eeg_uV[chosen], axis=1, keepdims=True)
    apart = max(2.2 * float(np.percentile(np.abs(signals), 98)), 1e-6)
    seconds = np.arange(signals.shape[1]) / window.sfreq
    for k, signal in enumerate(signals):
        axes.plot(seconds, signal - k * apart, color="0.2", linewidth=0.6)
    axes.set_yticks([-k * apart for k in range(len(chosen))], [window.ch_names[c] for c in chosen])
    axes.set_ylim(-(len(chosen) - 0.3) * apart, 0.7 * apart)
    axes.margins(x=0)
    tidy(axes)
    axes.tick_params(labelsize=7, length=2)
    bar = _round_down(apart)
    right = seconds[-1] + 0.02 * (seconds[-1] - seconds[0])
    axes.plot([right, right], [-bar / 2, bar / 2], color="tab:red", linewidth=1.5, clip_on=False)
    axes.annotate(
        f"{bar:g} µV", (right, 0), xytext=(2, 0), textcoords="offset points", color="tab:red", fontsize=7, va="center",
        rotation=90, annotation_clip=False,
    )  # fmt: skip


def _round_down(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above `value`."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * max(step for step in (1, 2, 5) if step * power <= value))


def spread_channels(window: Window) -> np.ndarray:
    """Indices of up to four channels, evenly over the window's order."""
    n_chans = len(window.ch_names)
    return np.unique(np.linspace(0, n_chans - 1, min(MAX_CHANNELS, n_chans)).round().astype(int))


def waveform_figure(path: Path, title: str, original: Window, restored: Window) -> None:
    """Write a PNG: up to four channels, spread over the head, original and reconstruction over each other."""
    shown = spread_channels(original)
    seconds = np.arange(original.eeg_uV.shape[1]) / original.sfreq
    figure = Figure(figsize=(9, 1.5 * len(shown) + 0.8), layout="constrained")
    figure.suptitle(f"{title}: EEG before and after the tokenizer", fontsize=11)
    axes = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    for axis, channel in zip(axes, shown, strict=True):
        axis.plot(seconds, original.eeg_uV[channel], color="0.55", linewidth=1.0, label="original")
        axis.plot(seconds, restored.eeg_uV[channel], color="tab:red", linewidth=1.0, label="reconstruction")
        axis.set_ylabel(f"{original.ch_names[channel]} (µV)", fontsize=9)
        axis.margins(x=0)
        tidy(axis)
    axes[0].legend(loc="upper right", fontsize=8, ncols=2)
    axes[-1].set_xlabel("time (s)", fontsize=9)
    figure.savefig(path, dpi=110)
