"""Evaluates one model on sets of sample shards: loads, feeds, measures, and hands a report back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.hub import local_folder
from neuroleon.common.learned import Learned
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.splits import SPLITS
from neuroleon.decoding.pipeline import NeuroleonPipeline
from neuroleon.decoding.sampling import PICTURE, Sampling
from neuroleon.evaluation.against import with_differences
from neuroleon.evaluation.answers import GREEDY, TASKS
from neuroleon.evaluation.attribution import attribution
from neuroleon.evaluation.baselines.run import baselines
from neuroleon.evaluation.before import of_folders
from neuroleon.evaluation.blocks import MOST_SCORED, MOST_TRAIN, block_test
from neuroleon.evaluation.by_person import by_person
from neuroleon.evaluation.controls import CONDITIONS, derangement
from neuroleon.evaluation.eeg.fidelity import eeg_fidelity
from neuroleon.evaluation.families import corrected
from neuroleon.evaluation.feed import Feed, ModelUnderTest
from neuroleon.evaluation.known import known_recordings
from neuroleon.evaluation.ledger import USES, Ledger
from neuroleon.evaluation.networks import Network, load_network, packaged_network
from neuroleon.evaluation.report import require_free, write_report
from neuroleon.evaluation.results import Attribution, Report, SetResult
from neuroleon.evaluation.tokenizers import image_fidelity, restore
from neuroleon.evaluation.trials import TrialSet, balanced, load_trials

SHOWN_PICTURES = 6


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What to evaluate.

    Attributes:
        tasks: any of eeg2label, eeg2text, eeg2image, eeg2both.
        limit: at most this many windows per set, balanced over labels; None takes all.
        seed: of the trials drawn, the shuffle, the noise, the sampling and the bootstrap.
        temperature: of the ids of pictures, as `decoding.sampling.PICTURE` draws them else; 0 takes the likeliest, as
            labels and sentences always do.
        before_samples: folders of windows before the events of sets in `samples` (`before.py`).
        network: TorchScript file by whose features pictures are compared; default: an installed one (`networks.py`).
        baselines: also fit the methods of the field to the training windows, and ask them the same.
        attribution: also find the electrodes and steps that moved the label, on `attribution_trials` windows a set.
    """

    samples: tuple[Path, ...]
    split: Literal["train", "validation", "test"] = "test"
    tasks: tuple[str, ...] = tuple(TASKS)
    limit: int | None = 200
    seed: int = 0
    temperature: float = PICTURE.temperature
    before_samples: tuple[Path, ...] = ()
    network: Path | None = None
    baselines: bool = False
    attribution: bool = False
    attribution_trials: int = 20

    def __post_init__(self) -> None:
        if not self.samples:
            raise ConfigError("samples: no folder of sample shards is given; name at least one")
        if self.split not in SPLITS:
            raise ConfigError(f"split is {self.split!r}; expected one of {', '.join(SPLITS)}")
        if unknown := [task for task in self.tasks if task not in TASKS]:
            raise ConfigError(f"tasks: {unknown[0]!r} is not evaluated here; expected some of {', '.join(TASKS)}")
        if self.limit is not None and self.limit < 2:
            raise ConfigError(f"limit is {self.limit}; expected at least 2 windows, or null for all")
        if self.attribution_trials < 2:
            raise ConfigError(f"attribution_trials is {self.attribution_trials}; expected at least 2 windows")
        _ = self.drawing  # raises what is out of range before anything is read

    @property
    def drawing(self) -> Sampling:
        """How the ids of pictures are drawn."""
        return replace(PICTURE, temperature=self.temperature)


