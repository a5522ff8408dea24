"""What a split keeps apart and what it cannot: printed with every report, before any number.

A class that was recorded in recordings of its own is confounded with whatever else differs between recordings (drift,
impedances, the person, the time of day): Li et al. 2021 (PAMI 43, 316) on block designs. `blocks.py` measures it.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from neuroleon.common.errors import DataError
from neuroleon.data_pipeline.windows import WindowSpec
from neuroleon.evaluation.order import Neighbours, filter_reach_s, neighbours
from neuroleon.signals.preprocess import Preprocess

FEW_RECORDINGS = 10  # below which what holds of their trials need not hold of the next recording

Meta = dict[str, Any]

# What may lie in two splits, from the widest to the narrowest; None where a sample has no such thing.
UNITS: dict[str, Callable[[Meta], tuple[str, ...] | None]] = {
    "subject": lambda m: (str(m["subject"]),),
    "recording": lambda m: (str(m["subject"]), str(m["recording"])),
    "group": lambda m: (str(m["subject"]), str(m["group"])) if m.get("group") else None,
    "picture": lambda m: (str(m["image_key"]),) if m.get("image_key") is not None else None,
    "sentence": lambda m: (str(m["texts"][0]),) if m.get("texts") else None,
}


@dataclass(frozen=True, kw_only=True)
class BlockTest:
    """Balanced accuracies of a classical classifier, with the true labels and with random ones per block.

    Attributes:
        mixed: true labels, windows of one block on both sides of a random split; `mixed_random`: random labels there.
        held_out: true labels, the split as it is, which parts blocks; `held_out_random`: random labels there.
    """

    unit: str
    n_blocks: int
    n_windows: int
    chance: float
    mixed: float
    mixed_random: float
    held_out: float
    held_out_random: float

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        alone, all_of_it = self.mixed_random - self.chance, self.mixed - self.chance
        share = min(max(alone / all_of_it, 0.0), 1.0) if all_of_it > 0 else 1.0
        return (
            f"Random labels per {self.unit} (tangent space and logistic regression, balanced accuracy, chance "
            f"{self.chance:.2f}): a random split of the windows gives {self.mixed:.2f} with the true labels and "
            f"{self.mixed_random:.2f} with labels that mean nothing, so {share:.0%} of what is above chance there is "
            f"the {self.unit} alone. The split as it is gives {self.held_out:.2f} and {self.held_out_random:.2f}."
        )


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is shared between splits, and what labels are confounded with.

    Attributes:
        units: how many of each unit the evaluated split has; `shared`, how many of them another split has too.
        confounded: in words, where the label is the recording or the group; `confounded_by` is this unit.
        neighbours: how labels follow each other in the evaluated split; None where the cutting of windows is not known.
        filter_reach_s: how far preprocessing spreads an instant; None where it is not known.
        blocks: random labels per block, for confounded sets.
        apart: whether it was checked that the model learned from no recording of the split (`known.py`).
    """

    split_by: str
    units: dict[str, int]
    shared: dict[str, int]
    confounded: str | None
    sentences: tuple[str, ...]
    confounded_by: str | None = None
    neighbours: Neighbours | None = None
    filter_reach_s: float | None = None
    blocks: BlockTest | None = None
    apart: bool = False


def audit_splits(
    metas: dict[str, list[Meta]],
    split: str,
    where: str,
    split_by: str | None = None,
    *,
    windows: WindowSpec | None = None,
    preprocess: Preprocess | None = None,
    copies: Mapping[str, Any] | None = None,
) -> Audit:
    """Compare the evaluated `split` with the others.

    Args:
        metas: the metadata of every sample, per split.
        where: what was read, for messages.
        split_by: the key that the manifest names; found from the data where it names none.
        windows, preprocess: how windows were cut and signals filtered; None where the shards do not say it.
        copies: the manifest's `shared_samples`: per split, pairs of recordings that share samples, and seconds.

    Raises:
        DataError: a recording lies in two splits: windows of it on both sides make any number worthless.
    """
    units, shared = {}, {}
    for name, of in UNITS.items():
        here = {unit for meta in metas[split] if (unit := of(meta)) is not None}
        elsewhere = {of(meta) for other, others in metas.items() if other != split for meta in others}
        if here:
            units[name], shared[name] = len(here), len(here & elsewhere)
    if shared["recording"]:
        raise DataError(
            f"{where}: {shared['recording']} of {units['recording']} recordings of split {split!r} lie in another "
            f"split too{_nearest(metas, split)}; split the recipe by recording or by subject and prepare it again"
        )
    found = next(name for name in ("subject", "group", "recording") if shared.get(name) == 0)
    confounded_by, confounded = _confounded([meta for others in metas.values() for meta in others])
    followed = neighbours(metas[split], windows) if windows else None
    reach_s = filter_reach_s(preprocess) if preprocess else None
    key = split_by or found
    sentences = (
        f"Split by {key}.",
        _recordings(units),
        *_removed(found),
        *_sessions(units, shared),
        *_pictures(units, shared),
        *_texts(units, shared),
        _copies(copies, split),
        _filters(preprocess, reach_s, followed),
        *_order(followed),
        *([confounded] if confounded else []),
    )
    return Audit(
        split_by=key,
        units=units,
        shared=shared,
        confounded=confounded,
        sentences=sentences,
        confounded_by=confounded_by,
        neighbours=followed,
        filter_reach_s=reach_s,
    )


