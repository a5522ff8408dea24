from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroleon.common.errors import ConfigError
from neuroleon.data_pipeline.windows import WindowSpec, cut, window_of
from neuroleon.signals.preprocess import Preprocessed
from neuroleon.signals.recording import Event, Recording


def preprocessed(seconds: float = 10, events: tuple[Event, ...] = (), boundaries: tuple[int, ...] = ()) -> Preprocessed:
    """Each sample is its own index, so that a window says where it comes from."""
    n_times = int(seconds * 200)
    recording = Recording(
        eeg_uV=np.arange(n_times, dtype=np.float32)[None].repeat(2, axis=0),
        ch_names=("Cz", "Oz"),
        positions=np.ones((2, 3), np.float32),
        sfreq=200.0,
        events=events,
        name="r",
        subject="s",
        boundaries=boundaries,
    )
    return Preprocessed(
        recording=recording,
        scale_uV=7.0,
        background=(0.5,) * 45,
        bad_channels={},
        notes=(),
        notch_hz=(),
        band_hz=(0.5, 45.0),
        reference="average",
    )


def test_a_window_starts_at_its_event() -> None:
    events = (Event(2.0, "cat"), Event(3.005, "dog"))
    found = cut(preprocessed(events=events), WindowSpec(duration_s=0.5, tmin_s=-0.1))
    assert [(int(w.eeg_uV[0, 0]), w.eeg_uV.shape, e, s) for w, e, s in found.windows] == [
        (380, (2, 100), events[0], 1.9),
        (581, (2, 100), events[1], 2.905),
    ]
    window = found.windows[0][0]
    assert (window.scale_uV, window.sfreq, window.ch_names) == (7.0, 200.0, ("Cz", "Oz"))
    assert window.background == (0.5,) * 45
    assert not found.skipped


def test_only_the_wanted_codes_are_cut() -> None:
    events = (Event(2.0, "cat"), Event(3.0, "dog"), Event(4.0, "cat"))
    found = cut(preprocessed(events=events), WindowSpec(duration_s=0.5, events=("cat",)))
    assert [s for _, _, s in found.windows] == [2.0, 4.0]


def test_windows_that_do_not_fit_are_counted() -> None:
    events = tuple(Event(s, "x") for s in (0.05, 2.0, 4.9, 5.0, 9.8))
    found = cut(preprocessed(events=events, boundaries=(1000,)), WindowSpec(duration_s=0.5, tmin_s=-0.1))
    assert [s for _, _, s in found.windows] == [1.9]
    assert found.skipped == Counter({"outside the recording": 2, "crosses a boundary": 2})


def test_a_window_may_end_at_a_boundary_and_not_one_sample_later() -> None:
    events = (Event(4.5, "x"), Event(4.505, "x"), Event(9.5, "x"), Event(9.505, "x"), Event(5.0, "x"))
    found = cut(preprocessed(events=events, boundaries=(1000,)), WindowSpec(duration_s=0.5))
    assert [s for _, _, s in found.windows] == [4.5, 9.5, 5.0]


def test_cycles_of_a_trial_are_cut_one_by_one() -> None:
    """A c-VEP trial: five cycles of 2.1 s; 2.125 s of the last do not fit into the trial."""
    found = cut(
        preprocessed(21, (Event(0.0, "A"), Event(10.5, "B")), (2100,)),
        WindowSpec(duration_s=2.125, repeat_every_s=2.1, repeats=5),
    )
    assert [(e.code, round(s, 3)) for _, e, s in found.windows if e] == [
        (key, round(start + 2.1 * k, 3)) for key, start in (("A", 0), ("B", 10.5)) for k in range(4)
    ]
    assert found.skipped.total() == 2


def test_sliding_windows_restart_at_each_piece() -> None:
    found = cut(preprocessed(10, boundaries=(500, 540)), WindowSpec(by="sliding", duration_s=1.0))
    assert [int(w.eeg_uV[0, 0]) for w, _, _ in found.windows] == [0, 200, *range(540, 1801, 200)]
    assert found.skipped == {"crosses a boundary": 1}  # the piece that is shorter than a window


def test_sliding_windows_belong_to_the_event_that_spans_them() -> None:
    rest, task = Event(0.0, "rest", 4.0), Event(5.0, "task", 5.0)
    spec = WindowSpec(by="sliding", duration_s=1.0, step_s=0.5)
    events = Counter(e.code if e else None for _, e, _ in cut(preprocessed(events=(rest, task)), spec).windows)
    assert events == {"rest": 7, "task": 9, None: 3}
    found = cut(preprocessed(events=(rest, task)), WindowSpec(by="sliding", duration_s=1.0, events=("task",)))
    assert [s for _, _, s in found.windows] == [5, 6, 7, 8, 9]
    assert found.skipped == {"outside the events to keep": 5}


@given(
    st.lists(st.integers(1, 1999), max_size=6, unique=True).map(sorted),
    st.lists(st.floats(-1, 11), max_size=20),
    st.sampled_from([0.125, 1.0, 2.5]),
    st.sampled_from(["events", "sliding"]),
    st.floats(-1, 1),
)
def test_windows_never_cross_a_boundary(
    boundaries: list[int], onsets: list[float], duration_s: float, by: str, tmin_s: float
) -> None:
    events = tuple(Event(s, "x") for s in onsets)
    spec = WindowSpec(by=by, duration_s=duration_s, tmin_s=tmin_s if by == "events" else 0.0)
    found = cut(preprocessed(10, events, tuple(boundaries)), spec)
    for window, _, onset_s in found.windows:
        first, last = int(window.eeg_uV[0, 0]), int(window.eeg_uV[0, -1])
        assert last - first + 1 == round(duration_s * 200)
        assert first == round(onset_s * 200)
        assert not any(first < boundary <= last for boundary in boundaries)
    if by == "events":
        assert len(found.windows) + found.skipped.total() == len(events)


@pytest.mark.parametrize(
    "settings",
    [
        {"duration_s": 0.1},
        {"duration_s": 2.1},
        {"duration_s": 0.0},
        {"duration_s": 1.0, "by": "epochs"},
        {"duration_s": 1.0, "repeats": 2},
        {"duration_s": 1.0, "repeat_every_s": 2.0},
        {"duration_s": 1.0, "repeats": 2, "repeat_every_s": 0.0},
        {"duration_s": 1.0, "step_s": 1.0},
        {"duration_s": 1.0, "by": "sliding", "step_s": 0.0},
        {"duration_s": 1.0, "by": "sliding", "tmin_s": 0.5},
    ],
)
def test_a_wrong_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        WindowSpec(**settings)


@pytest.mark.parametrize(("said", "subject"), [("s1", "s1"), (7, "7"), ("", None), (None, None), ("absent", None)])
def test_the_window_of_a_sample_is_in_microvolts_and_says_whose_it_is(said: object, subject: str | None) -> None:
    eeg = np.arange(400, dtype=np.float16).reshape(2, 200) / 100
    info = {"ch_names": ["Cz", "Oz"], "positions": [[0.0, 0.0, 1.0], [0.0, None, None]], "scale_uV": 7.0, "sfreq": 200}
    window = window_of({"npy": eeg, "json": info | ({} if said == "absent" else {"subject": said})})
    np.testing.assert_allclose(window.eeg_uV, 7 * eeg.astype(np.float32))
    assert window.eeg_uV.dtype == window.positions.dtype == np.float32
    assert np.isnan(window.positions[1]).tolist() == [False, True, True]
    assert (window.ch_names, window.scale_uV, window.sfreq) == (("Cz", "Oz"), 7.0, 200.0)
    assert window.subject == subject
