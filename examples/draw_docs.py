"""Draws the pictures of `docs/pictures/` from a finished run of `from_raw_to_report.sh`.

    python examples/draw_docs.py runs/default

Training curves, what both tokenizers restore, and a sample of every task.
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuroleon.common.pictures import load_picture
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.decoding.pipeline import NeuroleonPipeline
from neuroleon.decoding.sampling import Sampling
from neuroleon.signals.window import Window

mpl.use("Agg")
ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "pictures"
GREEDY = Sampling(temperature=0.7, top_p=0.9, guidance=2.0)


def validations(run: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "validation"]


def curves(runs: Path) -> Figure:
    figure = Figure(figsize=(12, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    shown = {
        "EEG tokenizer: validation labels right, read from ids": ("eeg", "accuracy"),
        "image tokenizer: validation PSNR (dB)": ("image", "psnr_db"),
        "transformer: validation nats per id": ("model", ""),
    }
    for axis, (title, (run, ending)) in zip(axes, shown.items(), strict=True):
        lines = validations(runs / run)
        names = [k for k in lines[0] if k.endswith(ending) and k not in ("kind", "step", "score", "z", "loss")]
        for name in names:
            axis.plot([line["step"] for line in lines], [line[name] for line in lines], marker=".", label=name)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("step")
        axis.legend(fontsize=7)
    return figure


def windows(folder: Path, n: int) -> list[Window]:
    reader = ShardReader(folder, "test")
    picked = [reader[int(i)] for i in np.linspace(0, len(reader) - 1, n)]
    return [
        Window(
            record["npy"].astype(np.float32) * record["json"]["scale_uV"],
            tuple(record["json"]["ch_names"]),
            np.asarray(record["json"]["positions"], np.float32),
            record["json"]["scale_uV"],
        )
        for record in picked
    ]


def restored_eeg(model: NeuroleonPipeline, samples: Path) -> Figure:
    names = ("cvep20", "ssvep_exo", "muse_p300", "eegmat")
    figure = Figure(figsize=(12, 7), layout="constrained")
    for axis, name in zip(figure.subplots(2, 2).flat, names, strict=True):
        (window,) = windows(samples / name, 3)[1:2]
        (tokens,) = model.eeg.encode([window])
        (back,) = model.eeg.decode([tokens], window.positions, window.ch_names)
        time = np.arange(window.eeg_uV.shape[1]) / window.sfreq
        for row in range(min(6, len(window.ch_names))):
            axis.plot(time, window.eeg_uV[row] / window.scale_uV - 6 * row, "k", linewidth=0.7)
            axis.plot(time, back.eeg_uV[row] / back.scale_uV - 6 * row, "r", linewidth=0.7)
        axis.set_yticks([-6 * row for row in range(min(6, len(window.ch_names)))], window.ch_names[:6])
        axis.set_title(
            f"{name}, a test window: recorded (black), restored from {len(tokens.ids)} ids (red)", fontsize=9
        )
        axis.set_xlabel("s")
    return figure


def restored_pictures(model: NeuroleonPipeline) -> Figure:
    pictures = [
        label.pictures[0] for labels in model.labels.values() for label in labels.labels.values() if label.pictures
    ]
    pictures = pictures[:: max(1, len(pictures) // 12)][:12]
    back = model.image.decode(model.image.encode(np.stack(pictures)))
    figure = Figure(figsize=(12, 2.4), layout="constrained")
    for column, (axis, pair) in enumerate(
        zip(figure.subplots(1, len(pictures)), zip(pictures, back, strict=True), strict=True)
    ):
        axis.imshow(np.concatenate(pair, axis=0))
        axis.axis("off")
        if not column:
            axis.set_title("above: shown; below: from 64 ids", fontsize=8, loc="left")
    return figure


def traces(axis: Axes, window: Window) -> None:
    axis.plot(window.eeg_uV[:6].T + np.arange(6) * -6 * window.scale_uV, linewidth=0.6)


def every_task(model: NeuroleonPipeline, samples: Path) -> Figure:
    window = windows(samples / "cvep20", 5)[2]
    letter = load_picture(next((ROOT / "models/default/labels/cvep20").glob("*.png")), model.image.image_size)
    sentence, question = "The person looks at the letter K.", "Which letter does the person look at?"
    asked = {
        "eeg2image": {"eeg": window},
        "eeg2text": {"eeg": window},
        "eeg2both": {"eeg": window},
        "eeg2label": {"eeg": window, "question": question},
        "text2image": {"text": sentence},
        "image2text": {"image": letter},
        "text2eeg": {"text": sentence, "duration_s": 2.0},
        "image2eeg": {"image": letter, "duration_s": 2.0},
    }
    figure = Figure(figsize=(12, 6), layout="constrained")
    for axis, (task, given) in zip(figure.subplots(2, 4).flat, asked.items(), strict=True):
        (result,) = model.run(task, n=1, settings=GREEDY, seed=0, **given)
        came = "what came" if result.picture is not None or result.eeg is not None else "what went in"
        axis.set_title(f"{task}: {result.text or given.get('text', '')}\n(below: {came})", fontsize=8)
        picture = result.picture if result.picture is not None else given.get("image")
        if result.eeg is not None:
            traces(axis, result.eeg)
        elif picture is not None:
            axis.imshow(picture)
        else:
            traces(axis, window)
        axis.set_xticks([])
        axis.set_yticks([])
    return figure


if __name__ == "__main__":
    run = Path(sys.argv[1])
    OUT.mkdir(parents=True, exist_ok=True)
    curves(run).savefig(OUT / "training-curves.png", dpi=90)
    trained = NeuroleonPipeline.load(str(run / "model" / "final"))
    restored_eeg(trained, run / "samples").savefig(OUT / "eeg-restored.png", dpi=90)
    restored_pictures(trained).savefig(OUT / "pictures-restored.png", dpi=90)
    every_task(trained, run / "samples").savefig(OUT / "every-task.png", dpi=90)
