"""What a split keeps apart and what it cannot: printed with every report, before any number.

A class that was recorded in recordings of its own is confounded with whatever else differs between recordings (drift,
impedances, the person, the time of day): Li et al. 2021 (PAMI 43, 316) on block designs.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neuroleon.common.errors import DataError

Meta = dict[str, Any]

# What may lie in two splits, from the widest to the narrowest; None where a sample has no such thing.
UNITS: dict[str, Callable[[Meta], tuple[str, ...] | None]] = {
    "subject": lambda m: (str(m["subject"]),),
    "recording": lambda m: (str(m["subject"]), str(m["recording"])),
    "group": lambda m: (str(m["subject"]), str(m["group"])) if m.get("group") else None,
    "picture": lambda m: (str(m["image_key"]),) if m.get("image_key") is not None else None,
}


@dataclass(frozen=True, kw_only=True)
class Audit:
    """`shared` counts, per unit, those of the evaluated split that another split has too; `units` all of them."""

    split_by: str
    units: dict[str, int]
    shared: dict[str, int]
    confounded: str | None
    sentences: tuple[str, ...]


def audit_splits(metas: dict[str, list[Meta]], split: str, where: str, split_by: str | None = None) -> Audit:
    """Compare the evaluated `split` with the others.

    Args:
        metas: the metadata of every sample, per split.
        where: what was read, for messages.
        split_by: the key that the manifest names; found from the data where it names none.

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
            "split too; split the recipe by recording or by subject and prepare it again"
        )
    found = next(name for name in ("subject", "group", "recording") if shared.get(name) == 0)
    confounded = _confounded([meta for others in metas.values() for meta in others])
    key = split_by or found
    sentences = (f"Split by {key}.", *_removed(found), *_pictures(units, shared), *([confounded] if confounded else []))
    return Audit(split_by=key, units=units, shared=shared, confounded=confounded, sentences=sentences)


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


def _confounded(metas: list[Meta]) -> str | None:
    """Say in words that the label is the recording (or the block of it), where it is.

    Only units of two windows or more can show it; where most hold a single window, trials were recorded one per file.
    """
    n_labels = len({meta["label"] for meta in metas if meta.get("label") is not None})
    if n_labels < 2:
        return None
    for unit in ("recording", "group"):
        labels: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for meta in metas:
            where = UNITS[unit](meta)
            if where is not None and meta.get("label") is not None:
                labels[where].append(str(meta["label"]))
        several = [found for found in labels.values() if len(found) > 1]
        if 2 * len(several) > len(labels) and all(len(set(found)) == 1 for found in several):
            return (
                f"confounded: every {unit} ({len(labels)} with {n_labels} labels) holds a single label, so the class "
                f"is the {unit}. The split cannot remove what the {unit}s of one class share (place in the session, "
                "setting); accuracy above chance here is no proof that the EEG tells the class."
            )
    return None
