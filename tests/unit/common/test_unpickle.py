"""Pickles of other people's sets: arrays come through, anything that could run does not, and nothing has run."""

import collections
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from neuroleon.common.errors import DataError
from neuroleon.common.unpickle import load_object_array, load_pickle, load_torch

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.complex_numbers(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
numbers_and_text = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes()
    | hnp.floating_dtypes()
    | hnp.complex_number_dtypes()
    | hnp.byte_string_dtypes()
    | hnp.unicode_string_dtypes()
    | hnp.unsigned_integer_dtypes()
)

pytestmark = pytest.mark.faults


class Runs:
    """A pickle that runs a command when it is opened."""

    def __init__(self, canary: Path, function: Any = os.system) -> None:
        self.canary, self.function = canary, function

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return self.function, (f"touch {self.canary}" if self.function is os.system else f"open('{self.canary}', 'w')",)


@given(plain, st.sampled_from([2, 3, 4, 5]))
def test_plain_values_come_through(value: Any, protocol: int) -> None:
    assert load_pickle(pickle.dumps(value, protocol), "here") == value


@given(hnp.arrays(numbers_and_text, hnp.array_shapes()), st.sampled_from([2, 4, 5]))
def test_arrays_come_through(array: np.ndarray, protocol: int) -> None:
    content = pickle.dumps({"x": [array, array.flat[0]]}, protocol)
    found = load_pickle(content, "here")["x"]
    np.testing.assert_array_equal(found[0], array)
    assert found[0].dtype == array.dtype
    np.testing.assert_array_equal(found[1], array.flat[0])


def test_arrays_that_old_versions_wrote_come_through() -> None:
    new = pickle.dumps({"data": np.arange(3.0)}, 2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != new
    np.testing.assert_array_equal(load_pickle(old, "here", encoding="latin1")["data"], np.arange(3.0))


@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, getattr, print, pickle.loads])
def test_nothing_runs(tmp_path: Path, function: Any) -> None:
    canary = tmp_path / "canary"
    evil = {"x": np.zeros(3), "y": Runs(canary, function)}
    for protocol in (0, 2, 5):
        with pytest.raises(DataError, match="nothing of it was run"):
            load_pickle(pickle.dumps(evil, protocol), "here")
    np.save(tmp_path / "a.npy", np.array(evil, dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(evil))
    torch.save(evil, tmp_path / "c.pth")
    torch.save(evil, tmp_path / "d.pth", _use_new_zipfile_serialization=False)
    for name, load in (
        ("a.npy", load_object_array),
        ("b.npy", load_object_array),
        ("c.pth", load_torch),
        ("d.pth", load_torch),
    ):
        with pytest.raises(DataError, match=rf"{name}: .*nothing of it was run"):
            load(tmp_path / name)
    assert not canary.exists()


def test_other_classes_are_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"collections\.Counter"):
        load_pickle(pickle.dumps(collections.Counter("aab")), "here")
    with pytest.raises(DataError, match=r"here: .*pathlib"):
        load_pickle(pickle.dumps([Path("x")]), "here")


@pytest.mark.parametrize("size", [0, 1, 20, 90])
def test_damaged_files_are_refused_by_name(tmp_path: Path, size: int) -> None:
    np.save(tmp_path / "a.npy", np.array({"x": np.zeros(9)}, dtype=object), allow_pickle=True)
    torch.save({"x": torch.zeros(9)}, tmp_path / "b.npy")
    for name, load in (("a.npy", load_object_array), ("b.npy", load_torch)):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(DataError, match=name):
            load(path)
        with pytest.raises(DataError, match="absent"):
            load(tmp_path / "absent.npy")


def test_dictionaries_in_npy_files(tmp_path: Path) -> None:
    value = {"eeg": np.arange(6.0).reshape(2, 3), "ch_names": ["O1", "O2"], "sfreq": 100}
    np.save(tmp_path / "wrapped.npy", value, allow_pickle=True)  # type: ignore[arg-type]
    with (tmp_path / "bare.npy").open("wb") as file:
        pickle.dump(value, file, protocol=4)
    np.save(tmp_path / "plain.npy", value["eeg"])
    for name in ("wrapped", "bare"):
        found = load_object_array(tmp_path / f"{name}.npy")
        assert found["ch_names"] == ["O1", "O2"]
        np.testing.assert_array_equal(found["eeg"], value["eeg"])
    np.testing.assert_array_equal(load_object_array(tmp_path / "plain.npy"), value["eeg"])


def test_torch_files_may_hold_arrays(tmp_path: Path) -> None:
    value = {
        "dataset": [{"eeg": torch.arange(6.0), "label": 3, "x": np.float32(2), "y": np.arange(2)}],
        "labels": ["n01"],
    }
    for new in (True, False):
        torch.save(value, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        found = load_torch(tmp_path / "a.pth")
        assert found["labels"] == ["n01"]
        assert found["dataset"][0]["x"] == 2
        np.testing.assert_array_equal(found["dataset"][0]["y"], [0, 1])
        torch.testing.assert_close(found["dataset"][0]["eeg"], torch.arange(6.0))


class Forged:
    """A pickle of an array whose type was tampered with: eight bytes of a file would be taken for a Python object."""

    def __init__(self, state: tuple) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        kind = ForgedType(self.state)
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), kind, False, b"A" * 8)


class ForgedType:
    def __init__(self, state: tuple) -> None:
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return np.dtype, ("V8", False, True), self.state


def test_a_forged_type_does_not_turn_bytes_into_pointers(tmp_path: Path) -> None:
    fields = {"a": (np.dtype("O"), 0)}
    evil = {"x": Forged((3, "|", None, ("a",), fields, 8, 1, 0))}
    for protocol in (2, 4, 5):
        with pytest.raises(DataError, match="nothing of it was run"):
            load_pickle(pickle.dumps(evil, protocol), "here")
    torch.save(evil, tmp_path / "a.pth")
    with pytest.raises(DataError, match="nothing of it was run"):
        load_torch(tmp_path / "a.pth")


@pytest.mark.parametrize("shape", [(3,), (10**12,), (-1, 2)])
def test_an_array_that_claims_more_than_it_holds_is_refused(shape: tuple[int, ...]) -> None:
    class Claims:
        def __reduce__(self) -> tuple[Any, ...]:
            state = (1, shape, np.dtype("f8"), False, b"\0" * 32)
            return np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state

    with pytest.raises(DataError, match="here"):
        load_pickle(pickle.dumps(Claims()), "here")


def test_nested_arrays_come_through_as_arrays() -> None:
    inner = np.array([np.arange(2), "text", None, [np.float32(1)]], dtype=object)
    found = load_pickle(pickle.dumps({"a": (inner, {"b": [np.ones((2, 2), order="F")]})}), "here")["a"]
    assert type(found[0]) is np.ndarray
    np.testing.assert_array_equal(found[0][0], [0, 1])
    assert found[0][1:].tolist() == ["text", None, [1.0]]
    np.testing.assert_array_equal(found[1]["b"][0], np.ones((2, 2)))
