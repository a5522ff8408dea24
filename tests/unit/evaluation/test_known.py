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


def learned(trials: TrialSet, train: frozenset[str], validation: frozenset[str] = frozenset()) -> Learned:
    return Learned(train={trials.recipe: train}, validation={trials.recipe: validation})


def test_what_a_model_learned_from_is_refused(folder: Path, trials: TrialSet) -> None:
    tested = sorted(trials.recordings["test"])
    assert len(tested) > 1, "also where the windows drawn are of others"
    leaking = learned(trials, trials.recordings["train"] | {tested[0]})
    settings = Evaluation(samples=(folder,), tasks=("eeg2label",), limit=8)
    with pytest.raises(DataError, match=f"learned from 1 of the {len(tested)} recordings .*{tested[0]}") as caught:
        evaluate(model_of(Oracle(0.9)), settings, {"model": "toy"}, leaking)
    assert str(folder) in str(caught.value)
    sound = learned(trials, trials.recordings["train"], trials.recordings["validation"])
    (result,) = evaluate(model_of(Oracle(0.9)), settings, {"model": "toy"}, sound).sets
    n = len(trials.recordings["train"])
    assert f"No recording of this split is among the {n} of this set that the model learned from." in (
        result.audit.sentences
    )
    (result,) = evaluate(model_of(Oracle(0.9)), settings, {"model": "toy"}).sets
    assert any("does not say which recordings it learned from" in sentence for sentence in result.audit.sentences)


def test_every_case_is_told_apart(trials: TrialSet, folder: Path) -> None:
    train, tested = trials.recordings["train"], trials.recordings["test"]
    elsewhere = frozenset({"s0/elsewhere"})
    assert "a set of this name" in known_recordings(Learned(train={"other": tested}, validation={}), trials, folder)
    said = known_recordings(learned(trials, train, tested), trials, folder)
    assert f"{len(tested)} of {len(tested)} chose its checkpoint" in said
    assert "under other pseudonyms" in known_recordings(learned(trials, elsewhere), trials, folder)
    of_train = load_trials(folder, "train", 8, 0)
    said = known_recordings(learned(trials, train | elsewhere), of_train, folder)
    assert said == f"Of {len(train)} recordings of this split, the model learned from {len(train)}."
    of_validation = load_trials(folder, "validation", 8, 0)
    said = known_recordings(learned(trials, train, trials.recordings["validation"]), of_validation, folder)
    assert said.startswith("No recording of this split") and "chose" not in said
