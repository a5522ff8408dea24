"""Whole recordings to the ids that a stream of them has: one pass for each window of 4 s, not one for each step."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neuroleon.signals.causal import CALIBRATION_S, SHORTEST_S, CausalSignal, apply_causal
from neuroleon.signals.plausibility import PLAUSIBLE, pieces
from neuroleon.signals.preprocess import Preprocessed
from neuroleon.signals.recording import Recording
from neuroleon.tokenizers.eeg.recordings import stretch
from neuroleon.tokenizers.eeg.stream import (
    WINDOW_STEPS,
    CausalTokenizer,
    StepEncoder,
    StreamStep,
    by_name,
    check_causal,
    windows_of,
)
from neuroleon.tokenizers.eeg.surprise import flag
from neuroleon.tokenizers.eeg.tokens import EEGTokens, RecordingTokens

JUDGED = 32  # windows of a recording, evenly spread, that its likeness to EEG is measured on


def encode_causal(
    tokenizer: CausalTokenizer,
    recording: Recording,
    calibration_s: float = CALIBRATION_S,
    subject: str | None = None,
) -> RecordingTokens:
    """A whole recording -> the ids that `EEGStream` gives of it.

    Each piece between boundaries is a stream, with what the first `calibration_s` of the recording decided; a piece
    shorter than 0.25 s or flat is in no window.

    Raises:
        ConfigError: the tokenizer is not causal, or does not know the person.
        DataError: as `EEGStream`.
    """
    check_causal(tokenizer)
    tokenizer.check_subject(subject)
    order = by_name(recording.ch_names)
    names, positions = tuple(recording.ch_names[i] for i in order), recording.positions[order]
    ordered = replace(recording, eeg_uV=recording.eeg_uV[order], ch_names=names, positions=positions)
    made, valid = apply_causal(tokenizer.preprocess, ordered, calibration_s)
    sfreq, size = made.recording.sfreq, WINDOW_STEPS * tokenizer.config.step_samples
    steps: list[StreamStep] = []
    starts: list[int] = []
    gaps: list[tuple[float, float]] = []
    for first, stop in pieces(made.recording.n_times, made.recording.boundaries):
        eeg_uV = made.recording.eeg_uV[:, first:stop]
        if stop - first < SHORTEST_S * sfreq or eeg_uV.std(axis=1).max() < PLAUSIBLE.flat_std_uV:
            gaps.append((first / sfreq, stop / sfreq))
            continue
        windows = StepEncoder(tokenizer, made.recording.positions, made.scale_uV, subject)
        found = windows.push(CausalSignal(eeg_uV, valid[first:stop])) + windows.finish()
        steps += [replace(step, window=step.window + len(starts)) for step in found]
        starts += range(first, stop, size)
    tokens = windows_of(steps, tokenizer.config.step_samples)
    z = _ood_z(tokenizer, made, tokens, starts, subject)
    lost_s, gaps_s = float((~valid).sum() / sfreq), sum(stop - first for first, stop in gaps)
    notes = [
        *made.notes,
        *([f"left out: {gaps_s:g} s in {len(gaps)} pieces, flat or shorter than {SHORTEST_S:g} s"] if gaps else []),
        *([f"lost: {lost_s:g} s, which hold NaN or infinity and say nothing in their steps"] if lost_s else []),
        *([flag(z)] if flag(z) else []),
    ]
    own = [i for i, name in enumerate(recording.ch_names) if name not in made.bad_channels]
    return RecordingTokens(
        name=recording.name,
        windows=tuple(tokens),
        starts_s=tuple(start / sfreq for start in starts),
        ch_names=tuple(recording.ch_names[i] for i in own),
        positions=recording.positions[own],
        n_times=made.recording.n_times,
        sfreq=sfreq,
        tokens_per_step=tokenizer.tokens_per_step,
        fingerprint=tokenizer.fingerprint,
        boundaries=made.recording.boundaries,
        gaps_s=tuple(gaps),
        left_out=recording.left_out | made.bad_channels,
        notes=tuple(notes),
        ood_z=z,
    )


def _ood_z(
    tokenizer: CausalTokenizer,
    made: Preprocessed,
    tokens: Sequence[EEGTokens],
    starts: Sequence[int],
    subject: str | None,
) -> float | None:
    """How unlike EEG a recording is: the median of a few of its whole windows, None without them or a calibration."""
    size = WINDOW_STEPS * tokenizer.config.step_samples
    n_ids = WINDOW_STEPS * tokenizer.tokens_per_step
    whole = [i for i, window in enumerate(tokens) if len(window.ids) == n_ids and window.n_times is None]
    if tokenizer.calibration is None or not whole:
        return None
    chosen = np.linspace(0, len(whole) - 1, min(len(whole), JUDGED)).round().astype(int)
    each = []
    for i in dict.fromkeys(whole[k] for k in chosen):
        window = replace(stretch(made, starts[i], starts[i] + size), subject=subject)
        each.append(tokenizer.ood_z(window, tokens[i]))
    return float(np.median(each))
