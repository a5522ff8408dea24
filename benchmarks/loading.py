"""How fast samples come from shards, beside webdataset's own reader and the floor, a plain read of the files.

    python benchmarks/loading.py [--shards 8] [--samples 200]

Writes shards of 4 s windows of 32 channels (51 kB of float16, and a json) to a temporary folder. Every row is a process
of its own. Its figures are processor time, the median of three passes over all shards with the files in the page cache,
after one pass that is not counted. `first pass` is that one, by the clock: the files are dropped from the page cache
where the system does so, and our reader verifies every shard. `bytes` are members as they are, `arrays` are decoded, by
the same functions for both readers. `peak` is the memory of the whole process. Last come the time from nothing to the
16 samples of a batch at position 10^9, and what the order of a set of 10 TB takes.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

RUNS = 3
FAR = 10**9


def write(folder: Path, n_shards: int, n_samples: int) -> None:
    """Shards as `prepare.py samples` writes them; the content is noise, which costs a reader what EEG costs it."""
    from neuroleon.data_pipeline.shards import shard_path, write_manifest, write_shard

    rng = np.random.default_rng(0)
    positions = rng.standard_normal((32, 3)).round(3).tolist()
    for number in range(n_shards):
        records = (
            {
                "__key__": f"{number}-{i:06d}",
                "npy": rng.standard_normal((32, 800), np.float32).astype(np.float16),
                "json": {
                    "positions": positions,
                    "ch_names": [f"E{c}" for c in range(32)],
                    "sfreq": 200.0,
                    "scale_uV": 9.0,
                },
            }
            for i in range(n_samples)
        )
        write_shard(shard_path(folder, "train", number), records, ("npy", "json"))
    write_manifest(folder)


def drop(folder: Path) -> None:
    """Ask the system to forget the files; it may not."""
    for path in folder.glob("*.tar"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain(folder: Path) -> Callable[[], Iterator[Any]]:
    def read() -> Iterator[Any]:
        for path in sorted(folder.glob("*.tar")):
            with path.open("rb", buffering=0) as file:
                while block := file.read(1 << 20):
                    yield block

    return read


def ours(folder: Path, *, decoded: bool, shuffled: bool) -> Callable[[], Iterator[Any]]:
    from neuroleon.data_pipeline.order import ShardOrder
    from neuroleon.data_pipeline.shards import ShardReader

    reader = ShardReader(folder, "train")
    order = ShardOrder(tuple(shard.n_samples for shard in reader.shards), (0, "benchmark"))

    def read() -> Iterator[Any]:
        for position in range(len(reader)):
            record = reader[order.number(position) if shuffled else position]
            yield (record["npy"], record["json"]) if decoded else record

    return read


def theirs(folder: Path, *, decoded: bool, shuffled: bool) -> Callable[[], Iterator[Any]]:
    import webdataset

    from neuroleon.data_pipeline.members import decode

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]

    def read() -> Iterator[Any]:
        samples = webdataset.WebDataset(urls, shardshuffle=len(urls) if shuffled else False, empty_check=False)
        for sample in samples.shuffle(1000) if shuffled else samples:
            yield (decode("npy", sample["npy"], ""), decode("json", sample["json"], "")) if decoded else sample

    return read


ROWS: dict[str, Callable[[Path], Callable[[], Iterator[Any]]]] = {
    "plain read of the files": plain,
    "ours, in order, bytes": lambda folder: ours(folder, decoded=False, shuffled=False),
    "webdataset, in order, bytes": lambda folder: theirs(folder, decoded=False, shuffled=False),
    "ours, in order, arrays": lambda folder: ours(folder, decoded=True, shuffled=False),
    "webdataset, in order, arrays": lambda folder: theirs(folder, decoded=True, shuffled=False),
    "ours, shuffled, arrays": lambda folder: ours(folder, decoded=True, shuffled=True),
    "webdataset, shuffled, arrays": lambda folder: theirs(folder, decoded=True, shuffled=True),
}


def peak_mb() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(name: str, folder: Path) -> dict[str, float]:
    """Seconds of the first pass and of the later ones, and the peak memory in MB."""
    read = ROWS[name](folder)
    drop(folder)
    taken = []
    for _ in range(1 + RUNS):
        clock, processor = time.perf_counter(), time.process_time()
        for _ in read():
            pass
        taken.append((time.perf_counter() - clock, time.process_time() - processor))
    later_s = statistics.median(processor_s for _, processor_s in taken[1:])
    return {"first_s": taken[0][0], "later_s": later_s, "peak_mb": peak_mb()}


def resume(folder: Path) -> dict[str, float]:
    """Seconds from nothing to the samples of a far batch, and to a far position of 100 000 shards."""
    from neuroleon.data_pipeline.order import ShardOrder
    from neuroleon.data_pipeline.shards import ShardReader

    started = time.perf_counter()
    reader = ShardReader(folder, "train")
    order = ShardOrder(tuple(shard.n_samples for shard in reader.shards), (0, "benchmark"))
    for position in range(FAR, FAR + 16):
        reader[order.number(position)]["npy"]
    batch_s = time.perf_counter() - started
    before = peak_mb()
    started = time.perf_counter()
    ShardOrder((10_000,) * 100_000, (0, "large")).place(FAR)
    return {"batch_s": batch_s, "order_s": time.perf_counter() - started, "order_mb": peak_mb() - before}


def row_of(given: argparse.Namespace) -> dict[str, float]:
    """The figures of one row, in this process."""
    if given.row == "write":
        write(given.folder, given.shards, given.samples)
        return {}
    return resume(given.folder) if given.row == "resume" else measure(given.row, given.folder)


def in_process(row: str, folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """What `row` finds in a process of its own. This one stays small: a child's peak begins at its parent's."""
    sizes = ["--shards", str(given.shards), "--samples", str(given.samples)]
    command = [sys.executable, __file__, "--row", row, "--folder", str(folder), *sizes]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--samples", type=int, default=200, help="in each shard")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # a process of its own for each row
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(row_of(given)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_process("write", folder, given)
        n_samples, n_mb = given.shards * given.samples, sum(p.stat().st_size for p in folder.glob("*.tar")) / 1e6
        print(f"{given.shards} shards, {n_samples} samples, {n_mb:.0f} MB, in {folder.parent}, one process\n")
        print("| reading | samples/s | MB/s | of the floor | first pass, MB/s | peak, MB |")
        print("| --- | --- | --- | --- | --- | --- |")
        floor = 0.0
        for name in ROWS:
            found = in_process(name, folder, given)
            floor = floor or found["later_s"]
            speed = (
                f"{n_samples / found['later_s']:.0f} | {n_mb / found['later_s']:.0f} | {floor / found['later_s']:.0%}"
            )
            print(f"| {name} | {speed} | {n_mb / found['first_s']:.0f} | {found['peak_mb']:.0f} |", flush=True)
        found = in_process("resume", folder, given)
        print(
            f"\nfrom nothing to the batch at position 10^9: {found['batch_s']:.2f} s, with the verification of the "
            f"shards it touches\nposition 10^9 in the order of 100 000 shards with 10^9 records: "
            f"{found['order_s']:.3f} s, {found['order_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()
