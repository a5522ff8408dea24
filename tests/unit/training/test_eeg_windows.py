"""The batches of the EEG tokenizer: what is drawn, how it is stacked, and how it is spoiled."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.seed import generator
from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard
from neuroleon.signals.montage import electrode_positions, electrodes
from neuroleon.training.stages import eeg_windows
from neuroleon.training.stages.eeg_windows import (
    EEGDataConfig,
    Mixture,
    Spoiled,
    Trial,
    load_embeddings,
    spoil,
    unspoiled,
)

NAMES = ("Fz", "C3", "Cz", "C4", "Pz", "O1", "Oz", "O2")


def write_set(
    folder: Path, names: tuple[str, ...], seconds: float, n_train: int = 9, n_validation: int = 5, **told: Any
) -> Path:
    """Windows of noise, labelled a, b, c, a ... with a light that goes on halfway; every third tells neither."""
    rng = np.random.default_rng(len(names))
    n_times = round(200 * seconds)
    for split, n in (("train", n_train), ("validation", n_validation)):
        records = []
        for i in range(n):
            meta = {
                "ch_names": names, "positions": electrode_positions(names).tolist(), "sfreq": 200.0, "scale_uV": 20.0,
                "subject": "1",
                "recording": "r1",
                "label": None,
            }  # fmt: skip
            if i % 3 != 2:
                meta |= {"label": "abc"[i % 3], "stimulus": (np.arange(n_times) >= n_times // 2).astype(float).tolist()}
            meta |= {"label_text": f"thing {i % 2}", **told}
            eeg = rng.standard_normal((len(names), n_times)).astype(np.float16)
            records.append({"__key__": f"{split}{i}", "npy": eeg, "json": meta})
        write_shard(shard_path(folder, split, 0), records, required=("json", "npy"))
    labels = {"train": {"a": 3, "b": 3}}
    write_manifest(folder, labels=labels)
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("samples")
    pairs = np.concatenate([electrode_positions(("Fz", "C3")), electrode_positions(("Cz", "C4"))], axis=1)
    return {
        "cap": write_set(root / "cap", NAMES, 1.0),
        "muse": write_set(root / "muse", ("Fz", "O1", "O2"), 0.5, n_train=36),
        "long": write_set(root / "long", ("C3", "C4"), 3.0),
        "bipolar": write_set(root / "bipolar", ("Fz-Cz", "C3-C4"), 0.75, positions=pairs.tolist()),
    }


def mixture(sets: dict[str, Path], *names: str, **settings: Any) -> Mixture:
    return Mixture(EEGDataConfig(samples=[sets[name] for name in names or sets], **{"batch_s": 8.0, **settings}))


def drawn(mix: Mixture, index: int = 0, seed: int = 0) -> dict[str, Tensor]:
    return mix.draw(generator("test", seed, index))


def test_a_batch_is_a_pure_function_of_its_generator(sets: dict[str, Path]) -> None:
    mix, again = mixture(sets, aligned=["cap"]), mixture(sets, aligned=["cap"])
    one = drawn(mix, 3)
    drawn(again, 1)
    for name, value in drawn(again, 3).items():
        torch.testing.assert_close(value, one[name], rtol=0, atol=0, equal_nan=True)
    assert any(not torch.equal(drawn(mix, i)["set"], one["set"]) for i in range(4, 8))


def test_windows_of_any_montage_and_of_about_one_duration_go_together(sets: dict[str, Path]) -> None:
    mix = mixture(sets)
    assert {name: mix.train[name].longest_s for name in sets} == {"cap": 1.0, "muse": 1.0, "long": 4.0, "bipolar": 1.0}
    batches = [drawn(mix, i) for i in range(12)]
    together = {frozenset(mix.names[i] for i in batch["set"].tolist()) for batch in batches}
    assert frozenset({"long"}) in together
    assert frozenset({"cap", "muse", "bipolar"}) in together
    assert not any("long" in names for names in together - {frozenset({"long"})})
    for batch in batches:
        names = [mix.names[i] for i in batch["set"].tolist()]
        assert len(names) == (2 if names[0] == "long" else 8), "8 s of EEG"
        n_chans = {"cap": 8, "muse": 3, "long": 2, "bipolar": 2}
        n_times = {"cap": 200, "muse": 100, "long": 600, "bipolar": 150}
        assert batch["known"].sum(1).tolist() == [n_chans[name] for name in names]
        assert batch["valid"].sum(1).tolist() == [n_times[name] for name in names]
        assert batch["eeg"].shape == (len(names), max(n_chans[n] for n in names), max(n_times[n] for n in names))
        exists = batch["known"][..., None] & batch["valid"][:, None]
        assert not batch["eeg"][~exists].any()
        assert (batch["eeg"][exists] != 0).double().mean() > 0.99
        assert torch.equal(batch["electrodes"][..., 6].bool().any(1), torch.tensor([n == "bipolar" for n in names]))


def test_a_window_is_stacked_as_it_lies_in_its_shard(sets: dict[str, Path]) -> None:
    mix = mixture(sets, aligned=["cap"])
    trials = [("cap", mix.train["cap"][0]), ("cap", mix.train["cap"][2]), ("muse", mix.train["muse"][0])]
    batch = mix.collate(trials)
    for row, (name, trial) in enumerate(trials):
        n_chans, n_times = trial.eeg.shape
        np.testing.assert_array_equal(batch["eeg"][row, :n_chans, :n_times], trial.eeg.clip(-15, 15))
        expected = electrodes(electrode_positions(trial.ch_names))
        np.testing.assert_array_equal(batch["electrodes"][row, :n_chans], expected)
        assert mix.names[batch["set"][row]] == name
    assert batch["label"].tolist() == [0, -1, -1], "the second has no label; muse is not aligned"
    light = batch["stimulus"].isfinite()
    assert light.sum(1).tolist() == [200, 0, 0]
    assert batch["stimulus"][0].tolist() == [0.0] * 100 + [1.0] * 100
    assert batch["embedding"].shape == (3, 0)
    loud = replace(trials[0][1], eeg=np.full((8, 200), 40.0, np.float32))
    assert mix.collate([("cap", loud)])["eeg"].max() == 15


def test_the_background_of_a_recording_comes_with_its_windows(sets: dict[str, Path]) -> None:
    mix = mixture(sets)
    trial = mix.train["cap"][0]
    assert trial.background is None, "its recording has none"
    known = replace(trial, background=tuple(np.arange(45.0)))
    found = mix.collate([("cap", known), ("cap", trial)])["background"]
    assert found[0].tolist() == list(range(45))
    assert found[1].isnan().all()


def test_labels_that_training_does_not_know_are_none(sets: dict[str, Path]) -> None:
    mix = mixture(sets, aligned=["cap"])
    other = replace(mix.train["cap"][0], label="zebra")
    assert mix.train["cap"].labels == ["a", "b"]
    assert mix.collate([("cap", other)])["label"].tolist() == [-1]


def test_people_who_are_known_are_told_by_their_place_among_them(sets: dict[str, Path]) -> None:
    mix = mixture(sets)
    trial = mix.train["cap"][0]
    people = [("cap", replace(trial, subject=name)) for name in ("eve", "bob", "", "ann")]
    assert mix.collate(people)["subject"].tolist() == [-1] * 4, "before any is known"
    mix.subjects = ("ann", "bob")
    assert mix.collate(people)["subject"].tolist() == [-1, 1, -1, 0]


def test_sets_weigh_the_root_of_their_size_or_what_they_are_given(sets: dict[str, Path]) -> None:
    def share(mix: Mixture) -> float:
        rows = torch.cat([drawn(mix, i)["set"] for i in range(80)])
        return (rows == mix.names.index("muse")).double().mean().item()

    assert share(mixture(sets, "cap", "muse")) == pytest.approx(6 / (6 + 3), abs=0.07)  # of 36 and 9 windows
    assert share(mixture(sets, "cap", "muse", weights={"muse": 1.0})) == pytest.approx(1 / (1 + 3), abs=0.07)
    given = mixture(sets, "cap", "muse", weights={"muse": 1.0, "cap": 9.0})
    assert share(given) == pytest.approx(0.1, abs=0.05)


def test_validation_windows_are_the_same_every_time(sets: dict[str, Path]) -> None:
    mix = mixture(sets, validation_windows=4, batch_s=3.0)
    batches, again = mix.validation_batches("cap"), mix.validation_batches("cap")
    assert [len(batch["set"]) for batch in batches] == [3, 1]
    for one, other in zip(batches, again, strict=True):
        assert torch.equal(one["eeg"], other["eeg"])
    first, last = mix.validation["cap"][0].eeg, mix.validation["cap"][4].eeg
    np.testing.assert_array_equal(batches[0]["eeg"][0], first)
    np.testing.assert_array_equal(batches[1]["eeg"][-1], last)
    assert sum(len(batch["set"]) for batch in mixture(sets).validation_batches("cap")) == 5


def test_held_out_windows_are_in_microvolts_and_of_every_set(sets: dict[str, Path]) -> None:
    mix = mixture(sets)
    windows = mix.held_out(2)
    assert [window.ch_names for window in windows] == [
        mix.validation[name][i].ch_names for name in sets for i in (0, 4)
    ]
    first, trial = windows[0], mix.validation["cap"][0]
    np.testing.assert_allclose(first.eeg_uV, 20.0 * trial.eeg, rtol=1e-6)
    assert (first.scale_uV, first.sfreq) == (20.0, 200.0)
    assert windows[-1].positions.shape == (2, 6), "bipolar"
    assert len(mix.held_out(99)) == 4 * 5


# --- embeddings


def write_embeddings(path: Path, keys: list[str], vectors: np.ndarray) -> Path:
    np.savez(path, keys=np.array(keys), vectors=vectors)
    return path


def test_embeddings_are_found_by_image_key_and_by_label_text(sets: dict[str, Path], tmp_path: Path) -> None:
    path = write_embeddings(tmp_path / "e.npz", ["thing 1", "picture 7"], np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert {key: vector.tolist() for key, vector in load_embeddings(path).items()} == {
        "thing 1": [1.0, 2.0, 3.0],
        "picture 7": [4.0, 5.0, 6.0],
    }
    mix = mixture(sets, embeddings={"cap": path})
    assert mix.embedding_dim == 3
    trial = mix.train["cap"][1]
    assert trial.keys == ("thing 1",)
    pictured = replace(trial, keys=("picture 7", "thing 1"))
    unknown = replace(trial, keys=("thing 0",))
    batch = mix.collate([("cap", trial), ("cap", pictured), ("cap", unknown), ("muse", trial)])
    assert batch["embedding"][:2].tolist() == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    assert batch["embedding"][2:].isnan().all(), "not in the file, and of a set without one"


def garbage(path: Path) -> Path:
    path.write_bytes(b"no numbers at all")
    return path


def empty(path: Path) -> Path:
    path.touch()
    return path


def cut_short(path: Path) -> Path:
    write_embeddings(path, ["a"], np.ones((1, 300)))
    path.write_bytes(path.read_bytes()[:-100])
    return path


def one_array(path: Path) -> Path:
    with path.open("wb") as file:
        np.save(file, np.ones((3, 2)))
    return path


def without_keys(path: Path) -> Path:
    np.savez(path, vectors=np.ones((2, 3)))
    return path


def pickled(path: Path) -> Path:
    np.savez(path, keys=np.array(["a", None], dtype=object), vectors=np.ones((2, 3)))
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path,
        garbage,
        empty,
        cut_short,
        one_array,
        without_keys,
        pickled,
        lambda path: write_embeddings(path, ["a", "b"], np.ones((3, 2))),
        lambda path: write_embeddings(path, ["a", "b"], np.ones(2)),
        lambda path: write_embeddings(path, ["a", "b"], np.array([[1.0, np.nan], [1.0, 2.0]])),
        lambda path: write_embeddings(path, ["a"], np.array([["x", "y"]])),
    ],
)
def test_a_bad_file_of_embeddings_is_refused(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    with pytest.raises(DataError, match=r"e\.npz: .*expected"):
        load_embeddings(write(tmp_path / "e.npz"))


def test_settings_that_cannot_work_are_refused(sets: dict[str, Path], tmp_path: Path) -> None:
    for wrong in ({"aligned": ["letters"]}, {"weights": {"letters": 2.0}}, {"embeddings": {"letters": Path("e.npz")}}):
        with pytest.raises(ConfigError, match=r"letters.*cap"):
            mixture(sets, **wrong)
    three = write_embeddings(tmp_path / "3.npz", ["a"], np.ones((1, 3)))
    four = write_embeddings(tmp_path / "4.npz", ["a"], np.ones((1, 4)))
    with pytest.raises(ConfigError, match=r"vectors of \[3, 4\] numbers"):
        mixture(sets, embeddings={"cap": three, "muse": four})
    bare = write_set(tmp_path / "bare", ("Cz",), 1.0, n_validation=0)
    with pytest.raises(DataError, match="no validation windows"):
        mixture({"bare": bare})
    write_manifest(bare, labels={"train": {"a": 9}})
    with pytest.raises(ConfigError, match="bare has no two labels"):
        mixture({"bare": bare, "cap": sets["cap"]}, aligned=["bare"])


def test_labels_of_every_set_that_has_some_shape_the_codes_unless_sets_are_named(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    bare = write_set(tmp_path / "bare", ("Cz",), 1.0)
    write_manifest(bare, labels={"train": {"a": 9}})
    labelled = [name for name in sets if len(mixture(sets).train[name].labels) > 1]
    assert "cap" in labelled
    assert sorted(mixture({"bare": bare, **sets}).aligned) == sorted(labelled)
    assert not mixture(sets, aligned=[]).aligned


# --- spoiled


STILL = {"SHIFT_SAMPLES": 0, "AMPLITUDE": 0.0, "NOISE": (0.0, 0.0), "DROPPED_SHARE": 0.0, "MASKED_SHARE": 0.0}
STILL |= {"MASKED_WINDOWS": 0.5, "SHORTENED_SHARE": 0.0, "BIPOLAR_SHARE": 0.0}


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Switch off every kind of damage but those named."""

    def switch(**constants: Any) -> None:
        for name, value in (STILL | constants).items():
            monkeypatch.setattr(eeg_windows, name, value)

    return switch


