"""What a simple classifier still reads from EEG after a codec, from latents, or from ids.

A probe learns from training windows as the codec gave them back and answers for test windows of the same codec, so that
it may get used to what the codec does. Windows of one trial are never in both: splits part whole recordings, and folds
inside the training split part whole trials.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.baselines.responses import (
    HIGHEST_HZ,
    SSVEP40_HZ,
    band_passed,
    canonical_correlations,
    centred,
    sines,
    task_related_filters,
)
from neuroleon.evaluation.eeg.plain import Codec
from neuroleon.evaluation.metrics import correlations
from neuroleon.evaluation.stats import Estimate, bootstrap_ci
from neuroleon.evaluation.trials import Trial

FLASH_BAND_HZ = (3.0, 40.0)  # raw cvep20 (validation): .91 here, .89 in 2 to 30 Hz, .84 unfiltered
EVENT_BAND_HZ = (1.0, 20.0)
RHYTHMS_HZ = ((4.0, 8.0), (8.0, 12.0), (12.0, 16.0), (16.0, 20.0), (20.0, 26.0), (26.0, 36.0))
XDAWN_FILTERS = 4
CCA_S = 1.5  # of a window are read: of raw ssvep40 .93 are right, and all from 4 s, which would not tell codecs apart
FEWEST_WINDOWS = 10  # of each label, for a subject to be told from the subject's own training windows alone
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # C of a logistic regression on standardised features
TANGENT_STRENGTH = 0.01
FOLDS = 5
MOST_FEATURES = 128


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What one probe got right.

    Attributes:
        accuracy: share of the test windows, with an interval over trials.
        balanced: mean over the labels of their shares; what to read where labels are not equally frequent.
        chance: of `balanced`, one over the number of labels; `majority` is the accuracy of the commonest one.
        right: bool (n,), in the order of the test windows, so that two results can be compared window by window.
        clusters: (n,) the trial of each window.
    """

    probe: str
    accuracy: Estimate
    balanced: Estimate
    n: int
    n_train: int
    chance: float
    majority: float
    right: np.ndarray
    clusters: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The answers and the trials of training and test windows."""

    train: np.ndarray
    test: np.ndarray
    train_trials: np.ndarray
    test_trials: np.ndarray

    @classmethod
    def of(cls, train: Sequence[Trial], test: Sequence[Trial]) -> "Labels":
        """Of windows with an answer.

        Raises:
            DataError: none in one of them, fewer than two answers to tell apart, or a trial in both.
        """
        labels = cls(
            train=np.array([str(trial.answer) for trial in train]),
            test=np.array([str(trial.answer) for trial in test]),
            train_trials=np.array([trial.trial for trial in train]),
            test_trials=np.array([trial.trial for trial in test]),
        )
        if not len(labels.test) or len(np.unique(labels.train)) < 2:
            raise DataError(
                f"probe: {len(train)} training windows of {len(np.unique(labels.train))} labels, {len(test)} test "
                "windows; expected two labels or more and a window to test"
            )
        if both := set(labels.train_trials) & set(labels.test_trials):
            raise DataError(f"probe: trial {min(both)} is in training and test; split by recording")
        return labels

    def scored(self, probe: str, predicted: np.ndarray, seed: int) -> ProbeResult:
        """The result of predictions (n,) for the test windows."""
        right = predicted == self.test
        names, index, counts = np.unique(self.test, return_inverse=True, return_counts=True)
        weights = len(right) / (len(names) * counts[index])
        common, frequency = np.unique(self.train, return_counts=True)
        return ProbeResult(
            probe=probe,
            accuracy=bootstrap_ci(right, self.test_trials, seed=seed),
            balanced=bootstrap_ci(right * weights, self.test_trials, seed=seed),
            n=len(right),
            n_train=len(self.train),
            chance=1 / len(common),
            majority=float(np.mean(self.test == common[frequency.argmax()])),
            right=right,
            clusters=self.test_trials,
        )


def restored(trials: Sequence[Trial], codec: Codec) -> list[Trial]:
    """The trials as a codec gives them back."""
    decoded = codec.restore([trial.window for trial in trials])
    return [replace(t, window=replace(t.window, eeg_uV=eeg)) for t, eeg in zip(trials, decoded, strict=True)]


def shuffled(trials: Sequence[Trial], seed: int) -> list[Trial]:
    """The control: trials of each subject with one another's labels. What is learned from them must be at chance."""
    rng, labels = generator("shuffled", seed), {trial.trial: trial.meta["label"] for trial in trials}
    for subject in sorted({str(trial.meta["subject"]) for trial in trials}):
        own = sorted({trial.trial for trial in trials if str(trial.meta["subject"]) == subject})
        labels |= dict(zip(own, [labels[own[i]] for i in rng.permutation(len(own))], strict=True))
    return [replace(trial, meta=trial.meta | {"label": labels[trial.trial]}) for trial in trials]


