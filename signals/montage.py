"""Electrode names and positions: one spelling for each name, one coordinate frame for all caps.

The frame: x right, y front, z up (mne's head coordinates); origin and unit are centre and radius of the sphere through
the electrodes. mne's templates differ in origin by up to 45 mm, and files in unit: on the sphere all caps compare.
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np

# The sphere of a whole cap, in mne's head frame and in metres: mne's templates give 0.093 to 0.0975, 0.038 to 0.042 up.
HEAD_RADIUS_M = 0.095
HEAD_CENTRE_M = np.array([0.0, 0.0, 0.04])

_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}  # the 10-20 names before 1991
_EARS = {"A1", "A2", "M1", "M2"}
_TEN_FIVE = re.compile(
    r"(AFP|AFF|FFT|FFC|FTT|FCC|TTP|CCP|TPP|CPP|PPO|POO|OI|FP|AF|FT|FC|TP|CP|PO|[FCTPOINAM])(Z|\d{1,2})(H?)"
)
_PREFIX = re.compile(r"^(?:EEG|POL)[ _:-]+", re.IGNORECASE)
_RUNNING_NUMBER = re.compile(r"(?<=.)-\d+$")  # mne's mark of a name that is twice in the file
_REFERENCE = re.compile(r"(?<=.)[-_ ](?:REF|LE|AVG?|AR|CAR|A1A2|M1M2)$", re.IGNORECASE)
_EAR_REFERENCE = re.compile(r"(.+)-(?:A1|A2|M1|M2)", re.IGNORECASE)
_CAP_LETTER = re.compile(r"([A-H])0*([1-9]\d{0,2})", re.IGNORECASE)

_KINDS = {
    "ecg": r"ECG|EKG|HEART",
    "eog": r"[HV]?EOG|[HV]EO[LRUD]?$|LOC$|ROC$|EYE",
    "emg": r"[A-Z]?EMG|CHIN|TIBIALIS",
    "stim": r"STI(M|\b|[ _]?\d)|STATUS|TRIG|EVENT|DIN[ _]?\d|MARKER(?!INDEX|TYPE)",
    "misc": r"ACC|GYRO|MAG|QUAT|AUX|COUNTER|INTERPOLATED|BATTERY|MARKER|(RAW_)?CQ|EQ_|(OR_)?TIME|SAMPLE|RESP|SPO2"
    r"|SAO2|OSAT|PULSE|PLET|PPG|TEMP|GSR|EDA|ERG|PHOTIC|IBI|BURSTS|SUPPR|DC\d|EXG|HR$|PR$|(EDF|BDF) ANNOTATIONS",
}


def _simplify(name: str) -> str:
    text = " ".join(name.split())
    text = _RUNNING_NUMBER.sub("", _PREFIX.sub("", text)).rstrip(".")
    text = _REFERENCE.sub("", text)
    against_ear = _EAR_REFERENCE.fullmatch(text)
    if against_ear and against_ear[1].upper() not in _EARS:
        text = against_ear[1]
    if match := _TEN_FIVE.fullmatch(text.upper()):
        text = match[1].replace("FP", "Fp") + match[2].lower() + match[3].lower()
        return _OLD_NAMES.get(text, text)
    if match := _CAP_LETTER.fullmatch(text):
        return match[1].upper() + match[2]
    return text


def canonical_name(raw: str) -> str:
    """The one spelling of an electrode's name: `EEG FP1-REF` and `Fp1.` are `Fp1`, `T3` is `T7`.

    Strips prefixes, the reference, padding and mne's running numbers; other names come back as they are. Idempotent.
    """
    while (simple := _simplify(raw)) != raw:
        raw = simple
    return raw


def channel_kind(name: str) -> str:
    """`ecg`, `eog`, `emg`, `stim`, `misc` (sensors, clocks, signal quality) or, for every other name, `eeg`."""
    text = canonical_name(name).upper()
    return next((kind for kind, pattern in _KINDS.items() if re.match(pattern, text)), "eeg")


def to_head_radii(positions_m: np.ndarray) -> np.ndarray:
    """Electrode positions (n, 3) in mne's head frame, from metres (or any unit, of a whole cap) to our frame.

    Sixteen electrodes or more are a cap to which a sphere can be fitted; fewer are put on the usual head.
    """
    centre, radius = HEAD_CENTRE_M, HEAD_RADIUS_M
    if len(positions_m) >= 16:
        # |p|^2 = 2 p.c + (r^2 - |c|^2) is linear in the centre c
        system = np.column_stack([2 * positions_m, np.ones(len(positions_m))])
        *fitted, rest = np.linalg.lstsq(system, (positions_m**2).sum(1), rcond=None)[0]
        centre = np.array(fitted)
        radius = float(np.sqrt(rest + centre @ centre))
    return ((positions_m - centre) / radius).astype(np.float32)


@cache
def _template(name: str) -> dict[str, np.ndarray]:
    """Electrode name -> position of one of mne's montages, in the montage's own order of names."""
    from mne.channels import make_standard_montage
    from mne.channels.montage import transform_to_head

    positions = transform_to_head(make_standard_montage(name)).get_positions()["ch_pos"]
    return dict(zip(positions, to_head_radii(np.stack(list(positions.values()))), strict=True))


@cache
def _ten_five() -> dict[str, np.ndarray]:
    from mne.channels import get_builtin_montages

    # mne 1.13 renamed standard_1005; both names are the same positions
    return _template("colin27_1005" if "colin27_1005" in get_builtin_montages() else "standard_1005")


def _biosemi(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Positions of a BioSemi cap whose channels are called A1, A2 ...: the last letter in use tells which cap it is."""
    caps = {"A": "biosemi32", "B": "biosemi64", "C": "biosemi128", "D": "biosemi128", "E": "biosemi160"}
    last = max(name[0] for name in names if _CAP_LETTER.fullmatch(name))
    layout = _template(caps.get(last, "biosemi256"))
    if last > "B":
        return layout
    return {f"{'AB'[i // 32]}{i % 32 + 1}": position for i, position in enumerate(layout.values())}


