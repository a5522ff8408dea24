from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.tokenizers.document import (
    HEAD,
    OUTPUT,
    Document,
    Span,
    parse,
    prompt,
    render,
    task_of,
    unconditional_prompt,
)
from neuroleon.tokenizers.grammar import Grammar
from neuroleon.tokenizers.tasks import TASKS
from neuroleon.tokenizers.vocabulary import Vocabulary

SLOTS, WIDTH, PICTURE = 4, 12, 9
VOCABULARY = Vocabulary.of(
    text=SimpleNamespace(size=300, fingerprint="t"),
    image=SimpleNamespace(size=64, fingerprint="i", tokens=PICTURE),
    eeg=SimpleNamespace(size=SLOTS * WIDTH, fingerprint="e", tokens_per_step=SLOTS),
)


def spans(modality: str) -> st.SearchStrategy[Span]:
    if modality == "text":
        return st.lists(st.integers(0, 299), min_size=1, max_size=6).map(lambda ids: Span("text", ids))
    if modality == "image":
        return st.lists(st.integers(0, 63), min_size=PICTURE, max_size=PICTURE).map(lambda ids: Span("image", ids))
    step = st.tuples(*(st.integers(j * WIDTH, (j + 1) * WIDTH - 1) for j in range(SLOTS)))
    steps = st.lists(step, min_size=1, max_size=3).map(lambda rows: [i for row in rows for i in row])
    return st.builds(lambda ids, scale: Span("eeg", ids, scale), steps, st.integers(0, 31))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    task = TASKS[draw(st.sampled_from(list(TASKS)))]
    words = draw(st.none() | st.lists(st.integers(0, 299), min_size=1, max_size=4))
    modalities = task.outputs if words is None else task.modalities
    return Document(task.name, words, tuple(draw(spans(m)) for m in modalities))


def prompt_of(document: Document) -> np.ndarray:
    if document.instruction is None:
        return unconditional_prompt(document.task, VOCABULARY)
    inputs = document.spans[: len(TASKS[document.task].inputs)]
    return prompt(document.task, document.instruction, inputs, VOCABULARY)


def names(ids: np.ndarray) -> str:
    return " ".join(VOCABULARY.describe(int(i)).replace(" ", "") for i in ids)


def test_the_layout_is_the_documented_one() -> None:
    document = Document("eeg2both", [7], (Span("eeg", [0, 12, 24, 36], 5), Span("text", [8]), Span("image", range(9))))
    picture = " ".join(f"image{i}" for i in range(9))
    assert names(render(document, VOCABULARY).ids) == (
        "<eod> <task:eeg2both> text7 <break> <eeg> <scale:5> eeg0 eeg12 eeg24 eeg36 </eeg> <break> "
        f"<txt> text8 </txt> <break> <img> {picture} </img> <eod>"
    )
    assert names(unconditional_prompt("eeg2both", VOCABULARY)) == "<eod> <task:eeg2both> <mask:0> <break> <txt>"


@given(documents())
def test_parsing_inverts_rendering(document: Document) -> None:
    rendered = render(document, VOCABULARY)
    assert parse(rendered.ids, VOCABULARY) == document
    assert task_of(rendered.ids, VOCABULARY) == document.task


@given(documents(), st.data())
def test_equality_sees_every_id(document: Document, data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(document.spans) - 1))
    ids = document.spans[i].ids_local.copy()
    ids[-1] ^= 1
    changed = Span(document.spans[i].modality, ids, document.spans[i].scale)
    assert Document(document.task, document.instruction, (*document.spans[:i], changed, *document.spans[i + 1 :])) != (
        document
    )


@given(documents())
def test_a_document_begins_with_its_prompt_and_marks_its_parts(document: Document) -> None:
    rendered = render(document, VOCABULARY)
    start = prompt_of(document)
    assert rendered.ids[: len(start)].tolist() == start.tolist()
    assert np.flatnonzero(rendered.part == OUTPUT).tolist() == list(range(len(start), len(rendered)))
    assert names(rendered.ids[rendered.part == HEAD]).endswith("<break>")
    for i, span in enumerate(document.spans):
        assert (
            rendered.ids[rendered.segment == i].tolist() == VOCABULARY.to_shared(span.modality, span.ids_local).tolist()
        )
    assert rendered.segment.max() == len(document.spans) - 1


@given(documents())
def test_the_unconditional_document_begins_with_the_unconditional_prompt(document: Document) -> None:
    dropped = document.without_condition()
    start = unconditional_prompt(document.task, VOCABULARY)
    assert render(dropped, VOCABULARY).ids[: len(start)].tolist() == start.tolist()
    assert dropped.spans == document.spans[-len(TASKS[document.task].outputs) :]


@given(documents())
def test_the_grammar_accepts_every_document_token_by_token(document: Document) -> None:
    grammar, start = Grammar(VOCABULARY, document.task), prompt_of(document)
    state = grammar.start(start)
    for id_shared in render(document, VOCABULARY).ids[len(start) :].tolist():
        assert not grammar.done(state)
        assert any(id_shared in ids for ids in grammar.allowed(state))
        state = grammar.advance(state, id_shared)
    assert grammar.done(state)
    assert grammar.allowed(state) == []


