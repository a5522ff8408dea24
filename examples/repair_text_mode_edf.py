"""Restores an EDF or BDF file that was copied as text, which put a byte 0D before each 0A and so shifted the samples.

    python examples/repair_text_mode_edf.py S001R04.edf repaired/S001R04.edf

Removing the 0D again gives the original only where the copy still has all of its bytes. That is so when the result is
exactly as long as its header says: had the original held 0D 0A anywhere, too much would be removed. Else nothing is
written.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from neuroleon.common.errors import ConfigError, DataError, exit_cleanly
from neuroleon.common.files import write_atomic
from neuroleon.data_pipeline.readers.edf_header import read_edf_header


def restored(path: Path) -> bytes:
    """The file's bytes without what the copy put in.

    Raises:
        DataError: it was not copied as text, or what is left is not what its header says.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    content = path.read_bytes()
    newlines, pairs = content.count(b"\n"), content.count(b"\r\n")
    if not newlines or newlines != pairs:
        raise DataError(
            f"{path}: {newlines - pairs} of {newlines} bytes 0A have no 0D before them, so it was not copied as text; "
            "expected a 0D before each; there is nothing to repair here"
        )
    whole = content.replace(b"\r\n", b"\n")
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(whole)
        try:
            read_edf_header(copy)
        except DataError as error:
            found = str(error).removeprefix(f"{copy}: ")
            raise DataError(f"{path}: cannot be restored; without {pairs} bytes 0D it has {found}") from None
    return whole


@exit_cleanly
def main(arguments: list[str]) -> None:
    if len(arguments) != 2:
        raise ConfigError("repair_text_mode_edf.py: expected two file names, the damaged file and the one to write")
    damaged, out = map(Path, arguments)
    if out.exists():
        raise ConfigError(f"{out}: is there already; choose another name")
    whole = restored(damaged)
    write_atomic(out, whole)
    print(f"{out}: {len(whole)} bytes, as its header says; {damaged.stat().st_size - len(whole)} bytes removed")


if __name__ == "__main__":
    main(sys.argv[1:])
