"""What the EEG so far says of the labels that training knew: a logistic regression of each set's labels, step by step.

The semantic numbers of a step are the posterior of every such label, given the window up to this step, less chance.
All are read from the field whitened by its own covariance in the whole window, or so far when causal
(`spatial.whitening`). *Responses* are read with weights that depend on the place of the step in its window, because a
response is locked to the window's start: evidence adds up. *Rhythms* are read from log-power around the steps, less
that of the recording, whatever their place: its mean so far. Each is trusted as far as the same number of steps went on
trials that the fit did not see. On EEG of anything else they name a label that training knew, and that means nothing.
# B batch, K harmonics, M sources, T samples, N steps, F features of power, S semantic numbers of one kind
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from neuroleon.signals.background import POWER_FLOOR, TOP_HZ
from neuroleon.tokenizers.eeg.config import EEGTokenizerConfig
from neuroleon.tokenizers.eeg.spatial import HARMONICS, evenly, harmonics, whitening

HEARD = 64  # numbers of a step that responses are read from, made for each set's labels
PLACES = 32  # of a window's first steps, 4 s; later ones say nothing of responses, and add no trust
FRAME_BLOCKS = 8  # a window of power is cut into as many blocks
FRAME_SHARE = 0.25  # of a window's energy, below which what is valid of it tells no power
UNKNOWN = (torch.nan,) * TOP_HZ  # of a recording's background
# Power of the whole head at a frequency is what people share of a rhythm, that of a place hardly (docs/experiments.md)
HEAD_LOUDNESS = 10.0


def backgrounds(of_windows: Sequence[tuple[float, ...] | None]) -> Tensor:
    """Background spectra of windows' recordings as one tensor (B, 45), NaN where there is none."""
    return torch.tensor([UNKNOWN if one is None else one for one in of_windows])


class LogPower(nn.Module):
    """Log-power of each source and of the whole head in a Hann window around each step (up to its end, when causal).

    Steady-state responses are power at a known frequency, which no step resolves. Where a part of the window is not
    valid, power is that of the rest, where the window weighs the rest enough.
    """

    hann: Tensor
    places: Tensor
    whole_hertz: Tensor

    def __init__(self, config: EEGTokenizerConfig, window: int) -> None:
        super().__init__()
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.register_buffer("places", harmonics(evenly(config.sources)), persistent=False)
        self.block, self.step = window // FRAME_BLOCKS, config.step_samples
        self.n_bins = int(config.spectral_top_hz * window / config.sfreq)
        self.register_buffer("whole_hertz", _between(self.n_bins, config.sfreq / window), persistent=False)
        # the block that a step lies in is complete at the step's end only where blocks are steps
        waits = self.block > self.step
        self.blocks_before = (FRAME_BLOCKS if waits else FRAME_BLOCKS - 1) if config.causal else FRAME_BLOCKS // 2

    @property
    def loudness(self) -> Tensor:
        """How loud each feature is to be heard: (F,)."""
        of_places = torch.ones(len(self.places) * self.n_bins)
        return torch.cat([of_places, torch.full((self.n_bins,), HEAD_LOUDNESS)])

    @property
    def frequency(self) -> Tensor:
        """Which bin each feature is the power of: (F,)."""
        return torch.arange(self.n_bins).repeat(len(self.places) + 1)

    def of_background(self, background: Tensor) -> Tensor:
        """Log-power at 1, 2 ... Hz (B, 45) -> what each feature has of it (B, F): every place as much as the head."""
        return (background @ self.whole_hertz).repeat(1, len(self.places) + 1)

    def _frames(self, signal: Tensor) -> Tensor:
        """(B, M, T), T a multiple of the block -> (B, M, T / block, window)."""
        before, n_blocks = self.blocks_before * self.block, signal.shape[-1] // self.block
        after = max(0, (FRAME_BLOCKS - 1) * self.block - before)
        blocks = rearrange(functional.pad(signal, (before, after)), "b m (n t) -> b m n t", t=self.block)
        return torch.cat([blocks[:, :, k : k + n_blocks] for k in range(FRAME_BLOCKS)], dim=-1)

    def forward(self, field: Tensor, white: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """field (B, K, T), what whitens it (B, N or 1, K, K), valid (B, T) -> log-power (B, N, (M + 1) * bins) and
        where it is known (B, N) bool."""
        n_times, per_block = field.shape[-1], self.block // self.step
        rest = -n_times % self.block
        frames = self._frames(functional.pad(field, (0, rest)))
        energy = self.hann.square()
        seen = self._frames(functional.pad(valid, (0, rest))[:, None].to(field.dtype)) @ energy
        enough = FRAME_SHARE * energy.sum()
        spectrum = torch.view_as_real(torch.fft.rfft(frames * self.hann, dim=-1)[..., 1 : self.n_bins + 1])
        # a frame is whitened as one: by what is known at the end of the block's first step, whose frame it is
        whitened = white[:, ::per_block] @ rearrange(spectrum, "b k n f two -> b n k (f two)")
        parts = torch.cat([self.places.to(field) @ whitened, whitened], dim=2)
        power = rearrange(parts, "b n m (f two) -> b n m f two", two=2).square().sum(dim=-1)
        n_places = len(self.places)
        power = torch.cat([power[:, :, :n_places], power[:, :, n_places:].sum(dim=2, keepdim=True)], dim=2)
        features = (power / seen[:, 0].clamp_min(enough)[..., None, None] + POWER_FLOOR).log().flatten(2)
        of_steps = per_block, n_times // self.step
        return _of_steps(features, *of_steps), _of_steps(seen[:, 0] >= enough, *of_steps)


def _between(n_bins: int, resolution_hz: float) -> Tensor:
    """(45, n_bins): what is known at 1, 2 ... 45 Hz -> at the bins, in a straight line between them."""
    place = (torch.arange(1, n_bins + 1) * resolution_hz - 1).clamp(0, TOP_HZ - 1)
    return (1 - (torch.arange(TOP_HZ)[:, None] - place).abs()).clamp_min(0)


def _of_steps(of_blocks: Tensor, per_block: int, n_steps: int) -> Tensor:
    """What holds of blocks (B, blocks, ...), for each of their steps (B, N, ...)."""
    return of_blocks.repeat_interleave(per_block, dim=1)[:, :n_steps]


class Posterior(nn.Module):
    """Log-odds (..., S) of the labels of several sets -> probability of each in its set, less chance.

    Numbers that no label has are 0, and all are before training fits them (`training/stages/eeg_evidence.py`). Where
    there are `people`, how far log-odds are trusted is each one's own: of some nothing can be told.
    """

    bias: Tensor
    trust: Tensor
    same_set: Tensor

    def __init__(self, n: int, people: int | None = None) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(n))
        of_people = () if people is None else (people,)
        # after so many steps; of none there is none
        self.register_buffer("trust", torch.zeros(*of_people, PLACES + 1, n))
        self.register_buffer("same_set", torch.eye(n))  # 1 where row and column are labels of one set

    def forward(self, log_odds: Tensor, n_seen: Tensor, person: Tensor | None = None) -> Tensor:
        """log_odds (B, N, S) after n_seen (B, N) steps, of which person (B,) where there are people -> (B, N, S)."""
        n_seen = n_seen.clamp_max(PLACES)
        trust = self.trust[n_seen] if person is None else self.trust[person[:, None], n_seen]
        trusted = (log_odds + self.bias) * trust
        others = trusted[..., None, :].masked_fill(self.same_set == 0, -torch.inf)
        return (trusted - others.logsumexp(dim=-1)).exp() - 1 / self.same_set.sum(dim=1)


