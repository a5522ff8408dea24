"""Baselines of a set: nothing leaks between sides, numbers stand beside their controls, and bits are honest."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_windows import evoked, made_windows, noise

import neuroleon.evaluate as command
from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import read_json
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.evaluation.baselines import run
from neuroleon.evaluation.baselines.methods import Cca, Nearest, RidgeToPictures, Trca, frequencies
from neuroleon.evaluation.baselines.page import write_baselines
from neuroleon.evaluation.baselines.run import ACCURACY, BALANCED, BEST, BITS, Baselines, baselines
from neuroleon.evaluation.baselines.schemes import SCHEMES, UNITS, Fold, folds_of, inner_folds
from neuroleon.evaluation.baselines.scoring import Answered, BySubject, Calibration, answered, fed_controls
from neuroleon.evaluation.baselines.windows import Windows, load_windows
from neuroleon.evaluation.ledger import FILE, USES
from neuroleon.evaluation.stats import Comparison
from neuroleon.evaluation.trials import load_trials

DATA = Path(__file__).resolve().parents[3].parent / "shared" / "data"
LABELS = ("early", "middle", "late")
HELD_OUT = {"leave-one-subject-out": "subject", "session-out": "session", "recording-out": "recording"}


def toy_set(folder: Path, label_of: Callable[[np.random.Generator, int], int], amplitude: float = 1.5) -> Path:
    """Two subjects with four recordings each, two for training; the second subject's validation lacks a channel."""
    rng = np.random.default_rng(0)
    for split, recordings in {"train": (0, 1), "validation": (2,), "test": (3,)}.items():
        records = []
        for subject in ("a", "b"):
            for recording in recordings:
                labels = [label_of(rng, i) for i in range(36)]
                eeg = evoked(labels, amplitude, seed=int(rng.integers(1 << 30)))
                names = [f"c{k}" for k in range(6)]
                if (subject, split) == ("b", "validation"):
                    eeg, names = eeg[:, 1:], names[1:]
                for i, label in enumerate(labels):
                    meta = {
                        "recipe": "toy", "subject": subject, "recording": f"{subject}{recording}", "group": "",
                        "split": split, "ch_names": names, "positions": [[0.0, -1.0, 0.1]] * len(names),
                        "sfreq": 200.0, "scale_uV": 10.0, "label": LABELS[label], "texts": [LABELS[label]],
                        "label_text": LABELS[label], "question": "When?", "image_key": LABELS[label],
                        "onset_s": i * 3.0,
                    }  # fmt: skip
                    picture = np.zeros((8, 8, 3), np.uint8)
                    picture[..., label] = 200
                    key = f"{subject}{recording}-{i}"
                    records.append({"__key__": key, "npy": eeg[i].astype(np.float16), "json": meta, "png": picture})
        write_shard(shard_path(folder, split, 0), records, required=("json", "npy"))
    write_manifest(folder)
    return folder


def all_of(windows: Windows) -> Fold:
    """A fold that is asked about every window."""
    return Fold.of(windows, np.arange(0), np.arange(len(windows)))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_set(tmp_path_factory.mktemp("sound") / "toy", lambda rng, i: i % 3)


