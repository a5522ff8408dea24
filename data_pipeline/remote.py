"""Files behind s3://, hf:// and http(s):// addresses, through fsspec, with a time-out and retries.

Messages hold the address and the kind of the failure, never a library's own words: those may hold credentials.
"""

import errno
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from neuroleon.common.errors import ConfigError, DataError

SCHEMES = ("s3", "hf", "http", "https")
TIMEOUT_S = 60.0  # without a byte from the server
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # waits before the tries that follow the first
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
T = TypeVar("T")


def read(url: str) -> bytes:
    """The content of a small file.

    Raises:
        DataError: absent, refused, or unreadable after six tries.
        ConfigError: the library of the scheme is not installed.
    """
    files = _filesystem(url)
    return _tried(url, lambda: files.cat_file(url))


def download(url: str, target: Path, size: int | None) -> None:
    """Write the file at `url` to `target`; one of fewer than `size` bytes counts as a broken connection.

    Raises:
        DataError: as `read`, larger than `size`, or no space left for it.
        ConfigError: as `read`.
    """
    files = _filesystem(url)

    def once() -> None:
        files.get_file(url, str(target))
        if size is not None and target.stat().st_size < size:
            raise ConnectionError(f"{target.stat().st_size} of {size} bytes came")

    _tried(url, once)
    if size is not None and (found := target.stat().st_size) != size:
        raise DataError(f"{url}: {found} bytes, the manifest says {size}; upload the folder again")


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


def _tried(url: str, action: Callable[[], T]) -> T:
    for wait_s in (*BACKOFF_S, None):
        try:
            return action()
        except Exception as error:  # every library has its own
            if wait_s is None or not _may_pass(error):
                raise DataError(f"{url}: {_reason(error)}") from None
            time.sleep(wait_s)
    raise AssertionError("the last try returns or raises")


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


def _reason(error: Exception) -> str:
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
    tries = f"{len(BACKOFF_S) + 1} tries" if _may_pass(error) else "one try"
    return f"could not be read in {tries} ({kind}); check the address and the connection, and run it again"
