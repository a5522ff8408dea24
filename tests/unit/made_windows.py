"""Windows with planted responses, for tests of baselines."""

from collections.abc import Sequence

import numpy as np

from neuroleon.evaluation.baselines.windows import Windows


def made_windows(
    eeg: np.ndarray,
    answers: Sequence[str],
    subjects: Sequence[str] | None = None,
    recordings: Sequence[str] | None = None,
    trials: Sequence[str] | None = None,
    pictures: Sequence[str] | None = None,
    **others: object,
) -> Windows:
    """Windows at 200 Hz; by default one subject, four recordings that take turns, and every window a trial."""
    n = len(eeg)
    subjects = ["s"] * n if subjects is None else subjects
    recordings = [f"r{i % 4}" for i in range(n)] if recordings is None else recordings
    recordings = [f"{s}/{r}" for s, r in zip(subjects, recordings, strict=True)]
    facts: dict[str, object] = {
        "recipe": "made",
        "ch_names": tuple(f"c{i}" for i in range(eeg.shape[1])),
        "sfreq": 200.0,
        "eeg_uV": eeg.astype(np.float32),
        "scale_uV": np.ones(n),
        "answers": np.array(answers),
        "trials": np.array([f"t{i}" for i in range(n)] if trials is None else trials),
        "recordings": np.array(recordings),
        "sessions": np.array(recordings),
        "subjects": np.array(subjects),
        "pictures": np.array([""] * n if pictures is None else pictures),
        "split": np.array(["train" if r.endswith(("0", "1", "2")) else "validation" for r in recordings]),
        "key": np.array([f"k{i}" for i in range(n)]),
        "has_code": False,
        "has_labels": True,
        "features": {},
        "shown": {split: frozenset() for split in ("train", "validation", "test")},
    }
    return Windows(**facts | others)  # type: ignore[arg-type]


def noise(n: int, n_chans: int = 6, n_times: int = 200, seed: int = 0) -> np.ndarray:
    """White noise (n, n_chans, n_times), average-referenced, as EEG in shards is."""
    eeg = np.random.default_rng(seed).standard_normal((n, n_chans, n_times))
    return eeg - eeg.mean(axis=1, keepdims=True)


MAP = np.array([2.0, 1.0, 0.0, -1.0, -2.0, 0.0])  # where on the head a planted response is


def flicker(hertz: Sequence[float], amplitude: float, seed: int = 0, n_times: int = 400) -> np.ndarray:
    """A sine of each window's frequency (0 for none), every time with the same phase, in noise."""
    waves = np.sin(2 * np.pi * np.array(hertz)[:, None] * np.arange(n_times) / 200)
    return noise(len(hertz), n_times=n_times, seed=seed) + amplitude * MAP[None, :, None] * waves[:, None]


def evoked(labels: Sequence[int], amplitude: float, seed: int = 0) -> np.ndarray:
    """A bump at 0.2, 0.4, 0.6 ... s by label, in noise of 1 s."""
    seconds = np.arange(200) / 200
    bumps = np.exp(-((seconds - 0.2 * (np.array(labels)[:, None] + 1)) ** 2) / 0.002)
    return noise(len(labels), seed=seed) + amplitude * MAP[None, :, None] * bumps[:, None]


def rhythms(labels: Sequence[int], amplitude: float, seed: int = 0) -> np.ndarray:
    """Noise of 2 s in which a source of 10 Hz, of random phase and another place for each label, is strong."""
    rng = np.random.default_rng(seed)
    maps = np.array([MAP, np.roll(MAP, 2)])[np.array(labels)]
    phases = rng.uniform(0, 2 * np.pi, (len(labels), 1))
    waves = np.sin(2 * np.pi * 10 * np.arange(400) / 200 + phases)
    return noise(len(labels), n_times=400, seed=seed) + amplitude * maps[..., None] * waves[:, None]