def _signals(*parts: Sequence[Trial]) -> list[np.ndarray]:
    """(n, n_chans, n_times) of each part, in units of the scale, on the channels that all windows have.

    Raises:
        DataError: windows of unequal length, or no channel in common.
    """
    windows = [trial.window for trials in parts for trial in trials]
    shared = [name for name in windows[0].ch_names if all(name in window.ch_names for window in windows)]
    lengths = {window.eeg_uV.shape[1] for window in windows}
    if not shared or len(lengths) > 1:
        raise DataError(
            f"probe: windows of {sorted(lengths)} samples share {len(shared)} channels; it needs equal ones"
        )
    rows = [[t.window.ch_names.index(name) for name in shared] for trials in parts for t in trials]
    stacked = np.stack([w.eeg_uV[row].astype(np.float64) / w.scale_uV for w, row in zip(windows, rows, strict=True)])
    return np.split(stacked, np.cumsum([len(trials) for trials in parts])[:-1])


Answer = Callable[[Sequence[Trial], np.ndarray, Sequence[Trial]], np.ndarray]


def _by_subject(train: Sequence[Trial], test: Sequence[Trial], labels: Labels, answer: Answer) -> np.ndarray:
    """Predictions (n,): each subject from the subject's own training windows, or from all where these are too few."""
    predicted = np.empty(len(test), labels.train.dtype)
    owners = [np.array([str(trial.meta["subject"]) for trial in trials]) for trials in (train, test)]
    too_few = np.zeros(len(test), bool)
    for subject in np.unique(owners[1]):
        own, asked = (np.flatnonzero(owner == subject).tolist() for owner in owners)
        names, counts = np.unique(labels.train[own], return_counts=True)
        if len(names) < len(np.unique(labels.train)) or counts.min() < FEWEST_WINDOWS:
            too_few[asked] = True
        else:
            predicted[asked] = answer([train[i] for i in own], labels.train[own], [test[i] for i in asked])
    if too_few.any():
        predicted[too_few] = answer(train, labels.train, [test[i] for i in np.flatnonzero(too_few).tolist()])
    return predicted


def template_probe(train: Sequence[Trial], test: Sequence[Trial], seed: int = 0) -> ProbeResult:
    """For responses locked to a code: the class template, under one spatial filter, that a window correlates with most.

    The filter makes the templates largest over all activity (task-related components, Nakanishi et al. 2018).

    Raises:
        DataError: as `Labels.of`, or windows that do not fit together.
    """
    labels = Labels.of(train, test)
    return labels.scored("templates", _by_subject(train, test, labels, _templates), seed)


def _templates(train: Sequence[Trial], answers: np.ndarray, test: Sequence[Trial]) -> np.ndarray:
    seen, asked = (centred(band_passed(signals, FLASH_BAND_HZ)) for signals in _signals(train, test))
    names = np.unique(answers)
    means = np.stack([seen[answers == name].mean(axis=0) for name in names])
    spatial = task_related_filters(means, seen)[:, 0]
    return names[correlations(asked.transpose(0, 2, 1) @ spatial, means.transpose(0, 2, 1) @ spatial).argmax(axis=1)]


def cca_probe(train: Sequence[Trial], test: Sequence[Trial], hertz: Mapping[str, float], seed: int = 0) -> ProbeResult:
    """For flicker of known frequencies: the label whose sines the first 1.5 s correlate with most (Lin et al. 2006).

    Nothing is learned: `train` tells only which labels there are. `hertz` is label -> frequency.

    Raises:
        DataError: as `Labels.of`, or a label without a frequency.
    """
    labels = Labels.of(train, test)
    names = np.unique(labels.train)
    if missing := [name for name in names if name not in hertz]:
        raise DataError(f"CCA probe: no frequency of label {missing[0]!r}; known are {', '.join(sorted(hertz))}")
    (signals,) = _signals(test)
    signals = signals[..., : round(CCA_S * 200)]
    scores = canonical_correlations(signals, [sines(hertz[name], signals.shape[-1]) for name in names])
    return labels.scored("CCA", names[scores.argmax(axis=1)], seed)


