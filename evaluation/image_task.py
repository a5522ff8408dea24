"""eeg2image: the drawn picture beside the one that was seen, by pixels, by a network, and by likelihood."""

from collections.abc import Sequence

import numpy as np

from neuroleon.evaluation import picture_metrics
from neuroleon.evaluation.asked import Asked
from neuroleon.evaluation.identification import by_answer
from neuroleon.evaluation.metrics import correlations, nearest_picture
from neuroleon.evaluation.networks import HOW_TO_GET, Network
from neuroleon.evaluation.results import Shown, TaskResult
from neuroleon.evaluation.rows import PICTURE_BITS, Given, Rows, Values, likeliest
from neuroleon.evaluation.trials import TrialSet, balanced

SCORED_PICTURES = 40  # a picture is tens to hundreds of ids: more candidates than this are drawn from, and it is said
FID_DRAWS = 200  # each takes a singular value decomposition
SHOWN = 12


def eeg2image(asked: Asked) -> TaskResult:
    """The drawing among the split's pictures, its likeness to the one seen, the likeliest picture, and bits.

    Of a class with several photographs any one counts as right.
    """
    trials = asked.trials
    answers = [answer for answer, _ in trials.pictures.values()]
    indices = [i for i, trial in enumerate(trials.trials) if trial.picture is not None and trial.answer in answers]
    if asked.n_trials(indices) < 2 or len(trials.pictures) < 2:
        reason = "Left out: the split has fewer than two pictures, or fewer than two trials with one."
        return TaskResult(task="eeg2image", remarks=(reason,))
    candidates = np.stack([picture for _, picture in trials.pictures.values()])
    drawn = asked.pictures(asked.feed.generate("eeg2image", indices, asked.drawing))
    given: Given = {c: [answers[nearest_picture(p, candidates)] for p in found] for c, found in drawn.items()}
    rows = Rows(trials, indices, asked.seed)
    rows.right("top-1, generated picture", given, answers)
    remarks = [
        f"{len(candidates)} pictures of {len(set(answers))} answers; the nearest in pixels is what a drawing counts as."
        " Chance is that of a picture drawn at random: more for an answer of several pictures."
    ]
    compared = dict(drawn)
    if trials.majority in answers:
        compared["constant"] = np.stack([candidates[answers.index(str(trials.majority))]] * len(indices))
    remarks += _pixels(rows, compared, _seen(trials, indices))
    remarks += _features(rows, compared, trials, indices, asked.network)
    remarks += _likelihood(asked, rows, indices, candidates, answers)
    chosen = balanced([trials.trials[i].answer for i in indices], SHOWN, asked.seed, trials.recipe, "sheet")
    shown = [_shown(trials, indices[place], place, drawn, given) for place in chosen]
    return rows.result("eeg2image", remarks=tuple(remarks), shown=shown)


def _seen(trials: TrialSet, indices: Sequence[int]) -> np.ndarray:
    return np.stack([picture for i in indices if (picture := trials.trials[i].picture) is not None])


def _pixels(rows: Rows, drawn: dict[str, np.ndarray], seen: np.ndarray) -> list[str]:
    correlation = {c: picture_metrics.pixel_correlation(found, seen) for c, found in drawn.items()}
    rows.each("PixCorr, drawing and picture seen", "correlation", correlation, None)
    if min(seen.shape[1:3]) < picture_metrics.SSIM_WINDOW:
        return [f"SSIM is left out: its window has {picture_metrics.SSIM_WINDOW} pixels, more than the pictures have."]
    rows.each("SSIM", "score", {c: picture_metrics.ssim(found, seen) for c, found in drawn.items()}, None)
    return []


def _features(
    rows: Rows, drawn: dict[str, np.ndarray], trials: TrialSet, indices: Sequence[int], network: Network | None
) -> list[str]:
    """Rows of what a network sees: which picture a drawing is of, and how far all drawings are from all pictures."""
    if network is None:
        return [f"Identification on features, FID, KID and the inception score are left out: no network. {HOW_TO_GET}."]
    reference, _ = network.look(np.stack([picture for _, picture in trials.pictures.values()]))
    looks = {c: network.look(found) for c, found in drawn.items()}
    features = {c: found for c, (found, _) in looks.items()}
    similarity = {c: correlations(found, reference) for c, found in features.items()}
    _identify(rows, similarity, trials, indices)
    of = f"on {network.name}, to the {len(reference)} pictures (lower is better)"
    rows.corpus(
        f"FID {of}",
        "distance",
        features,
        picture_metrics.frechet_distance(reference),
        n_draws=FID_DRAWS,
        biased=True,
        better="lower",
    )
    rows.corpus(f"KID {of}", "distance", features, picture_metrics.kernel_distance(reference), better="lower")
    classes = {c: found for c, (_, found) in looks.items() if found is not None}
    if classes:
        rows.corpus(
            f"inception score on {network.name}",
            "classes",
            classes,
            picture_metrics.inception_score,
            biased=True,
            better="neither",
        )
    return [
        f"Network: {network.name}, sha256 {network.sha256}.",
        f"FID and KID: {len(indices)} drawings and {len(reference)} pictures. FID of so few is biased upwards, KID is "
        "not: prefer it, and compare either with the controls of its row only.",
    ]


