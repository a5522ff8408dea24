"""The P300 speller of BCI Competition II, data set IIb (Blankertz et al. 2004): one .mat file per spelled word."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.base import Failure, Located, located, require_options
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.readers.mat_file import load_mat
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.recording import Event, Recording

SFREQ = 240.0
# the order of the columns of `signal`, from the competition's description of the data set
CHANNELS = (  # noqa: SIM905 (read as one line, as the competition gives it)
    "FC5 FC3 FC1 FCz FC2 FC4 FC6 C5 C3 C1 Cz C2 C4 C6 CP5 CP3 CP1 CPz CP2 CP4 CP6 Fp1 Fpz Fp2 AF7 AF3 AFz AF4 AF8 "
    "F7 F5 F3 F1 Fz F2 F4 F6 F8 FT7 FT8 T7 T8 T9 T10 TP7 TP8 P7 P5 P3 P1 Pz P2 P4 P6 P8 PO7 PO3 POz PO4 PO8 O1 Oz O2 Iz"
).split()


def _flashes(fields: dict[str, np.ndarray]) -> tuple[Event, ...]:
    """One event per flash of a row or column, with the number of the letter that was being spelled."""
    lit = fields["Flashing"].ravel() > 0
    onsets = np.flatnonzero(lit & ~np.r_[False, lit[:-1]])
    codes = fields["StimulusCode"].ravel()[onsets]
    kinds = fields["StimulusType"].ravel()[onsets] if "StimulusType" in fields else np.zeros(len(onsets))
    words = ("non-target", "target") if kinds.any() else ("flash", "flash")  # test words have no known target
    phase = fields["PhaseInSequence"].ravel()
    letters = np.cumsum((phase == 1) & (np.r_[0, phase[:-1]] != 1))[onsets] - 1  # phase 1 comes before each letter
    return tuple(
        Event(
            onset / SFREQ,
            words[int(kind > 0)],
            info={"row_or_column": "column" if code <= 6 else "row", "stimulus": int(code), "letter": int(letter)},
        )
        for onset, code, kind, letter in zip(onsets.tolist(), codes, kinds, letters, strict=True)
    )


def _where(options: dict[str, Any]) -> dict[str, Any]:
    """What `listed` needs, after a check of the options."""
    require_options("bci2_p300", options, allowed={"files"})
    return {"files": options.get("files", "*.mat")}


def _source(path: Path) -> Source:
    """AAS010R02 is run 2 of session 10 of the person AAS."""
    return Source(recording=path.stem, subject=path.stem[:3], group=path.stem[:6])


def locate_bci2_p300(root: Path, options: dict[str, Any]) -> Iterator[Located | Failure]:
    """Every file of the set, by its name."""
    found, failures = listed(root, _where(options))
    yield from failures
    for path, _ in found:
        yield located(_source(path), one_file(root, path, options), path)


def read_bci2_p300(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """Every file that matches the glob `files` (default `*.mat`).

    The signal is in converter units whose size the data set does not give: a recipe says `unit_unknown: true`.
    """
    columns = eeg_columns(CHANNELS, "BCI Competition II, IIb")
    for path, _ in readable(root, _where(options)):
        fields = load_mat(path, ["signal", "Flashing", "StimulusCode", "PhaseInSequence"], optional=["StimulusType"])
        if fields["signal"].shape[1] != len(CHANNELS):
            raise DataError(f"{path}: signal {fields['signal'].shape}, expected (samples, {len(CHANNELS)})")
        source = _source(path)
        yield Recording(
            eeg_uV=fields["signal"].T.astype(np.float32),
            ch_names=columns.ch_names,
            positions=columns.positions,
            sfreq=SFREQ,
            events=_flashes(fields),
            name=source.recording,
            subject=source.subject,
            group=source.group,
            name_map=columns.name_map,
        )
