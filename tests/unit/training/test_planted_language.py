"""A language whose entropy is known: training comes down to it, holes included, and guidance steers as it says.

A document of the task `image` names one of four classes in its instruction and has a picture of four ids, each place
with an alphabet of its own. Two pairs: the first of a pair likes the class, the second likes the first's successor. So
what is likeliest in a hole depends on the class and on the neighbour to its left or to its right.
"""

import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuroleon.common.seed import generator
from neuroleon.data_pipeline.causal_mask import Masking, rotate_spans
from neuroleon.data_pipeline.packing import LossWeights, pack
from neuroleon.decoding.engine import Engine, Prompt
from neuroleon.decoding.sampling import Sampling
from neuroleon.model.config import ModelConfig
from neuroleon.model.loss import token_loss
from neuroleon.model.transformer import Neuroleon
from neuroleon.tokenizers.document import Document, Rendered, Span, parse, prompt, render, unconditional_prompt
from neuroleon.tokenizers.vocabulary import EOSS, MASK_0, Vocabulary

CLASSES, SYMBOLS, PLACES = 4, 4, 4
VOCABULARY = Vocabulary.of(
    text=SimpleNamespace(size=CLASSES, fingerprint="t"),
    image=SimpleNamespace(size=SYMBOLS * PLACES, fingerprint="i", tokens=PLACES),
    eeg=SimpleNamespace(size=16, fingerprint="e", tokens_per_step=4),
)
FIRST = np.full((CLASSES, SYMBOLS), 0.4 / 3) + (0.6 - 0.4 / 3) * np.eye(4)
NEXT = np.full((SYMBOLS, SYMBOLS), 0.05) + (0.85 - 0.05) * np.roll(np.eye(4), 1, axis=1)
PAIR = FIRST[:, :, None] * NEXT  # (class, first, second)
STEPS, DOCUMENTS, WEIGHTS = 700, 64, LossWeights(image=1.0, special=0.1, only_outputs=True)


def probability(of_class: int, symbols: np.ndarray, place: int, known: set[int]) -> float:
    """Of the symbol at a place, given those at the places that are known."""
    pair = PAIR[of_class] if place % 2 == 0 else PAIR[of_class].T
    other = place ^ 1
    if other in known:
        return float(pair[symbols[place], symbols[other]] / pair[:, symbols[other]].sum())
    return float(pair[symbols[place]].sum())


def document(rng: np.random.Generator, dropout: float = 0.0) -> tuple[int, np.ndarray, Rendered]:
    of_class = int(rng.integers(CLASSES))
    symbols = np.zeros(PLACES, np.int64)
    for i in range(0, PLACES, 2):
        symbols[i] = rng.choice(SYMBOLS, p=FIRST[of_class])
        symbols[i + 1] = rng.choice(SYMBOLS, p=NEXT[symbols[i]])
    made = Document("image", [of_class], (Span("image", symbols + SYMBOLS * np.arange(PLACES)),))
    return of_class, symbols, render(made.without_condition() if rng.random() < dropout else made, VOCABULARY)


