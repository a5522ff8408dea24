"""Picture files, opened safely: uint8 (height, width, 3) RGB, or a DataError that names the file."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from neuroleon.common.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MAX_PIXELS = 64_000_000  # 8000 x 8000; a small file can claim far more and fill the memory
# What Pillow turns into 8-bit RGB without losing range; 16-bit and float pictures it would cut off.
MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})


def find_pictures(folder: Path) -> list[Path]:
    """Every PNG, JPEG and WEBP file under `folder`, sorted.

    Raises:
        DataError: no such folder, or no picture in it.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder}: no picture here; expected a folder with .png, .jpg, .jpeg or .webp files")
    return found


def _opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels, at most {MAX_PIXELS} are read")
    if image.mode not in MODES:
        raise ValueError(f"pixels are {image.mode}, 8-bit colour or grey is read")
    return ImageOps.exif_transpose(image)


def decode_picture(content: bytes, where: str) -> np.ndarray:
    """The whole picture, turned as its EXIF says; transparent parts over white.

    Raises:
        DataError: not PNG/JPEG/WEBP, damaged, cut short, too large, or not 8-bit; `where` names it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns where it guesses (bad EXIF, huge pictures)
            image = _opened(content).convert("RGBA")
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError) as error:
        raise DataError(
            f"{where}: not a readable {', '.join(FORMATS)} picture ({error}); copy or convert it again"
        ) from None
    white = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(white, image).convert("RGB"))


def open_picture(path: Path) -> np.ndarray:
    """`decode_picture` of a file.

    Raises:
        DataError: absent, or as `decode_picture`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a picture file") from None
    return decode_picture(content, str(path))


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 (h, w, 3) -> (height, width, 3)."""
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def centre_square(picture: np.ndarray, size: int) -> np.ndarray:
    """The largest square in the middle of uint8 (h, w, 3), at (size, size, 3)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(picture[top : top + side, left : left + side], size, size)


def enlargeable_square(picture: np.ndarray, size: int, where: str) -> np.ndarray:
    """`centre_square`, at most twice as large as it was.

    Raises:
        DataError: the short side is under size / 2, too little to enlarge; `where` names the picture.
    """
    height, width = picture.shape[:2]
    if 2 * min(height, width) < size:
        raise DataError(
            f"{where}: {width} x {height} pixels, expected at least {-(-size // 2)} a side; use a larger picture"
        )
    return centre_square(picture, size)


def load_picture(path: Path, size: int) -> np.ndarray:
    """The largest square in the middle of a picture file, at uint8 (size, size, 3).

    Raises:
        DataError: as `open_picture` and `enlargeable_square`.
    """
    return enlargeable_square(open_picture(path), size, str(path))
