"""What a model folder says of itself beside its weights: `labels.json`, `preprocess.json` and the model card."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError
from neuroleon.common.pictures import decode_picture
from neuroleon.data_pipeline.shard_table import read_manifest, shards_of
from neuroleon.data_pipeline.shards import ShardReader
from neuroleon.data_pipeline.storage import Folder, Location
from neuroleon.decoding.labels import Label, LabelSet
from neuroleon.signals.preprocess import Preprocess

PICTURES_PER_LABEL = 16


@dataclass(frozen=True, kw_only=True)
class SampleSet:
    """What a folder of sample shards says of itself: `recipe.json`, and `preprocess.json` where the set has EEG."""

    folder: Folder
    recipe: dict[str, Any]
    preprocess: Preprocess | None

    @classmethod
    def read(cls, location: Location) -> "SampleSet":
        """Read a folder that `prepare.py samples` or `prepare.py index` wrote; it may lie behind an address.

        Raises:
            DataError: a file is missing or damaged.
        """
        folder = Folder.at(location)
        has_eeg = any("npy" in shard.required for shard in shards_of(folder, read_manifest(folder)))
        preprocess = Preprocess.from_json(folder.read_json("preprocess.json")) if has_eeg else None
        return cls(folder=folder, recipe=folder.read_json("recipe.json"), preprocess=preprocess)

    def labels(self) -> LabelSet:
        """The labels that the train split teaches: their words, and their pictures where the licence lets them go on.

        Raises:
            DataError: a damaged shard, or a picture that `recipe.json` names is missing.
        """
        wordings: dict[str, dict[str, None]] = {}
        duration_s = None
        for record in ShardReader(self.folder.address, "train"):
            info = record["json"]
            if info["label"] is not None and info["label_text"]:
                wordings.setdefault(info["label"], {}).update(dict.fromkeys(info["texts"] or ()))
                duration_s = duration_s or record["npy"].shape[1] / info["sfreq"]
        pictures = self.recipe["pictures"] if self.recipe["redistribute_pictures"] else {}
        windows = self.recipe.get("windows") or [{"tmin_s": 0.0}]
        return LabelSet(
            labels={
                label: Label(
                    text=self.recipe["label_text"][label],
                    wordings=tuple(said),
                    pictures=tuple(map(self._picture, pictures.get(label, ())[:PICTURES_PER_LABEL])),
                )
                for label, said in sorted(wordings.items())
            },
            question=self.recipe["question"],
            tmin_s=windows[0]["tmin_s"],
            duration_s=duration_s,
        )

    def _picture(self, file: str) -> np.ndarray:
        return decode_picture(self.folder.read(file), self.folder.where(file))


def shared_preprocess(found: Mapping[str, Preprocess]) -> Preprocess:
    """The one signal front-end of all sets with EEG, by name.

    Raises:
        ConfigError: two sets were prepared differently, or none has EEG.
    """
    if not found:
        raise ConfigError("data.samples: none of the folders has EEG; add one")
    (first, chosen), *others = found.items()
    for name, other in others:
        if other.fingerprint != chosen.fingerprint:
            raise ConfigError(
                f"data.samples: {first} was preprocessed as {chosen.fingerprint[:12]}, {name} as "
                f"{other.fingerprint[:12]}; one model has one front-end: prepare both with the same `preprocess`"
            )
    return chosen


def model_card(
    recipes: Sequence[Mapping[str, Any]], tasks: Sequence[str], numbers: Mapping[str, float], n_parameters: int
) -> str:
    """The README of a model folder, in the hub's form; the loop adds how it was trained."""
    rows = [f"| {r['name']} | {r['title']} | {r['licence']} | {r['citation']} |" for r in recipes]
    values = [f"| {name} | {value:.4f} |" for name, value in numbers.items()]
    return "\n".join(
        [
            "---\nlibrary_name: neuroleon\ntags: [eeg, multimodal]\n---\n",
            "# A Neuroleon model\n",
            f"A causal transformer ({n_parameters / 1e6:.1f} M parameters) over EEG, image and text tokens of one "
            "vocabulary, with its three tokenizers.",
            f"Tasks: {', '.join(tasks)}.\n",
            "    python sample.py --model THIS_FOLDER --task eeg2image --eeg RECORDING\n",
            "## Training data\n",
            "| set | title | licence | citation |\n| --- | --- | --- | --- |",
            *rows,
            "\nThe weights learned from all of these; the narrowest licence above bounds what they may be used for.\n",
            "## Validation\n",
            "Mean nats per token on the validation split (`score`: output tokens of the tasks that start from EEG).\n",
            "| number | value |\n| --- | --- |",
            *values,
            "\n## Limits\n",
            "Pictures and sentences are samples of a generative model that has learned what usually follows: they look "
            "plausible whether or not the EEG says anything. Compare with shuffled EEG (`evaluate.py`) before you "
            "believe one. The model knows the subjects, montages and tasks above; it does not read minds, and it is no "
            "medical device.\n",
        ]
    )
