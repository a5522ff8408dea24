"""Recordings from sets that were cut into segments: the segments of one recording side by side, a boundary between two.

The containers of pretrained models (LaBraM, NeuroLM, CBraMod, REVE, BrainOmni) hold segments under names such as
`S001R04-3`; which of them are of one recording, and of whom, only the names tell.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.splits import Source


def compiled(pattern: str) -> re.Pattern[str]:
    """The option `pattern`.

    Raises:
        ConfigError: no regular expression, or without the named group `recording`.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ConfigError(f"reader option pattern {pattern!r}: {error}; mend the recipe") from None
    if "recording" not in expression.groupindex:
        raise ConfigError(
            f"reader option pattern {pattern!r} has no group (?P<recording>...): segments of one recording must stay "
            "together, or training and test would share it; (?P<subject>...) and (?P<group>...) may follow"
        )
    return expression


def by_recording(names: Mapping[str, str], pattern: str, where: str) -> dict[Source, list[str]]:
    """The segments of each recording in the order of their numbers.

    Args:
        names: each segment's name, and the group it has where the pattern gives none.
        pattern: searched in the names, with the named group `recording` and perhaps `subject` and `group`.
        where: what holds the segments, for messages.

    Raises:
        ConfigError: the pattern is none, or does not fit a name.
    """
    expression = compiled(pattern)
    found: dict[Source, list[str]] = defaultdict(list)
    for name, group in names.items():
        match = expression.search(name)
        if match is None:
            raise ConfigError(f"{where}: the pattern {pattern!r} does not fit the name {name!r}; mend the recipe")
        words = match.groupdict()
        source = Source(
            recording=words["recording"], subject=words.get("subject") or "", group=words.get("group") or group
        )
        found[source].append(name)
    return {source: sorted(found[source], key=_by_number) for source in sorted(found, key=lambda s: s.recording)}


def _by_number(name: str) -> list[tuple[int, str]]:
    """`a_2` before `a_10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def signal(value: Any, n_columns: int, where: str) -> np.ndarray:
    """The samples of a segment as float32 (n_columns, n_times), from that shape or patches (n_columns, patch, time).

    Raises:
        DataError: no such array.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or array.size == 0:
        raise DataError(
            f"{where}: an array {array.shape} of {array.dtype}; expected numbers (channels, samples) or (channels, "
            "patches, samples of a patch)"
        )
    if len(array) != n_columns:
        raise DataError(f"{where}: {len(array)} rows, expected one for each of {n_columns} channel names")
    return array.reshape(n_columns, -1).astype(np.float32)


def word(value: Any, where: str) -> str | None:
    """The label of a segment as an event's code: `1` for 1, 1.0 and [1.0]; None for None.

    Raises:
        DataError: neither a number nor a text, nor an array of one.
    """
    if isinstance(value, np.ndarray | np.generic) and value.size == 1:
        value = value.item()
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and np.isfinite(value):
        return str(int(value)) if value == int(value) else repr(value)
    raise DataError(f"{where}: a label of type {type(value).__name__}; expected one number or text per segment")


def positive_rate(reader: str, value: Any) -> float:
    """The option `sfreq`.

    Raises:
        ConfigError: no number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < np.inf:
        raise ConfigError(f"reader {reader}: sfreq is {value!r}; expected the sampling rate in Hz")
    return float(value)


def named_channels(reader: str, value: Any) -> list[str]:
    """The option `channels`.

    Raises:
        ConfigError: no list of names.
    """
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"reader {reader}: channels is {value!r}; expected the list of names, in the order of rows")
    return value
