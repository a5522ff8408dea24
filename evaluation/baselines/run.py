"""Baselines of one set: every method that fits it, under each split scheme, beside the controls that the model has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.splits import SPLITS
from neuroleon.evaluation.baselines.methods import Method, methods_for
from neuroleon.evaluation.baselines.schemes import Fold, folds_of, parts_of, require_scheme
from neuroleon.evaluation.baselines.scoring import Answered, answered, fed_controls, owners
from neuroleon.evaluation.baselines.windows import Windows, load_windows
from neuroleon.evaluation.results import BaselineResult
from neuroleon.evaluation.stats import compare
from neuroleon.evaluation.trials import balanced

ACCURACY, BALANCED, BITS = "accuracy", "balanced accuracy", "log2 p of the true answer among the set's"
BEST = "best"


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Three results (accuracy, balanced accuracy, bits) per scheme and method, and what was left out, why.

    `shards` is the fingerprint of those of the split that was asked about.
    """

    recipe: str
    shards: str
    results: tuple[BaselineResult, ...]
    left_out: tuple[str, ...]


def baselines(
    folder: Path,
    split: str,
    schemes: Sequence[str],
    limit: int | None,
    seed: int,
    picture_features: Mapping[str, np.ndarray] | None = None,
    before: Path | None = None,
) -> Baselines:
    """Fit the methods of the field to a folder of sample shards, and ask them what a model is asked.

    Accuracy is of the likeliest answer, frequencies of training included; balanced accuracy, a mean over the true
    answers, is of the likeliest were all equally frequent. Under the scheme `recipe` the windows asked about are those
    that `evaluate.py` draws for a model with the same split, limit, seed and windows before events.

    Args:
        split: is asked about under `recipe`; the other schemes part train and validation, and test if this is `test`.
        schemes: names of `schemes.SCHEMES`.
        limit: most windows asked about, balanced over answers; methods are fitted to all training windows.
        picture_features: picture's key -> (d,), what ridge regression predicts instead of 16 x 16 pixels.
        before: folder of windows before the events (`evaluation/before.py`); under `recipe` only windows that have one
            are asked about.

    Raises:
        ConfigError: no such scheme or split, or a limit below 2.
        DataError: the set is damaged, or has no windows with EEG and answers.
    """
    for scheme in schemes:
        require_scheme(scheme)
    if split not in SPLITS:
        raise ConfigError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    if limit is not None and limit < 2:
        raise ConfigError(f"limit is {limit}; expected at least 2 windows, or null for all")
    results: list[BaselineResult] = []
    left_out, recipe = [], folder.name
    for scheme in schemes:
        windows = _windows(folder, scheme, split, limit, seed, picture_features, before)
        recipe = windows.recipe
        try:
            folds = _limited(windows, folds_of(scheme, windows, split, seed), limit, scheme, seed)
            found, without = _under_scheme(scheme, windows, folds, seed)
        except DataError as error:
            left_out.append(f"{scheme}: {error}")
        else:
            results += found
            left_out += [f"{scheme}, {reason}" for reason in without]
    shards = ShardReader(folder, split).fingerprint
    return Baselines(recipe=recipe, shards=shards, results=tuple(results), left_out=tuple(left_out))


def _windows(
    folder: Path,
    scheme: str,
    split: str,
    limit: int | None,
    seed: int,
    picture_features: Mapping[str, np.ndarray] | None,
    before: Path | None = None,
) -> Windows:
    """What a scheme may see: of the recipe's tested split `limit` windows, of all else everything."""
    parts = [part for part in parts_of(scheme, split) if part == split or len(ShardReader(folder, part))]
    limits = {part: limit if scheme == "recipe" and part == split != "train" else None for part in parts}
    known = {split: before} if scheme == "recipe" and before is not None else {}
    return load_windows(folder, limits, seed, picture_features, known)


def _limited(windows: Windows, folds: Sequence[Fold], limit: int | None, scheme: str, seed: int) -> list[Fold]:
    """The folds with at most `limit` tested windows in all; what is not asked about is still learned from."""
    tested = np.concatenate([fold.test for fold in folds])
    drawn = tested[balanced(list(windows.answers[tested]), limit, seed, windows.recipe, "baselines", scheme)]
    kept = [replace(fold, test=np.intersect1d(fold.test, drawn)) for fold in folds]
    return [fold for fold in kept if len(fold.test)]


def _under_scheme(
    scheme: str, windows: Windows, folds: Sequence[Fold], seed: int
) -> tuple[list[BaselineResult], list[str]]:
    """Results of every method, of the best in each fold, and the methods that were left out."""
    folds, fed, left_out = _controlled(windows, folds, seed)
    asked = windows.at(np.concatenate([fold.test for fold in folds]))
    said: dict[str, list[Answered]] = {}
    n_methods = len(methods_for(windows, seed))
    if not n_methods:
        raise DataError("no method fits the set: its answers are pictures, of which there are fewer than two")
    with tqdm(total=n_methods * len(folds), unit="fit", dynamic_ncols=True) as bar:
        for k in range(n_methods):
            make = partial(_method, windows, seed, k)
            bar.set_description(f"{windows.recipe}, {scheme}, {make().name}")
            try:
                answers = []
                for fold, conditions in zip(folds, fed, strict=True):
                    answers.append(answered(make, windows, fold, conditions, seed))
                    bar.update()
            except DataError as error:
                left_out.append(f"{make().name}: {error}")
            else:
                said[make().name] = answers
    if not said:
        raise DataError("; ".join(left_out))
    facts = _facts(windows, folds)
    results = []
    for name, answers in said.items():
        results += _results(scheme, name, answers, asked, seed, (*facts, *_heldout(answers)))
    chosen = [max(said, key=lambda name: said[name][i].heldout_bits) for i in range(len(folds))]
    best = [said[name][i] for i, name in enumerate(chosen)]
    which = ", ".join(f"{name} {chosen.count(name)}" for name in dict.fromkeys(chosen))
    remark = f"In each fold the method that did best in cross-validation of the training side (folds): {which}."
    return [*results, *_results(scheme, BEST, best, asked, seed, (*facts, remark, *_heldout(best)))], left_out


