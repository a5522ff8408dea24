"""What belongs to a window: its label, its sentences, and the picture that was looked at."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from os.path import normpath
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.pictures import SUFFIXES, load_picture
from neuroleon.data_pipeline.pseudonyms import Pseudonyms
from neuroleon.data_pipeline.readers.files import stamp
from neuroleon.data_pipeline.recipe import PictureSpec, Recipe, template_fields
from neuroleon.data_pipeline.stimuli import draw

SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The picture of one sample; `key` names it inside the data set, `pixels` are uint8 (64, 64, 3)."""

    key: str
    pixels: np.ndarray


def slug(text: str) -> str:
    """A file name's worth of a text; texts that differ only in signs stay apart by a short hash."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    return plain if plain == text else f"{plain}-{blake2b(text.encode(), digest_size=2).hexdigest()}".strip("-")


def own_picture(folder: Path, name: str) -> Path:
    """The file of the picture that an event names. The name must stay in `folder`; a link there may lead elsewhere.

    Raises:
        DataError: the name leads out of the folder, or is no picture's.
    """
    path = Path(normpath(folder / name))
    if not path.is_relative_to(normpath(folder)) or path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{folder}: the recording names the picture {name!r}, which is no picture inside of it")
    return path


def picture_stamp(folder: Path, name: str) -> list[int]:
    """`stamp` of the picture that an event names; nothing where it is none of the set."""
    try:
        return stamp(own_picture(folder, name))
    except DataError:
        return []


@dataclass
class Pairing:
    """The pairing rules of one recipe; `folder` is where its source lies, `secret` keys the pseudonyms of pictures.

    Raises:
        ConfigError: the recipe asks for a field that the event does not have, or for an impossible drawing.
        DataError: a file of stimuli is absent or damaged.
    """

    recipe: Recipe
    folder: Path
    secret: bytes = field(default=b"", repr=False)
    _files: dict[str, list[Path]] = field(default_factory=dict)
    _drawn: dict[str, np.ndarray] = field(default_factory=dict)

    def texts(self, label: str | None, info: Mapping[str, Any]) -> dict[str, Any]:
        """`texts`, `label_text` and `question` of a sample.

        Without a label there is no answer to ask for; sentences can still come from the event (what was read).
        """
        spec = self.recipe.texts
        values = dict(info) if label is None else self._values(label, info)
        return {
            "texts": [self._fill(wording, values) for wording in spec.wordings],
            "label_text": None if label is None else self._fill(spec.label_text, values),
            "question": None if label is None else spec.question,
        }

    def picture(self, label: str | None, info: Mapping[str, Any], key: str) -> Shown | None:
        """The picture of a sample; of several photographs of a class, a hash of the sample's key chooses one.

        Of `kind: own`, the file that the event names; None where it is not here: many sets come without their pictures.
        """
        spec = self.recipe.picture
        if spec.kind == "own":
            return self._own(info)
        if label is None or spec.kind == "none":
            return None
        return self._drawing(spec, label, info) if spec.kind == "drawing" else self._photograph(spec, label, key)

    def all_photographs(self) -> list[tuple[str, Shown]]:
        """(label, picture) of every stimulus file of the recipe, also of those that no sample carries."""
        if self.recipe.picture.kind != "files":
            return []
        return [
            (label, self._load(label, i)) for label in self.recipe.picture.by_label for i in range(len(self._of(label)))
        ]

    def _values(self, label: str, info: Mapping[str, Any]) -> dict[str, Any]:
        return {**info, "label": label, "phrase": self.recipe.labels.phrase(label)}

    def _fill(self, template: str, values: Mapping[str, Any]) -> str:
        if missing := sorted(template_fields(template) - values.keys()):
            known = ", ".join(sorted(values))
            raise ConfigError(f"recipe {self.recipe.name}: {template!r} asks for {missing[0]}; the event has {known}")
        return template.format_map(values)

    def _drawing(self, spec: PictureSpec, label: str, info: Mapping[str, Any]) -> Shown:
        values = self._values(label, info)
        parameters, fields = {}, {"label"}
        for name, value in {**spec.parameters, **(spec.by_label.get(label) or {})}.items():
            parameters[name] = value
            if isinstance(value, str) and (asked := template_fields(value)):
                filled = self._fill(value, values)
                one = next(iter(asked))
                parameters[name] = values[one] if value == f"{{{one}}}" else filled  # a lone field keeps its type
                fields |= asked - {"phrase"}
        key = "-".join(slug(str(values[name])) for name in ("label", *sorted(fields - {"label"})))
        if key not in self._drawn:
            self._drawn[key] = draw(str(spec.draw), SIZE, **parameters)
        return Shown(key=key, pixels=self._drawn[key])

    def _photograph(self, spec: PictureSpec, label: str, key: str) -> Shown:
        number = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % len(self._of(label))
        return self._load(label, number)

    def _own(self, info: Mapping[str, Any]) -> Shown | None:
        name = info.get("image")
        if name is None:
            return None
        path = own_picture(self.folder, name)
        if not path.is_file():
            return None
        return Shown(key=Pseudonyms(self.recipe.name, self.secret)(name, "p"), pixels=load_picture(path, SIZE))

    def _of(self, label: str) -> list[Path]:
        if label not in self._files:
            pattern = self.recipe.picture.by_label.get(label)
            if pattern is None:
                raise ConfigError(f"recipe {self.recipe.name}: picture.by_label has no files for label {label!r}")
            files = sorted(p for p in self.folder.glob(pattern) if p.suffix.lower() in SUFFIXES)
            if not files:
                raise DataError(f"{self.folder}: no picture fits {pattern!r}; expected the stimuli of label {label!r}")
            self._files[label] = files
        return self._files[label]

    def _load(self, label: str, number: int) -> Shown:
        key = f"{slug(label)}-{number:02d}"  # never the file's own name: it may be a person's
        if key not in self._drawn:
            self._drawn[key] = load_picture(self._of(label)[number], SIZE)
        return Shown(key=key, pixels=self._drawn[key])
