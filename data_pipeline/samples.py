"""Recipe and recordings in, sample shards out: one task per shard, each of which can be repeated and run anywhere.

    OUT/NAME/train-000000.tar ...   KEY.npy, KEY.json, KEY.png (docs/formats/shard.md)
    OUT/NAME/recipe.json            labels, sentences, question and pictures of each label, for later stages
    OUT/NAME/preprocess.json        the signal settings
    OUT/NAME/pictures/KEY.png       every picture that a sample with a label carries or could carry
    OUT/NAME/.tasks/                what is done, for a run that goes on; it names source files, so do not pass it on

A task is made of recordings of one split; a cluster may run `run_task` on each of them itself.
"""

from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from neuroleon.common.errors import DataError
from neuroleon.common.files import MANIFEST, read_json, sha256_json, write_json
from neuroleon.data_pipeline.pairing import picture_stamp
from neuroleon.data_pipeline.readers.base import Failure, Located
from neuroleon.data_pipeline.readers.files import stamp
from neuroleon.data_pipeline.recipe import Recipe
from neuroleon.data_pipeline.recording_samples import RecordingSamples
from neuroleon.data_pipeline.shards import index_path, shard_path, write_manifest, write_shard
from neuroleon.data_pipeline.sources import survey
from neuroleon.data_pipeline.splits import SPLITS, assign

RECORDINGS_PER_SHARD = 8
PICTURES_PER_SHARD = 500
FORMAT = 2  # raised when the same recipe and files would give other samples, or another state


@dataclass(frozen=True, kw_only=True)
class Task:
    """Some recordings of one split that become one shard; running it twice gives the same bytes."""

    recipe: Recipe
    folder: Path
    out: Path
    split: str
    number: int
    located: tuple[Located, ...]

    @property
    def shard(self) -> Path:
        return shard_path(self.out, self.split, self.number)

    @property
    def state(self) -> Path:
        return self.out / ".tasks" / f"{self.shard.stem}.json"

    def fingerprint(self) -> str:
        """sha256 over the recipe, signal settings, and names, sizes and times of change of the files, here or not."""
        files = sorted({path for located in self.located for path in located.files})
        stats = [[path.name, *stamp(path)] for path in files]
        names = [asdict(located.source) for located in self.located]
        return sha256_json([FORMAT, self.recipe.sha256, self.recipe.preprocess.fingerprint, names, stats])

    def is_done(self) -> bool:
        """Whether the state of an earlier run is of this very task and its shard is still there, whole."""
        if not self.state.is_file():
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


@dataclass
class Report:
    """What a run read, made and left out.

    `left_out` counts windows or pictures by reason, `unlabelled` windows by the code of their event.
    """

    recipe: str
    tasks: int
    skipped_tasks: int
    samples: dict[str, int]
    labels: dict[str, dict[str, int]]
    left_out: Counter[str]
    unlabelled: Counter[str]
    failures: list[Failure]
    notes: Counter[str]
    excluded: int

    def __str__(self) -> str:
        lines = [
            f"{self.recipe}: {sum(self.samples.values())} samples; {self.skipped_tasks} of {self.tasks} tasks were done"
        ]
        for split in SPLITS:
            counts = ", ".join(f"{label} {n}" for label, n in sorted(self.labels.get(split, {}).items()))
            lines.append(f"  {split:<10} {self.samples.get(split, 0):>7}  {counts}")
        lines += [f"  left out   {n:>7}  {reason}" for reason, n in self.left_out.most_common()]
        lines += [f"    no label {n:>7}  {code}" for code, n in self.unlabelled.most_common(20)]
        lines += [f"  left out   {self.excluded:>7}  recordings that the recipe excludes"] if self.excluded else []
        lines += [f"  note       {n:>7}  {note}" for note, n in self.notes.most_common()]
        lines += [f"  not read            {failure.name}: {failure.message}" for failure in self.failures]
        return "\n".join(lines)


def prepare_samples(recipe: Recipe, data: Path, out: Path, workers: int = 1) -> Report:
    """Write the sample shards of `recipe` to `out`/NAME. Tasks that an earlier run has finished are not run again.

    Args:
        data: the folder that holds the recipe's `source.folder`.
        workers: processes; 1 works in this one.

    Raises:
        ConfigError: the recipe's splits, labels or options do not fit the data.
        DataError: nothing could be read at all, or a worker died.
    """
    folder, out = data / recipe.source.folder, out / recipe.name
    located, failures = survey(recipe, folder)
    splits = assign([one.source for one in located], recipe.split)
    tasks = _tasks(recipe, folder, out, located, splits)
    todo = [task for task in tasks if not task.is_done()]
    others = _others(out, tasks)
    if todo or others:
        (out / MANIFEST).unlink(missing_ok=True)  # it would not fit the shards any more
    for path in others:
        path.unlink()
    _run(todo, workers, done=len(tasks) - len(todo), what=recipe.name)
    states = [read_json(task.state) for task in tasks]
    report = _report(recipe, tasks, states, failures, len(tasks) - len(todo), len(located) - len(splits))
    if not sum(report.samples.values()):
        raise DataError(f"{folder}: recipe {recipe.name} gave no sample\n{report}")
    if not (out / MANIFEST).is_file():
        _write_facts(recipe, out, report, states)
    return report


