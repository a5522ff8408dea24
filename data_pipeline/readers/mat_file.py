"""MATLAB files before version 7.3."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.base import require_content


def load_mat(path: Path, names: Sequence[str] = (), *, optional: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """The variables of a .mat file.

    Args:
        path: the file.
        names: variables that must be there.
        optional: further ones, read where they are there. Without any name all variables are read.
        options: of `scipy.io.loadmat`, such as `squeeze_me`.

    Raises:
        DataError: absent, damaged, of version 7.3 (which is HDF5), or without one of `names`.
    """
    from scipy.io import loadmat

    require_content(path)
    try:
        fields = loadmat(path, variable_names=[*names, *optional] or None, **options)
    except Exception as error:  # damaged files raise everything from zlib.error to MemoryError
        raise DataError(f"{path}: not a readable .mat file ({error}); fetch it again") from None
    if missing := [name for name in names if name not in fields]:
        raise DataError(f"{path}: no {', '.join(missing)} in it; is this a file of the data set?")
    return {name: value for name, value in fields.items() if not name.startswith("__")}