Kind = Literal["flicker", "rhythms", "events"]


def riemann_probe(train: Sequence[Trial], test: Sequence[Trial], kind: Kind, seed: int = 0) -> ProbeResult:
    """Covariances in their tangent space and a logistic regression (Barachant et al. 2012).

    `flicker`: of the bands around the frequencies that labels name ("13 Hz") and their doubles; `rhythms`: of six bands
    from 4 to 36 Hz; `events`: of windows beside the average response of each label, after xDAWN (Barachant 2014).

    Raises:
        DataError: as `Labels.of`, no label that names a frequency, or windows that do not fit together.
    """
    labels = Labels.of(train, test)
    bands = RHYTHMS_HZ if kind != "flicker" else _named_bands(labels.train)
    answer = _events if kind == "events" else partial(_rhythms, bands)
    return labels.scored(f"Riemann, {kind}", _by_subject(train, test, labels, answer), seed)


def _named_bands(answers: np.ndarray) -> tuple[tuple[float, float], ...]:
    """1 Hz around the frequencies in labels such as "13 Hz", and around their doubles."""
    found = sorted({float(name.removesuffix(" Hz")) for name in answers if name.endswith(" Hz")})
    if not found:
        raise DataError(f"Riemann probe: labels {sorted(set(answers))[:4]} name no frequency such as '13 Hz'")
    multiples = [k * hertz for hertz in found for k in (1, 2) if k * hertz < HIGHEST_HZ]
    return tuple((hertz - 0.5, hertz + 0.5) for hertz in multiples)


def _rhythms(
    bands: Sequence[tuple[float, float]], train: Sequence[Trial], answers: np.ndarray, test: Sequence[Trial]
) -> np.ndarray:
    covariances = rhythm_covariances([*train, *test], bands)
    return tangent_answers([(x[: len(train)], x[len(train) :]) for x in covariances], answers)


def rhythm_covariances(trials: Sequence[Trial], bands: Sequence[tuple[float, float]] = RHYTHMS_HZ) -> list[np.ndarray]:
    """Shrunk covariances (n, n_chans, n_chans) of windows in each band.

    Raises:
        DataError: windows that do not fit together.
    """
    from pyriemann.estimation import Covariances

    (signals,) = _signals(trials)
    return [Covariances("lwf").transform(band_passed(signals, band)) for band in bands]


def _events(train: Sequence[Trial], answers: np.ndarray, test: Sequence[Trial]) -> np.ndarray:
    from pyriemann.estimation import XdawnCovariances

    seen, asked = (band_passed(signals, EVENT_BAND_HZ) for signals in _signals(train, test))
    xdawn = XdawnCovariances(nfilter=XDAWN_FILTERS, estimator="lwf", xdawn_estimator="lwf").fit(seen, answers)
    return tangent_answers([(xdawn.transform(seen), xdawn.transform(asked))], answers)


def tangent_answers(covariances: Sequence[tuple[np.ndarray, np.ndarray]], answers: np.ndarray) -> np.ndarray:
    """Predictions (n,) from the covariances of training and test windows, in each band; `answers` to the former."""
    from pyriemann.tangentspace import TangentSpace

    spaces = [TangentSpace().fit(seen) for seen, _ in covariances]
    seen, asked = (
        np.concatenate([space.transform(pair[i]) for space, pair in zip(spaces, covariances, strict=True)], axis=1)
        for i in (0, 1)
    )
    return _logistic(TANGENT_STRENGTH).fit(seen, answers).predict(asked)


def _logistic(strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=2000))


def latent_probe(
    train_features: Sequence[np.ndarray],
    test_features: Sequence[np.ndarray],
    labels: Labels,
    view: Literal["time-resolved", "pooled"],
    seed: int = 0,
) -> ProbeResult:
    """Logistic regression on what windows became, (n_steps, D) each: on steps in a row, or on their mean.

    More than 128 numbers become their principal components; C is chosen by folds over the trials of training windows.

    Raises:
        DataError: windows of unequal numbers of steps.
    """
    steps = sorted({features.shape for features in (*train_features, *test_features)})
    if len(steps) > 1:
        raise DataError(f"latent probe: windows became {steps[:3]}; it needs equal numbers of steps")
    parts = (
        np.stack([x.ravel() if view == "time-resolved" else x.mean(axis=0) for x in part])
        for part in (train_features, test_features)
    )
    seen, asked = parts
    return labels.scored(f"latents, {view}", _classified(seen, labels.train, labels.train_trials, asked, seed), seed)


