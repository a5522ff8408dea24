"""What `prepare.py samples` says at its end."""

from collections import Counter
from dataclasses import dataclass, field

from neuroleon.data_pipeline.copies import Shared
from neuroleon.data_pipeline.pseudonyms import KEYED_BY
from neuroleon.data_pipeline.readers.base import Failure
from neuroleon.data_pipeline.splits import SPLITS

_SAID = 20  # lines of one kind: what could go on for pages


@dataclass
class Report:
    """What a run read, made and left out.

    `left_out` counts windows or pictures by reason, `unlabelled` windows of this run by the code of their
    event, `pseudonyms` what keys them: a secret (`keyed`) or the `recipe`'s name alone; `shared` are recordings of one
    split that share samples; `recordings` are those of each split that gave EEG, SUBJECT/RECORDING.
    """

    recipe: str
    tasks: int
    skipped_tasks: int
    samples: dict[str, int]
    recordings: dict[str, list[str]]
    labels: dict[str, dict[str, int]]
    left_out: Counter[str]
    failures: list[Failure]
    notes: Counter[str]
    excluded: int
    pseudonyms: str
    unlabelled: Counter[str] = field(default_factory=Counter)
    shared: list[Shared] = field(default_factory=list)

    @property
    def shared_samples(self) -> dict[str, dict[str, float]]:
        """For each split in which recordings share samples: how many pairs of them, and for how many seconds."""
        found: dict[str, dict[str, float]] = {}
        for one in self.shared:
            told = found.setdefault(one.splits[0], {"pairs": 0, "seconds": 0.0})
            told["pairs"] += 1
            told["seconds"] = round(told["seconds"] + one.seconds, 1)
        return found

    def __str__(self) -> str:
        lines = [
            f"{self.recipe}: {sum(self.samples.values())} samples; {self.skipped_tasks} of {self.tasks} tasks were done"
        ]
        for split in SPLITS:
            counts = ", ".join(f"{label} {n}" for label, n in sorted(self.labels.get(split, {}).items()))
            lines.append(f"  {split:<10} {self.samples.get(split, 0):>7}  {counts}")
        lines += [f"  left out   {n:>7}  {reason}" for reason, n in self.left_out.most_common()]
        lines += [f"    no label {n:>7}  {code}" for code, n in self.unlabelled.most_common(_SAID)]
        lines += [f"  left out   {self.excluded:>7}  recordings that the recipe excludes"] if self.excluded else []
        lines += [f"  note       {n:>7}  {note}" for note, n in self.notes.most_common()]
        lines += [f"  same samples        {shared}" for shared in self.shared[:_SAID]]
        if self.shared:
            said = ", ".join(f"{told['pairs']} pairs in {split}" for split, told in self.shared_samples.items())
            lines.append(f"  warning             {said}: their windows count twice; leave one out with split.exclude")
        lines += [f"  not read            {failure.name}: {failure.message}" for failure in self.failures]
        return "\n".join([*lines, f"  pseudonyms          {KEYED_BY[self.pseudonyms]}"])