def _controlled(
    windows: Windows, folds: Sequence[Fold], seed: int
) -> tuple[list[Fold], list[dict[str, Windows]], list[str]]:
    """The folds whose EEG can be shuffled, what is fed in each, and why others are left out: no number without control.

    Raises:
        DataError: there is no such fold.
    """
    kept, fed, reasons = [], [], []
    for fold in folds:
        try:
            fed.append(fed_controls(windows, fold, seed))
        except DataError as error:
            reasons.append(str(error))
        else:
            kept.append(fold)
    if not kept:
        raise DataError(f"in none of {len(folds)} folds can the EEG be shuffled: {reasons[0]}")
    said = f"{len(reasons)} of {len(folds)} folds, whose EEG cannot be shuffled: {reasons[0]}" if reasons else ""
    return kept, fed, [said] if said else []


def _method(windows: Windows, seed: int, k: int) -> Method:
    return methods_for(windows, seed)[k]


def _facts(windows: Windows, folds: Sequence[Fold]) -> tuple[str, ...]:
    """What every method of a scheme was fitted to."""
    sizes = [len(fold.train) for fold in folds]
    facts = [f"{len(folds)} fold(s), fitted to {min(sizes)} to {max(sizes)} windows."]
    if len(np.unique(windows.subjects)) > 1:
        alone = [len(owners(windows.at(fold.train), windows.at(fold.test))) for fold in folds]
        asked = [len(np.unique(windows.subjects[fold.test])) for fold in folds]
        facts.append(
            f"Of the {sum(asked)} subjects asked about {sum(alone)} have training windows enough to be told from these "
            "alone (EEGNet and CCA: from all)."
        )
    if (missing := ~windows.has.all(axis=0)).any():
        names = ", ".join(np.array(windows.ch_names)[missing])
        facts.append(
            f"Not in all recordings, so left out, or what lacks them is not learned from (if little): {names}."
        )
    return tuple(facts)


def _heldout(answers: Sequence[Answered]) -> tuple[str, ...]:
    bits = float(np.mean([one.heldout_bits for one in answers]))
    units = ", ".join(sorted({one.unit for one in answers}))
    return (f"Cross-validation of the training side, by {units}: log2 p {bits:.2f}.",)


def _results(
    scheme: str, method: str, answers: Sequence[Answered], asked: Windows, seed: int, remarks: tuple[str, ...]
) -> list[BaselineResult]:
    """Accuracy, balanced accuracy and bits of one method over all folds."""
    conditions = list(answers[0].logprobs)
    right, evenly, bits = (
        {c: np.concatenate([of(one, c) for one in answers]) for c in conditions}
        for of in (
            lambda one, c: (one.logprobs[c].argmax(axis=1) == one.truth).astype(float),
            lambda one, c: (one.scores[c].argmax(axis=1) == one.truth).astype(float),
            lambda one, c: one.logprobs[c][np.arange(len(one.truth)), one.truth] / np.log(2),
        )
    )
    names, index, counts = np.unique(asked.answers, return_inverse=True, return_counts=True)
    weights = len(index) / (len(names) * counts[index])
    share = counts / len(index)
    n_choices = [one.logprobs["real"].shape[1] for one in answers]
    chance = float(np.mean([1 / n for n in n_choices]))
    rows: list[tuple[str, str, dict[str, np.ndarray], float]] = [
        (ACCURACY, "share", right, chance),
        (BALANCED, "share", {c: values * weights for c, values in evenly.items()}, chance),
        (BITS, "bits", bits, float(np.sum(share * np.log2(share)))),
    ]
    auc = _auc(answers, asked)
    return [
        BaselineResult(
            method=method,
            scheme=scheme,
            comparison=compare(
                metric,
                unit,
                values,
                asked.trials,
                chance=level,
                seed=seed,
                subjects=asked.subjects,
                n_answers=n_choices[0] if len(set(n_choices)) == 1 else None,
            ),
            remarks=(*remarks, *auc),
            # balanced accuracy is no mean of what single windows score
            values={} if metric == BALANCED else dict(zip(asked.key.tolist(), map(float, values["real"]), strict=True)),
        )
        for metric, unit, values, level in rows
    ]


def _auc(answers: Sequence[Answered], asked: Windows) -> tuple[str, ...]:
    """Area under the ROC curve of two answers, inside each subject, as reference figures are often given."""
    from sklearn.metrics import roc_auc_score

    if any(one.scores["real"].shape[1] != 2 for one in answers):
        return ()
    found, truth = (
        np.concatenate(parts)
        for parts in zip(*((one.scores["real"] @ [-1.0, 1.0], one.truth) for one in answers), strict=True)
    )
    areas = []
    for subject in np.unique(asked.subjects):
        rows = asked.subjects == subject
        if len(np.unique(truth[rows])) == 2:
            areas.append(float(roc_auc_score(truth[rows], found[rows])))
    return (f"AUC by subject {min(areas):.2f} to {max(areas):.2f}, mean {np.mean(areas):.2f}.",) if areas else ()
