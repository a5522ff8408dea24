import numpy as np
import pytest

from neuroleon.common.errors import DataError
from neuroleon.signals.columns import copied_columns, eeg_columns
from neuroleon.signals.montage import electrode_positions


def test_single_electrodes_have_one_place_each() -> None:
    columns = eeg_columns(["EEG FP1-REF", "ECG", "C3-A2", "nd", "Cz"], "a.edf")
    assert columns.index == (0, 2, 4)
    assert columns.ch_names == ("Fp1", "C3", "Cz")
    np.testing.assert_array_equal(columns.positions, electrode_positions(["Fp1", "C3", "Cz"]))
    assert columns.left_out == {"ECG": "ecg, not EEG", "nd": "no known position"}


def test_one_derivation_gives_every_column_room_for_a_cathode() -> None:
    columns = eeg_columns(["Cz", "FP1-F7", "F7-X", "Oz"], "a.edf")
    assert columns.ch_names == ("Cz", "Fp1-F7", "Oz")
    assert columns.positions.shape == (3, 6)
    assert columns.positions.dtype == np.float32
    assert np.isnan(columns.positions[:, 3:]).all(axis=1).tolist() == [True, False, True]
    assert columns.left_out == {"F7-X": "no known position"}


def test_one_ear_against_the_other_is_left_out_and_changes_nothing_else() -> None:
    columns = eeg_columns(["Fz", "A2-A1", "M1-M2", "A1-T3"], "a.edf")
    assert set(columns.left_out) == {"A2-A1", "M1-M2"}
    assert columns.ch_names == ("Fz", "A1-T7")
    assert eeg_columns(["Fz", "A2-A1"], "a.edf").positions.shape == (1, 3)


def test_positions_of_the_file_go_before_names_electrode_by_electrode() -> None:
    given = np.full((4, 3), np.nan)
    given[1:3] = [[0.1, 0.2, 0.9], [0.3, -0.2, 0.8]]
    columns = eeg_columns(["Fz", "Cz", "site 7", "Oz"], "a.edf", positions=given)
    assert columns.ch_names == ("Fz", "Cz", "site 7", "Oz")
    fz, oz = electrode_positions(["Fz", "Oz"])
    np.testing.assert_allclose(columns.positions, [fz, given[1], given[2], oz], rtol=1e-6)


def test_a_files_position_of_a_derivation_is_its_anode_and_not_used() -> None:
    """mne.set_bipolar_reference leaves the anode's position at the new channel."""
    given = np.tile([[0.5, 0.5, 0.7]], (2, 1))
    columns = eeg_columns(["F3-C3", "Pz"], "a.edf", positions=given)
    np.testing.assert_array_equal(columns.positions[0], electrode_positions(["F3-C3"])[0])
    np.testing.assert_allclose(columns.positions[1, :3], given[1])


@pytest.mark.parametrize(
    "names", [["Cz", "EEG Cz-REF"], ["T3", "T7"], ["T8-P8-0", "T8-P8-1"], ["F7-T3", "EEG F7-T7"], ["C3-A1", "C3-M2"]]
)
def test_an_electrode_or_derivation_that_is_there_twice_is_refused(names: list[str]) -> None:
    with pytest.raises(DataError, match="all mean"):
        eeg_columns(["Oz", *names], "a.edf")
    assert eeg_columns(["Oz", *names], "a.edf", reasons={names[1]: "marked bad"}).ch_names[0] == "Oz"


def test_the_other_direction_is_another_derivation() -> None:
    assert eeg_columns(["P7-T7", "T7-P7"], "a.edf").ch_names == ("P7-T7", "T7-P7")


def test_only_a_column_with_the_very_same_samples_is_a_copy() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 100))
    rows[3] = rows[0]
    rows[1, 7] = rows[4, 7] = np.nan
    rows[4] = rows[1]
    names = ["T8-P8-0", "Cz", "Oz", "T8-P8-1", "EEG CZ"]
    assert copied_columns(names, lambda i: rows[i]) == {"T8-P8-1": "a copy of T8-P8-0", "EEG CZ": "a copy of Cz"}
    rows[3, 50] += 1e-6
    assert "T8-P8-1" not in copied_columns(names, lambda i: rows[i])
    assert copied_columns(["Cz", "Oz"], lambda i: rows[0]) == {}  # two electrodes that are alike are two electrodes