@pytest.fixture(scope="module")
def found(sound: Path) -> Baselines:
    schemes = ["recipe", "in-subject", "leave-one-subject-out", "picture-out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "methods_for", lambda windows, seed: [Nearest(), RidgeToPictures(), Trca()])
        return baselines(sound, "validation", schemes, None, 0)


def rows(found: Baselines, scheme: str, metric: str) -> dict[str, Comparison]:
    every = [r for r in found.results if r.scheme == scheme and r.comparison.metric == metric]
    return {r.method: r.comparison for r in every}


def test_what_is_planted_is_found_and_controls_are_at_chance(found: Baselines) -> None:
    for scheme in ("recipe", "in-subject", "leave-one-subject-out"):
        for metric in (ACCURACY, BALANCED):
            for method in ("TRCA", "nearest neighbour", "ridge to pictures", BEST):
                row = rows(found, scheme, metric)[method]
                assert row.conditions["real"].mean > 0.8, (scheme, method)
                assert abs(row.conditions["shuffled"].mean - 1 / 3) < 0.15, (scheme, method)
                assert abs(row.conditions["noise"].mean - 1 / 3) < 0.2, (scheme, method)
                assert row.conditions["constant"].mean == pytest.approx(1 / 3)
                assert row.chance == pytest.approx(1 / 3)
                assert row.verdict == "above shuffled"
                assert row.over_subjects is not None and row.over_subjects.low > 0
        bits = rows(found, scheme, BITS)[BEST]
        assert bits.chance == pytest.approx(-np.log2(3))
        assert bits.conditions["constant"].mean == pytest.approx(-np.log2(3), abs=0.01)
        assert bits.conditions["real"].mean > -0.6 > bits.conditions["shuffled"].mean


def test_pictures_that_training_lacked_are_found_among_those_of_their_fold() -> None:
    """A set without labels: the answer is the picture, and the response is linear in its features."""
    rng = np.random.default_rng(0)
    features = {f"p{i:02d}": (f"p{i:02d}", rng.standard_normal(3).astype(np.float32)) for i in range(40)}
    keys = np.repeat(sorted(features), 6)
    basis = evoked([0, 1, 2], 4.0) - noise(3)
    eeg = noise(len(keys), seed=1) + np.einsum("nk,kct->nct", np.stack([features[key][1] for key in keys]), basis)
    windows = made_windows(eeg, keys, pictures=keys, features=features, has_labels=False)
    folds = folds_of("picture-out", windows, "validation", 0)
    results, _ = run._under_scheme("picture-out", windows, folds, 0)
    accuracy, _, bits = (r.comparison for r in results if r.method == "ridge to pictures")
    assert accuracy.chance == pytest.approx(1 / 8)
    assert accuracy.conditions["real"].mean > 0.7 > 0.3 > accuracy.conditions["shuffled"].mean
    assert bits.conditions["real"].mean > -1 and bits.conditions["constant"].mean == pytest.approx(-3)


def test_a_scheme_that_a_set_cannot_have_says_why(found: Baselines) -> None:
    assert found.left_out == ("picture-out: label 'early' is in one picture only, so it cannot be learned without it",)


def test_random_labels_give_no_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "methods_for", lambda windows, seed: [Nearest(), Trca()])
    folder = toy_set(tmp_path / "toy", lambda rng, i: int(rng.integers(3)), amplitude=0.0)
    result = baselines(folder, "validation", ["recipe", "recording-out"], None, 0)
    for scheme in ("recipe", "recording-out"):
        for row in rows(result, scheme, BITS).values():
            assert abs(row.conditions["real"].mean - row.conditions["constant"].mean) < 0.05
        assert all(row.verdict == "no difference shown" for row in rows(result, scheme, ACCURACY).values())
        constant = rows(result, scheme, BALANCED)[BEST].conditions["constant"]
        assert constant.mean == pytest.approx(1 / 3), "though labels are not equally frequent"


