"""Sentences and their references: the numbers are those of the field's own libraries."""

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from neuroleon.evaluation import text_metrics

SAID = ["The letter O is being watched.", "the cat", "", "The person looks at A now"]
WANTED = [
    ["The person looks at the letter O.", "The letter O is being watched."],
    ["The cat sat on the mat."],
    ["nothing here"],
    ["The person looks at the letter A.", "Someone sees A"],
]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_corpus_bleu_is_sacrebleus(order: int) -> None:
    counts = text_metrics.each(text_metrics.bleu_counts, SAID, WANTED)
    columns = [[texts[k] if k < len(texts) else None for texts in WANTED] for k in range(2)]
    wanted = BLEU(max_ngram_order=order).corpus_score(SAID, columns).score
    twice_the_first = BLEU(max_ngram_order=order).corpus_score(SAID[:1] * 2, [c[:1] * 2 for c in columns]).score
    found = text_metrics.corpus_bleu(order)(counts, np.array([[1, 1, 1, 1], [2, 0, 0, 0]]))
    np.testing.assert_allclose(found, [wanted, twice_the_first])


def test_the_signature_tells_version_and_references() -> None:
    signature = text_metrics.bleu_signature(WANTED)
    assert signature.startswith("nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert text_metrics.bleu_signature(WANTED[1:3]).startswith("nrefs:1|")


def test_rouge_golden() -> None:
    """Two of two and of six words: precision 1, recall 1/3; the best reference counts, and words are stemmed."""
    one, two, longest = text_metrics.rouge("the cat", ["The cat sat on the mat.", "dogs"])
    assert (one, two, longest) == pytest.approx((0.5, 1 / 3, 0.5))
    assert text_metrics.rouge("It looked", ["it looks"]) == (1.0, 1.0, 1.0)
    assert text_metrics.rouge("", ["it looks"]) == (0.0, 0.0, 0.0)
    assert text_metrics.rouge1("the cat", ["The cat sat on the mat.", "dogs"]) == pytest.approx(0.5)


def test_meteor_golden() -> None:
    """0.6944 is the value of nltk's documentation, where no synonym matches; a synonym counts for nothing here."""
    said = "It is a guide to action which ensures that the military always obeys the commands of the party"
    wanted = "It is a guide to action that ensures that the military will forever heed Party commands"
    assert text_metrics.meteor(said, [wanted, "x"]) == pytest.approx(0.6944, abs=1e-4)
    assert text_metrics.meteor("a huge dog", ["a large dog"]) < 0.7
    assert text_metrics.meteor("", ["a large dog"]) == 0.0


@pytest.mark.parametrize(
    ("said", "wanted", "errors"),
    [
        ("the cat", ["The cat sat on the mat."], (4, 6)),
        ("a b c", ["a c", "a b c d e f"], (1, 2)),  # one of two beats three of six? no: it is the same; fewer words
        ("", ["two words"], (2, 2)),
        ("A, b!", ["a B"], (0, 2)),
        ("anything", ["..."], (1, 1)),
    ],
)
def test_word_errors_golden(said: str, wanted: list[str], errors: tuple[int, int]) -> None:
    assert text_metrics.word_errors(said, wanted) == errors


def test_cider_golden() -> None:
    """An n-gram of all references weighs nothing; ten is the sentence of the reference itself."""
    pytest.importorskip("pycocoevalcap")
    wanted = [["a dog on the grass"], ["two red cars in town"], ["a dog sleeps here now"]]
    found = text_metrics.cider(["a dog on the grass", "a dog", "x y"], wanted)
    assert found[0] == pytest.approx(10.0) and found[2] == 0.0
    assert text_metrics.cider(["say it", "say it"], [["say it"], ["say it"]]).tolist() == [0.0, 0.0]


def test_equal_pairs_are_measured_once() -> None:
    calls = []

    def measure(sentence: str, references: tuple[str, ...]) -> int:
        calls.append(sentence)
        return len(sentence)

    assert text_metrics.each(measure, ["a", "bb", "a"], [["x"], ["x"], ["x"]]).tolist() == [1, 2, 1]
    assert calls == ["a", "bb"]
