"""What is near is found, what must not enter never is, and documents stand before a document as they are."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.loader import TokenRecord
from neuroleon.retrieval.augment import augmented, before, find, render_found
from neuroleon.retrieval.encoder import Encoder
from neuroleon.retrieval.memory import Guard, Memory, Retrieval, guard_of, name_of
from neuroleon.tokenizers.document import OUTPUT, parse, render
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import EOD, Vocabulary

VOCABULARY = Vocabulary.of(
    text=SimpleNamespace(size=300, fingerprint="t"),
    image=SimpleNamespace(size=64, fingerprint="i", tokens=9),
    eeg=SimpleNamespace(size=48, fingerprint="e", tokens_per_step=4),
)
EEG_CODES = SimpleNamespace(codebook=np.random.default_rng(0).standard_normal((48, 6)))
IMAGE_CODES = SimpleNamespace(codebook=np.random.default_rng(1).standard_normal((64, 5)))
ENCODER = Encoder(VOCABULARY, EEG_CODES, IMAGE_CODES)
EEG2IMAGE, WORDS = TASKS["eeg2image"], np.array([100, 101])


class Shelf(list):
    name = "shelf"


def record(
    number: int, recording: str, picture: int, steps: np.ndarray, has_text: bool = True, question: int = 20
) -> TokenRecord:
    """`steps` (n, 4) are the codes of each step, 0 to 11."""
    pieces = {
        "eeg": (steps + 12 * np.arange(4)).ravel(), "image": np.full(9, picture), "text": np.array([number % 300, 7]),
        "question": np.array([question]), "label": np.array([number % 300]),
    }  # fmt: skip
    ends = np.cumsum([len(ids) for ids in pieces.values()]).tolist()
    at = {name: [end - len(ids), end] for (name, ids), end in zip(pieces.items(), ends, strict=True)}
    info = {
        "eeg": {"variants": [[*at["eeg"], 3]], "steps": len(steps)}, "image": at["image"], "image_key": str(picture),
        "recording": recording, "texts": [at["text"]] if has_text else [], "label_text": at["label"],
        "question": at["question"],
    }  # fmt: skip
    return TokenRecord(np.concatenate(list(pieces.values())).astype(np.int32), info, f"shelf/{number}")


def shelf(seed: int, n: int, recordings: int, pictures: int) -> Shelf:
    rng = np.random.default_rng(seed)
    return Shelf(
        record(i, f"r{rng.integers(recordings)}", int(rng.integers(pictures)), rng.integers(0, 12, (3, 4)))
        for i in range(n)
    )


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 5), st.integers(1, 8), st.integers(1, 6))
def test_nothing_of_the_same_recording_or_picture_comes_out(
    seed: int, n: int, recordings: int, pictures: int, wanted: int
) -> None:
    kept = shelf(seed, n, recordings, pictures)
    memory = Memory([kept], ENCODER)
    for asked in kept:
        query = {"eeg": asked.contents()["eeg"][0]}
        found = memory.nearest(query, EEG2IMAGE, Retrieval(documents=wanted, limit=1.0), guard_of(asked, "shelf"))
        assert all(one.record.info["recording"] != asked.info["recording"] for one in found)
        shown = [one.record.info["image_key"] for one in found]
        assert asked.info["image_key"] not in shown
        assert len(set(shown)) == len(shown)
        others = {
            r.info["image_key"] for r in kept if r.info["recording"] != asked.info["recording"]
        } - {asked.info["image_key"]}  # fmt: skip
        assert len(found) == min(wanted, len(others)), "whatever may come out does"
        assert [one.likeness for one in found] == sorted((one.likeness for one in found), reverse=True)


def test_a_copy_under_another_name_does_not_pass_for_another_picture() -> None:
    """The same photograph in another set, with another key, is known by its ids."""
    steps = np.random.default_rng(3).integers(0, 12, (2, 4))
    asked = record(0, "r0", 5, steps)
    copy = record(1, "r1", 5, steps)
    copy.info["image_key"] = "another name"
    memory = Memory([Shelf([copy, record(2, "r2", 6, steps[::-1])])], ENCODER)
    query = {"eeg": asked.contents()["eeg"][0]}
    found = memory.nearest(query, EEG2IMAGE, Retrieval(documents=2, limit=1.0), guard_of(asked, "other"))
    assert [one.record.key for one in found] == ["shelf/2"]
    only_ids = Guard(pictures=frozenset({name_of(np.full(9, 6))}))
    found = memory.nearest(query, EEG2IMAGE, Retrieval(documents=2, limit=1.0), only_ids)
    assert [one.record.key for one in found] == ["shelf/1"]


def test_the_nearest_is_the_one_that_was_planted() -> None:
    """Among 200 records, the one whose steps are the query's but for one id; in EEG, in pictures and in words."""
    rng = np.random.default_rng(4)
    steps = rng.integers(0, 12, (8, 4))
    near = steps.copy()
    near[2, 1] = (near[2, 1] + 1) % 12
    kept = Shelf(record(i, f"r{i}", i % 60, rng.integers(0, 12, (8, 4))) for i in range(200))
    kept.append(record(250, "planted", 61, near))
    memory = Memory([kept], ENCODER)
    asked = record(0, "asked", 62, steps)
    guard = guard_of(asked, "shelf")
    one = Retrieval(documents=1, limit=1.0)
    (found,) = memory.nearest({"eeg": asked.contents()["eeg"][0]}, EEG2IMAGE, one, guard)
    assert found.record.key == "shelf/250"
    (found,) = memory.nearest({"text": np.array([250, 7])}, TASKS["text2image"], one, guard)
    assert found.record.key == "shelf/250"
    (found,) = memory.nearest({"image": np.full(9, 61)}, TASKS["image2text"], one, Guard())
    assert found.record.key == "shelf/250"


