"""The picture of what moved the output: bits lost over the head, at each electrode, and over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Circle

from neuroleon.evaluation.figures import tidy
from neuroleon.evaluation.figures_numbers import REAL, SHUFFLED
from neuroleon.evaluation.results import Attribution
from neuroleon.evaluation.stats import Estimate

INTERPOLATED = 16  # electrodes; fewer say nothing of the places between them, so only dots are drawn
LISTED = 20  # electrodes with the largest effect, whose intervals are drawn
_COLOURS = "RdBu_r"


def attribution_figure(path: Path, title: str, found: Attribution) -> None:
    """Write a PNG: the head, the electrodes with intervals (the 20 largest), and the time course with its interval."""
    figure = Figure(figsize=(9, 6.8 if found.channels else 3), layout="constrained")
    figure.suptitle(f"{title}: bits of the true answer lost", fontsize=11)
    course: FigureBase = figure
    if found.channels:  # a window of one electrode has none to leave out
        upper, course = np.asarray(figure.subfigures(2, 1, height_ratios=(1.5, 1)))
        head, channels = upper.subplots(1, 2, width_ratios=(1, 1.15))
        _head(head, np.array([e.mean for e in found.channels.values()]), list(found.channels), found.positions, upper)
        _channels(channels, found.channels, found.shuffled_channels)
    _course(course.subplots(), found.times_s, found.steps, found.shuffled_steps)
    figure.savefig(path, dpi=130)


def flat_places(positions: np.ndarray) -> np.ndarray:
    """Electrodes seen from above, (n, 2): the angle from the vertex as radius, 1 at the rim (azimuthal equidistant)."""
    unit = positions / np.linalg.norm(positions, axis=1, keepdims=True)
    angle = np.arccos(np.clip(unit[:, 2], -1, 1)) / (np.pi / 2)
    flat = np.hypot(unit[:, 0], unit[:, 1])
    return unit[:, :2] * (angle / np.where(flat > 1e-9, flat, 1.0))[:, None]


def _head(axes: Axes, bits: np.ndarray, names: Sequence[str], positions: np.ndarray, figure: FigureBase) -> None:
    places = flat_places(positions)
    most = max(float(np.abs(bits).max()), 1e-3)
    if len(names) >= INTERPOLATED:
        from mne.viz import plot_topomap  # seconds to import

        image, _ = plot_topomap(
            bits, places, axes=axes, cmap=_COLOURS, vlim=(-most, most), sphere=1.0, show=False, sensors=False,
            contours=0, outlines=None, extrapolate="head", res=160,
        )  # fmt: skip
        outmost = float(np.hypot(*places.T).max())
        image.set_clip_path(Circle((0, 0), max(1.0, outmost + 0.05), transform=axes.transData))
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.plot(np.sin(turn), np.cos(turn), color="0.4", linewidth=1)
    axes.plot([-0.12, 0, 0.12], [0.99, 1.13, 0.99], color="0.4", linewidth=1)  # the nose
    small = len(names) > 40
    size, (x, y) = 20 if small else 130, places.T
    dots = axes.scatter(x, y, size, bits, cmap=_COLOURS, vmin=-most, vmax=most, edgecolors="0.3", linewidths=0.6)
    if not small:
        for name, place in zip(names, places, strict=True):
            axes.annotate(name, place, xytext=(0, -8), textcoords="offset points", fontsize=7, ha="center", va="top")
    reach = max(1.2, float(np.abs(places).max()) + 0.2)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title("without one electrode", fontsize=9)
    bar = figure.colorbar(dots, ax=axes, location="left", shrink=0.6)
    bar.ax.tick_params(labelsize=7)


def _channels(axes: Axes, found: Mapping[str, Estimate], shuffled: Mapping[str, Estimate]) -> None:
    names = sorted(found, key=lambda name: -abs(found[name].mean))[:LISTED]
    for i, name in enumerate(names):
        for e, colour, place in ((shuffled.get(name), SHUFFLED, 0.18), (found[name], REAL, -0.18)):
            if e is not None:
                axes.plot([e.low, e.high], [i + place] * 2, color=colour, linewidth=1.4)
                axes.plot(e.mean, i + place, "o", color=colour, markersize=4)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel("bits lost", fontsize=8)
    axes.set_title(f"the {LISTED} largest" if len(found) > LISTED else "with intervals", fontsize=9)
    tidy(axes)


def _course(axes: Axes, times_s: Sequence[float], steps: Sequence[Estimate], shuffled: Sequence[Estimate]) -> None:
    length = times_s[1] - times_s[0] if len(times_s) > 1 else 1.0
    edges = [*times_s, times_s[-1] + length]
    for found, colour, label in ((shuffled, SHUFFLED, "shuffled EEG"), (steps, REAL, "real EEG")):
        if found:
            low, mean, high = ([getattr(e, k) for e in found] for k in ("low", "mean", "high"))
            axes.fill_between(
                edges, [*low, low[-1]], [*high, high[-1]], step="post", color=colour, alpha=0.2, linewidth=0
            )
            axes.stairs(mean, edges, color=colour, linewidth=1.5, label=label, baseline=None)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set_xlabel("time (s)", fontsize=8)
    axes.set_ylabel("bits lost", fontsize=8)
    axes.set_title(f"without one step of {1000 * length:g} ms", fontsize=9)
    axes.margins(x=0)
    axes.legend(fontsize=8, frameon=False, loc="best")
    tidy(axes)
