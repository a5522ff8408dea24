"""The EEG tokenizer's stage on a few real windows: its batches, what its loss ignores, and that it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import atomic_folder
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.training.stages.eeg_tokenizer import EEGDataConfig, EEGTokenizerStage, EEGTokenizerStageConfig

CVEP = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cvep20" / "cvep20.npz"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TINY = EEGTokenizerConfig(
    sources=4, dim=32, heads=2, encoder_layers=1, decoder_layers=1, slots=2, codes=16, code_dim=8, dropout=0.0
)
N_CHANS = 8


def records() -> list[dict]:
    """24 windows of 2 s. Every fourth lacks two electrodes; every sixth has no label, and neither a stimulus."""
    with np.load(CVEP) as data:
        scaled = data["x"][:24].astype(np.float32)
        labels, names, codes = data["label"][:24].tolist(), data["ch"].tolist(), data["codes"]
    scaled = resample_poly(scaled, 5, 6, axis=-1)[..., :400]
    scaled /= np.diff(np.percentile(scaled, [25, 75])) / 1.349
    made = []
    for i, eeg in enumerate(scaled):
        kept = N_CHANS - 2 * (i % 4 == 3)
        told = {
            "ch_names": names[:kept], "positions": electrode_positions(names[:kept]).tolist(), "label": None
        }  # fmt: skip
        if i % 6:
            track = np.resize(codes[ord(labels[i]) - ord("A")], 400).astype(float).tolist()
            told |= {"label": "xyz"[ord(labels[i]) % 3], "stimulus": track}
        made.append({"__key__": f"w{i}", "npy": eeg[:kept].clip(-15, 15).astype(np.float16), "json": told})
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CVEP.is_file():
        pytest.skip("the shared data is absent")
    folder, made = tmp_path_factory.mktemp("samples") / "cvep", records()
    write_shard(shard_path(folder, "train", 0), made[:16])
    write_shard(shard_path(folder, "validation", 0), made[16:])
    write_manifest(folder)
    return folder


def stage(folder: Path, seed: int = 0, **data: object) -> EEGTokenizerStage:
    settings = EEGDataConfig(**{"samples": [folder], "aligned": ["cvep"], "batch_size": 8, **data})
    return EEGTokenizerStage(EEGTokenizerStageConfig(data=settings, network=TINY), seed)


def losses(made: EEGTokenizerStage, batch: dict[str, torch.Tensor]) -> dict[str, float]:
    """Of one and the same network, whose codebooks are those of a first batch."""
    torch.manual_seed(0)
    module = made.build().train()
    made.loss(module, made.batch(0))
    with torch.no_grad():
        return {name: float(value) for name, value in made.loss(module.eval(), batch).items()}


def test_a_batch_is_a_pure_function_of_seed_and_index(folder: Path) -> None:
    first, again, other = stage(folder), stage(folder), stage(folder, seed=1)
    later, one = first.batch(4), first.batch(3)
    assert one["eeg"].shape == (8, N_CHANS, 400)
    for name, value in again.batch(3).items():
        torch.testing.assert_close(value, one[name], rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(one["eeg"], later["eeg"])
    assert not torch.equal(one["eeg"], other.batch(3)["eeg"])
    assert first.fingerprint == again.fingerprint
    module = first.build().eval()
    with torch.no_grad():
        assert first.loss(module, one) == first.loss(module, one), "the noise is part of the batch"


def test_channels_that_a_recording_lacks_never_enter(folder: Path) -> None:
    made = stage(folder)
    batch = made.batch(1)
    absent = ~batch["known"]
    assert absent.any()
    assert not absent.all(dim=1).any()
    assert not batch["eeg"][absent].any()
    filled = dict(batch)
    filled["eeg"] = torch.where(absent[..., None], 5.0, batch["eeg"])
    filled["positions"] = torch.where(absent[..., None], 0.3, batch["positions"])
    assert losses(made, filled) == pytest.approx(losses(made, batch), rel=1e-5)
    filled["known"] = torch.ones_like(absent)
    assert losses(made, filled)["wave"] != pytest.approx(losses(made, batch)["wave"], rel=1e-3)


def test_windows_without_a_label_or_a_stimulus_are_only_reconstructed(folder: Path) -> None:
    made = stage(folder)
    batch = next(b for b in map(made.batch, range(9)) if (b["label"] < 0).any())
    without = batch["label"] < 0
    assert torch.equal(without, batch["stimulus"].isnan().all(dim=1))
    module = made.build().eval()
    torch.nn.init.zeros_(module.heads["cvep"].weight)
    module.heads["cvep"].bias.data = torch.tensor([1.0, 0.0, 0.0])
    with torch.no_grad():
        always_x = made.loss(module, batch)["accuracy"].item()
    assert always_x == pytest.approx((batch["label"][~without] == 0).float().mean().item())
    plain = losses(made, batch)
    assert all(np.isfinite(value) for value in plain.values())
    nothing = {**batch, "label": torch.full((8,), -1), "stimulus": torch.full((8, 400), torch.nan)}
    alone = losses(made, nothing)
    assert np.isnan([alone["label"], alone["accuracy"], alone["stimulus"]]).all()
    weights = made.config.losses
    heads = weights.label * plain["label"] + weights.stimulus * plain["stimulus"]
    assert alone["loss"] == pytest.approx(plain["loss"] - heads, rel=1e-5)


def test_a_set_that_is_not_aligned_has_no_label(folder: Path) -> None:
    batch = stage(folder, aligned=[]).batch(0)
    assert (batch["label"] == -1).all()
    assert batch["stimulus"].isnan().all()


def test_names_and_sets_that_cannot_work_are_refused(folder: Path, tmp_path: Path) -> None:
    for wrong in ({"aligned": ["letters"]}, {"weights": {"letters": 2.0}}):
        with pytest.raises(ConfigError, match=r"letters.*cvep"):
            stage(folder, **wrong)
    one_label = [{**r, "json": {**r["json"], "label": "x"}} for r in records()[:3]]
    bare = tmp_path / "cvep"
    write_shard(shard_path(bare, "train", 0), one_label)
    write_shard(shard_path(bare, "validation", 0), [])
    write_manifest(bare)
    with pytest.raises(ConfigError, match="cvep has no two labels"):
        stage(bare)
    with pytest.raises(DataError, match="no validation windows"):
        stage(bare, aligned=[])


@pytest.mark.parametrize("device", DEVICES)
def test_it_learns_shows_what_it_restores_and_exports_a_tokenizer(folder: Path, tmp_path: Path, device: str) -> None:
    made = stage(folder)
    torch.manual_seed(0)
    module = made.build().to(device)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-2)
    totals = []
    for index in range(40):
        batch = {name: value.to(device) for name, value in made.batch(index % 2).items()}
        found = made.loss(module.train(), batch)
        optimizer.zero_grad()
        found["loss"].backward()
        optimizer.step()
        totals.append(found["loss"].item())
    assert np.isfinite(totals).all()
    assert np.mean(totals[-5:]) < 0.85 * np.mean(totals[:5])
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
    names = tuple(records()[0]["json"]["ch_names"])
    eeg = records()[0]["npy"].astype(np.float32)
    window = Window(eeg, names, electrode_positions(names), scale_uV=1.0)
    (tokens,) = tokenizer.encode([window])
    assert tokens.ids.shape == (16 * TINY.tokens_per_step,)
    assert len(np.unique(tokens.ids)) > TINY.tokens_per_step
    louder = tokenizer.encode([replace(window, eeg_uV=2 * eeg, scale_uV=2.0)])[0]
    assert np.array_equal(louder.ids, tokens.ids)
