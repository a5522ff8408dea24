"""Samples of shards that other programs wrote, seen as those of `prepare.py samples`: a picture, a text, or both."""

from collections.abc import Mapping
from typing import Any

from neuroleon.common.errors import DataError
from neuroleon.common.pictures import enlargeable_square
from neuroleon.data_pipeline.members import PICTURES, Record
from neuroleon.data_pipeline.shards import ShardReader

# what the json of every sample of ours has, and of those with EEG
_FIELDS = frozenset(
    {"recipe", "subject", "recording", "group", "split", "label", "label_text", "texts", "question", "image_key"}
)
_EEG_FIELDS = frozenset({"ch_names", "positions", "sfreq", "scale_uV", "onset_s"})


def _is_ours(record: Record, reader: ShardReader) -> bool:
    if not reader.manifest.get("imported"):
        return True
    told = record.get("json")
    return isinstance(told, Mapping) and told.keys() >= (_FIELDS | _EEG_FIELDS if "npy" in record else _FIELDS)


def described(record: Record, reader: ShardReader) -> Mapping[str, Any]:
    """The json of a sample: its own, or made of a plain picture and text; the json of another program is not used.

    An empty text is none, and each plain sample counts as a recording of its own.

    Raises:
        DataError: EEG that no json of ours describes, or neither a picture nor a text.
    """
    if _is_ours(record, reader):
        told: Mapping[str, Any] = record["json"]
        return told
    key = record["__key__"]
    if "npy" in record:
        raise DataError(
            f"{reader.folder}: {key}.npy without the json of `prepare.py samples`: EEG needs names of channels, rate "
            "and scale; prepare it from the recordings"
        )
    text = record["txt"].strip() if "txt" in record else ""
    has_picture = any(suffix in record for suffix in PICTURES)
    if not text and not has_picture:
        raise DataError(f"{reader.folder}: sample {key} has neither a picture nor a text; leave it out of the shard")
    return {
        "recipe": reader.folder.name,
        "split": reader.split,
        "recording": key,
        "image_key": key if has_picture else None,
        "texts": [text] if text else [],
        **dict.fromkeys(("label", "label_text", "question")),
    }


def sample_at(reader: ShardReader, i: int, size: int) -> Mapping[str, Any]:
    """Sample i with its `json` and, where it has a picture, a `png`: ours as it is, a plain one at (size, size, 3).

    Raises:
        DataError: as `described`, or a picture that cannot be read or is too small.
    """
    record = reader[i]
    if _is_ours(record, reader):
        return record
    sample = {"__key__": record["__key__"], "json": described(record, reader)}
    for suffix in PICTURES:
        if suffix in record:
            where = f"{reader.folder}: {record['__key__']}.{suffix}"
            return {**sample, "png": enlargeable_square(record[suffix], size, where)}
    return sample
