"""A server of shards that does what a test asks of it, for tests of storage and of its cache."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from neuroleon.data_pipeline.shards import ShardReader, shard_path, write_manifest, write_shard

Fault = Callable[[BaseHTTPRequestHandler, bytes], None]
SHARD = "train-000000.tar"


def head(request: BaseHTTPRequestHandler, length: int | None) -> None:
    request.send_response(200)
    if length is not None:
        request.send_header("Content-Length", str(length))
    request.end_headers()


def whole(request: BaseHTTPRequestHandler, content: bytes) -> None:
    head(request, len(content))
    request.wfile.write(content)


def cut(request: BaseHTTPRequestHandler, content: bytes) -> None:
    head(request, len(content))
    request.wfile.write(content[: len(content) // 2])


def cut_without_length(request: BaseHTTPRequestHandler, content: bytes) -> None:
    """An end that looks like any other."""
    head(request, None)
    request.wfile.write(content[: len(content) // 2])


def flipped(request: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(request, content[:600] + bytes([content[600] ^ 1]) + content[601:])


def longer(request: BaseHTTPRequestHandler, content: bytes) -> None:
    whole(request, content + b"more")


def hang(request: BaseHTTPRequestHandler, content: bytes) -> None:
    head(request, len(content))
    request.wfile.write(content[:100])
    request.server.stopped.wait(20)


def status(code: int) -> Fault:
    def answer(request: BaseHTTPRequestHandler, content: bytes) -> None:
        request.send_response(code)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


class Server(ThreadingHTTPServer):
    """`faults[file]`: what it does to the next requests for a file, one after the other; then it serves it whole."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.faults, self.asked = root, dict[str, list[Fault]](), Counter[str]()
        self.stopped, self.sent = threading.Event(), 0
        self.url = f"http://127.0.0.1:{self.server_address[1]}/set"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked[name] += 1
        waiting = self.server.faults.get(name, [])
        file = self.server.root / name
        answer = waiting.pop(0) if waiting else (whole if file.is_file() else status(404))
        answer(self, file.read_bytes() if file.is_file() else b"")

    def log_message(self, *args: object) -> None: ...


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    server = Server(root)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()


def write_shards(folder: Path) -> Path:
    """Three shards of ten samples each, numbered through."""
    for number in range(3):
        records = [
            {"__key__": f"{number}-{i}", "npy": np.full((4, 50), i, np.float32), "json": {"i": 10 * number + i}}
            for i in range(10)
        ]
        write_shard(shard_path(folder, "train", number), records, ("npy", "json"))
    write_manifest(folder, name="toy")
    return folder


def numbers(location: str | Path) -> list[int]:
    return [record["json"]["i"] for record in ShardReader(location, "train")]