def bag_of_ids(ids: np.ndarray, size: int) -> np.ndarray:
    """How often each of `size` ids occurs in a window's `ids` (n,), for `latent_probe`: (1, size), square roots."""
    return np.sqrt(np.bincount(ids, minlength=size))[None].astype(np.float32)


def identity_probe(
    features: Sequence[np.ndarray], names: np.ndarray, recordings: np.ndarray, seed: int = 0
) -> ProbeResult:
    """Who, or which set, is told from the mean of what windows became, in recordings that were not learned from.

    `features` are (n_steps, D) each, `names` (n,) the subject or set, `recordings` (n,). Names with one recording only
    are left out: they could be tested or learned, not both. `right` and `clusters` are of the windows that are left.

    Raises:
        DataError: fewer than two names with two recordings or more.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    counts = {name: len(np.unique(recordings[names == name])) for name in np.unique(names)}
    kept = np.isin(names, [name for name, count in counts.items() if count > 1])
    known = np.unique(names[kept])
    if len(known) < 2:
        raise DataError(
            f"identity probe: {len(known)} of {len(counts)} names have two recordings; it needs two such names"
        )
    pooled = np.stack([x.mean(axis=0) for x, keep in zip(features, kept, strict=True) if keep])
    names, recordings = names[kept], recordings[kept]
    predicted = np.empty_like(names)
    folds = StratifiedGroupKFold(min(FOLDS, min(counts[name] for name in known)), shuffle=True, random_state=seed)
    for seen, asked in folds.split(pooled, names, recordings):
        predicted[asked] = _classified(pooled[seen], names[seen], recordings[seen], pooled[asked], seed)
    every = Labels(train=names, test=names, train_trials=recordings, test_trials=recordings)
    return every.scored("identity", predicted, seed)


def _classified(seen: np.ndarray, answers: np.ndarray, trials: np.ndarray, asked: np.ndarray, seed: int) -> np.ndarray:
    """Predictions (n,) of the logistic regression whose C does best on held-out trials of the training windows."""
    from sklearn.decomposition import PCA
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    most = min(MOST_FEATURES, len(seen) - 1)
    if seen.shape[1] > most:
        axes = PCA(most, svd_solver="randomized", random_state=seed).fit(seen)
        seen, asked = axes.transform(seen), axes.transform(asked)
    fewest = min(len(np.unique(trials[answers == name])) for name in np.unique(answers))
    if fewest < 2:  # a label of one trial cannot be learned and held out: no choice to make
        return _logistic(TANGENT_STRENGTH).fit(seen, answers).predict(asked)
    folds = StratifiedGroupKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    grid = {"logisticregression__C": STRENGTHS}
    chosen = GridSearchCV(_logistic(1.0), grid, cv=folds, scoring="balanced_accuracy").fit(seen, answers, groups=trials)
    return chosen.predict(asked)


Probe = Callable[[Sequence[Trial], Sequence[Trial]], ProbeResult]

BY_RECIPE: dict[str, Probe] = {  # of sets without a known stimulus; what the response to it is
    "ssvep40": partial(cca_probe, hertz=SSVEP40_HZ),
    "ssvep_exo": partial(riemann_probe, kind="flicker"),
    "muse_flicker": partial(riemann_probe, kind="flicker"),
    "muse_n170": partial(riemann_probe, kind="events"),
    "muse_p300": partial(riemann_probe, kind="events"),
    "muse_field": partial(riemann_probe, kind="events"),
    "muse_gratings": partial(riemann_probe, kind="events"),
    "muse_go_no_go": partial(riemann_probe, kind="events"),
    "p300_speller": partial(riemann_probe, kind="events"),
    "uci_smni": partial(riemann_probe, kind="events"),
    "eegmat": partial(riemann_probe, kind="rhythms"),
    "vep_edf": partial(riemann_probe, kind="rhythms"),
}


def probe_of(trials: Sequence[Trial]) -> Probe | None:
    """The probe of a set: templates where the stimulus is known sample by sample, else by its recipe, else None."""
    meta = trials[0].meta
    return template_probe if "stimulus" in meta else BY_RECIPE.get(str(meta["recipe"]))
