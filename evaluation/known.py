"""Whether a model knows what it is asked about: the recordings it says it learned from, against those of the split."""

from dataclasses import dataclass
from pathlib import Path

from neuroleon.common.errors import DataError
from neuroleon.common.learned import Learned
from neuroleon.evaluation.trials import TrialSet

NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Known:
    """`sentence` is for the audit; `apart` is whether it was checked that weights learned from none of the split."""

    apart: bool
    sentence: str


def known_recordings(learned: Learned, trials: TrialSet, folder: Path, what: str = "model") -> Known:
    """Compare the recordings of the evaluated split, all of it, with those that the weights learned from.

    Args:
        learned: what the weights say of themselves.
        folder: where the trials were read, for messages.
        what: whose weights they are, for messages.

    Raises:
        DataError: a recording of the split, other than `train`, is among those that the weights learned from.
    """
    here = trials.recordings[trials.split]
    taught, chose = (of.get(trials.recipe, NOTHING) for of in (learned.train, learned.validation))
    both = sorted(here & taught)
    if both and trials.split != "train":
        raise DataError(
            f"{folder}: the {what} learned from {len(both)} of the {len(here)} recordings of split {trials.split!r}, "
            f"such as {both[0]}; evaluate one that was trained without them, or give the samples that this one was "
            "trained with"
        )
    unknown = f"Whether the {what} learned from recordings of this split was not checked"
    if not learned.complete:
        return Known(apart=False, sentence=f"{unknown}: it, or a part of it, does not say from which it learned.")
    if both:
        return Known(apart=False, sentence=f"The {what} learned from {len(both)} of the {len(here)} recordings.")
    if not taught | chose:
        return Known(
            apart=True,
            sentence=f"The {what} learned from no set of this name; the same recordings under the name of another set "
            "were not looked for.",
        )
    if not (taught | chose) & NOTHING.union(*trials.recordings.values()):
        return Known(
            apart=False,
            sentence=f"{unknown}: it names {len(taught | chose)} recordings of this set, and this folder has none of "
            "them; they are others, or the same ones under other pseudonyms (--key).",
        )
    said = f"The {what} learned from {len(taught)} recordings of this set, and from none of this split."
    if trials.split == "test" and here & chose:
        said += (
            f" {len(here & chose)} of these {len(here)} chose its checkpoint (validation), so its numbers here are a "
            "little too good."
        )
    return Known(apart=True, sentence=said)
