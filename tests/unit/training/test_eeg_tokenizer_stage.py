"""The EEG tokenizer's stage on a few real windows: its batches, what its loss ignores, and that it learns."""

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly
from scipy.special import softmax
from tiny_eeg import telling_labels
from torch import Tensor, nn

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import atomic_folder
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.signals.montage import electrode_positions
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg import heads
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.cross_fit import CrossFit, copy_without_folds
from neuroleon.tokenizers.eeg.evidence import Evidence
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.training.config import LoopConfig
from neuroleon.training.stages.eeg_tokenizer import (
    EEGLossConfig,
    EEGTokenizerStage,
    EEGTokenizerStageConfig,
    _set_trials,
)
from neuroleon.training.stages.eeg_windows import EEGDataConfig

CVEP = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "cvep20" / "cvep20.npz"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TINY = EEGTokenizerConfig(
    sources=4,
    dim=32,
    heads=2,
    encoder_layers=1,
    decoder_layers=1,
    levels=3,
    codes=32,
    code_dim=8,
    semantic_dim=6,
    dropout=0.0,
)
N_CHANS, N_WINDOWS = 8, 16
OFF = dict.fromkeys(asdict(EEGLossConfig()), 0.0)


def records(n_chans: int = N_CHANS, n: int = 24) -> list[dict[str, Any]]:
    """`n` windows of 2 s. Every fourth lacks two electrodes; every sixth has no label, and neither a stimulus."""
    with np.load(CVEP) as data:
        scaled = data["x"][:n].astype(np.float32)
        labels, names, codes = data["label"][:n].tolist(), data["ch"].tolist(), data["codes"]
    scaled = resample_poly(scaled, 5, 6, axis=-1)[..., :400]
    scaled /= np.diff(np.percentile(scaled, [25, 75])) / 1.349
    made = []
    for i, eeg in enumerate(scaled):
        kept = n_chans - 2 * (i % 4 == 3)
        told: dict[str, Any] = {
            "ch_names": names[:kept], "positions": electrode_positions(names[:kept]).tolist(), "sfreq": 200.0,
            "scale_uV": 10.0, "subject": str(i % 2), "recording": f"r{i % 4}", "label": None,
        }  # fmt: skip
        if i % 6:
            track = np.resize(codes[ord(labels[i]) - ord("A")], 400).astype(float).tolist()
            label = "xyz"[ord(labels[i]) % 3]
            told |= {"label": label, "stimulus": track, "label_text": f"the letter {label}"}
        made.append({"__key__": f"w{i}", "npy": eeg[:kept].clip(-15, 15).astype(np.float16), "json": told})
    return made


def write_samples(folder: Path, made: list[dict[str, Any]], **preprocess: Any) -> Path:
    n_train = len(made) * 2 // 3
    write_shard(shard_path(folder, "train", 0), made[:n_train], required=("json", "npy"))
    write_shard(shard_path(folder, "validation", 0), made[n_train:], required=("json", "npy"))
    labels = {"train": dict.fromkeys("xyz", 5)}
    write_manifest(folder, preprocess=Preprocess(**preprocess).to_json(), labels=labels)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not CVEP.is_file():
        pytest.skip("the shared data is absent")
    return write_samples(tmp_path_factory.mktemp("samples") / "cvep", records())


@pytest.fixture(scope="module")
def other_folder(folder: Path) -> Path:
    return write_samples(folder.parent / "few", records(n_chans=4))


@pytest.fixture(scope="module")
def embeddings(folder: Path) -> Path:
    path = folder.parent / "letters.npz"
    keys = [f"the letter {label}" for label in "xyz"]
    np.savez(path, keys=np.array(keys), vectors=np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32))
    return path


def stage(folder: Path, seed: int = 0, loss: dict[str, float] | None = None, **data: Any) -> EEGTokenizerStage:
    settings = EEGDataConfig(**{"samples": [folder], "aligned": ["cvep"], "batch_s": 2.0 * N_WINDOWS, **data})
    losses = EEGLossConfig(**(loss or {}))
    config = EEGTokenizerStageConfig(data=settings, network=TINY, losses=losses, loop=LoopConfig(steps=50))
    return EEGTokenizerStage(config, seed)


