"""EEG beside its reconstruction, for people: waveforms, spectra, topographies."""

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroleon.signals.montage import HEAD_CENTRE_M, HEAD_RADIUS_M
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.surprise import correlations

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from mne import Info

ORIGINAL, RESTORED = "#9a9a9a", "#c2410c"
MOST_TRACES = 24
FEWEST_FOR_TOPOGRAPHY = 4
HEADS_INCHES = 2.8  # three heads in half of the figure's width are not taller
COVERED = 0.3  # head radii that electrodes reach from the middle to all sides, where the whole head is coloured
ALPHA_HZ = (8.0, 13.0)
TOP_HZ = 45.0


def reconstruction_figure(original: Window, restored: Window, title: str, start_s: float = 0.0) -> "Figure":
    """A window and its reconstruction at the same electrodes; `start_s` is where it lies in the recording."""
    from matplotlib.figure import Figure

    n_traces = min(len(original.ch_names), MOST_TRACES)
    height = float(np.clip(2 + 0.33 * n_traces, 6, 8.5))
    figure = Figure(figsize=(13, height), dpi=120, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    waves, rest = figure.subfigures(1, 2, squeeze=False, width_ratios=(7, 6))[0]
    above, below = rest.subfigures(2, 1, squeeze=False, height_ratios=(height - HEADS_INCHES, HEADS_INCHES))[:, 0]
    _draw_waves(waves.subplots(), original, restored, start_s)
    _draw_spectra(above.subplots(), original, restored)
    if len(original.ch_names) < FEWEST_FOR_TOPOGRAPHY:
        axes = below.subplots()
        axes.axis("off")
        axes.text(
            *(0.5, 0.5),
            f"no topography: it needs {FEWEST_FOR_TOPOGRAPHY} channels, this recording has {len(original.ch_names)}",
            ha="center",
        )
    else:
        _draw_topographies(below.subplots(1, 3), original, restored)
    return figure


def _draw_waves(axes: "Axes", original: Window, restored: Window, start_s: float) -> None:
    """Stacked channels, all at one scale, which a bar at the right states; many channels are thinned out evenly."""
    n_chans, n_times = original.eeg_uV.shape
    shown = np.unique(np.linspace(0, n_chans - 1, min(n_chans, MOST_TRACES)).round().astype(int))
    spacing = 6 * max(float(np.median(original.eeg_uV.std(axis=1))), 1e-3)
    places = -spacing * np.arange(len(shown))
    seconds = start_s + np.arange(n_times) / original.sfreq
    for window, colour, width, name in ((original, ORIGINAL, 1.4, "original"), (restored, RESTORED, 0.8, "restored")):
        traces = window.eeg_uV[shown] - window.eeg_uV[shown].mean(axis=1, keepdims=True)
        lines = axes.plot(seconds, traces.T + places, color=colour, linewidth=width)
        lines[0].set_label(name)
    axes.set_yticks(places, [original.ch_names[i] for i in shown], fontsize=8)
    axes.set_ylim(places[-1] - spacing, spacing)
    axes.set_xlim(seconds[0], start_s + n_times / original.sfreq)
    axes.set_xlabel("time in the recording (s)")
    some = "" if len(shown) == n_chans else f", {len(shown)} of {n_chans} channels"
    axes.set_title(f"waveforms{some}", loc="left", fontsize=10)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9, borderaxespad=0)
    across = axes.get_yaxis_transform()
    axes.plot([1.015, 1.015], [0, -spacing], color="black", transform=across, clip_on=False)
    axes.text(1.025, -spacing / 2, f"{spacing:.0f} µV", transform=across, va="center", fontsize=8, rotation=90)
    _bare(axes)


def _power(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) in Hz, and Welch's power densities (n_chans, F) in squared microvolts per Hz."""
    from scipy.signal import welch

    frequencies, power = welch(window.eeg_uV, window.sfreq, nperseg=min(400, window.eeg_uV.shape[1]), axis=1)
    return frequencies, np.maximum(power, 1e-6)


def _draw_spectra(axes: "Axes", original: Window, restored: Window) -> None:
    """The median over channels, and the half of the channels in the middle."""
    for window, colour, name in ((original, ORIGINAL, "original"), (restored, RESTORED, "restored")):
        frequencies, power = _power(window)
        inside = (frequencies > 0) & (frequencies <= TOP_HZ)
        low, middle, high = np.percentile(10 * np.log10(power[:, inside]), [25, 50, 75], axis=0)
        axes.plot(frequencies[inside], middle, color=colour, linewidth=1.6, label=name)
        axes.fill_between(frequencies[inside], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlim(0, TOP_HZ)
    axes.set_xlabel("frequency (Hz)")
    axes.set_ylabel("power (dB re 1 µV²/Hz)")
    axes.set_title("spectra, median and middle half of the channels", loc="left", fontsize=10)
    axes.grid(alpha=0.3)
    _bare(axes)


def _draw_topographies(axes: Any, original: Window, restored: Window) -> None:
    """Alpha power of both, in one range of colours, and the correlation of each channel."""
    from mne.viz import plot_topomap

    info, places = _info(original), original.positions[:, :2]
    whole_head = (places.max(axis=0) > COVERED).all() and (places.min(axis=0) < -COVERED).all()
    shown = {"contours": 0, "extrapolate": "head" if whole_head else "local", "show": False}
    alpha = [10 * np.log10(_band_power(window)) for window in (original, restored)]
    low, high = float(np.min(alpha)), float(np.max(alpha))
    r = np.nan_to_num(correlations(original, restored))
    panels = (
        (alpha[0], "alpha, original", (low, high), "Reds"),
        (alpha[1], "alpha, restored", (low, high), "Reds"),
        (r, "correlation", (min(0.0, float(r.min())), 1.0), "viridis"),
    )
    for panel, (values, name, limits, colours) in zip(axes, panels, strict=True):
        image, _ = plot_topomap(values, info, axes=panel, vlim=limits, cmap=colours, **shown)
        panel.set_title(name, fontsize=10)
        bar = panel.figure.colorbar(image, ax=panel, location="bottom", shrink=0.8, pad=0.03)
        bar.ax.tick_params(labelsize=7)
        bar.set_label("" if name == "correlation" else "dB re 1 µV²/Hz", fontsize=7)


def _band_power(window: Window) -> np.ndarray:
    frequencies, power = _power(window)
    inside = (frequencies >= ALPHA_HZ[0]) & (frequencies <= ALPHA_HZ[1])
    # of a short window no frequency may lie inside: then the nearest
    return power[:, inside].mean(axis=1) if inside.any() else power[:, np.abs(frequencies - 10).argmin()]


def _info(window: Window) -> "Info":
    """Where mne draws each channel; a derivation of two electrodes lies between them."""
    import mne

    places = window.positions[:, :3].astype(float)
    if window.positions.shape[1] == 6:
        places = np.where(np.isnan(window.positions[:, 3:]), places, (places + window.positions[:, 3:]) / 2)
    metres = dict(zip(window.ch_names, places * HEAD_RADIUS_M + HEAD_CENTRE_M, strict=True))
    info = mne.create_info(list(window.ch_names), window.sfreq, "eeg")
    return info.set_montage(mne.channels.make_dig_montage(metres, coord_frame="head"))


def _bare(axes: "Axes") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
