"""How near a sentence is to its references: the field's measures, by the field's libraries, per sentence.

BLEU counts as sacrebleu does (its own splitting into words). METEOR, CIDEr and the word error rate see words without
case and punctuation; ROUGE sees its own, stemmed.
"""

import logging
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any

import numpy as np

from neuroleon.evaluation.corpus import Statistic

MAX_ORDER = 4
ROUGE = ("rouge1", "rouge2", "rougeL")


def words(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.findall(r"\w+", text.casefold())


def bleu_counts(sentence: str, references: Sequence[str]) -> np.ndarray:
    """What BLEU sums over a corpus: matches of order 1 to 4, n-grams of order 1 to 4, length, nearest reference length.

    int64 (10,).
    """
    score = _bleu().sentence_score(sentence, list(references))
    return np.array([*score.counts, *score.totals, score.sys_len, score.ref_len], dtype=np.int64)


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    logging.getLogger("sacrebleu").setLevel(logging.ERROR)  # advises another BLEU for single sentences
    return BLEU()


def bleu_signature(references: Sequence[Sequence[str]]) -> str:
    """sacrebleu's signature of the settings that `bleu_counts` and `corpus_bleu` have, over these references."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU()
    bleu.corpus_score([""] * len(references), list(zip_longest(*references)))
    return str(bleu.get_signature())


def corpus_bleu(order: int) -> Statistic:
    """Corpus BLEU of n-grams up to `order`, 0 to 100, of the rows that `bleu_counts` gives."""

    def statistic(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        sums, rows = np.unique(weights @ values, axis=0, return_inverse=True)
        return np.array([_bleu_of(row.tolist(), order) for row in sums])[rows]

    return statistic


def _bleu_of(sums: list[int], order: int) -> float:
    counts, totals, (n_said, n_wanted) = sums[:order], sums[MAX_ORDER:][:order], sums[2 * MAX_ORDER :]
    score = _bleu().compute_bleu(counts, totals, n_said, n_wanted, smooth_method="exp", max_ngram_order=order)
    return float(score.score)


@cache
def _rouge(names: tuple[str, ...]) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(names), use_stemmer=True)


def rouge(sentence: str, references: Sequence[str]) -> tuple[float, ...]:
    """F of ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004), 0 to 1, each with the best of the references."""
    scores = _rouge(ROUGE).score_multi(list(references), sentence)
    return tuple(scores[name].fmeasure for name in ROUGE)


def rouge1(sentence: str, references: Sequence[str]) -> float:
    """F of ROUGE-1 with the best of the references."""
    return float(_rouge(ROUGE[:1]).score_multi(list(references), sentence)["rouge1"].fmeasure)


class _NoSynonyms:
    """Stands for WordNet, whose data no package carries."""

    def synsets(self, word: str) -> list[Any]:
        return []


def meteor(sentence: str, references: Sequence[str]) -> float:
    """METEOR (Lavie and Agarwal 2007) with exact and stem matches only, 0 to 1, with the best of the references."""
    from nltk.translate.meteor_score import meteor_score

    return float(meteor_score([words(r) for r in references], words(sentence), wordnet=_NoSynonyms()))


def word_errors(sentence: str, references: Sequence[str]) -> tuple[int, int]:
    """Words wrong, left out or too many, and words wanted, of the reference with the least of the first per second."""
    from nltk import edit_distance

    said = words(sentence)
    pairs = [(int(edit_distance(wanted, said)), max(1, len(wanted))) for wanted in map(words, references)]
    return min(pairs, key=lambda pair: (pair[0] / pair[1], pair))


def cider(sentences: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """CIDEr (Vedantam et al. 2015) of each sentence (n,), 0 to 10; how rare an n-gram is, all `references` say.

    Raises:
        ModuleNotFoundError: pycocoevalcap is not installed.
    """
    from pycocoevalcap.cider.cider import Cider

    said = {i: [" ".join(words(sentence))] for i, sentence in enumerate(sentences)}
    wanted = {i: [" ".join(words(text)) for text in texts] for i, texts in enumerate(references)}
    return np.asarray(Cider().compute_score(wanted, said)[1])


def each(
    measure: Callable[[str, Sequence[str]], Any], sentences: Sequence[str], references: Sequence[Sequence[str]]
) -> np.ndarray:
    """`measure` of each sentence and its references, (n,) or (n, k); the same pair is measured once."""
    pairs = [(sentence, tuple(texts)) for sentence, texts in zip(sentences, references, strict=True)]
    known = {pair: measure(*pair) for pair in dict.fromkeys(pairs)}
    return np.array([known[pair] for pair in pairs])
