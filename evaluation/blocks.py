"""Random labels per block: how well a classifier tells labels that mean nothing, where windows of a block are on both
sides of the split (Li et al. 2021, PAMI 43, 316). What it reads then is the block, not the stimulus.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from neuroleon.common.errors import DataError
from neuroleon.common.seed import generator
from neuroleon.evaluation.audit import UNITS, BlockTest
from neuroleon.evaluation.eeg.probes import rhythm_covariances, tangent_answers
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
    from sklearn.metrics import balanced_accuracy_score

    pool, n_train = [*train, *scored], len(train)
    order = generator("mixed windows", seed).permutation(len(pool))
    true = np.array([str(trial.meta["label"]) for trial in pool])
    blocks = ["/".join(UNITS[unit](trial.meta) or ()) for trial in pool]
    random = [_relabelled(blocks, true, n_train, generator("blocks", seed, k)) for k in range(N_RANDOM)]
    covariances = rhythm_covariances(pool)

    def score(labels: np.ndarray, places: np.ndarray) -> float:
        """Learned from the first places, as many as there are training windows, and scored on the others."""
        seen, asked = places[:n_train], places[n_train:]
        if len(np.unique(labels[seen])) < 2:
            raise DataError(f"{n_train} training windows hold one label; expected two or more")
        given = tangent_answers([(x[seen], x[asked]) for x in covariances], labels[seen])
        return float(balanced_accuracy_score(labels[asked], given))

    as_it_is = np.arange(len(pool))
    return BlockTest(
        unit=unit,
        n_blocks=len(set(blocks)),
        n_windows=len(pool),
        chance=1 / len(set(true)),
        mixed=score(true, order),
        mixed_random=float(np.mean([score(labels, order) for labels in random])),
        held_out=score(true, as_it_is),
        held_out_random=float(np.mean([score(labels, as_it_is) for labels in random])),
    )


def _relabelled(blocks: Sequence[str], labels: np.ndarray, n_train: int, rng: np.random.Generator) -> np.ndarray:
    """Labels (n,) exchanged between whole blocks of the training windows, and between those of the others."""
    found = []
    for part in (slice(0, n_train), slice(n_train, None)):
        own: dict[str, set[str]] = defaultdict(set)
        for block, label in zip(blocks[part], labels[part].tolist(), strict=True):
            own[block].add(label)
        if several := [block for block, held in own.items() if len(held) > 1]:
            raise DataError(f"block {several[0]} holds {len(own[several[0]])} labels; each must hold one")
        names = sorted(own)
        drawn = dict(zip(names, [names[i] for i in rng.permutation(len(names))], strict=True))
        found += [next(iter(own[drawn[block]])) for block in blocks[part]]
    return np.array(found)
