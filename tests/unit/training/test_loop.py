"""The loop learns, guards its weights and codebooks, and leaves a complete record."""

import json
import math
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from letters_stage import LettersConfig, LettersStage, train

from neuroleon.common.checkpoint import checkpoints, damage, load_tensors
from neuroleon.common.errors import CheckpointError, ConfigError, DataError
from neuroleon.common.files import locked, read_json, verify_folder
from neuroleon.training.config import LoopConfig
from neuroleon.training.guard import RECENT, Recent
from neuroleon.training.optim import parameter_groups
from neuroleon.training.stage import Stage
from neuroleon.training.state import Ema

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def lines(out: Path, kind: str) -> list[dict]:
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry["kind"] == kind]


def test_the_tiny_stage_is_a_stage_and_learns(tmp_path: Path) -> None:
    stage: Stage = LettersStage(LettersConfig(), seed=0)
    assert torch.equal(stage.batch(4)["x"], LettersStage(LettersConfig(), seed=0).batch(4)["x"])
    train(tmp_path, steps=60, validate_every=20, save_every=60)
    found = lines(tmp_path, "validation")
    assert found[-1]["accuracy"] > 0.6, "chance is 0.1"
    assert found[-1]["score"] < found[0]["score"]


def test_a_run_folder_is_complete(tmp_path: Path) -> None:
    final = train(tmp_path, steps=5, log_every=2)
    assert final == tmp_path / "final"
    verify_folder(final)
    assert "step 5 of 5" in (final / "README.md").read_text() or "step 4 of 5" in (final / "README.md").read_text()
    settings = {"lr": 1e-2, "data": {"samples": ["/disk/letters"]}}
    assert read_json(final / "training.json")["settings"] == settings
    assert [entry["step"] for entry in lines(tmp_path, "train")] == [2, 4]
    assert {"loss", "commitment", "gradient_norm", "rate"} <= lines(tmp_path, "train")[0].keys()
    assert [entry["step"] for entry in lines(tmp_path, "validation")] == [2, 4, 5], "the last step is always validated"
    assert read_json(tmp_path / "config.json") == settings
    assert f"torch=={torch.__version__.split('+')[0]}" in (tmp_path / "env.txt").read_text()
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_best_checkpoint_is_kept_and_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([3.0, 1.0, float("nan"), 2.0])
    monkeypatch.setattr(LettersStage, "validate", lambda self, module: {"score": next(scores)})
    train(tmp_path)
    kept = [p.name for p in checkpoints(tmp_path / "checkpoints")]
    assert kept == ["step-000008", "step-000007", "step-000004"]
    best = load_tensors(tmp_path / "checkpoints" / "step-000004" / "ema.safetensors")
    exported = load_tensors(tmp_path / "final" / "model.safetensors")
    assert all(torch.equal(exported[name], best[name]) for name in best)


def test_nothing_is_exported_without_a_finite_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LettersStage, "validate", lambda self, module: {"score": float("inf")})
    with pytest.raises(CheckpointError, match="no validation gave a finite score"):
        train(tmp_path, steps=2)
    assert not (tmp_path / "final").exists()


def test_the_average_has_the_codebook_and_lags_behind_the_weights(tmp_path: Path) -> None:
    train(tmp_path)
    folder = tmp_path / "checkpoints" / "step-000008"
    weights, average = load_tensors(folder / "model.safetensors"), load_tensors(folder / "ema.safetensors")
    codebooks = [name for name in weights if "_codebook" in name]
    assert codebooks
    assert all(torch.equal(weights[name], average[name]) for name in codebooks)
    assert not torch.equal(weights["head.weight"], average["head.weight"])


def test_the_average_of_a_short_run_forgets_its_random_start() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    ema = Ema(module, decay=0.999)
    torch.nn.init.ones_(module.weight)
    ema.update(step=0)
    assert ema.averages[0].item() == pytest.approx(0.9), "the decay of the first step is 1 / 10"
    torch.nn.init.zeros_(module.weight)
    ema.update(step=10**6)
    assert ema.averages[0].item() == pytest.approx(0.9 * 0.999)


