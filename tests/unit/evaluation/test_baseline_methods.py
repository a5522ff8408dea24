"""Each method finds what is planted for it, and nothing where labels are random."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from made_windows import MAP, evoked, flicker, made_windows, noise, rhythms
from sklearn.cross_decomposition import CCA as SlowCCA
from torch.nn import functional

from neuroleon.evaluation.baselines.eegnet import EEGNet, _filtered
from neuroleon.evaluation.baselines.methods import (
    BANDS_HZ,
    BROAD_HZ,
    Cca,
    CspLda,
    Discriminant,
    Method,
    Nearest,
    RidgeToPictures,
    Tangent,
    Trca,
    Xdawn,
    frequencies,
    methods_for,
)
from neuroleon.evaluation.baselines.responses import canonical_correlations, centred, sines, task_related_filters
from neuroleon.evaluation.baselines.windows import Windows

N = 120
HERTZ = {"11 Hz": 11.0, "13 Hz": 13.0, "17 Hz": 17.0}


def of(kind: str, seed: int = 0) -> Windows:
    """Windows whose answer is planted in the way that `kind` says."""
    if kind == "rhythms":
        labels = [i // 4 % 2 for i in range(N)]
        return made_windows(rhythms(labels, 0.5, seed), [f"l{k}" for k in labels])
    labels = [i // 4 % 3 for i in range(N)]
    if kind == "evoked":
        shown = [f"p{k}" for k in labels]
        features = {f"p{k}": (f"l{k}", np.eye(3, dtype=np.float32)[k]) for k in range(3)}
        return made_windows(evoked(labels, 1.5, seed), [f"l{k}" for k in labels], pictures=shown, features=features)
    names = [list(HERTZ)[k] for k in labels]
    return made_windows(flicker([HERTZ[name] for name in names], 0.3, seed), names)


METHODS: dict[str, tuple[str, Callable[[], Method]]] = {
    "tangent space": ("rhythms", lambda: Tangent("tangent space", (BROAD_HZ,))),
    "filter bank": ("rhythms", lambda: Tangent("filter bank", BANDS_HZ)),
    "CSP": ("rhythms", CspLda),
    "xDAWN": ("evoked", Xdawn),
    "LDA": ("evoked", Discriminant),
    "nearest": ("evoked", Nearest),
    "EEGNet": ("evoked", lambda: EEGNet(0)),
    "ridge": ("evoked", RidgeToPictures),
    "TRCA, code": ("evoked", Trca),
    "TRCA, flicker": ("flicker", lambda: Trca(11.0)),
    "CCA": ("flicker", lambda: Cca(HERTZ, use_bank=False)),
    "filter-bank CCA": ("flicker", lambda: Cca(HERTZ, use_bank=True)),
}


def accuracy(make: Callable[[], Method], windows: Windows) -> float:
    seen, asked = (windows.at(windows.split == split) for split in ("train", "validation"))
    names = np.unique(seen.answers)
    return float(np.mean(names[make().fit(seen).scores(asked, names).argmax(axis=1)] == asked.answers))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_finds_what_is_planted(name: str) -> None:
    kind, make = METHODS[name]
    assert accuracy(make, of(kind)) > 0.85


@pytest.mark.parametrize("name", METHODS)
def test_a_method_finds_nothing_where_labels_are_random(name: str) -> None:
    """Thirty windows of two or three answers: chance is 1/2 or 1/3, and its standard error .09."""
    kind, make = METHODS[name]
    windows = of(kind)
    order = np.random.default_rng(1).permutation(N)
    features = {f"p{k}": (f"l{k}", np.eye(3, dtype=np.float32)[k]) for k in range(3)}
    others = {"pictures": windows.pictures[order], "features": features} if kind == "evoked" else {}
    mixed = made_windows(windows.eeg_uV, windows.answers[order], **others)
    assert accuracy(make, mixed) < (0.75 if kind == "rhythms" else 0.6)


def test_canonical_correlations_are_scikit_learns() -> None:
    signals, references = flicker([11.0, 13.0], 0.3)[:, :4], [sines(11.0, 400), sines(17.0, 400)]
    found = canonical_correlations(signals, references)
    for i, signal in enumerate(signals):
        for j, reference in enumerate(references):
            a, b = SlowCCA(n_components=1, max_iter=5000, tol=1e-12).fit_transform(signal.T, reference.T)
            assert found[i, j] == pytest.approx(np.corrcoef(a[:, 0], b[:, 0])[0, 1], abs=1e-4)


def test_references_keep_time() -> None:
    """A time axis that ends a sample late loses the phase within seconds."""
    wave = np.sin(2 * np.pi * 30 * np.arange(800) / 200 + 1)
    assert canonical_correlations(wave[None, None], [sines(30.0, 800)])[0, 0] == pytest.approx(1.0, abs=1e-9)


def test_flicker_that_one_label_lacks_is_told_by_its_absence() -> None:
    names = [("11 Hz", "13 Hz", "rest")[i // 4 % 3] for i in range(N)]
    eeg = flicker([HERTZ.get(name, 0.0) for name in names], 0.3)
    hertz = frequencies(made_windows(eeg, names))
    assert hertz == {"11 Hz": 11.0, "13 Hz": 13.0}
    assert accuracy(lambda: Cca(hertz, use_bank=True), made_windows(eeg, names)) > 0.85


def test_the_task_related_filter_is_the_best_one() -> None:
    """In white noise the best filter is the map of the response itself."""
    signals = centred(evoked([0] * 60, 1.0))
    found = task_related_filters(signals.mean(axis=0)[None], signals)[:, 0]
    found -= found.mean()  # an average reference does not see it
    assert abs(np.corrcoef(found, MAP)[0, 1]) > 0.98


def test_ridge_finds_pictures_that_training_lacked() -> None:
    """The response is linear in the picture's features, so that a new picture is one among known responses."""
    rng = np.random.default_rng(0)
    features = {f"p{i:02d}": (f"p{i:02d}", rng.standard_normal(3).astype(np.float32)) for i in range(40)}
    keys = np.repeat(sorted(features), 6)
    shown = np.stack([features[key][1] for key in keys])
    basis = evoked([0, 1, 2], 4.0) - noise(3)
    eeg = noise(len(keys), seed=1) + np.einsum("nk,kct->nct", shown, basis)
    windows = made_windows(eeg, keys, pictures=keys, features=features, has_labels=False)
    new = keys >= "p30"
    method = RidgeToPictures().fit(windows.at(~new))
    names = np.unique(keys[new])
    found = names[method.scores(windows.at(new), names).argmax(axis=1)]
    assert np.mean(found == keys[new]) > 0.7


@pytest.mark.parametrize("size", [7, 100])
def test_eegnets_fast_filters_are_convolutions(size: int) -> None:
    signals, kernels = torch.randn(2, 3, 50), torch.randn(3, size)
    slow = functional.conv1d(functional.pad(signals, ((size - 1) // 2, size // 2)), kernels[:, None], groups=3)
    torch.testing.assert_close(_filtered(signals, kernels), slow, atol=1e-4, rtol=1e-4)


def test_a_set_gets_the_methods_that_fit_it() -> None:
    names = lambda windows: {method.name for method in methods_for(windows, 0)}  # noqa: E731
    assert {"xDAWN, tangent space", "ridge to pictures"} <= names(of("evoked"))
    assert {"CSP, LDA", "tangent space, filter bank"} <= names(of("rhythms"))
    assert {"CCA", "filter-bank CCA", "TRCA"} <= names(of("flicker"))
    assert not {"CCA", "TRCA"} & names(of("rhythms"))
