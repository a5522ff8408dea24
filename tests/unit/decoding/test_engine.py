"""Generation and scoring: the cache, guidance, batches and the grammar do not change what the model says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.decoding.engine import Engine, Prompt
from neuroleon.decoding.sampling import Sampling
from neuroleon.model.config import ModelConfig
from neuroleon.model.transformer import Neuroleon
from neuroleon.tokenizers.document import Document, Span, parse, prompt, render, task_of, unconditional_prompt
from neuroleon.tokenizers.grammar import Grammar
from neuroleon.tokenizers.infill import Filling, Hole, filled, hollow
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import Vocabulary

VOCABULARY = Vocabulary.of(
    text=SimpleNamespace(size=30, fingerprint="t"),
    image=SimpleNamespace(size=20, fingerprint="i", tokens=9),
    eeg=SimpleNamespace(size=24, fingerprint="e", tokens_per_step=4),
)
GREEDY = Sampling(temperature=0, max_text=6)
WARM = Sampling(temperature=1.0, top_k=50, top_p=0.95, max_text=6)


@pytest.fixture(scope="module")
def model() -> Neuroleon:
    torch.manual_seed(0)
    books = {r.start: torch.randn(r.size, 4) for r in (VOCABULARY.image, VOCABULARY.eeg)}
    config = ModelConfig(dim=32, depth=2, heads=4, kv_heads=2, dim_head=8, max_length=96)
    model = Neuroleon(config, VOCABULARY.size, books)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.25 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def engine(model: Neuroleon) -> Engine:
    return Engine(model, VOCABULARY)


def eeg_span(steps: int, seed: int = 0) -> Span:
    rng = np.random.default_rng(seed)
    return Span("eeg", (rng.integers(0, 6, (steps, 4)) + 6 * np.arange(4)).ravel(), scale=3)


def a_prompt(task: str, inputs: tuple[Span, ...], words: int = 3, eeg_steps: int | None = None) -> Prompt:
    return Prompt(
        ids=prompt(task, np.arange(words), inputs, VOCABULARY),
        unconditional=unconditional_prompt(task, VOCABULARY),
        eeg_steps=eeg_steps,
    )


RAGGED = [
    a_prompt("eeg2image", (eeg_span(5),)),
    a_prompt("eeg2both", (eeg_span(2, seed=1),), words=7),
    a_prompt("text2eeg", (Span("text", [4, 5]),), eeg_steps=3),
]
KEYS = [(0, "a"), (0, "b"), (0, "c")]


def recomputed(model: Neuroleon, asked: Prompt, settings: Sampling) -> np.ndarray:
    """Greedy decoding the plain way: the whole row through the training forward for every id."""
    task = task_of(asked.ids, VOCABULARY)
    grammar = Grammar(VOCABULARY, task, eeg_steps=asked.eeg_steps, max_text=settings.max_text)
    state, made = grammar.start(asked.ids), []
    while not grammar.done(state):
        rows = [torch.tensor([*start.tolist(), *made])[None] for start in (asked.conditional, asked.unconditional)]
        with torch.no_grad():
            conditional, unconditional = (model(row)[0, -1] for row in rows)
        logits = unconditional + settings.guidance * (conditional - unconditional)
        allowed = [i for ids in grammar.allowed(state) for i in ids]
        made.append(max(allowed, key=lambda i: float(logits[i])))
        state = grammar.advance(state, made[-1])
    return np.array([*asked.ids.tolist(), *made])


def every_task(n: int) -> list[Prompt]:
    """`n` prompts of different lengths; the tasks take turns."""
    made = []
    for i in range(n):
        task = TASKS[list(TASKS)[i % len(TASKS)]]
        known = {
            "eeg": eeg_span(1 + i % 4, seed=i),
            "text": Span("text", range(1 + i % 3)),
            "image": Span("image", range(9)),
        }
        inputs = tuple(known[modality] for modality in task.inputs)
        made.append(a_prompt(task.name, inputs, words=1 + i % 6, eeg_steps=2 if "eeg" in task.outputs else None))
    return made


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_cached_greedy_decoding_equals_recomputing_everything(
    model: Neuroleon, engine: Engine, guidance: float
) -> None:
    """Every task, alone, in threes and all sixteen together, with prompts of different lengths."""
    settings = Sampling(temperature=0, guidance=guidance, max_text=6)
    prompts, keys = every_task(16), [(0, i) for i in range(16)]
    expected = [recomputed(model, asked, settings).tolist() for asked in prompts]
    for size in (1, 3, 16):
        found = [
            ids.tolist()
            for start in range(0, 16, size)
            for ids in engine.generate(prompts[start : start + size], settings, keys[start : start + size])
        ]
        assert found == expected, f"{size} at a time"


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_documents_before_a_prompt_are_read_and_not_returned(model: Neuroleon, engine: Engine, guidance: float) -> None:
    settings = Sampling(temperature=0, guidance=guidance, max_text=6)
    others = [Document("eeg2image", [7, 8], (eeg_span(1, seed=i), Span("image", range(i, 9 + i)))) for i in (4, 5)]
    found = np.concatenate([render(document, VOCABULARY).ids[:-1] for document in others])
    prompts = [replace(RAGGED[0], before=found[: len(found) // 2]), replace(RAGGED[0], before=found), RAGGED[1]]
    expected = [recomputed(model, asked, settings).tolist() for asked in prompts]
    assert [ids.tolist() for ids in engine.generate(prompts, settings, KEYS)] == expected
    assert all(ids[: len(RAGGED[0].ids)] == RAGGED[0].ids.tolist() for ids in expected[:2])
    with pytest.raises(DataError, match="fewer documents of the memory"):
        engine.generate([replace(RAGGED[0], before=np.tile(found, 3))], settings, [(0,)])


def test_every_id_is_told_as_it_is_chosen(engine: Engine) -> None:
    told: dict[int, list[int]] = {0: [], 1: [], 2: []}
    made = engine.generate(RAGGED, WARM, KEYS, on_id=lambda row, id_shared: told[row].append(id_shared))
    for row, (asked, ids) in enumerate(zip(RAGGED, made, strict=True)):
        assert told[row] == ids[len(asked.ids) :].tolist()


def test_a_prompt_that_comes_often_is_read_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = engine._stepper.read, []
    monkeypatch.setattr(engine._stepper, "read", lambda ids, *rest: seen.append(len(ids)) or read(ids, *rest))
    prompts = [RAGGED[0], RAGGED[1], RAGGED[0], RAGGED[0]]
    keys = [(0, name) for name in "abcd"]
    together = engine.generate(prompts, Sampling(guidance=2.0, max_text=6), keys)
    assert seen == [4], "two prompts, and each without its condition"
    alone = [
        engine.generate([p], Sampling(guidance=2.0, max_text=6), [k])[0] for p, k in zip(prompts, keys, strict=True)
    ]
    assert [ids.tolist() for ids in together] == [ids.tolist() for ids in alone]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_run_of_ids_comes_twice_in_a_text(engine: Engine, n: int) -> None:
    asked = a_prompt("eeg2both", (eeg_span(2),))
    settings = Sampling(temperature=0.3, max_text=25, no_repeat=n)
    keys = [(0, i) for i in range(8)]
    spans = [parse(ids, VOCABULARY).spans[1].ids_local.tolist() for ids in engine.generate([asked] * 8, settings, keys)]
    free = Sampling(temperature=0.3, max_text=25)
    plain = [parse(ids, VOCABULARY).spans[1].ids_local.tolist() for ids in engine.generate([asked] * 8, free, keys)]
    assert not any(repeats(span, n) for span in spans)
    assert any(repeats(span, n) for span in plain)


def repeats(ids: list[int], n: int) -> bool:
    runs = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return len(set(runs)) < len(runs)


def test_contrast_asks_what_the_condition_adds(model: Neuroleon, engine: Engine) -> None:
    """Greedy contrastive decoding, id by id, from the formula of the paper."""
    settings = Sampling(temperature=0, contrast_k=3, contrast_alpha=0.2, max_text=6)
    for asked, task in zip(RAGGED, ("eeg2image", "eeg2both", "text2eeg"), strict=True):
        grammar = Grammar(VOCABULARY, task, eeg_steps=asked.eeg_steps, max_text=settings.max_text)
        state, made = grammar.start(asked.ids), []
        while not grammar.done(state):
            allowed = [i for ids in grammar.allowed(state) for i in ids]
            starts = [torch.tensor([*start.tolist(), *made])[None] for start in (asked.ids, asked.unconditional)]
            with torch.no_grad():
                expert, amateur = (model(start)[0, -1][allowed].log_softmax(0) for start in starts)
            enough = 0.2 * expert.exp().sort(descending=True).values[: settings.contrast_k][-1]
            score = [float(e - a) if e.exp() >= enough else -np.inf for e, a in zip(expert, amateur, strict=True)]
            made.append(allowed[int(np.argmax(score))])
            state = grammar.advance(state, made[-1])
        (found,) = engine.generate([asked], settings, [(0,)])
        assert found.tolist() == [*asked.ids.tolist(), *made]


def test_guidance_changes_the_answer(engine: Engine) -> None:
    without = engine.generate(RAGGED, GREEDY, KEYS)
    strong = engine.generate(RAGGED, Sampling(temperature=0, guidance=5, max_text=6), KEYS)
    assert [d.tolist() for d in without] != [d.tolist() for d in strong]


@pytest.mark.parametrize("settings", [WARM, Sampling(guidance=2.0, max_text=6)])
def test_a_key_gives_the_same_ids_in_any_batch(engine: Engine, settings: Sampling) -> None:
    prompts, keys = RAGGED + RAGGED[:1], [*KEYS, (0, "d")]
    together = engine.generate(prompts, settings, keys)
    alone = [engine.generate([p], settings, [key])[0] for p, key in zip(prompts, keys, strict=True)]
    order = [2, 0, 3, 1]
    shuffled = engine.generate([prompts[i] for i in order], settings, [keys[i] for i in order])
    for i, (a, b) in enumerate(zip(together, alone, strict=True)):
        assert a.tolist() == b.tolist() == shuffled[order.index(i)].tolist()
    assert together[0].tolist() != together[3].tolist()  # one prompt, two keys


def test_another_seed_gives_another_sample(engine: Engine) -> None:
    samples = [engine.generate(RAGGED[:1], WARM, [(seed, "a")])[0] for seed in range(4)]
    assert len({tuple(s.tolist()) for s in samples}) > 1


def test_every_output_has_exactly_its_ids(engine: Engine) -> None:
    for i in range(5):
        documents = [parse(ids, VOCABULARY) for ids in engine.generate(RAGGED, WARM, [(i, k) for k in "abc"])]
        assert [len(d.spans[-1].ids_local) for d in documents] == [9, 9, 3 * 4]
        assert 1 <= len(documents[1].spans[1].ids_local) <= WARM.max_text
        assert documents[0].spans[0] == eeg_span(5)


def test_text_is_bounded_by_the_room_in_the_model(engine: Engine) -> None:
    asked = a_prompt("eeg2text", (eeg_span(19),))  # 87 of the 96 tokens; closing mark and <eod> need 2
    for seed in range(5):
        ids = engine.generate([asked], Sampling(max_text=128), [(seed,)])[0]
        assert len(ids) <= 96
    with pytest.raises(DataError, match="holds 96"):
        engine.generate([a_prompt("eeg2image", (eeg_span(19),))], GREEDY, [(0,)])


def test_holes_are_filled_by_what_the_model_finds_likeliest(model: Neuroleon, engine: Engine) -> None:
    """In order, from the document with its sentinels, id by id by the plain forward."""
    document = Document("eeg2both", np.arange(3), (eeg_span(4), Span("text", [4, 5, 6, 7]), Span("image", range(9))))
    holes = [Hole(span=2, start=2, stop=5), Hole(span=0, start=4, stop=12), Hole(span=1, start=1, stop=3)]
    rules, begun = Filling(document, holes, VOCABULARY, max_text=3), hollow(document, holes, VOCABULARY)
    ids, state = begun.tolist(), rules.start(begun)
    while not rules.done(state):
        with torch.no_grad():
            logits = model(torch.tensor(ids)[None])[0, -1]
        ids.append(max((i for r in rules.allowed(state) for i in r), key=lambda i: float(logits[i])))
        state = rules.advance(state, ids[-1])
    asked = Prompt(ids=begun, filling=rules)
    together = engine.generate([RAGGED[0], asked], GREEDY, KEYS[:2])
    assert together[1].tolist() == ids
    spans = parse(filled(together[1]), VOCABULARY).spans
    assert spans[0].ids_local[[0, 12]].tolist() == document.spans[0].ids_local[[0, 12]].tolist()
    assert spans[2].ids_local[[*range(2), *range(5, 9)]].tolist() == [0, 1, 5, 6, 7, 8]
    long = Document("eeg2text", np.arange(3), (eeg_span(15), Span("text", [4])))
    filling = Filling(long, [Hole(span=1, start=0, stop=1)], VOCABULARY, max_text=60)
    with pytest.raises(DataError, match="holds 96"):
        engine.generate(
            [Prompt(ids=hollow(long, [Hole(span=1, start=0, stop=1)], VOCABULARY), filling=filling)], GREEDY, [(0,)]
        )


def test_scores_are_the_summed_log_probabilities(model: Neuroleon, engine: Engine) -> None:
    start = RAGGED[0].ids
    continuations = [np.array([300, 301, 302]), np.array([260]), np.arange(256, 270)]
    expected = []
    for continuation in continuations:
        row = torch.tensor([*start.tolist(), *continuation.tolist()])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(row[None])[0].double(), dim=-1)
        expected.append(sum(logprobs[len(start) - 1 + i, c].item() for i, c in enumerate(continuation)))
    scores = engine.score(start, continuations)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    many = engine.score(start, continuations * 20)
    np.testing.assert_allclose(many, expected * 20, atol=1e-5)


def test_a_prompt_is_read_once_for_all_its_continuations(model: Neuroleon, engine: Engine) -> None:
    start, read = RAGGED[0].ids, []
    hook = model.embed.register_forward_pre_hook(lambda _, given: read.append(tuple(given[0].shape)))
    try:
        engine.score(start, [np.arange(256, 261)] * 40)
    finally:
        hook.remove()
    assert read == [(1, len(start)), (32, 4), (8, 4)], "the last id of a continuation predicts nothing that is asked"


def test_the_probabilities_of_all_single_ids_sum_to_one(engine: Engine) -> None:
    scores = engine.score(RAGGED[0].ids, [np.array([i]) for i in range(VOCABULARY.size)])
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-6)


def test_what_is_missing_is_named(model: Neuroleon, engine: Engine) -> None:
    bare = Prompt(ids=RAGGED[0].ids)
    with pytest.raises(ConfigError, match="unconditional"):
        engine.generate([bare], Sampling(guidance=2.0), [(0,)])
    with pytest.raises(ConfigError, match="eeg_steps"):
        engine.generate([Prompt(ids=RAGGED[2].ids)], GREEDY, [(0,)])
    with pytest.raises(DataError, match="token"):
        engine.generate([Prompt(ids=RAGGED[0].ids[::-1].copy())], GREEDY, [(0,)])
    with pytest.raises(DataError, match="empty"):
        engine.score(bare.ids, [np.array([], dtype=int)])
    with pytest.raises(DataError, match="holds 96"):
        engine.score(bare.ids, [np.full(96, 256)])
    larger = Vocabulary.of(
        text=SimpleNamespace(size=300, fingerprint="t"),
        image=SimpleNamespace(size=20, fingerprint="i", tokens=9),
        eeg=SimpleNamespace(size=24, fingerprint="e", tokens_per_step=4),
    )
    with pytest.raises(ConfigError, match="vocabulary"):
        Engine(model, larger)
    assert engine.generate([], GREEDY, []) == []
    assert len(engine.score(bare.ids, [])) == 0
