"""Evoked responses: planted ones are found, and nothing is where labels tell nothing."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neuroleon.training.stages.eeg_evoked import Labelled, evoked_readout

SIZE, STEPS = 12, 6


def trials(response: Tensor, seed: int = 0, n: int = 40, subjects: int = 2) -> list[Labelled]:
    """Noise that is loudest where nothing is planted, and of each label its own course along `response` (F,)."""
    rng = np.random.default_rng(seed)
    loudness = torch.linspace(3.0, 0.5, SIZE)
    courses = {label: torch.from_numpy(rng.standard_normal((STEPS, 1))).float() for label in "abcd"}
    return [
        Labelled(
            label=label,
            subject=str(i % subjects),
            steps=torch.from_numpy(rng.standard_normal((STEPS, SIZE))).float() * loudness + courses[label] * response,
        )
        for i in range(n)
        for label in courses
    ]


def planted() -> Tensor:
    response = torch.zeros(SIZE)
    response[-2:] = 0.5
    return response


def test_a_planted_response_is_found_and_the_loud_noise_is_not() -> None:
    rows = evoked_readout(trials(planted()), seed=0)
    assert 1 <= len(rows) <= 3, "one direction was planted; what passes by chance is small"
    towards = rows[-1] / rows[-1].norm()  # the largest comes last
    assert rows[-1].norm() > 5 * rows[:-1].norm()
    assert abs(float(towards @ planted() / planted().norm())) > 0.9
    assert towards[:6].abs().max() < 0.15


def test_the_size_read_is_that_of_the_response() -> None:
    """A Wiener filter shrinks: it reads about the whole response where noise is low, and less of it beside noise."""
    made, response = trials(planted(), n=200), planted()
    read = (evoked_readout(made, seed=0) @ response).norm()
    assert 0.4 * response.norm() < read < response.norm()
    louder = (evoked_readout(trials(4 * response, n=200), seed=0) @ response).norm()
    assert read < louder < 1.2 * response.norm()


def test_where_labels_tell_nothing_little_is_found() -> None:
    """What passes the shuffles by chance is rare, and small beside what is found of a true response."""
    shares, n_rows = [], []
    for seed in range(20):
        rows = evoked_readout(trials(torch.zeros(SIZE), seed), seed)
        true = evoked_readout(trials(planted(), seed), seed)
        shares.append(float(rows.square().sum() / true.square().sum()))
        n_rows.append(len(rows))
    assert max(n_rows) <= 2
    assert sum(n_rows) <= 8, "0.26 of these draws, on average, let one pass"
    assert max(shares) < 0.1
    assert sum(shares) / len(shares) < 0.02


def test_a_response_that_every_label_shares_tells_nothing() -> None:
    rng = np.random.default_rng(0)
    course = torch.from_numpy(rng.standard_normal((STEPS, 1))).float()
    shared = [
        Labelled(label=t.label, subject=t.subject, steps=t.steps + 5 * course * planted())
        for t in trials(torch.zeros(SIZE))
    ]
    assert evoked_readout(shared, seed=0).square().sum() < 0.01


def test_responses_that_differ_between_people_are_still_found() -> None:
    """One person's response is the other's upside down: a mean over people would cancel it."""
    made = trials(planted(), seed=1, subjects=1)
    turned = [replace(t, subject="turned") for t in trials(-planted(), seed=1, subjects=1)]
    rows = evoked_readout([*made, *turned], seed=0)
    assert abs(float(rows[-1] @ planted() / planted().norm() / rows[-1].norm())) > 0.9


def test_one_label_or_one_trial_each_gives_no_rows() -> None:
    made = trials(planted(), n=1, subjects=1)
    assert evoked_readout(made, seed=0).shape == (0, SIZE)
    alone = [Labelled(label="a", subject="0", steps=t.steps) for t in trials(planted())]
    assert evoked_readout(alone, seed=0).shape == (0, SIZE)