def _nearest(metas: dict[str, list[Meta]], split: str) -> str:
    """How near in time windows of two splits come in a recording that both have, in words."""
    onsets: dict[tuple[str, ...] | None, list[float]] = defaultdict(list)
    for other, others in metas.items():
        for meta in others if other != split else []:
            onsets[UNITS["recording"](meta)].append(meta.get("onset_s", float("nan")))
    apart_s = [
        abs(meta["onset_s"] - onset_s)
        for meta in metas[split]
        for onset_s in onsets[UNITS["recording"](meta)]
        if "onset_s" in meta
    ]
    return f", with windows that begin {min(apart_s):g} s from each other" if apart_s else ""


def _recordings(units: dict[str, int]) -> str:
    """How many recordings numbers rest on: trials of one are alike, and a resampling of trials does not see it."""
    n, people = (f"{units[unit]} {unit}{'s' * (units[unit] != 1)}" for unit in ("recording", "subject"))
    if units["recording"] >= FEW_RECORDINGS:
        return f"The split has {n} of {people}."
    return (
        f"The split has {n} of {people}, which is few: trials of a recording are alike, and intervals and p over "
        "trials do not say how much another recording would differ."
    )


def _removed(found: str) -> list[str]:
    if found == "subject":
        return ["No subject of this split is in another one: knowing the person or the recording does not help."]
    return [
        f"No {found} of this split is in another one, so knowing its state (drift, impedances) does not help.",
        "The same subjects are in other splits: this is about new recordings of known people.",
    ]


def _pictures(units: dict[str, int], shared: dict[str, int]) -> list[str]:
    if "picture" not in units:
        return []
    return [
        f"{shared['picture']} of the {units['picture']} pictures of this split are in other splits too: "
        + ("they are recognised, not imagined anew." if shared["picture"] else "every picture is new.")
    ]


def _sessions(units: dict[str, int], shared: dict[str, int]) -> list[str]:
    """Adjacency in time, as far as shards know it: they have no clock from one recording to the next."""
    if not shared.get("group"):
        return []
    return [
        f"{shared['group']} of the {units['group']} groups (sessions) of this split have recordings in other splits "
        "too. Shards do not say how long after each other these were made: a slow drift may go from one into the next."
    ]


def _texts(units: dict[str, int], shared: dict[str, int]) -> list[str]:
    if "sentence" not in units:
        return []
    return [
        f"{shared['sentence']} of the {units['sentence']} sentences of this split are in other splits too: "
        + ("they are chosen, not written anew." if shared["sentence"] else "every sentence is new.")
    ]


def _copies(copies: Mapping[str, Any] | None, split: str) -> str:
    if copies is None:
        return "Copies: the shards do not say whether recordings share samples."
    said = "Copies: no recording shares samples with one of another split."
    if split in copies:
        said += (
            f" {copies[split]['pairs']} pairs of recordings of this one share {copies[split]['seconds']:.1f} s: these "
            "trials count twice, so that intervals are too narrow."
        )
    return said


def _filters(preprocess: Preprocess | None, reach_s: float | None, followed: Neighbours | None) -> str:
    if preprocess is None or reach_s is None:
        return "Filters: the shards do not say how the signals were filtered."
    said = (
        f"Filters: {preprocess.low_hz:g} to {preprocess.high_hz:g} Hz, zero phase, over whole recordings: an instant "
        f"spreads {reach_s:.1f} s to either side (until 0.1 % is left), so what follows reaches back. No recording is "
        "in two splits, so nothing is carried from one split into another."
    )
    if followed is None or followed.gap_s >= reach_s:
        return said
    return said + (
        f" Trials that follow each other are {max(followed.gap_s, 0):.1f} s apart (median): they leak into each other, "
        "and into a window before an event, unless they were stored as trials and filtered one by one."
    )


def _order(followed: Neighbours | None) -> list[str]:
    if followed is None:
        return []
    said = (
        f"{followed.same:.0%} of the trials have the label of the one before (in random order {followed.expected:.0%}"
    )
    if followed.in_blocks:
        return [f"{said}, p {followed.p:.3f}): labels come in blocks, so whatever drifts slowly tells them too."]
    return [f"{said}): labels do not come in blocks."]


def _confounded(metas: list[Meta]) -> tuple[str, str] | tuple[None, None]:
    """The unit that the label is (the recording, or the block of it), where it is one, and that in words.

    Only units of two windows or more can show it; where most hold a single window, trials were recorded one per file.
    """
    n_labels = len({meta["label"] for meta in metas if meta.get("label") is not None})
    if n_labels < 2:
        return None, None
    for unit in ("recording", "group"):
        labels: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for meta in metas:
            where = UNITS[unit](meta)
            if where is not None and meta.get("label") is not None:
                labels[where].append(str(meta["label"]))
        several = [found for found in labels.values() if len(found) > 1]
        if 2 * len(several) > len(labels) and all(len(set(found)) == 1 for found in several):
            return unit, (
                f"confounded: every {unit} ({len(labels)} with {n_labels} labels) holds a single label, so the class "
                f"is the {unit}. The split cannot remove what the {unit}s of one class share (place in the session, "
                "setting); accuracy above chance here is no proof that the EEG tells the class."
            )
    return None, None
