"""Does the evaluation find the information that was planted? Real EEG, a known response, the ideal observer.

    python benchmarks/planted.py --samples runs/samples/cvep20 [--snrs 0 0.5 1 2 3] [--labels 2 4]

Each row is one set (evaluation/planted.py says what is planted, and why its information is known exactly) that went
through shards, loading, audit, prompts, likelihoods and statistics. Found bits are those of the row "among the set's",
real minus chance, with their interval over trials; the known ones should lie inside in 19 rows of 20. `accuracy` is
beside the best that any observer can have. The last rows are of an observer that believes in a response of 2 where
there is none: it must not be above shuffled, and its bits are below 0, because it is surer than it is right.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from neuroleon.evaluation.planted import Observer, Plant, information, write_set
from neuroleon.evaluation.runner import Evaluation, evaluate
from neuroleon.evaluation.stats import Comparison
from neuroleon.evaluation.trials import load_trials


def measured(observer: Observer, folder: Path) -> tuple[Comparison, Comparison]:
    """Bits among the set's labels, and accuracy."""
    report = evaluate(observer, Evaluation(samples=(folder,), tasks=("eeg2label",), limit=None), {})
    rows = report.sets[0].tasks[0].comparisons
    bits = next(c for c in rows if c.unit == "bits" and c.chance is not None)
    return bits, next(c for c in rows if c.unit == "share")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--samples", type=Path, required=True, help="sample shards whose training EEG is the background"
    )
    parser.add_argument("--snrs", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0, 3.0])
    parser.add_argument("--labels", type=int, nargs="+", default=[2, 4])
    given = parser.parse_args()
    windows = [trial.window for trial in load_trials(given.samples, "train", 1000, 0).trials]
    montage = Counter(window.ch_names for window in windows).most_common(1)[0][0]
    background = [window for window in windows if window.ch_names == montage]
    print("labels  planted  believed  known bits        found bits            best  accuracy               in words")
    for n_labels in given.labels:
        plant = Plant(background, n_labels)
        for snr, believed in [*((snr, snr) for snr in given.snrs), (0.0, 2.0)]:
            with tempfile.TemporaryDirectory() as folder:
                write_set(Path(folder), background, plant, snr, seed=0)
                bits, share = measured(Observer(plant, believed), Path(folder))
            known, best = information(n_labels, snr)
            found, right = bits.conditions["real"], share.conditions["real"]
            low, high, mean = (x - (bits.chance or 0.0) for x in (found.low, found.high, found.mean))
            print(
                f"{n_labels:6}  {snr:7g}  {believed:8g}  {known.mean:.3f} ± {known.high - known.mean:.3f}  "
                f"{mean:6.3f} [{low:6.3f}, {high:6.3f}]  {best:.3f}  {right.mean:.3f} [{right.low:.3f}, "
                f"{right.high:.3f}]  {bits.verdict}"
            )


if __name__ == "__main__":
    main()
