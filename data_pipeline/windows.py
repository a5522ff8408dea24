"""Windows: the stretches of a preprocessed recording that become EEG spans, cut by events or sliding."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import numpy as np

from neuroleon.common.errors import ConfigError
from neuroleon.signals.plausibility import pieces
from neuroleon.signals.preprocess import Preprocessed
from neuroleon.signals.recording import Event, Recording, Window

STEP_S = 0.125  # one token step of the EEG tokenizer


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """Which windows to cut.

    `by="events"`: from `tmin_s` after each event, and then `repeats` times in all, every `repeat_every_s`.
    `by="sliding"`: every `step_s` (default: the duration) in each piece; a window belongs to the event that spans it.
    `events` are the codes to keep; sliding windows outside these events are skipped.
    """

    by: Literal["events", "sliding"] = "events"
    duration_s: float
    tmin_s: float = 0.0
    repeat_every_s: float | None = None
    repeats: int = 1
    step_s: float | None = None
    events: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        steps = self.duration_s / STEP_S
        if self.by not in {"events", "sliding"}:
            raise ConfigError(f"windows: by {self.by!r}; expected events or sliding")
        if steps < 1 or abs(steps - round(steps)) > 1e-6:
            raise ConfigError(
                f"windows: duration_s {self.duration_s:g} is not a multiple of {STEP_S} s, one token step"
            )
        if self.repeats < 1 or (self.repeats > 1) != (self.repeat_every_s is not None):
            raise ConfigError(f"windows: repeats {self.repeats} and repeat_every_s {self.repeat_every_s} go together")
        if not all(value is None or value > 0 for value in (self.repeat_every_s, self.step_s)):
            raise ConfigError(
                f"windows: repeat_every_s {self.repeat_every_s} and step_s {self.step_s} must be positive"
            )
        if self.by == "sliding" and (self.repeats > 1 or self.tmin_s):
            raise ConfigError("windows: tmin_s and repeats are for windows by events; sliding windows have step_s")
        if self.by == "events" and self.step_s is not None:
            raise ConfigError("windows: step_s is for sliding windows; windows by events have repeat_every_s")


def window_of(sample: Mapping[str, Any]) -> Window:
    """The window of a sample that has EEG, in microvolts, with whose it is where the sample says it."""
    info, scale_uV = sample["json"], float(sample["json"]["scale_uV"])
    return Window(
        eeg_uV=sample["npy"].astype(np.float32) * np.float32(scale_uV),
        ch_names=tuple(info["ch_names"]),
        positions=np.array(info["positions"], dtype=np.float32),  # an unknown one is null there and NaN here
        scale_uV=scale_uV,
        sfreq=float(info["sfreq"]),
        subject=str(info["subject"]) if info.get("subject") else None,
        background=tuple(info["background"]) if "background" in info else None,
    )


@dataclass(frozen=True)
class Cut:
    """The windows of one recording, each with its event and its onset in seconds, and why others are not here."""

    windows: list[tuple[Window, Event | None, float]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def _wanted(event: Event, spec: WindowSpec) -> bool:
    return spec.events is None or event.code in spec.events


def _at_events(recording: Recording, spec: WindowSpec) -> Iterator[tuple[int, Event | None]]:
    for event in recording.events:
        for repeat in range(spec.repeats if _wanted(event, spec) else 0):
            onset_s = event.onset_s + spec.tmin_s + repeat * (spec.repeat_every_s or 0.0)
            yield round(onset_s * recording.sfreq), event


def _spanning(recording: Recording, start: int, n_times: int, spec: WindowSpec) -> Event | None:
    """The first wanted event that lasts over the whole window, to within a sample."""
    first_s, last_s, slack_s = start / recording.sfreq, (start + n_times) / recording.sfreq, 1 / recording.sfreq
    for event in recording.events:
        inside = event.onset_s - slack_s <= first_s and last_s <= event.onset_s + event.duration_s + slack_s
        if inside and _wanted(event, spec):
            return event
    return None


def _sliding(recording: Recording, spec: WindowSpec, n_times: int) -> Iterator[tuple[int, Event | None]]:
    step_s = spec.step_s or spec.duration_s
    for first, stop in pieces(recording.n_times, recording.boundaries):
        yield first, _spanning(recording, first, n_times, spec)  # even where it does not fit: then it is counted
        for k in count(1):
            start = first + round(k * step_s * recording.sfreq)
            if start + n_times > stop:
                break
            yield start, _spanning(recording, start, n_times, spec)


def cut(preprocessed: Preprocessed, spec: WindowSpec) -> Cut:
    """Cut a recording into windows. None crosses a boundary or an end of the recording: those are counted in `skipped`.

    The rest of a piece after its last sliding window is no window, and is not counted.
    """
    recording = preprocessed.recording
    n_times = round(spec.duration_s * recording.sfreq)
    starts = np.array([0, *recording.boundaries])
    stops = np.array([*recording.boundaries, recording.n_times])
    result = Cut()
    candidates = _at_events(recording, spec) if spec.by == "events" else _sliding(recording, spec, n_times)
    for start, event in candidates:
        piece = np.searchsorted(starts, start, side="right") - 1
        if start < 0 or start + n_times > recording.n_times:
            result.skipped["outside the recording"] += 1
        elif start + n_times > stops[piece]:
            result.skipped["crosses a boundary"] += 1
        elif spec.by == "sliding" and spec.events is not None and event is None:
            result.skipped["outside the events to keep"] += 1
        else:
            window = Window(
                eeg_uV=recording.eeg_uV[:, start : start + n_times],
                ch_names=recording.ch_names,
                positions=recording.positions,
                scale_uV=preprocessed.scale_uV,
                sfreq=recording.sfreq,
                background=preprocessed.background,
            )
            result.windows.append((window, event, start / recording.sfreq))
    return result
