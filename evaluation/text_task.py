"""eeg2text: free-running sentences beside the trial's own, and how likely the model finds those."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from neuroleon.evaluation import text_metrics
from neuroleon.evaluation.asked import Asked
from neuroleon.evaluation.corpus import ratio
from neuroleon.evaluation.label_task import GREEDY
from neuroleon.evaluation.metrics import parse_sentence
from neuroleon.evaluation.results import Shown, TaskResult
from neuroleon.evaluation.rows import Rows, different, unnamed
from neuroleon.evaluation.trials import TrialSet, balanced

SHOWN = 12
SCORED_CAPTIONS = 40  # more captions than this are drawn from, and it is said


def eeg2text(asked: Asked) -> TaskResult:
    """Accuracy of the label that the sentence names, the field's text measures, caption identification, and bits."""
    trials = asked.trials
    indices = [i for i, trial in enumerate(trials.trials) if trial.meta.get("texts")]
    if asked.n_trials(indices) < 2:
        return TaskResult(task="eeg2text", remarks=("Left out: fewer than two trials have sentences.",))
    said = asked.texts(asked.feed.generate("eeg2text", indices, GREEDY))
    remarks = ["Answers are compared with all sentences of the trial; the one whose bits are counted is its first."]
    rows = Rows(trials, indices, asked.seed)
    if len(trials.label_texts) > 1:
        remarks += _labels(asked, rows, indices, said)
    if trials.constant is not None:
        said["constant"] = [trials.constant] * len(indices)
        remarks.append("The constant answer is the commonest sentence of the commonest answer of the training split.")
    if "oracle" in said:
        remarks.append("The oracle is the sentence of another trial with the same answer.")
    references = [list(trials.trials[i].meta["texts"]) for i in indices]
    remarks += _likeness(rows, said, references)
    remarks += _identification(asked, rows, indices, said)
    chosen = balanced([trials.trials[i].answer for i in indices], SHOWN, asked.seed, trials.recipe, "sheet")
    shown = [_shown(trials, indices[place], {c: texts[place] for c, texts in said.items()}) for place in chosen]
    return rows.result("eeg2text", remarks=tuple(remarks), shown=shown)


def _labels(asked: Asked, rows: Rows, indices: Sequence[int], said: dict[str, list[str]]) -> list[str]:
    """Rows of the labels that the sentences name, where all trials have one; and remarks."""
    trials = asked.trials
    labelled = [place for place, i in enumerate(indices) if trials.trials[i].meta.get("label") is not None]
    if asked.n_trials([indices[place] for place in labelled]) < 2:
        return []
    given = {
        c: [parse_sentence(texts[place], trials.wordings, trials.label_texts) for place in labelled]
        for c, texts in said.items()
    }
    named = Rows(trials, [indices[place] for place in labelled], asked.seed)
    named.right("accuracy, label named by the generated sentence", given, list(trials.label_texts))
    rows.take(named)
    return [unnamed("Sentences that name no label, or several", given)]


def _likeness(rows: Rows, said: dict[str, list[str]], references: Sequence[Sequence[str]]) -> list[str]:
    """Rows of the field's measures of a sentence and its references; and what must be known of them."""
    counts = {c: text_metrics.each(text_metrics.bleu_counts, texts, references) for c, texts in said.items()}
    for order in range(1, text_metrics.MAX_ORDER + 1):
        rows.corpus(f"corpus BLEU-{order}", "of 100", counts, text_metrics.corpus_bleu(order))
    rouge = {c: text_metrics.each(text_metrics.rouge, texts, references) for c, texts in said.items()}
    for k, name in enumerate(text_metrics.ROUGE):
        values = {c: scores[:, k] for c, scores in rouge.items()}
        rows.each(f"{name.replace('rouge', 'ROUGE-')}, F", "score", values, None)
    meteor = {c: text_metrics.each(text_metrics.meteor, texts, references) for c, texts in said.items()}
    rows.each("METEOR, exact and stem matches only", "score", meteor, None)
    remarks = [
        f"BLEU: sacrebleu, {text_metrics.bleu_signature(references)}; BLEU-n has n-grams up to n. BLEU and the word "
        "error rate are of the whole corpus, with bootstrap and exchange over trials, the others means of sentences.",
        "METEOR knows no synonyms here (WordNet's data comes with no package), so it is below published numbers.",
    ]
    if find_spec("pycocoevalcap") is not None:
        rows.each("CIDEr", "of 10", {c: text_metrics.cider(texts, references) for c, texts in said.items()}, None)
    else:
        remarks.append("CIDEr is left out: pip install neuroleon[evaluation] brings what it needs.")
    errors = {c: text_metrics.each(text_metrics.word_errors, texts, references) for c, texts in said.items()}
    rows.corpus("word error rate (lower is better)", "errors per word", errors, ratio, better="lower")
    remarks.append(different("Different sentences", said))
    return remarks


