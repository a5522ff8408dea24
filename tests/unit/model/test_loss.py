"""The loss: weights, modalities, z-loss."""

import math

import pytest
import torch
from torch.nn import functional as F

from neuroleon.model.loss import token_loss


def batch() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 6, 40, generator=generator)
    targets = torch.randint(0, 40, (2, 6), generator=generator)
    weights = torch.tensor([[0.0, 1.0, 1.0, 0.5, 0.5, 2.0], [0.0, 0.0, 1.0, 1.0, 0.25, 0.0]])
    kinds = torch.tensor([[0, 1, 1, 2, 2, 0], [3, 1, 1, 2, 1, 2]])
    return logits, targets, weights, kinds


def test_loss_is_the_weighted_mean_of_nats() -> None:
    logits, targets, weights, kinds = batch()
    result = token_loss(logits, targets, weights, kinds, z_weight=0.0)
    nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(2, 6)
    torch.testing.assert_close(result["loss"], (nats * weights).sum() / weights.sum())
    used = weights > 0
    torch.testing.assert_close(result["text"], nats[used & (kinds == 1)].mean())
    torch.testing.assert_close(result["image"], nats[used & (kinds == 2)].mean())
    assert result["eeg"].isnan()  # its only target has weight 0


def test_positions_of_weight_zero_take_no_part() -> None:
    logits, targets, weights, kinds = batch()
    before = token_loss(logits, targets, weights, kinds)
    logits[weights == 0] = math.nan
    targets[weights == 0] = -100
    after = token_loss(logits, targets, weights, kinds)
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, equal_nan=True)


def test_z_loss_pulls_the_partition_towards_one() -> None:
    logits, targets, weights, kinds = batch()
    plain = token_loss(logits, targets, weights, kinds, z_weight=0.0)
    with_z = token_loss(logits, targets, weights, kinds, z_weight=0.1)
    torch.testing.assert_close(with_z["loss"], plain["loss"] + 0.1 * plain["z"])
    shifted = token_loss(logits + 5, targets, weights, kinds, z_weight=0.1)
    assert shifted["loss"] > with_z["loss"]


def test_bfloat16_logits_are_summed_in_float32() -> None:
    logits, targets, weights, kinds = batch()
    low = token_loss(logits.bfloat16(), targets, weights, kinds)["loss"]
    assert low.dtype == torch.float32
    assert low.item() == pytest.approx(token_loss(logits.bfloat16().float(), targets, weights, kinds)["loss"].item())


def test_a_batch_without_any_target_has_loss_zero() -> None:
    logits, targets, _, kinds = batch()
    assert token_loss(logits, targets, torch.zeros(2, 6), kinds)["loss"].item() == 0
