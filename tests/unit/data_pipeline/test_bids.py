"""BIDS trees: one that mne-bids wrote, and ones made here to the letter of the specification, with its usual faults."""

import json
import shutil
import warnings
from pathlib import Path

import mne
import numpy as np
import pytest
import yaml
from edfio import Edf, EdfAnnotation, EdfSignal
from PIL import Image
from scipy.io import savemat

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure
from neuroleon.data_pipeline.readers.bids_sidecars import sidecar
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.readers.tables import read_table
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.signals.montage import HEAD_CENTRE_M, HEAD_RADIUS_M, electrode_positions
from neuroleon.signals.recording import Recording

RATE, SECONDS = 128, 12
NAMES = ("Fz", "Cz", "Pz", "O1", "EXG")
CHANNELS = [["name", "type", "units", "status"], *([name, "EEG", "uV", "good"] for name in NAMES)]
EVENTS = [["onset", "duration", "trial_type"], ["1.0", "0.5", "left"], ["3.25", "n/a", "right"], ["5", "0", "n/a"]]


def eeg(seed: int = 0, n: int = len(NAMES)) -> np.ndarray:
    return 20 * np.random.default_rng(seed).normal(size=(n, RATE * SECONDS)).cumsum(1) % 60 - 30


def write_edf(path: Path, seed: int = 0, names: tuple[str, ...] = NAMES, unit: str = "uV") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = eeg(seed, len(names))
    signals = [
        EdfSignal(row, RATE, label=name, physical_dimension=unit, physical_range=(-100, 100))
        for name, row in zip(names, rows)
    ]
    Edf(signals, annotations=[EdfAnnotation(2.0, None, "Anna Muster coughs")]).write(path)
    return path


