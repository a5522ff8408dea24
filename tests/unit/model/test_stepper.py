"""One id at a time, by another way, says what the whole forward says."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from neuroleon.common.errors import ConfigError
from neuroleon.model.config import ModelConfig
from neuroleon.model.products import Precision
from neuroleon.model.stepper import Stepper
from neuroleon.model.transformer import Neuroleon

CONFIG = ModelConfig(dim=64, depth=3, heads=6, kv_heads=2, dim_head=16, max_length=64)
N_IDS, IMAGE, EEG, LEVELS = 500, 100, 300, 5
WHOLE = [range(N_IDS)]


def model(config: ModelConfig = CONFIG) -> Neuroleon:
    torch.manual_seed(0)
    books = {IMAGE: torch.randn(64, 8), EEG: torch.randn(100, 8)}
    made = Neuroleon(config, N_IDS, books, {EEG: LEVELS}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.requires_grad_(False)


def rows(n: int, length: int) -> Tensor:
    """Ids of all kinds; whole EEG steps, broken ones, and steps that begin in their middle."""
    ids = torch.randint(0, N_IDS, (n, length))
    steps = EEG + torch.arange(20) % LEVELS * 20 + torch.randint(0, 20, (n, 20))
    ids[:, 10:30] = steps
    ids[0, 12], ids[-1, 16:18] = 7, IMAGE
    return ids


def stepped(made: Neuroleon, ids: Tensor, cut: int, precision: Precision = "float32") -> Tensor:
    """Logits (B, T - cut + 1, V) after the first `cut` ids and after each later one."""
    stepper = Stepper(made, precision)
    positions = torch.arange(cut).expand(len(ids), -1)
    hidden, context = stepper.read(ids[:, :cut], positions, torch.zeros_like(positions), ids.shape[1] - cut)
    found = [stepper.logits(hidden, WHOLE)]
    for column in ids[:, cut:].T:
        found.append(stepper.logits(stepper.step(column, context), WHOLE))
    return torch.stack(found, dim=1).float()


@pytest.mark.parametrize("cut", [1, 12, 13, 17, 39])
@pytest.mark.parametrize(
    "config", [CONFIG, replace(CONFIG, kv_heads=6), replace(CONFIG, kv_heads=1), replace(CONFIG, depth=1, dropout=0.1)]
)
def test_steps_equal_the_whole_forward(config: ModelConfig, cut: int) -> None:
    made, ids = model(config), rows(3, 40)
    torch.testing.assert_close(stepped(made, ids, cut), made(ids)[:, cut - 1 :], atol=1e-4, rtol=1e-4)


def test_rows_of_different_lengths_are_as_they_are_alone() -> None:
    made, ids = model(), rows(2, 40)
    length = torch.tensor([20, 13])
    positions = torch.arange(20) - (20 - length)[:, None]
    documents = torch.where(positions < 0, -1, 0)
    padded = torch.stack([torch.cat([torch.zeros(20 - n, dtype=torch.long), row[:n]]) for n, row in zip(length, ids)])
    stepper = Stepper(made)
    hidden, context = stepper.read(padded, positions.clamp_min(0), documents, 10)
    for column in range(10):
        whole = [made(row[None, : n + column])[0, -1] for n, row in zip(length, ids, strict=True)]
        torch.testing.assert_close(stepper.logits(hidden, WHOLE), torch.stack(whole), atol=1e-4, rtol=1e-4)
        hidden = stepper.step(ids.gather(1, length[:, None] + column)[:, 0], context)


def test_rows_go_on_alike_in_another_order_and_twice() -> None:
    made, ids = model(), rows(3, 40)
    stepper, positions = Stepper(made), torch.arange(14).expand(3, -1)
    _, context = stepper.read(ids[:, :14], positions, torch.zeros_like(positions), 2)
    order = torch.tensor([2, 0, 2])
    chosen = context.select(order)
    for column in (14, 15):
        expected = stepper.step(ids[:, column], context)[order]
        torch.testing.assert_close(stepper.step(ids[order, column], chosen), expected, atol=1e-5, rtol=1e-5)


def test_only_the_ids_in_question_are_asked_for() -> None:
    made = model()
    stepper, hidden = Stepper(made), torch.randn(2, CONFIG.dim)
    asked = [range(3, 7), range(90, 130)]
    expected = stepper.logits(hidden, WHOLE)[:, [i for ids in asked for i in ids]]
    torch.testing.assert_close(stepper.logits(hidden, asked), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("precision", "close"), [("bfloat16", 0.05), ("int8", 0.05)])
def test_coarser_weights_say_nearly_the_same(precision: Precision, close: float) -> None:
    config = replace(CONFIG, dim=128, heads=4, dim_head=32, ff_mult=2.0)
    made, ids = model(config), rows(3, 40)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(0.3)
    whole = made(ids)[:, 12:]
    found = stepped(made, ids, 13, precision)
    assert (found - whole).norm() < close * whole.norm()
    assert not torch.equal(found, whole)


def test_precisions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="float32, bfloat16, int8"):
        Stepper(model(), "int4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="multiples of 64"):
        Stepper(model(replace(CONFIG, dim=96)), "int8")