def test_the_best_is_chosen_without_the_evaluated_split(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In validation and test the labels are wrong; what is best on training is still the one that is named."""
    calls: list[int] = []

    def wrong_after_training(rng: np.random.Generator, i: int) -> int:
        calls.append(i)
        return i % 3 if len(calls) <= 4 * 36 else int(rng.integers(3))

    monkeypatch.setattr(run, "methods_for", lambda windows, seed: [Cca({k: 7.0 for k in LABELS}, False), Trca()])
    folder = toy_set(tmp_path / "toy", wrong_after_training)
    results = [one for one in baselines(folder, "validation", ["recipe"], None, 0).results if one.method == BEST]
    assert "TRCA 1." in " ".join(results[0].remarks)


def test_the_recipe_is_asked_what_a_model_is_asked(sound: Path) -> None:
    windows = run._windows(sound, "recipe", "validation", 20, 5, None)
    asked = set(windows.key[windows.split == "validation"])
    assert asked == {trial.key for trial in load_trials(sound, "validation", 20, 5).trials}
    assert (windows.split == "train").sum() == 4 * 36


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_test_split_is_seen_only_where_it_is_asked_for(sound: Path, scheme: str) -> None:
    assert "test" not in run._windows(sound, scheme, "validation", None, 0, None).split
    assert "test" in run._windows(sound, scheme, "test", None, 0, None).split


def test_pictures_are_chosen_from_all_of_the_split_as_a_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set without labels, of which few windows are asked about."""
    rng, rate = np.random.default_rng(0), 200
    for split, names in {"train": "abcdef", "validation": "uvwxyz"}.items():
        records = []
        for i, name in enumerate(names * 6):
            meta = {
                "recipe": "toy", "subject": "s", "recording": split, "group": "", "split": split, "ch_names": ["Oz"],
                "positions": [[0.0, -1.0, 0.1]], "sfreq": float(rate), "scale_uV": 10.0, "label": None, "texts": [],
                "label_text": None, "question": None, "image_key": name, "onset_s": i * 3.0,
            }  # fmt: skip
            picture = np.full((8, 8, 3), 9 * ord(name) % 256, np.uint8)
            eeg = rng.normal(size=(1, rate)).astype(np.float16)
            records.append({"__key__": f"{split}-{i}", "npy": eeg, "json": meta, "png": picture})
        write_shard(shard_path(tmp_path / "toy", split, 0), records, required=("json", "npy"))
    write_manifest(tmp_path / "toy")
    windows = run._windows(tmp_path / "toy", "recipe", "validation", 4, 0, None)
    (fold,) = folds_of("recipe", windows, "validation", 0)
    assert len(set(windows.answers[fold.test])) == 4 and fold.choices.tolist() == [*"uvwxyz"]
    found = baselines(tmp_path / "toy", "validation", ["recipe"], 4, 0)
    accuracy, model = found.results[0].comparison, load_trials(tmp_path / "toy", "validation", 4, 0)
    assert accuracy.n_windows == 4 and accuracy.n_answers == len(model.pictures) == 6
    assert accuracy.chance == pytest.approx(1 / 6)
    windows = run._windows(tmp_path / "toy", "picture-out", "validation", 4, 0, None)
    for fold in run._limited(windows, folds_of("picture-out", windows, "validation", 0), 4, "picture-out", 0):
        assert len(fold.choices) > 1 and fold.choices.tolist() == sorted(set(windows.answers[fold.held_out]))


def test_a_limit_bounds_what_is_asked_not_what_is_learned(sound: Path) -> None:
    windows = run._windows(sound, "recording-out", "validation", 30, 0, None)
    folds = folds_of("recording-out", windows, "validation", 0)
    limited = run._limited(windows, folds, 30, "recording-out", 0)
    assert sum(len(fold.test) for fold in limited) == 30
    assert [len(fold.train) for fold in limited] == [len(fold.train) for fold in folds]


def test_subjects_keep_the_channels_that_their_own_recordings_have(sound: Path) -> None:
    windows = load_windows(sound, {"train": None, "validation": None}, 0)
    seen, asked = (windows.at(windows.split == split) for split in ("train", "validation"))
    assert asked.has[asked.subjects == "a"].all() and not asked.has[asked.subjects == "b"][:, 0].any()
    counts: list[int] = []

    class Counting(Nearest):
        def fit(self, seen: Windows) -> "Counting":
            counts.append(len(seen.ch_names))
            assert not np.isnan(seen.eeg_uV).any()
            return super().fit(seen)  # type: ignore[return-value]

    fitted = BySubject(Counting, seen, asked, ["a", "b"])
    assert counts == [6, 5]
    for windows in fed_controls(asked, all_of(asked), 0).values():
        assert np.isfinite(fitted.scores(windows, np.array(sorted(LABELS)))).all()


@pytest.mark.parametrize(("n_without", "n_windows", "n_chans"), [(2, 38, 6), (10, 40, 5)])
def test_few_windows_go_before_a_channel_goes(n_without: int, n_windows: int, n_chans: int) -> None:
    eeg = noise(40)
    eeg[:n_without, 0] = np.nan
    sizes: list[tuple[int, int]] = []

    class Counting(Nearest):
        def fit(self, seen: Windows) -> "Counting":
            sizes.append((len(seen), len(seen.ch_names)))
            return super().fit(seen)  # type: ignore[return-value]

    BySubject(Counting, made_windows(eeg, ["x", "y"] * 20), made_windows(noise(4), ["x", "y"] * 2), [])
    assert sizes == [(n_windows, n_chans)]


def test_shuffled_windows_are_of_other_trials() -> None:
    windows = made_windows(noise(24), ["x", "y"] * 12, trials=[f"t{i // 3}" for i in range(24)])
    other = fed_controls(windows, all_of(windows), 0)["shuffled"].eeg_uV
    source = [int(np.flatnonzero((windows.eeg_uV == eeg).all(axis=(1, 2)))[0]) for eeg in other]
    assert (windows.trials[source] != windows.trials).all() and sorted(source) == list(range(24))


@pytest.mark.parametrize("scheme", ["in-subject", "leave-one-subject-out", "recording-out"])
@pytest.mark.parametrize("limit", [None, 12])
def test_no_shuffled_eeg_was_learned_from(scheme: str, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method would know the answer of the other trial by heart, and be surer of it than of anything new."""
    people = [f"s{i // 24}" for i in range(96)]
    windows = made_windows(noise(96), ["x", "y"] * 48, subjects=people, recordings=[f"r{i // 6}" for i in range(96)])
    source = {eeg.tobytes(): i for i, eeg in enumerate(windows.eeg_uV)}
    monkeypatch.setattr(run, "methods_for", lambda windows, seed: [Nearest()])
    asked = []

    def checked(make: object, windows: Windows, fold: Fold, fed: dict[str, Windows], seed: int) -> Answered:
        lent = {source[eeg.tobytes()] for eeg in fed["shuffled"].eeg_uV}
        assert lent <= set(fold.held_out.tolist()) and not lent & set(fold.train.tolist())
        assert (fed["shuffled"].key == windows.key[fold.test]).all() and len(lent) == len(fold.test)
        asked.extend(fold.test.tolist())
        return answered(make, windows, fold, fed, seed)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "answered", checked)
    folds = run._limited(windows, folds_of(scheme, windows, "validation", 0), limit, scheme, 0)
    run._under_scheme(scheme, windows, folds, 0)
    assert len(asked) == (limit or 96)


def test_a_fold_that_cannot_be_shuffled_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fourth recording is one trial: its EEG has no control, so it has no number."""
    trials = ["long" if i % 4 == 3 else f"t{i}" for i in range(96)]
    windows = made_windows(noise(96), [*"xxxxyyyy"] * 12, trials=trials)
    monkeypatch.setattr(run, "methods_for", lambda windows, seed: [Nearest()])
    folds = folds_of("recording-out", windows, "validation", 0)
    results, left_out = run._under_scheme("recording-out", windows, folds, 0)
    assert [one.comparison.n_windows for one in results] == [72] * 6
    assert left_out == [
        "1 of 4 folds, whose EEG cannot be shuffled: 1 trial(s), the largest with 24 of 24 windows: no EEG of another "
        "trial to shuffle in; evaluate more trials (raise --limit or add data)"
    ]
    with pytest.raises(DataError, match="in none of 1 folds can the EEG be shuffled"):
        run._under_scheme("recording-out", windows, folds[3:], 0)


def test_one_long_trial_cannot_be_shuffled() -> None:
    windows = made_windows(noise(24), ["x", "y"] * 12, trials=["t0"] * 20 + ["t1"] * 4)
    with pytest.raises(DataError, match="largest with 20 of 24"):
        fed_controls(windows, all_of(windows), 0)


def test_where_a_montage_is_one_trial_only_channels_of_all_are_asked_about() -> None:
    eeg = noise(24)
    eeg[:6, 0] = np.nan
    windows = made_windows(eeg, ["x", "y"] * 12, trials=[f"t{i // 6}" for i in range(24)])
    for fed in fed_controls(windows, all_of(windows), 0).values():
        assert np.isnan(fed.eeg_uV[:, 0]).all() and not np.isnan(fed.eeg_uV[:, 1:]).any()


def test_calibration_undoes_a_wrong_temperature() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=4000)
    evidence = rng.standard_normal((4000, 4)) + 1.5 * np.eye(4)[truth]  # log-likelihoods are 1.5 times this
    prior = np.log(np.full(4, 0.25))
    assert Calibration.fit([(7 * evidence, truth, prior)]).sharpness == pytest.approx(1.5 / 7, rel=0.1)


def test_scores_that_say_nothing_become_the_frequencies() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice(2, p=[0.8, 0.2], size=4000)
    prior = np.log(np.array([0.8, 0.2]))
    calibration = Calibration.fit([(rng.standard_normal((4000, 2)), truth, prior)])
    np.testing.assert_allclose(
        np.exp(calibration.apply(rng.standard_normal((5, 2)), prior)), [[0.8, 0.2]] * 5, atol=0.05
    )


def test_no_answer_becomes_impossible() -> None:
    """All of 20 held-out windows were right; the 21st may be wrong."""
    truth = np.arange(20) % 2
    calibration = Calibration.fit([(np.eye(2)[truth], truth, np.log([0.5, 0.5]))])
    assert np.exp(calibration.apply(np.array([[50.0, 0.0]]), np.log([0.5, 0.5])))[0, 1] == pytest.approx(0.5 / 21)


@st.composite
def sets(draw: st.DrawFn) -> Windows:
    """Any set: subjects, sessions, recordings, trials of several windows, pictures of labels."""
    n = draw(st.integers(6, 60))
    numbers = lambda most: draw(st.lists(st.integers(0, most), min_size=n, max_size=n))  # noqa: E731
    recordings = numbers(draw(st.integers(0, 7)))
    labels = numbers(draw(st.integers(0, 2)))
    subject_of = draw(st.lists(st.integers(0, 3), min_size=8, max_size=8))
    pictures = [f"{label}-{k}" for label, k in zip(labels, numbers(2), strict=True)]
    return made_windows(
        np.zeros((n, 1, 4)),
        [f"l{k}" for k in labels],
        subjects=[f"s{subject_of[r]}" for r in recordings],
        recordings=[f"r{r}" for r in recordings],
        trials=[f"{r}/{label}/{k}" for r, label, k in zip(recordings, labels, numbers(3), strict=True)],
        pictures=pictures,
        sessions=np.array([f"s{subject_of[r]}/{r // 2}" for r in recordings]),
        split=np.array(["train" if r < 5 else "validation" for r in recordings]),
    )


@settings(max_examples=150, deadline=None)
@given(sets(), st.sampled_from(sorted(SCHEMES)))
def test_schemes_leak_nothing(windows: Windows, scheme: str) -> None:
    """Neither outside nor in the cross-validation inside of the training side."""
    try:
        folds = folds_of(scheme, windows, "validation", 0)
    except DataError:
        return
    tested = np.concatenate([fold.test for fold in folds])
    assert len(np.unique(tested)) == len(tested)
    for fold in folds:
        sides = windows.at(fold.train), windows.at(fold.test)
        apart = {"trial", HELD_OUT.get(scheme, "picture" if scheme == "picture-out" else "recording")}
        for unit in apart:
            assert not set(UNITS[unit](sides[0])) & set(UNITS[unit](sides[1])), (scheme, unit)
        assert set(sides[0].answers) == set(windows.answers if scheme != "in-subject" else sides[0].answers)
        if scheme == "in-subject":
            assert len({*sides[0].subjects, *sides[1].subjects}) == 1
        try:
            unit, inner = inner_folds(windows, fold, 3, 0)
        except DataError:
            continue
        for part in inner:
            assert set(part.train) | set(part.test) <= set(fold.train)
            for name in {unit, "trial"}:
                assert not set(UNITS[name](windows)[part.train]) & set(UNITS[name](windows)[part.test])


def test_new_subjects_outside_are_new_inside() -> None:
    """Calibration must not be of known people where the people who are asked are new."""
    windows = made_windows(np.zeros((48, 1, 4)), ["x", "y"] * 24, subjects=[f"s{i // 12}" for i in range(48)])
    fold = folds_of("leave-one-subject-out", windows, "validation", 0)[0]
    assert inner_folds(windows, fold, 3, 0)[0] == "subject"
    fold = folds_of("recording-out", windows, "validation", 0)[0]
    assert inner_folds(windows, fold, 3, 0)[0] == "session", "subjects are known here, their sessions are not"


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [
        ("leave-one-subject-out", "there is one subject only"),
        ("in-subject", "label 'x' is in one recording only"),
        ("recording-out", "label 'x' is in one recording only"),
        ("picture-out", "without a picture"),
        ("recipe", "does not hold label 'y'"),
    ],
)
def test_a_class_that_is_a_recording_is_refused(scheme: str, reason: str) -> None:
    windows = made_windows(
        np.zeros((20, 1, 4)), ["x", "y"] * 10, recordings=["r0", "r3"] * 10, sessions=np.full(20, "s")
    )
    with pytest.raises(DataError, match=reason):
        folds_of(scheme, windows, "validation", 0)


