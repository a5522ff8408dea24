"""Recipe and recordings in, sample shards out: one task per shard, each of which can be repeated and run anywhere.

    OUT/NAME/train-000000.tar ...   KEY.npy, KEY.json, KEY.png (docs/formats/shard.md)
    OUT/NAME/recipe.json            labels, sentences, question and pictures of each label, for later stages
    OUT/NAME/preprocess.json        the signal settings
    OUT/NAME/pictures/KEY.png       every picture that a sample with a label carries or could carry
    OUT/NAME/.tasks/                what is done, for a run that goes on; it names what failed: do not pass it on

A task is made of recordings of one split; `launch.py` runs them here, on SLURM or on Ray. Codes of events
without a label are free text: the run that reads them shows them, and they are kept nowhere.
"""

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from neuroleon.common.errors import DataError
from neuroleon.common.files import MANIFEST, locked, read_json, sha256_json, write_json
from neuroleon.data_pipeline.copies import NOTHING, Shared, find_shared, refuse_across_splits, write_landmarks
from neuroleon.data_pipeline.launch import HERE, Launch, run_tasks
from neuroleon.data_pipeline.pairing import picture_stamp
from neuroleon.data_pipeline.pseudonyms import Pseudonyms, read_secret
from neuroleon.data_pipeline.readers.base import Failure, Located
from neuroleon.data_pipeline.readers.files import stamp
from neuroleon.data_pipeline.recipe import Recipe
from neuroleon.data_pipeline.recording_samples import RecordingSamples
from neuroleon.data_pipeline.samples_report import Report
from neuroleon.data_pipeline.shards import index_path, shard_path, write_manifest, write_shard
from neuroleon.data_pipeline.sources import survey
from neuroleon.data_pipeline.splits import SPLITS, assign

RECORDINGS_PER_SHARD = 8
PICTURES_PER_SHARD = 500
FORMAT = 5  # raised when the same recipe and files would give other samples, or another state


@dataclass(frozen=True, kw_only=True)
class Task:
    """Some recordings of one split that become one shard; running it twice gives the same bytes.

    `key` is a file, read where the task runs: schedulers write tasks to disk.
    """

    recipe: Recipe
    folder: Path
    out: Path
    split: str
    number: int
    located: tuple[Located, ...]
    key: Path | None = None

    @property
    def shard(self) -> Path:
        return shard_path(self.out, self.split, self.number)

    @property
    def state(self) -> Path:
        return self.out / ".tasks" / f"{self.shard.stem}.json"

    @property
    def landmarks(self) -> Path:
        return self.state.with_suffix(".npz")

    def fingerprint(self) -> str:
        """sha256 over the recipe, its checksums, the settings, and names, sizes and times of the source files.

        A file that is not here counts too, and so does which key it is, where there is one.
        """
        files = sorted({path for located in self.located for path in located.files})
        stats = [[path.name, *stamp(path)] for path in files]
        names = [asdict(located.source) for located in self.located]
        keyed = [Pseudonyms(self.recipe.name, read_secret(self.key)).fingerprint] if self.key else []
        published = [self.recipe.checksums] if self.recipe.checksums else []
        whole = [FORMAT, self.recipe.sha256, self.recipe.preprocess.fingerprint, names, stats, *keyed, *published]
        return sha256_json(whole)

    def is_done(self) -> bool:
        """Whether the state of an earlier run is of this very task and its shard is still there, whole."""
        if not self.state.is_file() or not self.landmarks.is_file():
            return False
        state = read_json(self.state)
        if state["fingerprint"] != self.fingerprint():
            return False
        if any(picture_stamp(self.folder, name) != then for name, then in state["lacking"].items()):
            return False  # pictures came since
        index = index_path(self.shard)
        if state["sha256"] is None:
            return not self.shard.exists()
        whole = self.shard.is_file() and index.is_file() and self.shard.stat().st_size == state["bytes"]
        return whole and read_json(index)["sha256"] == state["sha256"]