def trials(n: int = 40, names: tuple[str, ...] = NAMES, n_times: int = 200) -> dict[str, Tensor]:
    """Waves with an average reference, whose stimulus is channel 0; the last window has fewer samples and channels."""
    rng = np.random.default_rng(0)
    phase, speed = rng.uniform(0, 6, (n, len(names), 1)), rng.uniform(0.02, 0.2, (n, len(names), 1))
    eeg = torch.from_numpy(np.sin(speed * np.arange(n_times) + phase).astype(np.float32))
    eeg = eeg - eeg.mean(1, keepdim=True)
    known, valid = torch.ones(n, len(names), dtype=torch.bool), torch.ones(n, n_times, dtype=torch.bool)
    known[-1, -2:] = valid[-1, 150:] = False
    eeg = eeg * known[..., None] * valid[:, None]
    eeg[-1, :-2] -= eeg[-1, :-2].mean(0)
    places = torch.from_numpy(electrodes(electrode_positions(names))) * known[..., None]
    stimulus = torch.where(valid, eeg[:, 0], torch.nan)
    return {"eeg": eeg, "electrodes": places, "known": known, "valid": valid, "stimulus": stimulus}


def spoiled(batch: dict[str, Tensor], seed: int = 0) -> Spoiled:
    return spoil(batch, seed, step_samples=25, sfreq=200.0)


