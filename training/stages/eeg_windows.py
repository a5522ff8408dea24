"""The batches of the EEG tokenizer: windows of many sets, montages and durations together, spoiled for training.

A window is read from its shard when it is drawn, so a run's memory does not grow with the data.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline.augment import AMPLITUDE, SHIFT_SAMPLES
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.storage import Folder, Location
from neuroleon.data_pipeline.windows import window_of
from neuroleon.signals.montage import electrodes
from neuroleon.signals.window import Window
from neuroleon.tokenizers.eeg.evidence import backgrounds
from neuroleon.tokenizers.eeg.tokenizer import CLIP

NOISE = (0.0, 0.1)  # in units of the scale; what flicker evokes is not louder than 0.1
DROPPED_SHARE = 0.35  # of the channels, at most; more than later augmentation leaves out
MIN_CHANNELS_TO_DROP = 4  # fewer give no average reference either
MASKED_SHARE = 0.15  # of the steps, of some windows
MASKED_WINDOWS = 0.2
SHORTENED_SHARE = 0.1  # of the windows end early, anywhere inside a step
SHORTEST_S = 0.25
FEWEST_VALIDATION = 2
BIPOLAR_SHARE = 0.1  # of the windows become differences of their own electrodes


@dataclass(frozen=True, kw_only=True)
class EEGDataConfig:
    """Which windows, and how many.

    Attributes:
        samples: folders of sample shards.
        aligned: names of the sets whose labels shape the codes, and their stimuli where the encoder has a transformer;
            the others are only reconstructed. Default: every set of two labels or more.
        embeddings: name of a set -> `.npz` with `keys`, the image keys or label texts of its samples, and `vectors`
            (n, E): what that transformer says is drawn towards the embedding of what was seen.
        weights: share of the EEG that comes from a set, by name; default: the square root of its number of windows.
        batch_s: seconds of EEG in a batch. Windows of about one duration go together, of any set and montage.
        validation_windows: windows of each set that are validated on.
    """

    samples: list[Location]
    aligned: list[str] | None = None
    embeddings: dict[str, Path] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    batch_s: float = 128.0
    validation_windows: int = 128


@dataclass(frozen=True)
class Trial:
    """One window: `eeg` (n_chans, n_times) in units of its scale, `electrodes` (n_chans, 7), what it is paired with."""

    key: str
    eeg: np.ndarray
    electrodes: np.ndarray
    ch_names: tuple[str, ...]
    label: str | None
    subject: str
    recording: str
    keys: tuple[str, ...]
    stimulus: np.ndarray | None  # (n_times,), 0..1
    background: tuple[float, ...] | None  # of its recording
    duration_s: float


class WindowSet:
    """One split of one set; `set[i]` reads a window from its shard."""

    def __init__(self, folder: Location, split: str) -> None:
        self.reader = ShardReader(folder, split)
        shards = self.reader.manifest["shards"].values()
        self.has_eeg = all("npy" in shard["required"] for shard in shards)
        self.longest_s = 2.0 ** max(0, math.ceil(math.log2(self[0].duration_s))) if len(self) else 0.0
        self.labels = sorted(self.reader.manifest.get("labels", {}).get("train", {}))

    def __len__(self) -> int:
        return len(self.reader) if self.has_eeg else 0

    def __getitem__(self, i: int) -> Trial:
        record = self.reader[i]
        meta = record["json"]
        return Trial(
            key=record["__key__"],
            eeg=record["npy"].astype(np.float32),
            electrodes=electrodes(np.array(meta["positions"], np.float32)),
            ch_names=tuple(meta["ch_names"]),
            label=meta["label"],
            subject=str(meta["subject"] or ""),
            recording=str(meta["recording"]),
            keys=tuple(key for key in (meta.get("image_key"), meta.get("label_text")) if key),
            stimulus=np.asarray(meta["stimulus"], np.float32) if "stimulus" in meta else None,
            background=tuple(meta["background"]) if "background" in meta else None,
            duration_s=record["npy"].shape[1] / meta["sfreq"],
        )

    def window(self, i: int) -> Window:
        """The same window in microvolts, as a tokenizer takes it."""
        return window_of(self.reader[i])


def load_embeddings(path: Path) -> dict[str, np.ndarray]:
    """Key -> float32 (E,) of an `.npz` with `keys` and `vectors`.

    Raises:
        DataError: absent, damaged, or the two arrays do not belong together.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            keys, vectors = stored["keys"].tolist(), stored["vectors"].astype(np.float32)
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise DataError(f"{path}: {error}; expected an .npz with the arrays keys (n,) and vectors (n, E)") from None
    if vectors.ndim != 2 or len(keys) != len(vectors) or not np.isfinite(vectors).all():
        raise DataError(f"{path}: {len(keys)} keys and vectors {vectors.shape}; expected finite numbers (n, E)")
    return dict(zip(map(str, keys), vectors, strict=True))