def forward(model: Neuroleon, documents: list[Rendered]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    packed = pack(documents, 64, VOCABULARY, WEIGHTS)
    batch = {name: torch.from_numpy(array) for name, array in vars(packed).items()}
    return model(batch["ids"], batch["positions"], batch["documents"]), batch


@pytest.fixture(scope="module")
def model() -> Neuroleon:
    """Trained on documents of which four in five have holes and one in ten has no condition."""
    torch.manual_seed(0)
    config = ModelConfig(dim=64, depth=2, heads=4, kv_heads=4, dim_head=16, max_length=64)
    made, rng = Neuroleon(config, VOCABULARY.size, {}), generator("planted")
    optimizer = torch.optim.AdamW(made.parameters(), lr=1e-2, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS, pct_start=0.1)
    masking = Masking(probability=0.8)
    for _ in range(STEPS):
        documents = [rotate_spans(document(rng, dropout=0.1)[2], rng, VOCABULARY, masking) for _ in range(DOCUMENTS)]
        logits, batch = forward(made, documents)
        loss = token_loss(logits, batch["targets"], batch["weights"], batch["kinds"])["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return made.eval()


def test_the_loss_comes_down_to_the_entropy_in_documents_and_in_holes(model: Neuroleon) -> None:
    rng = generator("planted", "asked")
    asked = [document(rng) for _ in range(2000)]
    masked = [rotate_spans(d, rng, VOCABULARY, Masking(probability=0.5)) for _, _, d in asked]
    with torch.inference_mode():
        logits, batch = forward(model, masked)
    nats = -logits.log_softmax(dim=-1).gather(-1, batch["targets"][..., None])[..., 0].numpy()
    found, least = Counter[str](), Counter[str]()
    for number, ((of_class, symbols, _), rendered) in enumerate(zip(asked, masked, strict=True), start=1):
        row, column = np.argwhere(batch["documents"].numpy() == number)[0]
        paid = nats[row, column : column + len(rendered) - 1]
        ids = rendered.ids[1:]
        places = np.flatnonzero((ids >= VOCABULARY.image.start) & (ids < VOCABULARY.image.stop))
        tail = np.flatnonzero(ids == MASK_0)[1] if EOSS in ids else len(ids)
        kept = {int(ids[k] - VOCABULARY.image.start) // SYMBOLS for k in places if k < tail}
        known = kept if EOSS in ids else set[int]()
        for k in places:
            place = int(ids[k] - VOCABULARY.image.start) // SYMBOLS
            if EOSS in ids and k < tail:
                continue  # of what stands before a hole, the model cannot know yet what the hole takes away
            kind = "hole" if EOSS in ids else "document"
            found[kind] += float(paid[k])
            least[kind] -= math.log(probability(of_class, symbols, place, known))
            known = known | {place}
    assert found["document"] == pytest.approx(least["document"], rel=0.05)
    assert found["hole"] == pytest.approx(least["hole"], rel=0.05)


def drawn(model: Neuroleon, settings: Sampling, of_class: int, n: int) -> np.ndarray:
    """Shares of the symbols that `n` pictures of a class begin with; an id of another place's alphabet is none."""
    asked = Prompt(
        ids=prompt("image", [of_class], [], VOCABULARY), unconditional=unconditional_prompt("image", VOCABULARY)
    )
    documents = Engine(model, VOCABULARY).generate([asked] * n, settings, [("planted", i) for i in range(n)])
    firsts = [int(parse(ids, VOCABULARY).spans[0].ids_local[0]) for ids in documents]
    return np.bincount(firsts, minlength=SYMBOLS)[:SYMBOLS] / n


@pytest.mark.parametrize("guidance", [1.0, 2.0, 0.5])
def test_guidance_draws_from_the_distribution_of_its_formula(model: Neuroleon, guidance: float) -> None:
    """u * (c / u)^scale, where the classes are alike without the condition: u is uniform."""
    expected = FIRST[1] ** guidance / (FIRST[1] ** guidance).sum()
    shares = drawn(model, Sampling(guidance=guidance), of_class=1, n=1000)
    assert np.abs(shares - expected).max() < 0.06  # four standard errors of a share of 1,000


def test_contrast_draws_from_the_distribution_of_its_formula(model: Neuroleon) -> None:
    """c / u among the ids that are at least alpha times as likely as the k-th: here all, then the likeliest alone."""
    shares = drawn(model, Sampling(contrast_k=4, contrast_alpha=0.5), of_class=2, n=1000)
    assert np.abs(shares - FIRST[2]).max() < 0.06
    alone = drawn(model, Sampling(contrast_k=1, contrast_alpha=0.5), of_class=2, n=100)
    assert alone.tolist() == [0, 0, 1, 0]