def check_same(found: Tensor, expected: Tensor, batch: dict[str, Tensor], atol: float = 0.0) -> None:
    """Equal where there are samples; the others say nothing."""
    exists = batch["known"][..., None] & batch["valid"][:, None]
    torch.testing.assert_close(found[exists], expected[exists], rtol=0, atol=atol)


def test_without_damage_the_input_is_the_target(only: Callable[..., None]) -> None:
    only()
    batch = trials()
    made, plain = spoiled(batch), unspoiled(batch)
    check_same(made.eeg, batch["eeg"], batch, atol=1e-6)
    check_same(made.target, batch["eeg"], batch)
    for name in ("electrodes", "present", "seen", "valid", "stimulus"):
        torch.testing.assert_close(getattr(made, name), getattr(plain, name), rtol=0, atol=0, equal_nan=True)
    assert torch.equal(plain.eeg, plain.target)


def test_the_seed_alone_decides(only: Callable[..., None]) -> None:
    one, again, other = spoiled(trials(), 1), spoiled(trials(), 1), spoiled(trials(), 2)
    for name in Spoiled.__dataclass_fields__:
        torch.testing.assert_close(getattr(one, name), getattr(again, name), rtol=0, atol=0, equal_nan=True)
    for name in ("eeg", "target", "present", "seen", "valid", "electrodes"):
        assert not torch.equal(getattr(one, name), getattr(other, name)), name


