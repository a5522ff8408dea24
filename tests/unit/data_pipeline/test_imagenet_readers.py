"""ImageNet-EEG and EEG-ImageNet, on small files of the published form: values, labels, pictures, the sets' splits."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_sets import picture, prepare

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers import eeg_imagenet, imagenet_eeg
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.sources import survey

WNIDS = ("n02389026", "n03888257")  # sorrel, parachute
NAMES = [f"{WNIDS[i % 2]}_{100 + i}" for i in range(8)]
SPLIT = {"train": [0, 1, 2, 3], "val": [4, 5], "test": [6, 7]}  # by picture
COUNT_UV = torch.tensor([0.5] * 32 + [0.1] * 96)[:, None]
OPTIONS = {"file": "eeg_5_95_std.pth", "splits": "block_splits_by_image_all.pth"}


def noise(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def write_imagenet_eeg(folder: Path, *, raw: bool = False) -> list[dict[str, Any]]:
    """Each of 6 people sees each of 8 pictures; some trials are too short or too long for the set's loader."""
    lengths = {(1, 0): 449, (2, 7): 601, (3, 1): 450, (4, 2): 600}
    trials = []
    for image in range(8):
        for subject in range(1, 7):
            eeg = noise((128, lengths.get((subject, image), 498 + image)), 10 * image + subject)
            eeg = (eeg * 10 / COUNT_UV).round().to(torch.int16) if raw else eeg
            trials.append({"eeg": eeg, "image": image, "label": image % 2, "subject": subject})
    content = {"dataset": trials, "labels": list(WNIDS), "images": NAMES}
    file = OPTIONS["file"]
    if raw:
        file, content = (
            "eeg_signals_raw_with_mean_std.pth",
            content | {"means": torch.zeros(1), "stddevs": torch.ones(1)},
        )
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / file, _use_new_zipfile_serialization=False)  # the form of torch before 1.6
    split = {part: [6 * i + s for i in images for s in range(6)] for part, images in SPLIT.items()}
    torch.save({"splits": [split]}, folder / OPTIONS["splits"])
    return trials


def test_imagenet_eeg_follows_the_split_by_image(tmp_path: Path) -> None:
    trials = write_imagenet_eeg(tmp_path)
    found = {recording.name: recording for recording in READERS["imagenet_eeg"].read(tmp_path, OPTIONS)}
    assert list(found)[:4] == ["sub-1-train", "sub-1-validation", "sub-1-test", "sub-2-train"]
    train = found["sub-1-train"]
    assert (train.subject, train.group, train.sfreq, train.ch_names[0]) == ("sub-1", "train", 1000.0, "Fp1")
    assert train.ch_names[17:19] + train.ch_names[127:] == ("CP5", "CP1", "I2")
    assert train.skipped == {"trials: not 450 to 600 samples long": 1}
    assert not train.left_out
    assert train.boundaries == (499, 999)  # pictures 1, 2, 3; picture 0 was too short
    np.testing.assert_array_equal(train.eeg_uV[:, 499:999], trials[12]["eeg"].numpy())
    assert [(event.onset_s, event.code) for event in train.events] == [
        (0.0, "n03888257"),
        (0.499, "n02389026"),
        (0.999, "n03888257"),
    ]
    assert train.events[1].info == {"image": "images/n02389026/n02389026_102.JPEG", "trial": 12}
    shown = {part: {event.info["image"] for event in found[f"sub-2-{part}"].events} for part in ("train", "validation")}
    assert not shown["train"] & shown["validation"]
    assert [found[name].n_times for name in ("sub-3-train", "sub-4-train", "sub-2-test")] == [
        498 + 450 + 500 + 501,
        498 + 499 + 600 + 501,
        504,
    ]


