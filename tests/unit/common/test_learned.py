"""What weights say of the recordings they were made from."""

from pathlib import Path

import pytest

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.common.learned import FILE, Learned


def learned(complete: bool = True, **train: set[str]) -> Learned:
    by_set = {name: frozenset(found) for name, found in train.items()}
    return Learned(train=by_set, validation={"b": frozenset({"v"})}, complete=complete)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    told = learned(b={"s1/r2", "s1/r1"}, a={"s2/r1"})
    told.write(tmp_path)
    assert Learned.read(tmp_path) == told
    again = tmp_path / "again"
    again.mkdir()
    learned(a={"s2/r1"}, b={"s1/r1", "s1/r2"}).write(again)
    assert (again / FILE).read_bytes() == (tmp_path / FILE).read_bytes(), "the order of sets changes no bytes"
    assert Learned.read(tmp_path / "nowhere") == Learned(), "nothing is known of it, nor that this is all"
    learned(complete=False).write(again)
    assert not Learned.read(again).complete


def test_what_either_part_knows_the_model_knows(tmp_path: Path) -> None:
    inside = tmp_path / "tokenizers" / "eeg"
    inside.mkdir(parents=True)
    assert Learned.of_model(tmp_path) == Learned()
    learned(a={"s1/r1"}, b={"s1/r1"}).write(tmp_path)
    half = Learned.of_model(tmp_path)
    assert half == learned(complete=False, a={"s1/r1"}, b={"s1/r1"}), "what one part says, and that it is not all"
    learned(b={"s1/r2"}, c={"s1/r9"}).write(inside)
    assert Learned.of_model(tmp_path) == learned(a={"s1/r1"}, b={"s1/r1", "s1/r2"}, c={"s1/r9"})


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", DataError, "not valid JSON"),
        ("[]", CheckpointError, "copy the folder again"),
        ('{"format": 2, "complete": true, "train": {}, "validation": {}}', CheckpointError, "format 2, expected 1"),
        ('{"format": 1, "complete": true, "train": {"a": 3}, "validation": {}}', CheckpointError, "of a are no list"),
        ('{"format": 1, "complete": true, "train": {"a": "s/r"}, "validation": {}}', CheckpointError, "are no list"),
        ('{"format": 1, "complete": true, "train": {}}', CheckpointError, "validation"),
        ('{"format": 1, "train": {}, "validation": {}}', CheckpointError, "complete"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str, error: type[Exception], message: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(error, match=message) as caught:
        Learned.read(tmp_path)
    assert FILE in str(caught.value)