def test_what_is_too_alike_is_left_out() -> None:
    kept = shelf(5, 40, 40, 40)
    memory = Memory([kept], ENCODER)
    query = {"eeg": kept[0].contents()["eeg"][0]}
    itself = memory.nearest(query, EEG2IMAGE, Retrieval(documents=1, limit=1.0), Guard())[0]
    assert (itself.record.key, itself.likeness) == ("shelf/0", pytest.approx(1.0, abs=1e-3))
    found = memory.nearest(query, EEG2IMAGE, Retrieval(documents=40), Guard())
    assert all(one.likeness <= 0.9 for one in found)
    assert len(found) > 20
    assert "shelf/0" not in [one.record.key for one in found]


def test_the_limit_is_that_of_the_whole_query() -> None:
    """Rows are left out to rank, not to tell a copy: whatever is dropped, the copy does not come out."""
    kept = shelf(9, 30, 30, 30)
    memory = Memory([kept], ENCODER)
    settings, query = Retrieval(documents=30, query_dropout=0.5), {"eeg": kept[4].contents()["eeg"][0]}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = memory.nearest(query, EEG2IMAGE, settings, Guard(), rng=rng)
        assert "shelf/4" not in [one.record.key for one in found]
        assert len(found) > 15


@given(st.integers(0, 1000), st.permutations(range(12)))
def test_the_order_is_exact(seed: int, order: list[int]) -> None:
    """Records that are alike tie to the bit, wherever they stand in the product: the first of them comes first."""
    rng = np.random.default_rng(seed)
    steps = [rng.integers(0, 12, (3, 4)) for _ in range(4)]
    kept = Shelf(record(i, f"r{i}", i, steps[i % 4]) for i in order)
    memory = Memory([kept], ENCODER)
    for vectors in memory._vectors.values():  # whole numbers whose products add up below 2^24: exact in float32
        assert np.array_equal(vectors, np.rint(vectors))
        assert np.square(vectors).sum(axis=1).max() < 2**24
    query = {"eeg": record(20, "asked", 40, rng.integers(0, 12, (3, 4))).contents()["eeg"][0]}
    found = memory.nearest(query, EEG2IMAGE, Retrieval(documents=12, limit=1.0), Guard())
    for group in range(4):
        alike = [one for one in found if int(one.record.key.split("/")[1]) % 4 == group]
        assert len({one.likeness for one in alike}) == 1
        numbers = [int(one.record.key.split("/")[1]) for one in alike]
        assert numbers == [i for i in order if i % 4 == group]