def test_wrong_settings_are_refused(sound: Path) -> None:
    for split, limit, reason in (("tset", None, "split is 'tset'"), ("test", 1, "limit is 1")):
        with pytest.raises(ConfigError, match=reason):
            baselines(sound, split, ["recipe"], limit, 0)
    with pytest.raises(ConfigError, match="leave-one-subject-out"):
        baselines(sound, "validation", ["losso"], None, 0)
    with pytest.raises(DataError, match="no features of picture 'early'"):
        baselines(sound, "validation", ["recipe"], None, 0, picture_features={"late": np.zeros(3)})
    refused = baselines(sound, "train", ["recipe"], None, 0)
    assert not refused.results and "choose validation or test" in refused.left_out[0]


def test_windows_of_two_lengths_are_refused(tmp_path: Path) -> None:
    folder = toy_set(tmp_path / "toy", lambda rng, i: i % 3)
    records = [
        {"__key__": f"{split}-{i}", "npy": np.zeros((1, 40 + 40 * i), np.float16), "json": meta}
        for split in ("train",)
        for i, meta in enumerate(
            [
                load_trials(folder, "train", 2, 0).trials[i].meta
                | {"ch_names": ["c0"], "positions": [[0.0, -1.0, 0.1]]}
                for i in range(2)
            ]
        )
    ]
    write_shard(shard_path(folder, "train", 0), records, required=("json", "npy"))
    write_manifest(folder)
    with pytest.raises(DataError, match="windows of 40 samples at 200 Hz and of 80"):
        load_windows(folder, {"train": None}, 0)


