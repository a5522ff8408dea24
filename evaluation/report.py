"""The report folder: report.json, report.md, and figures; every number beside its controls, in plain words."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError
from neuroleon.common.files import atomic_folder, write_atomic, write_json
from neuroleon.evaluation.figures import picture_sheet, waveform_figure
from neuroleon.evaluation.results import Report, SetResult, Shown
from neuroleon.evaluation.stats import Comparison, Estimate
from neuroleon.evaluation.tokenizers import Fidelity

_COLUMNS = ("real", "shuffled", "noise", "none", "constant")
_READING = """\
How to read: each number is a mean over windows with its 95 % interval (bootstrap over trials; the people are these
people, the interval does not speak of others). *real* is the model on the EEG of the trial, *shuffled* on the EEG of
another trial of the same set, *noise* on the trial's amplitude spectrum with random phases (a set whose classes differ
in frequency, such as SSVEP, may stay above chance there), *none* without EEG, *constant* the commonest answer of the
training split. "above shuffled" means that the paired interval excludes 0 and the permutation p is below .05; p is of
one number, not corrected for the number of rows. Bits are log2 p of the true target. *real - shuffled* says whether the
EEG is used; it can exceed what there is to know, because a model that is sure of the wrong answer makes *shuffled* low.
How much is known: in the rows "among the set's", real minus chance (the entropy of the answers); below chance the model
is surer than it is right."""


def write_report(report: Report, out: Path) -> None:
    """Write the folder `out`; an earlier report there is replaced.

    Raises:
        ConfigError: `out` holds something that is no report of ours.
    """
    require_free(out)
    with atomic_folder(out) as folder:
        write_json(folder / "report.json", _as_json(report))
        write_atomic(folder / "report.md", markdown(report))
        for result in report.sets:
            for task in result.tasks:
                if task.shown:
                    title = f"{result.recipe}, {result.split}: {task.task}"
                    picture_sheet(folder / _sheet(result, task.task), title, _rows(task.shown))
            waveform_figure(folder / f"{result.recipe}_eeg_tokenizer.png", result.recipe, *result.waveforms)
            if result.restored_pictures:
                title = f"{result.recipe}: image tokenizer"
                picture_sheet(folder / _sheet(result, "image_tokenizer"), title, result.restored_pictures)


def require_free(out: Path) -> None:
    """Refuse to replace anything but an earlier report.

    Raises:
        ConfigError: `out` is a file, or a folder with content but without report.json.
    """
    if out.exists() and not (out / "report.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: holds something that is not a report; give a new folder, it would be replaced")


def _sheet(result: SetResult, what: str) -> str:
    return f"{result.recipe}_{what}.png"


def _rows(shown: Sequence[Shown]) -> list[tuple[list[np.ndarray], list[str]]]:
    """Rows of a sheet of pictures."""
    rows = []
    for one in shown:
        pictures = {"seen": one.target, **one.outputs}
        titles = [f"{name}: {one.titles[name]}" if name in one.titles else name for name in pictures]
        rows.append(([np.asarray(picture) for picture in pictures.values()], titles))
    return rows


def _as_json(report: Report) -> dict[str, Any]:
    sets = []
    for result in report.sets:
        tasks = [
            {"task": t.task, "comparisons": [asdict(c) for c in t.comparisons], "remarks": list(t.remarks)}
            for t in result.tasks
        ]
        plain = ("recipe", "split", "n_available", "n_windows", "n_trials", "n_answers", "shards")
        sets.append(
            {name: getattr(result, name) for name in plain}
            | {"audit": asdict(result.audit), "tasks": tasks, "tokenizers": [asdict(f) for f in result.fidelities]}
        )
    return {"format": 1, **report.facts, "sets": sets}


def markdown(report: Report) -> str:
    """The report as Markdown."""
    facts = [f"- {name}: {value}" for name, value in report.facts.items()]
    parts = ["# Evaluation", "\n".join(facts), _READING]
    for result in report.sets:
        parts += _set_markdown(result)
    return "\n\n".join(parts) + "\n"


def _set_markdown(result: SetResult) -> list[str]:
    parts = [
        f"## {result.recipe}, split {result.split}",
        f"{result.n_windows} of {result.n_available} windows ({result.n_trials} trials), {result.n_answers} answers.",
        "\n".join(f"- {_bold(sentence)}" for sentence in result.audit.sentences),
    ]
    for task in result.tasks:
        parts.append(f"### {task.task}")
        if task.comparisons:
            parts.append(
                _table(
                    [*("number", *_COLUMNS), "chance", "real - shuffled", "p", "in words"], map(_row, task.comparisons)
                )
            )
        if task.remarks:
            parts.append("\n".join(f"- {remark}" for remark in task.remarks))
        if task.shown:
            parts.append(f"![{task.task}]({_sheet(result, task.task)})")
    parts.append("### What the tokenizers keep")
    for fidelity in result.fidelities:
        parts += _fidelity(fidelity)
    parts.append(f"![EEG before and after the tokenizer]({result.recipe}_eeg_tokenizer.png)")
    if result.restored_pictures:
        parts.append(f"![pictures before and after the tokenizer]({_sheet(result, 'image_tokenizer')})")
    return parts


def _bold(sentence: str) -> str:
    return f"**{sentence}**" if sentence.startswith("confounded") else sentence


def _row(c: Comparison) -> list[str]:
    digits = 3 if c.unit == "share" else 2
    cells = [_estimate(c.conditions[name], digits) if name in c.conditions else "-" for name in _COLUMNS]
    chance = "-" if c.chance is None else f"{c.chance:.{digits}f}"
    return [f"{c.metric} ({c.unit})", *cells, chance, _estimate(c.gain, digits, sign=True), f"{c.p:.4f}", c.verdict]


def _estimate(e: Estimate, digits: int = 3, *, sign: bool = False) -> str:
    mark = "+" if sign else ""
    return f"{e.mean:{mark}.{digits}f} [{e.low:{mark}.{digits}f}, {e.high:{mark}.{digits}f}]"


def _fidelity(f: Fidelity) -> list[str]:
    unit = "windows" if f.modality == "eeg" else "pictures"
    measures = _table(
        [f"{f.modality} tokenizer ({f.n} {unit})", "mean and interval"],
        [[k, _estimate(v)] for k, v in f.measures.items()],
    )
    codes = _table(
        ["codes", "size", "tokens seen", "used", "perplexity"],
        [[c.name, str(c.size), str(c.n_tokens), f"{c.used:.1%}", f"{c.perplexity:.1f}"] for c in f.codes],
    )
    return [measures, codes]


def _table(head: list[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
