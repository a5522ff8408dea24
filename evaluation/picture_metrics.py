"""How near drawn pictures are to what was seen: pixel by pixel, by features of a network, and as a whole set.

FID, KID and the inception score are the formulas of their papers, equal to torchmetrics' (the tests compare): that
library gives one number of one set, and here each stands beside its controls with an interval and a paired p, which
needs the formula some thousand times. KID is kernel sums, and FID needs no 2048 x 2048 root: the trace of the root of
the product of two covariances is the sum of the singular values of the two centred sets' cross products.
"""

import numpy as np

from neuroleon.evaluation.corpus import Statistic
from neuroleon.evaluation.identification import ranks
from neuroleon.evaluation.metrics import correlation

SSIM_WINDOW = 11  # pixels of the Gaussian window of sigma 1.5 (Wang et al. 2004)
_GREY = np.array([0.2125, 0.7154, 0.0721])  # Rec. 709, as scikit-image's rgb2gray


def pixel_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """PixCorr: Pearson's r over pixels and colours of two batches uint8 (n, H, W, 3), (n,); 0 for a flat picture."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (first, second))
    return np.nan_to_num(correlation(a, b), nan=0.0)


def two_way(similarity: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Two-way identification over all pairs (n_trials,): the share of the other pictures that a drawing resembles less
    than the one at `places`, from similarity (n_trials, n_pictures). A tie counts half, chance is .5."""
    above, equal = ranks(similarity, places)
    return np.asarray(1 - (above + equal / 2) / (similarity.shape[1] - 1))


def ssim(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Structural similarity of the grey pictures of two batches uint8 (n, H, W, 3) of 11 pixels or more, (n,).

    Gaussian window, sigma 1.5, as Wang et al. (2004) and the papers on EEG and fMRI reconstruction have it.
    """
    from skimage.metrics import structural_similarity

    pairs = zip(first @ _GREY, second @ _GREY, strict=True)
    settings = {"data_range": 255.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return np.array([structural_similarity(a, b, **settings) for a, b in pairs])


def frechet_distance(reference: np.ndarray) -> Statistic:
    """FID (Heusel et al. 2017) of rows of features (n, d) to those of `reference` (m, d); both at least 2.

    Biased upwards for few pictures, more for fewer (Binkowski et al. 2018, appendix D).
    """
    mean = reference.mean(axis=0)
    centred = (reference - mean) / np.sqrt(len(reference) - 1)
    spread = float((centred**2).sum())

    def statistic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        shifted = values - mean
        squares, cross = (shifted**2).sum(axis=1), shifted @ centred.T
        found = []
        for row in weights:
            used = row > 0
            w, n = row[used], row.sum()
            shift = w @ shifted[used] / n
            of_shift = float(shift @ shift)
            own = (float(w @ squares[used]) - n * of_shift) / (n - 1)
            product = np.sqrt(w / (n - 1))[:, None] * (cross[used] - w @ cross[used] / n)
            found.append(of_shift + own + spread - 2 * np.linalg.svd(product, compute_uv=False).sum())
        return np.array(found)

    return statistic


def kernel_distance(reference: np.ndarray) -> Statistic:
    """KID (Binkowski et al. 2018) of rows of features (n, d) to those of `reference` (m, d): the unbiased squared MMD
    of the kernel (x . y / d + 1)^3 over all pairs, which can be below 0; a row that is drawn twice is no pair.
    NaN where there is no pair."""
    d, m = reference.shape[1], len(reference)
    own = (reference @ reference.T / d + 1) ** 3
    spread = (own.sum() - np.trace(own)) / (m * (m - 1))

    def statistic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        kernel = (values @ values.T / d + 1) ** 3
        np.fill_diagonal(kernel, 0)
        cross = ((values @ reference.T / d + 1) ** 3).mean(axis=1)
        n = weights.sum(axis=1)
        pairs = n**2 - (weights**2).sum(axis=1)
        within = np.full(len(n), np.nan)
        np.divide(((weights @ kernel) * weights).sum(axis=1), pairs, out=within, where=pairs > 0)
        return np.asarray(within + spread - 2 * (weights @ cross) / n)

    return statistic


def inception_score(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Inception score (Salimans et al. 2016) of rows of class probabilities (n, n_classes), one split: from 1 (all
    pictures alike, or none like any class) to n_classes. It knows nothing of what was seen."""
    share = weights / weights.sum(axis=1, keepdims=True)
    logs = np.log(np.maximum(values, np.finfo(float).tiny))
    mean = share @ values
    entropy = -(mean * np.log(np.maximum(mean, np.finfo(float).tiny))).sum(axis=1)
    return np.asarray(np.exp(share @ (values * logs).sum(axis=1) + entropy))
