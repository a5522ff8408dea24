import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.tokenizers.vocabulary import MODALITIES, N_SPECIAL, SPECIAL_IDS, Vocabulary


def vocabulary(text: int = 300, image: int = 64, eeg: int = 48, eeg_fingerprint: str = "e") -> Vocabulary:
    return Vocabulary.of(
        text=SimpleNamespace(size=text, fingerprint="t"),
        image=SimpleNamespace(size=image, fingerprint="i", tokens=16),
        eeg=SimpleNamespace(size=eeg, fingerprint=eeg_fingerprint, tokens_per_step=4),
    )


@given(st.sampled_from(MODALITIES), st.lists(st.integers(0, 47)))
def test_local_ids_survive_the_shared_space(modality: str, ids: list[int]) -> None:
    shared = vocabulary().to_shared(modality, ids)
    assert vocabulary().to_local(modality, shared).tolist() == ids
    assert set(vocabulary().modality_ids(shared).tolist()) <= {MODALITIES.index(modality) + 1}


@pytest.mark.parametrize("modality", MODALITIES)
def test_ids_outside_a_range_are_refused(modality: str) -> None:
    known = vocabulary()
    size = known.range_of(modality).size
    for wrong in (-1, size):
        with pytest.raises(DataError, match=str(wrong)):
            known.to_shared(modality, [0, wrong])
        with pytest.raises(DataError):
            known.to_local(modality, known.range_of(modality).start + wrong)


@given(st.integers(256, 5000), st.integers(1, 5000), st.integers(1, 500))
def test_ranges_tile_the_space(text: int, image: int, slots: int) -> None:
    made = vocabulary(text, image, 4 * slots)
    kinds = made.modality_ids(np.arange(made.size))
    expected = [0] * N_SPECIAL + [1] * text + [2] * image + [3] * 4 * slots
    assert kinds.tolist() == expected + [0] * (made.size - len(expected))
    assert made.size % 128 == 0
    assert made.size - len(expected) < 128
    assert [i for slot in made.eeg_slots for i in slot] == list(made.eeg.ids)


def test_special_ids_do_not_move() -> None:
    """Trained weights hang on these numbers."""
    expected = {"<pad>": 0, "<eod>": 1, "<break>": 2, "<eoss>": 3, "<txt>": 4, "</eeg>": 9, "<mask:0>": 10}
    expected |= {"<mask:31>": 41, "<scale:0>": 42, "<scale:31>": 73, "<task:eeg2image>": 74, "<task:eeg2label>": 81}
    assert {name: SPECIAL_IDS[name] for name in expected} == expected
    with pytest.raises(DataError, match="<nothing>"):
        vocabulary().special("<nothing>")


def test_every_id_has_its_own_name() -> None:
    made = vocabulary()
    assert len({made.describe(i) for i in range(made.size)}) == made.size


def test_eeg_ids_must_divide_into_slots() -> None:
    with pytest.raises(CheckpointError, match="slots"):
        vocabulary(eeg=50)


def test_saved_and_loaded_is_equal(tmp_path: Path) -> None:
    vocabulary().save(tmp_path / "vocabulary.json")
    loaded = Vocabulary.load(tmp_path / "vocabulary.json")
    assert loaded == vocabulary()
    assert loaded.fingerprint == vocabulary().fingerprint


def test_another_tokenizer_is_refused_with_both_hashes() -> None:
    ours, theirs = vocabulary(), vocabulary(eeg_fingerprint="f")
    ours.require(ours.fingerprint, "shard")
    with pytest.raises(CheckpointError, match=f"shard.*{theirs.fingerprint[:12]}.*{ours.fingerprint[:12]}"):
        ours.require(theirs.fingerprint, "shard")


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.pop("specials"),
        lambda c: c.update(extra=1),
        lambda c: c.update(format=2),
        lambda c: c["ranges"][1].update(tokens=17),
        lambda c: c["ranges"][1].update(size="64"),
        lambda c: c["ranges"][1].update(start=500),
        lambda c: c["ranges"].pop(),
        lambda c: c["specials"].update({"<break>": 9}),
        lambda c: c["specials"].update({"<task:new>": 137}),
        lambda c: c.update(fingerprint="0" * 64),
    ],
)
def test_edited_files_are_refused(tmp_path: Path, edit) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary().save(path)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"vocabulary"):
        Vocabulary.load(path)


def test_a_file_older_than_the_newest_task_still_loads(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.json"
    vocabulary().save(path)
    content = json.loads(path.read_text())
    content["specials"].popitem()
    path.write_text(json.dumps(content))
    assert Vocabulary.load(path) == vocabulary()
