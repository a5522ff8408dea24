"""The methods of the field, by its libraries, behind one small protocol; and which of them fit a set.

Covariances in their tangent space, common spatial patterns, xDAWN, task-related components, canonical correlations, the
nearest training window, ridge regression to pictures, and EEGNet (eegnet.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np

from neuroleon.evaluation.baselines.eegnet import EEGNet
from neuroleon.evaluation.baselines.responses import (
    HIGHEST_HZ,
    SSVEP40_HZ,
    band_passed,
    canonical_correlations,
    centred,
    sines,
    task_related_filters,
)
from neuroleon.evaluation.baselines.windows import Windows
from neuroleon.evaluation.metrics import correlations

BROAD_HZ, EVENT_HZ, RHYTHM_HZ, FLASH_HZ = (1.0, 40.0), (1.0, 20.0), (8.0, 30.0), (3.0, 40.0)
BANDS_HZ = ((4.0, 8.0), (8.0, 12.0), (12.0, 16.0), (16.0, 20.0), (20.0, 26.0), (26.0, 36.0))
EVENT_S = 1.5  # windows up to this length are read as responses to an event, longer ones as rhythms too
STRENGTH = 0.01  # C of the logistic regression on standardised tangent vectors, as in evaluation/eeg/probes.py
XDAWN_FILTERS = CSP_FILTERS = 4
FILTER_BANK = 5  # Nakanishi et al. 2018: band m is from the m-th multiple of the lowest frequency to the highest
FEW_HERTZ = 8  # frequencies; more give more bands than there are windows
RATE_HZ = 40.0  # of the samples that ridge regression and the nearest neighbour read, below `EVENT_HZ`
TINY = 1e-12  # of a probability, whose logarithm is else infinite
RIDGE_ALPHAS = np.logspace(0, 6, 13)


class Method(Protocol):
    """Fitted to windows, it scores answers of others.

    `of_subject`: responses differ between people, so it is fitted to each subject alone where there is enough.
    """

    name: str
    of_subject: bool

    def fit(self, seen: Windows) -> Self:
        """Learn from windows with their answers."""
        ...

    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        """(n, len(names)), higher is likelier, apart from how frequent an answer is.

        Classifiers know the answers of training only, and `names` must be those in order; ridge regression to pictures
        takes any that have pictures.
        """
        ...


class Classifier(ABC):
    """A method that is features and a scikit-learn classifier of them. `features` are fitted on the training side."""

    name, of_subject = "", True

    def __init__(self) -> None:
        self._model = _logistic()

    def fit(self, seen: Windows) -> Self:
        self.answers = np.unique(seen.answers)
        self._model.fit(self.learn(seen), seen.answers)
        return self

    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        assert list(names) == list(self.answers), "a classifier answers what it was fitted to"
        return np.log(self._model.predict_proba(self.read(asked)).clip(TINY))

    def learn(self, seen: Windows) -> np.ndarray:
        """Fit the features to training windows, and return those: (n, d)."""
        return self.read(seen)

    @abstractmethod
    def read(self, windows: Windows) -> np.ndarray:
        """Features (n, d) of windows."""


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=2000))


class Tangent(Classifier):
    """Covariances in bands, in their tangent space, and a logistic regression (Barachant et al. 2012)."""

    def __init__(self, name: str, bands_hz: Sequence[tuple[float, float]]) -> None:
        super().__init__()
        self.name, self._bands = name, bands_hz

    def learn(self, seen: Windows) -> np.ndarray:
        from pyriemann.tangentspace import TangentSpace

        covariances = self._covariances(seen)
        self._spaces = [TangentSpace().fit(found) for found in covariances]
        return self._vectors(covariances)

    def read(self, windows: Windows) -> np.ndarray:
        return self._vectors(self._covariances(windows))

    def _covariances(self, windows: Windows) -> list[np.ndarray]:
        return [_covariances(windows, band) for band in self._bands]

    def _vectors(self, covariances: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([s.transform(c) for s, c in zip(self._spaces, covariances, strict=True)], axis=1)


def _covariances(windows: Windows, band_hz: tuple[float, float]) -> np.ndarray:
    from pyriemann.estimation import Covariances

    return Covariances("lwf").transform(band_passed(windows.scaled, band_hz, windows.sfreq))


class Xdawn(Classifier):
    """Windows beside the mean response of each label, as covariances (Barachant and Congedo 2014)."""

    name = "xDAWN, tangent space"

    def learn(self, seen: Windows) -> np.ndarray:
        from pyriemann.estimation import XdawnCovariances
        from pyriemann.tangentspace import TangentSpace

        signals = band_passed(seen.scaled, EVENT_HZ, seen.sfreq)
        self._xdawn = XdawnCovariances(nfilter=XDAWN_FILTERS, estimator="lwf", xdawn_estimator="lwf")
        covariances = self._xdawn.fit(signals, seen.answers).transform(signals)
        self._space = TangentSpace().fit(covariances)
        return self._space.transform(covariances)

    def read(self, windows: Windows) -> np.ndarray:
        return self._space.transform(self._xdawn.transform(band_passed(windows.scaled, EVENT_HZ, windows.sfreq)))


class Discriminant(Classifier):
    """A linear discriminant with a shrunk covariance (Blankertz et al. 2011), of the time course below 20 Hz."""

    name = "LDA, time course"

    def __init__(self) -> None:
        self._model = _lda()

    def fit(self, seen: Windows) -> Self:
        n_labels = len(np.unique(seen.answers))
        self._model.set_params(priors=np.full(n_labels, 1 / n_labels))
        return super().fit(seen)

    def read(self, windows: Windows) -> np.ndarray:
        return _slow(windows)


class CspLda(Discriminant):
    """Common spatial patterns of 8 to 30 Hz and a linear discriminant (Blankertz et al. 2008)."""

    name = "CSP, LDA"

    def learn(self, seen: Windows) -> np.ndarray:
        from pyriemann.spatialfilters import CSP

        covariances = _covariances(seen, RHYTHM_HZ)
        self._csp = CSP(nfilter=CSP_FILTERS, metric="euclid", log=True).fit(covariances, seen.answers)
        return self._csp.transform(covariances)

    def read(self, windows: Windows) -> np.ndarray:
        return self._csp.transform(_covariances(windows, RHYTHM_HZ))


def _lda() -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")


def _bank(lowest_hz: float) -> list[tuple[tuple[float, float], float]]:
    """Bands of a filter bank and their weights (Chen et al. 2015, section 2.3), as far as the signal goes."""
    starts = [(m, m * lowest_hz - 1) for m in range(1, FILTER_BANK + 1)]
    return [((low, HIGHEST_HZ), m**-1.25 + 0.25) for m, low in starts if low < HIGHEST_HZ - 5]


class Trca:
    """Correlation with the mean training window of each label, under spatial filters (Nakanishi et al. 2018).

    For responses locked to the start of a window. With `lowest_hz`, the lowest flicker, over a filter bank.
    """

    name, of_subject = "TRCA", True

    def __init__(self, lowest_hz: float | None = None) -> None:
        self._bank = [(FLASH_HZ, 1.0)] if lowest_hz is None else _bank(lowest_hz)

    def fit(self, seen: Windows) -> Self:
        self.answers, self._templates = np.unique(seen.answers), []
        for band, weight in self._bank:
            signals = centred(band_passed(seen.scaled, band, seen.sfreq))
            means = np.stack([signals[seen.answers == name].mean(axis=0) for name in self.answers])
            filters = task_related_filters(means, signals)
            self._templates.append((band, weight, filters, _filtered(means, filters)))
        return self

    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        assert list(names) == list(self.answers), "a classifier answers what it was fitted to"
        total = np.zeros((len(asked), len(names)))
        for band, weight, filters, templates in self._templates:
            found = correlations(_filtered(centred(band_passed(asked.scaled, band, asked.sfreq)), filters), templates)
            total += weight * np.sign(found) * found**2
        return total


def _filtered(signals: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """(n, n_chans, n_times) -> (n, n_filters * n_times)."""
    return np.einsum("nct,cf->nft", signals, filters).reshape(len(signals), -1)


class Cca(Discriminant):
    """Canonical correlations with sines of the labels' frequencies; over a filter bank: Chen et al. 2015.

    Where every label has a frequency nothing is learned. Where one has none ("rest"), a linear discriminant of the
    correlations tells it.
    """

    of_subject = False

    def __init__(self, hertz: Mapping[str, float], use_bank: bool) -> None:
        super().__init__()
        self.name, self._hertz = "filter-bank CCA" if use_bank else "CCA", hertz
        self._bands = _bank(min(hertz.values())) if use_bank else [(FLASH_HZ, 1.0)]

    def fit(self, seen: Windows) -> Self:
        self._needs_model = any(name not in self._hertz for name in np.unique(seen.answers))
        self.answers = np.unique(seen.answers)
        return super().fit(seen) if self._needs_model else self

    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        if self._needs_model:
            return super().scores(asked, names)
        order = list(self._hertz)
        return self.read(asked)[:, [order.index(name) for name in names]]

    def read(self, windows: Windows) -> np.ndarray:
        n_times, total = windows.eeg_uV.shape[-1], np.zeros((len(windows), len(self._hertz)))
        references = [sines(hertz, n_times, windows.sfreq) for hertz in self._hertz.values()]
        for band, weight in self._bands:
            signals = band_passed(windows.scaled, band, windows.sfreq)
            total += weight * canonical_correlations(signals, references) ** 2
        return total


def _slow(windows: Windows) -> np.ndarray:
    """The time course below 20 Hz, thinned: (n, d)."""
    signals = band_passed(windows.scaled, EVENT_HZ, windows.sfreq)
    return signals[..., :: max(1, int(windows.sfreq / RATE_HZ))].reshape(len(windows), -1)


class Nearest:
    """The label of the training window that a window correlates with most."""

    name, of_subject = "nearest neighbour", True

    def fit(self, seen: Windows) -> Self:
        self._seen, self._answers = self._read(seen), seen.answers
        return self

    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        found = correlations(self._read(asked), self._seen)
        return np.stack([found[:, self._answers == name].max(axis=1) for name in names], axis=1)

    @staticmethod
    def _read(windows: Windows) -> np.ndarray:
        signals = band_passed(windows.scaled, FLASH_HZ, windows.sfreq)
        return signals.reshape(len(windows), -1)


class RidgeToPictures:
    """Ridge regression from the time course to features of the picture, and the picture that comes nearest (cosine).

    An answer with several pictures scores as its best one. Answers need not have been seen in training.
    """

    name, of_subject = "ridge to pictures", True

    def fit(self, seen: Windows) -> Self:
        from sklearn.linear_model import RidgeCV
        from sklearn.preprocessing import StandardScaler

        shown = np.stack([seen.features[key][1] for key in seen.pictures])
        self._centre = shown.mean(axis=0)
        self._scaler = StandardScaler().fit(_slow(seen))
        self._ridge = RidgeCV(alphas=RIDGE_ALPHAS).fit(self._scaler.transform(_slow(seen)), shown - self._centre)
        return self

    def scores(self, asked: Windows, names: np.ndarray) -> np.ndarray:
        drawn = _unit(self._ridge.predict(self._scaler.transform(_slow(asked))).reshape(len(asked), -1))
        found = np.full((len(asked), len(names)), -1.0)
        for answer, features in asked.features.values():
            if answer in names:
                column, alike = int(np.flatnonzero(names == answer)[0]), drawn @ _unit(features - self._centre)
                found[:, column] = np.maximum(found[:, column], alike)
        return found


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def frequencies(windows: Windows) -> dict[str, float]:
    """Label -> flicker frequency, as labels such as "13 Hz" say it, or the set is known; empty where none flickers."""
    if windows.recipe == "ssvep40":
        return dict(SSVEP40_HZ)
    return {str(x): float(x.removesuffix(" Hz")) for x in np.unique(windows.answers) if x.endswith(" Hz")}


def methods_for(windows: Windows, seed: int) -> list[Method]:
    """Fresh methods that fit a set, by the length of its windows, and what its stimulus and its pictures are."""
    hertz = frequencies(windows)
    found: list[Method] = []
    if windows.has_labels:
        found += [Tangent("tangent space", (BROAD_HZ,)), Nearest(), EEGNet(seed)]
        if windows.duration_s <= EVENT_S:
            found += [Xdawn(), Discriminant()]
        elif not hertz and not windows.has_code:
            found += [Tangent("tangent space, filter bank", BANDS_HZ), CspLda()]
    if hertz:
        found += [Cca(hertz, use_bank=False), Cca(hertz, use_bank=True), Trca(min(hertz.values()))]
        if len(hertz) <= FEW_HERTZ:
            found.append(Tangent("tangent space, bands of the flicker", _flicker_bands(hertz)))
    if windows.has_code:
        found.append(Trca())
    if len(windows.features) > 1 and all(key in windows.features for key in windows.pictures):
        found.append(RidgeToPictures())
    return found


def _flicker_bands(hertz: Mapping[str, float]) -> list[tuple[float, float]]:
    """1 Hz around the frequencies and their doubles, as far as these are more than 1 Hz apart."""
    multiples = sorted({k * f for f in hertz.values() for k in (1, 2) if k * f < HIGHEST_HZ})
    kept: list[float] = []
    for multiple in multiples:
        if not kept or multiple - kept[-1] >= 1.0:
            kept.append(multiple)
    return [(f - 0.5, f + 0.5) for f in kept]
