"""Whole recordings to tokens: checked, preprocessed, cut into consecutive windows, encoded a few windows at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.signals.from_mne import array_recording, epochs_recording, raw_recording
from neuroleon.signals.plausibility import PLAUSIBLE, check_recording, pieces
from neuroleon.signals.preprocess import Preprocess, Preprocessed
from neuroleon.signals.recording import Recording
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.surprise import Calibration, flag
from neuroleon.tokenizers.eeg.tokens import EEGTokens, RecordingTokens
from neuroleon.tokenizers.eeg.windows import LONGEST_S, SHORTEST_S

if TYPE_CHECKING:
    from mne import BaseEpochs
    from mne.io import BaseRaw

WINDOW_S = 4.0
BATCH = 16  # windows encoded together
JUDGED = 12  # windows of a recording, evenly spread, that its likeness to EEG is measured on


class WindowTokenizer(Protocol):
    """What is asked here of an EEG tokenizer."""

    preprocess: Preprocess
    tokens_per_step: int
    calibration: Calibration | None

    @property
    def fingerprint(self) -> str: ...
    def encode_windows(self, batch: list[Window]) -> list[EEGTokens]: ...
    def decode_windows(
        self, batch: list[EEGTokens], positions: np.ndarray, ch_names: tuple[str, ...]
    ) -> list[Window]: ...
    def ood_z(self, window: Window, tokens: EEGTokens) -> float: ...


def encode(
    tokenizer: WindowTokenizer,
    data: "BaseRaw | BaseEpochs | Recording | np.ndarray",
    ch_names: Sequence[str] | None,
    sfreq: float | None,
    unit: str,
    subject: str | None,
) -> RecordingTokens | list[RecordingTokens]:
    """See `EEGTokenizer.encode`."""
    from mne import BaseEpochs
    from mne.io import BaseRaw

    is_array = not isinstance(data, BaseRaw | BaseEpochs | Recording)
    if is_array != (ch_names is not None) or is_array != (sfreq is not None):
        raise ConfigError(
            f"encode: {type(data).__name__} with ch_names {ch_names} and sfreq {sfreq}; an array needs both, an mne "
            "object has its own"
        )
    if isinstance(data, BaseEpochs):
        return _encode_epochs(tokenizer, data, unit, subject)
    if isinstance(data, BaseRaw):
        data = raw_recording(data, unit)
    elif not isinstance(data, Recording):
        assert ch_names is not None and sfreq is not None, "checked above"
        data = array_recording(data, list(ch_names), sfreq, unit)
    return encode_prepared(tokenizer, prepared(tokenizer, data), subject)


def prepared(tokenizer: WindowTokenizer, recording: Recording) -> Preprocessed:
    """Check and preprocess a recording; it keeps the order of its channels, which decides not one bit of the result.

    Raises:
        DataError: it cannot be EEG in microvolts.
    """
    check_recording(recording, recording.name)
    made = tokenizer.preprocess.apply(_rows(recording, _by_name(recording.ch_names)))
    own = [made.recording.ch_names.index(name) for name in recording.ch_names if name in made.recording.ch_names]
    return replace(made, recording=_rows(made.recording, own))


def _by_name(ch_names: Sequence[str]) -> list[int]:
    """Sums over channels are rounded by their order: in this one the same EEG is the same bits."""
    return sorted(range(len(ch_names)), key=ch_names.__getitem__)


def _rows(recording: Recording, rows: list[int]) -> Recording:
    names, positions = tuple(recording.ch_names[i] for i in rows), recording.positions[rows]
    return replace(recording, eeg_uV=recording.eeg_uV[rows], ch_names=names, positions=positions)


def stretch(made: Preprocessed, start: int, stop: int) -> Window:
    """Samples `start` to `stop` of a preprocessed recording as a window."""
    recording = made.recording
    eeg_uV = recording.eeg_uV[:, start:stop]
    return Window(
        eeg_uV=eeg_uV,
        ch_names=recording.ch_names,
        positions=recording.positions,
        scale_uV=made.scale_uV,
        sfreq=recording.sfreq,
        background=made.background,
    )


def stretch_at(made: Preprocessed, start_s: float, duration_s: float) -> Window:
    """The window of `duration_s` that begins at `start_s`.

    Raises:
        DataError: it is not inside one piece of the recording.
    """
    recording = made.recording
    start, stop = (round(t * recording.sfreq) for t in (start_s, start_s + duration_s))
    around = [(a, b) for a, b in pieces(recording.n_times, recording.boundaries) if a <= start < stop <= b]
    if not around:
        edges = ", ".join(f"{edge / recording.sfreq:g}" for edge in recording.boundaries)
        raise DataError(
            f"{recording.name}: {duration_s:g} s from {start_s:g} s are not inside its {recording.duration_s:g} s"
            + (f" without crossing a boundary (at {edges} s)" if edges else "")
            + "; choose another start or duration"
        )
    return stretch(made, start, stop)


def encode_prepared(
    tokenizer: WindowTokenizer,
    made: Preprocessed,
    subject: str | None = None,
    done: Callable[[int, int], None] = lambda done, of: None,
) -> RecordingTokens:
    """The tokens of a preprocessed recording, `subject`'s where the tokenizer knows whose it is; `done` is told how
    many of its windows are encoded, of how many.

    Each piece between boundaries is cut into windows of 4 s. A rest shorter than 0.25 s joins the window before it; a
    piece shorter than that or flat is in no window, and `gaps_s` says so.

    Raises:
        DataError: no piece is left.
    """
    recording = made.recording
    spans, gaps = _spans(recording)
    if not spans:
        raise DataError(
            f"{recording.name}: {recording.duration_s:g} s in {len(gaps)} pieces, all flat or shorter than "
            f"{SHORTEST_S:g} s; expected more; the EEG tokenizer needs a longer recording"
        )
    windows, z = _encode_spans(tokenizer, made, spans, subject, done)
    gaps_s = tuple((start / recording.sfreq, stop / recording.sfreq) for start, stop in gaps)
    lost_s = sum(stop - start for start, stop in gaps_s)
    notes = [f"left out: {lost_s:g} s in {len(gaps)} pieces, flat or shorter than {SHORTEST_S:g} s"] if gaps else []
    tokens = _tokens(tokenizer, made, windows, z, notes)
    return replace(tokens, starts_s=tuple(start / recording.sfreq for start, _ in spans), gaps_s=gaps_s)


def _spans(recording: Recording) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """First and last-plus-one sample of every window, and of every piece that is in none."""
    length, shortest = round(WINDOW_S * recording.sfreq), round(SHORTEST_S * recording.sfreq)
    spans: list[tuple[int, int]] = []
    gaps: list[tuple[int, int]] = []
    for first, stop in pieces(recording.n_times, recording.boundaries):
        if stop - first < shortest or _is_flat(recording.eeg_uV[:, first:stop]):
            gaps.append((first, stop))
            continue
        starts = [start for start in range(first, stop, length) if start == first or stop - start >= shortest]
        spans += zip(starts, [*starts[1:], stop], strict=True)
    return spans, gaps


def _is_flat(eeg_uV: np.ndarray) -> bool:
    return bool(eeg_uV.std(axis=1).max() < PLAUSIBLE.flat_std_uV)


def _encode_spans(
    tokenizer: WindowTokenizer,
    made: Preprocessed,
    spans: Sequence[tuple[int, int]],
    subject: str | None,
    done: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[list[EEGTokens], float | None]:
    """The tokens of stretches, and how unlike EEG they are: the median of a few of them, None without calibration."""
    order = _by_name(made.recording.ch_names)

    def window(i: int) -> Window:
        cut = stretch(made, *spans[i])
        names = tuple(cut.ch_names[k] for k in order)
        return replace(cut, eeg_uV=cut.eeg_uV[order], ch_names=names, positions=cut.positions[order], subject=subject)

    tokens: list[EEGTokens] = []
    while len(tokens) < len(spans):
        batch = range(len(tokens), min(len(tokens) + BATCH, len(spans)))
        tokens += tokenizer.encode_windows([window(i) for i in batch])
        done(len(tokens), len(spans))
    if tokenizer.calibration is None:
        return tokens, None
    judged = np.unique(np.linspace(0, len(spans) - 1, min(len(spans), JUDGED)).round().astype(int)).tolist()
    return tokens, float(np.median([tokenizer.ood_z(window(i), tokens[i]) for i in judged]))


def _tokens(
    tokenizer: WindowTokenizer, made: Preprocessed, windows: Sequence[EEGTokens], z: float | None, notes: Sequence[str]
) -> RecordingTokens:
    """All but `starts_s` and `gaps_s`."""
    recording = made.recording
    return RecordingTokens(
        name=recording.name,
        windows=tuple(windows),
        starts_s=(),
        ch_names=recording.ch_names,
        positions=recording.positions,
        n_times=recording.n_times,
        sfreq=recording.sfreq,
        tokens_per_step=tokenizer.tokens_per_step,
        fingerprint=tokenizer.fingerprint,
        boundaries=recording.boundaries,
        left_out=recording.left_out | made.bad_channels,
        notes=(*made.notes, *notes, *([flag(z)] if flag(z) else [])),
        ood_z=z,
    )


def _encode_epochs(
    tokenizer: WindowTokenizer, epochs: "BaseEpochs", unit: str, subject: str | None
) -> list[RecordingTokens]:
    made = prepared(tokenizer, epochs_recording(epochs, unit))
    sfreq, edges = made.recording.sfreq, pieces(made.recording.n_times, made.recording.boundaries)
    n_times = min(stop - start for start, stop in edges)  # at our rate they may differ by a sample
    if not SHORTEST_S <= n_times / sfreq <= LONGEST_S:
        raise DataError(
            f"epochs: {n_times / sfreq:g} s each; an epoch is one window of {SHORTEST_S:g} to {LONGEST_S:g} s; crop "
            "the epochs, or encode the Raw"
        )
    spans = [(start, start + n_times) for start, _ in edges]
    if flat := [i for i, span in enumerate(spans) if _is_flat(made.recording.eeg_uV[:, slice(*span)])]:
        raise DataError(f"epochs: {', '.join(map(str, flat))} are flat; expected EEG; `epochs.drop` them")
    windows, z = _encode_spans(tokenizer, made, spans, subject)
    whole = replace(_tokens(tokenizer, made, (), z, ()), n_times=n_times, boundaries=(), tmin_s=float(epochs.tmin))
    return [
        replace(whole, name=f"epoch {i}", windows=(window,), starts_s=(whole.tmin_s,))
        for i, window in enumerate(windows)
    ]
