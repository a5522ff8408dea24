"""What was planted is what is found: in bits, in accuracy, and nothing where there is nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_eeg import real_windows

from neuroleon.common.errors import DataError
from neuroleon.evaluation.planted import NAMES, Observer, Plant, information, write_set
from neuroleon.evaluation.runner import Evaluation, evaluate
from neuroleon.evaluation.stats import Comparison
from neuroleon.signals.window import Window


def made_background(n: int = 320) -> list[Window]:
    """Heavy-tailed, coloured, and correlated between the channels, as EEG is."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4)) * 10
    eeg_uV = np.einsum("cd,ndt->nct", mixing, np.cumsum(rng.standard_t(3, (n, 4, 100)), axis=2))
    positions = np.array([[0.1 * k, -0.9, 0.3] for k in range(4)], np.float32)
    return [Window(x.astype(np.float32), ("O1", "Oz", "O2", "Pz"), positions, 10.0) for x in eeg_uV]


@pytest.fixture(scope="module")
def background() -> list[Window]:
    return made_background()


def found(folder: Path, background: list[Window], n_labels: int, snr: float, believed: float) -> list[Comparison]:
    plant = Plant(background, n_labels)
    write_set(folder, background, plant, snr, seed=0)
    settings = Evaluation(samples=(folder,), tasks=("eeg2label",), limit=None)
    return list(evaluate(Observer(plant, believed), settings, {}).sets[0].tasks[0].comparisons)


def known_bits(rows: list[Comparison]) -> Comparison:
    return next(c for c in rows if c.unit == "bits" and c.chance is not None)


@pytest.mark.parametrize(("n_labels", "snr"), [(2, 1.0), (4, 0.5), (4, 2.0)])
def test_planted_information_is_found(tmp_path: Path, background: list[Window], n_labels: int, snr: float) -> None:
    rows = found(tmp_path, background, n_labels, snr, snr)
    bits, share = known_bits(rows), next(c for c in rows if c.unit == "share")
    known, best = information(n_labels, snr)
    assert bits.chance is not None
    assert bits.conditions["real"].low < bits.chance + known.mean < bits.conditions["real"].high
    assert share.conditions["real"].low < best < share.conditions["real"].high
    assert bits.verdict == share.verdict == "above shuffled"
    assert bits.conditions["real"].low > bits.chance > bits.conditions["shuffled"].high
    assert bits.conditions["noise"].mean < bits.chance


def test_the_class_is_all_that_was_planted(tmp_path: Path, background: list[Window]) -> None:
    bits = known_bits(found(tmp_path, background, 4, 2.0, 2.0))
    within = bits.conditions["within class"]
    assert within.low < bits.conditions["real"].mean < within.high


def test_nothing_is_found_where_nothing_was_planted(tmp_path: Path, background: list[Window]) -> None:
    rows = found(tmp_path, background, 4, 0.0, 0.0)
    bits = known_bits(rows)
    assert bits.chance == pytest.approx(bits.conditions["real"].mean, abs=0.01)
    assert {c.verdict for c in rows} == {"no difference shown"}


def test_an_observer_that_believes_in_what_is_not_there_is_below_chance(
    tmp_path: Path, background: list[Window]
) -> None:
    rows = found(tmp_path, background, 4, 0.0, 2.0)
    bits = known_bits(rows)
    assert bits.chance is not None and bits.conditions["real"].high < bits.chance
    assert {c.verdict for c in rows} == {"no difference shown"}


def test_planted_information_is_found_in_real_eeg(tmp_path: Path) -> None:
    """Overlapping stretches of one recording: the coordinates that matter are drawn anew in each."""
    long = real_windows(seconds=4.0)[0]
    starts = np.linspace(0, long.eeg_uV.shape[1] - 200, 320).astype(int)
    real = [replace(long, eeg_uV=long.eeg_uV[:, i : i + 200]) for i in starts]
    bits = known_bits(found(tmp_path, real, 2, 1.5, 1.5))
    assert bits.chance is not None
    assert bits.conditions["real"].low < bits.chance + information(2, 1.5)[0].mean < bits.conditions["real"].high


def test_information_of_two_labels_is_that_of_a_binary_channel_with_gaussian_noise() -> None:
    """Quadrature of E log2(1 + exp(-y)), y ~ N(snr^2, 2 snr^2): two orthogonal signals differ along one direction."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    for snr in (0.5, 1.0, 2.0):
        y = snr**2 + np.sqrt(2) * snr * nodes
        exact = 1 - np.sum(weights * np.logaddexp(0, -y)) / np.sqrt(2 * np.pi) / np.log(2)
        estimate, _ = information(2, snr)
        assert estimate.low - 1e-3 < exact < estimate.high + 1e-3
    assert information(4, 0.0)[0].mean == pytest.approx(0.0, abs=1e-9)


def test_only_the_coordinates_change(background: list[Window]) -> None:
    plant = Plant(background, 4)
    rng = np.random.default_rng(0)
    planted = plant.planted_uV(background[0].eeg_uV, 2, 50.0, rng)
    coordinates = plant.coordinates(planted)
    assert coordinates.argmax() == 2 and coordinates[2] == pytest.approx(50, abs=4)
    change = planted - background[0].eeg_uV
    np.testing.assert_allclose(change, plant.response_uV(plant.coordinates(change)), rtol=1e-3, atol=1e-2)


def test_backgrounds_that_do_not_fit_are_refused(background: list[Window]) -> None:
    with pytest.raises(DataError, match="5 labels"):
        Plant(background, len(NAMES) + 1)
