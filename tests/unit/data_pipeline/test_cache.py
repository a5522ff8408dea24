"""The cache of shards behind an address: of limited size, shared by processes, and never believed."""

import hashlib
import multiprocessing
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from made_server import SHARD, Server, numbers

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline import cache as cache_module
from neuroleon.data_pipeline import remote
from neuroleon.data_pipeline.cache import Cache, digest
from neuroleon.data_pipeline.shards import ShardReader


def test_the_shard_that_was_opened_longest_ago_leaves_a_full_cache(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (server.root / SHARD).stat().st_size
    monkeypatch.setenv("NEUROLEON_CACHE_GB", str(2.9 * size / 1e9))
    reader = ShardReader(server.url, "train")
    for i in (0, 10, 0, 20):
        reader._tables.clear()  # as another process that starts with what the cache holds
        assert reader[i]["json"] == {"i": i}
    kept = {path.name for path in Cache.of_environment().folder.glob("*[0-9a-f]")}
    assert reader.shards[0].sha256 in kept and reader.shards[2].sha256 in kept
    assert reader.shards[1].sha256 not in kept
    assert reader[10]["json"] == {"i": 10}
    assert sum(path.stat().st_size for path in Cache.of_environment().folder.iterdir()) <= 2.9 * size


def test_a_shard_that_left_the_cache_under_an_open_reader_is_loaded_again(server: Server) -> None:
    reader = ShardReader(server.url, "train")
    assert reader[3]["json"] == {"i": 3}
    shutil.rmtree(Cache.of_environment().folder)
    assert reader[4]["json"] == {"i": 4}
    assert server.asked[SHARD] == 2


def test_a_file_of_the_cache_that_was_damaged_is_loaded_again(server: Server) -> None:
    assert numbers(server.url) == list(range(30))
    [file] = [p for p in Cache.of_environment().folder.iterdir() if p.name == digest(server.root / SHARD)]
    content = file.read_bytes()
    file.write_bytes(content[:700] + b"\x55" + content[701:])
    assert numbers(server.url) == list(range(30))
    assert file.read_bytes() == content


@pytest.mark.parametrize("size", ["0", "-1", "many", "nan", "1e-9"])
def test_a_cache_of_no_use_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("NEUROLEON_CACHE_GB", size)
    with pytest.raises(ConfigError, match="NEUROLEON_CACHE_GB"):
        numbers(server.url)


def test_a_cache_that_cannot_be_written_is_refused(server: Server, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEUROLEON_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ConfigError, match="name another in NEUROLEON_CACHE"):
        numbers(server.url)


def test_a_full_disk_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    class Files:
        def get_file(self, url: str, target: str, callback: object) -> None:
            raise OSError(28, "No space left on device")

    reader = ShardReader(server.url, "train")
    monkeypatch.setattr(remote, "_filesystem", lambda url: Files())
    with pytest.raises(DataError, match="no space left in the cache"):
        reader[0]


def read_in_process(url: str, seed: int, answers: "multiprocessing.Queue") -> None:
    reader = ShardReader(url, "train")
    order = np.random.default_rng(seed).permutation(30)[:12].tolist()
    answers.put([reader[i]["json"]["i"] for i in order] == order)


def test_a_shard_that_leaves_the_cache_for_its_own_index_is_read(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEUROLEON_CACHE_GB", str((server.root / SHARD).stat().st_size / 1e9 + 5e-10))
    assert numbers(server.url) == list(range(30))
    assert not (Cache.of_environment().folder / digest(server.root / SHARD)).exists()


def test_processes_share_a_cache_that_is_too_small_for_them(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROLEON_CACHE_GB", str(1.9 * (server.root / SHARD).stat().st_size / 1e9))
    context = multiprocessing.get_context("fork")  # as the workers of a DataLoader
    answers = context.Queue()
    workers = [context.Process(target=read_in_process, args=(server.url, seed, answers)) for seed in range(3)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == [True] * 3
    for worker in workers:
        worker.join()
    cache = Cache.of_environment()
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= cache.limit
    assert not list(cache.folder.glob("*.part"))


def test_files_that_are_loaded_at_once_leave_a_cache_of_its_size(tmp_path: Path) -> None:
    """All six look for room before the first one is there."""
    cache, together = Cache(folder=tmp_path, limit=100), threading.Barrier(6)

    def load(letter: str) -> bool:
        content = letter.encode() * 60

        def write(path: Path) -> None:
            together.wait(10)
            path.write_bytes(content)

        return cache.get(hashlib.sha256(content).hexdigest(), 60, write) is not None

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(load, "abcdef")) == [True] * 6
    assert [path.stat().st_size for path in tmp_path.iterdir() if path.suffix != ".lock"] == [60]


def test_a_process_that_holds_the_cache_too_long_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "WAIT_S", 0.1)
    folder = Cache.of_environment().folder
    folder.mkdir()
    with FileLock(folder / f"{digest(server.root / SHARD)[:2]}.lock"), pytest.raises(DataError, match="for 0") as found:
        ShardReader(server.url, "train")[0]
    assert str(found.value).startswith(str(folder))


def test_processes_that_want_one_shard_load_it_once(server: Server) -> None:
    assert numbers(server.url) == list(range(30))  # this process has used fsspec's thread before it forks
    shutil.rmtree(Cache.of_environment().folder)
    server.asked.clear()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    workers = [context.Process(target=read_in_process, args=(server.url, seed, answers)) for seed in range(4)]
    for worker in workers:
        worker.start()
    assert [answers.get(timeout=60) for _ in workers] == [True] * 4
    assert {server.asked[f"train-00000{i}.tar"] for i in range(3)} == {1}
