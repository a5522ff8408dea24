"""Measures one EEG tokenizer on sets of sample shards, part by part, and writes the report."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import read_json
from neuroleon.common.learned import Learned
from neuroleon.evaluation.eeg.found import SetFacts, TokenizerReport
from neuroleon.evaluation.eeg.parts import MEASURES, Run
from neuroleon.evaluation.eeg.report import write_tokenizer_report
from neuroleon.evaluation.eeg.sets import MeasuredSet, channel_counts, n_recordings
from neuroleon.evaluation.known import known_recordings
from neuroleon.evaluation.ledger import USES, Ledger
from neuroleon.evaluation.report import require_free
from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

SPLITS = ("validation", "test")
FEWEST_WINDOWS = 10


@dataclass(frozen=True, kw_only=True)
class TokenizerEvaluation:
    """What to measure.

    Attributes:
        parts: any of fidelity, robustness, retention, curve, codecs, identity.
        limit: at most this many windows per set, balanced over labels; None takes all.
        recordings: raw files of 500 Hz or more, for the comparison of rates.
        seed: of windows drawn, dropped channels, strange input, probes and bootstrap.
    """

    samples: tuple[Path, ...]
    split: str = "test"
    parts: tuple[str, ...] = tuple(MEASURES)
    limit: int | None = 200
    recordings: tuple[Path, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.samples:
            raise ConfigError("samples: no folder of sample shards is given; name at least one")
        if self.split not in SPLITS:
            raise ConfigError(f"split is {self.split!r}; expected {' or '.join(SPLITS)}: probes are trained on train")
        if unknown := [part for part in self.parts if part not in MEASURES]:
            raise ConfigError(f"parts: {unknown[0]!r} is not measured here; expected some of {', '.join(MEASURES)}")
        if self.limit is not None and self.limit < FEWEST_WINDOWS:
            raise ConfigError(f"limit is {self.limit}; expected at least {FEWEST_WINDOWS} windows, or null for all")


def evaluate_tokenizer(
    tokenizer: EEGTokenizer,
    settings: TokenizerEvaluation,
    facts: dict[str, Any],
    trained: frozenset[str] | None,
    learned: Learned,
) -> TokenizerReport:
    """Measure `tokenizer`; `facts` head the report, `trained` names the sets that it was trained on, where known, and
    `learned` is what it says of their recordings.

    Every set is read and audited before anything is measured.

    Raises:
        DataError: a set is damaged or leaks between splits or out of training.
        ConfigError: two folders hold one set, or a set was preprocessed otherwise than the tokenizer expects.
    """
    sets = [
        MeasuredSet(tokenizer, folder, settings.split, settings.limit, settings.seed) for folder in settings.samples
    ]
    known = [
        known_recordings(learned, measured.scored, folder, "tokenizer").sentence
        for measured, folder in zip(sets, settings.samples, strict=True)
    ]
    names = [measured.recipe for measured in sets]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"samples: two folders hold the set {twice[0]!r}; give each set once")
    run = Run(tokenizer, sets, settings.split, settings.recordings, settings.seed)
    report = TokenizerReport(
        facts=facts,
        sets=tuple(_set_facts(measured, trained, said) for measured, said in zip(sets, known, strict=True)),
        bits_per_second=run.whole.bits_per_second,
        bits_in_use=tokenizer.bits_per_second,
    )
    for name, measure in MEASURES.items():
        if name in settings.parts:
            report = measure(run, report)
    return replace(report, left_out=tuple(run.left_out), seconds=run.seconds, cost=_cost(sets))


def _set_facts(measured: MeasuredSet, trained: frozenset[str] | None, known: str) -> SetFacts:
    scored = measured.scored
    windows = [trial.window for trial in scored.trials]
    return SetFacts(
        recipe=measured.recipe,
        n_windows=len(windows),
        n_available=scored.n_available,
        n_trials=len(np.unique(scored.clusters)),
        n_recordings=n_recordings(scored),
        n_subjects=len({str(trial.meta["subject"]) for trial in scored.trials}),
        channels=channel_counts(windows),
        seconds=sum(window.eeg_uV.shape[1] / window.sfreq for window in windows),
        n_labels=len(scored.label_texts),
        trained=None if trained is None else measured.recipe in trained,
        known=known,
        split_by=scored.audit.split_by,
        confounded=scored.audit.confounded,
        shards=scored.shards,
    )


def _cost(sets: Sequence[MeasuredSet]) -> str:
    """How fast the windows of this run became ids."""
    eeg_s, taken_s = (sum(values) for values in zip(*((m.eeg_s, m.encoding_s) for m in sets), strict=True))
    if not taken_s:
        return "nothing was encoded as a whole set"
    return (
        f"{eeg_s:.0f} s of EEG became ids in {taken_s:.1f} s, {eeg_s / taken_s:.0f} times as fast as recorded "
        f"({torch.get_num_threads()} thread(s), {os.cpu_count()} cores, double precision)"
    )


def trained_sets(folder: Path) -> frozenset[str] | None:
    """The sets that `training.json` in a tokenizer folder says it was trained on; None where there is no such file.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "training.json"
    if not path.is_file():
        return None
    found = read_json(path)
    try:
        return frozenset(Path(name).name for name in found["settings"]["data"]["samples"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: no settings.data.samples ({error}); restore the file or delete it") from None


def evaluate_tokenizer_folder(folder: Path, settings: TokenizerEvaluation, out: Path) -> TokenizerReport:
    """Load the tokenizer folder, measure it, and write the report to `out`.

    A use of the test split is written to the ledger before anyone can see its report.

    Raises:
        CheckpointError: the tokenizer folder is damaged.
        ConfigError: `out` holds something that is no report, or the ledger cannot be written; or as
            `evaluate_tokenizer`.
        DataError: as `evaluate_tokenizer`, or the ledger is damaged.
    """
    require_free(out)
    ledger = Ledger(folder) if settings.split == "test" else None
    tokenizer, trained = EEGTokenizer.load(folder), trained_sets(folder)
    config = tokenizer.config
    facts = {
        "tokenizer": str(folder),
        "fingerprint": tokenizer.fingerprint,
        "ids": f"{config.levels} levels of {config.codes} codes ({config.quantizer}) every "
        f"{1000 * tokenizer.step_s:g} ms, {tokenizer.tokens_per_step} of them in use",
        "causal": config.causal,
        "trained on": "not known (no training.json)" if trained is None else ", ".join(sorted(trained)),
        "split": settings.split,
        "windows of a set, at most": settings.limit,
        "seed": settings.seed,
    }
    report = evaluate_tokenizer(tokenizer, settings, facts, trained, Learned.read(folder))
    if ledger:
        made = {"parts": list(settings.parts), "limit": settings.limit, "seed": settings.seed}
        said = ledger.write(tokenizer.fingerprint, [(one.recipe, one.shards) for one in report.sets], made)
        report = replace(report, facts=report.facts | {USES: said})
    write_tokenizer_report(report, out)
    return report
