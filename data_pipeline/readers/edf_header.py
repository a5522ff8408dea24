"""The header of EDF and BDF files (Kemp et al. 1992), checked against the file: mne reads damaged ones as if whole."""

from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from neuroleon.common.errors import DataError


@dataclass(frozen=True, kw_only=True)
class EdfHeader:
    """What the fixed part of the header says of each column. Patient and recording text is never kept."""

    labels: tuple[str, ...]
    units: tuple[str, ...]
    rates_hz: tuple[float, ...]


def _number(field: bytes, what: str, path: Path) -> float:
    try:
        number = float(field)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise DataError(f"{path}: {what} in the header is not a number; the file is damaged, fetch it again")
    return number


def _check_size(path: Path, expected: int) -> None:
    """Refuse a file that is not as long as its header says."""
    found = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(1 << 22)
    newlines = start.count(b"\n")
    if newlines >= 64 and newlines == start.count(b"\r\n"):
        raise DataError(
            f"{path}: {found} bytes, header says {expected}, and each byte 0A follows a 0D: it was copied as text, "
            "which damages samples; fetch it again in binary mode, or try examples/repair_text_mode_edf.py"
        )
    if found != expected:
        state = "cut short" if found < expected else "longer than that, damaged or not closed by its recorder"
        raise DataError(f"{path}: {found} bytes, but its header says {expected}: it is {state}; fetch it again")


def read_edf_header(path: Path) -> EdfHeader:
    """Read and check the header of an EDF, EDF+C or BDF file.

    Raises:
        DataError: not EDF or BDF, a damaged header, a file longer or shorter than its header says, or EDF+D.
    """
    with path.open("rb") as file:
        fixed = file.read(256)
        if len(fixed) < 256 or not (fixed.startswith((b"0       ", b"\xffBIOSEMI"))):
            raise DataError(f"{path}: no EDF or BDF header at its start; is the extension right?")
        n_signals = int(_number(fixed[252:256], "the number of signals", path))
        columns = file.read(256 * n_signals) if 0 < n_signals < 5000 else b""
    if not columns or len(columns) < 256 * n_signals:
        raise DataError(f"{path}: header of {n_signals} signals is not whole; the file is damaged, fetch it again")
    if fixed[192:197] in {b"EDF+D", b"BDF+D"}:
        raise DataError(f"{path}: discontinuous ({fixed[192:197].decode()}), expected EDF+C; export it without gaps")
    n_records = int(_number(fixed[236:244], "the number of records", path))
    record_s = _number(fixed[244:252], "the duration of a record", path)

    def fields(start: int, width: int) -> list[bytes]:
        block = columns[start * n_signals : (start + width) * n_signals]
        return [block[i * width : (i + 1) * width] for i in range(n_signals)]

    labels = tuple(field.decode("latin-1").strip() for field in fields(0, 16))
    units = tuple(field.decode("latin-1").strip() for field in fields(96, 8))
    samples = [int(_number(field, "samples in a record", path)) for field in fields(216, 8)]
    if n_records < 1 or record_s <= 0 or min(samples) < 1:
        raise DataError(
            f"{path}: header says {n_records} records of {record_s:g} s; expected at least one; the recorder did not "
            "close the file, repair its header or fetch it again"
        )
    for label, low, high in zip(labels, fields(104, 8), fields(112, 8), strict=True):
        if "Annotations" not in label and _number(low, "a minimum", path) == _number(high, "a maximum", path):
            raise DataError(f"{path}: column {label!r} has equal physical minimum and maximum; its header is damaged")
    width = 3 if fixed.startswith(b"\xff") else 2
    _check_size(path, 256 * (n_signals + 1) + n_records * width * sum(samples))
    return EdfHeader(labels=labels, units=units, rates_hz=tuple(count / record_s for count in samples))
