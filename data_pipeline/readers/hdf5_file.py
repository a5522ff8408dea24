"""HDF5 files, and only what lies in them: links and samples in other files of this disk are refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import require_content

if TYPE_CHECKING:
    import h5py


@contextmanager
def opened(path: Path) -> Iterator["h5py.File"]:
    """The file, for reading.

    Raises:
        ConfigError: h5py is not installed.
        DataError: absent, no HDF5, or damaged, also where it is read later on.
    """
    try:
        import h5py
    except ImportError:
        raise ConfigError(f'{path}: an HDF5 file needs h5py: pip install "neuroleon[formats]"') from None

    require_content(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError(f"{path}: not a readable HDF5 file ({error}); fetch it again") from None


def require_own(item: "h5py.Group | h5py.Dataset", file: "h5py.File", where: str) -> None:
    """Refuse a group or data set of another file: what lies on this disk would get into the shards.

    Raises:
        DataError: it is behind a link to another file, or its samples lie in one.
    """
    import h5py

    is_elsewhere = isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)
    if is_elsewhere or item.file.filename != file.filename:
        raise DataError(f"{where}: its samples lie in other files; expected them in this one")
