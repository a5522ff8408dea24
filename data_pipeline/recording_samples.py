"""From recordings to the records of a shard: read, check, preprocess, cut, and pair with label, text and picture."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuroleon.common.errors import ConfigError, DataError
from neuroleon.common.files import write_atomic
from neuroleon.data_pipeline.checksums import require_published
from neuroleon.data_pipeline.copies import Landmarks, landmarks
from neuroleon.data_pipeline.members import encode
from neuroleon.data_pipeline.pairing import Pairing, Shown, picture_stamp
from neuroleon.data_pipeline.pseudonyms import Pseudonyms
from neuroleon.data_pipeline.readers.base import Failure, Located, source_of
from neuroleon.data_pipeline.readers.pictures import PictureTar
from neuroleon.data_pipeline.recipe import Recipe, StimulusSpec
from neuroleon.data_pipeline.sources import read
from neuroleon.data_pipeline.splits import Source
from neuroleon.data_pipeline.windows import cut
from neuroleon.signals.plausibility import check_recording, normalise_unknown_unit, reject_reason
from neuroleon.signals.preprocess import Preprocessed
from neuroleon.signals.recording import Event, Recording, Window


class RecordingSamples:
    """Makes the records of one task and counts what it made and left out.

    No name, date or text of a header gets into a record: subjects, groups, recordings and pictures go by pseudonyms,
    which `secret` keys.
    """

    def __init__(self, recipe: Recipe, folder: Path, split: str, pictures: Path, secret: bytes = b"") -> None:
        self.recipe, self.folder, self.split, self._picture_folder = recipe, folder, split, pictures
        self._pairing = Pairing(recipe, folder, secret)
        self._pseudonym = Pseudonyms(recipe.name, secret)
        self.required = ("json", "png") if recipe.source.reader == "pictures" else ("json", "npy")
        self.recordings: set[str] = set()  # SUBJECT/RECORDING of those that gave EEG, pseudonyms
        self.labels: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.unlabelled: Counter[str] = Counter()  # event codes: free text, for the screen alone, never stored
        self.notes: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.label_texts: dict[str, str] = {}
        self.pictures: dict[str, set[str]] = defaultdict(set)
        self.shown: set[str] = set()  # keys of the pictures that events name, whether or not the files are here
        self.lacking: dict[str, list[int]] = {}  # names of those that their samples do not have, with their stamps
        self.landmarks: dict[str, Landmarks] = {}  # of each recording that was used, by its name

    def records(self, located: Sequence[Located]) -> Iterator[dict[str, Any]]:
        """The records of these recordings or pictures, in an order that depends on their names alone."""
        if self.recipe.source.reader == "pictures":
            yield from self._from_pictures(located)
            return
        for label, shown in self._pairing.all_photographs():
            self._keep(label, shown)
        by_options: dict[str, list[Located]] = defaultdict(list)
        for one in located:
            by_options[repr(one.options)].append(one)
        for together in by_options.values():
            yield from self._from_recordings(together)

    def _from_recordings(self, located: list[Located]) -> Iterator[dict[str, Any]]:
        wanted = {one.source for one in located}
        recordings = read(self.recipe, self.folder, located[0])
        is_checked = False
        while wanted:
            try:
                recording = next(recordings, None)
                if not is_checked:  # after the reader, whose message says more of a damaged file
                    is_checked = self._require_published(located)
            except DataError as error:
                self.failures += [Failure(name=source.recording, message=str(error)) for source in wanted]
                return
            if recording is None:
                names = ", ".join(source.recording for source in wanted)
                raise DataError(f"{self.folder}: {names} was listed and is not there any more; run it again")
            if source_of(recording) in wanted:
                wanted.discard(source_of(recording))
                yield from self._from_recording(recording)

    def _require_published(self, located: Sequence[Located]) -> bool:
        """True where the files of these recordings, which they share, are not other than those published."""
        if require_published(self.folder, located[0].files, self.recipe.checksums):
            self.notes["recording or picture whose files have the published checksums"] += len(located)
        return True

    def _from_recording(self, recording: Recording) -> Iterator[dict[str, Any]]:
        self.left_out.update(recording.skipped)
        self.notes.update(recording.notes)
        as_read = recording
        try:
            if self.recipe.unit_unknown:
                recording = normalise_unknown_unit(recording)
            check_recording(recording, recording.name)
            preprocessed = self.recipe.preprocess.apply(recording)
        except DataError as error:
            self.failures.append(Failure(name=recording.name, message=str(error)))
            return
        self._note(preprocessed)
        windows_s = []
        for number, (window, event, onset_s) in enumerate(self._windows(preprocessed)):
            if record := self._record(source_of(recording), number, window, event, onset_s):
                windows_s.append((onset_s, onset_s + window.eeg_uV.shape[1] / window.sfreq))
                yield record
        self.landmarks[recording.name] = landmarks(as_read, windows_s, unit_unknown=self.recipe.unit_unknown)

    def _note(self, preprocessed: Preprocessed) -> None:
        self.notes.update(f"channel masked: {why}" for why in preprocessed.bad_channels.values())
        self.notes.update(preprocessed.notes)
        if preprocessed.notch_hz:
            self.notes[f"power line removed at {', '.join(f'{hz:g}' for hz in preprocessed.notch_hz)} Hz"] += 1

    def _windows(self, preprocessed: Preprocessed) -> Iterator[tuple[Window, Event | None, float]]:
        for spec in self.recipe.windows:
            result = cut(preprocessed, spec)
            self.left_out.update({f"windows: {reason}": n for reason, n in result.skipped.items()})
            yield from result.windows

    def _record(
        self, source: Source, number: int, window: Window, event: Event | None, onset_s: float
    ) -> dict[str, Any] | None:
        label = self._label(source, event)
        if label is None and self.recipe.labels.of != "none":
            self.left_out["windows: no label"] += 1
            self.unlabelled[event.code if event else "(no event)"] += 1
            return None
        if reason := reject_reason(window):
            self.left_out[f"windows: {reason}"] += 1
            return None
        scaled = np.clip(window.eeg_uV / window.scale_uV, -self.recipe.preprocess.clip, self.recipe.preprocess.clip)
        name = self._pseudonym(source.recording, "r")
        record = self._paired(f"{name}-{number:05d}", source, label, event.info if event else {})
        record["npy"] = scaled.astype(np.float16)
        record["json"] |= {
            "ch_names": list(window.ch_names),
            "positions": [[None if np.isnan(v) else round(float(v), 4) for v in place] for place in window.positions],
            "sfreq": float(window.sfreq),
            "scale_uV": float(window.scale_uV),
            "onset_s": round(float(onset_s), 6),
        }
        self.recordings.add(f"{record['json']['subject']}/{record['json']['recording']}")
        if window.background is not None:
            record["json"]["background"] = list(window.background)
        if self.recipe.stimulus and event:
            time_s = onset_s - event.onset_s + np.arange(scaled.shape[1]) / window.sfreq
            record["json"]["stimulus"] = self._stimulus(self.recipe.stimulus, event, time_s)
        return record

    def _stimulus(self, spec: StimulusSpec, event: Event, time_s: np.ndarray) -> list[float]:
        if spec.info not in event.info:
            known = ", ".join(sorted(event.info)) or "nothing"
            raise ConfigError(f"recipe {self.recipe.name}: stimulus.info asks for {spec.info}; the event has {known}")
        return spec.at(event.info[spec.info], time_s)

    def _label(self, source: Source, event: Event | None) -> str | None:
        spec = self.recipe.labels
        if spec.of == "none" or (spec.of == "event" and event is None):
            return None
        return spec.label(event.code if spec.of == "event" and event else getattr(source, spec.of))

    def _paired(self, key: str, source: Source, label: str | None, info: dict[str, Any]) -> dict[str, Any]:
        """A record without its signal: the json that all samples have, and the picture, when there is one."""
        texts = self._pairing.texts(label, info)
        shown = self._shown(label, info, key)
        if label is not None:
            self.labels[label] += 1
            self.label_texts[label] = texts["label_text"]
        if label is not None and shown is not None:
            self._keep(label, shown)
        told = {
            "recipe": self.recipe.name,
            "subject": self._pseudonym(source.subject, "s"),
            "recording": self._pseudonym(source.recording, "r"),
            "group": self._pseudonym(source.group, "g"),
            "split": self.split,
            "label": label,
            **texts,
            "image_key": shown.key if shown else None,
        }
        return {"__key__": key, "json": told, **({"png": shown.pixels} if shown else {})}

    def _shown(self, label: str | None, info: dict[str, Any], key: str) -> Shown | None:
        """The picture of a sample. One that its event names and that cannot be shown is noted, and looked for again."""
        if self.recipe.picture.kind != "own" or self.recipe.source.reader == "pictures":
            return self._pairing.picture(label, info, key)
        why = "the file is not here"
        try:
            shown = self._pairing.picture(label, info, key)
        except DataError:
            shown, why = None, "not readable"
        if "image" in info:
            self.shown.add(self._pseudonym(info["image"], "p"))
        if shown is None:
            self.notes[f"window without its picture: {why}"] += 1
            if "image" in info:
                self.lacking[info["image"]] = picture_stamp(self.folder, info["image"])
        return shown

    def _keep(self, label: str, shown: Shown) -> None:
        if shown.key not in self.pictures[label]:
            self.pictures[label].add(shown.key)
            write_atomic(self._picture_folder / f"{shown.key}.png", encode("png", shown.pixels))

    def _from_pictures(self, located: Sequence[Located]) -> Iterator[dict[str, Any]]:
        sources = {one.source.recording: one.source for one in located}
        self._require_published(located)
        for picture in PictureTar(self.folder, dict(located[0].options)).read(sources):
            if isinstance(picture, DataError):
                self.left_out["pictures: not readable"] += 1
                self.failures.append(Failure(name="picture", message=str(picture)))
                continue
            source = sources[picture.name]
            key = self._pseudonym(picture.name, "p")
            record = self._paired(key, source, self._label(source, None), {})
            record["json"]["texts"] += picture.captions
            record["json"]["image_key"] = key
            yield {**record, "png": picture.pixels}
