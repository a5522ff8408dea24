"""Pictures of a report: sheets of pictures with titles, and EEG before and after its tokenizer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from neuroleon.signals.window import Window

MAX_ROWS = 12
MAX_CHANNELS = 4
_TITLE_LENGTH = 28  # characters that fit above a picture of 2 inches at 9 points


def _short(title: str) -> str:
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1] + "…"


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
            axis.set_title(_short(text), fontsize=9)
    figure.savefig(path, dpi=110)


def waveform_figure(path: Path, title: str, original: Window, restored: Window) -> None:
    """Write a PNG: up to four channels, spread over the head, original and reconstruction over each other."""
    n_chans, n_times = original.eeg_uV.shape
    shown = np.unique(np.linspace(0, n_chans - 1, min(MAX_CHANNELS, n_chans)).round().astype(int))
    seconds = np.arange(n_times) / original.sfreq
    figure = Figure(figsize=(9, 1.5 * len(shown) + 0.8), layout="constrained")
    figure.suptitle(f"{title}: EEG before and after the tokenizer", fontsize=11)
    axes = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
    for axis, channel in zip(axes, shown, strict=True):
        axis.plot(seconds, original.eeg_uV[channel], color="0.55", linewidth=1.0, label="original")
        axis.plot(seconds, restored.eeg_uV[channel], color="tab:red", linewidth=1.0, label="reconstruction")
        axis.set_ylabel(f"{original.ch_names[channel]} (µV)", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.margins(x=0)
    axes[0].legend(loc="upper right", fontsize=8, ncols=2)
    axes[-1].set_xlabel("time (s)", fontsize=9)
    figure.savefig(path, dpi=110)
