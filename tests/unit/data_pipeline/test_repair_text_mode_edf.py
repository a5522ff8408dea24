"""`examples/repair_text_mode_edf.py`, on copies made here and on the real ones where they are beside the checkout."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from edfio import Edf, EdfSignal

from neuroleon.common.files import sha256_file
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.signals.plausibility import check_recording

ROOT = Path(__file__).resolve().parents[3]
REAL = ROOT.parent / "shared" / "data" / "eegmmidb"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings are not beside the checkout")
_spec = importlib.util.spec_from_file_location("repair", ROOT / "examples" / "repair_text_mode_edf.py")
repair = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(repair)


def original(path: Path) -> bytes:
    """An EDF file with 0A among its samples, and no 0D 0A."""
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(0, 20, (2, 12_800))
        names = zip(("Cz", "Oz"), noise, strict=True)
        Edf([EdfSignal(row, 128, label=name, physical_range=(-100, 100)) for name, row in names]).write(path)
        if b"\r\n" not in (content := path.read_bytes()):
            assert content.count(b"\n") > 100
            return content
    raise AssertionError("no such file in a hundred")


def refused(*arguments: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        repair.main([str(argument) for argument in arguments])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_the_original_comes_back_byte_by_byte(tmp_path: Path) -> None:
    content = original(tmp_path / "a.edf")
    (tmp_path / "copied.edf").write_bytes(content.replace(b"\n", b"\r\n"))
    repair.main([str(tmp_path / "copied.edf"), str(tmp_path / "new" / "b.edf")])
    assert (tmp_path / "new" / "b.edf").read_bytes() == content


def test_what_cannot_be_the_original_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = original(tmp_path / "a.edf")
    copied = content.replace(b"\n", b"\r\n")
    cases = {
        "is_whole": (content, "not copied as text"),
        "was_cut": (copied[: len(content)], "cut short"),
        "had_a_pair": (copied[:-2] + b"\r\n" + copied[-2:], "longer than that"),
        "is_no_edf": (b"text\r\n" * 100, "no EDF or BDF header"),
    }
    for name, (damaged, why) in cases.items():
        (tmp_path / f"{name}.edf").write_bytes(damaged)
        message = refused(tmp_path / f"{name}.edf", tmp_path / "out.edf", capsys=capsys)
        assert why in message
        assert f"{name}.edf" in message
        assert len(message.splitlines()) == 1
    assert "no such file" in refused(tmp_path / "none.edf", tmp_path / "out.edf", capsys=capsys)
    assert not (tmp_path / "out.edf").exists()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "a.edf"
    damaged.write_bytes(original(damaged).replace(b"\n", b"\r\n"))
    before = damaged.read_bytes()
    assert "already" in refused(damaged, damaged, capsys=capsys)
    assert damaged.read_bytes() == before
    assert "two file names" in refused(damaged, capsys=capsys)


@needs_data
@pytest.mark.parametrize("name", ["S001R04.edf", "S001R08.edf"])
def test_real_copies_come_back_as_whole_recordings(tmp_path: Path, name: str) -> None:
    repair.main([str(REAL / name), str(tmp_path / name)])
    assert f"sha256:{sha256_file(tmp_path / name)}" == load_recipe("eegmmidb").checksums[name], "as PhysioNet has it"
    recording = read_recording(tmp_path / name)
    check_recording(recording, name)
    assert recording.eeg_uV.shape == (64, 20_000)
    assert {event.code for event in recording.events} == {"T0", "T1", "T2"}
    # samples shifted by a byte jump by hundreds of microvolts all the time; these do so in a blink or two
    assert np.percentile(np.abs(np.diff(recording.eeg_uV, axis=1)), 99) < 60


@needs_data
def test_the_real_copy_that_lost_its_end_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cut short" in refused(REAL / "S001R01.edf", tmp_path / "out.edf", capsys=capsys)
    assert not (tmp_path / "out.edf").exists()
