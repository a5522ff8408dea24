"""Pictures for people: EEG as stacked channels, beside what was decoded from it, and contact sheets."""

import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuroleon.decoding.pipeline import Result
from neuroleon.signals.window import Window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TILE = 192  # pixels of a side of one picture in a contact sheet; small pictures are enlarged without smoothing
GAP = 8


def printable(text: str) -> str:
    """`text` on one line, fit for a terminal: what a model writes may hold control characters."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def contact_sheet(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Square pictures uint8 (H, W, 3) in a nearly square grid on white, uint8."""
    tiles = [_enlarged(picture) for picture in pictures]
    columns = int(np.ceil(np.sqrt(len(tiles))))
    rows = -(-len(tiles) // columns)
    side = tiles[0].shape[0] + GAP
    sheet = np.full((rows * side + GAP, columns * side + GAP, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = GAP + i // columns * side, GAP + i % columns * side
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def _enlarged(picture: np.ndarray) -> np.ndarray:
    times = max(1, TILE // picture.shape[0])
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def plot_window(axes: "Axes", window: Window, start_s: float = 0.0) -> None:
    """Stacked channels over time, each at the same scale, which a bar at the right states in microvolts."""
    n_chans, n_times = window.eeg_uV.shape
    spacing = 6 * max(float(np.median(window.eeg_uV.std(axis=1))), 1e-3)
    seconds = start_s + np.arange(n_times) / window.sfreq
    centred = window.eeg_uV - window.eeg_uV.mean(axis=1, keepdims=True)
    places = -spacing * np.arange(n_chans)
    axes.plot(seconds, centred.T + places, color="#1f3b66", linewidth=0.6)
    axes.set_yticks(places, window.ch_names, fontsize=max(4, min(9, 240 // n_chans)))
    axes.set_ylim(places[-1] - spacing, spacing)
    axes.set_xlim(seconds[0], start_s + n_times / window.sfreq)
    axes.set_xlabel("time in the recording (s)" if start_s else "time (s)")
    right = 1.015
    axes.plot([right, right], [0, -spacing], color="black", transform=axes.get_yaxis_transform(), clip_on=False)
    axes.text(
        right + 0.01, -spacing / 2, f"{spacing:.0f} µV", transform=axes.get_yaxis_transform(), va="center", fontsize=8
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save_figure(figure: "Figure", path: Path) -> None:
    """Write a PNG; letters that the font does not have become boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path)


def result_figure(window: Window, results: Sequence[Result], title: str, start_s: float = 0.0) -> "Figure":
    """The EEG that went in, and beside it the decoded pictures (up to 9) and sentences (up to 6)."""
    from matplotlib.figure import Figure

    height = float(np.clip(1.5 + 0.22 * len(window.ch_names), 4.5, 12))
    figure = Figure(figsize=(11, height), dpi=130, layout="constrained")  # Agg: saved to a file, never shown
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    plot_window(left, window, start_s)
    left.set_title(title, loc="left", fontsize=10)
    right.axis("off")
    right.set_title("decoded", loc="left", fontsize=10)
    pictures = [result.picture for result in results if result.picture is not None][:9]
    sentences = [result.text for result in results if result.text is not None][:6]
    if pictures:
        share = 0.62 if sentences else 1.0
        inset = right.inset_axes((0, 1 - share, 1, share))
        inset.imshow(contact_sheet(pictures), interpolation="nearest")
        inset.axis("off")
    shown = [textwrap.shorten(printable(sentence), 160, placeholder=" ...") for sentence in sentences]
    wrapped = [textwrap.fill(sentence, 38) for sentence in shown]
    top = 0.34 if pictures else 0.98
    words = right.text(0, top, "\n\n".join(wrapped), transform=right.transAxes, va="top", fontsize=9, parse_math=False)
    words.set_in_layout(False)  # many words shall not squeeze the EEG
    return figure


def window_figure(window: Window, title: str) -> "Figure":
    """One window alone: generated EEG."""
    from matplotlib.figure import Figure

    height = float(np.clip(1.5 + 0.22 * len(window.ch_names), 3, 12))
    figure = Figure(figsize=(8, height), dpi=130, layout="constrained")
    axes = figure.subplots()
    plot_window(axes, window)
    axes.set_title(title, loc="left", fontsize=10)
    return figure