def write_table(path: Path, rows: list[list[str]], start: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(start + "".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def one_recording(root: Path, events: list[list[str]] = EVENTS, channels: list[list[str]] = CHANNELS) -> Path:
    """`sub-01/eeg/sub-01_task-look_*`; the folder."""
    folder = root / "sub-01" / "eeg"
    write_edf(folder / "sub-01_task-look_eeg.edf")
    write_table(folder / "sub-01_task-look_channels.tsv", channels)
    write_table(folder / "sub-01_task-look_events.tsv", events)
    return folder


def channels_in(unit: str) -> list[list[str]]:
    return [CHANNELS[0], *([name, kind, unit, status] for name, kind, _, status in CHANNELS[1:])]


def read(root: Path, **options: object) -> Recording:
    (recording,) = READERS["bids"].read(root, dict(options))
    return recording


def test_a_tree_that_mne_bids_wrote_comes_with_its_channels_events_and_places(tmp_path: Path) -> None:
    mne_bids = pytest.importorskip("mne_bids")
    montage = mne.channels.make_standard_montage("biosemi64")
    names = tuple(montage.ch_names)
    raw = mne.io.read_raw_edf(write_edf(tmp_path / "in.edf", names=names), verbose="ERROR")
    moved = {name: place * 1.05 + [0, 0.002, 0] for name, place in montage.get_positions()["ch_pos"].items()}
    fiducials = {name: montage.get_positions()[name] for name in ("nasion", "lpa", "rpa")}
    raw.set_montage(mne.channels.make_dig_montage(moved, coord_frame="unknown", **fiducials))
    raw.set_channel_types({"Iz": "eog"})
    raw.info["bads"] = ["T7"]
    raw.info["line_freq"] = 50
    raw.set_annotations(mne.Annotations([1.0, 3.25], [0.5, 0.0], ["left", "right"]))
    where = mne_bids.BIDSPath(subject="07", session="b", task="look", run="2", root=tmp_path / "tree")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mne_bids.write_raw_bids(raw, where, verbose="ERROR")
    recording = read(tmp_path / "tree")
    assert (recording.name, recording.subject, recording.group) == ("sub-07_ses-b_task-look_run-2", "07", "b")
    kept = [name for name in names if name not in {"Iz", "T7"}]
    assert recording.ch_names == tuple(kept)
    assert recording.left_out == {"Iz": "eog, not EEG", "T7": "marked bad in channels.tsv"}
    np.testing.assert_allclose(recording.eeg_uV, eeg(0, 64)[[names.index(name) for name in kept]], atol=0.01)
    told = [(round(e.onset_s, 3), e.code, e.duration_s) for e in recording.events]
    assert told == [(1.0, "left", 0.5), (3.25, "right", 0.0)]
    off = np.linalg.norm(recording.positions - electrode_positions(kept), axis=1)
    assert 0.01 < np.median(off) < 0.35  # the places are the file's, not those of the names
    assert recording.positions[kept.index("Cz"), 2] > 0.9
    assert recording.positions[kept.index("C4"), 0] > 0.5 > abs(recording.positions[kept.index("Fpz"), 0])


def test_channels_that_the_table_says_are_bad_or_no_eeg_are_left_out(tmp_path: Path) -> None:
    channels = [
        ["name", "type", "units", "status", "status_description"],
        ["Fz", "EEG", "uV", "good", "n/a"],
        ["Cz", "EEG", "uV", "bad", "seen by Anna Muster"],
        ["Pz", "EOG", "uV", "good", "n/a"],
        ["O1", "eeg", "uV", "n/a", "n/a"],
        ["EXG", "MISC", "uV", "bad", "n/a"],
        ["Oz", "EEG", "uV", "good", "n/a"],
    ]
    recording = read(one_recording(tmp_path, channels=channels).parents[1])
    assert recording.ch_names == ("Fz", "O1")
    np.testing.assert_allclose(recording.eeg_uV, eeg()[[0, 3]], atol=0.01)
    assert recording.left_out == {
        "Cz": "marked bad in channels.tsv",
        "Pz": "eog, not EEG",
        "EXG": "misc, not EEG",
        "Oz": "in channels.tsv, not in the file",
    }


def test_a_bad_channel_under_another_spelling_is_refused_and_not_used(tmp_path: Path) -> None:
    one_recording(tmp_path, channels=[CHANNELS[0], ["FZ", "EEG", "uV", "bad"], *CHANNELS[2:]])
    with pytest.raises(DataError, match=r"channels\.tsv: channel 'FZ' is no column"):
        read(tmp_path)
    one_recording(tmp_path, channels=[CHANNELS[0], ["1", "EEG", "uV", "good"]])
    with pytest.raises(DataError, match="channel '1' is no column"):
        read(tmp_path)
    one_recording(tmp_path, channels=[["name", "units"], ["Fz", "uV"]])
    with pytest.raises(DataError, match="expected columns name and type"):
        read(tmp_path)


def test_events_come_from_the_table_and_not_from_the_file(tmp_path: Path) -> None:
    events = [
        ["onset", "duration", "sample", "trial_type", "stim"],
        ["3.25", "n/a", "n/a", "right", "n/a"],
        ["1.0", "0.5", "129", "left", "a.png"],  # counted from 1, as EEGLAB does: they agree
        ["0.004", "0.5", "512", "left", "b.png"],  # four seconds in, and an onset in ms / 1000
        ["6.0", "0", "768", "boundary", "n/a"],
        ["n/a", "0", "1024", "n/a", "n/a"],
    ]
    folder = one_recording(tmp_path, events)
    recording = read(tmp_path)
    assert [(e.onset_s, e.code, e.duration_s) for e in recording.events] == [
        (1.0, "left", 0.5),
        (3.25, "right", 0.0),
        (4.0, "left", 0.5),
    ]
    assert [e.info.get("stim") for e in recording.events] == ["a.png", None, "b.png"]
    assert recording.boundaries == (768,)
    assert recording.notes == {"events: onset and sample disagree, sample was taken": 1}
    assert [e.code for e in read(tmp_path, event_column="stim").events] == ["a.png", "b.png"]
    assert [e.code for e in read(tmp_path, event_column=None).events] == ["Anna Muster coughs"]
    (folder / "sub-01_task-look_events.tsv").unlink()
    assert [e.code for e in read(tmp_path).events] == ["Anna Muster coughs"]


@pytest.mark.parametrize("rate", [2 * RATE, RATE * 1.01, RATE / 2])
def test_samples_counted_at_another_rate_are_refused(tmp_path: Path, rate: float) -> None:
    times = [*range(1, 11)]
    rows = [[f"{t}", "0", f"{t * rate:.0f}", "left"] for t in times]
    one_recording(tmp_path, [["onset", "duration", "sample", "trial_type"], *rows])
    with pytest.raises(DataError, match=r"disagree in \d+ of 10 rows; the event at \d s lies at .*leave the wrong one"):
        read(tmp_path)


def test_samples_of_a_few_rows_counted_at_another_rate_are_refused_and_one_off_is_not(tmp_path: Path) -> None:
    rows = [[f"{t}", "0", f"{t * RATE}", "left"] for t in range(1, 9)]
    mixed = [*rows, *([f"{t}", "0", f"{t * RATE * 2}", "left"] for t in (1.5, 2.5, 3.5))]
    one_recording(tmp_path, [["onset", "duration", "sample", "trial_type"], *mixed])
    with pytest.raises(DataError, match="disagree in 3 of 11 rows"):
        read(tmp_path)
    one_recording(tmp_path, [["onset", "duration", "sample", "trial_type"], *mixed[:-1]])
    assert sorted(event.onset_s for event in read(tmp_path).events) == [1, 2, 3, 3, 4, 5, 5, 6, 7, 8]


def test_onsets_that_are_samples_are_refused_until_the_recipe_says_so(tmp_path: Path) -> None:
    events = [["onset", "duration", "trial_type"], ["128", "n/a", "left"], ["416", "n/a", "right"]]
    one_recording(tmp_path, events)
    with pytest.raises(DataError, match=r"2 of 2 events come after the end.*onset_unit: samples"):
        read(tmp_path)
    assert [e.onset_s for e in read(tmp_path, onset_unit="samples").events] == [1.0, 3.25]
    with pytest.raises(ConfigError, match="onset_unit"):
        read(tmp_path, onset_unit="ms")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([["onset", "duration", "value"], ["1", "0", "7"]], "found columns onset, duration, value"),
        ([["onset", "duration", "trial_type"], ["one", "0", "left"]], "column onset is no number"),
        ([["onset", "duration", "trial_type"], ["nan", "0", "left"]], "column onset is no number"),
        ([["onset", "duration", "trial_type"], ["n/a", "0", "left"]], "neither onset nor sample"),
        ([["onset", "duration", "trial_type"], ["1", "0"]], "line 2 has 2 cells, expected 3"),
        ([["onset", "onset", "trial_type"], ["1", "0", "left"]], "'onset' comes twice"),
    ],
)
def test_damaged_event_tables_are_refused(tmp_path: Path, events: list[list[str]], message: str) -> None:
    one_recording(tmp_path, events)
    with pytest.raises(DataError, match=message) as error:
        read(tmp_path)
    assert "events.tsv" in str(error.value)


