"""How fast recordings become sample shards, with one worker and with two, and which part takes the time.

    python benchmarks/prepare.py [--recipe cvep20] [--data ../shared/data] [--workers 1 2]

Samples and MB of shards per second of wall clock; workers of their own import their libraries in that time. The shares
are of processor time in one process, after the imports: read the files; filter (check, resample, filter, find bad
channels); copies (the landmarks by which they are found); cut windows; pair them with label, texts and picture, and
scale them; encode .npy, .json and .png; write the tar, its index and its sha256.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # a worker is a core; before numpy is loaded

import argparse
import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from neuroleon.data_pipeline import recording_samples, samples, shards
from neuroleon.data_pipeline.launch import Launch
from neuroleon.data_pipeline.recipe import Recipe, load_recipe
from neuroleon.data_pipeline.recording_samples import RecordingSamples
from neuroleon.signals.preprocess import Preprocess

ROOT = Path(__file__).resolve().parent.parent


def timed(name: str, taken: Counter[str], function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose processor time goes to `taken[name]`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            taken[name] += time.process_time() - start

    return call


def timed_iterator(name: str, taken: Counter[str], function: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
    """The same for what a generator does each time that it is asked for more."""

    def call(*args: Any, **kwargs: Any) -> Iterator[Any]:
        more = timed(name, taken, function(*args, **kwargs).__next__)
        while True:
            try:
                item = more()
            except StopIteration:
                return
            yield item

    return call


def speed(recipe: Recipe, data: Path, workers: int) -> str:
    """A row of the table."""
    with TemporaryDirectory() as out:
        start = time.perf_counter()
        report = samples.prepare_samples(recipe, data, Path(out), Launch(workers=workers))
        taken = time.perf_counter() - start
        n_bytes = sum(path.stat().st_size for path in Path(out, recipe.name).glob("*.tar"))
    n = sum(report.samples.values())
    return f"| {workers} | {n} | {taken:.1f} | {n / taken:.0f} | {n_bytes / 1e6 / taken:.1f} |"


def shares(recipe: Recipe, data: Path) -> dict[str, float]:
    """The share of each part in the processor time of making all shards."""
    taken: Counter[str] = Counter()
    with TemporaryDirectory() as out, ExitStack() as patched:
        for owner, name, part, timer in (
            (recording_samples, "read", "read", timed_iterator),
            (recording_samples, "check_recording", "filter", timed),
            (Preprocess, "apply", "filter", timed),
            (recording_samples, "landmarks", "copies", timed),
            (recording_samples, "cut", "cut", timed),
            (RecordingSamples, "records", "records", timed_iterator),
            (shards, "encode", "encode", timed),
            (samples, "write_shard", "all", timed),
        ):
            patched.enter_context(patch.object(owner, name, timer(part, taken, getattr(owner, name))))
        samples.prepare_samples(recipe, data, Path(out))
    whole = taken["all"]
    parts = {name: taken[name] for name in ("read", "filter", "copies", "cut")}
    parts["pair"] = taken["records"] - sum(parts.values())
    parts["encode"] = taken["encode"]
    parts["write"] = whole - sum(parts.values())
    return {name: seconds / whole for name, seconds in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="cvep20", help="one of ours by name, or a .yaml file")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of the data sets")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    recipe = load_recipe(given.recipe)
    if not (given.data / recipe.source.folder).is_dir():
        print(f"skipped: {given.data / recipe.source.folder} is not here; --data is the folder that holds it")
        return
    importlib.import_module("mne.filter"), importlib.import_module("webdataset")  # torch too: 10 s that are no share
    part = shares(recipe, given.data)
    print("| workers | samples | seconds | samples/s | MB/s |")
    print("| --- | --- | --- | --- | --- |")
    for workers in given.workers:
        print(speed(recipe, given.data, workers), flush=True)
    print("\n" + ", ".join(f"{name} {share:.0%}" for name, share in part.items()))


if __name__ == "__main__":
    main()
