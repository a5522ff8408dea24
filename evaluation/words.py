"""Numbers in words and in cells: which controls there are, which of them a number must beat, and whether it does."""

import math
from collections.abc import Iterable

from neuroleon.evaluation.results import BaselineResult
from neuroleon.evaluation.stats import LEVEL, Comparison, Estimate

# How conditions are shown, those that exist; any other comes after these.
ORDER = ("real", "shuffled", "within class", "noise", "before", "untold", "none", "constant", "oracle", "ceiling")
# What knows the answer, or as much of it as the real EEG: no floor that a number must be above.
NO_FLOOR = frozenset({"real", "within class", "untold", "oracle", "ceiling"})
_DIGITS = {"share": 3, "bits": 2}


def ordered(conditions: Iterable[str]) -> list[str]:
    """The conditions without repetition, the known ones in their order."""
    found = list(dict.fromkeys(conditions))
    return [c for c in ORDER if c in found] + [c for c in found if c not in ORDER]


def number(value: float | None, unit: str = "", *, sign: bool = False) -> str:
    """A number with the digits of its unit, or a dash."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:{'+' if sign else ''}.{_DIGITS.get(unit, 3)}f}"


def estimate(e: Estimate | None, unit: str = "", *, sign: bool = False) -> str:
    """A mean, with its interval where it has one, or a dash."""
    if e is None or not math.isfinite(e.mean):
        return "-"
    if not math.isfinite(e.low):
        return number(e.mean, unit, sign=sign)
    low, high = (number(x, unit, sign=sign) for x in (e.low, e.high))
    return f"{number(e.mean, unit, sign=sign)} [{low}, {high}]"


def metric_cell(metric: str, unit: str, *, is_primary: bool) -> str:
    """The name of a number with its unit, bold where it is primary."""
    name = f"{metric} ({unit})" if unit else metric
    return f"**{name}**" if is_primary else name


def p_cell(c: Comparison) -> str:
    """p, and behind it the corrected one, where the number is primary."""
    return f"{c.p:.4f}" + (f" ({c.p_holm:.4f})" if c.p_holm is not None else "")


def floors(c: Comparison) -> dict[str, Estimate]:
    """The conditions that know nothing of the trial's answer."""
    return {name: c.conditions[name] for name in ordered(c.conditions) if name not in NO_FLOOR}


def best_floor(c: Comparison) -> str | None:
    """The control that scored best."""
    found = floors(c)
    best = min if c.better == "lower" else max
    return best(found, key=lambda name: found[name].mean) if found else None


def in_words(c: Comparison) -> str:
    """The verdict of the paired test against shuffled EEG, and whether the other controls are left behind too.

    Of a primary number the corrected p must be below the level as well.

    A control is left behind where its interval ends before that of the real EEG begins; chance, where it lies before.
    Where lower is better this is read downwards, and being above is what is not wanted.
    """
    if c.verdict == "no difference shown":
        return c.verdict
    if c.p_holm is not None and c.p_holm >= LEVEL:
        return f"{c.verdict}, but not once p is corrected"
    side = {"higher": "above", "lower": "below", "neither": ""}[c.better]
    if c.verdict != f"{side} shuffled":
        return f"{c.verdict} (worse)" if side else c.verdict
    real = c.conditions["real"]
    others = {name: e for name, e in floors(c).items() if name != "shuffled"}
    if c.chance is not None:
        others["chance"] = Estimate(mean=c.chance, low=c.chance, high=c.chance)
    near = [name for name, e in others.items() if (e.high >= real.low if side == "above" else e.low <= real.high)]
    return f"{side} shuffled, not clearly {side} {', '.join(near)}" if near else f"**{side} its controls**"


def best_baseline(baselines: Iterable[BaselineResult]) -> BaselineResult | None:
    """The classical method with the highest accuracy on the real EEG: a strict one to be measured by, for it was
    chosen on these very windows."""
    accuracies = [b for b in baselines if b.comparison.metric == "accuracy"]
    return max(accuracies, key=lambda b: b.comparison.conditions["real"].mean, default=None)