def _tasks(recipe: Recipe, folder: Path, out: Path, located: list[Located], splits: dict[str, str]) -> list[Task]:
    size = PICTURES_PER_SHARD if recipe.source.reader == "pictures" else RECORDINGS_PER_SHARD
    tasks = []
    for split in SPLITS:
        chosen = [one for one in located if splits.get(one.source.recording) == split]
        chosen.sort(key=lambda one: one.source.recording)
        for number, start in enumerate(range(0, len(chosen), size)):
            part = tuple(chosen[start : start + size])
            tasks.append(Task(recipe=recipe, folder=folder, out=out, split=split, number=number, located=part))
    return tasks


def _run(tasks: list[Task], workers: int, done: int, what: str) -> None:
    with tqdm(total=done + len(tasks), initial=done, unit="shard", desc=what, disable=not tasks) as bar:
        if workers == 1:
            for task in tasks:
                run_task(task)
                bar.update()
            return
        # spawn: a fork would copy the threads of numpy's libraries in an unknown state
        with ProcessPoolExecutor(min(workers, len(tasks) or 1), get_context("spawn")) as pool:
            futures = [pool.submit(run_task, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    future.result()
                    bar.update()
            except BrokenProcessPool:
                raise DataError(
                    f"{what}: a worker was killed, perhaps for memory; finished tasks are kept: run it again, "
                    "with fewer workers"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def run_task(task: Task) -> None:
    """Make one shard, its pictures, and then the state that says that it is done."""
    fingerprint = task.fingerprint()
    task.state.unlink(missing_ok=True)
    maker = RecordingSamples(task.recipe, task.folder, task.split, task.out / "pictures")
    index = write_shard(task.shard, maker.records(task.located), maker.required)
    if not index["n_samples"]:
        task.shard.unlink()
        index_path(task.shard).unlink()
        index = {"sha256": None, "bytes": 0, "n_samples": 0}
    write_json(
        task.state,
        {
            "fingerprint": fingerprint,
            **{name: index[name] for name in ("sha256", "bytes", "n_samples")},
            "labels": dict(sorted(maker.labels.items())),
            "label_texts": maker.label_texts,
            "pictures": {label: sorted(keys) for label, keys in sorted(maker.pictures.items())},
            "shown": sorted(maker.shown),
            "lacking": maker.lacking,
            "left_out": dict(maker.left_out),
            "unlabelled": dict(maker.unlabelled),
            "notes": dict(maker.notes),
            "failures": [asdict(failure) for failure in maker.failures],
        },
    )


def _others(out: Path, tasks: list[Task]) -> list[Path]:
    """Shards and states of an earlier recipe, or of recordings that have gone: no longer part of the set."""
    keep = {path for task in tasks for path in (task.shard, index_path(task.shard), task.state)}
    found = [*out.glob("*.tar"), *out.glob("*.index.json"), *(out / ".tasks").glob("*.json")]
    return [path for path in found if path not in keep]


def _report(
    recipe: Recipe,
    tasks: list[Task],
    states: list[dict[str, Any]],
    failures: list[Failure],
    skipped: int,
    excluded: int,
) -> Report:
    samples: Counter[str] = Counter()
    shown: dict[str, set[str]] = {split: set() for split in SPLITS}
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    left_out: Counter[str] = Counter()
    unlabelled: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    failures = list(failures)
    for task, state in zip(tasks, states, strict=True):
        samples[task.split] += state["n_samples"]
        shown[task.split].update(state["shown"])
        labels[task.split].update(state["labels"])
        left_out.update(state["left_out"])
        unlabelled.update(state["unlabelled"])
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
        labels={split: dict(counts) for split, counts in labels.items()},
        left_out=left_out,
        unlabelled=unlabelled,
        failures=failures,
        notes=notes,
        excluded=excluded,
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
        preprocess=recipe.preprocess.to_json(),
        preprocess_fingerprint=recipe.preprocess.fingerprint,
        labels=report.labels,
        left_out=dict(report.left_out),
        recordings_not_read=len(report.failures),
        recordings_excluded=report.excluded,
    )
