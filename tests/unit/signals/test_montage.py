import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuroleon.signals.montage import (
    HEAD_CENTRE_M,
    HEAD_RADIUS_M,
    canonical_name,
    channel_kind,
    derivation,
    electrode_positions,
    electrodes,
    file_positions,
)

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
    "EEG Fp1-Ref": "Fp1",
    "EEG FP1-LE": "Fp1",
    "EEG Fp1-A1A2": "Fp1",
    "EEG C3-A1+A2": "C3",
    "EEG C3-M1M2": "C3",
    "EEG F3-CLE": "F3",
    "EEG F3-LER": "F3",
    "EEG Cz-CAR": "Cz",
    "Fp1-AVG": "Fp1",
    "Fp1-AV": "Fp1",
    "Cz AR": "Cz",
    "FP1.": "Fp1",
    "Fp1..": "Fp1",
    "fp1": "Fp1",
    "Afz": "AFz",
    "Cpz": "CPz",
    "FCZ": "FCz",
    "AF7  ": "AF7",
    "EEG-Fz": "Fz",
    "EEG_Fz": "Fz",
    "POL Fp1-Ref": "Fp1",
    "iz": "Iz",
    "cb1": "CB1",
    "m1": "M1",
    "EEG A2-REF": "A2",
    "C03": "C3",
    "A01": "A1",
    "b 7": "B7",
    "E 12": "E12",
    "EEG 001": "001",
    "EEG001": "EEG001",
    "VREF": "Cz",
    "Vertex Reference": "Cz",
    "Fp1-F7": "Fp1-F7",
    "EEG FP1-F7": "Fp1-F7",
    "EEG T3-T5": "T7-P7",
    "EEG FP1 - EEG F7": "Fp1-F7",
    "F7-T7-1": "F7-T7",
    "fz-pz": "Fz-Pz",
    "FP1-F7-REF": "Fp1-F7",
    "C4-M1": "C4",
    "A1-T3": "A1-T7",
    "left-right": "left-right",
}


@pytest.mark.parametrize(("raw", "ours"), SPELLINGS.items())
def test_every_spelling_becomes_ours(raw: str, ours: str) -> None:
    assert canonical_name(raw) == ours


WORDS = st.sampled_from([*SPELLINGS, "EEG ", "POL ", "-REF", "-A1", "-0", ".", " ", "T3", "cpz"])


@settings(deadline=None)
@given(st.one_of(st.text(max_size=20), st.lists(WORDS, max_size=4).map("".join)))
def test_canonical_name_is_idempotent(raw: str) -> None:
    once = canonical_name(raw)
    assert canonical_name(once) == once


RECOGNISED = [raw for raw in SPELLINGS if not np.isnan(electrode_positions([raw])[0, :3]).any()]


@settings(deadline=None)
@given(st.sampled_from(RECOGNISED), st.lists(st.booleans(), min_size=30, max_size=30))
def test_the_case_of_letters_does_not_matter(raw: str, upper: list[bool]) -> None:
    other = "".join(c.upper() if up else c.lower() for c, up in zip(raw, upper, strict=False))
    assert canonical_name(other) == canonical_name(raw)


@given(st.sampled_from(["Fp1", "T7", "Cz", "CB2", "AFF5h"]), st.sampled_from(["F7", "P7", "Pz", "O1"]))
def test_a_derivation_is_told_from_a_reference_by_its_two_electrodes(anode: str, cathode: str) -> None:
    assert derivation(f"EEG {anode.upper()}-{cathode.lower()}-0") == (anode, cathode)
    for name in (anode, f"{anode}-REF", f"{anode}-A1", f"{anode}-M2", f"{anode}-LE", f"{anode}-X", f"X-{cathode}"):
        assert derivation(name) is None


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
    names = ["Cz", "X", "EEG 001", "EEG001", "1", "left-right", "E1", "E2"]
    assert np.isnan(electrode_positions(names)).any(axis=1).tolist() == [False] + [True] * 7


