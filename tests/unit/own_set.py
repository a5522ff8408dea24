"""A data set of one's own: a recipe, small EDF recordings with header text, and a run of it."""

from datetime import date
from pathlib import Path

import edfio
import numpy as np
import yaml

from neuroleon.data_pipeline.launch import HERE, Launch
from neuroleon.data_pipeline.recipe import load_recipe
from neuroleon.data_pipeline.samples import Report, prepare_samples

RECIPE = {
    "name": "own",
    "title": "A data set of my own",
    "licence": "CC0-1.0",
    "citation": "none",
    "source": {"reader": "mne", "folder": "eeg", "options": {"files": "*.edf", "pattern": r"(?P<subject>\w+)_\d"}},
    "windows": [{"tmin_s": 0.0, "duration_s": 1.0}],
    "labels": {"map": {"look left": "left", "look right": "right"}},
    "split": {"by": "subject", "train": ["anna*"], "validation": ["ben"], "test": ["carla"]},
    "picture": {"kind": "drawing", "draw": "field", "parameters": {"side": "{label}"}},
    "texts": {"wordings": ["Something is on the {label}.", "On the {label}."], "question": "Left or right?"},
}


def write_edf(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signals = [
        edfio.EdfSignal(
            np.cumsum(rng.normal(size=5120)) % 40 + 5 * rng.normal(size=5120),
            256.0,
            label=f"EEG {name}",
            physical_dimension="uV",
        )
        for name in ("Fz", "Cz", "Pz", "O1", "O2")
    ]
    sides = ("look left", "look right")
    notes = [edfio.EdfAnnotation(1.0 + 2 * i, None, sides[i % 2]) for i in range(8)]
    notes.append(edfio.EdfAnnotation(17.0, None, "Anna Muster, room 7"))
    edfio.Edf(
        signals,
        patient=edfio.Patient(code="MRN12345", name="Anna_Muster"),
        recording=edfio.Recording(startdate=date(2019, 5, 13), investigator_technician_code="Technician"),
        annotations=notes,
    ).write(path)


def prepare(root: Path, launch: Launch = HERE, **changes: object) -> Report:
    path = root / "own.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return prepare_samples(load_recipe(path), root, root / "out", launch)
