"""A recipe: one small YAML file that says how a data set becomes samples.

A data set of one's own needs such a file and no code. All is checked when the file is read; nothing in it can run.
"""

import difflib
import hashlib
import string
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import yaml

from neuroleon.common.errors import ConfigError
from neuroleon.data_pipeline.checksums import read_checksums
from neuroleon.data_pipeline.splits import SplitRule, matches
from neuroleon.data_pipeline.windows import WindowSpec
from neuroleon.signals.preprocess import Preprocess

RECIPES = Path(__file__).parent / "recipes"
MAX_BYTES = 1_000_000
_NAMES = frozenset({"recording", "group", "subject"})
# what can be any text at all, by reader: annotations are typed by hand; groups of pictures are their classes
_FREE_TEXT = {"mne": _NAMES | {"event"}, "bids": _NAMES | {"event"}, "pictures": _NAMES - {"group"}}


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """Where recordings come from: a reader (`readers/registry.py`), the folder below the data root, reader options."""

    reader: str
    folder: str = "."
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LabelSpec:
    """How a window gets its label.

    Attributes:
        of: what carries it: the window's `event` code, or the name of the `recording`, `group` or `subject`.
        map: shell pattern of that word -> label; a word that no pattern fits has no label and its windows are left out.
            Absent: the word is the label. Names of people and recordings and annotations, which are free text, are
            stored in no other way than through a map.
        phrases: label -> how the sentences say it; a label without one is said as it is.
    """

    of: Literal["event", "recording", "group", "subject", "none"] = "event"
    map: dict[str, str] | None = None
    phrases: dict[str, str] = field(default_factory=dict)

    def label(self, word: str) -> str | None:
        """The label of an event code or name, or None."""
        if self.map is None:
            return word
        return next((label for pattern, label in self.map.items() if matches(word, pattern)), None)

    def phrase(self, label: str) -> str:
        return self.phrases.get(label, label)


@dataclass(frozen=True, kw_only=True)
class PictureSpec:
    """The picture of a sample.

    Attributes:
        kind: `drawing` (stimuli.draw), `files` (photographs of the label's class), `none`, or `own`: the
            reader's, in recordings the file below the source folder that the event's info names as `image`.
        draw: kind of drawing.
        parameters: of the drawing, for all labels; `{label}` and fields of the event's info may stand for values.
        by_label: label -> further parameters of the drawing, or, for files, a pattern below the source folder.
        redistribute: whether the licence allows to pass shards with these pictures on.
    """

    kind: Literal["drawing", "files", "own", "none"] = "none"
    draw: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    by_label: dict[str, Any] = field(default_factory=dict)
    redistribute: bool = True

    def __post_init__(self) -> None:
        if (self.kind == "drawing") != (self.draw is not None):
            raise ConfigError("picture.draw goes with kind: drawing, and only with it")
        if self.kind == "files" and not all(isinstance(pattern, str) for pattern in self.by_label.values()):
            raise ConfigError("picture.by_label of kind: files maps each label to one pattern of files")


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """The sentences of a sample: templates with `{label}`, `{phrase}` and the fields of the event's info."""

    wordings: tuple[str, ...] = ()
    label_text: str = "{phrase}"
    question: str | None = None

    def __post_init__(self) -> None:
        for template in (*self.wordings, self.label_text, self.question or ""):
            template_fields(template)