def test_only_records_with_the_same_question_answer_it() -> None:
    rng = np.random.default_rng(10)
    kept = Shelf(record(i, f"r{i}", i, rng.integers(0, 12, (3, 4)), question=20 + i % 3) for i in range(12))
    memory = Memory([kept], ENCODER)
    asked = kept[1].document(TASKS["eeg2label"], kept[1].question)
    found = find(memory, asked, Retrieval(documents=12), guard_of(kept[1], "shelf"))
    assert sorted(one.record.key for one in found) == ["shelf/10", "shelf/4", "shelf/7"]
    made = render_found(found, asked, VOCABULARY)
    assert all(parse(one.ids, VOCABULARY).instruction.tolist() == [21] for one in made)


def test_only_records_that_serve_the_task_come_out() -> None:
    rng = np.random.default_rng(6)
    kept = Shelf(record(i, f"r{i}", i, rng.integers(0, 12, (3, 4)), has_text=i % 2 == 0) for i in range(10))
    memory = Memory([kept], ENCODER)
    query = {"eeg": kept[1].contents()["eeg"][0]}
    found = memory.nearest(query, TASKS["eeg2text"], Retrieval(documents=10, limit=1.0), Guard())
    assert sorted(one.record.key for one in found) == [f"shelf/{i}" for i in range(0, 10, 2)]


def test_query_dropout_finds_others_and_is_a_function_of_its_generator() -> None:
    kept = shelf(7, 60, 60, 60)
    memory = Memory([kept], ENCODER)
    query = {"eeg": np.concatenate([r.contents()["eeg"][0] for r in kept[:3]])}
    settings = Retrieval(documents=4, limit=1.0, query_dropout=0.5)

    def keys(seed: int | None) -> list[str]:
        rng = None if seed is None else np.random.default_rng(seed)
        return [one.record.key for one in memory.nearest(query, EEG2IMAGE, settings, Guard(), rng=rng)]

    assert keys(1) == keys(1)
    assert len({tuple(keys(seed)) for seed in range(8)}) > 1
    assert keys(None) == keys(None)


def test_found_documents_stand_before_and_all_stay_as_they_are() -> None:
    kept = shelf(8, 20, 20, 20)
    memory = Memory([kept], ENCODER)
    asked = kept[0].document(EEG2IMAGE, WORDS)
    rendered = render(asked, VOCABULARY, kept[0].key)
    found = find(memory, asked, Retrieval(documents=3), guard_of(kept[0], "shelf"))
    made = render_found(found, asked, VOCABULARY)
    whole = augmented(rendered, made)
    assert whole.ids[: -len(rendered)].tolist() == before(made).tolist()
    borders = np.flatnonzero(whole.ids == EOD)
    parts = [whole.ids[a : b + 1] for a, b in pairwise(borders)]
    spoken = [parse(part, VOCABULARY) for part in parts]
    expected = [one.record.document(EEG2IMAGE, WORDS) for one in reversed(found)]
    assert spoken == [*expected, kept[0].document(EEG2IMAGE, WORDS)], "the most alike stands nearest"
    assert whole.part[-len(rendered) + 1 :].tolist() == rendered.part[1:].tolist()
    assert (whole.part == OUTPUT).sum() == 4 * (rendered.part == OUTPUT).sum()
    assert len(render_found(found, asked, VOCABULARY, room=2 * len(rendered) - 2)) == 2
    assert augmented(rendered, []).ids.tolist() == rendered.ids.tolist()
    assert len(before([])) == 0
    no_input = kept[0].document(TASKS["image"], WORDS)
    for alone in (asked.without_condition(), no_input):
        assert find(memory, alone, Retrieval(documents=3), Guard()) == []


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(DataError, match="no records"):
        Memory([Shelf()], ENCODER)
    for wrong in ({"documents": -1}, {"limit": 0.0}, {"query_dropout": 1.0}):
        with pytest.raises(ConfigError, match="retrieval"):
            Retrieval(**wrong)