def started(made: EEGTokenizerStage) -> nn.Module:
    """One and the same network, whose codebooks are those of a first batch and whose decoder listens to every level."""
    torch.manual_seed(0)
    module = made.build().train()
    torch.nn.init.normal_(module.network.decoder.to_field.parametrizations.weight.original, std=0.01)
    with torch.no_grad():
        made.loss(module, made.batch(0))
    return module


def losses(made: EEGTokenizerStage, batch: dict[str, Tensor]) -> dict[str, float]:
    module = started(made).eval()
    with torch.no_grad():
        return {name: float(value) for name, value in made.loss(module, batch).items()}


def test_a_batch_is_a_pure_function_of_seed_and_index(folder: Path) -> None:
    first, again, other = stage(folder), stage(folder), stage(folder, seed=1)
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


def test_levels_are_dropped_in_most_windows_and_the_run_knows_how_far_it_is(folder: Path) -> None:
    made = stage(folder)
    batches = [made.batch(i) for i in range(25)]
    keep = torch.cat([batch["keep"] for batch in batches])
    assert set(keep.tolist()) == {1, 2, 3}
    # all levels in 0.3 of the windows; of the others one in half, as 1 to 2 is half of the way from 1 to 4 in ratios
    assert (keep == 3).double().mean().item() == pytest.approx(0.3 + 0.7 * np.log(4 / 3) / np.log(4), abs=0.08)
    assert (keep == 1).double().mean().item() == pytest.approx(0.7 / 2, abs=0.08)
    assert [made.batch(i)["progress"].item() for i in (0, 25, 50, 99)] == [0.0, 0.5, 1.0, 1.0]


def test_a_window_that_keeps_one_level_is_restored_from_that_level(folder: Path) -> None:
    made = stage(folder)
    batch = made.batch(1)
    every, one = ({**batch, "keep": torch.full((N_WINDOWS,), levels)} for levels in (3, 1))
    with_all, with_one = losses(made, every), losses(made, one)
    assert with_all["wave"] != with_one["wave"]
    assert with_all["commitment"] == with_one["commitment"]


def test_channels_that_a_recording_lacks_never_enter(folder: Path) -> None:
    made = stage(folder)
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


def test_samples_that_a_window_lacks_never_enter(folder: Path) -> None:
    made = stage(folder)
    batch = made.batch(1)
    batch["valid"] = batch["valid"].clone()
    batch["valid"][::2, 250:] = False
    filled = {**batch, "eeg": torch.where(batch["valid"][:, None], batch["eeg"], 9.0)}
    filled["stimulus"] = torch.where(batch["valid"], batch["stimulus"], 0.0)
    assert losses(made, filled) == pytest.approx(losses(made, batch), rel=1e-5, nan_ok=True)


def test_windows_without_a_label_or_a_stimulus_are_only_reconstructed(folder: Path) -> None:
    made = stage(folder)
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


def test_a_set_that_is_not_aligned_has_no_label(folder: Path) -> None:
    batch = stage(folder, aligned=[]).batch(0)
    assert (batch["label"] == -1).all()
    assert batch["stimulus"].isnan().all()


def test_settings_that_cannot_work_are_refused(folder: Path) -> None:
    for wrong in ({"aligned": ["letters"]}, {"weights": {"letters": 2.0}}):
        with pytest.raises(ConfigError, match=r"letters.*cvep"):
            stage(folder, **wrong)
    for levels in (0, 4):
        with pytest.raises(ConfigError, match="levels_in_use"):
            EEGTokenizerStageConfig(data=EEGDataConfig(samples=[folder]), network=TINY, levels_in_use=levels)
    plain = replace(TINY, encoder_layers=0)
    for data, losses in (
        (EEGDataConfig(samples=[folder], embeddings={"cvep": folder / "e.npz"}), EEGLossConfig()),
        (EEGDataConfig(samples=[folder]), EEGLossConfig(adversary=0.1)),
    ):
        with pytest.raises(ConfigError, match="encoder_layers"):
            EEGTokenizerStageConfig(data=data, network=plain, losses=losses)


