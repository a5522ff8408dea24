"""Shards behind an address are read as those of a folder are, or it is said what is wrong."""

import json
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from made_server import SHARD, Fault, Server, cut, cut_without_length, flipped, hang, head, longer, numbers, status

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.data_pipeline import cache as cache_module
from neuroleon.data_pipeline import remote
from neuroleon.data_pipeline.cache import Cache
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.storage import Folder
from neuroleon.training.loop import WORKER_TIMEOUT_S


def test_every_address_gives_the_samples_of_the_folder(shards: Path, server: Server) -> None:
    expected = list(range(30))
    assert numbers(shards) == numbers(str(shards)) == numbers(f"file://{shards}") == numbers(server.url) == expected
    assert ShardReader(server.url, "train").fingerprint == ShardReader(shards, "train").fingerprint
    assert Folder.at(server.url + "/").name == "set"


def test_opening_loads_the_manifest_and_a_shard_is_loaded_once(server: Server) -> None:
    reader = ShardReader(server.url, "train")
    assert dict(server.asked) == {"manifest.json": 1}
    assert [reader[i]["json"]["i"] for i in (25, 20, 29)] == [25, 20, 29]
    assert dict(server.asked) == {"manifest.json": 1, "train-000002.tar": 1, "train-000002.index.json": 1}
    assert numbers(server.url) == list(range(30))
    assert server.asked["train-000002.tar"] == 1


@pytest.mark.parametrize("fault", [cut, cut_without_length, status(503), status(429)])
def test_what_may_pass_is_tried_again(server: Server, fault: Fault) -> None:
    server.faults[SHARD] = [fault] * 5
    assert numbers(server.url) == list(range(30))
    assert server.asked[SHARD] == 6


@pytest.mark.parametrize(
    ("fault", "n_tries", "message"),
    [
        (cut, 6, "could not be read in 6 tries"),
        (cut_without_length, 6, "could not be read in 6 tries"),
        (status(503), 6, "6 tries .*status 503"),
        (status(400), 1, "one try .*status 400"),
        (status(404), 1, "no such file"),
        (status(403), 1, "access was refused"),
        (flipped, 1, "sha256"),
        (longer, 1, "more than the .* bytes that the manifest says"),
    ],
)
def test_what_stays_is_an_error_that_names_the_address(
    server: Server, fault: Fault, n_tries: int, message: str
) -> None:
    server.faults[SHARD] = [fault] * 9
    reader = ShardReader(server.url, "train")
    with pytest.raises(DataError, match=f"^{re.escape(server.url)}/{SHARD}: .*{message}"):
        reader[0]
    assert server.asked[SHARD] == n_tries
    assert not list(Cache.of_environment().folder.glob("*.part"))
    assert reader[10]["json"] == {"i": 10}


def test_a_server_that_hangs_is_left_after_the_time_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(remote, "BACKOFF_S", (0.01,))
    server.faults[SHARD] = [hang, hang]
    started = time.monotonic()
    with pytest.raises(DataError, match=r"2 tries .*Timeout"):
        numbers(server.url)
    assert time.monotonic() - started < 5
    server.faults[SHARD] = [hang]
    assert numbers(server.url) == list(range(30))


