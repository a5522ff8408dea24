"""Settings of the EEG tokenizer."""

from dataclasses import dataclass
from math import log2

from neuroleon.common.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class EEGTokenizerConfig:
    """One step is `step_samples` at `sfreq` (125 ms) and becomes `slots * levels` ids, whatever the montage.

    `slots` latents of `code_dim` numbers describe a step; each is quantized in `levels` residual stages of `codes`.
    """

    sfreq: float = 200.0
    step_samples: int = 25
    sources: int = 16  # virtual channels; ten spatial components hold 95 % of scalp EEG power
    dim: int = 192
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 2
    context_steps: int = 16  # each step attends to 2 s on either side
    spectral_samples: int = 200  # power is seen in 1 s around each step, at 1 Hz
    spectral_top_hz: float = 45.0
    spectral_rank: int = 16
    slots: int = 4
    levels: int = 2
    codes: int = 512
    code_dim: int = 24
    dropout: float = 0.2
    scale_bins: int = 32
    scale_min_uV: float = 0.1
    scale_max_uV: float = 1000.0

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ConfigError(f"eeg tokenizer: dim {self.dim} is not a multiple of heads {self.heads}")
        if min(self.slots, self.levels, self.codes, self.sources) < 1:
            raise ConfigError("eeg tokenizer: slots, levels, codes and sources must each be at least 1")
        if not 0 < self.scale_min_uV < self.scale_max_uV:
            raise ConfigError("eeg tokenizer: scale_min_uV must be above 0 and below scale_max_uV")

    @property
    def tokens_per_step(self) -> int:
        return self.slots * self.levels

    @property
    def size(self) -> int:
        return self.tokens_per_step * self.codes

    @property
    def bits_per_second(self) -> float:
        return self.sfreq / self.step_samples * self.tokens_per_step * log2(self.codes)
