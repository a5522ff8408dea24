"""Recipe in, shards out: a data set of one's own needs a recipe file and nothing else."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import edfio
import numpy as np
import pytest
import yaml
from own_set import RECIPE, prepare, write_edf

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import locked, sha256_file
from neuroleon.data_pipeline.import_shards import index_shards
from neuroleon.data_pipeline.launch import Launch
from neuroleon.data_pipeline.members import encode
from neuroleon.data_pipeline.pairing import Pairing
from neuroleon.data_pipeline.plain_samples import described
from neuroleon.data_pipeline.readers.pictures import PictureTar
from neuroleon.data_pipeline.recipe import Recipe, load_recipe
from neuroleon.data_pipeline.recording_samples import RecordingSamples
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.sources import survey
from neuroleon.data_pipeline.splits import SPLITS, assign
from neuroleon.data_pipeline.stimuli import draw
from neuroleon.data_pipeline.windows import window_of

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
CANARIES = ("Muster", "MRN12345", "Technician", "anna", "2019", "13-MAY", "room 7")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder with `eeg/*.edf` of three subjects and `own.yaml`."""
    (tmp_path / "eeg").mkdir()
    for seed, name in enumerate(("anna_1", "anna_2", "ben_1", "carla_1")):
        write_edf(tmp_path / "eeg" / f"{name}.edf", seed)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def test_a_set_of_ones_own_needs_only_a_recipe(own: Path) -> None:
    report = prepare(own)
    assert report.samples == {"train": 16, "validation": 8, "test": 8}
    assert report.labels["train"] == {"left": 8, "right": 8}
    assert report.left_out == {"windows: no label": 4}
    assert report.unlabelled == {"Anna Muster, room 7": 4}
    readers = {split: ShardReader(own / "out" / "own", split) for split in ("train", "validation", "test")}
    sample = readers["train"][1]
    info = sample["json"]
    assert sample["npy"].dtype == np.float16
    assert sample["npy"].shape == (5, 200)
    assert np.abs(sample["npy"]).max() <= 15
    assert 0.3 < sample["npy"].astype(float).std() < 3
    assert info["ch_names"] == ["Fz", "Cz", "Pz", "O1", "O2"]
    assert np.shape(info["positions"]) == (5, 3)
    assert (info["label"], info["label_text"], info["image_key"], info["onset_s"]) == ("right", "right", "right", 3.0)
    assert info["texts"] == ["Something is on the right.", "On the right."]
    assert info["question"] == "Left or right?"
    assert "background" not in info, "of 20 s it is not known"
    np.testing.assert_array_equal(sample["png"], draw("field", side="right"))
    subjects = [{record["json"]["subject"] for record in reader} for reader in readers.values()]
    assert [len(s) for s in subjects] == [1, 1, 1]
    assert len(set.union(*subjects)) == 3


def test_later_stages_find_labels_settings_and_pictures(own: Path) -> None:
    prepare(own)
    out = own / "out" / "own"
    told = json.loads((out / "recipe.json").read_text())
    assert told["labels"] == ["left", "right"]
    assert told["label_text"] == {"left": "left", "right": "right"}
    assert told["pictures"] == {"left": ["pictures/left.png"], "right": ["pictures/right.png"]}
    assert (out / "pictures" / "left.png").is_file()
    settings = json.loads((out / "preprocess.json").read_text())
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["preprocess"] == settings
    assert manifest["n_samples"]["train"] == 16
    read = {split: [record["json"] for record in ShardReader(out, split)] for split in SPLITS}
    recordings = {split: {f"{one['subject']}/{one['recording']}" for one in of} for split, of in read.items()}
    assert {split: set(listed) for split, listed in manifest["recordings"].items()} == recordings
    assert all(recordings.values())


def test_no_name_date_or_header_text_gets_into_shards(own: Path) -> None:
    prepare(own)
    for path in (own / "out" / "own").rglob("*"):
        if path.is_file() and ".tasks" not in path.parts:
            content = path.read_bytes().lower()
            assert not [word for word in CANARIES if word.lower().encode() in content], path.name


def test_samples_that_are_indexed_anew_are_still_known_as_ours(own: Path) -> None:
    prepare(own)
    (own / "again").mkdir()
    for path in (own / "out" / "own").glob("*.tar"):
        shutil.copy(path, own / "again")
    index_shards(own / "again", {"train": ["train-*.tar"], "test": ["test-*.tar"]})
    reader = ShardReader(own / "again", "train")
    assert reader.manifest["recordings"] is None, "nobody has listed them, so that none is known to be missing"
    assert described(reader[0], reader) == reader[0]["json"]


