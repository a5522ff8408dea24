"""Recordings that share samples are found wherever the stretch lies, and nothing else is."""

import json
import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from own_set import prepare, write_edf

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.copies import (
    APART_S,
    LEAST_S,
    NOTHING,
    RUN,
    STEP_UV,
    Landmarks,
    Shared,
    _lowest_hashes,
    find_shared,
    landmarks,
    refuse_across_splits,
    write_landmarks,
)
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.readers.muse import read_muse
from neuroleon.data_pipeline.splits import Source
from neuroleon.signals.recording import Recording

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "muse_visual"
SFREQ = 256.0
_files = count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("landmarks")


def eeg(seed: int, seconds: float, n_chans: int = 4, sfreq: float = SFREQ) -> np.ndarray:
    """Noise that wanders, in the steps of a headband, 0.49 uV."""
    steps = np.random.default_rng(seed).normal(size=(n_chans, round(seconds * sfreq))).cumsum(axis=1)
    return (np.round(10 * (steps - steps.mean())) / 2.048).astype(np.float32)


def recording(eeg_uV: np.ndarray, name: str = "r", sfreq: float = SFREQ) -> Recording:
    names = tuple(f"E{i}" for i in range(len(eeg_uV)))
    return Recording(
        eeg_uV=eeg_uV.astype(np.float32),
        ch_names=names,
        positions=np.zeros((len(names), 3), np.float32),
        sfreq=sfreq,
        events=(),
        name=name,
        subject="s",
    )


def marks(one: Recording, *, unit_unknown: bool = False) -> Landmarks:
    """Those of a recording that is one long window."""
    return landmarks(one, [(0.0, one.duration_s)], unit_unknown=unit_unknown)


def shared(folder: Path, *signals: np.ndarray, sfreq: float = SFREQ) -> list[tuple[str, str, float]]:
    """What is found in recordings a, b, c ..., each in a file of its own."""
    files = []
    for signal in signals:
        files.append(folder / f"{next(_files)}.npz")
        write_landmarks(files[-1], [marks(recording(signal, sfreq=sfreq))])
    sources = [(Source(recording=chr(ord("a") + i), subject="s"), "train") for i in range(len(signals))]
    found = find_shared(files, sources)
    return [(one.recordings[0].recording, one.recordings[1].recording, one.seconds) for one in found]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    at_s=st.tuples(st.floats(0, 5), st.floats(0, 5)),
    seconds=st.floats(1, 7),
    sfreq=st.sampled_from([100.0, 256.0, 1000.0]),
)
def test_a_stretch_of_a_second_or_more_is_found_at_any_place(
    folder: Path, seed: int, at_s: tuple[float, float], seconds: float, sfreq: float
) -> None:
    one, other = eeg(2 * seed, 12, sfreq=sfreq), eeg(2 * seed + 1, 12, sfreq=sfreq)
    start, to, n_times = round(at_s[0] * sfreq), round(at_s[1] * sfreq), round(seconds * sfreq)
    other[:, to : to + n_times] = one[:, start : start + n_times]
    [(_, _, found_s)] = shared(folder, one, other, sfreq=sfreq)
    assert n_times / sfreq - 2 * APART_S <= found_s <= (n_times + 2) / sfreq


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), n_times=st.integers(0, int(LEAST_S * SFREQ) - 2), at=st.integers(0, 5 * 256))
def test_noise_and_what_a_device_says_for_less_than_that_are_not_found(
    folder: Path, seed: int, n_times: int, at: int
) -> None:
    one, other = eeg(2 * seed, 12), eeg(2 * seed + 1, 12)
    other[:, at : at + n_times] = one[:, 300 : 300 + n_times]
    assert shared(folder, one, other) == []


def test_landmarks_are_those_of_winnowing() -> None:
    """Against the definition: of every window of runs, the lowest hash."""
    signal = eeg(0, 60)
    lowest = _lowest_hashes(signal, STEP_UV)
    width = round(APART_S * SFREQ)
    inside = range(width, len(lowest) - width)
    of_windows = {i + int(lowest[i : i + width].argmin()) for i in range(len(lowest) - width + 1)}
    assert {i for i in marks(recording(signal)).samples.tolist() if i in inside} == {
        i for i in of_windows if i in inside
    }
    pieces = [_lowest_hashes(signal[:, :1000], STEP_UV), _lowest_hashes(signal[:, 1001 - RUN :], STEP_UV)]
    np.testing.assert_array_equal(np.concatenate(pieces), lowest)