def test_imagenet_eeg_of_one_subject_with_order_and_crop(tmp_path: Path) -> None:
    trials = write_imagenet_eeg(tmp_path)
    torch.save({"splits": [SPLIT]}, tmp_path / "block_splits_by_image_single.pth")  # indices of subject 4 alone
    shown = [NAMES[i] for i in (1, 3, 5, 7, 0, 2, 4, 6)]
    (tmp_path / "image_order.txt").write_text("".join(f"{name}.JPEG\n" for name in shown))
    options = {
        "file": OPTIONS["file"],
        "splits": "block_splits_by_image_single.pth",
        "subjects": [4],
        "image_order": "image_order.txt",
        "crop": [20, 460],
    }
    train, validation, test = READERS["imagenet_eeg"].read(tmp_path, options)
    assert (train.name, train.boundaries) == ("sub-4-train", (440, 880, 1320))
    np.testing.assert_array_equal(test.eeg_uV[:, :440], trials[6 * 6 + 3]["eeg"].numpy()[:, 20:460])
    assert [(event.info["order"], event.info["block"]) for event in train.events] == [(4, 1), (0, 0), (5, 1), (1, 0)]
    assert [event.info["trial"] for event in validation.events] == [4, 5]  # among those of the subject
    for test in ([48], [-1], [0]):  # trial 0 is for training
        torch.save({"splits": [{**SPLIT, "test": test}]}, tmp_path / OPTIONS["splits"])
        with pytest.raises(DataError, match="expected each in one part and below 48"):
            list(READERS["imagenet_eeg"].read(tmp_path, OPTIONS))


def test_a_split_that_mixes_pictures_or_leaves_trials_out_is_refused(tmp_path: Path) -> None:
    write_imagenet_eeg(tmp_path)
    read, path = READERS["imagenet_eeg"].read, tmp_path / OPTIONS["splits"]
    single = {"train": list(range(24)), "val": list(range(24, 30)), "test": list(range(30, 36))}
    torch.save({"splits": [single]}, path)
    with pytest.raises(DataError, match=r"36 of 48 trials.*_single goes with subjects: \[4\]"):
        list(read(tmp_path, OPTIONS))
    mixed = {"train": list(range(33)), "val": list(range(33, 42)), "test": list(range(42, 48))}
    torch.save({"splits": [mixed]}, path)
    with pytest.raises(DataError, match="picture 5 is in train and validation"):
        list(read(tmp_path, OPTIONS))


def test_raw_counts_become_microvolts_channel_by_channel(tmp_path: Path) -> None:
    trials = write_imagenet_eeg(tmp_path, raw=True)
    options = OPTIONS | {"file": "eeg_signals_raw_with_mean_std.pth", "subjects": [5]}
    torch.save({"splits": [SPLIT]}, tmp_path / OPTIONS["splits"])
    train = next(READERS["imagenet_eeg"].read(tmp_path, options))
    counts = trials[4]["eeg"].numpy().astype(float)
    np.testing.assert_allclose(train.eeg_uV[:32, :498], counts[:32] * 0.5, rtol=1e-6)
    np.testing.assert_allclose(train.eeg_uV[32:, :498], counts[32:] * 0.1, rtol=1e-6)


@pytest.mark.parametrize("name", ["imagenet_eeg", "imagenet_eeg_raw"])
def test_imagenet_eeg_becomes_shards(tmp_path: Path, name: str) -> None:
    write_imagenet_eeg(tmp_path / "imagenet_eeg", raw=name.endswith("raw"))
    picture(tmp_path / "imagenet_eeg" / "images" / WNIDS[0] / f"{NAMES[6]}.JPEG", 200)
    report, shards = prepare(name, tmp_path)
    assert report.samples == {"train": 23, "validation": 12, "test": 11}
    assert report.labels["test"] == {"sorrel": 6, "parachute": 5}
    assert not report.failures
    assert report.notes["of 2 pictures of the test split are in training too"] == 0
    assert "      0  of 2 pictures of the test split are in training too" in str(report)
    assert report.left_out["trials: not 450 to 600 samples long"] == 2
    assert report.notes["window without its picture: the file is not here"] == 40
    with_picture = [record for record in shards["test"] if "png" in record]
    assert len(with_picture) == 6
    assert {record["json"]["label_text"] for record in with_picture} == {"sorrel horse"}
    assert abs(int(with_picture[0]["png"].mean()) - 200) < 4
    assert with_picture[0]["npy"].shape == (128, 75)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("canary",)


