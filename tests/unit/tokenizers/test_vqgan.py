"""The network, its quantizer and its losses."""

import copy

import pytest
import torch
from torch import Tensor

from neuroleon.common.errors import ConfigError
from neuroleon.tokenizers.vqgan import VQGAN, Quantizer, VQGANConfig
from neuroleon.tokenizers.vqgan_loss import AdversarialConfig, VQGANLossConfig, VQGANTraining

SMALL = VQGANConfig(resolution=16, patch=2, ch=32, ch_mult=(1, 1), z_channels=8, codebook_size=16, code_dim=8)


def pictures(n: int = 4) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def training(**adversarial: object) -> VQGANTraining:
    torch.manual_seed(0)
    return VQGANTraining(SMALL, VQGANLossConfig(adversarial=AdversarialConfig(ch=8, layers=1, **adversarial)))


def test_the_default_network_makes_64_tokens_of_a_64_pixel_picture() -> None:
    config = VQGANConfig()
    with torch.device("meta"):
        network = VQGAN(config)
    assert config.tokens == 64
    assert network.latents(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 64, config.code_dim)
    assert network.pictures(torch.empty(2, 64, config.code_dim, device="meta")).shape == (2, 3, 64, 64)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    VQGAN(SMALL)
    assert capsys.readouterr().out == ""


def test_tokens_are_rows_from_the_top_left() -> None:
    torch.manual_seed(0)
    network = VQGAN(SMALL).eval()
    codes = torch.zeros(2, SMALL.tokens, SMALL.code_dim)
    codes[1, 1] = 100.0  # the second token of the first row
    with torch.no_grad():
        # group norms see the whole picture, so the change is looked for where it is largest
        change = network.pictures(codes).diff(dim=0)[0].abs().sum(0)
    side = SMALL.factor
    cells = change.unfold(0, side, side).unfold(1, side, side).sum((2, 3))
    assert cells.flatten().argmax() == 1


@pytest.mark.parametrize(
    "wrong", [{"ch": 48}, {"norm_groups": 3}, {"resolution": 62}, {"ch_mult": ()}, {"code_dim": 0}, {"patch": -1}]
)
def test_impossible_shapes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        VQGANConfig(**wrong)


def test_the_quantizer_is_float32_under_autocast() -> None:
    torch.manual_seed(0)
    quantizer, latents = Quantizer(SMALL), torch.randn(8, 16, 8)
    quantizer(latents)  # the first batch makes the codebook
    quantizer.eval()
    codes, ids, _ = quantizer(latents)
    with torch.autocast("cpu", torch.bfloat16):
        codes_bf16, ids_bf16, _ = quantizer(latents)
    assert codes_bf16.dtype == torch.float32
    assert torch.equal(ids, ids_bf16)
    assert torch.equal(codes, codes_bf16)
    assert torch.equal(ids, torch.cdist(latents, quantizer.codebook).argmin(-1))


def test_latents_that_are_not_finite_never_reach_the_codebook() -> None:
    module = training()
    module(pictures(), 0)
    before = copy.deepcopy(module.quantizer.state_dict())
    with torch.no_grad():
        module.network.quant_conv.bias[0] = float("nan")
    losses = module(pictures(), 1)
    assert not losses["loss"].isfinite()
    assert losses.keys() == module(pictures(), 2).keys()
    assert all(torch.equal(before[name], value) for name, value in module.quantizer.state_dict().items())


def test_each_player_gets_the_gradient_of_its_own_loss_only() -> None:
    module = training(enabled=True, start=0, weight=0.5)
    losses = module(pictures(), 0)
    players = {
        "discriminator": losses["discriminator"],
        "network": losses["loss"] - losses["discriminator"],
    }
    for name, own in players.items():
        parameters = list(getattr(module, name).parameters())
        total = torch.autograd.grad(losses["loss"], parameters, retain_graph=True)
        alone = torch.autograd.grad(own, parameters, retain_graph=True)
        for got, wanted in zip(total, alone, strict=True):
            torch.testing.assert_close(got, wanted)
    fooling = torch.autograd.grad(losses["generator"], module.network.encoder.conv_in.weight)[0]
    assert fooling.abs().max() > 0  # the generator's term reaches the encoder through the frozen discriminator


def test_the_discriminator_waits_for_its_start() -> None:
    module = training(enabled=True, start=5)
    before, after = module(pictures(), 4), module(pictures(), 5)
    assert before["generator"].isnan()
    assert before["loss"].isfinite()
    assert after["generator"].isfinite()
    assert before.keys() == after.keys()


@pytest.mark.parametrize("adversarial", [False, True])
def test_a_few_steps_make_the_reconstruction_better(adversarial: bool) -> None:
    module = training(enabled=adversarial, start=0)
    optimizer = torch.optim.AdamW(module.parameters(), 3e-3)
    first, last = [], []
    for step in range(40):
        losses = module(pictures(), step)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        (first if step < 5 else last).append(losses["coarse"].item())
    assert sum(last[-5:]) < 0.7 * sum(first)