def test_the_page_holds_every_method_and_every_reason(found: Baselines, tmp_path: Path) -> None:
    write_baselines([found], {"split": "validation"}, tmp_path / "out")
    page = (tmp_path / "out" / "report.md").read_text()
    (best,) = [line for line in page.splitlines() if line.startswith("| recipe | best | ")]
    (other,) = [line for line in page.splitlines() if line.startswith("| recipe | TRCA | ")]
    p = rows(found, "recipe", BALANCED)[BEST].p
    assert best.split(" | ")[2][:3] in ("0.9", "1.0") and best.endswith(f"| {p:.4f} ({3 * p:.4f}) |")
    assert other.endswith(f"| {rows(found, 'recipe', BALANCED)['TRCA'].p:.4f} |"), "three schemes, one p of each"
    assert "Left out: picture-out" in page
    results = read_json(tmp_path / "out" / "report.json")["sets"][0]["results"]
    assert len(results) == len(found.results)
    assert not {"values", "against"} & set(results[0]), "there is no model to be paired with"


def test_the_command_writes_uses_of_the_test_split_where_it_runs(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "methods_for", lambda windows, seed: [Nearest()])
    monkeypatch.chdir(tmp_path)
    given = ["baselines", "--samples", str(sound), "--limit", "12", "--out", str(tmp_path / "out")]
    command.main(given)
    assert not (tmp_path / FILE).exists()
    for before in (0, 1):
        command.main([*given, "--split", "test"])
        told = f"{USES}: toy: {before} of this one, {before} of any"
        assert f"- {told}" in (tmp_path / "out" / "report.md").read_text().splitlines()
    (first, _) = map(json.loads, (tmp_path / FILE).read_text().splitlines())
    assert (first["model"], first["set"]) == ("baselines", "toy")
    assert first["shards"] == load_trials(sound, "test", 2, 0).shards
    assert first["settings"] == {"schemes": ["recipe"], "limit": 12, "seed": 0}


def test_forty_keys_of_real_eeg(tmp_path: Path) -> None:
    """Four seconds of a speller: canonical correlations and templates of three trials tell nearly every key."""
    if not (DATA / "ssvep40").is_dir():
        pytest.skip("shared/data/ssvep40 is not here")
    prepare_samples(load_recipe("ssvep40"), DATA, tmp_path / "out")
    windows = load_windows(tmp_path / "out" / "ssvep40", {"train": None, "validation": None}, 0)
    seen, asked = (windows.at(windows.split == split) for split in ("train", "validation"))
    names = np.unique(seen.answers)
    for method in (Cca(frequencies(windows), use_bank=True), Trca(8.0)):
        given = names[method.fit(seen).scores(asked, names).argmax(axis=1)]
        assert np.mean(given == asked.answers) > 0.9
