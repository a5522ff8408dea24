"""Steps that must not be taken: a loss or gradient that is not finite, or far outside what the last steps had.

The rule for spikes is OLMo-core's `SkipStepOptimizer`: more than six standard deviations above the mean of the last 128
steps. A spike counts among them as if it had stood at the limit: a level that stays is soon the usual one, and one huge
value does not hide the next.
"""

import math
from dataclasses import dataclass, field
from statistics import fmean, stdev

RECENT = 128
ENOUGH = 64  # before that many steps nothing is a spike
FLOOR = 1e-3  # of the mean: the least deviation, where the last steps were all alike


def is_finite(loss: float, norm: float) -> bool:
    """Whether loss and gradient norm of a step are numbers."""
    return math.isfinite(loss) and math.isfinite(norm)


@dataclass(kw_only=True)
class Recent:
    """Loss and gradient norm of the last steps, finite ones only; part of a checkpoint."""

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)

    def fault(self, loss: float, norm: float, sigmas: float | None) -> str | None:
        """Why a step with this loss and gradient norm is not taken, or None; with `sigmas` None no spike is looked for.

        The step then belongs to the last ones.
        """
        if not is_finite(loss, norm):
            return "loss or gradient is not finite"
        fault = None
        for name, value, before in (("loss", loss, self.losses), ("gradient norm", norm, self.norms)):
            limit = math.inf
            if sigmas is not None and len(before) >= ENOUGH:
                limit = fmean(before) + sigmas * max(stdev(before), FLOOR * abs(fmean(before)))
            if value > limit:
                fault = (
                    fault
                    or f"{name} {value:.4g} is a spike, {sigmas:g} deviations above the last steps are {limit:.4g}"
                )
            before.append(min(value, limit))
            del before[:-RECENT]
        return fault
