"""LMDB sets of segments, as CBraMod and REVE write them (Wang et al. 2025; El Ouahidi et al. 2025).

The entry `__keys__` is the pickled list of keys (pretraining), or {"train": [...], "val": [...], "test": [...]}. Each
key holds a pickled array, or {"sample": array, "label": number}; arrays are (channels, patches, 200), or (channels,
samples) with REVE's `--type reve`. Nothing says what the channels, the unit and the rate are: the recipe must. CBraMod
writes microvolts at 200 Hz and divides by 100 when it trains.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.unpickle import load_pickle
from neuroleon.data_pipeline.readers.base import Located, located, require_content, require_options
from neuroleon.data_pipeline.readers.segments import (
    by_recording,
    named_channels,
    positive_rate,
    signal,
    word,
)
from neuroleon.data_pipeline.readers.trials import Trial, joined
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.columns import eeg_columns
from neuroleon.signals.from_mne import uv_factor
from neuroleon.signals.recording import Recording

_NEEDED = {"channels", "unit", "sfreq", "pattern"}


def _data_file(path: Path) -> Path:
    """LMDB keeps its pages in `data.mdb` of a folder, or in a file of its own."""
    return path / "data.mdb" if path.is_dir() else path


def _values(path: Path, keys: list[str]) -> list[bytes]:
    """The bytes of some keys. The file is opened read-only and without a lock: it may lie on a read-only disk.

    Raises:
        DataError: no LMDB, cut short, or without a key.
    """
    try:
        import lmdb
    except ImportError:
        raise ConfigError('reader cbramod_lmdb needs lmdb: pip install "neuroleon[formats]"') from None

    data = _data_file(path)
    require_content(data)
    try:
        with lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False) as environment:
            pages = environment.info()["last_pgno"] + 1
            if data.stat().st_size < pages * environment.stat()["psize"]:  # reading on would end the process (SIGBUS)
                raise DataError(f"{data}: {data.stat().st_size} bytes, {pages} pages expected; fetch it again")
            with environment.begin() as transaction:
                found = [transaction.get(key.encode()) for key in keys]
    except lmdb.Error as error:
        raise DataError(f"{data}: not a readable LMDB ({error}); fetch it again") from None
    if missing := [key for key, value in zip(keys, found) if value is None]:
        remedy = "; name the keys with the option only" if missing == ["__keys__"] else "; fetch it again"
        raise DataError(f"{data}: no entry {missing[0]!r}{remedy}")
    return [bytes(value) for value in found if value is not None]


def _sources(root: Path, options: dict[str, Any]) -> dict[Source, list[str]]:
    """The keys of each recording; the split that the container names is its group, where the pattern gives none."""
    require_options("cbramod_lmdb", options, needed=_NEEDED, allowed={"file", "only"})
    uv_factor(options["unit"])
    positive_rate("cbramod_lmdb", options["sfreq"])
    named_channels("cbramod_lmdb", options["channels"])
    path = root / options.get("file", ".")
    keys = options.get("only")
    if keys is None:
        keys = load_pickle(_values(path, ["__keys__"])[0], f"{path}, __keys__")
    parts = keys if isinstance(keys, dict) else {"": keys}
    if not all(isinstance(part, list) and all(isinstance(key, str) for key in part) for part in parts.values()):
        raise DataError(f"{path}: __keys__ is no list of texts; expected a list, or lists by split")
    groups = {key: str(group) for group, part in parts.items() for key in part}
    if len(groups) < sum(map(len, parts.values())):
        raise DataError(f"{path}: __keys__ has a key twice; a segment in two splits would leak; make the LMDB anew")
    return by_recording(groups, options["pattern"], str(path))


def locate_cbramod_lmdb(root: Path, options: dict[str, Any]) -> Iterator[Located]:
    """Every recording, from the keys alone."""
    for source, keys in _sources(root, options).items():
        only = {**options, "only": {source.group: keys}}
        yield located(source, only, _data_file(root / options.get("file", ".")))


def _segment(value: bytes, n_columns: int, number: int, where: str) -> Trial:
    loaded = load_pickle(value, where)
    told = loaded if isinstance(loaded, dict) else {"sample": loaded}
    if "sample" not in told:
        raise DataError(f"{where}: found {sorted(map(str, told))}; expected sample and label")
    eeg = signal(told["sample"], n_columns, where)
    return Trial(eeg=eeg, code=word(told.get("label"), where), info={"segment": number})


def read_cbramod_lmdb(root: Path, options: dict[str, Any]) -> Iterator[Recording]:
    """One recording for all keys that the `pattern` gives one name, their segments in the order of their numbers.

    Options, of which the first four are needed: `channels`, the names of the rows; `unit`, what the numbers are (`uV`,
    `mV`, `V`, `nV`); `sfreq`; `pattern`, searched in the keys, with the named group `recording` and perhaps `subject`
    and `group`; `file`, the LMDB below `root` (default `root` itself); `only`, keys in the form of `__keys__` in its
    place, which `locate` sets. Where `__keys__` has splits, the split's name is the group.

    BCI IV 2a as CBraMod prepares it, keys `A01T-3-12`:

        source:
          reader: cbramod_lmdb
          folder: BCICIV2a/processed_inde_avg_filter
          options:
            channels: [Fz, FC3, FC1, FCz, FC2, FC4, C5, C3, C1, Cz, C2, C4, C6,
                       CP3, CP1, CPz, CP2, CP4, P1, Pz, P2, POz]
            unit: uV
            sfreq: 200
            pattern: '^(?P<recording>(?P<subject>A\\d\\d)[TE])-'
        windows: [{by: events, duration_s: 4}]
        labels: {map: {"0": left hand, "1": right hand, "2": feet, "3": tongue}}
        split: {by: group, train: [train], validation: [val], test: [test]}

    Raises:
        ConfigError: lmdb is not installed, or an option is unknown, missing or not well formed.
        DataError: no LMDB, cut short, or a value that is no such array.
    """
    path = root / options.get("file", ".")
    for source, keys in _sources(root, options).items():
        names = options["channels"]
        values = _values(path, keys)
        segments = [
            _segment(value, len(names), number, f"{path}, {key}")
            for number, (key, value) in enumerate(zip(keys, values))
        ]
        columns, unit_uV = eeg_columns(names, str(path)), uv_factor(options["unit"])
        yield joined(segments, columns, source, float(options["sfreq"]), unit_uV=unit_uV)