def test_a_derivation_has_the_positions_of_its_two_electrodes() -> None:
    fp1, f7, cz = electrode_positions(["Fp1", "F7", "Cz"])
    found = electrode_positions(["EEG FP1-F7", "Cz", "Fp1-E9", "X"])
    assert found.shape == (4, 6)
    np.testing.assert_array_equal(found[0], [*fp1, *f7])
    np.testing.assert_array_equal(found[1, :3], cz)
    assert np.isnan(found[1, 3:]).all()
    assert np.isnan(found[2:]).all()


def test_electrodes_that_mnes_template_lacks_are_where_their_neighbours_are() -> None:
    low, ring, below = electrode_positions(["CB1", "O1", "M1"])
    assert below[2] < low[2] < ring[2]  # under the ring of O1, above the mastoid
    assert low[0] < ring[0]  # and further to the left
    mirrored = electrode_positions(["CB2", "T2", "O10"]) - electrode_positions(["CB1", "T1", "O9"])
    assert (mirrored[:, 0] > 0.5).all()
    assert np.abs(mirrored[:, 1:]).max() < 0.06
    t1, f9, t9 = electrode_positions(["T1", "F9", "T9"])
    assert t9[1] < t1[1] < f9[1]


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


def letters(*caps: str) -> list[str]:
    return [f"{cap}{i}" for cap in "".join(caps) for i in range(1, 33)]


CAPS = {
    "biosemi32": letters("A"),
    "biosemi64": letters("AB"),
    "biosemi128": letters("ABCD"),
    "biosemi160": letters("ABCDE"),
    "biosemi256": letters("ABCDEFGH"),
    "GSN-HydroCel-32": [f"E{i}" for i in range(1, 33)],
    "GSN-HydroCel-64_1.0": [f"E{i}" for i in range(1, 65)],
    "GSN-HydroCel-128": [f"E{i}" for i in range(1, 129)],
    "GSN-HydroCel-256": [f"E{i}" for i in range(1, 257)],
}


@pytest.mark.parametrize("cap", CAPS)
def test_a_cap_is_known_by_its_names_even_with_some_of_them_missing(cap: str) -> None:
    """mne's template, put on our sphere by hand, is where the names must lead; one in ten is not there."""
    from mne.channels import make_standard_montage
    from mne.channels.montage import transform_to_head

    montage = make_standard_montage(cap)
    metres = transform_to_head(montage).get_positions()["ch_pos"]
    own = [metres[name] for name in montage.ch_names if name not in {"Cz"} or cap.startswith("bio")]
    names = CAPS[cap]
    centre_and_rest = np.linalg.lstsq(
        np.column_stack([2 * np.array(own), np.ones(len(own))]), (np.array(own) ** 2).sum(1), rcond=None
    )[0]
    centre = centre_and_rest[:3]
    expected = (np.array(own) - centre) / np.sqrt(centre_and_rest[3] + centre @ centre)
    keep = [i for i in range(len(names)) if i % 10 != 4]
    found = electrode_positions([names[i].lower() for i in keep])
    np.testing.assert_allclose(found, expected[keep], atol=0.02)  # the nets are fitted with their vertex


def test_the_vertex_of_a_net_has_three_names() -> None:
    net = [f"E{i}" for i in range(1, 65)]
    number, word, vertex = (electrode_positions([*net, name])[64] for name in ("E65", "VREF", "Cz"))
    np.testing.assert_array_equal(word, vertex)
    assert np.linalg.norm(number - vertex) < 0.2


def test_part_of_a_cap_is_not_taken_for_a_smaller_one() -> None:
    """A5 to A32 and B1 to B14, say, are the back of the head in one cap and its left side in another."""
    part = [*letters("A")[4:], *letters("B")[:14]]
    assert np.isnan(electrode_positions(part)).all()
    assert np.isnan(electrode_positions(["C3", "C9", "D2", "D7"])).all()  # C3 here is not C3 of 10-05 either
    assert np.isnan(electrode_positions([f"E{i}" for i in range(1, 20)])).all()