def test_channels_may_be_in_another_order_or_partly_missing(folder: Path) -> None:
    signal = eeg(1, 30, n_chans=8)
    order = [3, 1, 0, 2, 7, 5, 6, 4]
    assert shared(folder, signal, signal[order])[0][2] > 29.7
    half = shared(folder, signal, signal[::2])
    assert half[0][2] > 20
    assert shared(folder, signal, eeg(2, 30, n_chans=8)) == []


@pytest.mark.parametrize("level", [0.0, 1000.0, np.nan, np.inf, 3e38])
def test_flat_and_saturated_stretches_do_not_count(folder: Path, level: float) -> None:
    one, other = eeg(3, 20), eeg(4, 20)
    one[:, 500:4000], other[:, 600:4100] = level, level
    one[0], other[0] = level, level  # and a channel that is dead throughout
    assert shared(folder, one, other) == []
    clipped = [np.clip(x, -8, 8) for x in (one, other)]  # one rail, then the other
    assert shared(folder, *clipped) == []
    other[1:, :300] = one[1:, -300:]
    assert [(a, b) for a, b, _ in shared(folder, one, other)] == [("a", "b")]


def test_short_pieces_that_come_in_another_order_or_further_apart_are_no_stretch(folder: Path) -> None:
    one, other = eeg(8, 20), eeg(9, 20)
    other[:, 1000:1150], other[:, 1160:1310] = one[:, 500:650], one[:, 650:800]
    assert shared(folder, one, other) == []
    pieces = np.split(one, range(64, one.shape[1], 64), axis=1)
    order = np.random.default_rng(0).permutation(len(pieces))
    assert shared(folder, one, np.concatenate([pieces[i] for i in order], axis=1)) == []


@pytest.mark.parametrize("period", [2, 5, 8, 25, 128])
def test_a_periodic_test_signal_does_not_count(folder: Path, period: int) -> None:
    one, other = eeg(5, 20), eeg(6, 20)
    square = np.where(np.arange(2560) % period < period / 2, 100.0, -100.0)
    one[:, 500:3060] = other[:, 600:3160] = square
    assert shared(folder, one, other) == []


def test_every_one_of_several_copies_is_named(folder: Path) -> None:
    signals = [eeg(10 + i, 20) for i in range(4)]
    signals[1][:, :1000] = signals[3][:, 2000:3000]
    signals[2][:, 4000:] = signals[3][:, 2000:3120]
    found = {(a, b): seconds for a, b, seconds in shared(folder, *signals)}
    assert found.keys() == {("b", "c"), ("b", "d"), ("c", "d")}
    assert max(found, key=lambda pair: found[pair]) == ("c", "d")
    assert len(shared(folder, *[signals[0]] * 30)) > 29  # however many, and not every two of them


def test_another_container_of_the_same_samples_is_found(folder: Path) -> None:
    """Steps of .05 uV, of which every other lies half-way between two of .1, and other last bits of the numbers."""
    digital = np.round(eeg(7, 20) * 20).astype(np.int16)
    signals = [
        edfio.EdfSignal.from_digital(row, SFREQ, label=name, physical_dimension="uV", physical_range=(-1638.4, 1638.35))
        for name, row in zip(("Fz", "Cz", "Pz", "Oz"), digital, strict=True)
    ]
    edfio.Edf(signals).write(folder / "copy.edf")
    here, copy = digital * np.float32(0.05), read_recording(folder / "copy.edf").eeg_uV
    assert 0 < np.abs(here - copy).max() < 1e-4
    [(_, _, seconds)] = shared(folder, here, copy)
    assert seconds > 19.7


