"""n-way identification in closed form, against every set of distractors."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.evaluation.identification import (
    by_answer,
    chance_identified,
    chance_median_rank,
    chosen_share,
    expected_rank,
    identified,
    rank_chances,
    ranks,
    top1_chance,
)


def enumerated(scores: list[int], place: int, n: int, k: int) -> float:
    """The share of all sets of n - 1 distractors and orders of equal scores that leave the place in the top k."""
    others = [i for i in range(len(scores)) if i != place]
    found = []
    for chosen in combinations(others, n - 1):
        candidates = [place, *chosen]
        for order in permutations(range(n)):  # equal scores stand in this order
            ranked = sorted(range(n), key=lambda j: (-scores[candidates[j]], order[j]))
            found.append(ranked.index(0) < k)
    return float(np.mean(found))


@pytest.mark.parametrize("scores", [[3, 2, 1, 0, 5], [1, 1, 1, 1, 1], [2, 3, 3, 2, 2], [0, 0, 1, 2, 0]])
@pytest.mark.parametrize(("n", "k"), [(2, 1), (3, 1), (4, 1), (4, 2), (5, 1), (5, 3), (3, 2)])
def test_the_closed_form_is_the_mean_over_all_sets_of_distractors(scores: list[int], n: int, k: int) -> None:
    rows, places = np.tile(scores, (5, 1)), np.arange(5)
    wanted = [enumerated(scores, place, n, k) for place in places.tolist()]
    np.testing.assert_allclose(identified(rows, places, n, k), wanted, atol=1e-12)


@given(st.lists(st.integers(0, 6), min_size=6, max_size=30), st.integers(2, 6), st.integers(1, 5))
def test_scores_without_knowledge_are_at_chance_whatever_their_ties(scores: list[int], n: int, k: int) -> None:
    places = np.arange(len(scores))
    shares = identified(np.tile(scores, (len(scores), 1)), places, n, min(k, n))
    assert shares.mean() == pytest.approx(min(k, n) / n)  # every candidate was the true one once


def test_two_hundred_candidates_keep_their_precision() -> None:
    assert chosen_share(0, 0, 199, 200, 1) == 1.0
    assert chosen_share(1, 0, 199, 200, 1) == 0.0
    assert chosen_share(0, 199, 199, 200, 5) == pytest.approx(5 / 200)
    assert chosen_share(10, 0, 1999, 50, 1) == pytest.approx(0.781, abs=2e-3)  # (1 - 49 / 1999) ** 10, nearly


def test_ranks_and_their_expectation_under_ties() -> None:
    scores = np.array([[3.0, 1.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    above, equal = ranks(scores, np.array([1, 2]))
    assert (above.tolist(), equal.tolist()) == ([2, 0], [0, 3])
    assert expected_rank(scores, np.array([0, 2])).tolist() == [1.5, 2.5]


def test_an_answer_scores_what_its_best_candidate_does() -> None:
    scores, names = by_answer(np.array([[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]]), ["dog", "cat", "dog"])
    assert names == ["dog", "cat"] and scores.tolist() == [[2.0, 5.0], [4.0, 0.0]]


@pytest.mark.parametrize("sizes", [(3, 2, 1), (1, 4, 1), (2, 2, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("frequencies", [(1, 1, 1, 1), (5, 2, 1, 3)])
def test_chance_of_answers_with_unequally_many_pictures(sizes: tuple[int, ...], frequencies: tuple[int, ...]) -> None:
    """Against every order that the scores of the pictures can have, each answer asked for as often as `frequencies`."""
    pictures = [str(k) for k, size in enumerate(sizes) for _ in range(size)]
    orders = np.array(list(permutations(range(len(pictures)))), dtype=float)
    scores, _ = by_answer(orders, pictures)
    places = np.repeat(np.arange(len(sizes)), frequencies[: len(sizes)])
    chances = rank_chances(np.array(sizes), places)
    everything = np.concatenate([expected_rank(scores, np.full(len(orders), place)) for place in places.tolist()])
    counts = np.bincount(everything.astype(int), minlength=len(sizes) + 1)[1:]
    np.testing.assert_allclose(chances, counts / len(everything), atol=1e-12)
    assert chance_median_rank(chances) == np.median(everything)
    for n, k in [(way, top) for way in range(2, len(sizes) + 1) for top in range(1, way)]:
        brute = np.mean([identified(scores, np.full(len(orders), place), n, k).mean() for place in places.tolist()])
        assert chance_identified(chances, n, k) == pytest.approx(brute, abs=1e-12)
    best = np.array(pictures)[orders.argmax(axis=1)]
    brute = np.mean([np.mean(best == str(place)) for place in places.tolist()])
    assert top1_chance(pictures, [str(place) for place in places.tolist()]) == pytest.approx(brute)


def test_chance_keeps_its_precision_with_hundreds_of_pictures() -> None:
    sizes = np.repeat([1, 10, 30], [20, 20, 20])
    chances = rank_chances(sizes, np.arange(60))
    np.testing.assert_allclose(chances, 1 / 60, rtol=1e-9)  # asked equally often, one answer is at each rank
    rare = rank_chances(sizes, np.zeros(1, dtype=int))
    assert rare.sum() == pytest.approx(1) and rare[0] == pytest.approx(1 / sizes.sum())  # the largest score of all
