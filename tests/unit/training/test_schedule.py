"""The learning rate is a pure function of the step."""

import itertools

import pytest

from neuroleon.common.errors import ConfigError
from neuroleon.training.schedule import ScheduleConfig, rate_factor


def factors(config: ScheduleConfig, steps: int = 100) -> list[float]:
    return [rate_factor(step, steps, config) for step in range(steps)]


def test_cosine_rises_to_one_and_falls_to_a_tenth() -> None:
    values = factors(ScheduleConfig(warmup=10))
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert max(values) == 1
    assert values[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(values[9:]))
    assert values[10 + 45] == pytest.approx(0.55, abs=0.02), "the middle of a cosine is half way"


def test_wsd_stays_high_and_falls_in_a_straight_line_at_the_end() -> None:
    values = factors(ScheduleConfig(kind="wsd", warmup=10, decay=0.2))
    assert set(values[10:81]) == {1.0}
    falls = [a - b for a, b in itertools.pairwise(values[80:])]
    assert falls == pytest.approx([0.9 / 19] * 19)
    assert values[-1] == pytest.approx(0.1)


def test_a_warmup_longer_than_the_run_is_allowed() -> None:
    assert factors(ScheduleConfig(warmup=50), steps=5) == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"final": 1.5}, {"decay": 0.0}])
def test_values_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        ScheduleConfig(**wrong)
