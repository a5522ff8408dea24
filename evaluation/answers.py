"""The three tasks: from a model's answers and likelihoods to numbers, each under every condition."""

from collections.abc import Callable, Sequence

import numpy as np

from neuroleon.decoding.sampling import PICTURE, Sampling
from neuroleon.evaluation.feed import Feed
from neuroleon.evaluation.metrics import match_label, nearest_picture, parse_sentence
from neuroleon.evaluation.results import Shown, TaskResult
from neuroleon.evaluation.stats import Comparison, compare
from neuroleon.evaluation.trials import TrialSet, balanced
from neuroleon.tokenizers.document import Span

GREEDY = Sampling(temperature=0.0)
SCORED_PICTURES = 40  # a picture is tens to hundreds of ids: more candidates than this are drawn from, and it is said
SHOWN = 12

Values = dict[str, np.ndarray]  # per condition, one number per trial
Bits = dict[str, list[np.ndarray]]  # per condition and trial, one number per answer


class _Table:
    """Collects comparisons over the trials `indices` of one set."""

    def __init__(self, trials: TrialSet, indices: Sequence[int], seed: int) -> None:
        self._clusters, self._seed = trials.clusters[list(indices)], seed
        self._answers = np.array([trials.trials[i].answer for i in indices], dtype=object)
        self._majority = trials.majority
        self.rows: list[Comparison] = []

    def right(self, metric: str, given: dict[str, list[str | None]], n_answers: int) -> None:
        """Share of trials whose given answer is the true one, beside the constant answer."""
        values = {c: (np.array(g, dtype=object) == self._answers).astype(float) for c, g in given.items()}
        if self._majority is not None:
            values["constant"] = (self._answers == self._majority).astype(float)
        self._add(metric, "share", values, 1 / n_answers)

    def bits(self, metric: str, values: Values) -> None:
        """log2 p of the true target, which has no chance level: its probability is among all that could be said."""
        self._add(metric, "bits", values, None)

    def bits_among(self, metric: str, bits: Bits, places: Sequence[int]) -> None:
        """log2 p of the true answer among a closed set of answers, one bits row per trial; `places` says which is true.

        Chance is what the best constant distribution scores: minus the entropy of the true answers. What is above it is
        information that the EEG surely carries (a lower bound of the mutual information, Barber and Agakov 2003).
        """
        values = {
            c: np.array([row[k] - np.logaddexp2.reduce(row) for row, k in zip(rows, places, strict=True)])
            for c, rows in bits.items()
        }
        share = np.bincount(places) / len(places)
        self._add(metric, "bits", values, float(np.sum(share[share > 0] * np.log2(share[share > 0]))))

    def _add(self, metric: str, unit: str, values: Values, chance: float | None) -> None:
        self.rows.append(compare(metric, unit, values, self._clusters, chance=chance, seed=self._seed))


def _share(what: str, given: dict[str, list[str | None]]) -> str:
    """Counts answers that name nothing (counted as wrong), and how many different answers there are."""
    parts = [f"{c} {np.mean([g is None for g in answers]):.1%}" for c, answers in given.items()]
    return f"{what} (counted as wrong): {', '.join(parts)}."


def _distinct(texts: dict[str, list[str]]) -> str:
    parts = [f"{c} {len(set(answers))} of {len(answers)}" for c, answers in texts.items()]
    return f"Different answers: {', '.join(parts)}."


def _most_likely(bits: Bits, answers: Sequence[str]) -> dict[str, list[str | None]]:
    return {c: [answers[int(np.argmax(row))] for row in rows] for c, rows in bits.items()}


def _texts(feed: Feed, spans: dict[str, list[Span]]) -> dict[str, list[str]]:
    return {c: feed.model.text.decode([span.ids_local.tolist() for span in found]) for c, found in spans.items()}


def _text_spans(feed: Feed, texts: Sequence[str]) -> list[Span]:
    return [Span("text", np.array(ids)) for ids in feed.model.text.encode(list(texts))]


def eeg2label(feed: Feed, trials: TrialSet, seed: int) -> TaskResult:
    """Accuracy of the generated label and of the likeliest of the set's labels, and the bits of the true one."""
    metas = [trial.meta for trial in trials.trials]
    indices = [i for i, meta in enumerate(metas) if meta.get("label") is not None and meta.get("question")]
    if not indices or len(trials.label_texts) < 2:
        return TaskResult(task="eeg2label", remarks=("Left out: the set has no question, or fewer than two labels.",))
    labels = list(trials.label_texts)
    generated = _texts(feed, feed.generate("eeg2label", indices, GREEDY))
    given = {c: [match_label(text, trials.label_texts) for text in texts] for c, texts in generated.items()}
    spans = _text_spans(feed, list(trials.label_texts.values()))
    bits = feed.bits("eeg2label", indices, [spans] * len(indices))
    true = [labels.index(str(trials.trials[i].meta["label"])) for i in indices]
    table = _Table(trials, indices, seed)
    table.right("accuracy, generated label", given, len(labels))
    table.right("accuracy, likeliest label", _most_likely(bits, labels), len(labels))
    table.bits(
        "log2 p of the true label", {c: np.array([r[k] for r, k in zip(b, true, strict=True)]) for c, b in bits.items()}
    )
    table.bits_among("log2 p of the true label among the set's", bits, true)
    remarks = (_share("Answers that are no label of the set", given), _distinct(generated))
    return TaskResult(task="eeg2label", comparisons=tuple(table.rows), remarks=remarks)


