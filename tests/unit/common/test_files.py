"""Files are written whole or not at all, and folders notice what changed in them."""

from pathlib import Path

import pytest

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.common.files import MANIFEST, atomic_folder, read_json, verify_folder, write_atomic, write_json


def write_folder(path: Path, text: str = "one") -> None:
    with atomic_folder(path) as folder:
        write_atomic(folder / "inside" / "a.txt", text)
        write_json(folder / "b.json", {"b": 1})


def test_a_file_keeps_its_content_when_the_new_one_cannot_be_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", [float("nan")])
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "a.json", "\ud800")
    assert read_json(tmp_path / "a.json") == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("content", ["", "{", "[NaN]", "[-Infinity]", "[" * 100_000])
def test_what_is_no_json_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_folder_appears_whole_and_is_replaced_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "m")
    verify_folder(tmp_path / "m")
    assert set(read_json(tmp_path / "m" / MANIFEST)) == {"inside/a.txt", "b.json"}
    write_folder(tmp_path / "m", "two")
    verify_folder(tmp_path / "m")
    assert (tmp_path / "m" / "inside" / "a.txt").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_an_error_inside_leaves_the_old_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "m")
    with pytest.raises(UnicodeEncodeError):
        write_folder(tmp_path / "m", "half \ud800")
    verify_folder(tmp_path / "m")
    assert (tmp_path / "m" / "inside" / "a.txt").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("damage", ["changed", "missing", "no manifest", "no folder"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    write_folder(tmp_path / "m")
    if damage == "changed":
        (tmp_path / "m" / "inside" / "a.txt").write_text("onE")
    elif damage == "missing":
        (tmp_path / "m" / "b.json").unlink()
    elif damage == "no manifest":
        (tmp_path / "m" / MANIFEST).unlink()
    folder = tmp_path / ("none" if damage == "no folder" else "m")
    expected = {"changed": r"a\.txt: sha256", "missing": r"b\.json: missing", "no manifest": "no manifest"}
    with pytest.raises(CheckpointError, match=expected.get(damage, "no such folder")):
        verify_folder(folder)
