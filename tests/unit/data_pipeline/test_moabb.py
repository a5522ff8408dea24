"""MOABB's own fake data set, read without a network. Importing moabb takes a quarter of a minute."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.readers.base import Failure, Located
from neuroleon.data_pipeline.readers.registry import READERS
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import prepare_samples
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.signals.montage import electrode_positions

OPTIONS = {"dataset": "Tiny", "subjects": [1, 3], "download": True}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A data set of moabb.datasets with three people, two sessions, six trials each, the same at every reading."""
    datasets = pytest.importorskip("moabb.datasets")

    class Tiny(datasets.FakeDataset):
        def __init__(self, **kwargs: Any) -> None:
            kinds = ("left_hand", "right_hand")
            super().__init__(kinds, n_subjects=3, n_runs=1, duration=40, n_events=6, seed=4, **kwargs)
            self.interval = [0.5, 2.5]

    monkeypatch.setattr(datasets, "Tiny", Tiny, raising=False)
    return Tiny


@pytest.mark.slow
def test_runs_come_continuous_in_microvolts_with_the_events_of_the_paradigm(tiny: Any) -> None:
    recordings = list(READERS["moabb"].read(Path(), OPTIONS))
    assert [(r.name, r.subject, r.group) for r in recordings] == [
        ("1-0-0", "1", "0"),
        ("1-1-0", "1", "1"),
        ("3-0-0", "3", "0"),
        ("3-1-0", "3", "1"),
    ]
    raw = tiny().get_data([3])[3]["1"]["0"]
    last = recordings[3]
    np.testing.assert_allclose(last.eeg_uV, raw.get_data(["C3", "Cz", "C4"]) * 1e6, rtol=1e-5)
    assert (last.ch_names, last.sfreq, last.left_out) == (("C3", "Cz", "C4"), 128.0, {"stim": "stim, not EEG"})
    np.testing.assert_array_equal(last.positions, electrode_positions(last.ch_names))
    steps = np.flatnonzero(raw.get_data([3])[0])
    np.testing.assert_allclose([e.onset_s for e in last.events], (steps + 64) / 128, atol=1e-6)
    assert [e.code for e in last.events] == ["left_hand", "right_hand"] * 3
    assert {e.duration_s for e in last.events} == {2.0}
    moved = next(READERS["moabb"].read(Path(), OPTIONS | {"interval": [-1, 4]}))
    assert [e.code for e in moved.events] == [e.code for e in recordings[0].events]
    assert moved.events[0].onset_s == pytest.approx(recordings[0].events[0].onset_s - 1.5)  # before the signal
    assert moved.events[0].onset_s < 0
    assert {e.duration_s for e in moved.events} == {5.0}


@pytest.mark.slow
def test_a_moabb_set_becomes_shards(tiny: Any, tmp_path: Path) -> None:
    recipe = {
        "name": "own",
        "title": "Own",
        "licence": "CC0-1.0",
        "citation": "none",
        "source": {"reader": "moabb", "options": OPTIONS},
        "windows": [{"duration_s": 2.0}],
        "labels": {"map": {"left_hand": "left hand", "right_hand": "right hand"}},
        "split": {"by": "recording", "train": ["1-*"], "test": ["3-*"]},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(recipe))
    report = prepare_samples(load_recipe(tmp_path / "own.yaml"), tmp_path, tmp_path / "out")
    assert report.samples == {"train": 12, "test": 12}
    assert report.labels["test"] == {"left hand": 6, "right hand": 6}
    assert next(iter(ShardReader(tmp_path / "out" / "own", "test")))["npy"].shape == (3, 400)


@pytest.mark.slow
def test_what_moabb_cannot_read_fails_alone_and_wrong_options_at_once(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, subject: int) -> None:
        raise ConnectionError("at https://example.org/Anna_Muster.mat")

    whole = tiny._get_single_subject_data
    monkeypatch.setattr(
        tiny, "_get_single_subject_data", lambda self, subject: (refuse if subject == 1 else whole)(self, subject)
    )
    locate = READERS["moabb"].locate
    assert locate is not None
    found = list(locate(Path(), OPTIONS))
    assert [one.name for one in found if isinstance(one, Failure)] == ["subject 1"]
    located = [one for one in found if isinstance(one, Located)]
    assert [dict(one.options)["subjects"] for one in located] == [[3], [3]]
    with pytest.raises(DataError, match="subject 1: cannot be fetched or read") as error:
        next(READERS["moabb"].read(Path(), OPTIONS))
    assert "Muster" not in str(error.value)
    for options, message in (
        ({"dataset": "FakeDatset"}, "did you mean 'FakeDataset'"),
        ({"dataset": "download"}, "no data set"),
        ({"subjects": [4]}, r"expected a list out of \[1, 2, 3\]"),
        ({"subjects": "all"}, "expected a list"),
        ({"interval": [3, 1]}, r"interval is \[3, 1\]"),
        ({"interval": 3}, "interval is 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            list(locate(Path(), OPTIONS | options))


def test_moabb_is_not_started_without_leave_to_download() -> None:
    for download in (False, "yes"):
        with pytest.raises(ConfigError, match="say `download: true`"):
            next(READERS["moabb"].read(Path(), OPTIONS | {"download": download}))
    with pytest.raises(ConfigError, match="option download is missing"):
        next(READERS["moabb"].read(Path(), {"dataset": "Tiny", "subjects": [1]}))