def test_recordings_too_short_for_a_run_and_sets_without_eeg_have_nothing(folder: Path) -> None:
    assert len(marks(recording(eeg(0, 15 / SFREQ))).hashes) == 0
    assert len(marks(recording(eeg(0, 16 / SFREQ))).hashes) == 1
    assert len(marks(recording(np.zeros((4, 2560)))).hashes) == 0
    write_landmarks(folder / "none.npz", [NOTHING] * 2)
    write_landmarks(folder / "no_task.npz", [])
    sources = [(Source(recording=name, subject="s"), "train") for name in "ab"]
    assert find_shared([folder / "none.npz", folder / "no_task.npz"], sources) == []
    (folder / "cut.npz").write_bytes((folder / "none.npz").read_bytes()[:100])
    with pytest.raises(DataError, match=r"cut\.npz.*delete it, run again"):
        find_shared([folder / "cut.npz"], sources)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
def test_the_recording_that_holds_two_others_is_found(folder: Path) -> None:
    recordings = list(read_muse(DATA, {"task": "visual_spatial_freq"}))
    write_landmarks(folder / "gratings.npz", [marks(one) for one in recordings])
    found = find_shared(
        [folder / "gratings.npz"], [(Source(recording=one.name, subject=one.subject), "train") for one in recordings]
    )
    names = [tuple(one.recording for one in pair.recordings) for pair in found]
    assert names == [("r0260", "r0261"), ("r0260", "r0262")]
    by_name = {one.name: one.eeg_uV for one in recordings}
    n_whole, n_part = by_name["r0261"].shape[1], by_name["r0260"].shape[1] - 51672  # r0262 begins there
    np.testing.assert_array_equal(by_name["r0260"][:, 33792 : 33792 + n_whole], by_name["r0261"])
    np.testing.assert_array_equal(by_name["r0260"][:, 51672:], by_name["r0262"][:, :n_part])
    assert [pair.seconds for pair in found] == pytest.approx([n_whole / SFREQ, n_part / SFREQ], abs=2 * APART_S)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Five recordings of `own_set`; `anna_3` is a copy of `anna_1`."""
    (tmp_path / "eeg").mkdir()
    for seed, name in ((0, "anna_1"), (1, "anna_2"), (0, "anna_3"), (2, "ben_1"), (3, "carla_1")):
        write_edf(tmp_path / "eeg" / f"{name}.edf", seed)
    return tmp_path


def test_copies_in_one_split_are_told_by_every_run(own: Path) -> None:
    report = prepare(own)
    assert re.search(r"anna_1 \(train\) and anna_3 \(train\) share 8\.0 s", str(report))
    assert "1 pairs in train" in str(report)
    out = own / "out" / "own"
    told = json.loads((out / "manifest.json").read_text())["shared_samples"]
    assert told == {"train": {"pairs": 1, "seconds": 8.0}}
    again = prepare(own)
    assert again.skipped_tasks == 3
    assert again.shared == report.shared
    assert not [path for path in out.rglob("*") if path.is_file() and b"anna_" in path.read_bytes()]
    (out / ".tasks" / "train-000000.npz").unlink()
    assert prepare(own).skipped_tasks == 2


def test_one_signal_as_two_recordings_whose_windows_lie_apart_is_no_copy(folder: Path) -> None:
    """As `alljoined1` has it: the pictures of three parts lie mixed in one signal."""
    one = recording(eeg(30, 20))
    sources = [(Source(recording=name, subject="s"), name) for name in ("train", "test")]
    windows_s = [(float(t), t + 0.5) for t in range(2, 18)]
    for later_s, overlap_s in ((0.5, 0), (0.496, 16 * 0.004), (0.4, 16 * 0.1), (0.0, 8)):
        others_s = [(start + later_s, stop + later_s) for start, stop in windows_s]
        write_landmarks(folder / "parts.npz", [landmarks(one, windows_s), landmarks(one, others_s[::-1])])
        found = [pair.seconds for pair in find_shared([folder / "parts.npz"], sources)]
        assert found == ([pytest.approx(overlap_s)] if overlap_s > 0.1 else [])


def test_windows_are_compared_where_the_stretch_lies_in_each(folder: Path) -> None:
    one, other = eeg(31, 20), eeg(32, 20)
    other[:, 2560:3840] = one[:, 1280:2560]  # seconds 5 to 10 of one are 10 to 15 of the other
    sources = [(Source(recording=name, subject="s"), "train") for name in "ab"]
    for windows_s, found_s in (
        ([(12, 13)], 1),
        ([(7, 8)], 0),
        ([(11, 12.5), (12, 13), (15, 16)], 2),
        ([(10, 14), (11, 11.5)], 2),
    ):
        found = [landmarks(recording(one), [(7, 8), (6, 7)]), landmarks(recording(other), windows_s)]
        write_landmarks(folder / "two.npz", found)
        assert sum(pair.seconds for pair in find_shared([folder / "two.npz"], sources)) == pytest.approx(found_s)


def test_a_part_is_found_where_nobody_knows_the_unit(folder: Path, own: Path) -> None:
    """In volts all of it would be rounded to zero; a recording of its own is scaled by another number than its part."""
    volts = recording(eeg(20, 20) * 1e-6)
    part = recording(volts.eeg_uV[:, 2000:4000])
    write_landmarks(folder / "volts.npz", [marks(one, unit_unknown=True) for one in (volts, part)])
    sources = [(Source(recording=name, subject="s"), "train") for name in ("volts", "part")]
    assert len(find_shared([folder / "volts.npz"], sources)) == 1
    assert len(marks(volts).hashes) == 0
    signals = [
        edfio.EdfSignal.from_digital(
            one.digital[2560:], 256, label=one.label, physical_dimension="uV", physical_range=one.physical_range
        )
        for one in edfio.read_edf(own / "eeg" / "anna_1.edf").signals
    ]
    edfio.Edf(signals, annotations=[edfio.EdfAnnotation(1.0, None, "look left")]).write(own / "eeg" / "anna_3.edf")
    [found] = prepare(own, unit_unknown=True).shared
    assert found.seconds == pytest.approx(1.0)


def test_a_copy_in_another_split_is_refused_until_the_recipe_leaves_it_out(own: Path) -> None:
    prepare(own)
    write_edf(own / "eeg" / "carla_1.edf", 1)  # what anna_2 is
    for _ in range(2):  # at work, and when all tasks are done
        with pytest.raises(DataError, match=r"anna_2 \(train\) and carla_1 \(test\) .*\['anna//anna_2'\]"):
            prepare(own)
        assert not (own / "out" / "own" / "manifest.json").exists()
    split = {"by": "subject", "train": ["anna"], "validation": ["ben"], "test": ["carla"]}
    report = prepare(own, split={**split, "exclude": ["anna//anna_2"]})
    assert [one.splits for one in report.shared] == [("train", "train")]
    report = prepare(own, split={**split, "exclude": ["anna//anna_[23]"]})
    assert report.shared == []
    assert json.loads((own / "out" / "own" / "manifest.json").read_text())["shared_samples"] == {}


def test_a_run_that_was_stopped_goes_on_and_still_finds_the_copy(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first task is done before, the one with the copy after."""
    write_edf(own / "eeg" / "carla_1.edf", 1)
    kept: list[str] = []

    def stop(path: Path, found: Sequence[Landmarks]) -> None:
        if "test" in path.name:
            raise KeyboardInterrupt
        write_landmarks(path, found)
        kept.append(path.name)

    monkeypatch.setattr("neuroleon.data_pipeline.samples.write_landmarks", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(own)
    monkeypatch.undo()
    assert kept == ["train-000000.npz", "validation-000000.npz"]
    before = {name: (own / "out" / "own" / ".tasks" / name).stat().st_mtime_ns for name in kept}
    with pytest.raises(DataError, match="anna_2"):
        prepare(own)
    assert before == {name: (own / "out" / "own" / ".tasks" / name).stat().st_mtime_ns for name in kept}


def test_a_long_list_of_copies_is_cut() -> None:
    sources = [Source(recording=f"r{i}", subject="s") for i in range(15)]
    pairs = [Shared((sources[0], other), ("test", "train"), 60.0) for other in sources[1:]]
    with pytest.raises(DataError, match=r"r10 \(train\) share 60\.0 s; and 4 pairs more; .*train with.*\['s//r1'\]"):
        refuse_across_splits(pairs, Path("set"))
    refuse_across_splits([Shared((sources[0], sources[1]), ("test", "test"), 60.0)], Path("set"))
