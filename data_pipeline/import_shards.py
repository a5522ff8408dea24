"""Shards that plain webdataset, or any tar, wrote: an index beside each and a manifest; the shards stay as they are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import MANIFEST, read_json, write_json
from neuroleon.data_pipeline.members import SUFFIXES
from neuroleon.data_pipeline.shard_table import NAME
from neuroleon.data_pipeline.shards import index_path, make_index, write_manifest
from neuroleon.data_pipeline.splits import SPLITS

RECIPE = "recipe.json"


def index_shards(
    folder: Path, globs: Mapping[str, Sequence[str]], required: Sequence[str] = (), licence: str = "not stated"
) -> dict[str, int]:
    """Index the shards in `folder` whose names fit shell patterns; nothing there changes before all are found whole.

    Args:
        globs: patterns of each split.
        required: suffixes that every sample has; without any, each has those that the first sample has, and no others.
        licence: under which the set may be used.

    Returns:
        Samples of each split.

    Raises:
        ConfigError: a split or a suffix that there is not.
        DataError: a pattern finds nothing, or two splits find the same; a shard is cut, damaged, compressed, empty, a
            link, or holds what is not read; a sample lacks a member. The message names the shard.
    """
    if unknown := sorted((set(globs) - set(SPLITS)) | (set(required) - set(SUFFIXES))):
        raise ConfigError(
            f"{unknown[0]!r}: expected a split ({', '.join(SPLITS)}), or a suffix ({', '.join(SUFFIXES)})"
        )
    _require_ours(folder)
    split_of = _find(folder, globs)
    with TemporaryDirectory(prefix=".index-", dir=folder) as made:
        has_eeg = _write_indexes(folder, split_of, tuple(required), Path(made))
        for name in split_of:
            index_path(Path(made) / name).replace(index_path(folder / name))
    write_json(folder / RECIPE, _recipe(folder.name, licence))
    indexes = [index_path(folder / name) for name in split_of]
    # of EEG that was taken in nobody has listed the recordings
    facts = {"name": folder.name, "licence": licence, "imported": True, "recordings": None if has_eeg else {}}
    return dict(write_manifest(folder, indexes, **facts)["n_samples"])


def _require_ours(folder: Path) -> None:
    """What `prepare.py samples` or `tokens` wrote says more than an index would."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the one that the shards lie in")
    path = next((folder / name for name in (MANIFEST, RECIPE) if (folder / name).exists()), None)
    if path is None:
        return
    told = read_json(path)
    if not isinstance(told, dict) or not told.get("imported"):
        raise DataError(f"{path}: not of `prepare.py index`, and it would be lost; move it away first")


def _write_indexes(folder: Path, split_of: Mapping[str, str], required: tuple[str, ...], out: Path) -> bool:
    """The index of each shard, under the same name in `out`; whether any sample has EEG."""
    shared: tuple[str, ...] | None = None
    has_eeg = False
    for name, split in tqdm(split_of.items(), unit="shard", desc=folder.name):
        tar = folder / name
        index = make_index(tar, tar.name, split, required)
        if not index["members"]:
            raise DataError(f"{tar}: holds no sample; leave it out")
        if required:
            _require(tar, index, required)
        else:
            shared = shared or tuple(sorted(index["members"][0][1]))
            _require(tar, index, shared, exactly=True)
            index["required"] = list(shared)
        has_eeg |= any("npy" in places for _, places in index["members"])
        write_json(index_path(out / name), index)
    return has_eeg


def _find(folder: Path, globs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Name of shard -> split, by name."""
    split_of: dict[str, str] = {}
    for split, patterns in globs.items():
        for pattern in patterns:
            try:
                names = [path.relative_to(folder).as_posix() for path in folder.glob(pattern)]
            except (NotImplementedError, ValueError):
                names = []
            if not names:
                raise DataError(
                    f"{folder}: nothing fits {pattern!r} of {split}; expected a pattern inside of the folder"
                )
            for name in names:
                if not NAME.fullmatch(name) or not (folder / name).is_file():
                    raise DataError(
                        f"{folder / name}: not the name of a shard; expected a file inside of the folder, of letters, "
                        "digits, -, _ and dots, that ends in .tar: rename it or change the pattern"
                    )
                if split_of.setdefault(name, split) != split:
                    raise DataError(f"{folder / name}: in {split_of[name]} and in {split}; give each shard one split")
    return dict(sorted(split_of.items()))


def _require(tar: Path, index: Mapping[str, Any], suffixes: tuple[str, ...], *, exactly: bool = False) -> None:
    for key, places in index["members"]:
        if not set(suffixes) <= set(places) or (exactly and len(suffixes) < len(places)):
            raise DataError(
                f"{tar}: sample {key} has .{', .'.join(sorted(places))}; expected .{', .'.join(suffixes)}: mend it, or "
                "say with --require what every sample has"
            )


def _recipe(name: str, licence: str) -> dict[str, Any]:
    """What `prepare.py samples` writes of a set, as far as it is known."""
    told = {"name": name, "title": name, "licence": licence, "citation": "", "known_faults": [], "labels": []}
    unknown = {"decodable": "unknown", "decodable_note": "", "question": None, "redistribute_pictures": False}
    return {"imported": True, **told, **unknown, "label_text": {}, "wordings": [], "pictures": {}, "windows": []}
