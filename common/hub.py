"""A name that a user gives -> a folder on this machine: a path, or a hub id whose folder is downloaded."""

import re
from pathlib import Path

from neuroleon.common.errors import CheckpointError

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def local_folder(name: str) -> Path:
    """A folder on this machine; a hub id is downloaded where no folder of that name, nor one to hold it, exists.

    Raises:
        CheckpointError: the hub does not give it.
    """
    path = Path(name)
    if path.exists() or path.parent.is_dir() or not _HUB_ID.fullmatch(name):
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:  # offline, unknown, private: the library's errors share no base
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{name}: no such folder, and not to be had from the hub ({reason})") from None
