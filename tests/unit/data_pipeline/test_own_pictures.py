"""Pictures and sentences that the events of a recording name."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from own_set import RECIPE, prepare, write_edf

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.members import encode
from neuroleon.data_pipeline.pairing import Pairing
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import Report
from neuroleon.data_pipeline.shards import ShardReader


def own_pictures(root: Path, names: list[str]) -> Pairing:
    """The pairing of a recipe whose events name pictures, with those of `names` in their place."""
    for i, name in enumerate(names):
        path = root / "shown" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode("png", np.full((80, 100, 3), 40 * i, np.uint8)))
    path = root / "own.yaml"
    texts = {"wordings": ["The person read: {sentence}"], "question": "What?"}
    path.write_text(yaml.safe_dump({**RECIPE, "labels": {"of": "none"}, "picture": {"kind": "own"}, "texts": texts}))
    return Pairing(load_recipe(path), root / "shown")


def test_an_event_names_the_picture_that_was_shown(tmp_path: Path) -> None:
    pairing = own_pictures(tmp_path, ["dog/a.png", "cat/a.png"])
    dog, cat = (pairing.picture(None, {"image": f"{kind}/a.png"}, "key") for kind in ("dog", "cat"))
    assert dog is not None
    assert cat is not None
    assert dog.key != cat.key
    assert "dog" not in dog.key  # a file's name may be a person's
    assert (dog.pixels.shape, int(dog.pixels[0, 0, 0]), int(cat.pixels[0, 0, 0])) == ((64, 64, 3), 0, 40)
    assert pairing.picture(None, {"image": "dog/b.png"}, "key") is None  # sets often come without their pictures
    assert pairing.picture(None, {}, "key") is None
    (tmp_path / "secret.png").write_bytes(encode("png", np.zeros((80, 80, 3), np.uint8)))
    for name in ("../secret.png", str(tmp_path / "secret.png"), "dog/a.txt"):
        with pytest.raises(DataError, match="no picture inside"):
            pairing.picture(None, {"image": name}, "key")


def seen(root: Path) -> Report:
    """What is made of one recording whose two events name `animals/cat.png` and `animals/dog.png`."""
    folder = root / "tree" / "sub-01" / "eeg"
    if not folder.exists():
        folder.mkdir(parents=True)
        write_edf(folder / "sub-01_task-look_eeg.edf", 1)
        rows = (
            ("onset", "trial_type", "stim_file"),
            ("1.0", "cat", "animals/cat.png"),
            ("4.0", "dog", "animals/dog.png"),
        )
        table = "".join("\t".join(row) + "\n" for row in rows)
        (folder / "sub-01_task-look_events.tsv").write_text(table)
    source = {"reader": "bids", "folder": "tree"}
    changes = {
        "source": source,
        "split": {"train": ["*"]},
        "picture": {"kind": "own"},
        "labels": {"map": {"cat": "cat", "dog": "dog"}},
    }
    return prepare(root, **changes)


def with_pictures(root: Path) -> list[str]:
    return [record["json"]["label"] for record in ShardReader(root / "out" / "own", "train") if "png" in record]


NOT_HERE, NOT_READABLE = (f"window without its picture: {why}" for why in ("the file is not here", "not readable"))


def test_pictures_that_come_later_are_taken_up_by_the_next_run(tmp_path: Path) -> None:
    assert seen(tmp_path).notes[NOT_HERE] == 2
    assert seen(tmp_path).skipped_tasks == 1
    cat = tmp_path / "tree" / "stimuli" / "animals" / "cat.png"
    cat.parent.mkdir(parents=True)
    cat.write_bytes(encode("png", np.full((80, 80, 3), 200, np.uint8)))
    report = seen(tmp_path)
    assert (report.skipped_tasks, report.notes[NOT_HERE], with_pictures(tmp_path)) == (0, 1, ["cat"])
    assert seen(tmp_path).skipped_tasks == 1


def test_a_picture_that_cannot_be_read_costs_no_other_and_is_tried_again(tmp_path: Path) -> None:
    animals = tmp_path / "tree" / "stimuli" / "animals"
    animals.mkdir(parents=True)
    (animals / "cat.png").write_bytes(b"no picture")
    (animals / "dog.png").write_bytes(encode("png", np.full((80, 80, 3), 200, np.uint8)))
    report = seen(tmp_path)
    assert (report.samples["train"], report.notes[NOT_READABLE], with_pictures(tmp_path)) == (2, 1, ["dog"])
    assert seen(tmp_path).skipped_tasks == 1
    shutil.copy(animals / "dog.png", animals / "cat.png")
    assert not seen(tmp_path).notes[NOT_READABLE]
    assert with_pictures(tmp_path) == ["cat", "dog"]


def test_a_folder_of_pictures_may_be_a_link_to_where_they_are(tmp_path: Path) -> None:
    """As ImageNet on another disk; and as git-annex has it, whose objects need no suffix."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "object").write_bytes(encode("png", np.full((80, 80, 3), 200, np.uint8)))
    (tmp_path / "disk" / "cat.png").symlink_to("object")
    (tmp_path / "tree" / "stimuli").mkdir(parents=True)
    (tmp_path / "tree" / "stimuli" / "animals").symlink_to(tmp_path / "disk")
    seen(tmp_path)
    assert with_pictures(tmp_path) == ["cat"]


def test_sentences_of_events_need_no_label(tmp_path: Path) -> None:
    pairing = own_pictures(tmp_path, [])
    said = pairing.texts(None, {"sentence": "Presents a good case."})
    assert said == {"texts": ["The person read: Presents a good case."], "label_text": None, "question": None}
    with pytest.raises(ConfigError, match="asks for sentence; the event has image"):
        pairing.texts(None, {"image": "a.png"})