def test_a_second_run_does_nothing(own: Path) -> None:
    assert prepare(own).skipped_tasks == 0
    out = own / "out" / "own"
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = prepare(own)
    assert again.skipped_tasks == again.tasks == 3
    assert again.samples["train"] == 16
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_a_lost_shard_is_made_again_with_the_same_bytes(own: Path) -> None:
    prepare(own)
    out = own / "out" / "own"
    before = digests(out)
    (out / "train-000000.tar").unlink()
    (out / ".train-000000.tar.tmp-1").write_bytes(b"half")  # what a killed run leaves behind
    assert prepare(own).skipped_tasks == 2
    (out / ".train-000000.tar.tmp-1").unlink(missing_ok=True)
    assert digests(out) == before


def test_a_changed_recording_or_recipe_is_prepared_again(own: Path) -> None:
    prepare(own)
    old = ShardReader(own / "out" / "own", "train").fingerprint
    write_edf(own / "eeg" / "anna_1.edf", 99)
    assert prepare(own).skipped_tasks == 2
    changed = ShardReader(own / "out" / "own", "train").fingerprint
    assert changed != old
    assert prepare(own, preprocess={"high_hz": 30.0}).skipped_tasks == 0
    assert ShardReader(own / "out" / "own", "train").fingerprint != changed


def test_a_recording_that_is_gone_takes_its_shard_and_its_line_in_the_manifest_along(own: Path) -> None:
    prepare(own)
    (own / "eeg" / "carla_1.edf").unlink()
    report = prepare(own)
    assert (report.tasks, report.skipped_tasks) == (2, 2)
    assert len(ShardReader(own / "out" / "own", "test")) == 0
    assert len(ShardReader(own / "out" / "own", "train")) == 16


def test_pictures_of_an_earlier_recipe_go(own: Path) -> None:
    prepare(own)
    prepare(own, labels={"map": {"look left": "left"}})
    assert [path.name for path in (own / "out" / "own" / "pictures").iterdir()] == ["left.png"]


def test_shards_that_are_no_longer_part_of_the_set_go(own: Path) -> None:
    prepare(own)
    split = {"by": "subject", "train": ["*"], "exclude": ["carla/*"]}
    report = prepare(own, split=split)
    assert report.excluded == 1
    assert report.samples == {"train": 24}
    assert [path.name for path in (own / "out" / "own").glob("*.tar")] == ["train-000000.tar"]
    assert len(ShardReader(own / "out" / "own", "test")) == 0


def test_a_damaged_recording_is_reported_and_the_rest_goes_on(own: Path) -> None:
    path = own / "eeg" / "anna_1.edf"
    os.truncate(path, path.stat().st_size // 2)
    report = prepare(own)
    assert report.samples == {"train": 8, "validation": 8, "test": 8}
    assert [failure.name for failure in report.failures] == ["anna_1"]
    assert "anna_1.edf" in str(report)
    again = prepare(own)
    assert again.skipped_tasks == 3
    assert len(again.failures) == 1
    assert json.loads((own / "out" / "own" / "manifest.json").read_text())["recordings_not_read"] == 1


def test_what_was_decided_about_a_recording_is_in_the_report(own: Path) -> None:
    path = own / "eeg" / "ben_1.edf"
    edf = edfio.read_edf(path)
    hum = 30 * np.sin(2 * np.pi * 50 * np.arange(5120) / 256)
    signals = [
        edfio.EdfSignal((signal.data + hum) * (1 if i else 40), 256.0, label=signal.label, physical_dimension="uV")
        for i, signal in enumerate(edf.signals)
    ]
    edfio.Edf(signals, annotations=edf.annotations).write(path)
    assert prepare(own).notes == {
        "power line removed at 50 Hz": 1,
        "channel masked: its power is far from the other channels'": 1,
    }
    flat = [
        edfio.EdfSignal(signal.data * (i > 2), 256.0, label=signal.label, physical_dimension="uV")
        for i, signal in enumerate(edf.signals)
    ]
    edfio.Edf(flat, annotations=edf.annotations).write(path)
    assert prepare(own).notes == {
        "kept Fz, Cz, Pz, which look bad: without them less than half of the channels would be left": 1
    }


def test_a_link_whose_file_is_not_here_is_reported(own: Path) -> None:
    (own / "eeg" / "anna_3.edf").symlink_to(own / "annex")
    report = prepare(own)
    assert [failure.name for failure in report.failures] == ["anna_3.edf"]
    assert report.samples["train"] == 16


def test_the_data_beside_a_header_file_count_as_the_recording(tmp_path: Path) -> None:
    for name in ("a.vhdr", "a.eeg", "a.vmrk", "b.set", "b.fdt", "c.edf", "c.eeg"):
        (tmp_path / name).touch()
    path = tmp_path / "own.yaml"
    source = {"reader": "mne", "options": {"files": "[abc].[vse][hed][dtf]*"}}
    path.write_text(yaml.safe_dump({**RECIPE, "source": source}))
    located, _ = survey(load_recipe(path), tmp_path)
    found = [[path.name for path in one.files] for one in located]
    assert found == [["a.vhdr", "a.eeg", "a.vmrk"], ["b.set", "b.fdt"], ["c.edf"]]


def test_nothing_readable_is_an_error(own: Path) -> None:
    for path in (own / "eeg").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="gave no sample"):
        prepare(own)
    assert not (own / "out" / "own" / "manifest.json").exists()