@dataclass(frozen=True, kw_only=True)
class _Captions:
    """What the trials are described with: each different set of sentences once, and whose answer it is.

    Whole sets are compared with whole sets, and first sentences with first sentences: a trial with more sentences, or
    of another wording, would else be easier to be near to.
    """

    texts: list[tuple[str, ...]]
    answers: list[str]
    own: np.ndarray  # (n_trials,) the place of each trial's

    @classmethod
    def of(cls, trials: TrialSet, indices: Sequence[int]) -> "_Captions":
        chosen = [trials.trials[i] for i in indices]
        sets = [tuple(trial.meta["texts"]) for trial in chosen]  # without a label or picture each is its own class
        pairs = [(str(texts if t.answer is None else t.answer), texts) for t, texts in zip(chosen, sets, strict=True)]
        different = list(dict.fromkeys(pairs))
        return cls(
            texts=[texts for _, texts in different],
            answers=[answer for answer, _ in different],
            own=np.array([different.index(pair) for pair in pairs]),
        )

    def distractors(self, scored: Sequence[int], *, same_answer: bool) -> np.ndarray:
        """Which of the `scored` captions may be put beside each trial's, (n_trials, n_scored)."""
        answers = np.array(self.answers, dtype=object)
        same = answers[self.own][:, None] == answers[list(scored)][None]
        other_text = np.array([[self.texts[k] != self.texts[j] for j in scored] for k in self.own.tolist()])
        return np.asarray((same == same_answer) & other_text)


def _identification(asked: Asked, rows: Rows, indices: Sequence[int], said: dict[str, list[str]]) -> list[str]:
    """Rows: is the trial's caption nearer, or likelier, than another one of another class, or of the same?"""
    captions = _Captions.of(asked.trials, indices)
    scored = balanced(captions.answers, SCORED_CAPTIONS, asked.seed, asked.trials.recipe, "scored captions")
    firsts = asked.text_spans([texts[0] for texts in captions.texts])
    candidates = [firsts[k] for k in scored]
    bits = asked.feed.bits("eeg2text", indices, [[firsts[k], *candidates] for k in captions.own.tolist()])
    likely = {c: np.stack(found) for c, found in bits.items()}
    near = {c: _nearness(texts, captions, scored) for c, texts in said.items()}
    remarks = [
        f"Caption identification: the mean over the other captions ({len(scored)} of {len(captions.texts)} are put "
        "beside); nearer: by ROUGE-1 of the generated sentence; likelier: by log2 p of the first sentence.",
    ]
    for what, same_answer in (("another class", False), ("the same class", True)):
        allowed = captions.distractors(scored, same_answer=same_answer)
        kept = np.flatnonzero(allowed.any(axis=1))
        closed = Rows(asked.trials, [indices[k] for k in kept.tolist()], asked.seed)
        if closed.n_trials < 2:
            remarks.append(f"Left out: 2-way caption identification against {what}, which has no other caption.")
            continue
        for how, scores in (("nearer", near), ("likelier", likely)):
            values = {c: _two_way(s[kept], allowed[kept]) for c, s in scores.items()}
            closed.each(f"2-way caption identification, {how} than of {what}", "share", values, 0.5)
        rows.take(closed)
    rows.each("log2 p of the true sentence", "bits", {c: found[:, 0] for c, found in likely.items()}, None)
    return remarks


def _nearness(texts: Sequence[str], captions: _Captions, scored: Sequence[int]) -> np.ndarray:
    """ROUGE-1 of each sentence with its own caption, then with each scored one: (n_trials, 1 + n_scored)."""
    own = text_metrics.each(text_metrics.rouge1, texts, [captions.texts[k] for k in captions.own.tolist()])
    others = [text_metrics.each(text_metrics.rouge1, texts, [captions.texts[k]] * len(texts)) for k in scored]
    return np.stack([own, *others], axis=1)


def _two_way(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Share of the allowed candidates that score below the first column, a tie counts half: (n_trials,)."""
    own, others = scores[:, :1], scores[:, 1:]
    won = (own > others) + (own == others) / 2
    return np.asarray((won * allowed).sum(axis=1) / allowed.sum(axis=1))


def _shown(trials: TrialSet, i: int, outputs: dict[str, str]) -> Shown:
    """The sentences of one trial, each with the label that it names, where the trial has one."""
    trial = trials.trials[i]
    kept: dict[str, np.ndarray | str] = {c: text for c, text in outputs.items() if c != "constant"}
    titles = {}
    if trial.meta.get("label") is not None:
        named = {c: parse_sentence(str(text), trials.wordings, trials.label_texts) for c, text in kept.items()}
        titles = {"seen": str(trial.answer)} | {c: str(label) for c, label in named.items()}
    return Shown(window=trial.window, target=trial.meta["texts"][0], outputs=kept, titles=titles)
