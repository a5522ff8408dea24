"""The page of a run of baselines alone: report.md and report.json."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuroleon.common.files import atomic_folder, write_atomic, write_json
from neuroleon.evaluation.baselines.run import ACCURACY, BALANCED, BITS, Baselines
from neuroleon.evaluation.report import require_free
from neuroleon.evaluation.results import BaselineResult
from neuroleon.evaluation.stats import Comparison, Estimate

_READING = """\
Each method is fitted to the training side of a scheme and asked about the other; *best* is, fold by fold, the method
that did best in cross-validation of the training side. *shuffled*: fed the EEG of another trial; *noise*: fed the
trial's amplitude spectrum with random phases (what flickers stays); *constant*: the commonest answer of training.
Balanced: a mean over the true answers, if all were equally frequent. Bits: log2 p of the true answer among the set's,
calibrated by cross-validation of the training side, less what the frequencies of the answers alone score."""
_HEAD = ("scheme", "method", "accuracy", "shuffled", "noise", "constant", "balanced", "shuffled", "chance", "bits", "p")


def write_baselines(found: Sequence[Baselines], facts: dict[str, Any], out: Path) -> None:
    """Write the folder `out`; an earlier report there is replaced.

    Raises:
        ConfigError: `out` holds something that is no report.
    """
    require_free(out)
    with atomic_folder(out) as folder:
        write_json(folder / "report.json", {"facts": facts, "sets": [asdict(one) for one in found]})
        write_atomic(folder / "report.md", markdown(found, facts))


def markdown(found: Sequence[Baselines], facts: dict[str, Any]) -> str:
    """The page."""
    lines = ["# Baselines", "", *(f"- {name}: {value}" for name, value in facts.items()), "", _READING]
    for one in found:
        lines += ["", f"## {one.recipe}", ""]
        if one.results:
            lines += [baseline_table(one.results), ""]
        lines += [f"- Left out: {reason}" for reason in one.left_out]
        lines += [f"- {remark}" for remark in _remarks(one.results)]
    return "\n".join(lines) + "\n"


def baseline_table(results: Sequence[BaselineResult]) -> str:
    """One row for each scheme and method: accuracies with intervals beside their controls, and bits."""
    by_row: dict[tuple[str, str], dict[str, Comparison]] = {}
    for result in results:
        by_row.setdefault((result.scheme, result.method), {})[result.comparison.metric] = result.comparison
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(*key, metrics) for key, metrics in by_row.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(scheme: str, method: str, metrics: dict[str, Comparison]) -> tuple[str, ...]:
    accuracy, evenly, bits = (metrics[name] for name in (ACCURACY, BALANCED, BITS))
    others = [_number(accuracy.conditions[name].mean) for name in ("shuffled", "noise", "constant")]
    above = bits.conditions["real"].mean - bits.conditions["constant"].mean
    return (
        scheme,
        method,
        _interval(accuracy.conditions["real"]),
        *others,
        _interval(evenly.conditions["real"]),
        _number(evenly.conditions["shuffled"].mean),
        f"{evenly.chance or 0:.3f}",
        f"{above:+.2f}",
        f"{evenly.p:.3f}",
    )


def _number(value: float) -> str:
    return f"{value:.2f}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.mean:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _remarks(results: Sequence[BaselineResult]) -> list[str]:
    """What holds for a whole scheme, then what is of each method."""
    lines = []
    for scheme in dict.fromkeys(result.scheme for result in results):
        of = {result.method: result.remarks for result in results if result.scheme == scheme}
        shared = [remark for remark in next(iter(of.values())) if all(remark in others for others in of.values())]
        lines.append(f"{scheme}: {' '.join(shared)}")
        lines += [
            f"{scheme}, {name}: {' '.join(r for r in remarks if r not in shared)}" for name, remarks in of.items()
        ]
    return lines