class Mixture:
    """Draws and stacks windows of several sets. A batch is a pure function of the generator given, `subjects` and
    `folds`, which are for the stage to say, once it knows.

    Attributes:
        aligned: names of the sets whose labels shape the codes.
        subjects: people whom the tokenizer knows.
        folds: by set, and by recording or key of a training trial, the fold that it is left out in.
    """

    def __init__(self, config: EEGDataConfig) -> None:
        self.config = config
        folders = {Folder.at(location).name: location for location in config.samples}
        self.train = {name: WindowSet(location, "train") for name, location in folders.items()}
        self.validation = {name: WindowSet(location, "validation") for name, location in folders.items()}
        self.train = {name: windows for name, windows in self.train.items() if len(windows)}
        self.names = sorted(self.train)
        labelled = [name for name in self.names if len(self.train[name].labels) > 1]
        self.aligned = labelled if config.aligned is None else config.aligned
        named = set(self.aligned) | set(config.weights) | set(config.embeddings)
        if named - set(self.train) or not self.train:
            raise ConfigError(
                f"data.aligned, weights or embeddings name {sorted(named - set(self.train))}, the folders with EEG "
                f"windows to train on are {self.names}; correct the config or prepare these sets"
            )
        if without := sorted(set(self.aligned) - set(labelled)):
            raise ConfigError(f"data.aligned: {', '.join(without)} has no two labels; take it out")
        if sum(map(len, self.validation.values())) < FEWEST_VALIDATION:
            raise DataError(
                f"data.samples: {self.names} have no validation windows, or a single one; expected {FEWEST_VALIDATION} "
                "at least, which the tokenizer learns from how well it gives EEG back; add a set that has some"
            )
        self.embeddings = {name: load_embeddings(path) for name, path in config.embeddings.items()}
        sizes = {len(vector) for table in self.embeddings.values() for vector in table.values()}
        if len(sizes) > 1:
            raise ConfigError(f"data.embeddings: vectors of {sorted(sizes)} numbers; expected one size for all sets")
        self.embedding_dim = sizes.pop() if sizes else 0
        self.subjects: tuple[str, ...] = ()
        self.folds: dict[str, dict[str, int]] = {}
        self._weights = {name: config.weights.get(name, len(self.train[name]) ** 0.5) for name in self.names}

    def draw(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """A training batch, not yet spoiled."""
        weights = np.array([self._weights[name] for name in self.names])
        longest_s = self.train[self.names[rng.choice(len(weights), p=weights / weights.sum())]].longest_s
        weights *= [self.train[name].longest_s == longest_s for name in self.names]
        n = max(1, round(self.config.batch_s / longest_s))
        chosen = [self.names[i] for i in rng.choice(len(weights), size=n, p=weights / weights.sum())]
        trials = [(name, self.train[name][int(rng.integers(len(self.train[name])))]) for name in chosen]
        return self.collate(trials) | {"fold": torch.tensor([self._fold(*trial) for trial in trials])}

    def _fold(self, name: str, trial: Trial) -> int:
        """The fold that a training trial is left out in, -1 for none."""
        folds = self.folds.get(name, {})
        return folds.get(trial.key, folds.get(trial.recording, -1))

    def collate(self, trials: Sequence[tuple[str, Trial]]) -> dict[str, Tensor]:
        """Stack windows; channels and samples that a window lacks are marked in `known` and `valid`, never filled.

        A window without a label, or of a set that is not aligned, has label -1, one of somebody who is not known
        subject -1, in a fold is none (-1); without stimulus, background or embedding, NaN.
        """
        n, longest = len(trials), max(trial.eeg.shape[1] for _, trial in trials)
        n_chans = max(len(trial.eeg) for _, trial in trials)
        eeg = np.zeros((n, n_chans, longest), np.float32)
        places = np.zeros((n, n_chans, 7), np.float32)
        known, valid = np.zeros((n, n_chans), bool), np.zeros((n, longest), bool)
        label, stimulus = np.full(n, -1), np.full((n, longest), np.nan, np.float32)
        embedding = np.full((n, self.embedding_dim), np.nan, np.float32)
        for row, (name, trial) in enumerate(trials):
            count, n_times = trial.eeg.shape
            eeg[row, :count, :n_times] = trial.eeg
            places[row, :count], known[row, :count], valid[row, :n_times] = trial.electrodes, True, True
            if name in self.aligned:
                labels = self.train[name].labels
                label[row] = labels.index(trial.label) if trial.label in labels else -1
                if trial.stimulus is not None:
                    stimulus[row, :n_times] = trial.stimulus
            for key in trial.keys:
                if (vector := self.embeddings.get(name, {}).get(key)) is not None:
                    embedding[row] = vector
                    break
        return {
            "eeg": torch.from_numpy(eeg).clamp(-CLIP, CLIP),
            "electrodes": torch.from_numpy(places),
            "known": torch.from_numpy(known),
            "valid": torch.from_numpy(valid),
            "label": torch.from_numpy(label),
            "stimulus": torch.from_numpy(stimulus),
            "embedding": torch.from_numpy(embedding),
            "set": torch.tensor([self.names.index(name) for name, _ in trials]),
            "background": backgrounds([trial.background for _, trial in trials]),
            "fold": torch.full((n,), -1),
            "subject": torch.tensor(
                [self.subjects.index(of) if (of := trial.subject) in self.subjects else -1 for _, trial in trials]
            ),
        }

    def held_out(self, per_set: int) -> list[Window]:
        """At most so many windows of each set's validation split, spread over it."""
        found = []
        for windows in self.validation.values():
            picked = np.unique(np.linspace(0, len(windows) - 1, min(per_set, len(windows))).round().astype(int))
            found += [windows.window(int(i)) for i in picked]
        return found

    def validation_batches(self, name: str) -> list[dict[str, Tensor]]:
        """Windows of one set, spread over its validation split, the same every time."""
        windows = self.validation[name]
        if not len(windows):
            return []
        size = max(1, round(self.config.batch_s / windows.longest_s))
        picked = np.unique(np.linspace(0, len(windows) - 1, self.config.validation_windows).round().astype(int))
        return [
            self.collate([(name, windows[int(i)]) for i in picked[start : start + size]])
            for start in range(0, len(picked), size)
        ]


@dataclass(frozen=True)
class Spoiled:
    """What the encoder is given, and what the decoder must give back."""

    eeg: Tensor
    target: Tensor
    electrodes: Tensor
    present: Tensor  # channels that the encoder sees
    seen: Tensor  # samples that the encoder sees
    valid: Tensor  # samples that there are
    stimulus: Tensor


def unspoiled(batch: dict[str, Tensor]) -> Spoiled:
    """The batch as it is."""
    eeg, known, valid = batch["eeg"], batch["known"], batch["valid"]
    return Spoiled(eeg, eeg, batch["electrodes"], known, valid, valid, batch["stimulus"])


def spoil(batch: dict[str, Tensor], seed: int, step_samples: int, sfreq: float) -> Spoiled:
    """Shifted, scaled, shortened or made bipolar, input and target alike; then the input with noise, without some
    channels and without some steps, so that the tokenizer learns to give back what it does not see."""
    rng = torch.Generator().manual_seed(seed)
    eeg, known, valid = batch["eeg"], batch["known"], batch["valid"]
    n, n_chans, n_times = eeg.shape
    device = eeg.device

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.empty(*shape).uniform_(low, high, generator=rng).to(device)

    length = valid.sum(1, keepdim=True)
    shift = torch.randint(-SHIFT_SAMPLES, SHIFT_SAMPLES + 1, (n, 1), generator=rng).to(device)
    times = (torch.arange(n_times, device=device) - shift).clamp_min(0).minimum(length - 1)
    stimulus = batch["stimulus"].gather(1, times)
    target = (
        eeg.gather(2, times[:, None].expand(-1, n_chans, -1)) * uniform(n, 1, 1, low=-AMPLITUDE, high=AMPLITUDE).exp()
    )
    shortest = torch.minimum(length, torch.full_like(length, int(SHORTEST_S * sfreq)))
    cut = shortest + ((length - shortest) * uniform(n, 1)).long()
    length = torch.where(uniform(n, 1) < SHORTENED_SHARE, cut, length)
    valid = torch.arange(n_times, device=device) < length
    target, places = _some_bipolar(target, batch["electrodes"], known, uniform(n, 1), rng)
    spoiled = target + uniform(n, 1, 1, low=NOISE[0], high=NOISE[1]) * torch.randn(eeg.shape, generator=rng).to(device)
    share = uniform(n, 1) * DROPPED_SHARE
    enough = known.sum(1, keepdim=True) >= MIN_CHANNELS_TO_DROP
    present = known & ~((uniform(n, n_chans) < share) & enough)
    present = torch.where(present.any(dim=1, keepdim=True), present, known)
    spoiled = _average_reference(spoiled, present, places)
    steps = torch.arange(n_times, device=device) // step_samples
    masked = (uniform(n, n_times // step_samples) < MASKED_SHARE) & (uniform(n, 1) < MASKED_WINDOWS)
    seen = valid & ~masked[:, steps]
    seen = torch.where(seen.any(dim=1, keepdim=True), seen, valid)
    return Spoiled(spoiled, target, places, present, seen, valid, stimulus.where(valid, torch.nan))


def _some_bipolar(
    eeg: Tensor, places: Tensor, known: Tensor, chance: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Some windows as chains of differences: channel i against the one that a random order puts next to it."""
    order = torch.rand(known.shape, generator=rng).to(eeg.device).masked_fill(~known, 2.0).argsort(dim=1)
    following = order.roll(-1, dims=1)
    other = torch.empty_like(order).scatter_(1, order, following)
    chosen = (chance < BIPOLAR_SHARE) & (known.sum(1, keepdim=True) >= MIN_CHANNELS_TO_DROP)
    chosen = chosen & ~(places[..., 6] > 0).any(dim=1, keepdim=True) & known & known.gather(1, other)
    difference = eeg - eeg.gather(1, other[..., None].expand_as(eeg))
    anode = places[..., :3]
    cathode = anode.gather(1, other[..., None].expand_as(anode))
    paired = torch.cat([anode, cathode, torch.ones_like(anode[..., :1])], dim=-1)
    return torch.where(chosen[..., None], difference, eeg), torch.where(chosen[..., None], paired, places)


def _average_reference(eeg: Tensor, present: Tensor, places: Tensor) -> Tensor:
    """As preprocessing would have done without the dropped channels; bipolar windows stay."""
    weight = present[..., None].float()
    mean = (eeg * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True)
    rereferenced = (present.sum(1) >= MIN_CHANNELS_TO_DROP) & ~(places[..., 6] > 0).any(dim=1)
    return torch.where(rereferenced[:, None, None], eeg - mean, eeg)