@dataclass(frozen=True, kw_only=True)
class StimulusSpec:
    """What was shown over time, where the set knows it: a track in 0..1 that starts at the event and repeats.

    Attributes:
        info: field of the event's info that holds the track, a list of numbers.
        sfreq: its rate in Hz.
    """

    info: str
    sfreq: float

    def __post_init__(self) -> None:
        if not self.sfreq > 0:
            raise ConfigError(f"stimulus.sfreq is {self.sfreq:g}; expected the track's rate in Hz, above 0")

    def at(self, track: list[float], time_s: np.ndarray) -> list[float]:
        """The values of the track at times after the event, to three places."""
        index = np.floor(time_s * self.sfreq + 1e-6).astype(int) % len(track)
        return np.asarray(track, dtype=float)[index].round(3).tolist()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One data set. `sha256` is that of the recipe file; `checksums` are published (`checksums.py`), by file."""

    name: str
    title: str
    licence: str
    citation: str
    source: SourceSpec
    split: SplitRule
    known_faults: tuple[str, ...] = ()
    decodable: bool | Literal["unknown"] = "unknown"
    decodable_note: str = ""
    unit_unknown: bool = False  # recordings are scaled to a usual amplitude
    preprocess: Preprocess = field(default_factory=Preprocess)
    windows: tuple[WindowSpec, ...] = ()
    labels: LabelSpec = field(default_factory=LabelSpec)
    picture: PictureSpec = field(default_factory=PictureSpec)
    stimulus: StimulusSpec | None = None
    texts: TextSpec = field(default_factory=TextSpec)
    sha256: str = ""
    checksums: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").isalnum() or not self.name.isascii() or len(self.name) > 40:
            raise ConfigError(f"name is {self.name!r}; expected up to 40 letters, digits and _ (it names a folder)")
        if self.stimulus and any(spec.tmin_s < 0 for spec in self.windows):
            raise ConfigError("stimulus: its track starts at the event, so no window may have a tmin_s below 0")
        if self.labels.map is None and self.labels.of in _FREE_TEXT.get(self.source.reader, _NAMES):
            raise ConfigError(
                f"labels.map is missing: every {self.labels.of} of reader {self.source.reader} would become a label as "
                "it is, and these words can name people; map those that are labels, or say labels: {of: none}"
            )
        if self.labels.map is not None:
            known = set(self.labels.map.values())
            for where, names in (("labels.phrases", self.labels.phrases), ("picture.by_label", self.picture.by_label)):
                if unknown := sorted(set(names) - known):
                    raise ConfigError(f"{where} names {unknown[0]!r}, which is no label{_nearest(unknown[0], known)}")
            if len({self.labels.phrase(label) for label in known}) != len(known):
                raise ConfigError(
                    "labels.phrases says two labels with the same words; a question could not tell them apart"
                )


def template_fields(template: str) -> set[str]:
    """The names that a template asks for.

    Raises:
        ConfigError: broken braces, or anything but plain names inside them.
    """
    try:
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ConfigError(f"text {template!r}: {error}; write {{label}} for a field and {{{{ for a brace") from None
    for _, name, spec, conversion in parts:
        if not str(name).isidentifier() or spec not in ("", "g") or conversion:  # a width of 10^9 would fill the memory
            raise ConfigError(f"text {template!r}: {{{name}}} is no plain name such as {{label}} or {{orientation:g}}")
    return {str(name) for _, name, _, _ in parts}


def list_recipes() -> list[str]:
    """Names of the recipes that come with the project."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read one of our recipes by name, or a recipe file of the user's.

    Raises:
        ConfigError: no such recipe, the file has an unknown, missing or ill-typed key (file and key are named), or the
            list of checksums beside it is none.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = RECIPES / f"{name_or_path}.yaml"
        if not path.is_file():
            close = _nearest(str(name_or_path), list_recipes())
            raise ConfigError(
                f"recipe {str(name_or_path)!r}: not one of {', '.join(list_recipes())}, no .yaml file{close}"
            )
    if not path.is_file():
        raise ConfigError(f"{path}: no such recipe file")
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"{path}: {path.stat().st_size} bytes; a recipe has at most {MAX_BYTES}")
    content = path.read_bytes()
    try:
        value = yaml.load(content, _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML ({error})") from None
    try:
        if isinstance(value, dict) and (found := {"sha256", "checksums"} & value.keys()):
            raise ConfigError(f"unknown key {found.pop()}; it does not stand in the recipe (docs/data.md)")
        recipe: Recipe = build(Recipe, value, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return replace(recipe, sha256=hashlib.sha256(content).hexdigest(), checksums=read_checksums(path))


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"key {twice[0]!r} comes twice, line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def _nearest(word: str, words: Any) -> str:
    close = difflib.get_close_matches(word, sorted(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def build(kind: Any, value: Any, where: str) -> Any:
    """`value`, as YAML gives it, as the annotated type `kind`: dataclasses, tuples, dicts and plain values.

    Raises:
        ConfigError: names the key (`where`) that is unknown, missing, or of the wrong type.
    """
    if is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _build_union(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(build(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {
            build(arguments[0], k, f"key {where}"): build(arguments[1], v, f"{where}.{k}") for k, v in value.items()
        }
    if origin is Literal and value in arguments and not isinstance(value, bool):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number and isfinite(value):
        return float(value)
    if kind in (str, bool, type(None)) and isinstance(value, kind):
        return value
    if kind is int and is_number and isinstance(value, int):
        return value
    raise ConfigError(f"{where or 'the file'} is {value!r}; expected {_say(kind)}")


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where or 'the file'} is {value!r}; expected keys and values")
    known = {f.name: f for f in fields(kind) if f.init}
    inside = f"{where}." if where else ""
    for key in value:
        if key not in known:
            expected = _nearest(str(key), known) or f"; expected one of {', '.join(known)}"
            raise ConfigError(f"unknown key {inside}{key}{expected}")
    for name, f in known.items():
        if name not in value and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"key {inside}{name} is missing")
    hints = get_type_hints(kind)
    arguments = {key: build(hints[key], item, f"{inside}{key}") for key, item in value.items()}
    try:
        return kind(**arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where or 'the file'}: {error}") from None


def _build_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    for kind in kinds:
        if is_dataclass(kind) and isinstance(value, Mapping):
            return build(kind, value, where)  # whose error names the key inside
        try:
            return build(kind, value, where)
        except ConfigError:
            continue
    raise ConfigError(f"{where} is {value!r}; expected {' or '.join(_say(kind) for kind in kinds)}")


def _say(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    names = {str: "a text (in quotes)", int: "a whole number", float: "a number", bool: "true or false"}
    plain = {tuple: "a list", dict: "keys and values"}
    return names.get(kind) or plain.get(get_origin(kind)) or ("null" if kind is type(None) else str(kind))