def _identify(rows: Rows, similarity: Values, trials: TrialSet, indices: Sequence[int]) -> None:
    keys = list(trials.pictures)
    own = [str(trials.trials[i].meta.get("image_key")) for i in indices]
    if set(own) <= set(keys):
        places = np.array([keys.index(key) for key in own])
        two_way = {c: picture_metrics.two_way(s, places) for c, s in similarity.items()}
        rows.each("two-way identification on features", "share", two_way, 0.5)
    answers = [answer for answer, _ in trials.pictures.values()]
    best = {c: by_answer(s, answers) for c, s in similarity.items()}
    names = next(iter(best.values()))[1]
    places = np.array([names.index(str(trials.trials[i].answer)) for i in indices])
    scores = {c: found for c, (found, _) in best.items()}
    rows.identification("drawing by features", scores, places, _sizes(names, answers))


def _sizes(names: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """How many pictures each of `names` has among pictures with `answers` (n_names,)."""
    return np.array([answers.count(name) for name in names])


def _likelihood(asked: Asked, rows: Rows, indices: Sequence[int], pixels: np.ndarray, answers: list[str]) -> list[str]:
    """Rows of how likely the pictures are, without a drawing."""
    trials = asked.trials
    scored = balanced(answers, SCORED_PICTURES, asked.seed, trials.recipe, "scored pictures")
    candidates = asked.image_spans(pixels[scored])
    targets = asked.image_spans(_seen(trials, indices))
    bits = asked.feed.bits("eeg2image", indices, [[target, *candidates] for target in targets])
    found = {c: np.stack(b) for c, b in bits.items()}
    others = {c: b[:, 1:] for c, b in found.items()}
    scored_answers = [answers[k] for k in scored]
    likely = {c: by_answer(b, scored_answers)[0] for c, b in others.items()}
    lift = {c: by_answer(b - others["none"], scored_answers)[0] for c, b in others.items() if c != "none"}
    names = list(dict.fromkeys(scored_answers))
    kept = np.array([k for k, i in enumerate(indices) if trials.trials[i].answer in names])  # others cannot be right
    closed = Rows(trials, [indices[k] for k in kept.tolist()], asked.seed)
    if closed.n_trials > 1 and len(names) > 1:
        places = np.array([names.index(str(trials.trials[indices[k]].answer)) for k in kept.tolist()])
        likely, lift = ({c: s[kept] for c, s in scores.items()} for scores in (likely, lift))
        closed.right("top-1, likeliest picture", likeliest(likely, names), scored_answers)
        closed.right("top-1, picture made likelier", likeliest(lift, names), scored_answers)
        closed.identification("picture by likelihood", likely, places, _sizes(names, scored_answers))
        closed.identification("picture made likelier", lift, places, _sizes(names, scored_answers))
        rows.take(closed)
    rows.each("log2 p of the true picture", "bits", {c: b[:, 0] for c, b in found.items()}, None)
    if len(scored) == len(pixels) == len(set(answers)):
        places = np.array([names.index(str(trials.trials[i].answer)) for i in indices])
        rows.bits_among(PICTURE_BITS, likely, places)
    return [
        f"Likelihoods are over {len(scored)} of {len(pixels)} pictures and the {len(kept)} windows whose answer is "
        "among these; “made likelier”: by log2 p(picture | EEG) - log2 p(picture)."
    ]


def _shown(trials: TrialSet, i: int, place: int, drawn: dict[str, np.ndarray], given: Given) -> Shown:
    trial = trials.trials[i]
    assert trial.picture is not None, "only trials with a picture are drawn"
    outputs: dict[str, np.ndarray | str] = {c: drawn[c][place] for c in ("real", "shuffled")}
    titles = {"seen": str(trial.answer)} | {c: str(given[c][place]) for c in outputs}
    return Shown(window=trial.window, target=trial.picture, outputs=outputs, titles=titles)