def test_damaged_imagenet_eeg_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trials = write_imagenet_eeg(tmp_path)
    file, read = tmp_path / OPTIONS["file"], READERS["imagenet_eeg"].read
    with pytest.raises(ConfigError, match="crop is"):
        list(read(tmp_path, OPTIONS | {"crop": [460, 20]}))
    with pytest.raises(ConfigError, match="unknown options"):
        list(read(tmp_path, OPTIONS | {"subject": 4}))
    with pytest.raises(DataError, match="no split 3"):
        list(read(tmp_path, OPTIONS | {"split": 3}))
    with pytest.raises(DataError, match=r"none\.pth: no such file"):
        list(READERS["imagenet_eeg"].locate(tmp_path, OPTIONS | {"file": "none.pth"}))
    content = {"labels": list(WNIDS), "images": NAMES}
    for damaged in (
        trials,
        content,
        content | {"dataset": [{**trials[0], "eeg": trials[0]["eeg"].T}]},
        content | {"dataset": [{"eeg": trials[0]["eeg"], "image": 0, "label": 0}]},
        content | {"dataset": trials, "extra": _Evil()},
    ):
        torch.save(damaged, file)
        with pytest.raises(DataError, match=r"eeg_5_95_std\.pth: "):
            list(read(tmp_path, OPTIONS))
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"eeg_5_95_std\.pth: not a file of tensors"):
        list(read(tmp_path, OPTIONS))
    assert not (tmp_path / "canary").exists()


