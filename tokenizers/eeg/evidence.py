"""What the EEG so far says of the labels that training knew: a logistic regression of each set's labels, step by step.

The semantic numbers of a step are the posterior of every such label, given the window up to this step, less chance.
*Responses* are read from the numbers of the waveform with weights that depend on the place of the step in its window,
because a response is locked to the window's start: evidence adds up. *Rhythms* are read from log-power around the
steps, whatever their place: its mean so far. Each is trusted as far as the same number of steps went on trials that
the fit did not see. On EEG of anything else they name a label that training knew, and that means nothing.
# B batch, K harmonics, M sources, T samples, N steps, F features of power, S semantic numbers of one kind
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.spatial import evenly, harmonics

PLACES = 32  # of a window's first steps, 4 s; later ones say nothing of responses, and add no trust
HEARD = 16  # numbers of the waveform that responses are read from: the first ones, which are made for them
FRAME_BLOCKS = 8  # a window of power is cut into as many blocks
FRAME_SHARE = 0.25  # of a window's energy, below which what is valid of it tells no power
POWER_FLOOR = 1e-2  # in squared units of the scale


class LogPower(nn.Module):
    """Log-power of each source in a Hann window around each step (up to its end, when causal).

    Steady-state responses are power at a known frequency, which no step resolves. Where a part of the window is not
    valid, power is that of the rest, where the window weighs the rest enough.
    """

    hann: Tensor
    places: Tensor

    def __init__(self, config: EEGTokenizerConfig, window: int) -> None:
        super().__init__()
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.register_buffer("places", harmonics(evenly(config.sources)), persistent=False)
        self.block, self.step = window // FRAME_BLOCKS, config.step_samples
        self.n_bins = int(config.spectral_top_hz * window / config.sfreq)
        # the block that a step lies in is complete at the step's end only where blocks are steps
        waits = self.block > self.step
        self.blocks_before = (FRAME_BLOCKS if waits else FRAME_BLOCKS - 1) if config.causal else FRAME_BLOCKS // 2

    def _frames(self, signal: Tensor) -> Tensor:
        """(B, M, T), T a multiple of the block -> (B, M, T / block, window)."""
        before, n_blocks = self.blocks_before * self.block, signal.shape[-1] // self.block
        after = max(0, (FRAME_BLOCKS - 1) * self.block - before)
        blocks = rearrange(functional.pad(signal, (before, after)), "b m (n t) -> b m n t", t=self.block)
        return torch.cat([blocks[:, :, k : k + n_blocks] for k in range(FRAME_BLOCKS)], dim=-1)

    def forward(self, field: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """field (B, K, T), valid (B, T) -> log-power (B, N, M * bins) and where it is known (B, N) bool."""
        n_times = field.shape[-1]
        rest = -n_times % self.block
        frames = self._frames(functional.pad(self.places.to(field) @ field, (0, rest)))
        energy = self.hann.square()
        seen = self._frames(functional.pad(valid, (0, rest))[:, None].to(field.dtype)) @ energy
        enough = FRAME_SHARE * energy.sum()
        spectrum = torch.fft.rfft(frames * self.hann, dim=-1)[..., 1 : self.n_bins + 1]
        power = (spectrum.real.square() + spectrum.imag.square()) / seen.clamp_min(enough)[..., None]
        features = rearrange((power + POWER_FLOOR).log(), "b m n f -> b n (m f)")
        of_steps = self.block // self.step, n_times // self.step
        return _of_steps(features, *of_steps), _of_steps(seen[:, 0] >= enough, *of_steps)


def _of_steps(of_blocks: Tensor, per_block: int, n_steps: int) -> Tensor:
    """What holds of blocks (B, blocks, ...), for each of their steps (B, N, ...)."""
    return of_blocks.repeat_interleave(per_block, dim=1)[:, :n_steps]


class Posterior(nn.Module):
    """Log-odds (..., S) of the labels of several sets -> probability of each in its set, less chance.

    Numbers that no label has are 0, and all are before training fits them (`training/stages/eeg_evidence.py`).
    """

    bias: Tensor
    trust: Tensor
    same_set: Tensor

    def __init__(self, n: int) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(n))
        self.register_buffer("trust", torch.zeros(PLACES + 1, n))  # after so many steps; of none there is none
        self.register_buffer("same_set", torch.eye(n))  # 1 where row and column are labels of one set

    def forward(self, log_odds: Tensor, n_seen: Tensor) -> Tensor:
        """log_odds (B, N, S) after n_seen (B, N) steps -> (B, N, S)."""
        trusted = (log_odds + self.bias) * self.trust[n_seen.clamp_max(PLACES)]
        others = trusted[..., None, :].masked_fill(self.same_set == 0, -torch.inf)
        return (trusted - others.logsumexp(dim=-1)).exp() - 1 / self.same_set.sum(dim=1)


class Evidence(nn.Module):
    """The numbers of the waveform and the field -> semantic numbers of responses and of rhythms."""

    templates: Tensor
    usual_response: Tensor
    spectra: Tensor
    usual_power: Tensor

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.powers = nn.ModuleList(LogPower(config, window) for window in config.spectral_samples)
        n, n_bins = config.semantic_dim, sum(power.n_bins for power in self.powers if isinstance(power, LogPower))
        self.register_buffer("templates", torch.zeros(PLACES, min(HEARD, config.waveform_dim), n))
        self.register_buffer("usual_response", torch.zeros(PLACES, n))  # what they make of the mean trial
        self.register_buffer("spectra", torch.zeros(config.sources * n_bins, n))
        self.register_buffer("usual_power", torch.zeros(n))
        self.of_responses, self.of_rhythms = Posterior(n), Posterior(n)

    def power(self, field: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """field (B, K, T), valid (B, T) -> log-power in every window (B, N, F), and where all know it (B, N) bool."""
        found = [power(field, valid) for power in self.powers]
        return torch.cat([of for of, _ in found], dim=-1), torch.stack([known for _, known in found]).all(dim=0)

    def forward(self, waveform: Tensor, field: Tensor, valid: Tensor, exists: Tensor) -> Tensor:
        """waveform (B, N, waveform_dim), field (B, K, T), valid (B, T), exists (B, N) -> (B, N, 2 S)."""
        n = min(waveform.shape[1], PLACES)
        heard = waveform[:, :n, : self.templates.shape[1]]
        responses = torch.einsum("bnk,nks->bns", heard, self.templates[:n]) - self.usual_response[:n]
        responses = functional.pad(responses * exists[:, :n, None], (0, 0, 0, waveform.shape[1] - n))
        power, known = self.power(field, valid)
        known = known & exists
        rhythms, n_known = (power @ self.spectra - self.usual_power) * known[..., None], known.cumsum(dim=1)
        return torch.cat(
            [
                self.of_responses(responses.cumsum(dim=1), exists.cumsum(dim=1)),
                self.of_rhythms(rhythms.cumsum(dim=1) / n_known.clamp_min(1)[..., None], n_known),
            ],
            dim=-1,
        )