def evaluate(
    model: ModelUnderTest, settings: Evaluation, facts: dict[str, Any], learned: Learned | None = None
) -> Report:
    """Evaluate `model`; `facts` (which model it is) head the report, `learned` is what it says it learned from.

    Every set is read and audited before the first answer is generated.

    Raises:
        DataError: a set is damaged or leaks between splits or out of training, or no set has enough trials for a
            shuffled control (a set that has not is left out, and the report says why).
        ConfigError: two sets have one name, or a folder of baseline windows does not fit its set.
    """
    network = load_network(settings.network) if settings.network else packaged_network()
    before = of_folders(settings.before_samples, settings.samples)
    sets = [
        load_trials(folder, settings.split, settings.limit, settings.seed, before.get(folder))
        for folder in settings.samples
    ]
    sets = [_audited(trials, at, learned or Learned()) for trials, at in zip(sets, settings.samples, strict=True)]
    names = [trials.recipe for trials in sets]
    folders = dict(zip(names, settings.samples, strict=True))
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"samples: two folders hold the set {twice[0]!r}; give each set once")
    refused = {trials.recipe: reason for trials in sets if (reason := _cannot_be_controlled(trials))}
    sets = [trials for trials in sets if trials.recipe not in refused]
    if not sets:
        raise DataError("; ".join(f"{name}: {reason}" for name, reason in refused.items()))
    results = []
    with tqdm(unit="answers", dynamic_ncols=True) as bar:
        bar.reset(sum(_work(trials) for trials in sets) * len(settings.tasks))
        for trials in sets:
            bar.set_description(trials.recipe)
            results.append(_evaluate_set(model, trials, settings, network, bar))
    if settings.baselines:
        results = [_with_baselines(result, folders[result.recipe], settings, before) for result in results]
    subjects = {trials.recipe: {t.key: str(t.meta["subject"] or "") for t in trials.trials} for trials in sets}
    results = [replace(r, people=by_person(r, subjects[r.recipe], settings.seed)) for r in results]
    made = {
        "vocabulary": model.vocabulary.fingerprint,
        "split": settings.split,
        "limit": settings.limit,
        "seed": settings.seed,
        "tasks": list(settings.tasks),
        "network of pictures": "none" if network is None else network.name,
        "windows before events": "given" if settings.before_samples else "none",
        "text sampling": asdict(GREEDY),
        "picture sampling": asdict(settings.drawing),
        "not evaluated": "; ".join(f"{name}: {reason}" for name, reason in refused.items()) or "none",
    }
    return Report(facts=facts | made, sets=tuple(corrected(results)))


def _cannot_be_controlled(trials: TrialSet) -> str | None:
    """Why no shuffled EEG can be made for a set, or None; a number without its control is not reported."""
    try:
        derangement(trials.clusters, generator("evaluate", 0))
    except DataError as error:
        return str(error)
    return None


def _audited(trials: TrialSet, folder: Path, learned: Learned) -> TrialSet:
    """The set with more in its audit: whether the model knows its recordings, and, where its labels are confounded with
    blocks, random labels per block."""
    known = known_recordings(learned, trials, folder)
    sentences = (*trials.audit.sentences, known.sentence)
    trials = replace(trials, audit=replace(trials.audit, sentences=sentences, apart=known.apart))
    unit = trials.audit.confounded_by
    if unit is None or trials.split == "train":
        return trials
    try:
        train, scored = (
            [trial for trial in load_trials(folder, split, most, 0).trials if trial.meta.get("label") is not None]
            for split, most in (("train", MOST_TRAIN), (trials.split, MOST_SCORED))
        )
        blocks = block_test(train, scored, unit, seed=0)
    except DataError as error:
        said = f"Random labels per {unit} could not be tried: {error}."
        return replace(trials, audit=replace(trials.audit, sentences=(*sentences, said)))
    return replace(trials, audit=replace(trials.audit, blocks=blocks, sentences=(*sentences, blocks.sentence)))


def _work(trials: TrialSet) -> int:
    """Steps of one task, at most: an answer and its likelihoods, for each window under each condition."""
    return 2 * len(CONDITIONS) * len(trials.trials)