def test_tables_with_a_byte_order_mark_in_other_encodings_and_cut(tmp_path: Path) -> None:
    assert read_table(write_table(tmp_path / "a.tsv", [["name", "type"], ["Fz", "EEG"]], "\ufeff")) == [
        {"name": "Fz", "type": "EEG"}
    ]
    (tmp_path / "a.csv").write_text('name,note\r\nFz,"left, front"\r\n\r\n')
    assert read_table(tmp_path / "a.csv") == [{"name": "Fz", "note": "left, front"}]
    (tmp_path / "b.csv").write_text('name,note\nFz,"left\n')
    (tmp_path / "c.csv").write_bytes("name\nM\u00fcller\n".encode("latin-1"))
    (tmp_path / "d.csv").write_text("\n\n")
    for name, message in {"b.csv": "not a table", "c.csv": "not a table in UTF-8", "d.csv": "no line"}.items():
        with pytest.raises(DataError, match=rf"{name}: {message}") as error:
            read_table(tmp_path / name)
        assert "ller" not in str(error.value)


def test_tables_further_up_apply_and_those_of_others_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "ses-1" / "eeg"
    own = folder / "sub-01_ses-1_task-look_run-1_eeg.edf"
    names = [
        tmp_path / "task-look_channels.tsv",
        tmp_path / "sub-01" / "sub-01_channels.tsv",
        folder / "sub-01_ses-1_task-look_run-2_channels.tsv",
        folder / "sub-01_ses-1_task-look_acq-x_channels.tsv",
        folder / "sub-01_ses-1_task-rest_channels.tsv",
    ]
    for path in names:
        write_table(path, CHANNELS)
    assert sidecar(tmp_path, own, "channels.tsv") == names[1]
    names[1].unlink()
    assert sidecar(tmp_path, own, "channels.tsv") == names[0]
    near = write_table(folder / "sub-01_ses-1_channels.tsv", CHANNELS)
    assert sidecar(tmp_path, own, "channels.tsv") == near
    nearest = write_table(folder / "sub-01_ses-1_task-look_channels.tsv", CHANNELS)
    assert sidecar(tmp_path, own, "channels.tsv") == nearest
    spaced = write_table(folder / "sub-01_ses-1_space-CTF_electrodes.tsv", [["name"]])
    assert sidecar(tmp_path, own, "electrodes.tsv") == spaced
    for space in ("CTF", "CapTrak"):
        (folder / f"sub-01_ses-1_space-{space}_coordsystem.json").write_text("{}")
    assert sidecar(tmp_path, spaced, "coordsystem.json") == folder / "sub-01_ses-1_space-CTF_coordsystem.json"
    spaced = spaced.rename(folder / "sub-01_ses-1_space-CapTrak_electrodes.tsv")
    assert sidecar(tmp_path, spaced, "coordsystem.json") == folder / "sub-01_ses-1_space-CapTrak_coordsystem.json"
    assert sidecar(tmp_path, own, "events.tsv") is None


