"""eeg2both: a sentence and then a picture in one answer; are they of the same thing?"""

import numpy as np

from neuroleon.evaluation.asked import Asked
from neuroleon.evaluation.metrics import nearest_picture, parse_sentence
from neuroleon.evaluation.results import TaskResult
from neuroleon.evaluation.rows import Given, Rows, unnamed
from neuroleon.tokenizers.document import Span, parse

Labels = list[str | None]


def eeg2both(asked: Asked) -> TaskResult:
    """Whether the label that the sentence names is that of the picture nearest to the drawing, and whether it is true.

    A model may agree with itself and be wrong, and two outputs that are both right agree as well: what the sentence
    adds to the picture is what their agreement has above that with the picture drawn for another trial.
    """
    trials = asked.trials
    labels = list(trials.label_texts)
    pictures = [(answer, picture) for answer, picture in trials.pictures.values() if answer in trials.label_texts]
    answers = [answer for answer, _ in pictures]
    indices = [i for i, t in enumerate(trials.trials) if t.meta.get("texts") and t.meta.get("label") in answers]
    if asked.n_trials(indices) < 2 or len(set(answers)) < 2:
        reason = "Left out: fewer than two labels, or trials, of this split have sentences and pictures."
        return TaskResult(task="eeg2both", remarks=(reason,))
    sentences, spans = _both(asked, asked.feed.generate("eeg2both", indices, asked.drawing))
    said = {c: [parse_sentence(t, trials.wordings, trials.label_texts) for t in ts] for c, ts in sentences.items()}
    candidates = np.stack([picture for _, picture in pictures])
    drawn: Given = {
        c: [answers[nearest_picture(picture, candidates)] for picture in found]
        for c, found in asked.pictures(spans).items()
    }
    rows = Rows(trials, indices, asked.seed)
    rows.right("accuracy, label named by the sentence", said, labels)
    rows.right("top-1, picture", drawn, answers)
    agree = {c: agreement(said[c], drawn[c]) for c in said}
    chance = chance_agreement(said["real"], drawn["real"])
    rows.each("sentence and picture agree", "share", agree, chance)
    clusters = trials.clusters[indices]
    beyond = {c: agree[c] - agreement_with_others(said[c], drawn[c], clusters) for c in said}
    rows.each("agreement beyond that with another trial's picture", "share", beyond, 0.0)
    remarks = (
        unnamed("Sentences that name no label, or several, and agree with nothing", said),
        f"Chance of agreement: {chance:.3f}, if the labels of real sentences and real pictures were independent. "
        "Sentence and picture are sampled in one pass, with the picture's sampling.",
    )
    return rows.result("eeg2both", remarks=remarks)


def _both(asked: Asked, last: dict[str, list[Span]]) -> tuple[dict[str, list[str]], dict[str, list[Span]]]:
    """Sentences and picture spans of each condition; `last` are the pictures, which the feed hands out.

    The sentences are in the documents that the engine made meanwhile, in the same order, an answer that is shared once.
    """
    vocabulary = asked.feed.model.vocabulary
    documents = [parse(ids, vocabulary).spans[-2:] for ids in asked.meter.documents]
    different = {id(span): span for spans in last.values() for span in spans}
    sentence: dict[int, Span] = {}
    for (key, picture), (text, image) in zip(different.items(), documents, strict=True):
        assert picture == image, "the feed's answers are in the order in which the engine made them"
        sentence[key] = text
    return asked.texts({c: [sentence[id(span)] for span in spans] for c, spans in last.items()}), last


def agreement(first: Labels, second: Labels) -> np.ndarray:
    """1 where both name the same label, else 0 (n,)."""
    return np.array([float(a is not None and a == b) for a, b in zip(first, second, strict=True)])


def chance_agreement(first: Labels, second: Labels) -> float:
    """Expected agreement of two independent answers with these frequencies of labels."""
    return sum(first.count(label) * second.count(label) for label in set(first) - {None}) / len(first) / len(second)


def agreement_with_others(first: Labels, second: Labels, clusters: np.ndarray) -> np.ndarray:
    """Expected agreement of each of `first` with one of `second` of another cluster, over all of these (n,)."""
    a, b = np.array(first, dtype=object), np.array(second, dtype=object)
    named = np.array([label is not None for label in first])
    same = (a[:, None] == b[None]) & named[:, None]
    other = clusters[:, None] != clusters[None]
    return np.asarray((same & other).sum(axis=1) / other.sum(axis=1))
