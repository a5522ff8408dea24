"""Tasks for `test_launch.py` that other processes can import: a letter in a file, and accidents on demand."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from neuroleon.common.errors import DataError


@dataclass(frozen=True)
class Letter:
    folder: Path
    name: str

    @property
    def path(self) -> Path:
        return self.folder / f"{self.name}.txt"

    def is_done(self) -> bool:
        return self.path.is_file()


def write(letter: Letter) -> None:
    """Write the letter; a file `kill-NAME` kills this process, once, and a file `bad-NAME` is an error."""
    accident = letter.folder / f"kill-{letter.name}"
    if accident.exists():
        accident.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (letter.folder / f"bad-{letter.name}").exists():
        raise DataError(f"{letter.name} is bad")
    letter.path.write_text(letter.name)
    with (letter.folder / "log").open("a") as log:
        log.write(f"{os.getpid()} {letter.name}\n")
