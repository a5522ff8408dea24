"""The heads that shape the EEG codes in training: what they read, and which way their gradients push."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuroleon.tokenizers.eeg.heads import Contrast, ReadOuts, SetAdversary, pooled


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_only_existing_steps_are_pooled() -> None:
    latents = normal(3, 5, 4)
    exists = torch.tensor([[True] * 5, [True, True, False, False, False], [False] * 5])
    found = pooled(torch.where(exists[..., None], latents, 1e6), exists)
    torch.testing.assert_close(found[0], latents[0].mean(0))
    torch.testing.assert_close(found[1], latents[1, :2].mean(0))
    assert torch.equal(found[2], torch.zeros(4))


def test_each_set_has_labels_of_its_own() -> None:
    heads = ReadOuts(4, {"letters": 20, "type": 3}, step_samples=25)  # `type` is also a method of modules
    latents = normal(6, 4)
    assert heads.label_logits("letters", latents).shape == (6, 20)
    assert heads.label_logits("type", latents).shape == (6, 3)
    expected = latents @ heads.labels["of_type"].weight.T + heads.labels["of_type"].bias
    torch.testing.assert_close(heads.label_logits("type", latents), expected)


def test_the_stimulus_is_read_sample_by_sample_in_the_order_of_time() -> None:
    heads = ReadOuts(2, {}, step_samples=5)
    torch.nn.init.zeros_(heads.stimulus.weight)
    heads.stimulus.weight.data[:, 0] = 1.0
    heads.stimulus.bias.data = torch.arange(5) / 10
    steps = torch.arange(4.0)[None, :, None].expand(3, 4, 2)
    expected = (torch.arange(4.0)[:, None] + torch.arange(5) / 10).flatten()
    torch.testing.assert_close(heads.stimulus_logits(steps), expected.expand(3, 20))


def contrast_by_hand(head: Contrast, eeg: Tensor, seen: Tensor) -> float:
    candidates = [k for k in range(len(seen)) if not any(torch.equal(seen[k], seen[i]) for i in range(k))]
    first, second = (
        (x / x.norm(dim=1, keepdim=True)).detach().double().numpy()
        for x in (head.eeg(eeg), head.seen(seen[candidates]))
    )
    similarity = first @ second.T / np.exp(head.log_temperature.item())
    forth, back = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)) for logits in (similarity, similarity.T))
    alike = np.array([[torch.equal(seen[i], seen[k]) for k in candidates] for i in range(len(seen))])
    windows = -np.mean([forth[i, alike[i]].item() for i in range(len(seen))])
    things = -np.mean([back[k, alike[:, k]].mean() for k in range(len(candidates))])
    return (windows + things) / 2


def test_the_contrast_takes_windows_of_the_same_thing_as_positives() -> None:
    torch.manual_seed(0)
    head = Contrast(6, 5)
    eeg, seen = normal(5, 6), normal(5, 5, seed=1)
    assert head(eeg, seen).item() == pytest.approx(contrast_by_hand(head, eeg, seen), rel=1e-5)
    seen[3] = seen[1]
    assert head(eeg, seen).item() == pytest.approx(contrast_by_hand(head, eeg, seen), rel=1e-5)
    swapped = eeg[[0, 3, 2, 1, 4]]  # windows 1 and 3 saw the same
    torch.testing.assert_close(head(swapped, seen), head(eeg, seen))
    same = seen[:1].expand(5, -1)  # one candidate: nothing to choose, and every window its positive
    assert head(eeg, same).item() == pytest.approx(contrast_by_hand(head, eeg, same), rel=1e-5)


def test_the_contrast_draws_the_eeg_towards_what_was_seen() -> None:
    torch.manual_seed(0)
    head, kinds = Contrast(8, 5), normal(3, 5, seed=2)
    seen = kinds[torch.arange(12) % 3]
    eeg = normal(12, 8).requires_grad_()
    optimizer = torch.optim.Adam([eeg, *head.parameters()], 0.05)
    before = head(eeg, seen).item()
    for _ in range(60):
        optimizer.zero_grad()
        head(eeg, seen).backward()
        optimizer.step()
    # four windows share each embedding: the best that can be is to tell which of three was seen
    assert head(eeg, seen).item() < min(before, np.log(4) + 0.05)
    with torch.no_grad():
        near = functional.normalize(head.eeg(eeg), dim=1) @ functional.normalize(head.seen(kinds), dim=1).T
    assert torch.equal(near.argmax(1), torch.arange(12) % 3)


def test_the_temperature_stays_in_its_bounds() -> None:
    head = Contrast(6, 5)
    eeg, seen = normal(5, 6), normal(5, 5, seed=1)
    for beyond, bound in ((-9.0, np.log(0.01)), (3.0, 0.0)):
        found = []
        for value in (beyond, bound):
            head.log_temperature.data.fill_(value)
            found.append(head(eeg, seen))
        torch.testing.assert_close(*found)


@pytest.mark.parametrize(("progress", "strength"), [(0.0, 0.0), (0.1, 0.4621172), (1.0, 0.9999092)])
def test_the_adversarys_gradient_is_reversed_for_the_codes_and_not_for_itself(progress: float, strength: float) -> None:
    torch.manual_seed(0)
    adversary, sets = SetAdversary(6, 3), torch.tensor([0, 1, 2, 2, 1])
    latents = normal(5, 6).requires_grad_()
    loss = adversary(latents, sets, torch.tensor(progress))
    parameters = list(adversary.parameters())
    reached, *own = torch.autograd.grad(loss, [latents, *parameters])
    plain_loss = functional.cross_entropy(adversary.classify(latents), sets)
    plain, *plain_own = torch.autograd.grad(plain_loss, [latents, *parameters])
    torch.testing.assert_close(loss, plain_loss)
    torch.testing.assert_close(reached, -strength * plain, rtol=1e-4, atol=1e-7)
    assert plain.norm() > 0
    for a, b in zip(own, plain_own, strict=True):
        torch.testing.assert_close(a, b)