def test_a_column_or_two_of_other_names_do_not_make_10_20_a_cap() -> None:
    ten_twenty = ["Fp1", "Fp2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "A1"]
    alone = electrode_positions(ten_twenty)
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(electrode_positions([*ten_twenty, "B1", "D2"])[:11], alone)


def test_electrodes_hold_the_anode_the_cathode_and_whether_there_is_one() -> None:
    single = electrode_positions(["Cz", "Fp1"])
    assert electrodes(single).shape == (2, 7)
    np.testing.assert_array_equal(electrodes(single), np.hstack([single, np.zeros((2, 4), np.float32)]))
    mixed = electrode_positions(["Cz", "Fp1-F7"])
    found = electrodes(mixed.astype(np.float64))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], electrodes(single)[0])  # a NaN cathode is no cathode
    np.testing.assert_array_equal(found[1], [*mixed[1], 1.0])


NAMED = ["Fp1", "Fp2", "Fz", "T7", "T8", "Cz", "Pz", "P7", "P8", "Oz", "C3", "C4"]


def measured(names: list[str], seed: int = 0) -> np.ndarray:
    """Metres in mne's head frame, as a digitizer gives them: 3 mm off."""
    metres = electrode_positions(names).astype(float) * HEAD_RADIUS_M + HEAD_CENTRE_M
    return metres + np.random.default_rng(seed).normal(0, 0.003, metres.shape)


def test_a_files_positions_are_used_where_it_gives_them() -> None:
    given = measured(NAMED)
    given[3] = np.nan
    given[7] = 0.0  # what some writers put for unknown
    found = file_positions(NAMED, given)
    assert np.isnan(found).any(axis=1).tolist() == [i in {3, 7} for i in range(12)]
    others = [i for i in range(12) if i not in {3, 7}]
    np.testing.assert_allclose(found[others], (given[others] - HEAD_CENTRE_M) / HEAD_RADIUS_M, atol=1e-5)
    assert np.isnan(file_positions(NAMED, np.zeros((12, 3)))).all()


@pytest.mark.parametrize("n", [12, 40])
def test_one_lost_electrode_does_not_move_the_others(n: int) -> None:
    rows = [f"{row}{i}" for row in ("FC", "CP", "F", "P") for i in range(1, 7)]
    names = [*NAMED, *rows, "AF3", "AF4", "PO7", "PO8"][:n]
    given = measured(names)
    clean = file_positions(names, given)
    given[1] = [5.0, 5.0, 5.0]
    found = file_positions(names, given)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(np.delete(found, 1, axis=0), np.delete(clean, 1, axis=0), atol=0.02)


@pytest.mark.parametrize("n_names", [12, 64])
@pytest.mark.parametrize("fault", ["millimetres", "front is x", "upside down", "random", "one place"])
def test_positions_that_are_nonsense_are_not_used(fault: str, n_names: int) -> None:
    from mne.channels import make_standard_montage

    names = NAMED if n_names == 12 else make_standard_montage("biosemi64").ch_names
    given = measured(names)
    wrong = {
        "millimetres": given * 1e3,
        "front is x": given[:, [1, 0, 2]],
        "upside down": given * [1, 1, -1],
        "random": np.random.default_rng(0).normal(0, 0.1, given.shape),
        "one place": np.tile(given[:1], (len(given), 1)),
    }[fault]
    found = file_positions(names, wrong)
    if fault == "millimetres" and n_names == 64:  # a sphere can be fitted to a whole cap, in any unit
        np.testing.assert_allclose(found, file_positions(names, given), atol=1e-3)
    else:
        assert np.isnan(found).all()


def test_names_that_10_05_shares_with_a_cap_do_not_accuse_a_files_positions() -> None:
    """A part of a BioSemi cap with measured positions: its C3 is not C3 of 10-05, and its A1 is no ear."""
    names = [f"{letter}{i}" for letter in "AC" for i in range(1, 9)]
    place = electrode_positions(letters("ABCD"))
    rows = [letters("ABCD").index(name) for name in names]
    found = file_positions(names, place[rows].astype(float) * HEAD_RADIUS_M + HEAD_CENTRE_M)
    assert np.isfinite(found).all()