def write_electrodes(root: Path, system: str, unit: str, factor: float, turn: bool = False) -> np.ndarray:
    """A whole cap under names that say nothing; the places in head radii, as they must come out."""
    montage = mne.channels.make_standard_montage("biosemi32")
    places = np.stack(list(montage.get_positions()["ch_pos"].values()))
    names = tuple(f"site{i}" for i in range(32))
    folder = root / "sub-01" / "eeg"
    write_edf(folder / "sub-01_task-look_eeg.edf", names=names)
    x, y, z = places.T * factor
    rows = np.stack([y, -x, z] if turn else [x, y, z]).T
    cells = [[name, *map(str, row)] for name, row in zip(names, rows)]
    cells[5][1:] = ["n/a", "n/a", "n/a"]
    write_table(folder / "sub-01_electrodes.tsv", [["name", "x", "y", "z"], *cells])
    told = {"EEGCoordinateSystem": system, "EEGCoordinateUnits": unit}
    (folder / "sub-01_coordsystem.json").write_text(json.dumps(told))
    return np.delete(places / np.linalg.norm(places, axis=1, keepdims=True), 5, axis=0)


@pytest.mark.parametrize(
    ("system", "unit", "factor", "turn"),
    [
        ("CapTrak", "m", 1.0, False),
        ("CapTrak", "mm", 1e3, False),
        ("CTF", "cm", 1e2, True),
        ("EEGLAB", "mm", 1e3, True),
    ],
)
def test_electrodes_come_from_the_table_whatever_its_frame_and_unit(
    tmp_path: Path, system: str, unit: str, factor: float, turn: bool
) -> None:
    expected = write_electrodes(tmp_path, system, unit, factor, turn)
    recording = read(tmp_path)
    assert recording.ch_names == tuple(f"site{i}" for i in range(32) if i != 5)
    assert recording.left_out == {"site5": "no known position"}
    np.testing.assert_allclose(recording.positions, expected, atol=1e-3)


@pytest.mark.parametrize(("told", "written"), [("mm", 1e3), ("m", 1.0), ("m", 1e3)])
def test_few_electrodes_are_placed_by_their_unit_and_by_name_where_it_is_wrong(
    tmp_path: Path, told: str, written: float
) -> None:
    folder = one_recording(tmp_path)
    by_name = electrode_positions(NAMES[:4])
    moved = by_name * 1.1 + np.float32([0, 0, 0.05])
    metres = moved * HEAD_RADIUS_M + HEAD_CENTRE_M
    cells = [[name, *map(str, place)] for name, place in zip(NAMES, metres * written)]
    write_table(folder / "sub-01_electrodes.tsv", [["name", "x", "y", "z"], *cells])
    system = {"EEGCoordinateSystem": "CapTrak", "EEGCoordinateUnits": told}
    (folder / "sub-01_coordsystem.json").write_text(json.dumps(system))
    is_right = (told == "m") == (written == 1.0)
    np.testing.assert_allclose(read(tmp_path).positions, moved if is_right else by_name, atol=1e-4)


