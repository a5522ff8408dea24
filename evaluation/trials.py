"""The trials of one sample set and split: which windows belong to one trial, and which of them are evaluated."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.members import Record
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.splits import SPLITS
from neuroleon.data_pipeline.windows import window_of
from neuroleon.evaluation.audit import Audit, audit_splits
from neuroleon.evaluation.before import Before, missing, window_spec
from neuroleon.signals.preprocess import Preprocess
from neuroleon.signals.window import Window

# Windows of one label and recording nearer than this to each other are one trial: cvep20 cuts 2.0 s every 2.1 s.
GAP_S = 0.15


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One window with what it was recorded for. `trial` is equal for windows that are not independent.

    `before` is the EEG just before the trial's event, where the set was prepared with it.
    """

    key: str
    meta: dict[str, Any]
    trial: str
    window: Window
    picture: np.ndarray | None
    before: Window | None = None

    @property
    def answer(self) -> str | None:
        """What a right picture must be: the label, or the picture itself where the set has no labels."""
        return answer_of(self.meta)


@dataclass(frozen=True, kw_only=True)
class TrialSet:
    """The evaluated trials of one set, and the pictures that its split holds: {image key: (answer, pixels)}."""

    recipe: str
    split: str
    trials: tuple[Trial, ...]
    n_available: int
    pictures: dict[str, tuple[str, np.ndarray]]
    label_texts: dict[str, str]  # of every label that any split holds
    wordings: dict[str, tuple[str, ...]]  # every sentence that any split says of a label
    majority: str | None  # the commonest answer of the train split
    audit: Audit
    shards: str  # fingerprint of the split's shards
    recordings: dict[str, frozenset[str]]  # SUBJECT/RECORDING of each split, all of it
    constant: str | None = None  # the commonest sentence that the train split says of `majority`

    @property
    def clusters(self) -> np.ndarray:
        return np.array([trial.trial for trial in self.trials])

    @property
    def subjects(self) -> np.ndarray:
        return np.array([str(trial.meta["subject"]) for trial in self.trials])


def answer_of(meta: dict[str, Any]) -> str | None:
    """The label of a sample, else its picture's key, else None."""
    answer = meta.get("label") if meta.get("label") is not None else meta.get("image_key")
    return None if answer is None else str(answer)


def trial_names(metas: Sequence[dict[str, Any]], durations_s: Sequence[float]) -> list[str]:
    """The trial of each window: windows of one recording and label that touch or overlap in time are one trial.

    A recording of one label, cut into windows without a gap, is therefore ONE trial, however many windows it gives.
    """
    order = sorted(range(len(metas)), key=lambda i: (metas[i]["subject"], metas[i]["recording"], metas[i]["onset_s"]))
    names = [""] * len(metas)
    number, last, end_s = -1, None, 0.0
    for i in order:
        meta = metas[i]
        here = (meta["subject"], meta["recording"], meta.get("label"))
        if here != last or meta["onset_s"] > end_s + GAP_S:
            number, last, end_s = number + 1, here, -np.inf
        end_s = max(end_s, meta["onset_s"] + durations_s[i])
        names[i] = f"{meta['subject']}/{meta['recording']}/{number}"
    return names


def balanced(answers: Sequence[str | None], limit: int | None, *key: int | str) -> list[int]:
    """At most `limit` indices, as equal in number per answer as there are, drawn by `key`, in ascending order."""
    by_answer: dict[str, list[int]] = defaultdict(list)
    for i in generator("balanced", *key).permutation(len(answers)):
        by_answer[str(answers[i])].append(int(i))
    turns = [(turn, answer, i) for answer, members in by_answer.items() for turn, i in enumerate(members)]
    return sorted(i for *_, i in sorted(turns)[:limit])


def _window(record: Record, folder: Path) -> Window:
    meta, where = record["json"], f"{folder}: {record['__key__']}"
    scaled = record["npy"].astype(np.float32)
    if scaled.ndim != 2 or scaled.shape[0] != len(meta["ch_names"]) or len(meta["positions"]) != scaled.shape[0]:
        raise DataError(
            f"{where}: EEG of shape {scaled.shape} with {len(meta['ch_names'])} channel names and "
            f"{len(meta['positions'])} positions; these must agree, prepare the set again"
        )
    return window_of(record)


