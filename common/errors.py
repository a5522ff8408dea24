"""The errors of the borders: files, command line, configs, checkpoints.

Every message gives four facts: what was read, what was found, what was expected, and what to do about it.
`exit_cleanly` turns them into one line on stderr and exit code 2, so that no user meets a traceback.
"""

import sys
from collections.abc import Callable
from functools import wraps


class NeuroleonError(Exception):
    """Base of every error that a user can cause and mend."""


class DataError(NeuroleonError):
    """A recording, picture, text, recipe or shard is not what it should be."""


class ConfigError(NeuroleonError):
    """A setting is unknown, out of range, or contradicts another."""


class CheckpointError(NeuroleonError):
    """A model folder, tokenizer folder or checkpoint is incomplete, damaged, or does not match."""


def exit_cleanly(main: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command's `main`: a NeuroleonError becomes one line on stderr and exit code 2."""

    @wraps(main)
    def guarded(*args: object, **kwargs: object) -> None:
        try:
            main(*args, **kwargs)
        except NeuroleonError as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(2) from None

    return guarded