def test_the_stimulus_moves_with_the_signal(only: Callable[..., None]) -> None:
    only(SHIFT_SAMPLES=2)
    batch = trials()
    made = spoiled(batch)
    shifts = set()
    for row in range(40):
        n_times = int(batch["valid"][row].sum())
        found = [
            shift
            for shift in range(-2, 3)
            if torch.equal(made.target[row, 0, 2 : n_times - 2], batch["eeg"][row, 0, 2 - shift : n_times - 2 - shift])
        ]
        shifts.update(found)
        assert len(found) == 1
        assert torch.equal(made.stimulus[row, :n_times], made.target[row, 0, :n_times])
        assert made.stimulus[row, n_times:].isnan().all()
    assert shifts == {-2, -1, 0, 1, 2}
    torch.testing.assert_close(made.eeg, made.target, rtol=0, atol=1e-6)


def test_the_amplitude_changes_in_input_and_target_alike(only: Callable[..., None]) -> None:
    only(AMPLITUDE=0.2)
    batch = trials()
    made = spoiled(batch)
    factors = [(made.target[i, 0, 10] / batch["eeg"][i, 0, 10]).item() for i in range(40)]
    assert 0.8 < min(factors) < 0.9
    assert 1.1 < max(factors) < 1.25
    check_same(made.target, batch["eeg"] * torch.tensor(factors)[:, None, None], batch, atol=1e-5)
    torch.testing.assert_close(made.eeg, made.target, rtol=0, atol=1e-6)