def load_trials(folder: Path, split: str, limit: int | None, seed: int, baseline: Path | None = None) -> TrialSet:
    """Read the named split of a folder of sample shards; of the other splits only the metadata, for the audit.

    Where a `baseline` is given (`before.py`), windows without EEG before their event are left out, and counted.

    Raises:
        DataError: the split is empty, has no EEG, or shares a recording with another split; or `baseline` has no window
            before any event.
        ConfigError: `baseline` does not fit `folder`.
    """
    readers = {name: ShardReader(folder, name) for name in SPLITS}
    metas = {name: [record["json"] for record in reader] for name, reader in readers.items()}
    reader = readers[split]
    with_eeg = [i for i in range(len(reader)) if "npy" in reader[i]]
    if not with_eeg:
        found = ", ".join(f"{name} {len(reader)}" for name, reader in readers.items())
        raise DataError(f"{folder}: split {split!r} has no sample with EEG (samples: {found}); choose another --split")
    before = Before(folder, baseline, split) if baseline else None
    kept = with_eeg if before is None else before.known(with_eeg, metas[split])
    chosen_metas = [metas[split][i] for i in kept]
    recipe = str(chosen_metas[0]["recipe"])
    durations_s = [reader[i]["npy"].shape[1] / m["sfreq"] for i, m in zip(kept, chosen_metas, strict=True)]
    names = trial_names(chosen_metas, durations_s)
    chosen = balanced([answer_of(m) for m in chosen_metas], limit, seed, recipe, split)
    trials = [_trial(reader[kept[place]], names[place], folder, before) for place in chosen]
    texts, wordings = _labels([meta for others in metas.values() for meta in others], folder)
    majority = _commonest(answer for meta in metas["train"] if (answer := answer_of(meta)) is not None)
    audit = audit_splits(
        metas,
        split,
        str(folder),
        reader.manifest.get("split_by"),
        windows=window_spec(folder),
        preprocess=_preprocess(reader),
        copies=reader.manifest.get("shared_samples"),
    )
    said = before.sentence(len(with_eeg) - len(kept)) if before else missing(folder)
    return TrialSet(
        recipe=recipe,
        split=split,
        trials=tuple(trials),
        n_available=len(kept),
        pictures=_pictures(reader),
        label_texts=texts,
        wordings=wordings,
        majority=majority,
        audit=replace(audit, sentences=(*audit.sentences, said)),
        shards=reader.fingerprint,
        constant=_commonest(
            text for meta in metas["train"] if majority and answer_of(meta) == majority for text in meta["texts"]
        ),
        recordings={name: frozenset(f"{m['subject']}/{m['recording']}" for m in of) for name, of in metas.items()},
    )


def _commonest(found: Iterable[str]) -> str | None:
    counts = Counter(found)
    return min(counts, key=lambda one: (-counts[one], one), default=None)


def _trial(record: Record, name: str, folder: Path, before: Before | None) -> Trial:
    earlier = before(record["json"]) if before else None
    return Trial(
        key=record["__key__"],
        meta=record["json"],
        trial=name,
        window=_window(record, folder),
        picture=record.get("png"),
        before=_window(earlier, before.folder) if before and earlier else None,
    )


def _preprocess(reader: ShardReader) -> Preprocess | None:
    """How the signals of a folder were filtered; None where it does not say so, or was made by another version."""
    try:
        return Preprocess.from_json(reader.manifest["preprocess"])
    except (KeyError, ConfigError):
        return None


def _labels(metas: Sequence[dict[str, Any]], folder: Path) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Text and wordings of every label, labels in order of their names."""
    texts: dict[str, set[str]] = defaultdict(set)
    wordings: dict[str, set[str]] = defaultdict(set)
    for meta in metas:
        if meta.get("label") is not None:
            texts[str(meta["label"])].add(meta["label_text"])
            wordings[str(meta["label"])].update(meta["texts"])
    if two := [label for label, found in texts.items() if len(found) > 1]:
        found = sorted(texts[two[0]])
        raise DataError(f"{folder}: label {two[0]!r} has the texts {found}; give a label one text and prepare it again")
    ordered = sorted(texts)
    return {x: next(iter(texts[x])) for x in ordered}, {x: tuple(sorted(wordings[x])) for x in ordered}


def _pictures(reader: ShardReader) -> dict[str, tuple[str, np.ndarray]]:
    pictures: dict[str, tuple[str, np.ndarray]] = {}
    for record in reader:
        key = record["json"].get("image_key")
        if key is not None and "png" in record and str(key) not in pictures:
            pictures[str(key)] = (str(answer_of(record["json"])), record["png"])
    return pictures