def test_wrong_places_are_named(own: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        prepare_samples(load_recipe(own / "own.yaml"), own / "nowhere", own / "out")
    with pytest.raises(DataError, match="no file fits"):
        prepare(own, source={"reader": "mne", "folder": "eeg", "options": {"files": "*.bdf"}})
    with pytest.raises(ConfigError, match="'edf'; expected one of mne, npz_trials"):
        prepare(own, source={"reader": "edf", "folder": "eeg"})
    for options in ({"files": "*.edf", "pattern": "("}, {"files": ""}, {"files": "/*.edf"}):
        with pytest.raises(ConfigError, match="mend the recipe"):
            prepare(own, source={"reader": "mne", "folder": "eeg", "options": options})
    with pytest.raises(ConfigError, match=r"stimulus\.info asks for codes; the event has nothing"):
        prepare(own, stimulus={"info": "codes", "sfreq": 60})
    with pytest.raises(ConfigError, match=r"'ben_1' .*falls into no split"):
        prepare(own, split={"by": "subject", "train": ["anna"], "test": ["carla"]})
    with pytest.raises(ConfigError, match="asks for colour; the event has label, phrase"):
        prepare(own, texts={"wordings": ["It is {colour}."]})


@pytest.mark.slow  # new processes import mne and webdataset
def test_where_the_tasks_run_changes_no_byte(own: Path, on: str, jobs_here: None) -> None:
    prepare(own)
    alone = shared_digests(own / "out" / "own")
    (own / "out" / "own").rename(own / "alone")
    prepare(own, Launch(on=on, workers=2))
    out = own / "out" / "own"
    assert shared_digests(out) == alone
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    (out / "test-000000.tar").unlink()
    assert prepare(own, Launch(on=on, workers=2)).skipped_tasks == 2
    assert shared_digests(out) == alone
    changed = {path.name for path, mtime in before.items() if path.stat().st_mtime_ns != mtime}
    assert changed == {"test-000000.tar"}


def shared_digests(folder: Path) -> dict[str, str]:
    """Without what SLURM's jobs left behind."""
    return {name: digest for name, digest in digests(folder).items() if not name.startswith(".tasks/slurm")}


def write_pictures(folder: Path) -> None:
    """A tar of ten photographs, of which one is damaged, with two captions each."""
    rng = np.random.default_rng(0)
    contents = {f"images/{i}.png": encode("png", rng.integers(0, 256, (80, 120, 3), np.uint8)) for i in range(10)}
    contents["images/3.png"] = contents["images/3.png"][:200]
    contents["captions.tsv"] = "".join(f"{i}.png\tPicture {i} .\n{i}.png\tAgain {i}\n" for i in range(10)).encode()
    folder.mkdir()
    with tarfile.open(folder / "photos.tar", "w") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_pictures_with_captions_become_samples_without_eeg(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos")
    options = {"archive": "photos.tar", "pattern": "images/*", "captions": "captions.tsv"}
    report = prepare(
        tmp_path,
        source={"reader": "pictures", "folder": "photos", "options": options},
        labels={"of": "none"},
        windows=[],
        picture={"kind": "own"},
        split={"by": "recording", "train": ["[0-7].png"], "test": ["[89].png"]},
        texts={},
    )
    assert report.samples == {"train": 7, "test": 2}
    assert report.left_out == {"pictures: not readable": 1}
    assert "images/3.png" in str(report)
    record = ShardReader(tmp_path / "out" / "own", "test")[0]
    assert record["png"].shape == (64, 64, 3)
    assert "npy" not in record
    assert record["json"]["texts"] == ["Picture 8.", "Again 8."]
    assert record["json"]["image_key"] == record["__key__"]


def test_an_archive_that_was_cut_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos")
    archive = tmp_path / "photos" / "photos.tar"
    with tarfile.open(archive) as tar:
        middle = tar.getmembers()[5]
    content = archive.read_bytes()
    for size in (middle.offset, middle.offset + 100, middle.offset_data + 100):
        archive.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"photos\.tar: the archive is .*damaged"):
            PictureTar(tmp_path / "photos", {"archive": "photos.tar", "pattern": "images/*"})


@pytest.fixture
def cats() -> Recipe:
    if not DATA.is_dir():
        pytest.skip(f"no data at {DATA}")
    return load_recipe("muse_p300")


def test_photographs_are_chosen_by_key_and_all_of_them_are_used(cats: Recipe) -> None:
    pairing = Pairing(cats, DATA / cats.source.folder)
    shown = [pairing.picture("cat", {}, f"key-{i}") for i in range(60)]
    assert {picture.key for picture in shown} == {f"cat-{i:02d}" for i in range(4)}
    assert pairing.picture("cat", {}, "key-7").key == shown[7].key
    assert {label for label, _ in pairing.all_photographs()} == {"cat", "dog"}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
@pytest.mark.parametrize("name", ["ssvep40", "ssvep_exo", "eegmat", "eegmmidb", "vep_edf", "p300_speller"])
def test_our_splits_fit_our_data(name: str) -> None:
    recipe = load_recipe(name)
    located, failures = survey(recipe, DATA / recipe.source.folder)
    splits = assign([one.source for one in located], recipe.split)
    assert not failures
    assert {"train", "test"} <= set(splits.values()) <= {"train", "validation", "test"}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
def test_the_session_that_two_subjects_share_is_used_once() -> None:
    recipe = load_recipe("ssvep_exo")
    located, _ = survey(recipe, DATA / recipe.source.folder)
    splits = assign([one.source for one in located], recipe.split)
    shared = [name for name in splits if "2012.07.11-15.33.0" in name]
    assert len(shared) == 1
    assert shared[0].startswith("subject03")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
def test_a_real_set_end_to_end(tmp_path: Path) -> None:
    report = prepare_samples(load_recipe("ssvep40"), DATA, tmp_path)
    assert report.samples == {"train": 120, "validation": 40, "test": 40}
    for record in ShardReader(tmp_path / "ssvep40", "test"):
        np.testing.assert_array_equal(record["png"], draw("glyph", text=record["json"]["label"]))
        assert record["npy"].shape == (9, 800)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
def test_the_real_flashes_of_a_key_go_with_each_of_its_windows(tmp_path: Path) -> None:
    """240 Hz is 6 to 5: sample i of a window, 200 Hz, falls on flash i * 6 // 5 of the cycle of 2.1 s."""
    recipe = load_recipe("cvep20")
    folder = DATA / recipe.source.folder
    located, _ = survey(recipe, folder)
    records = list(RecordingSamples(recipe, folder, "train", tmp_path).records(located[:1]))
    with np.load(folder / "cvep20.npz") as file:
        of_this = (file["subject"].astype(str) == located[0].source.subject) & (
            file["group"].astype(str) == located[0].source.group
        )
        codes = {str(label).strip(): file["codes"][key] for label, key in zip(file["label"], file["y"], strict=True)}
        shown = [str(label).strip() for label in file["label"][of_this] for _ in range(5)]
    assert [record["json"]["label"] for record in records] == shown  # five cycles of each trial, none left out
    assert len(set(shown)) == 20
    flash = np.arange(400) * 6 // 5
    for record in records:
        code = codes[record["json"]["label"]]
        assert record["json"]["stimulus"] == code[flash].tolist()
        for shift in (-1, 1):  # a phase that is wrong by one flash, 4 ms, is another track
            assert record["json"]["stimulus"] != np.roll(code, shift)[flash].tolist()
    tracks = {tuple(record["json"]["stimulus"]) for record in records}
    assert len(tracks) == 20


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}")
def test_every_window_has_the_background_of_its_recording(tmp_path: Path) -> None:
    recipe = load_recipe("cvep20")
    folder = DATA / recipe.source.folder
    located, _ = survey(recipe, folder)
    samples = RecordingSamples(recipe, folder, "train", tmp_path)
    of_recordings = [{tuple(record["json"]["background"]) for record in samples.records([one])} for one in located[:2]]
    (first,), (second,) = of_recordings
    assert len(first) == len(second) == 45
    assert first != second
    record = next(iter(samples.records(located[:1])))
    assert window_of(record).background == first


def test_a_second_run_in_the_same_folder_is_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroleon.common.files.LOCK_WAIT_S", 0.0)
    with locked(own / "out" / "own" / ".tasks" / "lock"), pytest.raises(ConfigError, match=r"own.*another run is at"):
        prepare(own)
    assert prepare(own).samples["train"] == 16
