"""What a tokenizer must hold before it may ship: the gates of the small configuration, fixed before any was trained.

Their source is the research note `eeg_peers.md`, section 10.4. The 30-75 Hz gate is stated as 30-45 Hz, where the
front-end cuts; the small configuration asks nothing there. Numbers are for the full rate, means over the sets measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neuroleon.evaluation.eeg.fidelity import BANDS, CORRELATION, NMSE
from neuroleon.evaluation.eeg.novelty import FLAT, WHITE, Novelty
from neuroleon.evaluation.eeg.retention import CODES, Identity, Retention
from neuroleon.evaluation.eeg.robustness import Robustness
from neuroleon.evaluation.tokenizers import CodeUse, Fidelity

PASS, FAIL, NOT_MEASURED = "pass", "FAIL", "not measured"
FIDELITY_GATES = ((CORRELATION, 0.70), (BANDS["alpha"], 0.75), (BANDS["beta"], 0.45))
LARGEST_NMSE = 0.5
USAGE, PERPLEXITY = 0.90, 400.0
AGREEMENT = 0.50
RETENTION = 0.8
FLAGGED = 0.95  # share of windows that must be flagged


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate; `worst` names the set that is furthest from passing, where sets differ."""

    name: str
    wanted: str
    measured: str
    worst: str
    verdict: str


def fidelity_gates(full: Sequence[Fidelity], first_level: CodeUse) -> list[Gate]:
    """Correlation, NMSE, and the use of the first level's codes over all sets together."""
    rows = [
        _mean(name, {f.recipe: f.measures[name].mean for f in full if name in f.measures}, at_least=least)
        for name, least in FIDELITY_GATES
    ]
    gamma = {f.recipe: f.measures[BANDS["gamma"]].mean for f in full if BANDS["gamma"] in f.measures}
    rows += [
        _reported(BANDS["gamma"], gamma),
        _mean(NMSE, {f.recipe: f.measures[NMSE].mean for f in full}, at_most=LARGEST_NMSE),
    ]
    seen = f"{first_level.n_tokens} ids"
    used, perplexity = first_level.used, first_level.perplexity
    return [
        *rows,
        Gate(
            name="codes used, level 1",
            wanted=f"at least {USAGE:.0%}",
            measured=f"{used:.1%} ({seen})",
            worst="",
            verdict=_verdict(used >= USAGE),
        ),
        Gate(
            name="perplexity, level 1",
            wanted=f"at least {PERPLEXITY:.0f}",
            measured=f"{perplexity:.0f} ({seen})",
            worst="",
            verdict=_verdict(perplexity >= PERPLEXITY),
        ),
    ]


def robustness_gates(rows: Sequence[Robustness]) -> list[Gate]:
    """Order and unit must change nothing anywhere; a quarter of the channels may change half of the first ids."""
    order = {r.recipe: r.permuted for r in rows}
    same = {f"{r.recipe}, {factor}": share for r in rows for factor, (share, _) in r.units.items()}
    moved = all(right for r in rows for _, right in r.units.values())
    dropped = {r.recipe: r.dropped.mean for r in rows if r.dropped is not None}
    return [
        _every("ids after a permutation of channels", order),
        _every("ids after a change of unit", same),
        Gate(
            name="scale token after a change of unit",
            wanted="moved by as many bins",
            measured="in every window" if moved else "not in every window",
            worst="",
            verdict=_verdict(moved),
        ),
        _mean("level-1 agreement, 25 % of channels dropped", dropped, at_least=AGREEMENT),
    ]


def novelty_gates(rows: Sequence[Novelty]) -> list[Gate]:
    """White noise and a flat line must be flagged."""
    return [
        _mean(f"{kind}: share flagged (z > 3)", {r.recipe: r.flagged for r in rows if r.kind == kind}, at_least=FLAGGED)
        for kind in (WHITE, FLAT)
    ]


def retention_gates(rows: Sequence[Retention]) -> list[Gate]:
    """Accuracy from codes over accuracy from the raw signal, on the sets where the raw signal tells anything."""
    ratio = {r.recipe: r.ratios[CODES].mean for r in rows if r.ratios}
    missing = [
        Gate(
            name=f"retention on {name}",
            wanted=f"at least {RETENTION}",
            measured="no recordings of it here; the labelled sets above stand in",
            worst="",
            verdict=NOT_MEASURED,
        )
        for name in ("THINGS 200-way", "motor imagery", "TUAB")
    ]
    return [_mean("retention, codes over raw", ratio, at_least=RETENTION), *missing]


def identity_gates(rows: Sequence[Identity]) -> list[Gate]:
    """The data set read from pooled codes; the small configuration asks for the number alone."""
    return [
        Gate(
            name="data set from pooled codes",
            wanted="reported",
            measured=f"{r.accuracy.mean:.2f} (chance {r.chance:.2f})",
            worst="",
            verdict="-",
        )
        for r in rows
        if r.of == "data set"
    ]


def streaming_gate(same: float | None) -> Gate:
    """Ids of a beginning are the beginning of the ids; None where the tokenizer is not causal."""
    if same is None:
        measured, verdict = "this tokenizer is not causal", NOT_MEASURED
    else:
        measured, verdict = f"{same:.4f} of ids equal", _verdict(same == 1.0)
    return Gate(name="streaming = offline ids", wanted="exact, if causal", measured=measured, worst="", verdict=verdict)


def _verdict(passed: bool) -> str:
    return PASS if passed else FAIL


def _mean(name: str, by_set: Mapping[str, float], at_least: float | None = None, at_most: float | None = None) -> Gate:
    """The mean over sets against a bound; the worst set is named."""
    wanted = f"at least {at_least:g}" if at_least is not None else f"at most {at_most:g}"
    if not by_set:
        return Gate(name=name, wanted=wanted, measured="no set allows it", worst="", verdict=NOT_MEASURED)
    mean = sum(by_set.values()) / len(by_set)
    worst = (min if at_least is not None else max)(by_set, key=lambda recipe: by_set[recipe])
    passed = mean >= at_least if at_least is not None else at_most is not None and mean <= at_most
    return Gate(
        name=name,
        wanted=wanted,
        measured=f"{mean:.3f} ({len(by_set)} sets)",
        worst=f"{worst} {by_set[worst]:.3f}",
        verdict=_verdict(passed),
    )


def _every(name: str, by_set: Mapping[str, float]) -> Gate:
    """Every set must be at exactly 1."""
    worst = min(by_set, key=lambda recipe: by_set[recipe])
    return Gate(
        name=name,
        wanted="all equal",
        measured=f"{by_set[worst]:.4f} equal in the worst",
        worst="" if by_set[worst] == 1.0 else worst,
        verdict=_verdict(by_set[worst] == 1.0),
    )


def _reported(name: str, by_set: Mapping[str, float]) -> Gate:
    gate = _mean(name, by_set, at_least=0.0)
    return Gate(name=name, wanted="reported", measured=gate.measured, worst=gate.worst, verdict="-")