def eeg2text(feed: Feed, trials: TrialSet, seed: int) -> TaskResult:
    """Accuracy of the label that the free-running sentence names, and the bits of the true sentence."""
    indices = [i for i, trial in enumerate(trials.trials) if trial.meta.get("texts")]
    if not indices:
        return TaskResult(task="eeg2text", remarks=("Left out: the set has no sentences.",))
    sentences = _text_spans(feed, [trials.trials[i].meta["texts"][0] for i in indices])
    bits = feed.bits("eeg2text", indices, [[span] for span in sentences])
    table = _Table(trials, indices, seed)
    remarks = ["The sentence whose bits are counted is the first of the trial's."]
    labelled = [i for i in indices if trials.trials[i].meta.get("label") is not None]
    if labelled and len(trials.label_texts) > 1:
        generated = _texts(feed, feed.generate("eeg2text", labelled, GREEDY))
        given = {
            c: [parse_sentence(text, trials.wordings, trials.label_texts) for text in texts]
            for c, texts in generated.items()
        }
        accuracy = _Table(trials, labelled, seed)
        accuracy.right("accuracy, label named by the generated sentence", given, len(trials.label_texts))
        table.rows += accuracy.rows
        example = ", ".join(f"{c}: “{texts[0]}”" for c, texts in generated.items())
        remarks += [_share("Sentences that name no label, or several", given), _distinct(generated)]
        remarks.append(f"First trial, “{trials.trials[labelled[0]].meta['texts'][0]}”, gives {example}.")
    table.bits("log2 p of the true sentence", {c: np.array([row[0] for row in rows]) for c, rows in bits.items()})
    return TaskResult(task="eeg2text", comparisons=tuple(table.rows), remarks=tuple(remarks))


def eeg2image(feed: Feed, trials: TrialSet, seed: int) -> TaskResult:
    """Top-1 of the generated picture among the split's pictures, by pixels and by likelihood, and bits of the true one.

    Of a class with several photographs any one counts as right.
    """
    answers = [answer for answer, _ in trials.pictures.values()]
    indices = [i for i, trial in enumerate(trials.trials) if trial.picture is not None and trial.answer in answers]
    if not indices or len(trials.pictures) < 2:
        return TaskResult(task="eeg2image", remarks=("Left out: the split has no pictures, or only one.",))
    pixels = np.stack([picture for _, picture in trials.pictures.values()])
    n_answers = len(set(answers))
    drawn = {c: _pictures(feed, spans) for c, spans in feed.generate("eeg2image", indices, PICTURE).items()}
    given: dict[str, list[str | None]] = {
        c: [answers[nearest_picture(picture, pixels)] for picture in found] for c, found in drawn.items()
    }
    scored = balanced(answers, SCORED_PICTURES, seed, trials.recipe, "scored pictures")
    candidates = _image_spans(feed, pixels[scored])
    targets = _image_spans(
        feed, np.stack([picture for i in indices if (picture := trials.trials[i].picture) is not None])
    )
    bits = feed.bits("eeg2image", indices, [[target, *candidates] for target in targets])
    others = {c: [row[1:] for row in rows] for c, rows in bits.items()}
    lift = {c: [row - none for row, none in zip(others[c], others["none"], strict=True)] for c in others if c != "none"}
    names = [answers[k] for k in scored]
    kept = [k for k, i in enumerate(indices) if trials.trials[i].answer in names]  # the others could not be right
    table = _Table(trials, indices, seed)
    table.right("top-1, generated picture", given, n_answers)
    if len(np.unique(trials.clusters[[indices[k] for k in kept]])) > 1:
        closed = _Table(trials, [indices[k] for k in kept], seed)
        for metric, rows in (("top-1, likeliest picture", others), ("top-1, picture made likelier", lift)):
            best = _most_likely({c: [found[k] for k in kept] for c, found in rows.items()}, names)
            closed.right(metric, best, len(set(names)))
        table.rows += closed.rows
    table.bits("log2 p of the true picture", {c: np.array([row[0] for row in rows]) for c, rows in bits.items()})
    if len(scored) == len(pixels) == n_answers:
        places = [names.index(str(trials.trials[i].answer)) for i in indices]
        table.bits_among("log2 p of the true picture among the set's", others, places)
    remarks = [
        f"{len(pixels)} pictures of {n_answers} answers; the nearest in pixels is what a drawing counts as.",
        f"Likelihoods are over {len(scored)} of them and the {len(kept)} windows whose answer is among these; "
        "“made likelier”: by log2 p(picture | EEG) - log2 p(picture).",
    ]
    chosen = balanced([trials.trials[i].answer for i in indices], SHOWN, seed, trials.recipe, "sheet")
    shown = [_shown(trials, indices[place], place, drawn, given) for place in chosen]
    return TaskResult(task="eeg2image", comparisons=tuple(table.rows), remarks=tuple(remarks), shown=shown)


def _pictures(feed: Feed, spans: Sequence[Span]) -> np.ndarray:
    return np.asarray(feed.model.image.decode(np.stack([span.ids_local for span in spans])))


def _image_spans(feed: Feed, pictures: np.ndarray) -> list[Span]:
    return [Span("image", ids) for ids in feed.model.image.encode(pictures)]


def _shown(
    trials: TrialSet, i: int, place: int, drawn: dict[str, np.ndarray], given: dict[str, list[str | None]]
) -> Shown:
    trial = trials.trials[i]
    assert trial.picture is not None, "only trials with a picture are drawn"
    outputs: dict[str, np.ndarray | str] = {c: drawn[c][place] for c in ("real", "shuffled")}
    titles = {"seen": str(trial.answer)} | {c: str(given[c][place]) for c in outputs}
    return Shown(window=trial.window, target=trial.picture, outputs=outputs, titles=titles)


TASKS: dict[str, Callable[[Feed, TrialSet, int], TaskResult]] = {
    "eeg2label": eeg2label,
    "eeg2text": eeg2text,
    "eeg2image": eeg2image,
}
