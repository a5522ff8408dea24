"""A label that follows blocks is explained by the blocks; one that does not is not."""

from collections.abc import Callable

import numpy as np
import pytest

from neuroleon.common.errors import DataError
from neuroleon.evaluation.blocks import block_test
from neuroleon.evaluation.trials import Trial
from neuroleon.signals.window import Window

POSITIONS = np.array([[0.2 * k, 0.0, 0.9] for k in range(4)], np.float32)


def trials(blocks: range, label_of: Callable[[int], str], has_state: bool, has_response: bool) -> list[Trial]:
    """20 windows a block: noise whose channels mix in each block's own way, and 10 Hz in one channel for label x."""
    made = []
    for block in blocks:
        rng = np.random.default_rng(block)
        mixing = np.eye(4) + 0.4 * has_state * rng.normal(size=(4, 4))
        for i in range(20):
            eeg_uV = mixing @ rng.normal(0, 10, (4, 200))
            if has_response and label_of(block) == "x":
                eeg_uV[0] += 15 * np.sin(2 * np.pi * 10 * np.arange(200) / 200)
            meta = {"subject": "s1", "recording": f"r{block}", "group": "", "label": label_of(block)}
            window = Window(eeg_uV.astype(np.float32), ("Fz", "Cz", "Pz", "Oz"), POSITIONS, 10.0)
            made.append(Trial(key=f"{block}-{i}", meta=meta, trial=f"r{block}", window=window, picture=None))
    return made


def by_turns(block: int) -> str:
    return "xy"[block % 2]


def test_what_only_blocks_tell_is_told_by_labels_that_mean_nothing() -> None:
    found = block_test(
        trials(range(8), by_turns, True, False), trials(range(8, 12), by_turns, True, False), "recording", 0
    )
    assert (found.n_blocks, found.n_windows, found.chance) == (12, 240, 0.5)
    assert found.mixed > 0.8 and found.mixed_random > 0.8
    assert abs(found.held_out - 0.5) < 0.25 and abs(found.held_out_random - 0.5) < 0.25
    share = int(found.sentence.split("so ")[1].split("%")[0])
    assert share > 80


def test_a_response_is_told_in_blocks_that_were_held_out() -> None:
    found = block_test(
        trials(range(8), by_turns, False, True), trials(range(8, 12), by_turns, False, True), "recording", 0
    )
    assert found.mixed > 0.95 and found.held_out > 0.95
    assert found.mixed_random < 0.75 and found.held_out_random < 0.75


def test_a_block_of_two_labels_is_refused() -> None:
    train = trials(range(4), by_turns, True, False)
    train[0].meta["label"] = "y"
    with pytest.raises(DataError, match="holds 2 labels"):
        block_test(train, trials(range(4, 8), by_turns, True, False), "recording", 0)
