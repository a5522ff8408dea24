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
_VERTEX = {"VREF", "VERTEX REFERENCE"}  # what EGI's files call the reference, Cz
EARS = frozenset({"A1", "A2", "M1", "M2"})
_SAME_PLACE = {
    # Neuroscan's cerebellar electrodes. Two location files are in use: that of the Tsinghua SSVEP benchmark puts them
    # 40 degrees below the ring of O1, that of SEED on it, next to O1 (mne: POO7). PO9 is 0.4 head radii from either.
    "CB1": "PO9",
    "CB2": "PO10",
    # Silverman's anterior temporal electrodes (1960): a third of the way from the ear canal to the corner of the eye.
    "T1": "FT9",
    "T2": "FT10",
    # Jurcak et al. (2007) call the places between PO9 and Iz O9 and O10; mne's template calls them I1 and I2.
    "O9": "I1",
    "O10": "I2",
}
_TEN_FIVE = re.compile(
    r"(AFP|AFF|FFT|FFC|FTT|FCC|TTP|CCP|TPP|CPP|PPO|POO|OI|FP|AF|FT|FC|TP|CP|PO|CB|[FCTPOINAM])(?:0*([1-9]\d?)|(Z))(H?)"
)
_PREFIX = re.compile(r"^(?:EEG|POL)[ _:-]+", re.IGNORECASE)
_RUNNING_NUMBER = re.compile(r"(?<=.)-\d+$")  # mne's mark of a name that is twice in the file
_REFERENCE = re.compile(  # CLE and LER, linked ears, are the words of MASS
    r"(?<=.)[-_ ](?:REF|C?LE|LER|AVG?|AR|CAR|A1\+?A2|M1\+?M2)$", re.IGNORECASE
)
_EAR_REFERENCE = re.compile(r"(.+?) ?- ?(?:A1|A2|M1|M2)", re.IGNORECASE)
_PAIR = re.compile(r"([^-]+)-([^-]+)")
_CAP_LETTER = re.compile(r"([A-H]) ?0*([1-9]\d{0,2})", re.IGNORECASE)
_CAP_LETTER_ONLY = re.compile(r"A([3-9]|[12]\d|3[0-2])|[BDGH]\d+")  # no names of 10-05
_NET = re.compile(r"E[1-9]\d*")

_KINDS = {
    "ecg": r"ECG|EKG|HEART",
    "eog": r"[HV]?EOG|[HV]EO[LRUD]?$|LOC$|ROC$|EYE",
    "emg": r"[A-Z]?EMG|CHIN|TIBIALIS",
    "stim": r"STI(M|\b|[ _]?\d)|STATUS|TRIG|EVENT|DIN[ _]?\d|MARKER(?!INDEX|TYPE)",
    "misc": r"ACC|GYRO|MAG|QUAT|AUX|COUNTER|INTERPOLATED|BATTERY|MARKER|(RAW_)?CQ|EQ_|(OR_)?TIME|SAMPLE|RESP|SPO2"
    r"|SAO2|OSAT|PULSE|PLET|PPG|TEMP|GSR|EDA|ERG|PHOTIC|IBI|BURSTS|SUPPR|DC\d|EXG|HR$|PR$|(EDF|BDF) ANNOTATIONS",
}


def _electrode(text: str) -> str | None:
    """Our spelling of what looks like the name of one electrode, else None."""
    if match := _TEN_FIVE.fullmatch(text.upper()):
        area, number, midline, half = match.groups()
        name = area.replace("FP", "Fp") + (number or midline.lower()) + half.lower()
        return _OLD_NAMES.get(name, name)
    if match := _CAP_LETTER.fullmatch(text):
        return match[1].upper() + match[2]
    return "Cz" if text.upper() in _VERTEX else None


def _simplify(name: str) -> str:
    text = " ".join(name.split())
    text = _RUNNING_NUMBER.sub("", _PREFIX.sub("", text)).rstrip(".")
    text = _REFERENCE.sub("", text)
    against_ear = _EAR_REFERENCE.fullmatch(text)
    if against_ear and against_ear[1].upper() not in EARS:
        text = against_ear[1]
    if match := _PAIR.fullmatch(text):
        ends = [_electrode(_PREFIX.sub("", end.strip()).rstrip(".")) for end in match.groups()]
        return text if None in ends else "-".join(map(str, ends))
    return _electrode(text) or text


def canonical_name(raw: str) -> str:
    """The one spelling of an electrode's name: `EEG FP1-REF` and `Fp1.` are `Fp1`, `T3` is `T7`.

    Strips prefixes, the reference (`-REF`, `-LE`, an ear), padding and mne's running numbers. A derivation of two
    electrodes keeps both: `EEG F7-T3` is `F7-T7`. Other names come back as they are. Idempotent.
    """
    while (simple := _simplify(raw)) != raw:
        raw = simple
    return raw


def derivation(name: str) -> tuple[str, str] | None:
    """Anode and cathode, in our spelling, of a channel that is the difference of two electrodes; None for others."""
    match = _PAIR.fullmatch(canonical_name(name))
    return (match[1], match[2]) if match and _electrode(match[1]) and _electrode(match[2]) else None


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


