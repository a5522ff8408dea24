"""What the EEG tokenizer gives: the tokens of a window, and those of a recording, which can be kept in a file."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.files import write_atomic
from neuroleon.signals.columns import without_labels

FORMAT = "neuroleon.eeg-tokens/1"


@dataclass(frozen=True)
class EEGTokens:
    """One window: ids int64 (n_steps * tokens_per_step,), time-major, coarse to fine in a step; its scale bin; and its
    samples, where its last step is not whole."""

    ids: np.ndarray
    scale: int
    n_times: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RecordingTokens:
    """The tokens of one recording, window by window, or of one epoch, which is one window.

    Attributes:
        windows: in order of time; they do not overlap.
        starts_s: when each begins; 0 is the first sample of a recording, and the event of an epoch.
        ch_names: the channels that were tokenized.
        positions: theirs, (n_chans, 3) or (n_chans, 6) in head radii.
        n_times: samples of the whole, at `sfreq`.
        sfreq: the tokenizer's rate.
        tmin_s: when the first sample is.
        boundaries: samples at which time jumps.
        gaps_s: stretches (start, stop) that are in no window: shorter than 0.25 s, or flat.
        left_out: channel that was not tokenized -> why.
        notes: what else to know.
        ood_z: how unlike EEG the tokenizer finds it (median over windows), None where the tokenizer is not calibrated.
        tokens_per_step: ids of 125 ms.
        fingerprint: of the tokenizer, which alone can decode the ids.
    """

    name: str
    windows: tuple[EEGTokens, ...]
    starts_s: tuple[float, ...]
    ch_names: tuple[str, ...]
    positions: np.ndarray
    n_times: int
    sfreq: float
    tokens_per_step: int
    fingerprint: str
    tmin_s: float = 0.0
    boundaries: tuple[int, ...] = ()
    gaps_s: tuple[tuple[float, float], ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ood_z: float | None = None

    @property
    def ids(self) -> np.ndarray:
        """The ids of all windows, int64 (n_steps * tokens_per_step,)."""
        return np.concatenate([window.ids for window in self.windows])

    @property
    def n_steps(self) -> int:
        """Steps of 125 ms in all windows; the last one of a window may not be whole."""
        return len(self) // self.tokens_per_step

    @property
    def duration_s(self) -> float:
        """Of the whole, with what is in no window."""
        return self.n_times / self.sfreq

    @property
    def left_out_s(self) -> float:
        """Seconds that are in no window."""
        return sum(stop - start for start, stop in self.gaps_s)

    def __len__(self) -> int:
        return sum(len(window.ids) for window in self.windows)

    def __repr__(self) -> str:
        told = (
            f"{self.name}: {self.duration_s:g} s in {len(self.windows)} window{'s' * (len(self.windows) > 1)}",
            f"{len(self.ch_names)} channels, {len(self.left_out)} left out",
            f"{self.n_steps} steps of {self.tokens_per_step} ids = {len(self)} ids",
            *self.notes,
        )
        return f"<RecordingTokens {'; '.join(told)}>"

    def save(self, path: Path | str) -> None:
        """Write an `.npz` of plain arrays; what is not numbers is JSON in its array `about`.

        It holds no name: neither the recording's, which `load` takes from the file's, nor those of columns that are no
        electrodes.
        """
        told = {
            "format": FORMAT,
            "ch_names": self.ch_names,
            "n_times": self.n_times,
            "sfreq": self.sfreq,
            "tokens_per_step": self.tokens_per_step,
            "fingerprint": self.fingerprint,
            "tmin_s": self.tmin_s,
            "boundaries": self.boundaries,
            "gaps_s": self.gaps_s,
            "left_out": without_labels(self.left_out),
            "notes": self.notes,
            "ood_z": self.ood_z,
        }
        ids, content = self.ids, io.BytesIO()
        np.savez(
            content,
            ids=ids.astype(np.min_scalar_type(int(ids.max()))),
            ids_of_window=np.array([len(window.ids) for window in self.windows]),
            samples_of_window=np.array([window.n_times or 0 for window in self.windows]),  # 0: whole steps
            scale_of_window=np.array([window.scale for window in self.windows]),
            start_s_of_window=np.array(self.starts_s),
            positions=self.positions,
            about=np.array(json.dumps(told, allow_nan=False)),
        )
        write_atomic(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a file of `save`.

        Raises:
            DataError: absent, damaged, or no such file.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return cls(**{"name": Path(path).stem} | _content(arrays))
        except FileNotFoundError:
            raise DataError(f"{path}: no such file; give one that `RecordingTokens.save` wrote") from None
        except Exception as error:  # numpy and zipfile raise everything, from zlib.error to NotImplementedError
            raise DataError(f"{path}: not the tokens of a recording ({error}); tokenize the recording again") from None


def _content(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `RecordingTokens` from the arrays of its file."""
    about = json.loads(str(arrays["about"]))
    if about.pop("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    lengths = arrays["ids_of_window"]
    if lengths.sum() != len(arrays["ids"]) or not len(lengths):
        raise ValueError(f"{len(arrays['ids'])} ids for windows of {lengths.sum()}")
    parts = np.split(arrays["ids"].astype(np.int64), np.cumsum(lengths)[:-1])
    per_window = zip(parts, arrays["scale_of_window"].tolist(), arrays["samples_of_window"].tolist(), strict=True)
    return about | {
        "windows": tuple(EEGTokens(ids, scale, samples or None) for ids, scale, samples in per_window),
        "starts_s": tuple(arrays["start_s_of_window"].tolist()),
        "positions": arrays["positions"],
        "ch_names": tuple(about["ch_names"]),
        "boundaries": tuple(about["boundaries"]),
        "gaps_s": tuple((start, stop) for start, stop in about["gaps_s"]),
        "notes": tuple(about["notes"]),
    }