def test_noise_is_in_the_input_alone(only: Callable[..., None]) -> None:
    only(NOISE=(0.1, 0.3))
    batch = trials()
    made = spoiled(batch)
    check_same(made.target, batch["eeg"], batch)
    sizes = (made.eeg - made.target)[:-1].flatten(1).std(1) / (7 / 8) ** 0.5  # the average reference takes an eighth
    assert 0.09 < sizes.min() < 0.15
    assert 0.25 < sizes.max() < 0.32


def test_dropped_channels_are_targets_still_and_the_others_have_their_average_reference(
    only: Callable[..., None],
) -> None:
    only(DROPPED_SHARE=0.5)
    batch = trials()
    made = spoiled(batch)
    assert not (made.present & ~batch["known"]).any()
    dropped = batch["known"] & ~made.present
    assert 0.15 < dropped.double().mean() < 0.35
    check_same(made.target, batch["eeg"], batch)
    for row in range(40):
        kept = made.eeg[row, made.present[row]][:, batch["valid"][row]]
        if len(kept) >= 4:
            torch.testing.assert_close(kept.mean(0), torch.zeros(kept.shape[1]), rtol=0, atol=1e-6)
        else:
            torch.testing.assert_close(kept, batch["eeg"][row, made.present[row]][:, batch["valid"][row]])
    few = trials(names=NAMES[:3])
    assert torch.equal(spoiled(few).present, few["known"]), "of three channels none is left out"


def test_a_window_never_loses_all_its_channels_or_all_its_steps(only: Callable[..., None]) -> None:
    only(DROPPED_SHARE=1.0, MASKED_SHARE=1.0, MASKED_WINDOWS=1.0)
    made = spoiled(trials(n=200, names=NAMES[:4]))
    assert made.present.any(1).all()
    assert made.seen.any(1).all()


