"""The EEG tokenizer at work: `eeg.py tokenize` files, `eeg.py reconstruct` one, `eeg.py draw` it and its original."""

import io
import math
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jsonargparse import ArgumentParser, Namespace

from neuroleon.common.errors import ConfigError, DataError, NeuroleonError, exit_cleanly

if TYPE_CHECKING:
    from mne.io import RawArray

    from neuroleon.signals.preprocess import Preprocessed
    from neuroleon.signals.recording import Recording
    from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer, RecordingTokens

DEFAULT_MODEL = "models/default"
LARGEST_FIF_BYTES = 1.9e9  # mne splits larger files


def parser() -> ArgumentParser:
    """The command line."""
    tokenize = ArgumentParser(description="Tokenize recordings and print what came of each.", allow_abbrev=False)
    tokenize.add_argument("files", type=Path, nargs="+", help="EDF, BDF, GDF, BrainVision, EEGLAB, FIF or CNT")
    tokenize.add_argument("--out", type=Path | None, help="folder for the tokens of each file: OUT/STEM.npz")
    tokenize.add_argument("--subject", type=str | None, help="whose EEG all are, as sample shards name the person")
    restore = ArgumentParser(description="Write a recording as its tokens give it back.", allow_abbrev=False)
    restore.add_argument("--out", type=Path, required=True, help="the .fif file to write")
    restore.add_argument("--to-montage", type=str | None, help="one of mne's montages, such as biosemi64")
    restore.add_argument("--channels", type=list[str] | None, help='electrode names, such as "[Oz, O1]"')
    draw = ArgumentParser(description="Draw a stretch beside its reconstruction.", allow_abbrev=False)
    draw.add_argument("--out", type=Path, required=True, help="the picture to write: .png, .pdf or .svg")
    draw.add_argument("--start", type=float, default=0.0, help="where it begins, in seconds")
    draw.add_argument("--duration", type=float, default=4.0, help="0.25 to 16 s")
    for command in (restore, draw):
        command.add_argument("file", type=Path, help="a recording")
    for command in (tokenize, restore, draw):
        command.add_argument("--model", type=str, default=DEFAULT_MODEL, help="a model or tokenizer: folder or hub id")
        command.add_argument("--levels", type=int | None, help="ids of a step, from the coarsest on (default: all)")
        command.add_argument("--unit", type=str | None, help="uV, mV, V or nV, where the file does not say it rightly")
    whole = ArgumentParser(prog="eeg.py", description=__doc__, allow_abbrev=False)
    commands = whole.add_subcommands(dest="command")
    commands.add_subcommand("tokenize", tokenize, help="files to tokens, and a table")
    commands.add_subcommand("reconstruct", restore, help="a file through the tokenizer, at any electrodes")
    commands.add_subcommand("draw", draw, help="a picture of original and reconstruction")
    return whole


def _tokenizer(options: Namespace) -> "EEGTokenizer":
    from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

    tokenizer = EEGTokenizer.from_pretrained(options.model)
    return tokenizer if options.levels is None else tokenizer.with_levels(options.levels)


def _encoded(made: "Preprocessed", tokenizer: "EEGTokenizer", subject: str | None = None) -> "RecordingTokens":
    """Tokens, with a bar for recordings that take long."""
    from tqdm import tqdm

    from neuroleon.tokenizers.eeg.recordings import encode_prepared

    with tqdm(desc=made.recording.name, unit="window", delay=2, leave=False, disable=None) as bar:

        def done(n_done: int, n_windows: int) -> None:
            bar.total = n_windows
            bar.update(n_done - bar.n)

        return encode_prepared(tokenizer, made, subject, done)


