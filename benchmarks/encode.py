"""How fast EEG becomes ids, on one CPU core, beside the floor; and how memory grows with the recording.

    python benchmarks/encode.py [--model models/default] [--minutes 5]

Times real EEG repeated to the wanted length and electrodes of mne's templates, so that its content is EEG's at every
channel count. `x real time`: seconds of EEG per second of one core. The floor is what matrix products alone would take:
their FLOPs (torch's counter) over the rate of a large product, measured in the same run and precision. `from raw`:
with the front-end (filter, resample, reference) from 500 Hz. Each figure is the median of five runs.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # one core; before numpy and torch are loaded

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

RUNS = 5
CHANNELS = (1, 14, 32, 64, 256)
SFREQ = 500.0
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "recordings" / "cvep-letter.edf"


def seconds(work: Callable[[], object]) -> float:
    """Median processor time of a few runs, after one that is not counted."""
    work()
    taken = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def montage(n_chans: int) -> list[str]:
    """Names of so many electrodes."""
    import mne

    if n_chans == 256:
        return [f"E{i}" for i in range(1, 257)]
    names = mne.channels.make_standard_montage("biosemi64" if n_chans > 32 else "biosemi32").ch_names
    return list(names[:n_chans])


def example_uV(n_chans: int, duration_s: float) -> np.ndarray:
    """Real EEG at 500 Hz: channels of the example, each with its own delay so that no two are alike, repeated."""
    import mne
    from scipy.signal import resample_poly

    raw = mne.io.read_raw(EXAMPLE, preload=True, verbose="ERROR")
    eeg_uV = raw.get_data(picks="eeg") * 1e6
    whole = resample_poly(eeg_uV, round(SFREQ), round(raw.info["sfreq"]), axis=1)
    n_times = round(duration_s * SFREQ)
    delays = np.random.default_rng(0).integers(0, whole.shape[1], n_chans)
    rows = [np.resize(np.roll(whole[i % len(whole)], delay), n_times) for i, delay in enumerate(delays)]
    return np.stack(rows)


def matrix_rate() -> float:
    """FLOP/s of a large product in double precision."""
    import torch

    a, b = (torch.randn(1500, 1500, dtype=torch.float64) for _ in range(2))
    return 2 * 1500**3 / seconds(lambda: a @ b)


def speed(model: str, minutes: float) -> None:
    """Print the table of speeds."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from neuroleon.signals.from_mne import array_recording
    from neuroleon.tokenizers.eeg.recordings import stretch
    from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

    torch.set_num_threads(1)
    tokenizer, rate = EEGTokenizer.from_pretrained(model), matrix_rate()
    print(f"{tokenizer}\ndouble precision matrix product: {rate / 1e9:.1f} GFLOP/s on one core\n")
    print("| channels | levels | ids from windows, x real time | floor | share of the floor | ids from raw 500 Hz |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n_chans in CHANNELS:
        eeg_uV, names = example_uV(n_chans, 60 * minutes), montage(n_chans)
        made = tokenizer.preprocess.apply(array_recording(eeg_uV, names, SFREQ, "uV"))
        clean, step = made.recording, round(4 * made.recording.sfreq)
        windows = [stretch(made, i, i + step) for i in range(0, clean.n_times - step + 1, step)]
        duration_s = len(windows) * 4.0
        for levels in sorted({tokenizer.tokens_per_step, tokenizer.config.levels}):
            at = tokenizer.with_levels(levels)
            batches = [windows[i : i + 16] for i in range(0, len(windows), 16)]
            with FlopCounterMode(display=False) as counter:
                at.encode_windows(batches[0])
            flops_per_s = counter.get_total_flops() / (len(batches[0]) * 4.0)
            fast = duration_s / seconds(lambda: [at.encode_windows(batch) for batch in batches])  # noqa: B023
            floor = rate / flops_per_s
            from_raw = 60 * minutes / seconds(lambda: at.encode(eeg_uV, ch_names=names, sfreq=SFREQ, unit="uV"))  # noqa: B023
            print(f"| {n_chans} | {levels} | {fast:.0f} | {floor:.0f} | {fast / floor:.0%} | {from_raw:.0f} |")


def peak(model: str, minutes: float) -> None:
    """Print the peak memory of encoding `minutes` of 14-channel EEG, over that of the recording itself, in MB."""
    from neuroleon.tokenizers.eeg.tokenizer import EEGTokenizer

    tokenizer = EEGTokenizer.from_pretrained(model)
    eeg_uV = example_uV(14, 60 * minutes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tokenizer.encode(eeg_uV, ch_names=montage(14), sfreq=SFREQ, unit="uV")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{minutes:g} min, {eeg_uV.nbytes / 1e6:.0f} MB of EEG: {grown / 1e3:.0f} MB more at the peak")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/default", help="a tokenizer or model folder, or a hub id")
    parser.add_argument("--minutes", type=float, default=5.0, help="length of the timed recordings")
    parser.add_argument("--peak", type=float, help=argparse.SUPPRESS)  # a process of its own for each length
    given = parser.parse_args()
    if given.peak:
        peak(given.model, given.peak)
        return
    speed(given.model, given.minutes)
    print("\nmemory of encoding 14 channels of 500 Hz:", flush=True)
    for minutes in (10, 60):
        subprocess.run([sys.executable, __file__, "--model", given.model, "--peak", str(minutes)], check=True)


if __name__ == "__main__":
    main()
