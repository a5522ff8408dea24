"""Pictures of numbers: all sets at a glance, confusion matrices, and reliability diagrams."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from neuroleon.evaluation.figures import short, tidy, without_middle
from neuroleon.evaluation.results import Confusion, Reliability
from neuroleon.evaluation.stats import Comparison
from neuroleon.evaluation.words import number, ordered

REAL = "#0b5cad"
SHUFFLED = "#8a8a8a"
NAMED = 40  # answers whose names still fit beside a confusion matrix
COUNTED = 12  # answers whose counts still fit into its cells
_OTHERS = ("#d98c00", "#2f8f5b", "#a3469b", "#b5524a", "#4d4d4d", "#7a6a00", "#00798c", "#c2185b")
_MARKS = ("s", "D", "^", "v", "P", "X", "*", "p")


def overview_figure(path: Path, lines: Sequence[tuple[str, Comparison]]) -> None:
    """Write a PNG: a line for each comparison of shares, a dot with interval for each condition, a bar at chance."""
    names = ordered(name for _, c in lines for name in c.conditions)
    styles = {name: _style(name, names) for name in names}
    height = 0.25 + 0.075 * len(names)
    figure = Figure(figsize=(8.5, height * len(lines) + 1.1), layout="constrained")
    axes = figure.add_subplot()
    for i, (_, c) in enumerate(lines):
        present = [name for name in names if name in c.conditions]
        for place, name in zip(np.linspace(-0.32, 0.32, len(present)), present, strict=True):
            e, (colour, mark) = c.conditions[name], styles[name]
            axes.plot([e.low, e.high], [i + place] * 2, color=colour, linewidth=1.2)
            axes.plot(e.mean, i + place, color=colour, marker=mark, markersize=6 if name == "real" else 4)
        if c.chance is not None:
            axes.plot([c.chance] * 2, [i - 0.42, i + 0.42], color="black", linewidth=1, linestyle=":")
    handles = [Line2D([], [], color=c, marker=m, markersize=5, linewidth=1.2, label=n) for n, (c, m) in styles.items()]
    handles.append(Line2D([], [], color="black", linewidth=1, linestyle=":", label="chance"))
    figure.legend(handles=handles, loc="outside upper left", ncols=min(6, len(handles)), fontsize=8, frameon=False)
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.set_xlim(-0.01, 1.01)
    axes.set_xlabel("share of windows that are right", fontsize=9)
    tidy(axes)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=130)


def _style(name: str, names: Sequence[str]) -> tuple[str, str]:
    if name in ("real", "shuffled"):
        return (REAL, "o") if name == "real" else (SHUFFLED, "o")
    place = [other for other in names if other not in ("real", "shuffled")].index(name)
    return _OTHERS[place % len(_OTHERS)], _MARKS[place % len(_MARKS)]


def confusion_figure(path: Path, confusion: Confusion) -> None:
    """Write a PNG: the matrices of real and shuffled EEG side by side, each row as shares of its true answer."""
    conditions = [c for c in ("real", "shuffled") if c in confusion.counts] or ordered(confusion.counts)[:2]
    n = len(confusion.answers)
    named = n <= NAMED
    cell = min(0.42, max(0.17, 4.0 / n))
    names = [without_middle(answer, 18) for answer in confusion.answers] if named else [""] * n
    margin = 0.42 + 0.06 * max(map(len, [*names, "none of these"]))  # a letter of 7 points is under 0.06 inches wide
    width = margin + len(conditions) * ((n + 1) * cell + 0.35) + 0.65
    height = margin + n * cell + 0.75
    figure = Figure(figsize=(width, height))
    figure.suptitle(
        short(confusion.metric, int(width / 0.09)), fontsize=10, x=0.1 / width, y=1 - 0.18 / height, ha="left"
    )
    for k, condition in enumerate(conditions):
        left = margin + k * ((n + 1) * cell + 0.35)
        axes = figure.add_axes((left / width, margin / height, (n + 1) * cell / width, n * cell / height))
        image = _matrix(axes, np.array(confusion.counts[condition], dtype=float), cell)
        axes.set_title(condition, fontsize=9)
        axes.set_xticks(range(n + 1), [*names, "none of these"], rotation=90, fontsize=7)
        axes.set_yticks(range(n), names if k == 0 else [""] * n, fontsize=7)
        axes.tick_params(length=0 if not named else 2)
        axes.set_xlabel("answer given", fontsize=8)
        axes.xaxis.set_label_coords(0.5, -(margin - 0.28) / (n * cell))
        if k == 0:
            axes.set_ylabel("true answer", fontsize=8)
            axes.yaxis.set_label_coords(-(margin - 0.24) / ((n + 1) * cell), 0.5)
    bar = figure.add_axes(((width - 0.58) / width, margin / height, 0.1 / width, min(2.0, n * cell) / height))
    figure.colorbar(image, cax=bar).ax.tick_params(labelsize=7)
    figure.savefig(path, dpi=140)


def _matrix(axes: Axes, counts: np.ndarray, cell: float) -> AxesImage:
    """Shares of each row; counts are written into cells that are large enough."""
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.axvline(len(counts) - 0.5, color="0.5", linewidth=0.8)
    if len(counts) <= COUNTED:
        for (row, column), value in np.ndenumerate(counts):
            if value:
                colour = "white" if share[row, column] > 0.55 else "0.2"
                axes.text(column, row, f"{value:.0f}", fontsize=7, color=colour, ha="center", va="center")
    return image


def reliability_figure(path: Path, reliability: Reliability) -> None:
    """Write a PNG: share that is right over the mean probability of each bin, a panel for real and one for shuffled."""
    conditions = [c for c in ("real", "shuffled") if c in reliability.bins] or ordered(reliability.bins)[:2]
    figure = Figure(figsize=(3.4 * len(conditions) + 0.4, 3.6), layout="constrained")
    figure.suptitle(short(reliability.metric, 40 * len(conditions)), fontsize=10)
    grid = figure.subplots(1, len(conditions), squeeze=False, sharey=True)[0]
    for axes, condition in zip(grid, conditions, strict=True):
        found = np.array([b for b in reliability.bins[condition] if b[2] > 0], dtype=float).reshape(-1, 3)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
        colour = REAL if condition == "real" else SHUFFLED
        axes.plot(found[:, 0], found[:, 1], color=colour, linewidth=1, alpha=0.6)
        axes.scatter(found[:, 0], found[:, 1], s=15 + 150 * found[:, 2] / max(found[:, 2].sum(), 1), color=colour)
        error = reliability.error.get(condition)
        axes.set_title(f"{condition}, error {number(error)}", fontsize=9)
        axes.set_xlabel("probability of the answer", fontsize=8)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_aspect("equal")
        tidy(axes)
    grid[0].set_ylabel("share that is right", fontsize=8)
    figure.savefig(path, dpi=130)