def test_sets_of_different_front_ends_are_refused(folder: Path, tmp_path: Path) -> None:
    other = write_samples(tmp_path / "other", records(), high_hz=40.0)
    with pytest.raises(ConfigError, match=r"other was preprocessed as|other as"):
        stage(folder, samples=[folder, other])


# --- the parts of the loss


def test_the_loss_is_the_weighted_sum_of_its_parts(folder: Path, other_folder: Path, embeddings: Path) -> None:
    weights = {"wave": 0.7, "label": 0.3, "contrast": 0.4, "adversary": 0.2, "commitment": 2.0}
    made = stage(folder, loss=weights, samples=[folder, other_folder], embeddings={"cvep": embeddings})
    found = losses(made, made.batch(2))
    given = asdict(made.config.losses)
    parts = {name: value for name, value in found.items() if name not in {"loss", "accuracy"}}
    assert set(parts) == set(given) - {"label_smoothing"}
    assert found["loss"] == pytest.approx(sum(given[name] * value for name, value in parts.items()), rel=1e-5)


def test_losses_of_weight_0_leave_no_trace(folder: Path, embeddings: Path) -> None:
    made = stage(folder, loss=OFF | {"wave": 1.0}, embeddings={"cvep": embeddings})
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


def test_a_loss_that_is_not_a_number_shows(folder: Path) -> None:
    """Only what a batch does not have may be left out of the sum; the loop skips steps whose loss is NaN."""
    made = stage(folder)
    module = started(made).eval()
    module.network.decoder.from_waveform.weight.data[0] = torch.nan
    with torch.no_grad():
        assert made.loss(module, made.batch(1))["loss"].isnan()
    module.network.encoder.context.to_semantic.bias.data[0] = torch.nan
    with torch.no_grad():
        assert made.loss(module, made.batch(1))["loss"].isnan()


def test_the_contrast_has_the_windows_with_an_embedding(folder: Path, embeddings: Path) -> None:
    made = stage(folder, loss=OFF | {"contrast": 1.0}, embeddings={"cvep": embeddings})
    assert made.fingerprint != stage(folder).fingerprint
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
    assert np.isnan(losses(stage(folder), stage(folder).batch(0))["contrast"])


def test_the_contrast_falls_in_training(folder: Path, embeddings: Path) -> None:
    made = stage(folder, loss=OFF | {"contrast": 1.0, "commitment": 1.0}, embeddings={"cvep": embeddings})
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


