"""report.md of a tokenizer report: its tables, in plain words."""

from collections.abc import Iterable, Sequence

from neuroleon.evaluation.eeg.contest import CodecRow
from neuroleon.evaluation.eeg.fidelity import BANDS, CORRELATION, LSD, NMSE
from neuroleon.evaluation.eeg.found import SetFacts, TokenizerReport
from neuroleon.evaluation.eeg.gates import Gate
from neuroleon.evaluation.eeg.novelty import KINDS
from neuroleon.evaluation.eeg.retention import CODES, RAW
from neuroleon.evaluation.eeg.robustness import FILLERS
from neuroleon.evaluation.metrics import BANDS_HZ
from neuroleon.evaluation.stats import Estimate
from neuroleon.evaluation.tokenizers import Fidelity

READING = """\
A number in brackets is a 95 % interval: bootstrap over trials of these people; it does not speak of others.
Correlation is Pearson's per channel, a mean over channels and windows. NMSE is error energy over signal energy: 0 is
perfect, 1 is what a flat line scores. LSD is the log-spectral distance in dB: 0 is perfect, 7.5 is another noise of the
same spectrum. Entropy-coded bits are what the ids would cost after an ideal coder that knows how often each occurs."""

CODES_TEXT = """\
Level 1 of {n_levels}. A code that did not occur may still be in use: a set has few steps, and use, perplexity and
entropy all grow with their number."""

ROBUSTNESS_TEXT = """\
Shares of ids that stay: of all levels after a permutation of channels and in another unit; of the first of each step
where a quarter of the channels is dropped (a mean over five draws; the others are referenced to their own average
where the recording was). NMSE and correlation (r) are those of the dropped channels, estimated from the ids of the
others (tokenizer), and by mne's spherical splines."""

NOVELTY_TEXT = """\
Mean z of log NMSE against the windows of the set's validation split, and the share of windows flagged (z above 3), as
`calibrated` with windows of one's own makes it; behind the stroke, the share with the calibration that the tokenizer
came with, over all sets it learned from. EEG itself and EEG with random phases should pass; white noise, a flat line
(1 % of the scale) and square waves (ten scales) should not."""

RETENTION_TEXT = """\
Accuracy, a mean over labels, of a probe that learns from the training split and answers for this one. *raw* and
*restored* (from the ids of all levels) are read by the probe named; *latents* (before quantization), *codes* (the
vectors of the ids), *level 1* (those of the first id of each step) and *semantic levels* (those of the two after it) by
logistic regression."""

RATIO_TEXT = f"""\
Over the accuracy on the raw signal (paired bootstrap), where that is above chance. The gate reads *{CODES}*."""

ABOVE_TEXT = """\
The stricter ratio, of what both are above chance:"""

