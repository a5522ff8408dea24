"""Files behind s3://, hf:// and http(s):// addresses, through fsspec, with a time-out and retries.

Messages hold the address and the kind of the failure, never a library's own words: those may hold credentials.
"""

import errno
import math
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from neuroleon.common.errors import ConfigError, DataError

SCHEMES = ("s3", "hf", "http", "https")
TIMEOUT_S = 60.0  # without a byte from the server
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # waits before the tries that follow the first
# After so long no other try begins. With its own two time-outs (connection, byte) the last one ends before a worker's
# time in training does, which would end the run without the name of the file.
PATIENCE_S = 150.0
MAX_BYTES = 2**28  # of a manifest or index whose size is not known
# Base classes of Python, aiohttp, botocore and httpx for what may pass; by name, so that none has to be imported.
_TRANSIENT = frozenset(
    {
        "TimeoutError",
        "ConnectionError",
        "ClientPayloadError",
        "ClientConnectionError",
        "HTTPClientError",
        "TransportError",
    }
)
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


def read(url: str) -> bytes:
    """The content of a small file.

    Raises:
        DataError: absent, refused, larger than `MAX_BYTES`, or unreadable after six tries.
        ConfigError: the library of the scheme is not installed.
    """
    with TemporaryDirectory() as folder:
        target = Path(folder) / "file"
        download(url, target, None)
        return target.read_bytes()


def download(url: str, target: Path, size: int | None) -> None:
    """Write the file at `url` to `target`; one of fewer than `size` bytes counts as a broken connection.

    Loading ends where more comes than there should be.

    Raises:
        DataError: as `read`, larger than `size`, or no space left for it.
        ConfigError: as `read`.
    """
    files = _filesystem(url)
    limit, why = (MAX_BYTES, "are read of such a file") if size is None else (size, "the manifest says")

    def require_fits(n_told: int | None, n_bytes: int, **_: Any) -> None:
        if max(n_told or 0, n_bytes) > limit:
            raise DataError(f"{url}: more than the {limit} bytes that {why}; check it, or upload the folder again")

    def once() -> None:
        if url.startswith("hf:"):  # with a callback it loads in small pieces; the Hub's size can be relied upon
            require_fits(files.info(url)["size"], 0)
            files.get_file(url, str(target))
        else:
            files.get_file(url, str(target), callback=_callback(require_fits))
        if size is not None and target.stat().st_size < size:
            raise ConnectionError(f"{target.stat().st_size} of {size} bytes came")

    _tried(url, once)


def _callback(hook: Callable[..., None]) -> Any:
    """By which fsspec tells a size, as soon as it knows it, and the bytes that have come."""
    from fsspec.callbacks import Callback

    return Callback(hooks={"size": hook})


def _filesystem(url: str) -> Any:
    """fsspec's file system for a URL; instances are kept by fsspec itself, apart for every process."""
    scheme = url.partition(":")[0]
    try:
        import fsspec

        if scheme == "s3":
            # the only retries are ours: with those of botocore and s3fs a dead server would hold for hours
            quick = {"connect_timeout": TIMEOUT_S, "read_timeout": TIMEOUT_S, "retries": {"max_attempts": 0}}
            files = fsspec.filesystem("s3", config_kwargs=quick)
            files.retries = 1
            return files
        if scheme in ("http", "https"):
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
            return fsspec.filesystem(scheme, client_kwargs={"timeout": timeout})
        return fsspec.filesystem(scheme)
    except ImportError:
        raise ConfigError(f'{url}: {scheme}:// needs more packages; pip install "neuroleon[remote]"') from None


def _tried(url: str, action: Callable[[], None]) -> None:
    last = time.monotonic() + PATIENCE_S
    for n_tries, wait_s in enumerate((*BACKOFF_S, math.inf), start=1):
        try:
            action()
            return
        except DataError:
            raise
        except Exception as error:  # every library has its own
            if not _may_pass(error) or time.monotonic() + wait_s > last:
                raise DataError(f"{url}: {_reason(error, n_tries)}") from None
            time.sleep(wait_s)


def _status(error: Exception) -> int | None:
    """The HTTP status that an error of aiohttp, httpx or botocore carries."""
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(error, "status", None) or getattr(response, "status_code", None)


def _may_pass(error: Exception) -> bool:
    if (status := _status(error)) is not None:
        return status in _BUSY
    return bool({kind.__name__ for kind in type(error).__mro__} & _TRANSIENT)


def _reason(error: Exception, n_tries: int) -> str:
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "no such file; check the address, or upload the whole folder"
    if isinstance(error, PermissionError) or status in (401, 403) or "Credentials" in type(error).__name__:
        return (
            "access was refused; log in as the store has it (environment, ~/.aws, `hf auth login`), or for a public "
            "bucket set FSSPEC_S3_ANON=true"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left in the cache of shards; make room, or name another folder in NEUROLEON_CACHE"
    kind = type(error).__name__ + (f", status {status}" if status is not None else "")
    tries = f"{n_tries} tries" if n_tries > 1 else "one try"
    return f"could not be read in {tries} ({kind}); check the address and the connection, and run it again"
