"""One run on one rank, on two and on four: the same steps to the last bit, and each goes on where another ended."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from letters_stage import train
from torch import nn

from neuroleon.common.checkpoint import load_tensors
from neuroleon.common.errors import ConfigError
from neuroleon.common.files import read_json
from neuroleon.training.parallel import PairwiseSum, micro_batches

pytestmark = pytest.mark.faults

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
STEPS = 6


def on_ranks(*runs: tuple[int, Path, dict[str, Any]]) -> str:
    """One after the other, train the letters on so many processes, in a folder, with options of `train`; what was said.

    The network has no codebook: one learns in the forward pass of each rank. A fresh process forks the ranks.
    """
    named = [(n, str(out), {"steps": STEPS, "batches_per_step": 4, "network": "deep", **o}) for n, out, o in runs]
    code = (
        f"import sys\nsys.path.insert(0, {str(HERE)!r})\nimport letters_stage\nfrom pathlib import Path\n"
        "from accelerate import debug_launcher\n"
        f"for n, out, options in {named!r}:\n"
        "    debug_launcher(lambda: letters_stage.train(Path(out), **options), num_processes=n)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stderr


def ends(out: Path) -> dict[str, object]:
    """Everything of a run that must be the same: weights, average, moments, counters, log."""
    last = out / "checkpoints" / f"step-{STEPS:06d}"
    return {"checkpoint": read_json(last / "manifest.json"), "log": (out / "metrics.jsonl").read_text()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    on_ranks((1, out, {}))
    return out


def test_the_number_of_ranks_changes_no_bit(tmp_path: Path, alone: Path) -> None:
    on_ranks((2, tmp_path / "two", {}), (4, tmp_path / "four", {}))
    assert ends(tmp_path / "two") == ends(alone)
    assert ends(tmp_path / "four") == ends(alone)


def test_a_run_goes_on_on_another_number_of_ranks_and_of_workers(tmp_path: Path, alone: Path) -> None:
    out = tmp_path / "run"
    said = on_ranks(
        (2, out, {"sigterm_batches": (5,)}),  # one of the two ranks is told to end at step 2
        (1, out, {"sigterm_batches": (14,), "resume": "auto"}),
        (4, out, {"resume": "auto", "num_workers": 1}),
    )
    assert ends(out) == ends(alone)
    assert "saved after 2 steps" in said
    assert "saved after 4 steps" in said


def test_weights_split_over_ranks_learn_the_same_and_resume(tmp_path: Path, alone: Path) -> None:
    """FSDP2 adds in its own order: equal up to rounding; and its checkpoints are those of any other run."""
    out, whole = tmp_path / "run", tmp_path / "whole"
    on_ranks(
        (2, whole, {"shard": True}),
        (2, out, {"shard": True, "sigterm_batches": (9,)}),
        (2, out, {"shard": True, "resume": "auto", "recompute": True}),
        (1, out, {"resume": "auto", "steps": STEPS + 1}),
    )
    last = f"checkpoints/step-{STEPS:06d}"
    assert read_json(out / last / "manifest.json") == read_json(whole / last / "manifest.json")
    for name in ("model", "ema", "optimizer"):
        found, expected = (load_tensors(run / last / f"{name}.safetensors") for run in (whole, alone))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)
    best = read_json(whole / last / "state.json")["progress"]["best_step"]
    exported = load_tensors(whole / "final" / "model.safetensors")
    average = load_tensors(whole / "checkpoints" / f"step-{best:06d}" / "ema.safetensors")
    assert exported.keys() == average.keys()
    assert all(torch.equal(exported[name], average[name]) for name in average)


def test_ranks_with_a_codebook_skip_a_bad_batch_together(tmp_path: Path) -> None:
    """The codebook adds up what all ranks saw, inside the forward pass: none of them may leave it out."""
    on_ranks((2, tmp_path / "run", {"network": "flat", "nan_batches": (9,)}))
    entries = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in entries if entry["kind"] == "skipped"] == [3]
    weights = load_tensors(tmp_path / "run" / "checkpoints" / f"step-{STEPS:06d}" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_ranks_agree_that_a_picture_was_bad(tmp_path: Path) -> None:
    """The image tokenizer leaves its codebook alone then; where only one rank did, the other would wait for ever."""
    code = (
        "import torch\nfrom accelerate import Accelerator, debug_launcher\n"
        "from neuroleon.tokenizers.vqgan import VQGANConfig\n"
        "from neuroleon.tokenizers.vqgan_loss import VQGANLossConfig, VQGANTraining\n"
        "def ranks():\n"
        "    rank = Accelerator(cpu=True).process_index\n"
        "    sizes = dict(resolution=16, patch=2, ch=32, ch_mult=(1, 2), z_channels=8, codebook_size=16, code_dim=4)\n"
        "    module = VQGANTraining(VQGANConfig(**sizes), VQGANLossConfig()).train()\n"
        "    pictures = torch.rand(4, 3, 16, 16)\n"
        "    module(pictures, 0)\n"
        "    before = {name: value.clone() for name, value in module.named_buffers()}\n"
        "    bad = pictures.clone()\n"
        "    bad[0, 0, 0, 0] = float('nan') if rank == 0 else 0.5\n"
        "    assert module(bad, 1)['loss'].isfinite().item() == (rank == 1)\n"
        "    assert all(torch.equal(before[name], value) for name, value in module.named_buffers())\n"
        "    assert module(pictures, 2)['loss'].isfinite()\n"
        "debug_launcher(ranks, num_processes=2)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_a_step_that_the_ranks_cannot_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="batches_per_step is 3 and there are 2 ranks"):
        on_ranks((2, tmp_path / "run", {"batches_per_step": 3}))


@pytest.mark.parametrize("setting", ["recompute", "compile", "shard"])
def test_a_stage_without_blocks_says_so(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ConfigError, match=f"loop.{setting}"):
        train(tmp_path, **{setting: True})


@pytest.mark.parametrize("setting", ["recompute", "compile"])
def test_how_blocks_are_computed_does_not_change_what_is_learned(tmp_path: Path, alone: Path, setting: str) -> None:
    train(tmp_path, steps=STEPS, batches_per_step=4, network="deep", **{setting: True})
    path = f"checkpoints/step-{STEPS:06d}/model.safetensors"
    found, expected = load_tensors(tmp_path / path), load_tensors(alone / path)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)


def test_every_batch_of_a_step_is_computed_once_and_neighbours_together() -> None:
    for ranks in (1, 2, 4, 8):
        shares = [list(micro_batches(24, 8, rank, ranks)) for rank in range(ranks)]
        assert [index for share in shares for index in share] == list(range(24, 32))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8])
def test_gradients_are_added_as_a_tree(n: int) -> None:
    """The sum of float32 numbers of very different sizes shows its order."""
    torch.manual_seed(n)
    values = torch.randn(8, 50) * 10.0 ** torch.randint(-6, 7, (8, 50))

    def tree(rows: list[torch.Tensor]) -> torch.Tensor:
        if len(rows) == 1:
            return rows[0]
        half = 1 << ((len(rows) - 1).bit_length() - 1)  # the largest whole subtree on the left
        return tree(rows[:half]) + tree(rows[half:])

    weight, unused = nn.Parameter(torch.zeros(50)), nn.Parameter(torch.zeros(3))
    total = PairwiseSum([weight, unused])
    for row in values[:n]:
        (weight * row).sum().backward()
        total.add()
    total.finish()
    assert weight.grad is not None
    assert torch.equal(weight.grad, tree(list(values[:n])))
    assert unused.grad is None
    if n == 8:
        assert not torch.equal(weight.grad, values.sum(0)), "these numbers cannot tell one order from another"
