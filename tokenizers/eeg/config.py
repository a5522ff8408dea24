"""Settings of the EEG tokenizer."""

from dataclasses import dataclass
from math import log2
from typing import Literal

from neuroleon.common.errors import ConfigError

FSQ_LEVELS = (4, 4, 4, 4, 4)  # one code of finite scalar quantization: 1024 values of five numbers
RESPONSES, RHYTHMS = 1, 2  # the levels that code semantic numbers; the others code the waveform
SEMANTIC = (RESPONSES, RHYTHMS)


@dataclass(frozen=True, kw_only=True)
class EEGTokenizerConfig:
    """One step is `step_samples` at `sfreq` (125 ms) and becomes `levels` ids, coarse to fine, whatever the montage.

    Attributes:
        sources: places on the head where power is seen; ten hold 95 % of scalp EEG power.
        encoder_layers: of the transformer that adds to the semantic numbers what `losses.label`, `contrast` and the
            like teach it; 0 leaves them as they are known in closed form, which measured better.
        context_steps: each transformer sees 2 s before a step and as much after it; of the encoder only what is
            before it when `causal`. Power is seen in windows around a step, or before it.
        causal: ids depend on the past only, so that they can be made while the recording runs; what labels are read
            from is whitened by the window so far, not by all of it.
        spectral_samples: lengths of the windows in which power is seen around each step; 1 s resolves 1 Hz.
        quantizer: `rvq` residual vectors; `vq` a single level, one codebook for each slice of the latent; `fsq` finite
            scalars, five for each slice.
        levels: codes of a step, the second and third semantic; a prefix is a coarser code of the same step.
        code_dim: numbers of a code of the waveform.
        semantic_dim: numbers of a semantic code.
    """

    sfreq: float = 200.0
    step_samples: int = 25
    sources: int = 16
    dim: int = 192
    heads: int = 4
    encoder_layers: int = 0
    decoder_layers: int = 2
    context_steps: int = 16
    causal: bool = False
    spectral_samples: tuple[int, ...] = (200,)
    spectral_top_hz: float = 45.0
    quantizer: Literal["rvq", "vq", "fsq"] = "rvq"
    levels: int = 16
    codes: int = 1024
    code_dim: int = 128
    semantic_dim: int = 32
    dropout: float = 0.2
    scale_bins: int = 32
    scale_min_uV: float = 0.1
    scale_max_uV: float = 1000.0

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ConfigError(f"eeg tokenizer: dim {self.dim} is not a multiple of heads {self.heads}")
        if self.levels < 3 or min(self.codes, self.sources, self.code_dim, self.semantic_dim) < 1:
            raise ConfigError(
                "eeg tokenizer: levels must be at least 3, one of the waveform and two semantic; codes, code_dim, "
                "semantic_dim and sources at least 1"
            )
        if any(window % (8 * self.step_samples) for window in self.spectral_samples):
            raise ConfigError(
                f"eeg tokenizer: spectral_samples {self.spectral_samples} are not multiples of 8 steps of "
                f"{self.step_samples} samples"
            )
        if self.quantizer not in {"rvq", "vq", "fsq"}:
            raise ConfigError(f"eeg tokenizer: quantizer {self.quantizer!r}; expected rvq, vq or fsq")
        if self.quantizer == "fsq" and (self.codes, self.code_dim) != (4**5, 5):
            raise ConfigError(
                f"eeg tokenizer: fsq has 1024 codes of 5 numbers, found codes {self.codes} and code_dim {self.code_dim}"
            )
        if not 0 < self.scale_min_uV < self.scale_max_uV:
            raise ConfigError("eeg tokenizer: scale_min_uV must be above 0 and below scale_max_uV")

    @property
    def waveform_dim(self) -> int:
        """Numbers of a step that the levels of the waveform code: all the same ones (`rvq`), or each its own."""
        return self.code_dim if self.quantizer == "rvq" else (self.levels - 2) * self.code_dim

    @property
    def latent_dim(self) -> int:
        """Numbers that describe a step before and after quantization: waveform, responses, rhythms."""
        return self.waveform_dim + 2 * self.semantic_dim

    @property
    def coded(self) -> tuple[slice, ...]:
        """For each level the part of the latent that it codes."""
        own = range(0, self.waveform_dim, self.code_dim)
        of_waveform = [slice(start, start + self.code_dim) for start in own]
        places = of_waveform * (self.levels - 2 if self.quantizer == "rvq" else 1)
        for level in SEMANTIC:
            start = self.waveform_dim + (level - RESPONSES) * self.semantic_dim
            places.insert(level, slice(start, start + self.semantic_dim))
        return tuple(places)

    @property
    def size(self) -> int:
        """Number of ids."""
        return self.levels * self.codes

    @property
    def bits_per_second(self) -> float:
        return self.sfreq / self.step_samples * self.levels * log2(self.codes)