def prepare_samples(recipe: Recipe, data: Path, out: Path, launch: Launch = HERE, key: Path | None = None) -> Report:
    """Write the sample shards of `recipe` to `out`/NAME. Tasks that an earlier run has finished are not run again.

    Args:
        data: the folder that holds the recipe's `source.folder`.
        launch: where and how many at a time; without it, one after the other in this process.
        key: a file whose content keys the pseudonyms, together with the recipe's name; with another one all is redone.

    Raises:
        ConfigError: the recipe's splits, labels or options do not fit the data, the key cannot be read or is short, the
            place to run is not here, or another run is at work in the same folder.
        DataError: nothing could be read at all, recordings of different splits share samples, or a worker died.
    """
    read_secret(key)  # one that cannot be read is found before any work
    with locked(out / recipe.name / ".tasks" / "lock"):
        return _prepare(recipe, data / recipe.source.folder, out / recipe.name, launch, key)


def _prepare(recipe: Recipe, folder: Path, out: Path, launch: Launch, key: Path | None) -> Report:
    located, failures = survey(recipe, folder)
    splits = assign([one.source for one in located], recipe.split)
    tasks = _tasks(recipe, folder, out, located, splits, key)
    todo = [task for task in tasks if not task.is_done()]
    others = _others(out, tasks)
    if todo or others:
        (out / MANIFEST).unlink(missing_ok=True)  # it would not fit the shards any more
    for path in others:
        path.unlink()
    # schedulers write results to disk, and codes of events are free text
    work = make_shard if launch.on == "local" else run_task
    done = len(tasks) - len(todo)
    made = run_tasks(work, todo, launch, done=done, what=recipe.name, logs=out / ".tasks" / "slurm")
    unlabelled = sum((codes for codes in made if codes), Counter[str]())
    states = [read_json(task.state) for task in tasks]
    report = _report(recipe, tasks, states, failures, len(tasks) - len(todo), len(located) - len(splits))
    report.unlabelled = unlabelled
    if not sum(report.samples.values()):
        raise DataError(f"{folder}: recipe {recipe.name} gave no sample\n{report}")
    report.shared = _shared(tasks)
    refuse_across_splits(report.shared, folder)
    if not (out / MANIFEST).is_file():
        _write_facts(recipe, out, report, states)
    return report


def _tasks(
    recipe: Recipe, folder: Path, out: Path, located: list[Located], splits: dict[str, str], key: Path | None
) -> list[Task]:
    size = PICTURES_PER_SHARD if recipe.source.reader == "pictures" else RECORDINGS_PER_SHARD
    place = Pseudonyms(recipe.name, read_secret(key)).place
    tasks = []
    for split in SPLITS:
        chosen = [one for one in located if splits.get(one.source.recording) == split]
        chosen.sort(key=lambda one: place(one.source.recording))
        for number, start in enumerate(range(0, len(chosen), size)):
            part = tuple(chosen[start : start + size])
            tasks.append(Task(recipe=recipe, folder=folder, out=out, split=split, number=number, located=part, key=key))
    return tasks


def run_task(task: Task) -> None:
    """`make_shard` for a scheduler: nothing comes back, because schedulers write results to disk."""
    make_shard(task)


def make_shard(task: Task) -> Counter[str]:
    """Make one shard, its pictures, and then the state that says that it is done.

    Returns:
        The windows without a label by the code of their event, for the screen.
    """
    fingerprint = task.fingerprint()
    task.state.unlink(missing_ok=True)
    maker = RecordingSamples(task.recipe, task.folder, task.split, task.out / "pictures", read_secret(task.key))
    index = write_shard(task.shard, maker.records(task.located), maker.required)
    if not index["n_samples"]:
        task.shard.unlink()
        index_path(task.shard).unlink()
        index = {"sha256": None, "bytes": 0, "n_samples": 0}
    write_landmarks(task.landmarks, [maker.landmarks.get(one.source.recording, NOTHING) for one in task.located])
    write_json(
        task.state,
        {
            "fingerprint": fingerprint,
            **{name: index[name] for name in ("sha256", "bytes", "n_samples")},
            "recordings": sorted(maker.recordings),
            "labels": dict(sorted(maker.labels.items())),
            "label_texts": maker.label_texts,
            "pictures": {label: sorted(keys) for label, keys in sorted(maker.pictures.items())},
            "shown": sorted(maker.shown),
            "lacking": maker.lacking,
            "left_out": dict(maker.left_out),
            "notes": dict(maker.notes),
            "failures": [asdict(failure) for failure in maker.failures],
        },
    )
    return maker.unlabelled


