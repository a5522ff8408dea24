"""What moved the output, on a model whose answer hangs on one electrode and one step of time."""

import io
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tqdm import tqdm

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.evaluation.attribution import DRAWS, attribution
from neuroleon.evaluation.audit import Audit
from neuroleon.evaluation.trials import Trial, TrialSet
from neuroleon.signals.window import Window
from neuroleon.tokenizers.document import OUTPUT, Document, Span, render
from neuroleon.tokenizers.text import TextTokenizer
from neuroleon.tokenizers.vocabulary import Vocabulary

LABELS = ("north", "east", "south", "west")
NAMES = ("Fz", "Cz", "Oz")
N_STEPS, STEP = 6, 25
TOLD_BY, TOLD_AT = "Oz", 4  # the electrode and the step that know the label
TEXT = TextTokenizer.train([*LABELS, "The person looks to the"], 300)


class OneElectrode:
    """An EEG tokenizer: one id per step, what `TOLD_BY` says as it begins (0 to 3), or 4 where it is not there."""

    size, tokens_per_step, fingerprint, subjects = 5, 1, "one electrode", ()

    def encode_windows(self, batch: list[Window]) -> list[Any]:
        return [SimpleNamespace(ids=self.said(w), scale=3) for w in batch]

    def said(self, window: Window) -> np.ndarray:
        if TOLD_BY not in window.ch_names:
            return np.full(N_STEPS, 4)
        signal = window.eeg_uV[window.ch_names.index(TOLD_BY)] / window.scale_uV
        return signal.reshape(N_STEPS, STEP)[:, 0].round().astype(int)


VOCABULARY = Vocabulary.of(text=TEXT, image=SimpleNamespace(size=2, tokens=1, fingerprint="none"), eeg=OneElectrode())


def end(label: str) -> np.ndarray:
    rendered = render(Document("eeg2label", None, (Span("text", np.array(TEXT.encode([label])[0])),)), VOCABULARY)
    return rendered.ids[rendered.part == OUTPUT]


class Reader:
    """Gives the label that the id of step `TOLD_AT` names .97, the others .01 each; all .25 where it names none."""

    def score(self, prompt: np.ndarray, continuations: Sequence[np.ndarray]) -> np.ndarray:
        told = VOCABULARY.to_local("eeg", prompt[VOCABULARY.modality_ids(prompt) == 3])[TOLD_AT]
        places = [next(k for k in range(4) if np.array_equal(end(LABELS[k]), c)) for c in continuations]
        return np.log([0.25 if told == 4 else 0.97 if k == told else 0.01 for k in places])


MODEL: Any = SimpleNamespace(engine=Reader(), vocabulary=VOCABULARY, text=TEXT, image=None, eeg=OneElectrode())


def trial(k: int, names: tuple[str, ...] = NAMES) -> Trial:
    """Every electrode and step holds noise of the same kind as what tells the label."""
    label, scale_uV = k % 4, (5.0, 20.0)[k % 2]
    said = np.random.default_rng(k).integers(0, 4, (len(names), N_STEPS))
    if TOLD_BY in names:
        said[names.index(TOLD_BY), TOLD_AT] = label
    window = Window(
        eeg_uV=(said.repeat(STEP, axis=1) * scale_uV).astype(np.float32),
        ch_names=names,
        positions=np.eye(3)[: len(names)],
        scale_uV=scale_uV,
    )
    meta = {"label": LABELS[label], "label_text": LABELS[label], "question": "Where?", "texts": [LABELS[label]]}
    return Trial(key=f"r-{k}", meta=meta, trial=f"t{k}", window=window, picture=None)


def made(trials: Sequence[Trial]) -> TrialSet:
    return TrialSet(
        recipe="toy",
        split="test",
        trials=tuple(trials),
        n_available=len(trials),
        pictures={},
        label_texts={x: x for x in LABELS},
        wordings={},
        majority=None,
        audit=Audit(split_by="", units={}, shared={}, confounded=None, sentences=()),
        shards="",
        recordings={},
    )


SET = made([trial(k) for k in range(24)])


