"""How the EEG tokenizer's stage has its semantic levels tell labels: of all, of a person, and of trials left out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cvep_stage import TINY, records, stage, started, write_samples
from scipy.special import softmax
from tiny_eeg import telling_labels
from torch import Tensor, nn

from neuroleon.common.files import atomic_folder
from neuroleon.signals.background import background_of
from neuroleon.tokenizers.eeg.cross_fit import CrossFit, copy_without_folds
from neuroleon.tokenizers.eeg.evidence import Evidence
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer
from neuroleon.training.stages.eeg_start import set_trials


def test_semantic_numbers_are_fitted_to_what_the_network_makes_of_a_window(cvep: Path) -> None:
    """The trials that the fit reads and the steps that the encoder reads are the same numbers."""
    made = stage(cvep)
    network = telling_labels(made.build().eval().network)
    network.encoder.context = None
    trials = list(made._labelled("cvep"))
    given, evidence, n = set_trials(network, trials, 200.0), network.encoder.evidence, TINY.semantic_dim
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


def test_labels_that_a_planted_response_tells_are_in_the_semantic_codes(cvep: Path, tmp_path: Path) -> None:
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


def test_rhythms_are_told_from_the_background_of_each_recording(cvep: Path, tmp_path: Path) -> None:
    """A rhythm that is stronger by its label, on top of one that differs more between recordings."""
    made, rng = records(n=72), np.random.default_rng(0)
    rhythm = np.sin(2 * np.pi * 20 * np.arange(400) / 200) * np.array([1, -1, 1, -1, 1, -1])[:, None]
    of_recordings: dict[str, list[np.ndarray]] = {}
    for record in made:
        told = record["json"]
        label, recording = "xyz".index(told["label"] or "y"), int(told["recording"][1:])
        record["npy"] = (0.7 * rng.standard_normal((len(record["npy"]), 400))).astype(np.float16)
        record["npy"][:6] += (0.05 * np.exp(0.8 * label + 0.8 * recording) * rhythm).astype(np.float16)
        of_recordings.setdefault(told["recording"], []).append(record["npy"][:6].astype(np.float64))
    backgrounds = {}
    for name, windows in of_recordings.items():
        twice = np.concatenate(2 * windows, axis=1)  # it takes a minute
        backgrounds[name] = background_of(twice, 200.0, tuple(range(400, twice.shape[1], 400)))
    right = {}
    for known in (False, True):
        for record in made:
            record["json"] |= {"background": backgrounds[record["json"]["recording"]]} if known else {}
        planted = stage(write_samples(tmp_path / str(known) / "cvep", made))
        network = planted.build().eval().network
        assert (network.encoder.evidence.usual_background is not None) == known
        trials = [(trial, batch) for trial, batch in planted._labelled("cvep") if trial.label]
        right[known] = np.mean(
            [
                "xyz"[int(_codes(network, batch)[TINY.waveform_dim + TINY.semantic_dim :][:3].argmax())] == trial.label
                for trial, batch in trials
            ]
        )
    assert right[True] > 0.8 > right[False] + 0.15


def test_a_causal_tokenizer_reads_power_as_it_is(cvep: Path, tmp_path: Path) -> None:
    """A stream begins before the background of its recording is known."""
    made = records()
    for record in made:
        record["json"]["background"] = [1.0] * 45
    folder = write_samples(tmp_path / "cvep", made)
    for causal in (False, True):
        of_stage = stage(folder)
        of_stage.config = replace(of_stage.config, network=replace(TINY, causal=causal))
        evidence = of_stage.build().network.encoder.evidence
        assert (evidence.usual_background is None) == causal


def test_people_who_respond_in_ways_of_their_own_are_known_to_all_that_reads_a_window(
    cvep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage tells the mixture whom the fit found, and encoder, losses and the exported tokenizer hear of it."""
    made = stage(cvep)

    def known(evidence: Evidence, sets: Any, seed: int) -> tuple[list[Evidence], dict[str, np.ndarray]]:
        evidence.know(["1", "0"], responses=True, rhythms=True)
        assert evidence.own is not None
        evidence.own.told[:, :2] = 1.0
        evidence.own.posterior.trust[:, 1:] = 1.0
        evidence.own.posterior.same_set[:2, :2] = 1.0
        torch.nn.init.normal_(evidence.own.heard, std=0.03)
        torch.nn.init.normal_(evidence.own.templates, std=0.1)
        assert evidence.own_rhythms is not None
        evidence.own_rhythms.told[:, 2:4] = 1.0
        evidence.own_rhythms.posterior.trust[:, 1:] = 1.0
        evidence.own_rhythms.posterior.same_set[2:4, 2:4] = 1.0
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
    cvep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage(cvep)
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
    given = ("eeg", "electrodes", "known", "valid", "subject", "background")
    latents = network.encoder(*(batch[name] for name in given))
    quantized: Tensor = network.quantizer.lookup(network.quantizer.encode(latents))
    return quantized[0, -1]