def _evaluate_set(
    model: ModelUnderTest, trials: TrialSet, settings: Evaluation, network: Network | None, bar: "tqdm[Any]"
) -> SetResult:
    feed = Feed(model, trials, settings.seed, bar)
    windows = [trial.window for trial in trials.trials]
    restored = restore(model.eeg, windows, feed.tokens)
    fidelities = [
        eeg_fidelity(
            model.eeg, trials.recipe, windows, feed.tokens, restored, clusters=trials.clusters, seed=settings.seed
        )
    ]
    tasks = []
    for task in settings.tasks:
        done = bar.n + _work(trials)
        tasks.append(TASKS[task](feed, trials, settings.seed, settings.drawing, network))
        bar.update(done - bar.n)  # what was not there to do
    shown: Sequence[tuple[list[np.ndarray], list[str]]] = ()
    if len(trials.pictures) > 1:
        keys = list(trials.pictures)
        pictures = np.stack([picture for _, picture in trials.pictures.values()])
        fidelity, again = image_fidelity(model.image, trials.recipe, pictures, settings.seed)
        fidelities.append(fidelity)
        shown = [([pictures[i], again[i]], [keys[i], "restored"]) for i in range(min(SHOWN_PICTURES, len(keys)))]
    found, why_not = _attribution(model, trials, settings, bar) if settings.attribution else (None, ())
    said = (*_told(len(feed.known), len(windows)), *feed.remarks, *why_not)
    return SetResult(
        recipe=trials.recipe,
        split=trials.split,
        n_available=trials.n_available,
        n_windows=len(windows),
        n_trials=len(np.unique(trials.clusters)),
        n_answers=len({trial.answer for trial in trials.trials} - {None}),
        shards=trials.shards,
        audit=replace(trials.audit, sentences=(*trials.audit.sentences, *said)),
        tasks=tuple(tasks),
        fidelities=tuple(fidelities),
        waveforms=(windows[0], restored[0]),
        restored_pictures=shown,
        attribution=found,
        trials={trial.key: trial.trial for trial in trials.trials},
    )


def _told(n_known: int, n_windows: int) -> tuple[str, ...]:
    if not n_known:
        return ()
    return (
        f"The EEG tokenizer is told whose EEG it is, and knows the people of {n_known} of {n_windows} windows: how far "
        "they may be trusted, or what they respond. It is told the same of noise and of the window before the event, "
        "and of shuffled EEG whose that is: where labels differ between people, look at noise. “untold” is what comes "
        "without.",
    )


def _attribution(
    model: ModelUnderTest, trials: TrialSet, settings: Evaluation, bar: "tqdm[Any]"
) -> tuple[Attribution | None, tuple[str, ...]]:
    """Of the label, on as many windows of each label as there are; else None, and why, in a sentence."""
    able = [i for i, t in enumerate(trials.trials) if t.meta.get("label") is not None and t.meta.get("question")]
    if not able:
        return None, ("No attribution: the set asks for no label.",)
    answers = [trials.trials[i].answer for i in able]
    chosen = [able[k] for k in balanced(answers, settings.attribution_trials, settings.seed, "attribution")]
    try:
        return attribution(model, trials, "eeg2label", chosen, settings.seed, bar), ()
    except DataError as error:
        return None, (f"No attribution: {error}.",)


def _with_baselines(result: SetResult, folder: Path, settings: Evaluation, before: dict[Path, Path]) -> SetResult:
    """The set with what the methods of the field answer to the same windows; what was left out stands in its audit."""
    try:
        found = baselines(folder, settings.split, ("recipe",), settings.limit, settings.seed, before=before.get(folder))
    except DataError as error:
        sentences = (f"No classical method was fitted: {error}.",)
        return replace(result, audit=replace(result.audit, sentences=(*result.audit.sentences, *sentences)))
    left_out = tuple(f"Classical methods left out: {reason}." for reason in found.left_out)
    audit = replace(result.audit, sentences=(*result.audit.sentences, *left_out))
    return with_differences(replace(result, baselines=found.results, audit=audit), settings.seed)


def evaluate_folder(model: str, settings: Evaluation, out: Path, device: str) -> Report:
    """Load the model folder (or hub id) `model`, evaluate it, and write the report to `out`.

    A use of the test split is written to the ledger before anyone can see its report.

    Raises:
        CheckpointError: the model folder is damaged.
        ConfigError: `out` holds something that is no report, or the ledger cannot be written.
        DataError: as `evaluate`, or the ledger is damaged.
    """
    require_free(out)
    ledger = Ledger(model) if settings.split == "test" else None
    folder = local_folder(model)
    pipeline, learned = NeuroleonPipeline.load(folder, device), Learned.of_model(folder)
    facts = {"model": model, "fingerprint": pipeline.fingerprint, "taught sets": sorted(pipeline.labels)}
    report = evaluate(pipeline, settings, facts, learned)
    if ledger:
        names = ("tasks", "limit", "seed", "temperature")
        made = {name: getattr(settings, name) for name in names} | {"tasks": list(settings.tasks)}
        said = ledger.write(pipeline.fingerprint, [(r.recipe, r.shards) for r in report.sets], made)
        report = replace(report, facts=report.facts | {USES: said})
    write_report(report, out)
    return report
