"""Pickles of single segments, as NeuroLM and LaBraM write them (Jiang et al. 2024, 2025; `dataset_maker/` in theirs).

    {"X": (channels, samples), "ch_names": ["FP1", ...], "y": 1}     pretraining files have no y
    {"X": ..., "y": ...}                                             TUAB: no names, they are an option
    {"signal": ..., "offending_channel": ..., "label": [6.]}        TUEV: the same under other keys

Their scripts write microvolts at 200 Hz; their loaders divide by 100, the files do not.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuroleon.common.errors import DataError
from neuroleon.common.unpickle import load_pickle
from neuroleon.data_pipeline.readers.base import Failure, Located, located, require_content, require_options
from neuroleon.data_pipeline.readers.files import listed
from neuroleon.data_pipeline.readers.segments import by_recording, named_channels, signal, word
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.from_mne import uv_factor
from neuroleon.signals.recording import Recording

SFREQ = 200.0
_SPELLINGS = (("X", "y"), ("signal", "label"))


def _segment(path: Path, channels: list[str] | None, number: int) -> tuple[Trial, list[str]]:
    require_content(path)
    with path.open("rb") as file:
        value = load_pickle(file, str(path))
    keys = set(value) if isinstance(value, dict) else set()
    data, label = next((pair for pair in _SPELLINGS if pair[0] in keys), (None, None))
    if data is None:
        raise DataError(f"{path}: found {sorted(map(str, keys)) or type(value).__name__}; expected X, ch_names and y")
    told = value.get("ch_names") if channels is None else channels
    names = [] if told is None else [str(name) for name in told]
    if not names:
        raise DataError(f"{path}: no ch_names; name its {len(value[data])} rows with the option channels")
    eeg = signal(value[data], len(names), str(path))
    return Trial(eeg=eeg, code=word(value.get(label), str(path)), info={"segment": number}), names


def _found(root: Path, options: dict[str, Any]) -> tuple[dict[Source, list[str]], list[Failure]]:
    require_options("neurolm_pickle", options, needed={"pattern"}, allowed={"files", "channels", "unit", "only"})
    uv_factor(options.get("unit", "uV"))
    if "channels" in options:
        named_channels("neurolm_pickle", options["channels"])
    if "only" in options:
        return by_recording(dict.fromkeys(options["only"], ""), options["pattern"], str(root)), []
    files, failures = listed(root, {"files": options.get("files", "**/*.pkl")})
    names = [path.relative_to(root).as_posix() for path, _ in files]
    return by_recording(dict.fromkeys(names, ""), options["pattern"], str(root)), failures


def locate_neurolm_pickle(root: Path, options: dict[str, Any]) -> Iterator[Located | Failure]:
    """Every recording, from the names of the files alone."""
    found, failures = _found(root, options)
    yield from failures
    for source, names in found.items():
        yield located(source, {**options, "only": names}, *(root / name for name in names))


def read_neurolm_pickle(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """One recording for all files that the `pattern` gives one name, their segments in the order of their numbers.

    Options: `pattern`, searched in the path relative to `root`, with the named group `recording` and perhaps `subject`
    and `group`; `files`, a glob (default `**/*.pkl`); `channels`, the names of the rows where files hold none; `unit`
    where somebody else's script wrote other than microvolts; `only`, a list of paths, which `locate` sets.

    TUAB as NeuroLM prepares it, `train/aaaaamye_s001_t000_3.pkl`:

        source:
          reader: neurolm_pickle
          folder: TUAB/processed
          options:
            pattern: '^(?P<group>train|val|test)/(?P<recording>(?P<subject>[a-z]{8})_s\\d+_t\\d+)_\\d+\\.pkl$'
            channels: [FP1, FP2, F3, F4, C3, C4, P3, P4, O1, O2, F7, F8, T3, T4, T5, T6, A1, A2, FZ, CZ, PZ, T1, T2]
        windows: [{by: sliding, duration_s: 10}]
        labels: {map: {"0": normal, "1": abnormal}}
        split: {by: group, train: [train], validation: [val], test: [test]}

    Raises:
        ConfigError: an option is unknown, missing or not well formed.
        DataError: no file, a file of anything but arrays and plain values, or of another form.
    """
    for source, names in _found(root, options)[0].items():
        pairs = [_segment(root / name, options.get("channels"), number) for number, name in enumerate(names)]
        if unlike := [name for name, (_, ch_names) in zip(names, pairs) if ch_names != pairs[0][1]]:
            raise DataError(f"{root / unlike[0]}: other channels than {names[0]}; expected one order per recording")
        columns = eeg_columns(pairs[0][1], str(root / names[0]))
        segments = [segment for segment, _ in pairs]
        yield joined(segments, columns, source, SFREQ, unit_uV=uv_factor(options.get("unit", "uV")))