class Own(nn.Module):
    """How far each of the people whom training knew may be trusted, where it is told whose EEG it is.

    `told` says which labels those are: those of a person's set.
    """

    told: Tensor

    def __init__(self, n_subjects: int, n: int) -> None:
        super().__init__()
        self.register_buffer("told", torch.zeros(n_subjects, n))
        self.posterior = Posterior(n, n_subjects)

    def posteriors(self, log_odds: Tensor, n_seen: Tensor, subject: Tensor, of_anybody: Tensor) -> Tensor:
        """The posterior (B, N, S) of what a person tells, `of_anybody` that of the rest; log-odds as `Posterior`."""
        person = subject.clamp_min(0)
        told = (self.told[person] > 0) & (subject >= 0)[:, None]
        return self.posterior(log_odds, n_seen, person).where(told[:, None], of_anybody)


class OwnResponses(Own):
    """And what they respond beside what all share, where that tells more: templates over the numbers heard in their
    set."""

    heard: Tensor
    templates: Tensor
    usual: Tensor

    def __init__(self, n_subjects: int, of_step: int, n: int) -> None:
        super().__init__(n_subjects, n)
        self.register_buffer("heard", torch.zeros(n_subjects, HEARD, of_step))
        self.register_buffer("templates", torch.zeros(n_subjects, PLACES, HEARD, n))
        self.register_buffer("usual", torch.zeros(n_subjects, PLACES, n))  # what they make of the set's mean trial

    def forward(self, steps: Tensor, subject: Tensor) -> Tensor:
        """steps (B, n, K * step_samples), subject (B,), -1 for anybody else -> what it adds to responses (B, n, S)."""
        of, n = subject.clamp_min(0), steps.shape[1]
        added = torch.einsum("bnh,bnhs->bns", steps @ self.heard[of].mT, self.templates[of, :n]) - self.usual[of, :n]
        return added * (subject >= 0)[:, None, None]


