"""eeg2label: the label that the model says, the label that it finds likeliest, and how sure it is."""

import numpy as np

from neuroleon.decoding.sampling import Sampling
from neuroleon.evaluation.asked import Asked
from neuroleon.evaluation.calibration import confusion, reliability
from neuroleon.evaluation.metrics import match_label
from neuroleon.evaluation.results import TaskResult
from neuroleon.evaluation.rows import LABEL_BITS, Rows, different, likeliest, unnamed

GREEDY = Sampling(temperature=0.0)


def eeg2label(asked: Asked) -> TaskResult:
    """Accuracy of the generated label and of the likeliest of the set's labels, n-way, and the bits of the true one."""
    trials = asked.trials
    metas = [trial.meta for trial in trials.trials]
    indices = [i for i, meta in enumerate(metas) if meta.get("label") is not None and meta.get("question")]
    if asked.n_trials(indices) < 2 or len(trials.label_texts) < 2:
        reason = "Left out: the set has no question, or fewer than two labels or trials with one."
        return TaskResult(task="eeg2label", remarks=(reason,))
    labels = list(trials.label_texts)
    true = [str(metas[i]["label"]) for i in indices]
    places = np.array([labels.index(label) for label in true])
    generated = asked.texts(asked.feed.generate("eeg2label", indices, GREEDY))
    given = {c: [match_label(text, trials.label_texts) for text in texts] for c, texts in generated.items()}
    spans = asked.text_spans(list(trials.label_texts.values()))
    bits = {c: np.stack(b) for c, b in asked.feed.bits("eeg2label", indices, [spans] * len(indices)).items()}
    best = likeliest(bits, labels)
    rows = Rows(trials, indices, asked.seed)
    rows.right("accuracy, generated label", given, labels)
    rows.balanced("balanced accuracy, generated label", given, len(labels))
    rows.right("accuracy, likeliest label", best, labels)
    rows.balanced("balanced accuracy, likeliest label", best, len(labels))
    rows.identification("label by likelihood", bits, places)
    own = np.arange(len(places))
    rows.each("log2 p of the true label", "bits", {c: b[own, places] for c, b in bits.items()}, None)
    rows.bits_among(LABEL_BITS, bits, places)
    sure = reliability("likeliest label", bits, places)
    errors = ", ".join(f"{c} {error:.3f}" for c, error in sure.error.items())
    return rows.result(
        "eeg2label",
        remarks=(
            unnamed("Answers that are no label of the set", given),
            different("Different answers", generated),
            f"Expected calibration error of the likeliest label (10 bins): {errors}.",
        ),
        confusions=(
            confusion("generated label", true, given, labels),
            confusion("likeliest label", true, best, labels),
        ),
        reliability=sure,
    )
