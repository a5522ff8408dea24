"""Picture files at the border: what is read, and what is refused by name."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroleon.common.errors import DataError
from neuroleon.common.pictures import find_pictures, load_picture, open_picture


def stripes() -> Image.Image:
    """90 x 30: a red, a green and a blue square."""
    picture = np.zeros((30, 90, 3), np.uint8)
    for i in range(3):
        picture[:, 30 * i : 30 * (i + 1), i] = 255
    return Image.fromarray(picture)


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_the_middle_square_is_taken(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"stripes.{suffix}"
    stripes().save(path, quality=95)
    picture = load_picture(path, 16)
    assert picture.shape == (16, 16, 3)
    assert picture.dtype == np.uint8
    assert np.abs(picture[4:12, 4:12].astype(int) - (0, 255, 0)).max() < 12


def test_a_turned_photograph_is_turned_back(tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    stripes().save(path, exif=exif)
    assert open_picture(path).shape == (90, 30, 3)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(path)
    assert (load_picture(path, 20) == 255).all()


def test_a_small_file_that_claims_a_huge_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match=r"bomb\.png.*9000 x 9000"):
        open_picture(path)


@pytest.mark.parametrize("kind", ["text", "cut", "gif", "16 bit", "folder", "absent", "empty"])
def test_bad_files_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture.png"
    if kind == "text":
        path.write_text("not a picture")
    elif kind == "gif":
        stripes().save(path, format="GIF")
    elif kind == "16 bit":
        Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(path)
    elif kind == "cut":
        stripes().save(path)
        path.write_bytes(path.read_bytes()[:-60])
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    with pytest.raises(DataError, match=r"picture\.png"):
        load_picture(path, 16)


def test_a_picture_too_small_to_enlarge_is_refused(tmp_path: Path) -> None:
    stripes().save(tmp_path / "small.png")
    load_picture(tmp_path / "small.png", 60)
    with pytest.raises(DataError, match="90 x 30 pixels, expected at least 32 a side"):
        load_picture(tmp_path / "small.png", 64)


def test_pictures_are_found_in_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b.PNG", "a.jpeg", "in/c.webp", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in find_pictures(tmp_path)] == ["a.jpeg", "b.PNG", "c.webp"]
    for folder in (tmp_path / "none", tmp_path / "in" / "c.webp"):
        with pytest.raises(DataError, match=folder.name):
            find_pictures(folder)
