"""The EEG tokenizer's stage on a few real windows: its batches, what its loss ignores, and that it learns."""

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cvep_stage import N_CHANS, N_WINDOWS, OFF, TINY, losses, records, stage, started, write_samples
from loguru import logger
from torch import Tensor

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import atomic_folder
from neuroleon.common.learned import Learned
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg import heads
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.training.stages.eeg_tokenizer import (
    EEGLossConfig,
    EEGTokenizerStageConfig,
)
from neuroleon.training.stages.eeg_windows import EEGDataConfig

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def test_a_batch_is_a_pure_function_of_seed_and_index(cvep: Path) -> None:
    first, again, other = stage(cvep), stage(cvep), stage(cvep, seed=1)
    later, one = first.batch(4), first.batch(3)
    assert one["eeg"].shape == (N_WINDOWS, N_CHANS, 400)
    for name, value in again.batch(3).items():
        torch.testing.assert_close(value, one[name], rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(one["eeg"], later["eeg"])
    assert not torch.equal(one["eeg"], other.batch(3)["eeg"])
    assert first.fingerprint == again.fingerprint
    module = first.build().eval()
    with torch.no_grad():
        assert first.loss(module, one)["wave"] == first.loss(module, one)["wave"], "what is spoiled hangs on the batch"


def test_levels_are_dropped_in_most_windows_and_the_run_knows_how_far_it_is(cvep: Path) -> None:
    made = stage(cvep)
    batches = [made.batch(i) for i in range(25)]
    keep = torch.cat([batch["keep"] for batch in batches])
    assert set(keep.tolist()) == {1, 2, 3}
    # all levels in 0.3 of the windows; of the others one in half, as 1 to 2 is half of the way from 1 to 4 in ratios
    assert (keep == 3).double().mean().item() == pytest.approx(0.3 + 0.7 * np.log(4 / 3) / np.log(4), abs=0.08)
    assert (keep == 1).double().mean().item() == pytest.approx(0.7 / 2, abs=0.08)
    assert [made.batch(i)["progress"].item() for i in (0, 25, 50, 99)] == [0.0, 0.5, 1.0, 1.0]


def test_a_window_that_keeps_one_level_is_restored_from_that_level(cvep: Path) -> None:
    made = stage(cvep)
    batch = made.batch(1)
    every, one = ({**batch, "keep": torch.full((N_WINDOWS,), levels)} for levels in (3, 1))
    with_all, with_one = losses(made, every), losses(made, one)
    assert with_all["wave"] != with_one["wave"]
    assert with_all["commitment"] == with_one["commitment"]


def test_channels_that_a_recording_lacks_never_enter(cvep: Path) -> None:
    made = stage(cvep)
    batch = made.batch(1)
    absent = ~batch["known"]
    assert absent.any()
    assert not absent.all(dim=1).any()
    assert not batch["eeg"][absent].any()
    filled = dict(batch)
    filled["eeg"] = torch.where(absent[..., None], 5.0, batch["eeg"])
    filled["electrodes"] = torch.where(absent[..., None], torch.tensor([0.3] * 6 + [0.0]), batch["electrodes"])
    assert losses(made, filled) == pytest.approx(losses(made, batch), rel=1e-5, nan_ok=True)
    filled["known"] = torch.ones_like(absent)
    assert losses(made, filled)["wave"] != pytest.approx(losses(made, batch)["wave"], rel=1e-3)


def test_samples_that_a_window_lacks_never_enter(cvep: Path) -> None:
    made = stage(cvep)
    batch = made.batch(1)
    batch["valid"] = batch["valid"].clone()
    batch["valid"][::2, 250:] = False
    filled = {**batch, "eeg": torch.where(batch["valid"][:, None], batch["eeg"], 9.0)}
    filled["stimulus"] = torch.where(batch["valid"], batch["stimulus"], 0.0)
    assert losses(made, filled) == pytest.approx(losses(made, batch), rel=1e-5, nan_ok=True)


def test_windows_without_a_label_or_a_stimulus_are_only_reconstructed(cvep: Path) -> None:
    made = stage(cvep)
    batch = next(b for b in map(made.batch, range(9)) if (b["label"] < 0).any())
    without = batch["label"] < 0
    assert torch.equal(without, batch["stimulus"].isnan().all(dim=1))
    module = started(made).eval()
    head = module.heads.labels["of_cvep"]
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.tensor([1.0, 0.0, 0.0])
    with torch.no_grad():
        always_x = made.loss(module, batch)["accuracy"].item()
    assert always_x == pytest.approx((batch["label"][~without] == 0).float().mean().item())
    plain = losses(made, batch)
    assert all(np.isfinite(value) for name, value in plain.items() if name != "contrast")
    nothing = {
        **batch,
        "label": torch.full((N_WINDOWS,), -1),
        "stimulus": torch.full((N_WINDOWS, 400), torch.nan),
    }
    alone = losses(made, nothing)
    assert np.isnan([alone["label"], alone["accuracy"], alone["stimulus"]]).all()
    weights = made.config.losses
    read = weights.label * plain["label"] + weights.stimulus * plain["stimulus"]
    assert alone["loss"] == pytest.approx(plain["loss"] - read, rel=1e-5)


def test_a_set_that_is_not_aligned_has_no_label_and_the_log_says_so(cvep: Path) -> None:
    made = stage(cvep, aligned=[])
    batch = made.batch(0)
    assert (batch["label"] == -1).all()
    assert batch["stimulus"].isnan().all()
    said: list[str] = []
    sink = logger.add(said.append, format="{message}")
    try:
        made.build()
        stage(cvep).build()
    finally:
        logger.remove(sink)
    left_out = [line for line in said if line.startswith("data.aligned leaves out")]
    assert left_out == ["data.aligned leaves out cvep: no codes are made for their labels\n"]


def test_settings_that_cannot_work_are_refused(cvep: Path) -> None:
    for wrong in ({"aligned": ["letters"]}, {"weights": {"letters": 2.0}}):
        with pytest.raises(ConfigError, match=r"letters.*cvep"):
            stage(cvep, **wrong)
    for levels in (0, 4):
        with pytest.raises(ConfigError, match="levels_in_use"):
            EEGTokenizerStageConfig(data=EEGDataConfig(samples=[cvep]), network=TINY, levels_in_use=levels)
    plain = replace(TINY, encoder_layers=0)
    for data, weights in (
        (EEGDataConfig(samples=[cvep], embeddings={"cvep": cvep / "e.npz"}), EEGLossConfig()),
        (EEGDataConfig(samples=[cvep]), EEGLossConfig(adversary=0.1)),
    ):
        with pytest.raises(ConfigError, match="encoder_layers"):
            EEGTokenizerStageConfig(data=data, network=plain, losses=weights)


def test_sets_of_different_front_ends_are_refused(cvep: Path, tmp_path: Path) -> None:
    other = write_samples(tmp_path / "other", records(), high_hz=40.0)
    with pytest.raises(ConfigError, match=r"other was preprocessed as|other as"):
        stage(cvep, samples=[cvep, other])


# --- the parts of the loss


def test_the_loss_is_the_weighted_sum_of_its_parts(cvep: Path, few: Path, embeddings: Path) -> None:
    weights = {"wave": 0.7, "label": 0.3, "contrast": 0.4, "adversary": 0.2, "commitment": 2.0}
    made = stage(cvep, loss=weights, samples=[cvep, few], embeddings={"cvep": embeddings})
    found = losses(made, made.batch(2))
    given = asdict(made.config.losses)
    parts = {name: value for name, value in found.items() if name not in {"loss", "accuracy"}}
    assert set(parts) == set(given) - {"label_smoothing"}
    assert found["loss"] == pytest.approx(sum(given[name] * value for name, value in parts.items()), rel=1e-5)


def test_losses_of_weight_0_leave_no_trace(cvep: Path, embeddings: Path) -> None:
    made = stage(cvep, loss=OFF | {"wave": 1.0}, embeddings={"cvep": embeddings})
    module = started(made)
    found = made.loss(module, made.batch(1))
    assert "adversary" not in found
    assert found["loss"].item() == found["wave"].item()
    (wanted,) = torch.autograd.grad(
        found["wave"], [module.network.encoder.context.to_semantic.weight], retain_graph=True
    )
    found["loss"].backward()
    torch.testing.assert_close(module.network.encoder.context.to_semantic.weight.grad, wanted)
    for head in (module.heads, module.contrast, module.adversary):
        assert all(p.grad is None or not p.grad.any() for p in head.parameters())


def test_a_loss_that_is_not_a_number_shows(cvep: Path) -> None:
    """Only what a batch does not have may be left out of the sum; the loop skips steps whose loss is NaN."""
    made = stage(cvep)
    module = started(made).eval()
    module.network.decoder.from_waveform.weight.data[0] = torch.nan
    with torch.no_grad():
        assert made.loss(module, made.batch(1))["loss"].isnan()
    module.network.encoder.context.to_semantic.bias.data[0] = torch.nan
    with torch.no_grad():
        assert made.loss(module, made.batch(1))["loss"].isnan()


def test_the_contrast_has_the_windows_with_an_embedding(cvep: Path, embeddings: Path) -> None:
    made = stage(cvep, loss=OFF | {"contrast": 1.0}, embeddings={"cvep": embeddings})
    assert made.fingerprint != stage(cvep).fingerprint
    batch = next(b for b in map(made.batch, range(9)) if b["embedding"].isnan().any())
    module = started(made)
    found = made.loss(module, batch)
    assert found["contrast"].isfinite()
    known = batch["embedding"].isfinite().all(1)
    assert torch.equal(known, batch["label"] >= 0)
    found["loss"].backward()
    assert module.network.encoder.context.to_semantic.weight.grad.norm() > 0, "the codes are drawn"
    assert module.network.decoder.to_field.weight.grad is None or not module.network.decoder.to_field.weight.grad.any()
    one = {**batch, "embedding": torch.where(torch.arange(N_WINDOWS)[:, None] == 1, batch["embedding"], torch.nan)}
    assert made.loss(module, one)["contrast"].isnan(), "nothing to tell apart"
    assert np.isnan(losses(stage(cvep), stage(cvep).batch(0))["contrast"])


def test_the_contrast_falls_in_training(cvep: Path, embeddings: Path) -> None:
    made = stage(cvep, loss=OFF | {"contrast": 1.0, "commitment": 1.0}, embeddings={"cvep": embeddings})
    module = started(made)
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    found = []
    for _ in range(15):
        parts = made.loss(module, made.batch(1))
        optimizer.zero_grad()
        parts["loss"].backward()
        optimizer.step()
        found.append(parts["contrast"].item())
    assert np.isfinite(found).all()
    assert np.mean(found[-3:]) < found[0] - 0.3


def test_the_adversary_pushes_the_codes_the_other_way(cvep: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage(cvep, loss=OFF | {"adversary": 1.0}, samples=[cvep, few])
    batch = made.batch(1) | {"progress": torch.tensor(1.0)}
    assert set(batch["set"].tolist()) == {0, 1}

    def gradients() -> tuple[Tensor, Tensor]:
        module = started(made)
        made.loss(module, batch)["loss"].backward()
        return module.network.encoder.context.to_semantic.weight.grad, module.adversary.classify[0].weight.grad

    codes, own = gradients()
    monkeypatch.setattr(heads, "_Reverse", SimpleNamespace(apply=lambda latents, strength: latents))
    plain_codes, plain_own = gradients()
    assert codes.norm() > 0
    torch.testing.assert_close(codes, -0.9999092 * plain_codes, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(own, plain_own)


def test_without_a_transformer_in_the_encoder_nothing_reads_labels_and_only_the_decoder_learns(cvep: Path) -> None:
    made = stage(cvep)
    made.config = replace(made.config, network=replace(TINY, encoder_layers=0))
    module = started(made)
    found = made.loss(module, made.batch(1))
    assert not {"label", "stimulus", "contrast", "adversary", "accuracy"} & set(found)
    found["loss"].backward()
    learning = {name for name, p in module.named_parameters() if p.requires_grad}
    assert learning
    assert all(name.startswith("network.decoder.") for name in learning)
    with torch.no_grad():
        numbers = made.validate(module.eval())
    assert "cvep/accuracy" not in numbers
    assert numbers["score"] == numbers["cvep/loss"] > 0


# --- the whole


@pytest.mark.parametrize("device", DEVICES)
def test_it_learns_shows_what_it_restores_and_exports_a_tokenizer(cvep: Path, tmp_path: Path, device: str) -> None:
    made = stage(cvep)
    torch.manual_seed(0)
    module = made.build().to(device)
    optimizer = torch.optim.AdamW(module.parameters(), 2e-3)
    totals = []
    for index in range(30):
        batch = {name: value.to(device) for name, value in made.batch(index % 2).items()}
        found = made.loss(module.train(), batch)
        optimizer.zero_grad()
        found["loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        totals.append(found["loss"].item())
    assert np.isfinite(totals).all()
    assert np.mean(totals[-5:]) < 0.9 * np.mean(totals[:5])
    with torch.no_grad():
        numbers = made.validate(module.eval())
        shown = made.examples(module)
    assert numbers["score"] == numbers["cvep/loss"] > 0
    assert 0 <= numbers["cvep/accuracy"] <= 1
    assert shown.pictures["cvep"].ndim == 3
    assert shown.pictures["cvep"].std() > 5
    with atomic_folder(tmp_path / "eeg") as temporary:
        made.export(module, temporary)
    tokenizer = EEGTokenizer.load(tmp_path / "eeg")
    assert tokenizer.preprocess == Preprocess()
    recordings = {"cvep": frozenset({"0/r0", "1/r1", "0/r2", "1/r3"})}
    assert Learned.read(tmp_path / "eeg") == Learned(train=recordings, validation=recordings, complete=True)
    first = records()[0]
    names, eeg = tuple(first["json"]["ch_names"]), first["npy"].astype(np.float32)
    window = Window(eeg, names, electrode_positions(names), scale_uV=1.0)
    (tokens,) = tokenizer.encode_windows([window])
    assert tokens.ids.shape == (16 * TINY.levels,)
    assert len(np.unique(tokens.ids)) > 2 * TINY.levels
    louder = tokenizer.encode_windows([replace(window, eeg_uV=2 * eeg, scale_uV=2.0)])[0]
    assert np.array_equal(louder.ids, tokens.ids)
    rng = np.random.default_rng(0)
    noise = replace(window, eeg_uV=rng.standard_normal(eeg.shape).astype(np.float32))
    (noise_tokens,) = tokenizer.encode_windows([noise])
    assert tokenizer.ood_z(noise, noise_tokens) > tokenizer.ood_z(window, tokens) > -5, (
        "it knows its validation windows"
    )
    (restored,) = tokenizer.decode_windows([tokens], window.positions, names)
    assert np.corrcoef(restored.eeg_uV.ravel(), eeg.ravel())[0, 1] > 0.1


def test_the_exported_tokenizer_writes_the_levels_that_documents_want(cvep: Path, tmp_path: Path) -> None:
    made = stage(cvep)
    made.config = replace(made.config, levels_in_use=1)
    with atomic_folder(tmp_path / "eeg") as temporary:
        made.export(started(made), temporary)
    tokenizer = EEGTokenizer.load(tmp_path / "eeg")
    assert (tokenizer.tokens_per_step, tokenizer.with_levels(2).tokens_per_step) == (1, 2)


def test_validation_is_the_mean_over_sets_and_the_same_every_time(cvep: Path, few: Path) -> None:
    made = stage(cvep, samples=[cvep, few])
    module = started(made).eval()
    with torch.no_grad():
        numbers, again = made.validate(module), made.validate(module)
    assert numbers == again
    assert numbers["score"] == pytest.approx((numbers["cvep/loss"] + numbers["few/loss"]) / 2)
    assert "few/accuracy" not in numbers, "it is not aligned"
    assert {"cvep/accuracy", "cvep/label", "cvep/wave", "cvep/correlation", "few/wave"} <= set(numbers)