def test_the_adversary_pushes_the_codes_the_other_way(
    folder: Path, other_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(folder, loss=OFF | {"adversary": 1.0}, samples=[folder, other_folder])
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


def test_without_a_transformer_in_the_encoder_nothing_reads_labels_and_only_the_decoder_learns(folder: Path) -> None:
    made = stage(folder)
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


# --- what labels are told by


def test_semantic_numbers_are_fitted_to_what_the_network_makes_of_a_window(folder: Path) -> None:
    """The trials that the fit reads and the steps that the encoder reads are the same numbers."""
    made = stage(folder)
    network = telling_labels(made.build().eval().network)
    network.encoder.context = None
    trials = list(made._labelled("cvep"))
    given, evidence, n = _set_trials(network, trials, 200.0), network.encoder.evidence, TINY.semantic_dim
    torch.nn.init.normal_(evidence.usual_response, std=0.1)
    torch.nn.init.normal_(evidence.usual_power, std=0.1)
    n_steps = 16
    responses = np.einsum("npk,pks->ns", given.steps[:, :n_steps], evidence.templates[:n_steps])
    log_odds = {
        0: responses - evidence.usual_response[:n_steps].sum(dim=0).numpy(),
        n: given.rhythms.mean(axis=1) @ evidence.spectra.numpy() - evidence.usual_power.numpy(),
    }
    for row, (_, batch) in enumerate(trials):
        numbers = network.encoder(batch["eeg"], batch["electrodes"], batch["known"], batch["valid"])[0, -1]
        for first, of_kind in log_odds.items():
            found = numbers[TINY.waveform_dim + first :][:2]
            expected = softmax(of_kind[row, :2]) - 0.5
            np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    assert np.ptp(log_odds[0][:, 0] - log_odds[0][:, 1]) > 0.1
    assert np.ptp(log_odds[n][:, 0] - log_odds[n][:, 1]) > 0.1


def test_labels_that_a_planted_response_tells_are_in_the_semantic_codes(folder: Path, tmp_path: Path) -> None:
    made = records(n=72)
    for record in made:
        if record["json"]["label"] is not None:
            place = 40 + 100 * "xyz".index(record["json"]["label"])
            record["npy"][:3, place : place + 25] += np.float16(8.0)
    planted = stage(write_samples(tmp_path / "cvep", made))
    network = planted.build().eval().network
    validation = planted.mixture.validation["cvep"]
    new = [
        (trial, planted.mixture.collate([("cvep", trial)]))
        for trial in map(validation.__getitem__, range(len(validation)))
    ]
    for trials in (list(planted._labelled("cvep")), new):
        right = [
            "xyz"[int(_codes(network, batch)[TINY.waveform_dim :][:3].argmax())] == trial.label
            for trial, batch in trials
            if trial.label is not None
        ]
        assert len(right) >= 7
        assert np.mean(right) > 0.8


def test_people_who_respond_in_ways_of_their_own_are_known_to_all_that_reads_a_window(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage tells the mixture whom the fit found, and encoder, losses and the exported tokenizer hear of it."""
    made = stage(folder)

    def known(evidence: Evidence, sets: Any, seed: int) -> tuple[list[Evidence], dict[str, np.ndarray]]:
        evidence.know(["1", "0"])
        assert evidence.own is not None
        evidence.own.told[:, :2] = evidence.own.posterior.trust[1:] = 1.0
        evidence.own.posterior.same_set[:2, :2] = 1.0
        torch.nn.init.normal_(evidence.own.heard, std=0.03)
        torch.nn.init.normal_(evidence.own.templates, std=0.1)
        return [], {}

    monkeypatch.setattr("neuroleon.training.stages.eeg_tokenizer.fit_evidence", known)
    module = started(made).eval()
    batch = made.batch(1)
    assert set(batch["subject"].tolist()) == {0, 1}
    anybody = batch | {"subject": torch.full_like(batch["subject"], -1)}
    with torch.no_grad():
        told, untold = (made.loss(module, of) for of in (batch, anybody))
    assert abs(float(told["loss"] - untold["loss"])) > 1e-6
    with atomic_folder(tmp_path / "eeg") as temporary:
        made.export(module, temporary)
    tokenizer = EEGTokenizer.load(tmp_path / "eeg")
    assert tokenizer.subjects == ("1", "0")
    window = made.mixture.validation["cvep"].window(0)
    assert window.subject in tokenizer.subjects
    own, others = tokenizer.encode_windows([window, replace(window, subject=None)])
    assert not np.array_equal(own.ids, others.ids)


def test_training_reads_a_trial_by_what_was_fitted_without_it_and_so_do_tokens(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(folder)
    windows, trials = made.mixture.train["cvep"], [trial for trial, _ in made._labelled("cvep")]
    n_trials = len(trials)
    folds_of = np.array([0 if trial.recording == "r1" else i % 2 for i, trial in enumerate(trials)])

    def fitted(evidence: Evidence, sets: Any, seed: int) -> tuple[list[Evidence], dict[str, np.ndarray]]:
        assert [len(trials.labels) for _, trials in sets] == [n_trials]
        folds = [Evidence(TINY), Evidence(TINY)]
        for of in (evidence, *folds):
            of.of_responses.same_set[:2, :2] = of.of_responses.trust[1:] = 1.0
            torch.nn.init.normal_(of.templates, std=0.05)
        return folds, {"cvep": folds_of}

    monkeypatch.setattr("neuroleon.training.stages.eeg_tokenizer.fit_evidence", fitted)
    module = started(made).eval()
    batch = made.batch(1)
    assert set(batch["fold"].tolist()) == {-1, 0, 1}, "windows without a label are in no fold"
    assert made.mixture.folds["cvep"]["r1"] == 0, "of a recording that is whole in one fold, every window is"
    assert not {"r0", "r2", "r3"} & set(made.mixture.folds["cvep"])
    given = [batch[name] for name in ("eeg", "electrodes", "known", "valid")]
    with torch.no_grad():
        latents = module.latents(batch, *given)
        for fold, evidence in ((-1, None), *enumerate(module.without_folds)):
            rows = batch["fold"] == fold
            expected = module.network.encoder(*(x[rows] for x in given), evidence=evidence)
            torch.testing.assert_close(latents[rows], expected)
            whole = module.network.encoder(*(x[rows] for x in given))
            assert (fold < 0) == torch.allclose(latents[rows], whole, atol=1e-3)
        assert all((of["fold"] == -1).all() for of in made.mixture.validation_batches("cvep"))
    with atomic_folder(tmp_path / "eeg") as temporary:
        made.export(module, temporary)
    tokenizer, cross_fit = EEGTokenizer.load(tmp_path / "eeg"), CrossFit.load(tmp_path / "eeg")
    differ = 0
    for trial, fold in zip(trials, folds_of, strict=True):
        of_fold = cross_fit.of(windows.reader.fingerprint, trial.key, trial.recording)
        assert of_fold is cross_fit.tokenizers[fold]
        window = windows.window(next(k for k in range(len(windows)) if windows[k].key == trial.key))
        differ += not np.array_equal(*(of.encode_windows([window])[0].ids for of in (of_fold, tokenizer)))
    assert differ > n_trials / 2
    assert cross_fit.of(made.mixture.validation["cvep"].reader.fingerprint, trials[0].key, "r1") is None
    copy_without_folds(tmp_path / "eeg", tmp_path / "model")
    assert EEGTokenizer.load(tmp_path / "model").fingerprint == tokenizer.fingerprint
    assert CrossFit.load(tmp_path / "model") == CrossFit()


def _codes(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """What the codes of a window's last step stand for."""
    latents = network.encoder(batch["eeg"], batch["electrodes"], batch["known"], batch["valid"])
    quantized: Tensor = network.quantizer.lookup(network.quantizer.encode(latents))
    return quantized[0, -1]


# --- the whole


@pytest.mark.parametrize("device", DEVICES)
def test_it_learns_shows_what_it_restores_and_exports_a_tokenizer(folder: Path, tmp_path: Path, device: str) -> None:
    made = stage(folder)
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


def test_the_exported_tokenizer_writes_the_levels_that_documents_want(folder: Path, tmp_path: Path) -> None:
    made = stage(folder)
    made.config = replace(made.config, levels_in_use=1)
    with atomic_folder(tmp_path / "eeg") as temporary:
        made.export(started(made), temporary)
    tokenizer = EEGTokenizer.load(tmp_path / "eeg")
    assert (tokenizer.tokens_per_step, tokenizer.with_levels(2).tokens_per_step) == (1, 2)


def test_validation_is_the_mean_over_sets_and_the_same_every_time(folder: Path, other_folder: Path) -> None:
    made = stage(folder, samples=[folder, other_folder])
    module = started(made).eval()
    with torch.no_grad():
        numbers, again = made.validate(module), made.validate(module)
    assert numbers == again
    assert numbers["score"] == pytest.approx((numbers["cvep/loss"] + numbers["few/loss"]) / 2)
    assert "few/accuracy" not in numbers, "it is not aligned"
    assert {"cvep/accuracy", "cvep/label", "cvep/wave", "cvep/correlation", "few/wave"} <= set(numbers)
