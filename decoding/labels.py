"""`labels.json` of a model folder: what the model was taught to tell apart, data set by data set.

    {RECIPE: {"question": str or null, "tmin_s": s, "duration_s": s,
              "labels": {LABEL: {"text": str, "wordings": [str], "pictures": ["labels/RECIPE/0-0.png", ...]}}}}

The pictures lie beside it as PNG. Training writes it, `sample.py` and the pipeline read it.
"""

import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from neuroleon.common.errors import CheckpointError, DataError
from neuroleon.common.files import read_json, write_json
from neuroleon.common.pictures import open_picture, resized

FILE = "labels.json"


@dataclass(frozen=True, kw_only=True)
class Label:
    """One answer: `text` as eeg2label says it, sentences that eeg2text was taught, and pictures, uint8 (H, W, 3)."""

    text: str
    wordings: tuple[str, ...] = ()
    pictures: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LabelSet:
    """The labels of one recipe. A window of it began `tmin_s` after its event and lasted `duration_s`."""

    labels: Mapping[str, Label]
    question: str | None = None
    tmin_s: float = 0.0
    duration_s: float | None = None

    def nearest(self, picture: np.ndarray) -> str | None:
        """The label whose picture has the least mean squared error to a square `picture`; None without pictures."""
        errors = {
            label: min(_squared_error(picture, candidate) for candidate in entry.pictures)
            for label, entry in self.labels.items()
            if entry.pictures
        }
        return min(errors, key=lambda label: errors[label]) if errors else None

    def named(self, sentence: str) -> str | None:
        """The label that `sentence` names, or None where it names none or more than one.

        First by equality with a wording of one label; else the one label whose text stands in the sentence as words.
        """
        said, words = _normalised(sentence), _words(sentence)
        exact = [label for label, entry in self.labels.items() if said in map(_normalised, entry.wordings)]
        found = exact or [label for label, entry in self.labels.items() if _holds(words, _words(entry.text))]
        return found[0] if len(found) == 1 else None


def _normalised(text: str) -> str:
    """`text` without case, outer punctuation and repeated spaces."""
    return " ".join(text.casefold().split()).strip(string.punctuation + " ")


def _words(text: str) -> list[str]:
    """Words without case and punctuation; but a lone letter ("A") keeps its case, or the article would be a label.

    For the same reason the first word of several is an article when it is one letter.
    """
    words = [stripped for word in text.split() if (stripped := word.strip(string.punctuation))]
    return [word if len(word) == 1 and (i or len(words) == 1) else word.casefold() for i, word in enumerate(words)]


def _holds(sentence: list[str], part: list[str]) -> bool:
    return bool(part) and any(sentence[i : i + len(part)] == part for i in range(len(sentence) - len(part) + 1))


def _squared_error(picture: np.ndarray, candidate: np.ndarray) -> float:
    candidate = (
        candidate if candidate.shape == picture.shape else resized(candidate, picture.shape[1], picture.shape[0])
    )
    return float(np.mean((picture.astype(np.float32) - candidate.astype(np.float32)) ** 2))


def save_labels(sets: Mapping[str, LabelSet], folder: Path) -> None:
    """Write `labels.json` and its pictures into an existing folder (inside `atomic_folder`)."""
    content = {}
    for recipe, labels in sets.items():
        entries = {}
        for i, (label, entry) in enumerate(labels.labels.items()):
            paths = [f"labels/{recipe}/{i}-{k}.png" for k in range(len(entry.pictures))]
            for path, picture in zip(paths, entry.pictures, strict=True):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(folder / path)
            entries[label] = {"text": entry.text, "wordings": list(entry.wordings), "pictures": paths}
        content[recipe] = {
            "question": labels.question,
            "tmin_s": labels.tmin_s,
            "duration_s": labels.duration_s,
            "labels": entries,
        }
    write_json(folder / FILE, content)


def load_labels(folder: Path) -> dict[str, LabelSet]:
    """Read `labels.json` of a model folder.

    Raises:
        CheckpointError: absent, or not in the format above.
    """
    path = folder / FILE
    try:
        return {
            recipe: LabelSet(
                labels={
                    label: Label(
                        text=entry["text"],
                        wordings=tuple(entry["wordings"]),
                        pictures=tuple(open_picture(folder / picture) for picture in entry["pictures"]),
                    )
                    for label, entry in content["labels"].items()
                },
                question=content["question"],
                tmin_s=content["tmin_s"],
                duration_s=content["duration_s"],
            )
            for recipe, content in read_json(path).items()
        }
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: {error!r}; export the model again") from None
