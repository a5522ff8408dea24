"""Whether a model knows what it is asked about: the recordings it says it learned from, against those of the split."""

from pathlib import Path

from neuroleon.common.errors import DataError
from neuroleon.common.learned import Learned
from neuroleon.evaluation.trials import TrialSet


def known_recordings(learned: Learned | None, trials: TrialSet, folder: Path) -> str:
    """What the audit says of it, in a sentence; `learned` is None where the model does not say from what it learned,
    `folder` is where the trials were read.

    Raises:
        DataError: a recording of the split, other than `train`, is among those that the model learned from.
    """
    if learned is None:
        return (
            "The model does not say which recordings it learned from (an earlier version made it): that none of this "
            "split is among them was not checked."
        )
    here = trials.recordings[trials.split]
    taught, chose = (of.get(trials.recipe, frozenset()) for of in (learned.train, learned.validation))
    if not taught | chose:
        return "The model learned from no recording of a set of this name."
    if trials.split == "train":
        return f"Of {len(here)} recordings of this split, the model learned from {len(here & taught)}."
    if both := sorted(here & taught):
        raise DataError(
            f"{folder}: the model learned from {len(both)} of the {len(here)} recordings of split "
            f"{trials.split!r}, such as {both[0]}; evaluate a model that was trained without them, or the samples that "
            "it was trained with"
        )
    if not (taught | chose) & frozenset().union(*trials.recordings.values()):
        return (
            f"The model names {len(taught | chose)} recordings of this set and this folder has none of them: other "
            "recordings, or the same ones under other pseudonyms (--key). Whether it learned from this split is not "
            "known."
        )
    said = f"No recording of this split is among the {len(taught)} of this set that the model learned from."
    if trials.split == "test" and here & chose:
        said += (
            f" {len(here & chose)} of {len(here)} chose its checkpoint (validation): its numbers here are a little too "
            "good."
        )
    return said