@pytest.mark.faults
def test_a_step_that_is_not_finite_changes_neither_weights_nor_codebook(tmp_path: Path) -> None:
    """One NaN vector in a thousand makes a whole moving-average codebook NaN."""
    before, after = tmp_path / "before", tmp_path / "after"
    train(before, steps=4, stage=LettersConfig())
    train(after, steps=5, stage=LettersConfig(nan_batches=(9,)))  # the second micro-batch of step 5
    kept = load_tensors(after / "checkpoints" / "step-000004" / "model.safetensors")
    found = load_tensors(after / "checkpoints" / "step-000005" / "model.safetensors")
    assert all(torch.equal(kept[name], found[name]) for name in kept)
    assert len(lines(after, "skipped")) == 1
    assert lines(after, "skipped")[0]["loss"] is None
    assert read_json(after / "checkpoints" / "step-000005" / "state.json")["progress"]["skipped"] == 1


@pytest.mark.faults
def test_training_goes_on_after_a_skipped_step(tmp_path: Path) -> None:
    train(tmp_path, stage=LettersConfig(nan_batches=(4, 5, 9)))
    weights = load_tensors(tmp_path / "checkpoints" / "step-000008" / "model.safetensors")
    assert all(torch.isfinite(t).all() for t in weights.values())
    assert len(lines(tmp_path, "skipped")) == 2
    assert read_json(tmp_path / "checkpoints" / "step-000008" / "state.json")["progress"]["skipped_in_a_row"] == 0


@pytest.mark.faults
def test_a_spike_is_skipped_and_a_level_that_stays_is_not(tmp_path: Path) -> None:
    """Two batches a step: from step 81 on every batch is loud, before that those of step 71 alone."""
    loud = (140, *range(160, 240))
    train(tmp_path, steps=100, stage=LettersConfig(loud_batches=loud), validate_every=100, save_every=100)
    skipped = [entry["step"] for entry in lines(tmp_path, "skipped")]
    assert skipped[:2] == [71, 81]
    assert len(skipped) < 18, "a level that stays becomes the usual one"
    train(tmp_path / "any", steps=80, stage=LettersConfig(loud_batches=loud), spike_sigmas=None)
    assert lines(tmp_path / "any", "skipped") == []


def test_the_rule_for_spikes() -> None:
    recent = Recent()
    rng = np.random.default_rng(0)
    usual = rng.normal(2, 0.1, 300).tolist()
    assert [recent.fault(loss, 1.0 + loss, 6.0) for loss in usual] == [None] * 300
    assert len(recent.losses) == len(recent.norms) == RECENT
    assert recent.fault(2.5, 3.0, 6.0) is None
    assert "loss 3 is a spike" in str(recent.fault(3.0, 3.0, 6.0))
    assert "gradient norm 1e+30 is a spike" in str(recent.fault(2.0, 1e30, 6.0))
    assert "spike" in str(recent.fault(2.0, 1e30, 6.0)), "a huge value must not hide the next"
    assert "not finite" in str(recent.fault(math.nan, 3.0, 6.0))
    assert "not finite" in str(recent.fault(2.0, math.inf, None))
    assert max(recent.norms) < 10


