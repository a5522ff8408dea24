"""Ids while a recording runs; those of the whole recording (`tokenizers/eeg/causal.py`) are equal, id by id.

The signal of `signals/causal.py` is cut into consecutive windows of 32 steps, and each is encoded on its own. As a
causal network looks back only, a step's ids are known at its end: the window so far is encoded, with what is still to
come marked as not valid. Every pass has the shape of a whole window, so that not even rounding tells it from the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import torch

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.signals.causal import CALIBRATION_S, CausalFrontEnd, CausalSignal, Decided
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.from_mne import uv_factor
from neuroleon.signals.montage import electrodes
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.surprise import Calibration
from neuroleon.tokenizers.eeg.tokens import EEGTokens

WINDOW_STEPS = 32  # 4 s, as whole recordings are cut by a tokenizer that is not causal


class CausalTokenizer(Protocol):
    """What is asked here of an EEG tokenizer."""

    config: EEGTokenizerConfig
    preprocess: Preprocess
    tokens_per_step: int
    calibration: Calibration | None
    network: Any
    _encoder: Any  # the network's, in double precision

    @property
    def fingerprint(self) -> str: ...
    def scale_bin(self, scale_uV: float) -> int: ...
    def ood_z(self, window: Window, tokens: EEGTokens) -> float: ...
    def check_subject(self, subject: str | None) -> None: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamStep:
    """One step of 125 ms.

    Attributes:
        window: of 4 s, that it lies in, from 0 on; it is the place `step` of it, 0 to 31.
        ids: int64 (tokens_per_step,), coarse to fine.
        scale: the stream's scale bin.
        n_times: its samples at the tokenizer's rate: fewer than 25 in the last step of a stream only.
        n_valid: those that were not lost; where there are none, the ids say nothing of the brain.
    """

    window: int
    step: int
    ids: np.ndarray
    scale: int
    n_times: int
    n_valid: int


def windows_of(steps: Sequence[StreamStep], step_samples: int = 25) -> list[EEGTokens]:
    """The tokens of each window, from its steps, as `EEGTokenizer.decode_windows` takes them."""
    windows = []
    for _, group in groupby(steps, key=lambda step: step.window):
        inside = list(group)
        n_times = sum(step.n_times for step in inside)
        rest = n_times if n_times % step_samples else None
        windows.append(EEGTokens(np.concatenate([step.ids for step in inside]), inside[0].scale, rest))
    return windows


def check_causal(tokenizer: CausalTokenizer) -> None:
    """Refuse a tokenizer that looks ahead.

    Raises:
        ConfigError: it does.
    """
    if not tokenizer.config.causal:
        raise ConfigError(
            "stream: this EEG tokenizer looks ahead, so it has no ids while a recording runs; train one with "
            "`network.causal: true`, see configs/eeg-tokenizer-causal.yaml"
        )


def by_name(ch_names: Sequence[str]) -> list[int]:
    """Sums over channels are rounded by their order: in this one the same EEG is the same bits."""
    return sorted(range(len(ch_names)), key=ch_names.__getitem__)


class StepEncoder:
    """Cuts a causal signal into windows and encodes each anew whenever steps of it have become whole."""

    def __init__(self, tokenizer: CausalTokenizer, positions: np.ndarray, scale_uV: float, subject: str | None) -> None:
        self._subject = tokenizer._encoder.evidence.indices([subject])
        self._tokenizer, self._scale_uV, self._scale = tokenizer, scale_uV, tokenizer.scale_bin(scale_uV)
        self._step_samples = tokenizer.config.step_samples
        self._places = torch.from_numpy(electrodes(positions))[None].double()
        self._offsets = np.arange(tokenizer.tokens_per_step) * tokenizer.config.codes
        self._eeg = np.zeros((len(positions), WINDOW_STEPS * self._step_samples))
        self._valid = np.zeros(self._eeg.shape[1], bool)
        self._window = self._n_times = self._n_steps = 0

    def push(self, signal: CausalSignal) -> list[StreamStep]:
        """All steps that become whole."""
        clip, start, steps = self._tokenizer.preprocess.clip, 0, []
        while start < len(signal.valid):
            n = min(len(signal.valid) - start, len(self._valid) - self._n_times)
            here, there = slice(self._n_times, self._n_times + n), slice(start, start + n)
            self._eeg[:, here] = (signal.eeg_uV[:, there].astype(np.float64) / self._scale_uV).clip(-clip, clip)
            self._valid[here] = signal.valid[there]
            self._n_times, start = self._n_times + n, start + n
            steps += self._steps(self._n_times // self._step_samples)
            if self._n_times == len(self._valid):
                self._eeg[:], self._valid[:] = 0.0, False
                self._window, self._n_times, self._n_steps = self._window + 1, 0, 0
        return steps

    def finish(self) -> list[StreamStep]:
        """The step that is not whole, if there is one."""
        return self._steps(-(-self._n_times // self._step_samples))

    def _steps(self, until: int) -> list[StreamStep]:
        """Those of the window that are new, up to the `until`-th."""
        new = range(self._n_steps, until)
        if not new:
            return []
        ids, self._n_steps = self._ids(), until
        return [
            StreamStep(
                window=self._window,
                step=step,
                ids=ids[step],
                scale=self._scale,
                n_times=min(self._n_times - step * self._step_samples, self._step_samples),
                n_valid=int(self._valid[step * self._step_samples :][: self._step_samples].sum()),
            )
            for step in new
        ]

    @torch.no_grad()
    def _ids(self) -> np.ndarray:
        """Local ids (32, tokens_per_step) of the window as it is known; those of steps to come mean nothing."""
        eeg, valid = torch.from_numpy(self._eeg)[None], torch.from_numpy(self._valid)[None]
        present = torch.ones(1, len(self._eeg), dtype=torch.bool)
        latents = self._tokenizer._encoder(eeg, self._places, present, valid, self._subject)
        codes = self._tokenizer.network.quantizer.encode(latents, self._tokenizer.tokens_per_step)
        return codes[0].numpy() + self._offsets


class EEGStream:
    """Ids of a device's samples, 8 steps a second, each known at its end.

    >>> stream = EEGStream(tokenizer, ["Fz", "Cz", "Oz"], sfreq=256, unit="uV")
    >>> for chunk in device:  # (3, n), any n
    ...     for step in stream.push(chunk):
    ...         print(step.window, step.step, step.ids)
    >>> last = stream.finish()

    The first `calibration_s` decide on bad channels, power lines and scale, which then stay; their steps come at once
    when they are over. `decided=earlier.decided` takes what another stream decided, and does not wait. A window begins
    every 4 s; what happened at time t in the device is `delay_s` later in the steps. Lost samples are to be given as
    NaN: they keep their time, and `StreamStep.n_valid` counts the others.

    Attributes:
        ch_names: the channels in use, from the end of the calibration on; by name, for their order decides no id.
        positions: theirs, as in `Recording`.
        left_out: channel that is not in use -> why.
    """

    def __init__(
        self,
        tokenizer: CausalTokenizer,
        ch_names: Sequence[str],
        sfreq: float,
        positions: np.ndarray | None = None,
        *,
        unit: str = "uV",
        subject: str | None = None,
        calibration_s: float = CALIBRATION_S,
        decided: Decided | None = None,
    ) -> None:
        """Rows of the chunks are named `ch_names`; `positions`, (n_chans, 3) in head radii, are looked up by name
        where there are none or NaN; `subject` as in `EEGTokenizer.encode`.

        Raises:
            ConfigError: the tokenizer is not causal or does not know the person, or no such unit; or as
                `CausalFrontEnd`.
            DataError: no row is EEG at a known position, or two are the same electrode; or as `CausalFrontEnd`.
        """
        check_causal(tokenizer)
        tokenizer.check_subject(subject)
        if positions is not None and np.shape(positions) != (len(ch_names), 3):
            raise DataError(f"stream: positions {np.shape(positions)}, expected ({len(ch_names)}, 3)")
        columns = eeg_columns(ch_names, "stream", positions=positions)
        order = by_name(columns.ch_names)
        self._tokenizer, self._factor, self._n_rows = tokenizer, uv_factor(unit), len(ch_names)
        self._subject = subject
        self._rows = [columns.index[i] for i in order]
        self.ch_names, self.positions = tuple(columns.ch_names[i] for i in order), columns.positions[order]
        self.left_out = dict(columns.left_out)
        self._front_end = CausalFrontEnd(
            tokenizer.preprocess, self.ch_names, self.positions, sfreq, calibration_s=calibration_s, decided=decided
        )
        self._windows: StepEncoder | None = None
        self._finished = False

    @property
    def decided(self) -> Decided | None:
        """What the calibration decided; None until it is over."""
        return self._front_end.decided

    @property
    def delay_s(self) -> float:
        """How much later the steps have what happened; see `CausalFrontEnd`."""
        return self._front_end.delay_s

    def push(self, chunk: np.ndarray) -> list[StreamStep]:
        """The next samples (n_chans, n), n >= 0 -> all steps that become whole, in order of time.

        Raises:
            DataError: not such an array; the calibration stretch cannot be EEG in this unit; or the stream is finished.
        """
        chunk = np.asarray(chunk)
        if chunk.ndim != 2 or len(chunk) != self._n_rows or chunk.dtype.kind not in "fiu":
            raise DataError(
                f"stream: a chunk of shape {chunk.shape}, {chunk.dtype}; expected real numbers ({self._n_rows}, n), a "
                "row for each channel"
            )
        if self._finished:
            raise DataError("stream: it is finished; begin a new one")
        # as a recording is read: the same numbers from a device and from its file
        return self._encoded(self._front_end.push((chunk[self._rows] * self._factor).astype(np.float32)))

    def finish(self) -> list[StreamStep]:
        """The steps that were waited for: a last one that is not whole; all, where the calibration is not over.

        Raises:
            DataError: as `push`, or the stream is shorter than 0.25 s.
        """
        if self._finished:
            return []
        steps = self._encoded(self._front_end.finish())
        self._finished = True
        return steps + (self._windows.finish() if self._windows else [])

    def _encoded(self, signal: CausalSignal) -> list[StreamStep]:
        if self.decided is None:
            return []
        if self._windows is None:
            self.ch_names, self.positions = self._front_end.ch_names, self._front_end.positions
            self.left_out |= self.decided.bad_channels
            self._windows = StepEncoder(self._tokenizer, self.positions, self.decided.scale_uV, self._subject)
        return self._windows.push(signal)