def test_masked_steps_are_not_seen_and_must_be_given_back(only: Callable[..., None]) -> None:
    only(MASKED_SHARE=0.15)
    batch = trials(n=200, n_times=400)
    made = spoiled(batch)
    assert torch.equal(made.valid, batch["valid"])
    assert not (made.seen & ~made.valid).any()
    steps = made.seen[:-1].unflatten(1, (-1, 25))
    assert torch.equal(steps.any(2), steps.all(2)), "whole steps"
    masked = 1 - steps.any(2).double().mean(1)
    assert 0.35 < (masked == 0).double().mean() < 0.7  # half the windows, and some by chance
    assert 0.1 < masked[masked > 0].mean() < 0.25


def test_some_windows_end_early_anywhere_in_a_step(only: Callable[..., None]) -> None:
    only(SHORTENED_SHARE=0.25)
    batch = trials(n=400)
    made = spoiled(batch)
    length, before = made.valid.sum(1), batch["valid"].sum(1)
    assert torch.equal(made.valid, torch.arange(200) < length[:, None])
    assert torch.equal(made.seen, made.valid)
    assert 0.15 < (length < before).double().mean() < 0.35
    assert 50 <= length.min() < 70
    assert (length % 25 != 0).sum() > 50
    assert torch.equal(made.stimulus.isfinite(), made.valid)
    check_same(made.target, batch["eeg"], batch)


def test_bipolar_windows_are_differences_of_two_electrodes_that_they_name(only: Callable[..., None]) -> None:
    only(BIPOLAR_SHARE=0.5)
    batch = trials(n=60)
    made = spoiled(batch)
    bipolar = made.electrodes[..., 6] > 0
    assert 0.3 < bipolar.any(1).double().mean() < 0.7
    for row in torch.nonzero(bipolar.any(1)).flatten().tolist():
        known = int(batch["known"][row].sum())
        assert not bipolar[row, known:].any()
        assert bipolar[row].sum() == (known if known == 8 else known - 1), "where channels lack, the chain has an end"
        places = batch["electrodes"][row, :, :3]
        for channel in range(known):
            anode, cathode = made.electrodes[row, channel, :3], made.electrodes[row, channel, 3:6]
            assert torch.equal(anode, places[channel])
            expected = batch["eeg"][row, channel]
            if bipolar[row, channel]:
                (other,) = torch.nonzero((places[:known] == cathode).all(1)).flatten().tolist()
                assert other != channel
                expected = expected - batch["eeg"][row, other]
            valid = batch["valid"][row]
            torch.testing.assert_close(made.target[row, channel, valid], expected[valid], rtol=0, atol=1e-6)
        torch.testing.assert_close(made.eeg[row], made.target[row], rtol=0, atol=0)  # and is not referenced again
    plain = ~bipolar.any(1)
    assert plain.sum() > 10
    rest = {name: value[plain] for name, value in batch.items()}
    check_same(made.target[plain], rest["eeg"], rest)
    assert torch.equal(made.electrodes[plain], batch["electrodes"][plain])


def test_windows_that_are_bipolar_already_or_have_few_channels_stay(only: Callable[..., None]) -> None:
    only(BIPOLAR_SHARE=1.0)
    few = trials(names=NAMES[:3])
    assert not spoiled(few).electrodes[..., 6].any()
    already = trials()
    already["electrodes"] = already["electrodes"].clone()
    already["electrodes"][:, 0, 3:] = 1.0
    made = spoiled(already)
    assert torch.equal(made.electrodes, already["electrodes"])
    check_same(made.eeg, already["eeg"], already)


def test_a_trial_reads_what_its_shard_says(sets: dict[str, Path]) -> None:
    mix = mixture(sets)
    trial = mix.train["bipolar"][1]
    assert isinstance(trial, Trial)
    np.testing.assert_allclose(trial.electrodes[:, :3], electrode_positions(("Fz", "C3")))
    np.testing.assert_allclose(trial.electrodes[:, 3:6], electrode_positions(("Cz", "C4")))
    assert (trial.electrodes[:, 6] == 1).all()
    assert (trial.label, trial.duration_s, trial.ch_names) == ("b", 0.75, ("Fz-Cz", "C3-C4"))
    assert mix.train["cap"][2].stimulus is None