@given(documents(), st.data())
def test_an_id_outside_the_allowed_is_rejected(document: Document, data: st.DataObject) -> None:
    ids = render(document, VOCABULARY).ids.copy()
    grammar = Grammar(VOCABULARY, document.task)
    i = data.draw(st.integers(0, len(ids) - 1))
    allowed = grammar.allowed(grammar.start(ids[:i]))
    wrong = [n for n in range(VOCABULARY.size) if not any(n in r for r in allowed)]
    ids[i] = data.draw(st.sampled_from(wrong))
    if i == 1 and task_is_known(ids[1]):
        return  # another task's id: then the whole document is judged as that task's
    with pytest.raises(DataError):
        parse(ids, VOCABULARY)


def task_is_known(id_shared: int) -> bool:
    return VOCABULARY.describe(int(id_shared)).startswith("<task:")


@given(documents(), st.data())
def test_a_cut_or_prolonged_document_is_rejected(document: Document, data: st.DataObject) -> None:
    ids = render(document, VOCABULARY).ids
    with pytest.raises(DataError):
        parse(ids[: data.draw(st.integers(0, len(ids) - 1))], VOCABULARY)
    with pytest.raises(DataError, match="nothing more"):
        parse([*ids, data.draw(st.integers(0, VOCABULARY.size - 1))], VOCABULARY)


@given(
    st.sampled_from(list(TASKS)), st.integers(1, 3), st.integers(1, 5), st.randoms(use_true_random=False), st.booleans()
)
def test_a_random_walk_through_the_grammar_is_a_document(task, eeg_steps, max_text, random, is_conditional) -> None:
    """What decoding will write, whatever the model wants, is a document that keeps its limits."""
    grammar = Grammar(VOCABULARY, task, eeg_steps=eeg_steps, max_text=max_text)
    if is_conditional and not TASKS[task].inputs:
        ids = prompt(task, [1], [], VOCABULARY).tolist()
    else:
        ids = unconditional_prompt(task, VOCABULARY).tolist()
    state = grammar.start(ids)
    while not grammar.done(state):
        ids.append(random.choice(random.choice(grammar.allowed(state))))
        state = grammar.advance(state, ids[-1])
    for span in parse(ids, VOCABULARY).spans:
        n = len(span.ids_local)
        assert {"text": 1 <= n <= max_text, "image": n == PICTURE, "eeg": n == eeg_steps * SLOTS}[span.modality]


@pytest.mark.parametrize(
    ("task", "body"),
    [
        ("text", ""),
        ("image", "image0 " * (PICTURE - 1)),
        ("image", "image0 " * (PICTURE + 1)),
        ("eeg", "eeg0 eeg12 eeg24 eeg36"),
        ("eeg", "<scale:1>"),
        ("eeg", "<scale:1> eeg0 eeg12 eeg24"),
        ("eeg", "<scale:1> eeg0 eeg12 eeg24 eeg36 eeg0"),
        ("eeg", "<scale:1> eeg0 eeg24 eeg12 eeg36"),
        ("eeg", "<scale:1> <scale:1> eeg0 eeg12 eeg24 eeg36"),
        ("text", "image0"),
        ("text", "text0 <mask:0>"),
        ("text", "text0 </txt> <eod> <eod>"),
    ],
)
def test_malformed_spans_are_rejected(task: str, body: str) -> None:
    by_name = {names(np.array([i])): i for i in range(VOCABULARY.size)}
    short = {"text": "txt", "image": "img", "eeg": "eeg"}[task]
    words = f"<eod> <task:{task}> text1 <break> <{short}> {body} </{short}> <eod>".split()
    with pytest.raises(DataError):
        parse([by_name[word] for word in words], VOCABULARY)


def test_limits_hold_for_outputs_only() -> None:
    inputs = [Span("text", range(20))]
    start = prompt("text2eeg", [1], inputs, VOCABULARY)
    Grammar(VOCABULARY, "text2eeg", max_text=2).start(start)
    with pytest.raises(ConfigError, match="max_text"):
        Grammar(VOCABULARY, "text2eeg", max_text=0)


@pytest.mark.parametrize(
    ("task", "instruction", "spans", "message"),
    [
        ("image2text", [1], (Span("image", range(8)), Span("text", [1])), "8 ids"),
        ("image2text", [1], (Span("image", range(9)), Span("text", [])), "0 ids"),
        ("image2text", [1], (Span("text", [1]), Span("image", range(9))), "order"),
        ("image2text", [1], (Span("image", range(9)),), "1 spans"),
        ("image2text", [], (Span("image", range(9)), Span("text", [1])), "instruction"),
        ("image2text", [1], (Span("image", range(9)), Span("text", [300])), "300"),
        ("text", [1], (Span("text", [1], 3),), "scale"),
        ("eeg", [1], (Span("eeg", [0, 12, 24, 36]),), "scale None"),
        ("eeg", [1], (Span("eeg", [0, 12, 24, 36], 32),), "scale 32"),
        ("eeg", [1], (Span("eeg", [0, 12, 24], 1),), "3 ids"),
        ("eeg", [1], (Span("eeg", [0, 12, 36, 24], 1),), "slot"),
        ("eeg2nothing", [1], (), "eeg2nothing"),
    ],
)
def test_a_wrong_document_is_refused_with_its_key(task, instruction, spans, message) -> None:
    with pytest.raises(DataError, match=f"cats/0001: .*{message}"):
        render(Document(task, instruction, spans), VOCABULARY, "cats/0001")


def test_a_prompt_of_another_task_is_refused() -> None:
    with pytest.raises(DataError, match="token 1 is <task:text>"):
        Grammar(VOCABULARY, "image").start(unconditional_prompt("text", VOCABULARY))
    with pytest.raises(DataError, match="1 inputs"):
        prompt("text", [1], [Span("text", [1])], VOCABULARY)
