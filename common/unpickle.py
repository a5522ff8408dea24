"""Pickles of other people's data sets, opened without running anything: arrays, tensors and plain containers only.

Half of the field's public sets are pickles (`.pth`, `.pkl`, `.npy` of objects, values of an LMDB). A pickle is a
program; the one here may only build numbers, text, lists, tuples, dictionaries, sets and numpy arrays. Whatever else it
asks for is refused by name, before it is looked up. Not even numpy's own functions are called with what it says: a
forged `dtype` state makes numpy take bytes for pointers. Arrays are built anew from type, shape and bytes.
"""

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from neuroleon.common.errors import DataError

_PLAIN_TYPE = re.compile(r"[biufcSUO]\d*|\?")


class _Dtype:
    """What a pickle says of a numpy type, until it is one: numbers, fixed text or objects; no dates, no records."""

    def __init__(self, code: str, *_: object) -> None:
        if not isinstance(code, str) or not _PLAIN_TYPE.fullmatch(code):
            raise pickle.UnpicklingError(f"it has an array of type {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, sub, names, fields, *_ = state
        if not (sub is None and names is None and fields is None) or order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("it has an array of records")
        self.value = self.value.newbyteorder(order)


class _Array:
    """What a pickle says of an array, until it is one."""

    value: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, content = state
        self.value = _built(content, kind, shape, "F" if is_fortran else "C")


def _built(content: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
    """An array of its own memory."""
    if not isinstance(kind, _Dtype):
        raise pickle.UnpicklingError(f"an array's type is {type(kind).__name__}")
    if kind.value.hasobject:
        flat = np.empty(len(content), object)
        for i, item in enumerate(content):  # assigning a list would look into it
            flat[i] = item
    else:
        content = content.encode("latin1") if isinstance(content, str) else content  # protocols of Python 2
        flat = np.frombuffer(content, kind.value).copy()
    if min(shape, default=0) < 0:  # numpy would guess it
        raise pickle.UnpicklingError(f"an array's shape is {shape}")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(content: Any, kind: Any, shape: Any, order: str) -> np.ndarray:
    return _built(content, kind, shape, order)


def _scalar(kind: Any, content: Any = b"") -> Any:
    if isinstance(kind, _Dtype) and kind.value.itemsize == 0:
        return kind.value.type()  # an empty text
    return _built(content, kind, (1,), "C")[0]


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes: `_codecs.encode(text, "latin1")`; no other codec is looked up."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Protocol 2 writes `bytes()` for empty ones; with a number, `bytes` would fill the memory."""
    return b""


_NUMPY: dict[str, Any] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Dtype,
    # numpy 2 renamed its core; arrays of either age are in use
    **{f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _frombuffer for core in ("core", "_core")},
}
_ADMITTED: dict[str, Any] = {
    **_NUMPY,
    "collections.OrderedDict": OrderedDict,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.complex": complex,
    "builtins.bytes": _no_bytes,
    "_codecs.encode": _latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # Python 2's name, which protocol 2 writes
        if (asked := f"{module}.{name}") not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {asked}")
        return _ADMITTED[asked]


def _finished(value: Any) -> Any:
    """The value with its arrays in place; containers stay what they are.

    A list that holds itself would never end: Python's limit of recursion refuses it.
    """
    if isinstance(value, _Array):
        return _finished(value.value)
    if isinstance(value, _Dtype):
        return value.value
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return _built(list(map(_finished, value.ravel().tolist())), _Dtype("O"), value.shape, "C")
    if isinstance(value, dict):
        return type(value)((_finished(k), _finished(v)) for k, v in value.items())
    return type(value)(map(_finished, value)) if type(value) in (list, tuple) else value


def load_pickle(file: BinaryIO | bytes, where: str, *, encoding: str = "ASCII") -> Any:
    """The value of a pickle that holds nothing but arrays and plain containers.

    Args:
        file: an open file, or the bytes themselves.
        where: names the file in errors.
        encoding: how text that Python 2 wrote is read; `latin1` for its arrays.

    Raises:
        DataError: it holds or asks for anything else, or is damaged. Nothing of it has run.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        return _finished(_Unpickler(stream, encoding=encoding).load())
    except Exception as error:  # damaged pickles raise everything from EOFError to UnicodeDecodeError
        raise DataError(
            f"{where}: not a pickle of arrays and plain values alone ({error}); nothing of it was run. If you trust "
            "it, save its arrays anew with numpy.savez and read those"
        ) from None


def load_object_array(path: Path) -> Any:
    """What `numpy.save` made of an object: the dictionary or list itself, not the 0-dimensional array around it.

    A pickle that was only named `.npy` is read as well (THINGS-EEG2 has both). A plain array comes as it is.

    Raises:
        DataError: absent, damaged, or with anything in it but arrays and plain values.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(0)
            if start[:1] == b"\x80":
                return load_pickle(file, str(path), encoding="latin1")
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = header(file)
            if dtype.hasobject:
                value = load_pickle(file, str(path), encoding="latin1")
                return value.item() if isinstance(value, np.ndarray) and shape == () else value
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{path}: not a readable .npy file ({error}); fetch it again") from None


def load_torch(path: Path, stand_ins: Mapping[str, type] | None = None) -> Any:
    """What `torch.save` wrote: tensors, numpy arrays and plain containers, on the CPU.

    Args:
        stand_ins: dotted name of a class that the file may ask for besides -> the harmless one that it gets.

    Raises:
        DataError: absent, damaged, or with any other class in it.
    """
    import torch

    named = {**_NUMPY, **(stand_ins or {})}
    try:
        with torch.serialization.safe_globals([(value, name) for name, value in named.items()]):
            return _finished(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError ... for damaged files
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{path}: not a file of tensors and plain values alone ({reason}); nothing of it was run. Fetch it again, "
            "or, if you trust it, save its tensors anew"
        ) from None