def _others(out: Path, tasks: list[Task]) -> list[Path]:
    """Shards and states of an earlier recipe, or of recordings that have gone: no longer part of the set."""
    keep = {path for task in tasks for path in (task.shard, index_path(task.shard), task.state, task.landmarks)}
    states = [path for suffix in ("json", "npz") for path in (out / ".tasks").glob(f"*.{suffix}")]
    found = [*out.glob("*.tar"), *out.glob("*.index.json"), *states]
    return [path for path in found if path not in keep]


def _shared(tasks: list[Task]) -> list[Shared]:
    recordings = [(one.source, task.split) for task in tasks for one in task.located]
    return find_shared([task.landmarks for task in tasks], recordings)


def _report(
    recipe: Recipe,
    tasks: list[Task],
    states: list[dict[str, Any]],
    failures: list[Failure],
    skipped: int,
    excluded: int,
) -> Report:
    samples: Counter[str] = Counter()
    recordings: dict[str, list[str]] = {split: [] for split in SPLITS}
    shown: dict[str, set[str]] = {split: set() for split in SPLITS}
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    left_out: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    failures = list(failures)
    for task, state in zip(tasks, states, strict=True):
        samples[task.split] += state["n_samples"]
        recordings[task.split] += state["recordings"]
        shown[task.split].update(state["shown"])
        labels[task.split].update(state["labels"])
        left_out.update(state["left_out"])
        notes.update(state["notes"])
        failures += [Failure(**failure) for failure in state["failures"]]
    for split in filter(shown.get, SPLITS[1:]):
        again = len(shown[split] & shown["train"])
        notes[f"of {len(shown[split])} pictures of the {split} split are in training too"] = again
    return Report(
        recipe=recipe.name,
        tasks=len(tasks),
        skipped_tasks=skipped,
        samples=dict(samples),
        recordings={split: sorted(found) for split, found in recordings.items()},
        labels={split: dict(counts) for split, counts in labels.items()},
        left_out=left_out,
        failures=failures,
        notes=notes,
        excluded=excluded,
        pseudonyms="keyed" if tasks and tasks[0].key else "recipe",
    )


def _write_facts(recipe: Recipe, out: Path, report: Report, states: list[dict[str, Any]]) -> None:
    """`recipe.json`, `preprocess.json`, and last the manifest, which says that the folder is complete.

    Pictures of an earlier recipe go.
    """
    pictures: dict[str, set[str]] = defaultdict(set)
    label_texts: dict[str, str] = {}
    for state in states:
        label_texts |= state["label_texts"]
        for label, keys in state["pictures"].items():
            pictures[label] |= set(keys)
    carried: set[str] = set().union(*pictures.values())
    for path in (out / "pictures").glob("*.png"):
        if path.stem not in carried:
            path.unlink()
    about = {
        name: getattr(recipe, name)
        for name in ("name", "title", "licence", "citation", "known_faults", "decodable", "decodable_note")
    }
    told = {
        **about,
        "labels": sorted(label_texts),
        "label_text": dict(sorted(label_texts.items())),
        "wordings": recipe.texts.wordings,
        "question": recipe.texts.question,
        "pictures": {
            label: [f"pictures/{key}.png" for key in sorted(keys)] for label, keys in sorted(pictures.items())
        },
        "windows": [asdict(spec) for spec in recipe.windows],
        "redistribute_pictures": recipe.picture.redistribute,
        "recipe_sha256": recipe.sha256,
    }
    write_json(out / "recipe.json", told)
    write_json(out / "preprocess.json", recipe.preprocess.to_json())
    write_manifest(
        out,
        name=recipe.name,
        licence=recipe.licence,
        recipe_sha256=recipe.sha256,
        pseudonyms=report.pseudonyms,
        preprocess=recipe.preprocess.to_json(),
        preprocess_fingerprint=recipe.preprocess.fingerprint,
        labels=report.labels,
        left_out=dict(report.left_out),
        recordings_not_read=len(report.failures),
        recordings_excluded=report.excluded,
        recordings=report.recordings,
        shared_samples=report.shared_samples,
    )
