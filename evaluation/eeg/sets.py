"""One sample set under a tokenizer: windows by split, and their ids, latents and reconstructions, each made once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from neuroleon.common.errors import ConfigError
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.evaluation.tokenizers import restore
from neuroleon.evaluation.trials import Trial, TrialSet, load_trials
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, EEGTokens

TRAIN_PER_TEST = 5  # windows of the training split that probes and simpler codecs get, per window that is scored
BATCH = 32
T = TypeVar("T")


class MeasuredSet:
    """A set whose split `split` is scored; probes and simpler codecs learn from its training split.

    Of the splits that are not scored, `train` gives at most five times `limit` windows, `validation` at most `limit`.

    Raises:
        DataError: as `load_trials`.
        ConfigError: the set was preprocessed otherwise than the tokenizer expects.
    """

    def __init__(self, tokenizer: EEGTokenizer, folder: Path, split: str, limit: int | None, seed: int) -> None:
        found = Preprocess.from_json(ShardReader(folder, split).manifest["preprocess"])
        if found != tokenizer.preprocess:
            raise ConfigError(
                f"{folder}: preprocessed with {found}, the tokenizer takes {tokenizer.preprocess}; prepare it again"
            )
        self.tokenizer = tokenizer.with_levels(tokenizer.config.levels)
        self.split, self._folder, self._limit, self._seed = split, folder, limit, seed
        self._made: dict[tuple[Any, ...], Any] = {}
        self.eeg_s, self.encoding_s = 0.0, 0.0
        self.scored = self.trials(split)
        self.recipe = self.scored.recipe

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found

    def trials(self, split: str) -> TrialSet:
        """The trials of a split, as those of anybody: what is measured of codes must not be the name of a person."""
        more = TRAIN_PER_TEST if split == "train" else 1
        limit = None if self._limit is None else self._limit * more
        return self._once(("trials", split), lambda: _anybodys(load_trials(self._folder, split, limit, self._seed)))

    def size(self, split: str) -> int:
        """Windows of a split, or 0 where the set has none."""
        return len(self.windows(split)) if len(ShardReader(self._folder, split)) else 0

    def windows(self, split: str) -> list[Window]:
        """The windows of a split."""
        return [trial.window for trial in self.trials(split).trials]

    def with_label(self, split: str) -> list[int]:
        """Indices of the windows of a split that have a label."""
        return [i for i, trial in enumerate(self.trials(split).trials) if trial.meta.get("label") is not None]

    def labelled(self, split: str, signals: Sequence[np.ndarray] | None = None) -> list[Trial]:
        """The trials of a split that have a label; `signals`, of every window of it, take the place of their own."""
        trials = self.trials(split).trials
        if signals is None:
            return [trials[i] for i in self.with_label(split)]
        return [replace(trials[i], window=replace(trials[i].window, eeg_uV=signals[i])) for i in self.with_label(split)]

    def _encoded(self, split: str) -> list[EEGTokens]:
        windows = self.windows(split)
        started = time.perf_counter()
        found = [
            t for i in range(0, len(windows), BATCH) for t in self.tokenizer.encode_windows(windows[i : i + BATCH])
        ]
        self.encoding_s += time.perf_counter() - started
        self.eeg_s += sum(window.eeg_uV.shape[1] / window.sfreq for window in windows)
        return found

    def tokens(self, split: str, levels: int) -> list[EEGTokens]:
        """The ids of a split, the coarsest `levels` of each step."""
        all_levels = self._once(("tokens", split), lambda: self._encoded(split))
        return [coarser(tokens, self.tokenizer.tokens_per_step, levels) for tokens in all_levels]

    def latents(self, split: str) -> list[np.ndarray]:
        """What is quantized: (n_steps, D) of each window."""
        return self._once(("latents", split), lambda: self.tokenizer.latents(self.windows(split)))

    def codes(self, split: str, levels: int) -> list[np.ndarray]:
        """The vectors that the ids stand for: (n_steps, D) of each window."""
        return self.tokenizer.with_levels(levels).quantized(self.tokens(split, levels))

    def restored(self, split: str, levels: int) -> list[Window]:
        """The windows that the ids give back."""
        coarse, tokens = self.tokenizer.with_levels(levels), self.tokens(split, levels)
        return self._once(("restored", split, levels), lambda: restore(coarse, self.windows(split), tokens))

    def signals(self, split: str, levels: int) -> list[np.ndarray]:
        """The microvolts (n_chans, n_times) that the ids give back."""
        return [window.eeg_uV for window in self.restored(split, levels)]


def coarser(tokens: EEGTokens, from_levels: int, levels: int) -> EEGTokens:
    """The same tokens with the coarsest `levels` ids of each step: a prefix of a step is a coarser code of it."""
    return replace(tokens, ids=tokens.ids.reshape(-1, from_levels)[:, :levels].reshape(-1))


def n_recordings(trials: TrialSet) -> int:
    """Recordings among the trials."""
    return len({(trial.meta["subject"], trial.meta["recording"]) for trial in trials.trials})


def channel_counts(windows: Sequence[Window]) -> str:
    """The fewest and the most channels of a window: `8`, or `6 to 8`."""
    counts = sorted({len(window.ch_names) for window in windows})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def spread(n: int, most: int) -> list[int]:
    """At most `most` of n indices, spread evenly."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, most)).round()})


def _anybodys(trials: TrialSet) -> TrialSet:
    return replace(trials, trials=tuple(replace(t, window=replace(t.window, subject=None)) for t in trials.trials))
