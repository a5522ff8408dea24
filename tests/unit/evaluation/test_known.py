"""A model must not be scored on recordings that it learned from, and the report says what is known of that."""

from pathlib import Path

import pytest
from toy_model import Oracle, model_of, toy_set

from neuroleon.common.errors import DataError
from neuroleon.common.learned import Learned
from neuroleon.evaluation.known import known_recordings
from neuroleon.evaluation.runner import Evaluation, evaluate
from neuroleon.evaluation.trials import TrialSet, load_trials


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("known") / "toy", lambda recording, trial: trial % 4)


@pytest.fixture(scope="module")
def trials(folder: Path) -> TrialSet:
    return load_trials(folder, "test", 8, 0)


def learned(trials: TrialSet, train: frozenset[str], validation: frozenset[str] = frozenset(), **more: bool) -> Learned:
    return Learned(train={trials.recipe: train}, validation={trials.recipe: validation}, **({"complete": True} | more))


@pytest.mark.parametrize("complete", [True, False])
def test_what_a_model_learned_from_is_refused(folder: Path, trials: TrialSet, complete: bool) -> None:
    tested = sorted(trials.recordings["test"])
    assert len(tested) > 1, "also where the windows drawn are of others"
    leaking = learned(trials, trials.recordings["train"] | {tested[0]}, complete=complete)
    settings = Evaluation(samples=(folder,), tasks=("eeg2label",), limit=8)
    with pytest.raises(DataError, match=f"learned from 1 of the {len(tested)} recordings .*{tested[0]}") as caught:
        evaluate(model_of(Oracle(0.9)), settings, {"model": "toy"}, leaking)
    assert str(folder) in str(caught.value)


def test_the_audit_says_whether_it_was_checked(folder: Path, trials: TrialSet) -> None:
    settings = Evaluation(samples=(folder,), tasks=("eeg2label",), limit=8)
    sound = learned(trials, trials.recordings["train"], trials.recordings["validation"])
    (result,) = evaluate(model_of(Oracle(0.9)), settings, {"model": "toy"}, sound).sets
    n = len(trials.recordings["train"])
    assert result.audit.apart
    assert f"The model learned from {n} recordings of this set, and from none of this split." in result.audit.sentences
    (result,) = evaluate(model_of(Oracle(0.9)), settings, {"model": "toy"}).sets
    assert not result.audit.apart
    assert any("was not checked" in sentence for sentence in result.audit.sentences)


def test_every_case_is_told_apart(trials: TrialSet, folder: Path) -> None:
    train, tested = trials.recordings["train"], trials.recordings["test"]
    elsewhere = frozenset({"s0/elsewhere"})
    other = known_recordings(Learned(train={"other": tested}, complete=True), trials, folder)
    assert other.apart and "no set of this name" in other.sentence
    chose = known_recordings(learned(trials, train, tested), trials, folder, "tokenizer")
    assert chose.apart and chose.sentence.startswith(f"The tokenizer learned from {len(train)} recordings")
    assert f"{len(tested)} of these {len(tested)} chose its checkpoint" in chose.sentence
    strange = known_recordings(learned(trials, elsewhere), trials, folder)
    assert not strange.apart and "under other pseudonyms" in strange.sentence
    partly = known_recordings(learned(trials, train, complete=False), trials, folder)
    assert not partly.apart and "does not say" in partly.sentence
    train_trials = load_trials(folder, "train", 8, 0)
    of_train = known_recordings(learned(trials, train | elsewhere), train_trials, folder)
    assert not of_train.apart
    assert of_train.sentence == f"The model learned from {len(train)} of the {len(train)} recordings."
    assert "was not checked" in known_recordings(Learned(), train_trials, folder).sentence
    of_validation = load_trials(folder, "validation", 8, 0)
    validated = known_recordings(learned(trials, train, trials.recordings["validation"]), of_validation, folder)
    assert validated.apart and "chose" not in validated.sentence