def test_a_dead_server_is_left_before_training_ends_a_worker_without_a_word(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A try waits for the connection, then for a byte; training gives a worker WORKER_TIMEOUT_S."""
    assert remote.PATIENCE_S + 2 * remote.TIMEOUT_S < WORKER_TIMEOUT_S
    assert cache_module.WAIT_S < WORKER_TIMEOUT_S
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(remote, "PATIENCE_S", 0.3)
    server.faults[SHARD] = [hang] * 6
    with pytest.raises(DataError, match=r"in [23] tries .*Timeout"):
        ShardReader(server.url, "train")[0]


def endless(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """More than was asked for, without a length, for as long as somebody reads."""
    head(request, None)
    with suppress(ConnectionError):
        while not request.server.stopped.is_set():
            request.wfile.write(content)
            request.server.sent += len(content)


@pytest.mark.parametrize("file", [SHARD, "train-000000.index.json", "manifest.json"])
def test_more_than_the_manifest_says_is_not_loaded(server: Server, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MAX_BYTES", 100_000)
    server.faults[file] = [endless]
    with pytest.raises(DataError, match=f"^{re.escape(server.url)}/{file}: more than"):
        ShardReader(server.url, "train")[0]
    assert server.asked[file] == 1
    assert server.sent < 50e6  # what the sockets hold


def test_an_index_without_a_size_is_read_up_to_a_limit(shards: Path, server: Server, tmp_path: Path) -> None:
    """Manifests of before have none."""
    old = shutil.copytree(shards, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    for entry in manifest["shards"].values():
        assert entry.pop("index_bytes") > 0
    (old / "manifest.json").write_text(json.dumps(manifest))
    server.root = old
    assert numbers(old) == numbers(server.url) == list(range(30))


@pytest.mark.parametrize("where", ["folder", "cache"])
def test_an_index_that_changes_after_it_was_verified_is_not_used(
    shards: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = shutil.copytree(shards, tmp_path / "copy")
    index = (shards / "train-000000.index.json").read_bytes()
    read, changed = Path.read_bytes, []

    def changes(path: Path) -> bytes:
        content = read(path)
        if content == index and path.parent != shards and not changed:  # the server reads there
            changed.append(path)
            return content.replace(b"0-3", b"0-x")
        return content

    monkeypatch.setattr(Path, "read_bytes", changes)
    if where == "folder":
        with pytest.raises(DataError, match=r"train-000000\.index\.json: sha256"):
            numbers(folder)
    else:
        assert [record["__key__"] for record in ShardReader(server.url, "train")][3] == "0-3"
    assert changed


def test_a_manifest_that_comes_cut_is_an_error(server: Server) -> None:
    server.faults["manifest.json"] = [cut_without_length]
    with pytest.raises(DataError, match=r"/set/manifest.json: not valid JSON"):
        ShardReader(server.url, "train")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("pipe:touch {canary}", "^pipe: is not how"),
        ("pipe://touch {canary}", "^pipe: is not how"),
        ("simplecache::s3://bucket/set", "is not how"),
        ("memory://set", "is not how"),
        ("ftp://host/set", "is not how"),
        ("s3:/bucket/set", "is not how"),
        (Path("s3://bucket/set"), "is not how"),
        ("https://me:secret@host/set", "^https://: the address holds a password"),
        ("https://me:se/secret@host/set", "^https://: "),
        ("https://me:12/secret@host/set", "^https://: the address holds a password"),
        ("https://host/set?X-Amz-Signature=secret", "^https://: the address holds"),
        ("HTTPS://host/set?X-Amz-Signature=secret", "^https://: the address holds"),
        ("s3://bucket/set?X-Amz-Signature=secret", "^s3://: the address holds"),
        ("hf://datasets/me/set?token=secret", "^hf://: the address holds"),
        ("file:///set?secret", "^file://: the address holds"),
        ("file://otherhost/set", "another machine"),
        ("http://[::1/set", "not an address"),
    ],
)
def test_other_addresses_are_refused_and_say_no_secret(location: str | Path, message: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    if isinstance(location, str):
        location = location.format(canary=canary)
    with pytest.raises(ConfigError, match=message) as caught:
        ShardReader(location, "train")
    assert "secret" not in str(caught.value)
    assert not canary.exists()


def test_a_scheme_in_capitals_is_read(server: Server) -> None:
    assert numbers("HTTP" + server.url.removeprefix("http")) == list(range(30))
    assert str(Folder.at("S3://Bucket/Set@1/")) == "s3://Bucket/Set@1"


def test_messages_hold_no_words_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    class Files:
        def info(self, url: str) -> dict:
            raise ValueError("Authorization: Bearer secret")

    monkeypatch.setattr(remote, "_filesystem", lambda url: Files())
    with pytest.raises(DataError, match=r"^hf://me/set/manifest.json: .*one try \(ValueError\)") as caught:
        ShardReader("hf://me/set", "train")
    assert "secret" not in str(caught.value)


def test_a_file_of_the_hub_is_not_loaded_where_its_size_is_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    class Files:
        def info(self, url: str) -> dict:
            return {"size": 3}

        def get_file(self, url: str, target: str) -> None:
            Path(target).write_bytes(b"abc")

    monkeypatch.setattr(remote, "_filesystem", lambda url: Files())
    with pytest.raises(DataError, match=r"^hf://me/f: more than the 2 bytes"):
        remote.download("hf://me/f", tmp_path / "f", 2)
    assert not (tmp_path / "f").exists()
    assert remote.read("hf://me/f") == b"abc"


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r'pip install "neuroleon\[remote\]"'):
        remote.read("s3://bucket-of-a-test/none")


def test_shards_in_a_bucket(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    import fsspec

    running = moto.ThreadedMotoServer("127.0.0.1", 0)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NEUROLEON_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "BACKOFF_S", (0.01,))
    try:
        bucket = fsspec.filesystem("s3", skip_instance_cache=True)
        bucket.mkdir("eeg")
        bucket.put(str(shards) + os.sep, "eeg/sets/toy/", recursive=True)
        assert numbers("s3://eeg/sets/toy") == list(range(30))
        with pytest.raises(DataError, match=r"^s3://eeg/sets/none/manifest\.json: no such file"):
            ShardReader("s3://eeg/sets/none", "train")
        bucket.pipe("eeg/sets/toy/train-000001.tar", b"x" * (shards / "train-000001.tar").stat().st_size)
        shutil.rmtree(tmp_path / "cache")
        reader = ShardReader("s3://eeg/sets/toy", "train")
        with pytest.raises(DataError, match=r"^s3://eeg/sets/toy/train-000001\.tar: sha256"):
            reader.verify()
    finally:
        running.stop()
    monkeypatch.setattr(remote, "TIMEOUT_S", 0.5)
    with pytest.raises(DataError, match=r"^s3://eeg/sets/toy/manifest\.json: could not be read in 2 tries"):
        ShardReader("s3://eeg/sets/toy", "train")