def write_eeg_imagenet(folder: Path) -> dict[int, list[dict[str, Any]]]:
    """Two files of one person each; two classes of 50 pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for number, subject in ((1, 0), (2, 8)):
        trials = [
            {
                "eeg_data": noise((62, 501), 1000 * subject + 50 * k + i).double() * 1e-3,
                "granularity": ("coarse", "fine")[k],
                "subject": subject,
                "label": wnid,
                "image": f"{wnid}_{i}.JPEG",
            }
            for k, wnid in enumerate(("n07753592", "n02112826"))
            for i in range(50)
        ]
        content = {"dataset": trials, "labels": ["n07753592", "n02112826"], "images": [t["image"] for t in trials]}
        torch.save(content, folder / f"EEG-ImageNet_{number}.pth")
        written[subject] = trials
    return written


def test_eeg_imagenet_splits_each_class_at_30(tmp_path: Path) -> None:
    trials = write_eeg_imagenet(tmp_path)[8]
    found = {recording.name: recording for recording in READERS["eeg_imagenet"].read(tmp_path, {})}
    assert sorted(found) == [f"sub-{s}-{part}" for s in ("00", "08") for part in ("test", "train", "validation")]
    sizes = {name: len(recording.events) for name, recording in found.items() if recording.subject == "sub-08"}
    assert sizes == {"sub-08-train": 50, "sub-08-validation": 10, "sub-08-test": 40}
    test = found["sub-08-test"]
    assert [event.info["image"] for event in test.events[::20]] == [
        "imageNet_images/n07753592/n07753592_30.JPEG",
        "imageNet_images/n02112826/n02112826_30.JPEG",
    ]
    assert [event.info["granularity"] for event in test.events[::20]] == ["coarse", "fine"]
    np.testing.assert_allclose(test.eeg_uV[:, 501 : 2 * 501], trials[31]["eeg_data"].numpy(), rtol=1e-6)
    assert (test.ch_names[0], test.ch_names[23], test.ch_names[-1]) == ("Fp1", "T7", "CB2")
    assert len(found["sub-00-validation"].events) == 10
    without = {r.name for r in READERS["eeg_imagenet"].read(tmp_path, {"validation": 0})}
    assert without == {"sub-00-train", "sub-00-test", "sub-08-train", "sub-08-test"}


def test_a_picture_that_comes_again_stays_in_its_part(tmp_path: Path) -> None:
    """The authors count 87,850 pairs, more than 16 people with 80 classes of 50 pictures give."""
    eeg = torch.zeros((62, 501))
    order = [*range(50), *reversed(range(50)), *range(50, 100)]  # shown twice, then 50 others
    trials = [
        {"eeg_data": eeg, "granularity": "fine", "subject": 3, "label": "n1", "image": f"n1_{i}.JPEG"} for i in order
    ]
    torch.save({"dataset": trials, "labels": ["n1"], "images": []}, tmp_path / "EEG-ImageNet_1.pth")
    shown = {
        recording.group: sorted(
            {int(event.info["image"].removesuffix(".JPEG").split("_")[-1]) for event in recording.events}
        )
        for recording in READERS["eeg_imagenet"].read(tmp_path, {})
    }
    assert shown == {
        "train": [*range(25), *range(50, 75)],
        "validation": [*range(25, 30), *range(75, 80)],
        "test": [*range(30, 50), *range(80, 100)],
    }


def test_eeg_imagenet_becomes_shards(tmp_path: Path) -> None:
    folder = tmp_path / "eeg_imagenet"
    write_eeg_imagenet(folder)
    (folder / "EEG-ImageNet_2.pth").write_bytes(b"cut")
    picture(folder / "imageNet_images" / "n07753592" / "n07753592_49.JPEG", 90)
    report, shards = prepare("eeg_imagenet", tmp_path)
    assert report.samples == {"train": 50, "validation": 10, "test": 40}
    assert report.labels["test"] == {"banana": 20, "corgi": 20}
    assert [failure.name for failure in report.failures] == ["EEG-ImageNet_2.pth"]
    pictured = [record for record in shards["test"] if "png" in record]
    assert [(record["json"]["label"], abs(int(record["png"].mean()) - 90) < 4) for record in pictured] == [
        ("banana", True)
    ]
    assert pictured[0]["npy"].shape == (62, 100)


def test_wrong_eeg_imagenet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="validation is 30"):
        list(READERS["eeg_imagenet"].read(tmp_path, {"validation": 30}))
    with pytest.raises(DataError, match="no file fits"):
        list(READERS["eeg_imagenet"].read(tmp_path, {}))
    trials = write_eeg_imagenet(tmp_path)[0]
    for damaged in (
        [1],
        {"dataset": [{**trials[0], "eeg_data": trials[0]["eeg_data"][:60]}]},
        {"dataset": [{"label": "a"}]},
    ):
        torch.save(damaged, tmp_path / "EEG-ImageNet_1.pth")
        with pytest.raises(DataError, match=r"EEG-ImageNet_1\.pth: "):
            list(READERS["eeg_imagenet"].read(tmp_path, {}))


def test_the_channels_are_the_published_ones() -> None:
    assert (len(imagenet_eeg.CHANNELS), len(set(imagenet_eeg.CHANNELS))) == (128, 128)
    assert (len(eeg_imagenet.CHANNELS), len(set(eeg_imagenet.CHANNELS))) == (62, 62)


def test_listing_does_not_read_signals(tmp_path: Path) -> None:
    for name in OPTIONS.values():
        (tmp_path / "imagenet_eeg").mkdir(exist_ok=True)
        (tmp_path / "imagenet_eeg" / name).write_bytes(b"")
    located, failures = survey(load_recipe("imagenet_eeg"), tmp_path / "imagenet_eeg")
    assert (len(located), failures) == (18, [])
    assert {len(one.files) for one in located} == {2}