def found(trials: TrialSet = SET, task: str = "eeg2label", model: Any = MODEL) -> Any:
    with tqdm(disable=True) as bar:
        return attribution(model, trials, task, range(len(trials.trials)), 0, bar)


def test_exactly_the_planted_electrode_and_step_are_found() -> None:
    result = found()
    assert list(result.channels) == list(NAMES) and len(result.steps) == N_STEPS
    assert result.channels[TOLD_BY].mean == pytest.approx(np.log2(0.97 / 0.25))
    assert [name for name, e in result.channels.items() if e.low > 1e-9] == [TOLD_BY]
    assert [step for step, e in enumerate(result.steps) if e.low > 1e-9] == [TOLD_AT]
    others = [e for name, e in result.channels.items() if name != TOLD_BY]
    others += [e for step, e in enumerate(result.steps) if step != TOLD_AT]
    assert max(abs(x) for e in others for x in (e.mean, e.low, e.high)) < 1e-12
    assert result.times_s == pytest.approx(np.arange(N_STEPS) * 0.125)
    assert np.array_equal(result.positions, np.eye(3))


def test_the_step_is_worth_what_other_trials_cannot_say() -> None:
    """Of the 3 lenders some have the same label by chance: between all wrong and what was known."""
    lost = found().steps[TOLD_AT].mean
    assert 1.0 < lost < np.log2(0.97 / 0.01)


def test_eeg_of_another_trial_has_nothing_to_lose() -> None:
    result = found()
    assert all(e.mean < 1e-12 for e in [*result.shuffled_channels.values(), *result.shuffled_steps])
    assert result.shuffled_channels[TOLD_BY].mean < -1  # it was sure of a wrong answer


def test_a_model_that_does_not_look_at_the_eeg_has_nothing_to_lose() -> None:
    blind = SimpleNamespace(**vars(MODEL) | {"engine": SimpleNamespace(score=lambda _, ends: np.zeros(len(ends)))})
    result = found(model=blind)
    every = [*result.channels.values(), *result.steps, *result.shuffled_channels.values(), *result.shuffled_steps]
    assert all((e.mean, e.low, e.high) == (0, 0, 0) for e in every)


def test_it_repeats_and_says_how_much_there_is_to_do() -> None:
    with tqdm(file=io.StringIO(), total=7) as bar:
        first = attribution(MODEL, SET, "eeg2label", range(24), 0, bar)
        assert bar.total == 7 + 24 * 2 * (1 + DRAWS * N_STEPS + len(NAMES))
        assert bar.n == bar.total - 7
    assert first.channels == found().channels and first.steps == found().steps


def test_mixed_montages_are_averaged_by_electrode() -> None:
    """An electrode of one trial only has no interval and is left out."""
    names = [NAMES if k % 2 else NAMES[1:] for k in range(24)]
    names[0] = ("Pz", *NAMES[1:])
    result = found(made([trial(k, name) for k, name in enumerate(names)]))
    assert set(result.channels) == set(NAMES)
    assert result.channels[TOLD_BY].mean == pytest.approx(np.log2(0.97 / 0.25))


def test_a_single_electrode_cannot_be_left_out() -> None:
    result = found(made([trial(k, (TOLD_BY,)) for k in range(24)]))
    assert result.channels == {} and result.positions.shape == (0, 3)
    assert result.steps[TOLD_AT].low > 0


def test_bipolar_channels_lie_between_their_electrodes() -> None:
    pairs = np.array([[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, 1], [0, 0, 1, *[np.nan] * 3]])
    trials = [replace(t, window=replace(t.window, positions=pairs)) for t in SET.trials]
    assert np.array_equal(found(made(trials)).positions, [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])


def test_what_cannot_be_attributed_is_refused() -> None:
    with pytest.raises(ConfigError, match="text2image"):
        found(task="text2image")
    with pytest.raises(DataError, match="r-0: has no picture"):
        found(task="eeg2image")
    unlabelled = [replace(t, meta=t.meta | {"label": None}) for t in SET.trials]
    with pytest.raises(DataError, match="r-0: has no label"):
        found(made(unlabelled))
    with pytest.raises(DataError, match="more trials"):
        found(made(SET.trials[:2]))  # no third trial that could lend a step
