"""Which recordings a stage reads, for the folder that it exports."""

from collections.abc import Iterable, Mapping
from typing import Any

from neuroleon.common.learned import Learned


def learned_from(manifests: Iterable[Mapping[str, Any]]) -> Learned:
    """The recordings that manifests of sample shards list; not complete where one of an earlier version lists none."""
    known = Learned(complete=True)
    for manifest in manifests:
        recordings = manifest.get("recordings")
        if recordings is None:
            known |= Learned()
        else:
            splits = {split: frozenset(recordings.get(split, ())) for split in ("train", "validation")}
            known |= Learned(**{split: {manifest["name"]: of} for split, of in splits.items() if of}, complete=True)
    return known
