"""Stimulus pictures, drawn exactly: the same pixels on every machine, 64 x 64 RGB, from a kind and its parameters.

A drawing shows what the person looked at (glyph, grating, lamps, field, shape) or, where nothing was looked at, stands
for what the person did (motor, card): those are icons, and so is a flicker, which no still picture can show.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from neuroleon.common.errors import ConfigError

BACKGROUND = (24, 26, 32)
LIGHT = (240, 240, 240)
DIM = (92, 96, 106)
LAMP_ON = (255, 214, 64)
FIST = (224, 172, 140)

OVERSAMPLING = 4  # shapes are drawn four times as large and averaged, so that their edges are smooth

# The part of the screen that a grating picture shows, in degrees of visual angle. 5 degrees hold half a cycle of the
# coarse grating (0.1 cycles per degree: one slope from dark to bright) and 20.5 cycles of the fine one (4.1 cycles per
# degree: 3.1 pixels per cycle at 64 pixels, above the 2 that sampling needs). A wider field would alias the fine one.
GRATING_FIELD_DEG = 5.0


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans Bold as matplotlib ships it: fonts of the system differ from machine to machine."""
    import matplotlib as mpl

    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


class _Canvas:
    """A square on which places are fractions of its side, (0, 0) top left."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = size * OVERSAMPLING
        self.picture = Image.new("RGB", (self.side, self.side), BACKGROUND)
        self.pen = ImageDraw.Draw(self.picture)

    def disc(self, x: float, y: float, radius: float, fill: tuple[int, int, int]) -> None:
        box = [(x - radius) * self.side, (y - radius) * self.side, (x + radius) * self.side, (y + radius) * self.side]
        self.pen.ellipse(box, fill=fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: tuple[int, int, int], corner: float = 0) -> None:
        places = [value * self.side for value in (x0, y0, x1, y1)]
        self.pen.rounded_rectangle(places, radius=corner * self.side, fill=fill)

    def cross(self, x: float = 0.5, y: float = 0.5, arm: float = 0.12, fill: tuple[int, int, int] = LIGHT) -> None:
        thick = arm / 5
        self.box(x - arm, y - thick, x + arm, y + thick, fill)
        self.box(x - thick, y - arm, x + thick, y + arm, fill)

    def text(self, words: str, width: float = 0.84, height: float = 0.7, y: float = 0.5) -> None:
        """`words` in one line, as large as `width` and `height` allow, its ink centred on (0.5, y).

        No line counts as lower than a capital letter (0.73 of the font size): a full stop stays small.
        """
        points = self.side
        left, top, right, bottom = self.pen.textbbox((0, 0), words, font=_font(points))
        scale = min(width * self.side / (right - left), height * self.side / max(bottom - top, 0.73 * points))
        font = _font(max(1, int(points * scale)))
        left, top, right, bottom = self.pen.textbbox((0, 0), words, font=font)
        place = ((self.side - left - right) / 2, y * self.side - (top + bottom) / 2)
        self.pen.text(place, words, font=font, fill=LIGHT)

    def pixels(self) -> np.ndarray:
        return np.asarray(self.picture.reduce(OVERSAMPLING), np.uint8)


def _glyph(size: int, *, text: str) -> np.ndarray:
    """A letter, digit or word, white on dark."""
    if not text.strip() or len(text) > 12:
        raise ConfigError(f"glyph {text!r}: expected 1 to 12 characters that can be seen")
    canvas = _Canvas(size)
    canvas.text(text)
    return canvas.pixels()


def _grating(size: int, *, cycles_per_degree: float, orientation_deg: float) -> np.ndarray:
    """A sine grating of full contrast under a circular mask on mid grey, `GRATING_FIELD_DEG` wide.

    Orientation 0 has vertical stripes and turns clockwise (PsychoPy's convention). The middle is a zero crossing.
    """
    if not 0 < cycles_per_degree * GRATING_FIELD_DEG <= size / 2:
        limit = size / 2 / GRATING_FIELD_DEG
        raise ConfigError(f"grating of {cycles_per_degree} cycles per degree: {size} pixels show at most {limit:.1f}")
    centres = ((np.arange(size) + 0.5) / size - 0.5) * GRATING_FIELD_DEG
    x, y = np.meshgrid(centres, centres)  # y points down
    angle = np.deg2rad(orientation_deg)
    wave = np.sin(2 * np.pi * cycles_per_degree * (x * np.cos(angle) + y * np.sin(angle)))
    inside = np.hypot(x, y) <= GRATING_FIELD_DEG / 2
    grey = np.rint(127.5 + 127.5 * wave * inside).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


_LAMP_PLACES = ((0.5, 0.22), (0.22, 0.74), (0.78, 0.74))


def _lamps(size: int, *, attended: int | None) -> np.ndarray:
    """A panel with three groups of four LEDs and a fixation cross; the group looked at is lit; if none, the cross is.

    Where each group was on the panel is not published: the order of the three places is ours.
    """
    if attended not in (None, 0, 1, 2):
        raise ConfigError(f"lamps: attended is {attended!r}; expected 0, 1, 2, or null for the fixation cross")
    canvas = _Canvas(size)
    canvas.box(0.03, 0.03, 0.97, 0.97, (44, 47, 56), corner=0.06)
    for group, (x, y) in enumerate(_LAMP_PLACES):
        for dx, dy in ((-0.07, -0.07), (0.07, -0.07), (-0.07, 0.07), (0.07, 0.07)):
            canvas.disc(x + dx, y + dy, 0.055, LAMP_ON if group == attended else DIM)
    canvas.cross(0.5, 0.55, 0.09, LIGHT if attended is None else DIM)
    return canvas.pixels()


def _flicker(size: int, *, hz: float) -> np.ndarray:
    """A flickering light: its rays stand for its rate, one for every 2.5 Hz. A still picture cannot flicker."""
    rays = round(hz / 2.5)
    if not 2 <= rays <= 24:
        raise ConfigError(f"flicker at {hz} Hz: expected 5 to 60 Hz")
    canvas = _Canvas(size)
    canvas.disc(0.5, 0.5, 0.17, LAMP_ON)
    for angle in np.arange(rays) * 2 * np.pi / rays:
        direction = np.array([np.sin(angle), -np.cos(angle)])
        ends = [tuple((0.5 + r * direction) * canvas.side) for r in (0.24, 0.45)]
        canvas.pen.line(ends, fill=LAMP_ON, width=round(0.045 * canvas.side))
    return canvas.pixels()


def _side(side: str, what: str) -> float:
    if side not in ("left", "right"):
        raise ConfigError(f"{what}: side is {side!r}; expected left or right")
    return -1.0 if side == "left" else 1.0


def _field(size: int, *, side: str) -> np.ndarray:
    """A fixation cross and a disc in the left or the right visual field."""
    canvas = _Canvas(size)
    canvas.cross(arm=0.06, fill=DIM)
    canvas.disc(0.5 + 0.3 * _side(side, "field"), 0.5, 0.15, LIGHT)
    return canvas.pixels()


def _shape(size: int, *, shape: str) -> np.ndarray:
    """A filled circle or square of the same width."""
    if shape not in ("circle", "square"):
        raise ConfigError(f"shape: {shape!r}; expected circle or square")
    canvas = _Canvas(size)
    if shape == "circle":
        canvas.disc(0.5, 0.5, 0.28, LIGHT)
    else:
        canvas.box(0.22, 0.22, 0.78, 0.78, LIGHT)
    return canvas.pixels()


def _motor(size: int, *, side: str | None) -> np.ndarray:
    """An icon, not a stimulus: a closed hand and an arrow, left or right; for no side, a cross."""
    canvas = _Canvas(size)
    if side is None:
        canvas.cross(arm=0.2)
        return canvas.pixels()
    sign = _side(side, "motor")
    across = lambda offset: 0.5 + sign * offset  # noqa: E731
    span = lambda a, b: sorted((across(a), across(b)))  # noqa: E731
    left, right = span(0.1, 0.42)
    canvas.box(left, 0.2, right, 0.56, FIST, corner=0.08)
    for knuckle in range(1, 4):
        x = left + knuckle * (right - left) / 4
        canvas.box(x - 0.008, 0.2, x + 0.008, 0.38, BACKGROUND)
    left, right = span(0.04, 0.16)
    canvas.box(left, 0.36, right, 0.5, FIST, corner=0.05)
    left, right = span(-0.3, 0.24)
    canvas.box(left, 0.755, right, 0.805, LIGHT)
    tip = [(across(0.42), 0.78), (across(0.22), 0.68), (across(0.22), 0.88)]
    canvas.pen.polygon([(x * canvas.side, y * canvas.side) for x, y in tip], fill=LIGHT)
    return canvas.pixels()


def _card(size: int, *, text: str | None) -> np.ndarray:
    """A card with a word or a sum on it, or with a fixation cross when there is no text."""
    canvas = _Canvas(size)
    if text is None:
        canvas.cross(arm=0.2)
        return canvas.pixels()
    canvas.box(0.04, 0.2, 0.96, 0.8, (48, 66, 104), corner=0.08)
    canvas.text(text, width=0.76, height=0.4)
    return canvas.pixels()


DRAWINGS: dict[str, Callable[..., np.ndarray]] = {
    "glyph": _glyph,
    "grating": _grating,
    "lamps": _lamps,
    "flicker": _flicker,
    "field": _field,
    "shape": _shape,
    "motor": _motor,
    "card": _card,
}


def draw(kind: str, size: int = 64, **parameters: Any) -> np.ndarray:
    """uint8 (size, size, 3) picture of a stimulus; `DRAWINGS` holds the kinds.

    Raises:
        ConfigError: there is no such kind, or its parameters are missing, unknown or out of range.
    """
    if kind not in DRAWINGS:
        raise ConfigError(f"drawing {kind!r}: expected one of {', '.join(DRAWINGS)}")
    try:
        return DRAWINGS[kind](size, **parameters)
    except TypeError as error:
        raise ConfigError(f"drawing {kind} with {parameters}: {error}") from None