def _geodesic(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Positions of a GSN-HydroCel net, E1 to E128 or to E256; one more is the vertex, its reference."""
    size = 128 if max(int(name[1:]) for name in names) <= 129 else 256
    layout = _template(f"GSN-HydroCel-{size}")
    return layout | {f"E{size + 1}": _template(f"GSN-HydroCel-{size + 1}")["Cz"]}


def electrode_positions(names: Sequence[str]) -> np.ndarray:
    """Template positions of the named electrodes, float32 (n, 3) in head radii; NaN where a name is unknown.

    10-05 names come from mne's template. `A1 ... H32` is a BioSemi cap where a name says so that 10-05 does not have
    (A3, B1 ...; A1 and A2 alone are the ears); at least eight names `E1 ...` are a GSN-HydroCel net.
    """
    canonical = [canonical_name(name) for name in names]
    known = dict(_ten_five())
    if any(re.fullmatch(r"A([3-9]|[12]\d|3[0-2])|[BDGH]\d+", name) for name in canonical):
        known |= _biosemi(canonical)
    elif len(net := [name for name in canonical if re.fullmatch(r"E\d+", name)]) >= 8:
        known |= _geodesic(net)
    unknown = np.full(3, np.nan, np.float32)
    return np.stack([known.get(name, unknown) for name in canonical]) if canonical else np.zeros((0, 3), np.float32)


def electrodes(positions: np.ndarray) -> np.ndarray:
    """What the EEG tokenizer reads of channels: float32 (n, 7), their electrode, the one it is recorded against, 0 or 1.

    `positions` is (n, 3), one electrode each, or (n, 6), anode and cathode of bipolar derivations, where a NaN cathode is
    the common reference. The last column says whether there is a cathode; its place is 0 where there is none.
    """
    positions = np.asarray(positions, np.float32)
    cathode = positions[:, 3:] if positions.shape[1] == 6 else np.full_like(positions, np.nan)
    bipolar = np.isfinite(cathode).all(axis=1, keepdims=True)
    return np.concatenate([positions[:, :3], np.where(bipolar, cathode, 0.0), bipolar], axis=1).astype(np.float32)
