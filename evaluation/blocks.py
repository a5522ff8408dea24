"""Random labels per block: how well a classifier tells labels that mean nothing, where windows of a block are on both
sides of the split (Li et al. 2021, PAMI 43, 316). What it reads then is the block, not the stimulus.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.audit import UNITS, BlockTest
from neuroleon.evaluation.eeg.probes import riemann_probe
from neuroleon.evaluation.trials import Trial

N_RANDOM = 5  # drawings of random labels, whose mean is reported
MOST_TRAIN, MOST_SCORED = 400, 200  # windows


def block_test(train: Sequence[Trial], scored: Sequence[Trial], unit: str, seed: int) -> BlockTest:
    """Score a classifier with true and with random labels per block, with blocks held out and with windows mixed.

    Args:
        unit: "recording" or "group": what holds one label each.

    Raises:
        DataError: a split has fewer than two labels, or windows that do not fit together.
    """
    pool = [*train, *scored]
    order = generator("mixed windows", seed).permutation(len(pool))
    mixed = [int(i) for i in order[: len(train)]], [int(i) for i in order[len(train) :]]
    held_out = list(range(len(train))), list(range(len(train), len(pool)))
    true = [str(trial.meta["label"]) for trial in pool]
    blocks = ["/".join(UNITS[unit](trial.meta) or ()) for trial in pool]
    random = [_relabelled(blocks, true, len(train), generator("blocks", seed, k)) for k in range(N_RANDOM)]

    def score(split: tuple[list[int], list[int]], labels: Sequence[str]) -> float:
        seen, asked = ([_with(pool[i], labels[i], i) for i in part] for part in split)
        return riemann_probe(seen, asked, "rhythms", seed).balanced.mean

    return BlockTest(
        unit=unit,
        n_blocks=len(set(blocks)),
        n_windows=len(pool),
        chance=1 / len(set(true)),
        mixed=score(mixed, true),
        mixed_random=float(np.mean([score(mixed, labels) for labels in random])),
        held_out=score(held_out, true),
        held_out_random=float(np.mean([score(held_out, labels) for labels in random])),
    )


def _relabelled(blocks: Sequence[str], labels: Sequence[str], n_train: int, rng: np.random.Generator) -> list[str]:
    """Labels exchanged between whole blocks of the training windows, and of the others."""
    found: list[str] = []
    for part in (slice(0, n_train), slice(n_train, None)):
        own: dict[str, set[str]] = defaultdict(set)
        for block, label in zip(blocks[part], labels[part], strict=True):
            own[block].add(label)
        if several := [block for block, held in own.items() if len(held) > 1]:
            raise DataError(f"block {several[0]} holds {len(own[several[0]])} labels; each must hold one")
        names = sorted(own)
        drawn = dict(zip(names, [names[i] for i in rng.permutation(len(names))], strict=True))
        found += [next(iter(own[drawn[block]])) for block in blocks[part]]
    return found


def _with(trial: Trial, label: str, number: int) -> Trial:
    """The window as a trial of its own: here windows of one trial are meant to come on both sides."""
    return replace(trial, trial=str(number), meta=trial.meta | {"label": label})
