"""The members of a shard: which kinds there are, and how each is turned into bytes and, strictly, back.

Nothing here can run code: arrays never hold objects, JSON is plain, and pictures are opened in three formats only.
"""

import io
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.pictures import decode_picture

PICTURES = ("png", "jpg", "jpeg", "webp")
SUFFIXES = ("npy", "json", "txt", "cls", *PICTURES)
MAX_MEMBER_BYTES = 64 * 2**20


def encode(suffix: str, value: Any) -> bytes:
    """The bytes of one member; bytes are taken as they are, everything else is encoded by its suffix.

    Raises:
        DataError: the suffix is not one of `SUFFIXES`, or the value cannot be stored under it.
    """
    if suffix not in SUFFIXES:
        raise DataError(f"member .{suffix}: a shard holds only {', '.join(SUFFIXES)}")
    if isinstance(value, bytes):
        return value
    try:
        if suffix == "npy":
            return _npy(value)
        if suffix == "json":
            return json.dumps(value, sort_keys=True, allow_nan=False).encode()
        if suffix == "png":
            return _png(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"member .{suffix}: cannot store {type(value).__name__} ({error})") from None
    if suffix in PICTURES:
        raise DataError(f"member .{suffix}: give the bytes of the file; only .png is encoded here, without loss")
    return str(value).encode()


def _npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _png(pixels: np.ndarray) -> bytes:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a picture is uint8 (height, width, 3), this is {pixels.dtype} {pixels.shape}")
    return _png_of(pixels.tobytes(), pixels.shape[1], pixels.shape[0])


@lru_cache(maxsize=64)  # most sets show few pictures, each of which goes with many windows
def _png_of(rgb: bytes, width: int, height: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.frombytes("RGB", (width, height), rgb).save(buffer, "PNG")
    return buffer.getvalue()


def decode(suffix: str, content: bytes, where: str) -> Any:
    """The value of one member: an array, the JSON value, str, int, or uint8 pixels (height, width, 3).

    Raises:
        DataError: the content is not what the suffix says; `where` names it in the message.
    """
    try:
        if suffix == "npy":
            return _array(content)
        if suffix == "json":
            return json.loads(content, parse_constant=_refuse_constant)
        if suffix in PICTURES:
            return decode_picture(content, where)
        return int(content) if suffix == "cls" else content.decode()
    except (ValueError, RecursionError, EOFError) as error:
        raise DataError(f"{where}: not a readable .{suffix} ({error}); make the shard again") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _array(content: bytes) -> np.ndarray:
    """numpy's own header parser, and then a check of the claimed shape against the bytes before any memory is taken."""
    buffer = io.BytesIO(content)
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError("expected npy format 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(buffer)
    if dtype.kind not in "biuf" or fortran:
        raise ValueError(f"expected plain numbers in C order, found {dtype}")
    count = 1
    for length in shape:  # Python's integers: a product of numpy's would wrap around
        count *= length
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(content) - buffer.tell():
        raise ValueError(f"the header says {shape} of {dtype}, the member holds {len(content) - buffer.tell()} bytes")
    return np.frombuffer(content, dtype, count, offset=buffer.tell()).reshape(shape).copy()


class Record(Mapping[str, Any]):
    """One sample: `record["json"]`, `record["npy"]`, `record["png"]` ..., each decoded when it is first asked for.

    `record["__key__"]` is its key. Arrays come as numpy arrays, pictures as uint8 (height, width, 3).

    Args:
        where: the shard, for messages.
    """

    def __init__(self, key: str, contents: dict[str, bytes], where: str) -> None:
        self._contents = contents
        self._values: dict[str, Any] = {"__key__": key}
        self._where = where

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            where = f"{self._where}: {self._values['__key__']}.{name}"
            self._values[name] = decode(name, self._contents[name], where)
        return self._values[name]

    def __contains__(self, name: object) -> bool:  # Mapping's own would decode the member
        return name == "__key__" or name in self._contents

    def __iter__(self) -> Iterator[str]:
        return iter(("__key__", *self._contents))

    def __len__(self) -> int:
        return 1 + len(self._contents)