def file_positions(names: Sequence[str], positions_m: np.ndarray) -> np.ndarray:
    """Positions that a file gives, float32 (n, 3) in head radii; NaN where it gives none or one that is nonsense.

    `positions_m` (n, 3) are in mne's head frame and metres, NaN or zeros where unknown. Single electrodes far from the
    head are not used. None is used where a quarter of them is not on a head, or where 10-05 names say other places:
    then the axes or the unit are not what they should be.
    """
    result = np.full(positions_m.shape, np.nan, np.float32)
    known = np.flatnonzero(np.isfinite(positions_m).all(axis=1) & positions_m.any(axis=1))
    if not len(known):
        return result
    distance_m = np.linalg.norm(positions_m[known] - np.median(positions_m[known], axis=0), axis=1)
    near = known[distance_m <= 3 * np.median(distance_m)]  # a lost electrode must not move the sphere of the others
    result[near] = to_head_radii(positions_m[near])
    distance = np.linalg.norm(result, axis=1)
    result[~((distance > 0.5) & (distance < 1.6))] = np.nan
    on_head = np.isfinite(result).all(axis=1)
    sure = [i for i in np.flatnonzero(on_head).tolist() if _is_ten_five_only(canonical_name(names[i]))]
    by_name = electrode_positions([names[i] for i in sure])[:, :3]
    off = np.linalg.norm(by_name - result[sure], axis=1)
    turned = len(sure) >= 4 and float(np.median(off)) > 0.5
    return np.full_like(result, np.nan) if turned or on_head.sum() < 0.75 * len(known) else result


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
    known = _template("colin27_1005" if "colin27_1005" in get_builtin_montages() else "standard_1005")
    return known | {name: known[same] for name, same in _SAME_PLACE.items()}


def _is_ten_five_only(name: str) -> bool:
    """Whether only 10-05 has this name: C3 is also an electrode of a BioSemi cap, A1 too, Cz is not."""
    return name in _ten_five() and not _CAP_LETTER.fullmatch(name)


def _biosemi(letters: list[str]) -> dict[str, np.ndarray]:
    """Positions of a BioSemi cap whose channels are called A1, A2 ...: the last letter in use tells which cap it is.

    Nothing where a quarter of that cap's electrodes is missing: then it may be a part of a larger one, in which A5 is
    another place.
    """
    caps = {"A": "biosemi32", "B": "biosemi64", "C": "biosemi128", "D": "biosemi128", "E": "biosemi160"}
    last = max(name[0] for name in letters)
    layout = _template(caps.get(last, "biosemi256"))
    if last <= "B":
        layout = {f"{'AB'[i // 32]}{i % 32 + 1}": position for i, position in enumerate(layout.values())}
    return layout if len(layout.keys() & set(letters)) >= 0.75 * len(layout) else {}


def _geodesic(net: list[str]) -> dict[str, np.ndarray]:
    """Positions of a GSN-HydroCel net, E1 to E32, E64, E128 or E256; one more is the vertex, its reference.

    The two small nets only where a quarter of their electrodes at most is missing: few low numbers may be of any net.
    """
    highest = max(int(name[1:]) for name in net)
    size = next((size for size in (32, 64, 128) if highest <= size + 1), 256)
    if size <= 64 and len(net) < 0.75 * size:
        return {}
    with_vertex = {32: "GSN-HydroCel-32", 64: "GSN-HydroCel-65_1.0"}.get(size, f"GSN-HydroCel-{size + 1}")
    layout = dict(_template(with_vertex))
    vertex = layout.pop("Cz")
    return layout | {f"E{size + 1}": vertex}


def _known_positions(names: set[str]) -> dict[str, np.ndarray]:
    """Positions by name, given all names of a recording, in our spelling: they tell which cap it is."""
    letters = [name for name in names if _CAP_LETTER.fullmatch(name)]
    cap_only = [name for name in letters if _CAP_LETTER_ONLY.fullmatch(name)]
    if len(cap_only) > sum(_is_ten_five_only(name) for name in names - EARS):
        # C3 of a cap with letters is not C3 of 10-05, even where the cap is not known
        elsewhere = {name: place for name, place in _ten_five().items() if not _CAP_LETTER.fullmatch(name)}
        return elsewhere | _biosemi(letters)
    net = [name for name in names if _NET.fullmatch(name)]
    return _ten_five() | (_geodesic(net) if len(net) >= 8 else {})


def electrode_positions(names: Sequence[str]) -> np.ndarray:
    """Template positions of the named electrodes, float32 (n, 3) in head radii; NaN where a name is unknown.

    10-05 names come from mne's template. `A1 ... H32` is a BioSemi cap where most names are such that 10-05 does not
    have (A3, B1 ...; A1 and A2 alone are the ears) and three quarters of the cap are there; at least eight names
    `E1 ...` are a GSN-HydroCel net. Where any name is a derivation, the result is (n, 6): anode and cathode, both NaN
    where one is unknown; the cathode of single electrodes is NaN.
    """
    pairs = [derivation(name) or (canonical_name(name), None) for name in names]
    known = _known_positions({end for pair in pairs for end in pair if end})
    unknown = np.full(3, np.nan, np.float32)
    rows = [[known.get(end, unknown) if end else unknown for end in pair] for pair in pairs]
    positions = np.array(rows, np.float32).reshape(-1, 6)
    bipolar = np.array([cathode is not None for _, cathode in pairs], bool)
    if not bipolar.any():
        return positions[:, :3]
    positions[bipolar & ~np.isfinite(positions).all(axis=1)] = np.nan
    return positions


def electrodes(positions: np.ndarray) -> np.ndarray:
    """What the EEG tokenizer reads of channels: float32 (n, 7), their electrode, the one it is against, and 0 or 1.

    `positions` is (n, 3), one electrode each, or (n, 6), anode and cathode of bipolar derivations, where a NaN cathode
    is the common reference. The last column says whether there is a cathode; its place is 0 where there is none.
    """
    positions = np.asarray(positions, np.float32)
    cathode = positions[:, 3:] if positions.shape[1] == 6 else np.full_like(positions, np.nan)
    bipolar = np.isfinite(cathode).all(axis=1, keepdims=True)
    return np.concatenate([positions[:, :3], np.where(bipolar, cathode, 0.0), bipolar], axis=1).astype(np.float32)