def test_speed_is_logged_apart_from_what_can_be_repeated(tmp_path: Path) -> None:
    train(tmp_path)
    speeds = [json.loads(line) for line in (tmp_path / "speed.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in speeds] == list(range(1, 9))
    assert all(entry["letters_per_s"] > 0 and 0.05 < entry["memory_gb"] < 50 for entry in speeds)


@pytest.mark.faults
def test_a_worker_that_dies_ends_the_run_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = LettersStage.batch
    monkeypatch.setattr(LettersStage, "batch", lambda self, i: os._exit(3) if i == 5 else batch(self, i))
    with pytest.raises(DataError, match=r"process that makes batches died.*--resume auto"):
        train(tmp_path, num_workers=1)
    assert damage(checkpoints(tmp_path / "checkpoints")[0]) is None


@pytest.mark.faults
def test_an_error_of_the_stage_in_a_worker_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: LettersStage, index: int) -> None:
        raise RuntimeError("sample 17 does not stack")

    monkeypatch.setattr(LettersStage, "batch", broken)
    with pytest.raises(RuntimeError, match="sample 17 does not stack"):
        train(tmp_path, num_workers=1)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neuroleon.common.files.LOCK_WAIT_S", 0.2)
    with locked(tmp_path / "lock"), pytest.raises(ConfigError, match="another run is at work here"):
        train(tmp_path)
    assert train(tmp_path, steps=2) is not None
    with pytest.raises(ConfigError, match="--resume auto"):
        train(tmp_path)
    assert train(tmp_path, steps=3, resume="auto") is not None, "a run that was refused holds no lock"


@pytest.mark.faults
def test_a_signal_saves_first_and_the_next_part_validates(tmp_path: Path) -> None:
    """SIGTERM at the step of a validation: nothing stands between the signal and the save."""
    unbroken, run = tmp_path / "unbroken", tmp_path / "run"
    train(unbroken)
    stage = LettersConfig(sigterm_batches=(7,))  # the second batch of step 4, at which a validation is due
    assert train(run, stage=stage) is None
    assert [entry["step"] for entry in lines(run, "validation")] == [2]
    train(run, resume="auto")
    assert (run / "metrics.jsonl").read_text() == (unbroken / "metrics.jsonl").read_text()
    last = "checkpoints/step-000008/manifest.json"
    assert read_json(run / last) == read_json(unbroken / last)


def test_what_the_last_validation_found_is_in_the_last_checkpoint(tmp_path: Path) -> None:
    train(tmp_path, steps=10_000, validate_every=10_000, save_every=1, max_minutes=0.0)
    progress = read_json(tmp_path / "checkpoints" / "step-000001" / "state.json")["progress"]
    assert progress["best_step"] == progress["validated_step"] == 1


def test_an_average_cannot_come_or_go_on_the_way(tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    with pytest.raises(CheckpointError, match="settings of the run"):
        train(tmp_path, resume="auto", ema_decay=None)


@pytest.mark.faults
def test_a_worker_that_hangs_ends_the_run_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = LettersStage.batch
    monkeypatch.setattr("neuroleon.training.loop.WORKER_TIMEOUT_S", 2)
    monkeypatch.setattr(LettersStage, "batch", lambda self, i: time.sleep(600) if i == 5 else batch(self, i))
    with pytest.raises(DataError, match=r"gave none for 2 s.*timed out"):
        train(tmp_path, num_workers=1)


@pytest.mark.faults
def test_ten_bad_steps_in_a_row_end_the_run_and_name_the_batches(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"10 steps in a row .* batches 28 to 29"):
        train(tmp_path, steps=40, stage=LettersConfig(nan_batches=tuple(range(10, 80))))


def test_max_minutes_ends_a_run_with_a_result(tmp_path: Path) -> None:
    final = train(tmp_path, steps=10_000, validate_every=10_000, save_every=10_000, max_minutes=0.0)
    verify_folder(final)
    assert [p.name for p in checkpoints(tmp_path / "checkpoints")] == ["step-000001"]
    assert lines(tmp_path, "train")[0]["rate"] == pytest.approx(0.5e-2), "the schedule is that of the whole run"


def test_validation_does_not_disturb_training(tmp_path: Path) -> None:
    often, seldom = tmp_path / "often", tmp_path / "seldom"
    train(often, validate_every=1)
    train(seldom, validate_every=8)
    assert lines(often, "train") == lines(seldom, "train")


def test_matrices_decay_and_biases_norms_and_tables_do_not() -> None:
    module = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    module[1].weight.requires_grad_(True)
    decays, rest = parameter_groups(module, 0.1)
    assert decays["weight_decay"] == 0.1
    assert [id(p) for p in decays["params"]] == [id(module[1].weight)]
    assert rest["weight_decay"] == 0.0
    assert len(rest["params"]) == 4
    module[0].weight.requires_grad_(False)
    assert len(parameter_groups(module, 0.1)[1]["params"]) == 3, "frozen parameters are left out"


def test_bf16_learns_too_and_keeps_its_weights_in_fp32(tmp_path: Path) -> None:
    train(tmp_path / "bf16", steps=60, validate_every=60, save_every=60, mixed_precision="bf16")
    assert lines(tmp_path / "bf16", "validation")[-1]["accuracy"] > 0.6
    weights = load_tensors(tmp_path / "bf16" / "final" / "model.safetensors")
    assert {t.dtype for t in weights.values() if t.is_floating_point()} == {torch.float32}
    train(tmp_path / "fp32", steps=1)
    exact, rounded = lines(tmp_path / "fp32", "train")[0]["loss"], lines(tmp_path / "bf16", "train")[0]["loss"]
    assert exact != rounded
    assert exact == pytest.approx(rounded, rel=0.05)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"batches_per_step": 0}, {"num_workers": -1}, {"ema_decay": 1.0}])
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LoopConfig(**wrong)