CODECS_TEXT = """\
The same held-out windows, at equal bits per second as far as whole codes allow. The other codecs are fitted to the
training split of the one set that they are measured on; ours is one tokenizer for all. Accuracy is that of the set's
probe on what comes back."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns line up in the file too: the first to the left, the others to the right."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in (head, *rows)]
    widths = [max(3, *(len(line[k]) for line in lines)) for k in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (padded[0], rule, *padded[1:]))


def ci(e: Estimate | None, digits: int = 2) -> str:
    """A mean with its interval, or a dash."""
    return "-" if e is None else f"{e.mean:.{digits}f} [{e.low:.{digits}f}, {e.high:.{digits}f}]"


def markdown(report: TokenizerReport) -> str:
    """The report as Markdown; parts that were not measured do not appear."""
    facts = "\n".join(f"- {name}: {value}" for name, value in report.facts.items())
    parts = ["# EEG tokenizer report", facts, READING]
    if report.gates:
        parts += ["## Gates", gate_table(report.gates)]
    parts += [*_sets(report.sets), *_fidelity(report), *_codes(report), *_robustness(report), *_novelty(report)]
    parts += [*_retention(report), *_curve(report), *_codecs(report), *_identity(report)]
    if report.left_out:
        parts += ["## Left out", "\n".join(f"- {reason}" for reason in report.left_out)]
    seconds = ", ".join(f"{name} {value:.0f}" for name, value in report.seconds.items())
    parts += ["## Cost", f"{report.cost}. Seconds for each part: {seconds}."]
    return "\n\n".join(parts) + "\n"


def gate_table(gates: Sequence[Gate]) -> str:
    """The gates, one a line."""
    rows = [(g.name, g.wanted, g.measured, g.worst or "-", g.verdict) for g in gates]
    return table(("gate", "wanted", "measured", "worst set", "verdict"), rows)


def _sets(sets: Sequence[SetFacts]) -> list[str]:
    trained = {True: "yes", False: "**not in training**", None: "not known"}
    rows = [
        (
            s.recipe,
            f"{s.n_windows} of {s.n_available}",
            *(str(n) for n in (s.n_trials, s.n_recordings, s.n_subjects)),
            s.channels,
            f"{s.seconds:.0f}",
            str(s.n_labels),
            s.split_by,
            trained[s.trained],
        )
        for s in sets
    ]
    counts = ("windows", "trials", "recordings", "subjects", "channels", "seconds", "labels")
    parts = ["## Sets", table(("set", *counts, "split by", "trained on"), rows)]
    notes = [f"- **{s.recipe}, {s.confounded}**" for s in sets if s.confounded]
    notes += [f"- {s.recipe}: {s.known}" for s in sets]
    return [*parts, "\n".join(notes)]


def _fidelity(report: TokenizerReport) -> list[str]:
    if not report.full:
        return []
    parts = ["## Fidelity", f"All levels, {report.bits_per_second:g} bits per second:", _fidelity_table(report.full)]
    if report.in_use:
        parts += [f"The rate in use, {report.bits_in_use:g} bits per second:", _fidelity_table(report.in_use)]
    parts += ["![correlation by band](figures/bands.png)"]
    return parts + [f"![{recipe} before and after](figures/waveforms-{recipe}.png)" for recipe, *_ in report.waveforms]


def _fidelity_table(rows: Sequence[Fidelity]) -> str:
    names = (CORRELATION, *BANDS.values(), NMSE, LSD)
    with_interval = (CORRELATION, NMSE, LSD)
    body, means = [], []
    for f in rows:
        cells = []
        for name in names:
            estimate = f.measures.get(name)
            plain = name not in with_interval and estimate is not None
            cells.append(f"{estimate.mean:.2f}" if plain and estimate else ci(estimate))
        body.append((f.recipe, str(f.n), *cells))
    for name in names:
        values = [f.measures[name].mean for f in rows if name in f.measures]
        means.append(f"{sum(values) / len(values):.2f}" if values else "-")
    head = ("set", "n", "correlation", *BANDS_HZ, "NMSE", "LSD (dB)")
    return table(head, [*body, ("mean of sets", str(sum(f.n for f in rows)), *means)])


def _codes(report: TokenizerReport) -> list[str]:
    if not report.levels:
        return []
    firsts = [("all sets", report.levels[0], "-")]
    firsts += [(f.recipe, f.codes[0], f"{report.entropy_bits[f.recipe]:.0f}") for f in report.full]
    rows = [(name, str(c.n_tokens), f"{c.used:.1%}", f"{c.perplexity:.0f}", bits) for name, c, bits in firsts]
    return [
        "## Codes",
        CODES_TEXT.format(n_levels=len(report.levels)),
        table(("set", "steps", "used", "perplexity", "entropy-coded bits/s"), rows),
        "![codes of each level](figures/codes.png)",
    ]


def _robustness(report: TokenizerReport) -> list[str]:
    if not report.robustness:
        return []
    rows = []
    for r in report.robustness:
        filled = [r.filled.get(name) for name in FILLERS]
        rows.append(
            (
                r.recipe,
                str(r.n_windows),
                f"{r.permuted:.4f}",
                *(f"{share:.4f}" + ("" if moved else " (scale wrong)") for share, moved in r.units.values()),
                ci(r.dropped),
                *(ci(found.nmse if found else None) for found in filled),
                *(f"{found.correlation.mean:.2f}" if found else "-" for found in filled),
            )
        )
    units = [f"unit {factor}" for factor in report.robustness[0].units]
    estimates = [f"{measure} {name}" for measure in ("NMSE", "r") for name in FILLERS]
    parts = [
        "## Robustness",
        ROBUSTNESS_TEXT,
        table(("set", "n", "permuted", *units, "25 % dropped", *estimates), rows),
    ]
    if not report.sources:
        return [*parts, "500 Hz against 200 Hz: not measured, no file of 500 Hz or more was given (`--recordings`)."]
    body = [(s.recording, f"{s.sfreq:g}", str(s.n_steps), f"{s.first:.4f}", f"{s.every:.4f}") for s in report.sources]
    text = "One recording at its own rate and resampled to the tokenizer's before the front-end, share of equal ids:"
    return [*parts, text, table(("recording", "Hz", "steps", "level 1", "all levels"), body)]


def _novelty(report: TokenizerReport) -> list[str]:
    if not report.novelty:
        return []
    found = {
        (r.recipe, r.kind): f"{r.mean_z:+.1f} ({r.flagged:.0%})" + ("" if r.shipped is None else f" / {r.shipped:.0%}")
        for r in report.novelty
    }
    recipes = dict.fromkeys(r.recipe for r in report.novelty)
    parts = [
        "## What is not EEG",
        NOVELTY_TEXT,
        table(("set", *KINDS), [(recipe, *(found[recipe, kind] for kind in KINDS)) for recipe in recipes]),
    ]
    if report.flat is not None:
        of_recording, of_window = report.flat
        parts.append(
            f"A flat line does not come as far as the tokenizer. The check of recordings refuses it: “{of_recording}”; "
            f"the check of windows says “{of_window}”."
        )
    return parts


def _retention(report: TokenizerReport) -> list[str]:
    if not report.retention:
        return []
    kinds = list(report.retention[0].scores)
    others = [kind for kind in kinds if kind != RAW]
    accuracies = [
        (r.recipe, r.probe, f"{r.n_train} / {r.n_test}", f"{r.chance:.2f}", *(ci(r.scores[kind]) for kind in kinds))
        for r in report.retention
    ]
    parts = ["## Retention", RETENTION_TEXT, table(("set", "probe", "train / test", "chance", *kinds), accuracies)]
    told = [r for r in report.retention if r.ratios]
    if told:
        ratios = [(r.recipe, *(ci(r.ratios[kind]) for kind in others)) for r in told]
        above = [(r.recipe, *(ci(r.above_chance[kind]) for kind in others)) for r in told]
        parts += [RATIO_TEXT, table(("set", *others), ratios), ABOVE_TEXT, table(("set", *others), above)]
    if at_chance := [r.recipe for r in report.retention if not r.ratios]:
        parts.append(f"The raw signal itself is at chance on {', '.join(at_chance)}.")
    return parts


def _curve(report: TokenizerReport) -> list[str]:
    if report.curve is None:
        return []
    curve = report.curve
    rows = [(p.codec, f"{p.bits_per_second:.0f}", ci(p.accuracy)) for p in curve.points]
    return [
        "## Accuracy against bits per second",
        f"One probe ({curve.probe}) on what each codec gives back of {curve.recipe}, trained on the output of the\n"
        f"same codec at the same rate. The raw signal scores {ci(curve.raw)}, chance is {curve.chance:.2f}.",
        table(("codec", "bits/s", "accuracy"), rows),
        "![accuracy against bits per second](figures/rate-retention.png)",
    ]


def _codecs(report: TokenizerReport) -> list[str]:
    if not report.codecs:
        return []
    rows = [
        (
            r.recipe,
            r.codec,
            f"{r.bits_per_second:.0f}",
            *(ci(estimate) for estimate in (r.correlation, r.nmse, r.lsd, r.accuracy)),
            "-" if r.chance is None else f"{r.chance:.2f}",
        )
        for r in report.codecs
    ]
    head = ("set", "codec", "bits/s", "correlation", "NMSE", "LSD (dB)", "accuracy", "chance")
    return ["## Side by side", CODECS_TEXT, table(head, [*rows, *_codec_means(report.codecs)])]


def _codec_means(found: Sequence[CodecRow]) -> list[tuple[str, ...]]:
    """Means of each codec over the sets that every codec could be measured on."""
    names, sets = list(dict.fromkeys(r.codec for r in found)), dict.fromkeys(r.recipe for r in found)
    by = {(r.recipe, r.codec): r for r in found}
    common = [recipe for recipe in sets if all((recipe, name) in by for name in names)]
    if len(common) < 2:
        return []
    rows = []
    for name in names:
        of = [by[recipe, name] for recipe in common]
        told = [(r.accuracy.mean, r.chance) for r in of if r.accuracy is not None and r.chance is not None]
        columns = [[r.correlation.mean for r in of], [r.nmse.mean for r in of], [r.lsd.mean for r in of]]
        columns += [list(column) for column in zip(*told, strict=True)] if told else [[], []]
        means = (f"{sum(column) / len(column):.2f}" if column else "-" for column in columns)
        rate = sum(r.bits_per_second for r in of) / len(of)
        rows.append((f"mean of {len(common)} sets", name, f"{rate:.0f}", *means))
    return rows


def _identity(report: TokenizerReport) -> list[str]:
    if not report.identity:
        return []
    rows = [(r.of, r.recipe, str(r.n_classes), f"{r.chance:.2f}", ci(r.accuracy)) for r in report.identity]
    return [
        "## Who and where from",
        "What a linear probe tells from codes averaged over a window.",
        table(("identity", "sets", "classes", "chance", "accuracy"), rows),
    ]
