"""Every recording lands in exactly one split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError
from neuroleon.data_pipeline.splits import Source, SplitRule, assign

NAMES = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.text("0123", min_size=1, max_size=3)),
    unique=True,
    max_size=20,
)


def sources(*paths: str) -> list[Source]:
    parts = [path.split("/") for path in paths]
    return [Source(subject=s, group=g, recording=r) for s, g, r in parts]


def test_patterns_by_group() -> None:
    rule = SplitRule(by="group", train=("0", "1"), validation=("2",), test=("3*",))
    found = assign(sources("a/0/r1", "a/1/r2", "a/2/r3", "b/3/r4", "b/31/r5"), rule)
    assert found == {"r1": "train", "r2": "train", "r3": "validation", "r4": "test", "r5": "test"}


def test_names_with_brackets_match_themselves() -> None:
    rule = SplitRule(by="group", train=("[2012.07.06-19.02.1",), test=("[ab]c",))
    assert assign(sources("a/[2012.07.06-19.02.1/r1", "a/[ab]c/r2", "a/bc/r3"), rule) == {
        "r1": "train",
        "r2": "test",
        "r3": "test",
    }


def test_a_recording_in_no_split_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'r9' .*falls into no split"):
        assign(sources("a/0/r9"), SplitRule(by="group", train=("1",)))


def test_a_recording_in_two_splits_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'r9' .*falls into train and test"):
        assign(sources("a/0/r9"), SplitRule(by="subject", train=("a",), test=("?",)))


def test_two_recordings_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="'r1' comes twice"):
        assign(sources("a/0/r1", "b/0/r1"), SplitRule(last_of="subject"))


def test_excluded_recordings_are_absent() -> None:
    rule = SplitRule(by="subject", train=("*",), exclude=("b/0/*",))
    assert assign(sources("a/0/r1", "b/0/r2", "b/1/r3"), rule) == {"r1": "train", "r3": "train"}


def test_last_of_group() -> None:
    found = assign(sources("a/0/r3", "a/0/r1", "a/0/r2", "a/1/r5", "a/1/r4", "b/0/r6"), SplitRule(last_of="group"))
    assert found == {
        "r1": "train",
        "r2": "validation",
        "r3": "test",
        "r4": "train",
        "r5": "test",
        "r6": "train",
    }
    assert assign(sources("a/0/r1", "a/1/r2", "a/2/r3"), SplitRule(last_of="subject"))["r3"] == "test"


def test_folds_go_through_the_recordings_in_a_circle() -> None:
    """Of folds as many as a person has recordings, each of these is for test once, and where they are three or more,
    for validation once; then they come again."""
    recordings = sources("a/0/r1", "a/0/r2", "a/0/r3", "a/0/r4", "b/0/r5", "b/0/r6", "b/0/r7", "c/0/r8", "c/0/r9")
    of_fold = [assign(recordings, SplitRule(last_of="group", fold=fold)) for fold in range(8)]
    assert [of_fold[1][f"r{k}"] for k in range(1, 5)] == ["train", "validation", "test", "train"]
    assert [of_fold[1][f"r{k}"] for k in (8, 9)] == ["test", "train"]
    for source in recordings:
        n = sum(other.subject == source.subject for other in recordings)
        given = [found[source.recording] for found in of_fold]
        assert given[:n].count("test") == 1 and given[:n].count("validation") == (n > 2), source
        assert given[n:] == given[: len(given) - n]
    assert assign(sources("a/0/r1"), SplitRule(last_of="group", fold=5)) == {"r1": "train"}, "one alone is never tested"


@given(NAMES)
def test_last_of_deals_out_every_recording(names: list[tuple[str, str, str]]) -> None:
    all_of = [Source(subject=s, group=g, recording=f"{s}{g}{r}") for s, g, r in names]
    found = assign(all_of, SplitRule(last_of="group"))
    assert set(found) == {source.recording for source in all_of}
    for unit in {(source.subject, source.group) for source in all_of}:
        inside = [found[source.recording] for source in all_of if (source.subject, source.group) == unit]
        assert inside.count("validation") <= inside.count("test") <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"by": "day"},
        {},
        {"last_of": "group", "train": ("a",)},
        {"last_of": "week"},
        {"last_of": "group", "by": "subject"},
        {"by": "subject", "train": ("a",), "fold": 1},
        {"last_of": "group", "fold": -1},
    ],
)
def test_contradicting_rules_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match="split"):
        SplitRule(**options)