def test_electrodes_in_an_unknown_frame_are_not_used_and_it_is_said(tmp_path: Path) -> None:
    folder = one_recording(tmp_path)
    write_table(folder / "sub-01_electrodes.tsv", [["name", "x", "y", "z"], ["Fz", "1", "2", "3"]])
    assert read(tmp_path).notes == {"positions: electrodes.tsv without a coordsystem.json, not used": 1}
    told = {"EEGCoordinateSystem": "Other", "EEGCoordinateUnits": "mm"}
    (folder / "sub-01_coordsystem.json").write_text(json.dumps(told))
    recording = read(tmp_path)
    assert recording.notes == {"positions: electrodes.tsv in coordinates 'Other' and unit 'mm', not used": 1}
    np.testing.assert_array_equal(recording.positions, electrode_positions(recording.ch_names))
    (folder / "sub-01_coordsystem.json").write_text("[1]")
    with pytest.raises(DataError, match="expected a JSON object"):
        read(tmp_path)


def test_the_table_gives_the_unit_of_an_edf_that_has_none(tmp_path: Path) -> None:
    folder = one_recording(
        tmp_path, channels=[[*row[:2], "mV" if i else row[2], row[3]] for i, row in enumerate(CHANNELS)]
    )
    np.testing.assert_allclose(read(tmp_path).eeg_uV, eeg()[:4], atol=0.01)  # the file says uV
    write_edf(folder / "sub-01_task-look_eeg.edf", unit="")
    np.testing.assert_allclose(read(tmp_path).eeg_uV, eeg()[:4] * 1e3, atol=10)
    np.testing.assert_allclose(read(tmp_path, unit="uV").eeg_uV, eeg()[:4], atol=0.01)
    write_table(
        folder / "sub-01_task-look_channels.tsv",
        [[*row[:2], "n/a", row[3]] if i else row for i, row in enumerate(CHANNELS)],
    )
    with pytest.raises(DataError, match="unit ''"):
        read(tmp_path)


