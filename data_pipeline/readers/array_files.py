"""Sets that are one file of arrays per recording: the files by their names, and arrays whose shape is checked."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.unpickle import load_object_array
from neuroleon.data_pipeline.readers.base import Failure, Located, Options, located, require_options
from neuroleon.data_pipeline.readers.files import listed, one_file, readable
from neuroleon.data_pipeline.splits import Source

_CUT_OFF = 50  # samples before the event that NICE and ATM left in `times`


@dataclass(frozen=True, kw_only=True)
class ArrayFiles:
    """The files of a set, one recording each.

    Attributes:
        reader: its name, for messages.
        files: glob of the files, unless the option `files` gives another.
        pattern: regular expression that a file's path below the data set's folder has to hold.
        source: what splits need to know of a file, from its path and the match of `pattern`.
    """

    reader: str
    files: str
    pattern: str
    source: Callable[[Path, re.Match[str]], Source]

    def _options(self, options: Options) -> Options:
        require_options(self.reader, options, allowed={"files"})
        return {"files": options.get("files", self.files), "pattern": self.pattern}

    def each(self, root: Path, options: Options) -> Iterator[tuple[Path, Source]]:
        """Every file and its source, in sorted order.

        Raises:
            DataError: no file fits.
        """
        yield from ((path, self.source(path, match)) for path, match in readable(root, self._options(options)))

    def locate(self, root: Path, options: Options) -> Iterator[Located | Failure]:
        """Every file by its name alone."""
        found, failures = listed(root, self._options(options))
        yield from failures
        for path, match in found:
            yield located(self.source(path, match), one_file(root, path, options), path)


def numbers(value: Any, shape: tuple[int | None, ...], where: str) -> np.ndarray:
    """`value`, when it is an array of numbers of that shape; None stands for any length.

    Raises:
        DataError: it is anything else.
    """
    is_numeric = isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
    fits = is_numeric and len(value.shape) == len(shape)
    if fits and all(wanted in (None, found) for wanted, found in zip(shape, value.shape, strict=True)):
        return np.asarray(value)
    found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
    expected = ", ".join("any" if n is None else str(n) for n in shape)
    raise DataError(f"{where}: found {found}, expected numbers ({expected}); is this a file of the data set?")


def read_array(path: Path, leading: tuple[int, ...]) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Data (*leading, channel, time), channel names, and seconds from the event of each sample.

    Raises:
        DataError: not such a file, or of another shape.
    """
    content, needed = load_object_array(path), {"preprocessed_eeg_data", "ch_names", "times"}
    if not isinstance(content, dict) or not needed <= content.keys():
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise DataError(
            f"{path}: found {found}, expected a dictionary with {', '.join(sorted(needed))}; is this the right file?"
        )
    data, times = np.asarray(content["preprocessed_eeg_data"]), np.asarray(content["times"], float)
    names = [str(name) for name in content["ch_names"]]
    if data.shape[-1:] == (len(times) - _CUT_OFF,):
        times = times[_CUT_OFF:]
    expected = (*leading, len(names), len(times))
    if data.shape != expected or len(times) < 2:
        raise DataError(
            f"{path}: data {data.shape}, expected {expected}, as the list of pictures, ch_names and times have it; do "
            "the files belong together?"
        )
    return data, names, times


def sampling_rate(times: np.ndarray) -> float:
    """Hz, to three places, of samples at these seconds."""
    return float(round((len(times) - 1) / (times[-1] - times[0]), 3))
