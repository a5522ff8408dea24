"""Drawings are exact: what differs in the experiment differs in the picture, and nothing else does."""

import itertools

import numpy as np
import pytest

from neuroleon.common.errors import ConfigError
from neuroleon.data_pipeline.stimuli import GRATING_FIELD_DEG, draw

SETS = {
    "keys": [("glyph", {"text": c}) for c in [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.", "space", "backspace"]],
    "gratings": [
        ("grating", {"cycles_per_degree": f, "orientation_deg": o}) for f in (0.1, 4.1) for o in (0, 45, 90, 135)
    ],
    "lamps": [("lamps", {"attended": a}) for a in (0, 1, 2, None)],
    "flicker": [("flicker", {"hz": hz}) for hz in (20, 30)],
    "fields": [("field", {"side": side}) for side in ("left", "right")],
    "shapes": [("shape", {"shape": shape}) for shape in ("circle", "square")],
    "motor": [("motor", {"side": side}) for side in ("left", "right")],
    "cards": [("card", {"text": t}) for t in (None, "12 - 7", "GO", "NO GO")],
}


@pytest.mark.parametrize("name", SETS)
def test_pictures_of_a_set_can_be_told_apart(name: str) -> None:
    pictures = [draw(kind, **parameters).astype(float) for kind, parameters in SETS[name]]
    assert all(p.shape == (64, 64, 3) for p in pictures)
    nearest = min(np.sqrt(((a - b) ** 2).mean()) for a, b in itertools.combinations(pictures, 2))
    assert nearest > 15


def test_drawing_is_deterministic() -> None:
    for kind, parameters in itertools.chain(*SETS.values()):
        np.testing.assert_array_equal(draw(kind, **parameters), draw(kind, **parameters))


@pytest.mark.parametrize("cycles", [1.0, 4.1])
def test_grating_has_its_frequency_and_direction(cycles: float) -> None:
    row = draw("grating", cycles_per_degree=cycles, orientation_deg=0)[31, :, 0] - 127.5
    spectrum = np.abs(np.fft.rfft(row * np.hanning(64), 1024))
    assert spectrum.argmax() / 1024 * 64 == pytest.approx(cycles * GRATING_FIELD_DEG, abs=0.6)
    column = draw("grating", cycles_per_degree=cycles, orientation_deg=0)[16:48, 31, 0]
    assert np.ptp(column) == 0
    upright, turned = (draw("grating", cycles_per_degree=cycles, orientation_deg=o) for o in (0, 90))
    np.testing.assert_array_equal(upright.transpose(1, 0, 2), turned)


def test_grating_at_45_degrees_is_turned_clockwise() -> None:
    """PsychoPy's convention: vertical stripes turned clockwise run from bottom left to top right."""
    grey = draw("grating", cycles_per_degree=1.0, orientation_deg=45)[..., 0].astype(float)
    middle = grey[20:44, 20:44]
    along = np.abs(middle[1:, :-1] - middle[:-1, 1:]).mean()
    across = np.abs(middle[1:, 1:] - middle[:-1, :-1]).mean()
    assert along < 1 < across


def test_grating_outside_the_mask_is_grey() -> None:
    assert (draw("grating", cycles_per_degree=4.1, orientation_deg=45)[[0, 0, -1, -1], [0, -1, 0, -1]] == 128).all()


@pytest.mark.parametrize(("kind", "parameters"), [("field", {}), ("motor", {})])
def test_sides_are_mirror_images(kind: str, parameters: dict) -> None:
    left, right = (draw(kind, side=side, **parameters).astype(float) for side in ("left", "right"))
    assert np.abs(left[:, ::-1] - right).mean() < 4
    assert np.abs(left - right).mean() > 10


def test_a_full_stop_is_smaller_than_a_letter() -> None:
    ink = {text: (draw("glyph", text=text) > 128).sum() for text in (".", "A")}
    assert 20 < ink["."] < ink["A"] / 3


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("glyf", {}, "expected one of glyph"),
        ("glyph", {}, "missing"),
        ("glyph", {"text": "  "}, "can be seen"),
        ("glyph", {"text": "A", "colour": 1}, "colour"),
        ("grating", {"cycles_per_degree": 9.0, "orientation_deg": 0}, "at most 6.4"),
        ("lamps", {"attended": 3}, "expected 0, 1, 2"),
        ("flicker", {"hz": 1}, "5 to 60"),
        ("field", {"side": "up"}, "left or right"),
    ],
)
def test_wrong_parameters_are_named(kind: str, parameters: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(kind, **parameters)
