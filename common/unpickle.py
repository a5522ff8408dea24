"""Pickles of other people's data sets, opened without running anything: arrays, tensors and plain containers only.

Half of the field's public sets are pickles (`.pth`, `.pkl`, `.npy` of objects, values of an LMDB). A pickle is a
program; the one here may only build numbers, text, lists, tuples, dictionaries, sets and numpy arrays. Whatever else it
asks for is refused by name, before it is looked up.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from neuroleon.common.errors import DataError

_CONTAINERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("builtins", "bytes"): lambda: b"",  # protocol 2 writes it for empty ones; bytes(10**12) would fill the memory
}
_REBUILD = (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
# numpy 2 renamed its core; arrays of either age are in use
_NUMPY = {
    **{("numpy", name): getattr(np, name) for name in ("ndarray", "dtype")},
    **{
        (f"numpy.{core}.{module}", name): getattr(import_module(f"numpy._core.{module}"), name)
        for core in ("core", "_core")
        for module, name in _REBUILD
    },
}


def _latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes: `_codecs.encode(text, "latin1")`; no other codec is looked up."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


_ADMITTED = {**_CONTAINERS, **_NUMPY, ("_codecs", "encode"): _latin1}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module = "builtins" if module == "__builtin__" else module  # Python 2's name, which protocol 2 writes
        if (module, name) in _ADMITTED:
            return _ADMITTED[module, name]
        if module == "numpy.dtypes" and name.endswith("DType") and name.isidentifier():
            return getattr(np.dtypes, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


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
        return _ArrayUnpickler(stream, encoding=encoding).load()
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

    kinds = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    named = [(value, f"{module}.{name}") for (module, name), value in _NUMPY.items()]
    named += [(kind, name) for name, kind in (stand_ins or {}).items()]
    try:
        with torch.serialization.safe_globals([*named, *kinds]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError ... for damaged files
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{path}: not a file of tensors and plain values alone ({reason}); nothing of it was run. Fetch it again, "
            "or, if you trust it, save its tensors anew"
        ) from None