def _read(path: Path, unit: str | None) -> "Recording":
    from neuroleon.data_pipeline.readers.mne_raw import read_recording

    return read_recording(path, unit=unit)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """What the disk or the permissions do not allow is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error}); give another place") from None


HEADINGS = ("channels", "left out", "Hz", "min", "scale µV", "tokens", "tokens/s", "bit/s", "x real time", "r", "flag")
WIDTHS = (8, 8, 5, 6, 8, 8, 8, 6, 11, 6, 0)


def _line(name: str, cells: Sequence[str], width: int) -> str:
    padded = [f"{cell:>{least}}" for cell, least in zip(cells[:-1], WIDTHS, strict=False)]
    return "  ".join([f"{name:<{width}}", *padded, cells[-1]]).rstrip()


def _some(words: Sequence[str], n: int = 6) -> str:
    """The first few words, and how many more there are."""
    return ", ".join(words[:n]) + (f" and {len(words) - n} more" if len(words) > n else "")


def _tokenize_one(path: Path, options: Namespace, tokenizer: "EEGTokenizer") -> tuple["RecordingTokens", list[str]]:
    """The tokens of a file, written where --out says so, and the cells of its line."""
    from neuroleon.tokenizers.eeg.recordings import prepared
    from neuroleon.tokenizers.eeg.restored import mean_correlation
    from neuroleon.tokenizers.eeg.surprise import flag

    began = time.perf_counter()
    recording = _read(path, options.unit)
    made = prepared(tokenizer, recording)
    tokens = _encoded(made, tokenizer, options.subject)
    took_s = time.perf_counter() - began
    if options.out:
        with _writing(options.out):
            tokens.save(options.out / f"{recording.name}.npz")
    tokens_per_s = len(tokens) / tokens.duration_s
    cells = [
        *(f"{len(tokens.ch_names)}", f"{len(tokens.left_out)}", f"{recording.sfreq:g}"),
        *(f"{tokens.duration_s / 60:.2f}", f"{made.scale_uV:.1f}", f"{len(tokens)}", f"{tokens_per_s:.1f}"),
        *(f"{tokens_per_s * math.log2(tokenizer.config.codes):.0f}", f"{tokens.duration_s / took_s:.0f}"),
        *(f"{mean_correlation(tokenizer, made, tokens):.3f}", flag(tokens.ood_z)),
    ]
    return tokens, cells


def tokenize(options: Namespace) -> None:
    """Print a line for each file as it is done, then what was left out, and at the end what failed."""
    names = Counter(path.stem for path in options.files)
    if options.out and (twice := [name for name, times in names.items() if times > 1]):
        raise ConfigError(f"--out: several files are called {', '.join(twice)}; tokenize them into different folders")
    tokenizer = _tokenizer(options)
    tokenizer.check_subject(options.subject)
    for slow in ("mne.io", "mne.filter", "scipy.signal"):
        import_module(slow)  # not in the time of the first file
    width = max(len(path.name) for path in options.files)
    print(_line("file", HEADINGS, width), flush=True)
    failed: list[str] = []
    remarks: dict[str, list[tuple[str, str]]] = defaultdict(list)  # remark -> (channel, file)
    for path in options.files:
        try:
            tokens, cells = _tokenize_one(path, options, tokenizer)
        except NeuroleonError as error:
            reason = " ".join(str(error).split())
            failed.append(reason if reason.startswith(str(path)) else f"{path}: {reason}")
            continue
        print(_line(path.name, cells, width), flush=True)
        for name, why in tokens.left_out.items():
            remarks[f"left out, {why}"].append((name, path.name))
        for note in tokens.notes:
            remarks[note].append(("", path.name))
    for remark, where in remarks.items():
        channels, files = (list(dict.fromkeys(words)) for words in zip(*where, strict=True))
        print(f"{remark}{': ' if channels[0] else ''}{_some(channels)} ({_some(files)})")
    if tokenizer.calibration is None:
        print("no flags: the tokenizer is not calibrated, and cannot tell what is unlike EEG")
    for reason in failed:
        print(f"failed: {reason}", file=sys.stderr)
    if failed:
        raise DataError(f"{len(failed)} of {len(options.files)} files were not tokenized; their reasons are above")


def reconstruct(options: Namespace) -> None:
    """Write the restored EEG; say what was seen and what is estimated."""
    from neuroleon.tokenizers.eeg.recordings import prepared
    from neuroleon.tokenizers.eeg.restored import estimated

    if options.to_montage and options.channels:
        raise ConfigError("--to-montage and --channels both say which electrodes; give one")
    if options.out.suffix != ".fif":
        raise ConfigError(f"--out {options.out}: expected a name that ends in .fif, such as {options.out.stem}_raw.fif")
    tokenizer = _tokenizer(options)
    made = prepared(tokenizer, _read(options.file, options.unit))
    tokens = _encoded(made, tokenizer)
    restored = tokenizer.decode(tokens, options.to_montage or options.channels)
    _save(restored, options.out)
    filled_in = estimated(tokens, restored.ch_names)
    seen = [name for name in restored.ch_names if name not in filled_in]
    print(f"recorded    {len(seen)}: {' '.join(seen)}")
    print(f"estimated   {len(filled_in)}, not recorded: {' '.join(filled_in)}".rstrip(" :"))
    for name, why in tokens.left_out.items():
        print(f"left out    {name}: {why}")
    for note in tokens.notes:
        print(f"note        {note}")
    print(f"written     {options.out}: {tokens.duration_s:g} s at {tokens.sfreq:g} Hz, {len(tokens)} tokens")


def _save(raw: "RawArray", path: Path) -> None:
    """Write a FIF file, all or nothing."""
    n_bytes = 4 * len(raw.ch_names) * raw.n_times
    if n_bytes > LARGEST_FIF_BYTES:
        raise DataError(f"{path}: {n_bytes / 1e9:.1f} GB, a FIF file holds 2; ask for fewer --channels")
    temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}_raw.fif")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            raw.save(temporary, verbose="ERROR")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def draw(options: Namespace) -> None:
    """Draw one window beside its reconstruction."""
    from neuroleon.common.files import write_atomic
    from neuroleon.tokenizers.eeg.figures import reconstruction_figure
    from neuroleon.tokenizers.eeg.recordings import prepared, stretch_at
    from neuroleon.tokenizers.eeg.surprise import correlations, flag, nmse

    kind = options.out.suffix.lower().removeprefix(".")
    if kind not in {"png", "pdf", "svg"}:
        raise ConfigError(f"--out {options.out}: expected a name that ends in .png, .pdf or .svg")
    tokenizer = _tokenizer(options)
    made = prepared(tokenizer, _read(options.file, options.unit))
    window = stretch_at(made, options.start, options.duration)
    (tokens,) = tokenizer.encode_windows([window])
    (restored,) = tokenizer.decode_windows([tokens], window.positions, window.ch_names)
    found = [
        f"{options.start:g} to {options.start + options.duration:g} s",
        f"{tokenizer.tokens_per_step} levels, {tokenizer.bits_per_second:g} bit/s",
        f"mean r {np.nanmean(correlations(window, restored)):.2f}, NMSE {nmse(window, restored):.2f}",
    ]
    unlike = flag(tokenizer.ood_z(window, tokens)) if tokenizer.calibration else ""
    figure = reconstruction_figure(window, restored, "; ".join([*found, *([unlike] if unlike else [])]), options.start)
    content = io.BytesIO()
    figure.savefig(content, format=kind)
    with _writing(options.out):
        write_atomic(options.out, content.getvalue())
    # the file's name can be a person's: on the screen, not in the picture
    print(f"{options.file.name}, ", end="")
    print("\n".join([*found, *([unlike] if unlike else []), f"written: {options.out}"]))


@exit_cleanly
def main(arguments: list[str] | None = None) -> None:
    chosen = parser().parse_args(arguments)
    options = chosen[chosen.command]
    {"tokenize": tokenize, "reconstruct": reconstruct, "draw": draw}[chosen.command](options)


if __name__ == "__main__":
    main()
