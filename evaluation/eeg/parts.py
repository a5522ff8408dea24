"""The parts of a tokenizer report: each measures all sets and adds what it found."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.evaluation.eeg import gates
from neuroleon.evaluation.eeg.contest import CodecRow, contest, curve
from neuroleon.evaluation.eeg.fidelity import eeg_fidelity, level_use
from neuroleon.evaluation.eeg.found import TokenizerReport
from neuroleon.evaluation.eeg.novelty import Novelty, front_end_on_flat, novelty
from neuroleon.evaluation.eeg.retention import cannot_be_probed, identities, retention
from neuroleon.evaluation.eeg.robustness import SourceRate, robustness, source_rate, streaming
from neuroleon.evaluation.eeg.sets import MeasuredSet, spread
from neuroleon.evaluation.tokenizers import Fidelity
from neuroleon.signals.plausibility import check_recording
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

DISTURBED = 40  # windows of a set, at most, that are encoded again and again with something changed
DRAWN_SETS = 4
FEWEST_KNOWN = 10  # windows of a validation split, for their spread to be known


class Run:
    """The sets under one tokenizer, at all its levels, with the clock of each part."""

    def __init__(
        self, tokenizer: EEGTokenizer, sets: Sequence[MeasuredSet], split: str, recordings: Sequence[Path], seed: int
    ) -> None:
        self.whole, self.levels_in_use = tokenizer.with_levels(tokenizer.config.levels), tokenizer.tokens_per_step
        self.sets, self.split, self.recordings, self.seed = sets, split, recordings, seed
        self.seconds: dict[str, float] = {}
        self.left_out: list[str] = []

    @contextmanager
    def part(self, name: str) -> Iterator["tqdm[MeasuredSet]"]:
        """A bar over the sets, and the seconds that the part takes."""
        started = time.perf_counter()
        with tqdm(self.sets, desc=name, unit="set", dynamic_ncols=True) as bar:
            yield bar
        self.seconds[name] = time.perf_counter() - started


def _fidelity(run: Run, report: TokenizerReport) -> TokenizerReport:
    """Fidelity at both rates, the use of codes, and the pairs that are drawn."""
    every, full, in_use = run.whole.tokens_per_step, [], []
    with run.part("fidelity") as bar:
        for measured in bar:
            full.append(_fidelity_of(run, measured, every))
            if run.levels_in_use < every:
                in_use.append(_fidelity_of(run, measured, run.levels_in_use))
    use = level_use(run.whole, [tokens for measured in run.sets for tokens in measured.tokens(run.split, every)])
    return replace(
        report,
        full=tuple(full),
        in_use=tuple(in_use),
        levels=use,
        entropy_bits={f.recipe: sum(float(np.log2(c.perplexity)) for c in f.codes) / run.whole.step_s for f in full},
        waveforms=tuple(
            (m.recipe, m.windows(run.split)[0], m.restored(run.split, every)[0]) for m in run.sets[:DRAWN_SETS]
        ),
        gates=(*report.gates, *gates.fidelity_gates(full, use[0])),
    )


def _fidelity_of(run: Run, measured: MeasuredSet, levels: int) -> Fidelity:
    return eeg_fidelity(
        run.whole.with_levels(levels),
        measured.recipe,
        measured.windows(run.split),
        measured.tokens(run.split, levels),
        measured.restored(run.split, levels),
        clusters=measured.scored.clusters,
        seed=run.seed,
    )


def _robustness(run: Run, report: TokenizerReport) -> TokenizerReport:
    """What moves the ids, and what is noticed as no EEG."""
    stable, same = [], []
    strange: list[Novelty] = []
    with run.part("robustness") as bar:
        for measured in bar:
            chosen = spread(len(measured.scored.trials), DISTURBED)
            windows, clusters = [measured.windows(run.split)[i] for i in chosen], measured.scored.clusters[chosen]
            stable.append(robustness(run.whole, measured.recipe, windows, clusters, run.seed))
            if run.whole.config.causal:
                same.append(streaming(run.whole, windows))
            known = measured.windows("validation") if measured.size("validation") >= FEWEST_KNOWN else []
            if known:
                strange += novelty(run.whole, measured.recipe, known, windows, run.seed)
            else:
                run.left_out.append(f"what is not EEG, {measured.recipe}: fewer than {FEWEST_KNOWN} validation windows")
        sources = [found for path in run.recordings if (found := _source_rate(run, path)) is not None]
    return replace(
        report,
        robustness=tuple(stable),
        sources=tuple(sources),
        novelty=tuple(strange),
        flat=front_end_on_flat(run.sets[0].windows(run.split)[0], run.seed),
        gates=(
            *report.gates,
            *gates.robustness_gates(stable),
            *gates.novelty_gates(strange),
            gates.streaming_gate(min(same) if same else None),
        ),
    )


def _source_rate(run: Run, path: Path) -> SourceRate | None:
    which = f"recording {1 + run.recordings.index(path)}"  # its own name can be a person's: it is in no report
    recording = replace(read_recording(path), name=which)
    check_recording(recording, path)
    found = source_rate(run.whole, recording)
    if found is None:
        run.left_out.append(f"500 Hz against 200 Hz, {which}: {recording.sfreq:g} Hz, {recording.duration_s:.1f} s")
    return found


def _retention(run: Run, report: TokenizerReport) -> TokenizerReport:
    """What probes read at each stage."""
    rows = []
    with run.part("retention") as bar:
        for measured in bar:
            reason = cannot_be_probed(measured)
            try:
                if not reason:
                    rows.append(retention(measured, run.levels_in_use, run.seed))
            except DataError as error:
                reason = str(error)
            if reason:
                run.left_out.append(f"retention, {measured.recipe}: {reason}")
    return replace(report, retention=tuple(rows), gates=(*report.gates, *gates.retention_gates(rows)))


def _curve(run: Run, report: TokenizerReport) -> TokenizerReport:
    """Accuracy against bits per second, on the first set whose stimulus is known sample by sample."""
    known = [m for m in run.sets if "stimulus" in m.scored.trials[0].meta and not cannot_be_probed(m)]
    if not known:
        run.left_out.append("accuracy against bits per second: no set has its stimulus sample by sample")
        return report
    started = time.perf_counter()
    found = curve(known[0], run.seed)
    run.seconds["curve"] = time.perf_counter() - started
    return replace(report, curve=found)


def _codecs(run: Run, report: TokenizerReport) -> TokenizerReport:
    """Simpler codecs on the same windows."""
    rows: list[CodecRow] = []
    with run.part("codecs") as bar:
        for measured in bar:
            found, left_out = contest(measured, run.seed)
            rows += found
            run.left_out += left_out
    return replace(report, codecs=tuple(rows))


def _identity(run: Run, report: TokenizerReport) -> TokenizerReport:
    """Who and where from."""
    started = time.perf_counter()
    found, left_out = identities(run.sets, run.seed)
    run.left_out += left_out
    run.seconds["identity"] = time.perf_counter() - started
    return replace(report, identity=tuple(found), gates=(*report.gates, *gates.identity_gates(found)))


MEASURES: dict[str, Callable[[Run, TokenizerReport], TokenizerReport]] = {
    "fidelity": _fidelity,
    "robustness": _robustness,
    "retention": _retention,
    "curve": _curve,
    "codecs": _codecs,
    "identity": _identity,
}
