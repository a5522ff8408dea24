"""Windows of one sample set as arrays: what a classical method is fitted to and asked about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.evaluation.trials import Trial, TrialSet, load_trials

PICTURE_SIDE = 16  # pixels of a picture that ridge regression predicts, each way


@dataclass(frozen=True, kw_only=True)
class Windows:
    """n windows of one rate and length, on all channels that any of them has.

    Attributes:
        eeg_uV: float32 (n, n_chans, n_times), NaN where a recording lacks the channel (`has`); methods get what is
            left by `on`.
        scale_uV: (n,) the robust scale of each window's recording; methods read EEG in units of it.
        answers: (n,) what is right: the label, else the picture's key.
        trials, recordings, sessions, subjects, pictures: (n,) names; equal within a unit and unique over the set, ""
            where a window has none.
        split: (n,) of the recipe.
        key: (n,) the sample's.
        has_code: the stimulus is known sample by sample, so responses are locked to it.
        has_labels: answers are labels, not pictures.
        features: picture's key -> (its answer, float32 features (d,)).
        shown: split -> the answers of all pictures that it holds, of which a model chooses, also where only some of its
            windows are here.
    """

    recipe: str
    ch_names: tuple[str, ...]
    sfreq: float
    eeg_uV: np.ndarray
    scale_uV: np.ndarray
    answers: np.ndarray
    trials: np.ndarray
    recordings: np.ndarray
    sessions: np.ndarray
    subjects: np.ndarray
    pictures: np.ndarray
    split: np.ndarray
    key: np.ndarray
    has_code: bool
    has_labels: bool
    features: Mapping[str, tuple[str, np.ndarray]]
    shown: Mapping[str, frozenset[str]]

    def __len__(self) -> int:
        return len(self.answers)

    def at(self, which: np.ndarray) -> Self:
        """The windows at indices, or where a mask is true."""
        rows = {f.name: value[which] for f in fields(self) if isinstance(value := getattr(self, f.name), np.ndarray)}
        return replace(self, **rows)

    def fed(self, eeg_uV: np.ndarray, scale_uV: np.ndarray) -> Self:
        """The same windows with other EEG, for controls."""
        return replace(self, eeg_uV=eeg_uV, scale_uV=scale_uV)

    @property
    def has(self) -> np.ndarray:
        """Which channels each window has: bool (n, n_chans)."""
        return ~np.isnan(self.eeg_uV[..., 0])

    def on(self, channels: np.ndarray) -> Self:
        """The windows on the channels where a mask (n_chans,) is true."""
        names = tuple(name for name, is_kept in zip(self.ch_names, channels, strict=True) if is_kept)
        return replace(self, ch_names=names, eeg_uV=self.eeg_uV[:, channels])

    @property
    def scaled(self) -> np.ndarray:
        """float64 (n, n_chans, n_times) in units of the recording's scale."""
        return self.eeg_uV.astype(np.float64) / self.scale_uV[:, None, None]

    @property
    def duration_s(self) -> float:
        return self.eeg_uV.shape[-1] / self.sfreq


def load_windows(
    folder: Path,
    splits: Mapping[str, int | None],
    seed: int,
    picture_features: Mapping[str, np.ndarray] | None = None,
    before: Mapping[str, Path] | None = None,
) -> Windows:
    """Windows that have an answer, of the splits named, at most so many of each.

    Args:
        splits: split -> most windows, drawn as for a model (`trials.load_trials`); None takes all.
        picture_features: picture's key -> (d,); without it, pixels of the picture at 16 x 16.
        before: split -> folder of windows before the events; windows without one are left out, as for a model.

    Raises:
        DataError: as `load_trials`; windows of unequal length or rate, or without answers; or a picture that
            `picture_features` lacks.
    """
    sets = [load_trials(folder, split, limit, seed, (before or {}).get(split)) for split, limit in splits.items()]
    trials = [(one, trial) for one in sets for trial in one.trials if trial.answer is not None]
    if not trials:
        raise DataError(f"{folder}: no window with EEG has a label or a picture; baselines need answers to learn")
    every = [trial for _, trial in trials]
    metas = [trial.meta for trial in every]
    ch_names, eeg_uV = _on_all_channels(folder, every)
    return Windows(
        recipe=sets[0].recipe,
        ch_names=ch_names,
        sfreq=every[0].window.sfreq,
        eeg_uV=eeg_uV,
        scale_uV=np.array([trial.window.scale_uV for trial in every]),
        answers=np.array([str(trial.answer) for trial in every]),
        trials=np.array([trial.trial for trial in every]),
        recordings=np.array([f"{meta['subject']}/{meta['recording']}" for meta in metas]),
        sessions=np.array([f"{meta['subject']}/{meta['group']}" if meta.get("group") else "" for meta in metas]),
        subjects=np.array([str(meta["subject"]) for meta in metas]),
        pictures=np.array(["" if meta.get("image_key") is None else str(meta["image_key"]) for meta in metas]),
        split=np.array([one.split for one, _ in trials]),
        key=np.array([trial.key for trial in every]),
        has_code=all("stimulus" in meta for meta in metas),
        has_labels=all(meta.get("label") is not None for meta in metas),
        features=_features(folder, sets, picture_features),
        shown={one.split: frozenset(answer for answer, _ in one.pictures.values()) for one in sets},
    )


def _on_all_channels(folder: Path, trials: Sequence[Trial]) -> tuple[tuple[str, ...], np.ndarray]:
    """Every channel that a window has, in the order of their first windows, and EEG with NaN where one is missing."""
    windows = [trial.window for trial in trials]
    shapes = sorted({(window.eeg_uV.shape[1], window.sfreq) for window in windows})
    if len(shapes) > 1:
        raise DataError(
            f"{folder}: windows of {shapes[0][0]} samples at {shapes[0][1]:g} Hz and of {shapes[1][0]} at "
            f"{shapes[1][1]:g} Hz; baselines need equal ones, prepare the set with one window length"
        )
    ch_names = list(dict.fromkeys(name for window in windows for name in window.ch_names))
    eeg_uV = np.full((len(windows), len(ch_names), shapes[0][0]), np.nan, np.float32)
    for row, window in zip(eeg_uV, windows, strict=True):
        row[[ch_names.index(name) for name in window.ch_names]] = window.eeg_uV
    return tuple(ch_names), eeg_uV


def _features(
    folder: Path, sets: Sequence[TrialSet], given: Mapping[str, np.ndarray] | None
) -> dict[str, tuple[str, np.ndarray]]:
    pictures = {key: found for one in sets for key, found in one.pictures.items()}
    if given is None:
        return {key: (answer, _pixels(picture)) for key, (answer, picture) in pictures.items()}
    if missing := [key for key in pictures if key not in given]:
        raise DataError(f"{folder}: no features of picture {missing[0]!r} are given; give those of every picture")
    return {key: (answer, np.asarray(given[key], np.float32).ravel()) for key, (answer, _) in pictures.items()}


def _pixels(picture: np.ndarray) -> np.ndarray:
    """float32 (16 * 16 * 3,) of uint8 pixels (height, width, 3)."""
    from PIL import Image

    small = Image.fromarray(picture).resize((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel() / 255
