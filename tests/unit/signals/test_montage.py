import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.signals.montage import canonical_name, channel_kind, electrode_positions

SPELLINGS = {
    "EEG Fp1": "Fp1",
    "EEG FP1-REF": "Fp1",
    "EEG T3-LE": "T7",
    "T4": "T8",
    "T5": "P7",
    "T6": "P8",
    "Fc5.": "FC5",
    "CZ": "Cz",
    "FPZ": "Fpz",
    "POL F3": "F3",
    "C3-A2": "C3",
    "Cz-1": "Cz",  # mne's mark of a duplicate
    "afp5h": "AFp5h",
    "E007": "E7",
    "EEG A2-A1": "A2-A1",
    "T8-P8-0": "T8-P8",
    "nd": "nd",
}


@pytest.mark.parametrize(("raw", "ours"), SPELLINGS.items())
def test_every_spelling_becomes_ours(raw: str, ours: str) -> None:
    assert canonical_name(raw) == ours


WORDS = st.sampled_from([*SPELLINGS, "EEG ", "POL ", "-REF", "-A1", "-0", ".", " ", "T3", "cpz"])


@given(st.one_of(st.text(max_size=20), st.lists(WORDS, max_size=4).map("".join)))
def test_canonical_name_is_idempotent(raw: str) -> None:
    once = canonical_name(raw)
    assert canonical_name(once) == once


def test_all_of_mnes_10_05_names_are_canonical_and_placed() -> None:
    from mne.channels import get_builtin_montages, make_standard_montage

    names = make_standard_montage(
        "colin27_1005" if "colin27_1005" in get_builtin_montages() else "standard_1005"
    ).ch_names
    assert [canonical_name(n) for n in names if n not in {"T3", "T4", "T5", "T6"}] == [
        n for n in names if n not in {"T3", "T4", "T5", "T6"}
    ]
    assert np.isfinite(electrode_positions(names)).all()


@pytest.mark.parametrize(
    ("kind", "names"),
    {
        "eeg": ["EEG Fp1", "TP9", "E12", "A1", "C3", "EEG T3-REF", "PO3"],
        "ecg": ["ECG", "ECG ECG", "EEG EKG1-REF"],
        "eog": ["EOG1", "HEOG", "VEO", "EEG LOC-REF"],
        "emg": ["EMG Chin", "EEG EMG-REF"],
        "stim": ["STI 014", "Status", "TRIG", "Trigger", "MARKER_HARDWARE", "MarkerValueInt", "DIN1"],
        "misc": ["COUNTER", "GYROX", "GYRO X", "CQ_AF3", "EQ_O1", "RAW_CQ", "BATTERY_PERCENT", "ACC_X", "TIME_STAMP_s"],
    }.items(),
)
def test_kind_is_known_by_name(kind: str, names: list[str]) -> None:
    assert {name: channel_kind(name) for name in names} == dict.fromkeys(names, kind)


def test_axes_are_right_front_up_and_the_unit_is_the_head() -> None:
    right, front, top, back = electrode_positions(["T8", "Fpz", "Cz", "Oz"])
    assert right[0] > 0.7
    assert front[1] > 0.7
    assert top[2] > 0.9
    assert back[1] < -0.7
    assert electrode_positions(["Cz"]).dtype == np.float32
    assert electrode_positions([]).shape == (0, 3)


def test_an_unknown_name_has_no_position() -> None:
    assert np.isnan(electrode_positions(["Cz", "X", "Fp1-F7"])).any(axis=1).tolist() == [False, True, True]


def test_all_caps_share_one_head() -> None:
    """The vertex and the back of the head are at the same place, whichever cap names them."""
    ten_five = electrode_positions(["Cz", "Oz"])
    biosemi128 = electrode_positions([f"{letter}{i}" for letter in "ABCD" for i in range(1, 33)])
    net = electrode_positions([f"E{i}" for i in range(1, 130)])
    assert np.linalg.norm(biosemi128[0] - ten_five[0]) < 0.2  # A1 is the vertex
    assert np.linalg.norm(net[128] - ten_five[0]) < 0.2  # E129 is the reference at the vertex
    assert np.linalg.norm(net[74] - ten_five[1]) < 0.2  # E75 is Oz in EGI's table
    for cap in (biosemi128, net):
        assert 0.95 < np.linalg.norm(cap, axis=1).mean() < 1.05


def test_a1_is_an_ear_beside_10_20_names_and_an_electrode_in_a_biosemi_cap() -> None:
    ear = electrode_positions(["Cz", "A1", "A2"])[1]
    assert ear[0] < -0.7
    assert ear[2] < 0
    cap64 = electrode_positions([f"{letter}{i}" for letter in "AB" for i in range(1, 33)])
    assert np.linalg.norm(cap64[0] - electrode_positions(["Fp1"])[0]) < 0.3  # A1 of the 64-channel cap
    assert np.linalg.norm(cap64[15 + 32] - electrode_positions(["Cz"])[0]) < 0.3  # B16
