"""The page of a report: first what the splits keep apart, then all verdicts at a glance, then each set."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from neuroleon.evaluation.figures import picture_sheet, shown_figure, waveform_figure
from neuroleon.evaluation.figures_attribution import attribution_figure
from neuroleon.evaluation.figures_numbers import confusion_figure, overview_figure, reliability_figure
from neuroleon.evaluation.page import Block, Bullets, Folded, Heading, Picture, Table, Text
from neuroleon.evaluation.results import (
    Attribution,
    BaselineResult,
    Confusion,
    Person,
    Reliability,
    Report,
    SetResult,
    TaskResult,
)
from neuroleon.evaluation.stats import Comparison, same_question
from neuroleon.evaluation.tokenizers import Fidelity
from neuroleon.evaluation.words import best_baseline, best_floor, estimate, in_words, number, ordered, p_cell

READING = (
    "Each number is a mean over windows, or of all windows together (balanced accuracy, median, BLEU, FID ...), with "
    "its 95 % interval (bootstrap over trials; the people are these people, the interval does not speak of others).",
    "Conditions: **real** is the model on the EEG of the trial; **shuffled** on the EEG of another trial of the set; "
    "**within class** on that of another trial with the same answer; **noise** on the trial's amplitude spectrum with "
    "random phases (a set whose classes differ in frequency, such as SSVEP, may stay above chance there); "
    "**before** on EEG from before there was anything to see; **none** without EEG; **untold** on the trial's own EEG, "
    "of a person whom the EEG tokenizer knows but is not told of; **constant** is the commonest answer of the "
    "training split; **oracle** and **ceiling** know the answer: what the true class alone would give, and the true "
    "picture through the image tokenizer.",
    "“above shuffled”: the paired interval of real minus shuffled excludes 0 and the permutation p is below .05. "
    "“above its controls”: besides, the interval of the real EEG lies above chance and above the intervals of all "
    "controls that do not know the answer. Where lower is better, read “below” for “above”; the other side says "
    "(worse). “no difference shown” does not say that there is none: with few trials none can be shown (of n trials p "
    "is never below 2 / 2^n).",
    "“over people”: the interval of real minus shuffled were other people asked, who are drawn whole. Of fewer than "
    "ten people it is too narrow, and of one person, or of a number of all windows together, there is none.",
    "p is of one number. Each task has a primary number, declared beforehand: the first of its table, which the "
    "summary shows. Behind its p stands the same corrected for the primary numbers of all tasks and sets of this "
    "report (Holm 1979), and its words ask for that to be below .05 as well. Every other p is not corrected: of twenty "
    "such numbers one is below .05 by luck, so they say where to look and prove nothing. Of the classical methods the "
    "primary number of a set is the balanced accuracy of **best**, corrected among these.",
    "“best baseline” is the classical method with the highest accuracy on these very windows, so a strict one to be "
    "measured by; it stands beside a number only where both chose from equally many answers. “best control” is the "
    "condition that scored best of those that do not know the answer.",
    "Bits are log2 p of the true target. Real minus shuffled says whether the EEG is used; it can exceed what there is "
    "to know, because a model that is sure of the wrong answer makes shuffled low. How much is known: in the rows "
    "“among the set's”, real minus chance (the entropy of the answers); below chance the model is surer than it is "
    "right.",
)


def page_of(report: Report) -> list[Block]:
    """The whole page."""
    facts = [[name, _fact(value)] for name, value in report.facts.items()]
    blocks: list[Block] = [
        Heading(1, "Evaluation"),
        Folded("Model, data and settings", [Table(("setting", "value"), facts)]),
        Heading(2, "Audit"),
        *_audit(report.sets),
        Heading(2, "Summary"),
        *_summary(report.sets),
        Folded("How to read this", [Bullets(READING)]),
    ]
    for result in report.sets:
        blocks += _set(result)
    return blocks


def _fact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _audit(sets: Sequence[SetResult]) -> list[Block]:
    head = ("set", "split", "windows", "trials", "recordings", "answers", "split by", "in other splits too")
    rows = [
        [
            result.recipe,
            result.split,
            f"{result.n_windows} of {result.n_available}",
            str(result.n_trials),
            str(result.audit.units["recording"]),
            str(result.n_answers),
            result.audit.split_by,
            ", ".join(f"{n} of {result.audit.units[unit]} {unit}s" for unit, n in result.audit.shared.items() if n)
            or "nothing",
        ]
        for result in sets
    ]
    confounded = [f"**{r.recipe}, {r.audit.confounded}**" for r in sets if r.audit.confounded]
    return [Table(head, rows), *([Bullets(confounded)] if confounded else [])]


def _summary(sets: Sequence[SetResult]) -> list[Block]:
    head = (
        "set", "task", "in words", "number", "real", "best control", "chance", "best baseline", "real - shuffled",
        "p (corrected)",
    )  # fmt: skip
    rows = [_summary_row(result, task) for result in sets for task in result.tasks]
    lines = [(f"{r.recipe}\n{t.task}", t.primary) for r in sets for t in r.tasks if t.primary]
    shares = [(name, c) for name, c in lines if c.unit == "share"]
    blocks: list[Block] = [Table(head, rows)]
    if shares:
        caption = (
            "The primary number of each task that is a share of windows, real beside its controls, with 95 % "
            "intervals; the dotted bar is chance."
        )
        blocks.append(Picture("summary", caption, partial(overview_figure, lines=shares)))
    return blocks


def _summary_row(result: SetResult, task: TaskResult) -> list[str]:
    c = task.primary
    if c is None:
        return [result.recipe, task.task, " ".join(task.remarks) or "nothing measured", *["-"] * 7]
    control, baseline = best_floor(c), best_baseline(result.baselines)
    return [
        result.recipe,
        task.task,
        in_words(c),
        _name(c),
        estimate(c.conditions["real"], c.unit),
        f"{control} {number(c.conditions[control].mean, c.unit)}" if control else "-",
        number(c.chance, c.unit),
        f"{baseline.method} {number(baseline.comparison.conditions['real'].mean, baseline.comparison.unit)}"
        if baseline and same_question(c, baseline.comparison)
        else "-",
        estimate(c.gain, c.unit, sign=True),
        p_cell(c),
    ]


def _name(c: Comparison) -> str:
    return f"{c.metric} ({c.unit})"


def _set(result: SetResult) -> list[Block]:
    blocks: list[Block] = [
        Heading(2, f"{result.recipe}, split {result.split}"),
        Text(
            f"{result.n_windows} of {result.n_available} windows ({result.n_trials} trials), "
            f"{result.n_answers} answers."
        ),
        Bullets([f"**{s}**" if s == result.audit.confounded else s for s in result.audit.sentences]),
    ]
    for task in result.tasks:
        blocks += _task(result, task)
    if result.baselines:
        blocks += _baselines(result.baselines)
    if result.people:
        blocks += _people(result.people)
    if result.attribution is not None:
        blocks += _attribution(result.recipe, result.attribution)
    if any(task.cost for task in result.tasks):
        blocks += _cost(result.tasks)
    return blocks + _tokenizers(result)


def _task(result: SetResult, task: TaskResult) -> list[Block]:
    name = f"{result.recipe}-{task.task}"
    blocks: list[Block] = [Heading(3, f"{result.recipe}: {task.task}")]
    if task.comparisons:
        blocks.append(_comparisons(task.comparisons))
    if task.remarks:
        blocks.append(Bullets(task.remarks))
    for i, confusion in enumerate(task.confusions):
        blocks += _confusion(f"{name}-confusion-{i + 1}", confusion)
    if task.reliability is not None:
        blocks += _reliability(f"{name}-reliability", task.reliability)
    if task.shown:
        caption = "EEG, target and output side by side; ✓ and ✗ say whether the output counts as right."
        title = f"{result.recipe}, {result.split}: {task.task}"
        blocks.append(Picture(name, caption, partial(shown_figure, title=title, shown=task.shown)))
    return blocks


def _comparisons(rows: Sequence[Comparison]) -> Table:
    names = ordered(name for c in rows for name in c.conditions)
    head = ("number", "in words", *names, "chance", "real - shuffled", "over people", "p")
    return Table(head, [_comparison(c, names) for c in rows])


def _comparison(c: Comparison, names: Sequence[str]) -> list[str]:
    cells = [estimate(c.conditions.get(name), c.unit) for name in names]
    gains = [estimate(gain, c.unit, sign=True) for gain in (c.gain, c.over_subjects)]
    return [_name(c), in_words(c), *cells, number(c.chance, c.unit), *gains, p_cell(c)]


def _confusion(name: str, confusion: Confusion) -> list[Block]:
    caption = (
        f"{confusion.metric}: which answer was given for which. A row is a true answer; colours are its shares, which "
        "sum to 1, numbers are counts of windows. The last column is what named no answer of the set."
    )
    return [Picture(name, caption, partial(confusion_figure, confusion=confusion))]


def _reliability(name: str, reliability: Reliability) -> list[Block]:
    caption = (
        f"{reliability.metric}: how often an answer of given probability is right; on the diagonal the model knows "
        "what it knows, below it it is too sure. The larger the dot, the more windows."
    )
    names = ordered(reliability.error)
    errors = Table(
        ("expected calibration error", *names), [[reliability.metric, *(number(reliability.error[c]) for c in names)]]
    )
    return [Picture(name, caption, partial(reliability_figure, reliability=reliability)), errors]


def _baselines(baselines: Sequence[BaselineResult]) -> list[Block]:
    names = ordered(name for b in baselines for name in b.comparison.conditions)
    head = ("method", "split", "number", "in words", *names, "chance", "real - shuffled", "over people", "p")
    rows = [[b.method, b.scheme, *_comparison(b.comparison, names)] for b in baselines]
    remarks = [f"{b.method}: {remark}" for b in baselines for remark in b.remarks]
    found: list[Block] = [Heading(3, "Classical methods on the same trials"), Table(head, rows)]
    return [*found, *_against(baselines), *([Bullets(remarks)] if remarks else [])]


def _against(baselines: Sequence[BaselineResult]) -> list[Block]:
    """By how much the model differs from each method, window by window."""
    pairs = [(b, b.against) for b in baselines if b.against]
    if not pairs:
        return []
    head = ("method", "number", "model's number", "windows", "model - method, paired", "p")
    rows = [
        [
            b.method,
            _name(b.comparison),
            f"{a.task}: {a.metric}",
            str(a.n_windows),
            estimate(a.difference, b.comparison.unit, sign=True),
            f"{a.p:.4f}",
        ]
        for b, a in pairs
    ]
    said = (
        "The model less each method on the same windows, intervals and p over trials; p is of one pair, not corrected. "
        "The most accurate method was chosen on these windows, which favours it; **best** was chosen in training."
    )
    return [Text(said), Table(head, rows)]


def _people(people: Sequence[Person]) -> list[Block]:
    """The same windows, person by person, on the real EEG."""
    head = ("person", "windows", "trials", *(f"{name} ({unit})" for name, (unit, _) in people[0].numbers.items()))
    rows = [
        [
            person.subject,
            str(person.n_windows),
            str(person.n_trials),
            *(estimate(e, unit) for unit, e in person.numbers.values()),
        ]
        for person in people
    ]
    return [
        Heading(3, "By person"),
        Text("Real EEG; intervals are over a person's trials. The best method was chosen on these windows."),
        Table(head, rows),
    ]


def _attribution(recipe: str, a: Attribution) -> list[Block]:
    caption = (
        "Bits of the true answer that go when one electrode is left out, or one step of time holds the EEG of "
        "other trials; means over windows with 95 % intervals over trials. Grey: the same with shuffled EEG."
    )
    channels = [
        [name, estimate(e, "bits", sign=True), estimate(a.shuffled_channels.get(name), "bits", sign=True)]
        for name, e in a.channels.items()
    ]
    controls = a.shuffled_steps or [None] * len(a.steps)
    steps = [
        [f"{second:g}", estimate(e, "bits", sign=True), estimate(control, "bits", sign=True)]
        for second, e, control in zip(a.times_s, a.steps, controls, strict=True)
    ]
    return [
        Heading(3, f"What moved the output ({a.task})"),
        Picture(f"{recipe}-attribution", caption, partial(attribution_figure, title=f"{recipe}, {a.task}", found=a)),
        Folded("All electrodes", [Table(("electrode", "bits lost", "shuffled EEG"), channels)]),
        Folded("All steps", [Table(("from (s)", "bits lost", "shuffled EEG"), steps)]),
        *([Bullets(a.remarks)] if a.remarks else []),
    ]


def _cost(tasks: Sequence[TaskResult]) -> list[Block]:
    rows = [
        [
            task.task,
            f"{task.cost.seconds:.1f}",
            f"{task.cost.n_ids:,}",
            f"{task.cost.n_ids / task.cost.seconds:,.0f}" if task.cost.seconds > 0 else "-",
            f"{task.cost.n_scored:,}",
        ]
        for task in tasks
        if task.cost
    ]
    head = ("task", "seconds", "ids generated", "ids a second", "answers scored")
    return [
        Heading(3, "Cost"),
        Table(head, rows),
        Text("On this machine; seconds are of generating and scoring."),
    ]


def _tokenizers(result: SetResult) -> list[Block]:
    title = f"{result.recipe}: image tokenizer"
    eeg = partial(waveform_figure, title=result.recipe, original=result.waveforms[0], restored=result.waveforms[1])
    blocks: list[Block] = [Heading(3, "What the tokenizers keep")]
    for fidelity in result.fidelities:
        blocks += _fidelity(fidelity)
    blocks.append(Picture(f"{result.recipe}-eeg-tokenizer", "EEG before and after the tokenizer.", eeg))
    if result.restored_pictures:
        sheet = partial(picture_sheet, title=title, rows=result.restored_pictures)
        caption = "Pictures before and after the tokenizer."
        blocks.append(Picture(f"{result.recipe}-image-tokenizer", caption, sheet))
    return blocks


def _fidelity(f: Fidelity) -> list[Block]:
    unit = "windows" if f.modality == "eeg" else "pictures"
    measures = [[name, estimate(e)] for name, e in f.measures.items()]
    codes = [[c.name, str(c.size), str(c.n_tokens), f"{c.used:.1%}", f"{c.perplexity:.1f}"] for c in f.codes]
    return [
        Table((f"{f.modality} tokenizer ({f.n} {unit})", "mean and interval"), measures),
        Table(("codes", "size", "tokens seen", "used", "perplexity"), codes),
    ]
