"""What can still be told from the EEG after each stage of the tokenizer, and who and where from its codes tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.eeg.probes import (
    Labels,
    Probe,
    ProbeResult,
    identity_probe,
    latent_probe,
    probe_of,
    riemann_probe,
)
from neuroleon.evaluation.eeg.sets import MeasuredSet, spread
from neuroleon.evaluation.stats import Estimate
from neuroleon.evaluation.trials import Trial
from neuroleon.tokenizers.eeg.config import SEMANTIC

RAW, RESTORED, LATENTS, CODES, FIRST, MEANING = "raw", "restored", "latents", "codes", "level 1", "semantic levels"
BOOTSTRAPS = 2000
STEADY = ("Riemann, flicker", "Riemann, rhythms")  # probes of what goes on through a window, not of when in it
IDENTIFIED = 200  # windows of each split of a set, at most


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Accuracy of probes on one set, by what they read; a mean over labels, so that chance is one over their number.

    `ratios` are over the accuracy on the raw signal, `above_chance` those of what both are above chance; both are empty
    where the raw signal itself is at chance.
    """

    recipe: str
    probe: str
    n_train: int
    n_test: int
    chance: float
    scores: dict[str, Estimate]
    ratios: dict[str, Estimate]
    above_chance: dict[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who, or which set, is told from codes averaged over a window, in recordings that were not learned from."""

    of: str
    recipe: str
    n_classes: int
    chance: float
    accuracy: Estimate


def cannot_be_probed(measured: MeasuredSet) -> str:
    """Why no probe can read a set, or nothing."""
    if len(measured.scored.label_texts) < 2:
        return "fewer than two labels"
    if measured.scored.audit.confounded:
        return "its class is the recording, so a probe would tell the recording"
    if not measured.size("train"):
        return "no training split to learn from"
    return ""


def probe_for(trials: Sequence[Trial]) -> Probe:
    """The probe that fits a set; of a set that nobody knows, that of responses to events."""
    return probe_of(trials) or partial(riemann_probe, kind="events")


def retention(measured: MeasuredSet, levels_in_use: int, seed: int) -> Retention:
    """The set's probe on the raw and on the restored signal, and a logistic regression on latents and codes.

    Raises:
        DataError: no probe can be trained.
    """
    splits, every = ("train", measured.split), measured.tokenizer.tokens_per_step
    train, test = (measured.labelled(split) for split in splits)
    labels, probe = Labels.of(train, test), probe_for(test)
    results = {
        RAW: probe(train, test),
        RESTORED: probe(*(measured.labelled(split, measured.signals(split, every)) for split in splits)),
    }
    features: dict[str, Callable[[str], list[np.ndarray]]] = {
        LATENTS: measured.latents,
        CODES: partial(measured.codes, levels=every),
    }
    if levels_in_use not in (1, every):
        features[f"codes, {levels_in_use} levels"] = partial(measured.codes, levels=levels_in_use)
    features[FIRST] = partial(measured.codes, levels=1)
    features[MEANING] = partial(_semantic, measured)
    view: Literal["time-resolved", "pooled"] = "pooled" if results[RAW].probe in STEADY else "time-resolved"
    for name, of in features.items():
        seen, asked = (_some(of(split), measured.with_label(split)) for split in splits)
        results[name] = latent_probe(seen, asked, labels, view, seed)
    return _compared(measured.recipe, results, labels, seed)


def _some(windows: Sequence[np.ndarray], which: Sequence[int]) -> list[np.ndarray]:
    return [windows[i] for i in which]


def _semantic(measured: MeasuredSet, split: str) -> list[np.ndarray]:
    """Vectors (n_steps, 2 * semantic_dim) of the semantic levels of each window."""
    first = measured.tokenizer.config.waveform_dim
    return [codes[:, first:] for codes in measured.codes(split, max(SEMANTIC) + 1)]


def _compared(recipe: str, results: dict[str, ProbeResult], labels: Labels, seed: int) -> Retention:
    raw = results[RAW]
    names, index, counts = np.unique(labels.test, return_inverse=True, return_counts=True)
    weights = len(index) / (len(names) * counts[index])  # as in `ProbeResult.balanced`
    values = {name: result.right * weights for name, result in results.items()}
    others = [name for name in results if name != RAW] if raw.balanced.low > raw.chance else []

    def over_raw(base: float) -> dict[str, Estimate]:
        return {name: ratio_ci(values[name] - base, values[RAW] - base, raw.clusters, seed) for name in others}

    return Retention(
        recipe=recipe,
        probe=raw.probe,
        n_train=raw.n_train,
        n_test=raw.n,
        chance=raw.chance,
        scores={name: result.balanced for name, result in results.items()},
        ratios=over_raw(0.0),
        above_chance=over_raw(raw.chance),
    )


def ratio_ci(first: np.ndarray, second: np.ndarray, clusters: np.ndarray, seed: int) -> Estimate:
    """Sum of `first` over sum of `second`, both (n,) of the same windows: paired bootstrap over trials, percentiles.

    Draws in which the second sum is not positive have no ratio and are left out.
    """
    _, index = np.unique(clusters, return_inverse=True)
    sums = np.stack([np.bincount(index, weights=values) for values in (first, second)], axis=1)
    n = len(sums)
    draws = generator("ratio", seed).multinomial(n, np.full(n, 1 / n), size=BOOTSTRAPS) @ sums
    possible = draws[draws[:, 1] > 0]
    low, high = np.quantile(possible[:, 0] / possible[:, 1], [0.025, 0.975])
    return Estimate(mean=float(first.sum() / second.sum()), low=float(low), high=float(high))


def identities(sets: Sequence[MeasuredSet], seed: int) -> tuple[list[Identity], list[str]]:
    """Which set, and which subject of each set, the pooled codes tell; and what could not be asked, and why."""
    found, left_out = [], []
    pooled = {measured.recipe: _described(measured) for measured in sets}
    everywhere = tuple(np.concatenate(parts) for parts in zip(*pooled.values(), strict=True))
    asked = {("data set", "all"): (everywhere[0], everywhere[1], everywhere[3])}
    asked |= {("subject", recipe): (codes, who, where) for recipe, (codes, _, who, where) in pooled.items()}
    for (of, recipe), (codes, names, recordings) in asked.items():
        try:
            result = identity_probe(list(codes), names, recordings, seed)
        except DataError as error:
            left_out.append(f"{of}, {recipe}: {error}")
            continue
        found.append(
            Identity(
                of=of,
                recipe=recipe,
                n_classes=round(1 / result.chance),
                chance=result.chance,
                accuracy=result.balanced,
            )
        )
    return found, left_out


def _described(measured: MeasuredSet) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Codes (n, 1, D) averaged over a window, set, subject and recording (n,) of windows of two splits."""
    rows = []
    for split in ("train", measured.split):
        if not measured.size(split):
            continue
        trials, codes = measured.trials(split).trials, measured.codes(split, measured.tokenizer.tokens_per_step)
        for i in spread(len(trials), IDENTIFIED):
            meta = trials[i].meta
            who = f"{measured.recipe}/{meta['subject']}"
            rows.append((codes[i].mean(axis=0, keepdims=True), measured.recipe, who, f"{who}/{meta['recording']}"))
    pooled, recipes, subjects, recordings = zip(*rows, strict=True)
    return np.stack(pooled), np.array(recipes), np.array(subjects), np.array(recordings)