def test_an_eeglab_file_is_in_microvolts_whatever_the_table_says(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    labels = np.array([(name,) for name in NAMES], dtype=[("labels", object)])
    content = {"data": eeg(), "srate": float(RATE), "nbchan": 5, "pnts": RATE * SECONDS, "trials": 1, "xmin": 0.0}
    savemat(folder / "sub-01_task-look_eeg.set", {"EEG": {**content, "chanlocs": labels, "event": []}})
    write_table(
        folder / "sub-01_task-look_channels.tsv",
        [[*row[:2], "V", row[3]] if i else row for i, row in enumerate(CHANNELS)],
    )
    recording = read(tmp_path)
    np.testing.assert_allclose(recording.eeg_uV, eeg()[:4], atol=0.01)
    assert [note for note in recording.notes if "channels.tsv says V" in note]
    np.testing.assert_allclose(read(tmp_path, unit="V").eeg_uV, eeg()[:4] * 1e6, rtol=1e-3)


def _pointer(path: Path, kind: str) -> None:
    path.unlink()
    if kind == "link":
        path.symlink_to("../../.git/annex/objects/Wx/1q/MD5E-s1--a.edf")
    else:
        path.write_text(
            {"empty": "", "unlocked": "/annex/objects/MD5E-s1--a\n", "text": "../../.git/annex/objects/W"}[kind]
        )


@pytest.mark.parametrize("kind", ["link", "empty", "unlocked", "text"])
@pytest.mark.parametrize("suffix", ["eeg.edf", "events.tsv"])
def test_content_that_was_not_fetched_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    folder = one_recording(tmp_path)
    name = f"sub-01_task-look_{suffix}"
    _pointer(folder / name, kind)
    with pytest.raises(DataError, match=f"datalad get {name}"):
        read(tmp_path)
    (failure,) = READERS["bids"].locate(tmp_path, {})
    assert isinstance(failure, Failure)
    assert f"datalad get {name}" in failure.message


def test_the_samples_of_a_header_file_must_be_here_too(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    (folder / "sub-01_task-look_eeg.vhdr").write_text("Brain Vision Data Exchange Header File Version 1.0\n")
    (folder / "sub-01_task-look_eeg.eeg").symlink_to("../../.git/annex/objects/none.eeg")
    with pytest.raises(DataError, match=r"datalad get sub-01_task-look_eeg\.eeg"):
        read(tmp_path)


def test_a_tree_becomes_shards_with_its_labels_and_splits(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number, subject in enumerate(("01", "02", "03", "04")):
        name = f"sub-{subject}_ses-a_task-look"
        write_edf(tree / f"sub-{subject}/ses-a/eeg/{name}_eeg.edf", number)
        write_edf(tree / f"sub-{subject}/ses-a/eeg/{name.replace('look', 'rest')}_eeg.edf", number)
        write_edf(tree / f"derivatives/clean/sub-{subject}/ses-a/eeg/{name}_eeg.edf", number)
        write_table(tree / f"sub-{subject}/ses-a/eeg/{name}_events.tsv", EVENTS)
    write_table(tree / "task-look_channels.tsv", CHANNELS)
    write_table(tree / "participants.tsv", [["participant_id", "name"], ["sub-01", "Anna Muster"]])
    cut = tree / "sub-04/ses-a/eeg/sub-04_ses-a_task-look_eeg.edf"
    cut.write_bytes(cut.read_bytes()[:-700])
    recipe = {
        "name": "tree",
        "title": "A tree",
        "licence": "CC0-1.0",
        "citation": "none",
        "source": {"reader": "bids", "folder": "tree", "options": {"task": "look"}},
        "labels": {"map": {"left": "left", "right": "right"}},
        "windows": [{"duration_s": 1.0}],
        "split": {"by": "subject", "train": ["01", "04"], "validation": ["02"], "test": ["03"]},
    }
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(recipe))
    report = prepare_samples(load_recipe(tmp_path / "tree.yaml"), tmp_path, tmp_path / "out")
    assert report.samples == {"train": 2, "validation": 2, "test": 2}
    assert report.labels["test"] == {"left": 1, "right": 1}
    assert [failure.name for failure in report.failures] == ["sub-04_ses-a_task-look"]
    samples = [sample["json"] for sample in ShardReader(tmp_path / "out" / "tree", "test")]
    assert [(s["label"], s["onset_s"], s["ch_names"]) for s in samples] == [
        ("left", 1.0, ["Fz", "Cz", "Pz", "O1"]),
        ("right", 3.25, ["Fz", "Cz", "Pz", "O1"]),
    ]
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and ".tasks" not in path.parts]
    assert not any(b"Muster" in path.read_bytes() or b"sub-0" in path.read_bytes() for path in files)
    write_table(tree / "sub-03/ses-a/eeg/sub-03_ses-a_task-look_events.tsv", [EVENTS[0], ["2.0", "0", "right"]])
    again = prepare_samples(load_recipe(tmp_path / "tree.yaml"), tmp_path, tmp_path / "out")
    assert (again.samples["test"], again.skipped_tasks) == (1, 2)  # a changed table makes its shard anew


def test_pictures_that_events_name_come_from_the_folder_of_stimuli(tmp_path: Path) -> None:
    events = [["onset", "duration", "trial_type", "stim_file"], ["1.0", "0", "cat", "animals/cat.png"]]
    one_recording(tmp_path / "tree", events)
    (tmp_path / "tree" / "stimuli" / "animals").mkdir(parents=True)
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "tree" / "stimuli" / "animals" / "cat.png")
    recipe = {
        "name": "seen",
        "title": "Seen",
        "licence": "CC0-1.0",
        "citation": "none",
        "source": {"reader": "bids", "folder": "tree"},
        "windows": [{"duration_s": 1.0}],
        "split": {"train": ["*"]},
        "labels": {"map": {"cat": "cat"}},
        "picture": {"kind": "own"},
    }
    (tmp_path / "seen.yaml").write_text(yaml.safe_dump(recipe))
    prepare_samples(load_recipe(tmp_path / "seen.yaml"), tmp_path, tmp_path / "out")
    (sample,) = ShardReader(tmp_path / "out" / "seen", "train")
    np.testing.assert_array_equal(sample["png"][32, 32], [200, 30, 30])


def test_options_are_checked_and_an_empty_tree_says_what_it_looked_for(tmp_path: Path) -> None:
    folder = one_recording(tmp_path)
    with pytest.raises(ConfigError, match="tasks"):
        read(tmp_path, tasks="look")
    with pytest.raises(DataError, match="tasks found: look"):
        read(tmp_path, task="rest")
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"sub-\*"):
        read(tmp_path)
