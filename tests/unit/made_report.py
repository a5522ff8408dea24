"""A report with every part, of made-up numbers, for the tests of its page, its JSON and its comparison."""

from dataclasses import replace
from typing import Any

import numpy as np

from neuroleon.evaluation.audit import Audit
from neuroleon.evaluation.results import (
    Attribution,
    BaselineResult,
    Confusion,
    Cost,
    Reliability,
    Report,
    SetResult,
    Shown,
    TaskResult,
    WindowValues,
)
from neuroleon.evaluation.stats import Comparison, Estimate, compare
from neuroleon.evaluation.tokenizers import CodeUse, Fidelity
from neuroleon.signals.window import Window

CLUSTERS = np.repeat([f"s1/r1/{k}" for k in range(20)], 2)
KEYS = [f"r1-{k:05d}" for k in range(40)]
NAMES = ("Fz", "C3", "Cz", "C4", "Oz")
PLACES = np.array([[0, 0.8, 0.6], [-0.7, 0, 0.7], [0, 0, 1.0], [0.7, 0, 0.7], [0, -1.0, 0.2]])


def window() -> Window:
    eeg_uV = np.random.default_rng(0).normal(0, 10, (5, 400)).astype(np.float32)
    return Window(eeg_uV=eeg_uV, ch_names=NAMES, positions=PLACES, scale_uV=10.0)


def about(mean: float, width: float = 0.1) -> Estimate:
    return Estimate(mean=mean, low=mean - width, high=mean + width)


def scores(n_right: int) -> np.ndarray:
    """Of the 20 trials of two windows the first `n_right` are right."""
    return np.repeat((np.arange(20) < n_right).astype(float), 2)


def comparison(n_right: int = 16, **others: int) -> Comparison:
    values = {"sham": scores(3), "shuffled": scores(2), "real": scores(n_right)}
    values |= {name.replace("_", " "): scores(n) for name, n in others.items()}
    return compare("accuracy, generated label", "share", values, CLUSTERS, chance=0.05, seed=0, n_answers=20)


def label_task(n_right: int = 16, answers: tuple[str, ...] = ("north", "east", "south")) -> TaskResult:
    n = len(answers)
    counts = (3 * np.eye(n, n + 1) + np.arange(n * (n + 1)).reshape(n, n + 1) % 3).astype(int)
    texts = {"real": "north", "shuffled": "The person looks to the west, or so it seems from this long sentence."}
    return TaskResult(
        task="eeg2label",
        comparisons=(comparison(n_right, oracle=20, noise=3, none=1, within_class=15),),
        remarks=("Different answers: real 3 of 20.",),
        confusions=(
            Confusion(
                metric="generated label",
                answers=answers,
                counts={"real": counts.tolist(), "shuffled": counts[::-1].tolist()},
            ),
        ),
        reliability=Reliability(
            metric="likeliest label",
            bins={"real": [(0.15, 0.2, 5), (0.55, 0.4, 5), (0.95, 0.9, 10)], "shuffled": [(0.9, 0.1, 20)]},
            error={"real": 0.07, "shuffled": float("nan")},
        ),
        shown=[
            Shown(window=window(), target="north", outputs=dict(texts), titles={"target": "north", "real": "north"})
        ],
        cost=Cost(seconds=2.0, n_ids=300, n_scored=1200),
        values=(
            WindowValues(
                metric="accuracy, generated label",
                values=dict(zip(KEYS, scores(n_right).tolist(), strict=True)),
            ),
        ),
    )


def image_task() -> TaskResult:
    picture = np.full((8, 8, 3), 200, dtype=np.uint8)
    titles = {"seen": "north", "real": "north", "shuffled": "west"}
    shown = Shown(window=window(), target=picture, outputs={"real": picture, "shuffled": picture // 2}, titles=titles)
    return TaskResult(task="eeg2image", remarks=("Left out: the set has no pictures.",), shown=[shown, shown])


def attributed() -> Attribution:
    return Attribution(
        task="eeg2label",
        channels={name: about(k / 5) for k, name in enumerate(NAMES)},
        positions=PLACES,
        times_s=(0.0, 0.125, 0.25),
        steps=(about(0.0), about(1.0), about(0.0)),
        shuffled_channels={name: about(0.0) for name in NAMES},
        shuffled_steps=(about(0.0), about(-0.1), about(0.0)),
        remarks=("20 windows of 10 trials.",),
    )


def set_result(**changed: Any) -> SetResult:
    parts: dict[str, Any] = {
        "recipe": "toy",
        "split": "validation",
        "n_available": 50,
        "n_windows": 40,
        "n_trials": 20,
        "n_answers": 3,
        "shards": "abc",
        "audit": Audit(
            split_by="group",
            units={"subject": 2, "recording": 4},
            shared={"subject": 2, "recording": 0},
            confounded=None,
            sentences=("Split by group.",),
        ),
        "tasks": (label_task(), image_task()),
        "fidelities": (
            Fidelity(
                modality="eeg",
                recipe="toy",
                n=20,
                measures={"NMSE": about(0.5)},
                codes=(CodeUse(name="level 1", size=16, n_tokens=320, used=0.5, perplexity=6.0),),
            ),
        ),
        "waveforms": (window(), window()),
        "baselines": (
            BaselineResult(
                method="TRCA",
                scheme="recipe",
                comparison=replace(comparison(18), metric="accuracy"),
                remarks=("8 trials.",),
            ),
        ),
        "attribution": attributed(),
        "trials": dict(zip(KEYS, CLUSTERS.tolist(), strict=True)),
    }
    return SetResult(**parts | changed)


def bare_set() -> SetResult:
    """What an evaluation without tasks finds."""
    return set_result(tasks=(), baselines=(), attribution=None, trials={})


def report(**changed: Any) -> Report:
    return Report(facts={"model": "toy", "limit": 20}, sets=(set_result(**changed),))


def as_format_1(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a report as an older version wrote it: without values of single windows."""
    for result in record["sets"]:
        del result["trials"]
        for one in result["baselines"]:
            del one["values"]
        for task in result["tasks"]:
            del task["values"]
    return record | {"format": 1}
