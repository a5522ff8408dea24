"""Choosing an id: temperature, top-k, top-p, constraints, generators."""

import pytest
import torch

from neuroleon.common.errors import ConfigError
from neuroleon.common.seed import torch_generator
from neuroleon.decoding.constraints import candidates
from neuroleon.decoding.guidance import contrast, guide
from neuroleon.decoding.sampling import Sampling, choose, probabilities

PROBS = torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.05]])
LOGITS = PROBS.log()


def drawn(settings: Sampling, n: int = 3000) -> torch.Tensor:
    generator = torch_generator("test")
    counts = torch.zeros(5)
    for _ in range(n):
        counts[choose(LOGITS, settings, [generator])] += 1
    return counts / n


def test_samples_follow_the_probabilities() -> None:
    torch.testing.assert_close(drawn(Sampling()), PROBS[0], atol=0.03, rtol=0)


def test_top_k_keeps_the_k_most_likely() -> None:
    expected = torch.tensor([0.5, 0.2, 0, 0, 0]) / 0.7
    torch.testing.assert_close(drawn(Sampling(top_k=2)), expected, atol=0.03, rtol=0)


def test_top_p_keeps_the_smallest_set_that_reaches_p() -> None:
    kept = probabilities(LOGITS, Sampling(top_p=0.6))[0] > 0
    assert kept.tolist() == [True, True, False, False, False]
    assert (probabilities(LOGITS, Sampling(top_p=0.01))[0] > 0).tolist() == [True, False, False, False, False]
    # After top-k = 2 the first id alone has 0.71.
    kept = probabilities(LOGITS, Sampling(top_k=2, top_p=0.6))[0] > 0
    assert kept.tolist() == [True, False, False, False, False]


def test_temperature_sharpens_and_zero_is_greedy() -> None:
    cold = probabilities(LOGITS, Sampling(temperature=0.5))[0]
    torch.testing.assert_close(cold, (PROBS[0].double() ** 2) / (PROBS[0].double() ** 2).sum(), atol=1e-6, rtol=0)
    assert choose(LOGITS, Sampling(temperature=0), [torch_generator(0)]).tolist() == [0]


def test_closed_ids_are_never_drawn() -> None:
    found = candidates([[range(3, 5), range(40, 41)], [range(49, 50)]])
    assert found.ids.tolist() == [3, 4, 40, 49]
    logits = found.constrain(torch.randn(2, 4, generator=torch_generator(1)))
    generators = [torch_generator("a"), torch_generator("b")]
    seen = torch.stack([found.ids[choose(logits, Sampling(temperature=3.0), generators)] for _ in range(200)])
    assert set(seen[:, 0].tolist()) == {3, 4, 40}
    assert set(seen[:, 1].tolist()) == {49}


def test_candidates_are_the_ids_that_any_row_may_have_each_once() -> None:
    found = candidates([[range(10, 20), range(30, 31)], [range(15, 30)], [range(2, 4), range(3, 6)]])
    assert found.ranges == (range(2, 6), range(10, 31))
    assert found.ids.tolist() == [*range(2, 6), *range(10, 31)]
    assert found.closed is not None
    opened = [found.ids[~row].tolist() for row in found.closed]
    assert opened == [[*range(10, 20), 30], [*range(15, 30)], [*range(2, 6)]]
    assert candidates([[range(4, 9)]] * 3).closed is None
    but = candidates([[range(4, 9)]] * 2, [{5, 7}, set()])
    assert but.closed is not None
    assert but.ids[~but.closed[0]].tolist() == [4, 6, 8]
    assert not but.closed[1].any()


def test_contrast_is_the_formula_where_the_condition_finds_it_plausible() -> None:
    p, q = torch.tensor([[0.5, 0.3, 0.15, 0.05, 0.0]]), torch.tensor([[0.5, 0.1, 0.05, 0.35, 0.0]])
    found = contrast(p.log(), q.log(), 2, 0.5)  # at least half of .3
    torch.testing.assert_close(found[0, :3], torch.tensor([1.0, 3.0, 3.0]).log())
    assert torch.isneginf(found[0, 3:]).all()
    alone = contrast(p.log(), q.log(), 1, 0.5)  # at least half of .5
    assert alone[0].isfinite().tolist() == [True, True, False, False, False]
    everything = contrast(p.log() + 7, q.log() - 3, 99, 0.1)  # more than there are; no constant matters
    torch.testing.assert_close(everything[0, :4], (p / q)[0, :4].log())
    assert torch.isneginf(everything[0, 4])


def test_guidance_moves_from_the_unconditional_to_beyond_the_condition() -> None:
    c, u = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.5])
    torch.testing.assert_close(guide(c, u, 1.0), c)
    torch.testing.assert_close(guide(c, u, 0.0), u)
    torch.testing.assert_close(guide(c, u, 3.0), torch.tensor([3.0, 4.0]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"guidance": -0.1},
        {"max_text": 0},
        {"no_repeat": -1},
        {"contrast_k": -1},
        {"contrast_k": 4, "contrast_alpha": 0.0},
        {"contrast_k": 4, "guidance": 2.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Sampling(**wrong)
