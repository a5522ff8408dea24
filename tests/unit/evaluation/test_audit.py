from typing import Any

import pytest

from neuroleon.common.errors import DataError
from neuroleon.evaluation.audit import audit_splits
from neuroleon.evaluation.trials import balanced, trial_names


def meta(subject: str, recording: str, label: str | None, **more: Any) -> dict[str, Any]:
    return {"subject": subject, "recording": recording, "label": label, "group": "", "image_key": None, **more}


def test_a_recording_in_two_splits_is_refused() -> None:
    splits = {
        "train": [meta("a", "r1", "x"), meta("a", "r2", "x")],
        "test": [meta("a", "r2", "y"), meta("a", "r3", "y")],
    }
    with pytest.raises(DataError, match="1 of 2 recordings"):
        audit_splits(splits, "test", "runs/samples/toy")
    for meta_of, onset_s in ((splits["train"][1], 4.0), (splits["test"][0], 6.5)):
        meta_of["onset_s"] = onset_s
    with pytest.raises(DataError, match=r"windows that begin 2\.5 s from each other"):
        audit_splits(splits, "test", "runs/samples/toy")


@pytest.mark.parametrize(
    ("n", "said", "is_few"),
    [(1, "1 recording of 1 subject,", True), (9, "9 recordings of 2 subjects,", True), (10, "10 recordings", False)],
)
def test_few_recordings_are_told(n: int, said: str, is_few: bool) -> None:
    metas = [meta("ab"[i % 2], f"r{i}", "x") for i in range(n) for _ in range(3)]
    sentence = audit_splits({"train": [], "test": metas}, "test", "toy").sentences[1]
    assert said in sentence
    assert ("how much another recording would differ" in sentence) is is_few


def test_sentences_and_sessions_in_two_splits_are_told() -> None:
    shared = {
        "train": [meta("a", "r1", None, texts=["A dog.", "A cat."], group="g1")],
        "test": [meta("a", "r2", None, texts=["A cat."], group="g1"), meta("a", "r2", None, texts=["A dog."])],
    }
    audit = audit_splits(shared, "test", "toy")
    assert (audit.units["sentence"], audit.shared["sentence"], audit.shared["group"]) == (2, 1, 1)
    said = " ".join(audit.sentences)
    assert "1 of the 2 sentences" in said and "1 of the 1 groups (sessions)" in said
    apart = audit_splits({"train": [], "test": shared["test"]}, "test", "toy")
    assert "every sentence is new" in " ".join(apart.sentences) and "sessions" not in " ".join(apart.sentences)


def test_copies_inside_the_split_are_told() -> None:
    metas = {"train": [meta("a", "r1", "x")], "test": [meta("a", "r2", "x"), meta("a", "r3", "x")]}
    copies = {"test": {"pairs": 2, "seconds": 83.2}, "train": {"pairs": 9, "seconds": 1.0}}
    said = [" ".join(audit_splits(metas, "test", "toy", copies=given).sentences) for given in (None, {}, copies)]
    assert "do not say whether recordings share samples" in said[0]
    assert "no recording shares samples with one of another split" in said[1] and "count twice" not in said[1]
    assert "2 pairs of recordings of this one share 83.2 s: these trials count twice" in said[2]


def test_equal_names_of_recordings_of_two_subjects_are_two_recordings() -> None:
    audit = audit_splits({"train": [meta("a", "r1", "x")], "test": [meta("b", "r1", "x")]}, "test", "toy")
    assert (audit.split_by, audit.shared["recording"]) == ("subject", 0)


def test_the_narrowest_true_claim_is_made() -> None:
    same_people = {
        "train": [meta("a", "r1", "x", image_key="p1")],
        "test": [meta("a", "r2", "x", image_key="p1"), meta("a", "r2", "y", image_key="p2")],
    }
    audit = audit_splits(same_people, "test", "toy")
    assert audit.split_by == "recording"
    assert any("known people" in sentence for sentence in audit.sentences)
    assert any(sentence.startswith("1 of the 2 pictures") for sentence in audit.sentences)
    same_people["train"] = [meta("a", "r1", "x", image_key="p3")]
    assert any(
        sentence.endswith("every picture is new.") for sentence in audit_splits(same_people, "test", "t").sentences
    )


def test_one_label_per_recording_is_confounded_and_mixed_labels_are_not() -> None:
    files = [meta(f"s{i % 3}", f"r{i}", "xy"[i % 2]) for i in range(6) for _ in range(4)]
    assert "the class is the recording" in str(audit_splits({"test": files}, "test", "toy").confounded)
    files[0] = meta("s0", "r0", "y")
    assert audit_splits({"test": files}, "test", "toy").confounded is None


def test_one_label_per_block_of_a_recording_is_confounded() -> None:
    blocks = [meta("a", "r1", "xy"[b % 2], group=f"b{b}") for b in range(4) for _ in range(3)]
    assert "the class is the group" in str(audit_splits({"test": blocks}, "test", "toy").confounded)


def test_one_trial_per_file_is_not_confounded() -> None:
    files = [meta("a", f"r{i}", "xy"[i % 2]) for i in range(20)]
    assert audit_splits({"test": files}, "test", "toy").confounded is None


def test_adjoining_windows_of_one_label_are_one_trial() -> None:
    onsets = [("r1", "x", 0.0), ("r1", "x", 1.0), ("r1", "x", 3.0), ("r1", "y", 4.0), ("r2", "x", 0.0)]
    names = trial_names([meta("a", r, label, onset_s=t) for r, label, t in onsets], [1.0] * 5)
    assert names[0] == names[1]
    assert len(set(names)) == 4


def test_balanced_takes_equal_numbers_while_they_last() -> None:
    answers = ["a"] * 10 + ["b"] * 3 + ["c"] * 10
    chosen = balanced(answers, 12, 0, "toy")
    assert (
        sorted(answers[i] for i in chosen) == ["a"] * 5 + ["b"] * 3 + ["c"] * 4
        or sorted(answers[i] for i in chosen) == ["a"] * 4 + ["b"] * 3 + ["c"] * 5
    )
    assert chosen == sorted(set(chosen)) == balanced(answers, 12, 0, "toy")
    assert chosen != balanced(answers, 12, 1, "toy")
    assert balanced(answers, None, 0) == list(range(23))
