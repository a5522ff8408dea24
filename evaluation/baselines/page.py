"""The page of a run of baselines alone, beside its numbers as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from neuroleon.common.files import atomic_folder, write_json
from neuroleon.evaluation.baselines.run import ACCURACY, BALANCED, BITS, Baselines
from neuroleon.evaluation.families import corrected_baselines
from neuroleon.evaluation.page import Block, Bullets, Heading, Table, Text
from neuroleon.evaluation.report import require_free, write_page
from neuroleon.evaluation.results import BaselineResult
from neuroleon.evaluation.stats import Comparison
from neuroleon.evaluation.words import estimate, number, p_cell

_READING = (
    "Each method is fitted to the training side of a scheme and asked about the other; **best** is, fold by fold, the "
    "method that did best in cross-validation of the training side. **shuffled**: fed the EEG of another trial that is "
    "held out too; **noise**: fed the trial's amplitude spectrum with random phases (what flickers stays); "
    "**constant**: the commonest answer of training. Balanced: a mean over the true answers, if all were equally "
    "frequent. Bits: log2 p of the true answer among those to choose from, calibrated by cross-validation of the "
    "training side, less what the frequencies of the answers alone score. p is that of balanced accuracy against "
    "shuffled, of this method alone; behind that of **best**, which is the primary number of a set and scheme, the "
    "same corrected for all sets and schemes of this page (Holm 1979)."
)
_HEAD = ("scheme", "method", "accuracy", "shuffled", "noise", "constant", "balanced", "shuffled", "chance", "bits", "p")


def write_baselines(found: Sequence[Baselines], facts: dict[str, Any], out: Path) -> None:
    """Write the folder `out`, primary p corrected for each other; an earlier report there is replaced.

    Raises:
        ConfigError: `out` holds something that is no report.
    """
    require_free(out)
    every = corrected_baselines([one.results for one in found])
    found = [replace(one, results=results) for one, results in zip(found, every, strict=True)]
    sets = [asdict(one) for one in found]
    for one in sets:
        for result in one["results"]:  # what a model is paired with, and there is none
            del result["values"], result["against"]
    with atomic_folder(out) as folder:
        write_json(folder / "report.json", {"facts": facts, "sets": sets})
        write_page(folder, "report", page_of(found, facts))


def page_of(found: Sequence[Baselines], facts: dict[str, Any]) -> list[Block]:
    """The whole page."""
    blocks: list[Block] = [
        Heading(1, "Baselines"),
        Bullets([f"{name}: {value}" for name, value in facts.items()]),
        Text(_READING),
    ]
    for one in found:
        blocks.append(Heading(2, one.recipe))
        if one.results:
            blocks.append(_table(one.results))
        if said := [*(f"Left out: {reason}" for reason in one.left_out), *_remarks(one.results)]:
            blocks.append(Bullets(said))
    return blocks


def _table(results: Sequence[BaselineResult]) -> Table:
    """One row for each scheme and method: accuracies with intervals beside their controls, and bits."""
    by_row: dict[tuple[str, str], dict[str, Comparison]] = {}
    for result in results:
        by_row.setdefault((result.scheme, result.method), {})[result.comparison.metric] = result.comparison
    return Table(_HEAD, [_row(*key, metrics) for key, metrics in by_row.items()])


def _row(scheme: str, method: str, metrics: dict[str, Comparison]) -> tuple[str, ...]:
    accuracy, evenly, bits = (metrics[name] for name in (ACCURACY, BALANCED, BITS))
    above = bits.conditions["real"].mean - bits.conditions["constant"].mean
    return (
        scheme,
        method,
        estimate(accuracy.conditions["real"], "share"),
        *(number(accuracy.conditions[name].mean, "share") for name in ("shuffled", "noise", "constant")),
        estimate(evenly.conditions["real"], "share"),
        number(evenly.conditions["shuffled"].mean, "share"),
        number(evenly.chance, "share"),
        number(above, "bits", sign=True),
        p_cell(evenly),
    )


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