class Evidence(nn.Module):
    """The field -> semantic numbers of responses and of rhythms.

    Attributes:
        subjects: people of whom it knows how far they may be trusted, and of some what they respond.
    """

    templates: Tensor
    usual_response: Tensor
    spectra: Tensor
    usual_power: Tensor
    usual_background: Tensor | None

    def __init__(self, config: EEGTokenizerConfig) -> None:
        super().__init__()
        self.step_samples, self.causal = config.step_samples, config.causal
        self.powers = nn.ModuleList(LogPower(config, window) for window in config.spectral_samples)
        n, of_step = config.semantic_dim, HARMONICS * config.step_samples
        self.register_buffer("templates", torch.zeros(PLACES, of_step, n))
        self.register_buffer("usual_response", torch.zeros(PLACES, n))  # what they make of the mean trial
        self.register_buffer("spectra", torch.zeros(len(self.loudness), n))
        self.register_buffer("usual_power", torch.zeros(n))
        self.of_responses, self.of_rhythms = Posterior(n), Posterior(n)
        self.register_buffer("usual_background", None)
        self.subjects: tuple[str, ...] = ()
        self.own: OwnResponses | None = None
        self.own_rhythms: Own | None = None

    def tell_from(self, usual: Tensor) -> None:
        """From now on power is what a window has beside the background of its recording, or where that is not known
        the `usual` one (45,)."""
        self.usual_background = usual.to(self.usual_power)

    def know(self, subjects: Sequence[str], *, responses: bool, rhythms: bool) -> None:
        """Make room for what is people's own of responses or of rhythms, which training or a folder fills."""
        self.subjects = tuple(subjects)
        self.own = OwnResponses(len(subjects), *self.templates.shape[1:]) if responses else None
        self.own_rhythms = Own(len(subjects), self.spectra.shape[1]) if rhythms else None

    def indices(self, subjects: Sequence[str | None]) -> Tensor:
        """Which of `subjects` these are (B,), -1 for anybody else."""
        known = {name: i for i, name in enumerate(self.subjects)}
        return torch.tensor([-1 if name is None else known.get(name, -1) for name in subjects])

    @property
    def loudness(self) -> Tensor:
        """How loud each feature of power is to be heard: (F,)."""
        return torch.cat([power.loudness for power in self._powers()])

    @property
    def frequency(self) -> Tensor:
        """Which frequency each feature of power is at, counted over the windows: (F,)."""
        of_windows, n = [], 0
        for power in self._powers():
            of_windows.append(n + power.frequency)
            n += power.n_bins
        return torch.cat(of_windows)

    def numbers(self, field: Tensor, valid: Tensor, background: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What is read: field (B, K, T), valid (B, T), background (B, 45) -> its steps (B, N, K * step_samples),
        whitened; their log-power in every window, less the background's (B, N, F); and where all windows know it
        (B, N) bool."""
        white = whitening(field, valid, self.step_samples, causal=self.causal)
        steps = white @ rearrange(field, "b k (n t) -> b n k t", t=self.step_samples)
        found = [power(field, white, valid) for power in self.powers]
        power, known = torch.cat([of for of, _ in found], dim=-1), torch.stack([known for _, known in found])
        if self.usual_background is not None:
            usual = self.usual_background.expand(len(field), -1)
            there = usual if background is None else background.where(background.isfinite(), usual)
            power = power - torch.cat([of.of_background(there) for of in self._powers()], dim=-1)[:, None]
        return steps.flatten(2), power, known.all(dim=0)

    def _powers(self) -> list[LogPower]:
        return [power for power in self.powers if isinstance(power, LogPower)]

    def forward(
        self, field: Tensor, valid: Tensor, exists: Tensor, subject: Tensor, background: Tensor | None = None
    ) -> Tensor:
        """field (B, K, T), valid (B, T), exists (B, N), subject (B,), an index into the people known or -1, background
        (B, 45) -> (B, N, 2 S)."""
        steps, power, known = self.numbers(field, valid, background)
        n = min(steps.shape[1], PLACES)
        responses = torch.einsum("bnk,nks->bns", steps[:, :n], self.templates[:n]) - self.usual_response[:n]
        if self.own is not None:
            responses = responses + self.own(steps[:, :n], subject)
        responses = functional.pad(responses * exists[:, :n, None], (0, 0, 0, steps.shape[1] - n))
        so_far, n_steps = responses.cumsum(dim=1), exists.cumsum(dim=1)
        of_responses = self.of_responses(so_far, n_steps)
        if self.own is not None:
            of_responses = self.own.posteriors(so_far, n_steps, subject, of_responses)
        known = known & exists
        rhythms, n_known = (power @ self.spectra - self.usual_power) * known[..., None], known.cumsum(dim=1)
        mean_so_far = rhythms.cumsum(dim=1) / n_known.clamp_min(1)[..., None]
        of_rhythms = self.of_rhythms(mean_so_far, n_known)
        if self.own_rhythms is not None:
            of_rhythms = self.own_rhythms.posteriors(mean_so_far, n_known, subject, of_rhythms)
        return torch.cat([of_responses, of_rhythms], dim=-1)
