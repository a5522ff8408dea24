"""What the training of an EEG tokenizer starts from, read of labelled windows: what labels evoke, whose trials are
heard, and the usual background of recordings."""

from collections.abc import Mapping

import numpy as np
import torch
from loguru import logger
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from neuroleon.tokenizers.eeg.evidence import PLACES
from neuroleon.tokenizers.eeg.network import EEGNetwork, patches, whole_steps
from neuroleon.training.stages.eeg_evoked import Labelled, evoked_readout
from neuroleon.training.stages.eeg_numbers import SetTrials
from neuroleon.training.stages.eeg_windows import Trial

Trials = list[tuple[Trial, dict[str, Tensor]]]  # each with the batch of it alone, in whole steps


@torch.no_grad()
def fields(network: EEGNetwork, batch: dict[str, Tensor]) -> Tensor:
    """Coefficients (n, K * step_samples) of the whole steps of a batch."""
    field = network.encoder.spatial(batch["eeg"], batch["electrodes"], batch["known"])
    size = network.encoder.step_samples
    return patches(field, size)[whole_steps(batch["valid"], size)]


def readout(network: EEGNetwork, sets: Mapping[str, Trials], seed: int) -> Tensor:
    """What the labels of the aligned sets say must survive: rows of all sets' `evoked_readout`."""
    rows = [torch.zeros(0, network.encoder.to_waveform.in_features)]
    for trials in tqdm(sets.values(), desc="evoked responses", unit="set", dynamic_ncols=True):
        labelled = [
            Labelled(label=str(trial.label), subject=trial.subject, steps=fields(network, batch))
            for trial, batch in trials
        ]
        rows.append(evoked_readout(labelled, seed))
    return torch.cat(rows)


def fold_by_name(trials: list[Trial], folds: np.ndarray) -> dict[str, int]:
    """The fold (n,) that each recording is left out in; of trials whose recording is in several, by their keys."""
    of_recordings: dict[str, set[int]] = {}
    for trial, fold in zip(trials, folds.tolist(), strict=True):
        of_recordings.setdefault(trial.recording, set()).add(fold)
    whole = {name: found.pop() for name, found in of_recordings.items() if len(found) == 1}
    return {
        trial.recording if trial.recording in whole else trial.key: fold
        for trial, fold in zip(trials, folds.tolist(), strict=True)
    }


@torch.no_grad()
def set_trials(network: EEGNetwork, trials: Trials, sfreq: float) -> SetTrials:
    """What `fit_evidence` reads of a set, whose windows are at `sfreq` Hz."""
    encoder = network.encoder
    steps = np.full((len(trials), PLACES, encoder.evidence.templates.shape[1]), np.nan, np.float32)
    stimuli = np.full((len(trials), PLACES * encoder.step_samples), np.nan, np.float32)
    rhythms = []
    for row, (trial, batch) in enumerate(trials):
        field = encoder.spatial(batch["eeg"], batch["electrodes"], batch["known"])
        of_steps, power, known = encoder.evidence.numbers(field, batch["valid"], batch["background"])
        steps[row, : min(PLACES, of_steps.shape[1])] = of_steps[0, :PLACES].numpy()
        if trial.stimulus is not None:
            stimuli[row, : len(trial.stimulus)] = trial.stimulus[: stimuli.shape[1]]
        rhythms.append(power[0].masked_fill(~known[0, :, None], torch.nan))
    return SetTrials(
        steps=steps,
        rhythms=pad_sequence(rhythms, batch_first=True, padding_value=torch.nan).numpy(),
        loudness=encoder.evidence.loudness.numpy(),
        frequency=encoder.evidence.frequency.numpy(),
        stimuli=stimuli,
        sfreq=sfreq,
        labels=np.array([str(trial.label) for trial, _ in trials]),
        subjects=np.array([trial.subject for trial, _ in trials]),
        recordings=np.array([trial.recording for trial, _ in trials]),
    )


def usual_background(sets: Mapping[str, Trials]) -> Tensor | None:
    """The mean background spectrum (45,) of the recordings of labelled trials, every set as much; None without any."""
    of_sets = []
    for name, trials in sets.items():
        of_recordings = {trial.recording: trial.background for trial, _ in trials}
        known = [background for background in of_recordings.values() if background is not None]
        if known:
            of_sets.append(np.mean(known, axis=0))
        if len(known) < len(of_recordings):
            logger.info(
                f"{name}: {len(of_recordings) - len(known)} of {len(of_recordings)} recordings have no background "
                "spectrum (shorter than a minute, or samples prepared before it was measured): the usual one is used"
            )
    return torch.tensor(np.mean(of_sets, axis=0)) if of_sets else None
