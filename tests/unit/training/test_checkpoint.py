"""Weights load strictly, and a damaged checkpoint is never taken for a good one."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from neuroleon.common.checkpoint import (
    checkpoints,
    damage,
    load_tensors,
    load_weights,
    newest_intact,
    prune,
    require_space,
    save_tensors,
    step_folder,
)
from neuroleon.common.errors import CheckpointError
from neuroleon.common.files import atomic_folder


def write(folder: Path, step: int) -> Path:
    with atomic_folder(step_folder(folder, step)) as temporary:
        save_tensors(temporary / "model.safetensors", {"weight": torch.full((100,), float(step))})
    return step_folder(folder, step)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_tied_weights_survive(tmp_path: Path) -> None:
    weight = torch.randn(3, 4)
    save_tensors(tmp_path / "w.safetensors", {"a": weight, "b": weight.T})
    loaded = load_tensors(tmp_path / "w.safetensors")
    assert torch.equal(loaded["a"], weight)
    assert torch.equal(loaded["b"], weight.T)


def test_dtype_changes_only_floating_tensors(tmp_path: Path) -> None:
    save_tensors(tmp_path / "w.safetensors", {"w": torch.ones(2), "n": torch.ones(2, dtype=torch.int64)}, torch.float16)
    assert {name: t.dtype for name, t in load_tensors(tmp_path / "w.safetensors").items()} == {
        "w": torch.float16,
        "n": torch.int64,
    }


@pytest.mark.parametrize(
    ("tensors", "found"),
    [
        ({"weight": torch.ones(2, 2)}, "1 weights missing"),
        ({"weight": torch.ones(2, 2), "bias": torch.ones(2), "more": torch.ones(2)}, "1 unknown"),
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2)}, "1 of another shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, tensors: dict, found: str) -> None:
    save_tensors(tmp_path / "w.safetensors", tensors)
    module = nn.Linear(2, 2)
    before = module.weight.clone()
    with pytest.raises(CheckpointError, match=found):
        load_weights(module, tmp_path / "w.safetensors")
    assert torch.equal(module.weight, before), "a refused file changes nothing"


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, 1) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_tensors(path)
    with pytest.raises(CheckpointError, match="absent"):
        load_tensors(tmp_path / "absent")


@pytest.mark.parametrize("harm", ["bit", "cut", "lost file", "lost manifest"])
def test_the_newest_undamaged_checkpoint_is_found(tmp_path: Path, harm: str) -> None:
    good, bad = write(tmp_path, 999_999), write(tmp_path, 1_000_000)  # by number, not by name
    weights = bad / "model.safetensors"
    match harm:
        case "bit":
            flip_a_bit(weights)
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-10])
        case "lost file":
            weights.unlink()
        case "lost manifest":
            (bad / "manifest.json").unlink()
    found, passed_over = newest_intact(tmp_path)
    assert found == good
    assert [path for path, _ in passed_over] == [bad]
    assert str(bad) in passed_over[0][1]


def test_folders_of_killed_writers_are_not_checkpoints(tmp_path: Path) -> None:
    (tmp_path / ".step-000009.tmp-77").mkdir()
    (tmp_path / "damaged-step-000008-1").mkdir()
    assert newest_intact(tmp_path) == (None, [])


def test_prune_keeps_the_newest_and_the_named_and_clears_leftovers(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        write(tmp_path, step)
    leftover = tmp_path / ".step-000006.tmp-77"
    leftover.mkdir()
    prune(tmp_path, keep=2, also=[2])
    assert [p.name for p in checkpoints(tmp_path)] == ["step-000005", "step-000004", "step-000002"]
    assert not leftover.exists()


def test_a_kill_while_old_checkpoints_are_deleted_leaves_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, ignore_errors: bool = False) -> None:
        next(path.iterdir()).unlink()
        raise KeyboardInterrupt

    for step in (1, 2, 3):
        write(tmp_path, step)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prune(tmp_path, keep=1, also=[])
    assert [damage(checkpoint) for checkpoint in checkpoints(tmp_path)] == [None]
    write(tmp_path, 1)
    prune(tmp_path, keep=1, also=[])
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]


def test_a_disk_without_room_is_named_before_writing(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(CheckpointError, match="MB free"):
        require_space(tmp_path, 10**18)
