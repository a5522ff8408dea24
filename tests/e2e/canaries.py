"""Recordings whose headers say who was recorded, by whom, when and where, in every field; and the search for it."""

import re
import zipfile
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from io import BytesIO
from pathlib import Path

import edfio
import numpy as np
from PIL import Image

SFREQ, SECONDS, LOOKS_S = 256.0, 24, range(2, 22, 2)
CHANNELS = ("Fz", "Cz", "Pz", "O1", "O2")
TRIGGER = "TRIG Oskar"
EMBEDDED = re.compile(rb"data:image/png;base64,([A-Za-z0-9+/=]+)")
NOTE = "rang up +49 170 5550199"

# what a header says -> the spellings that are looked for
IN_HEADERS = {
    "name": ("Zwiebelfisch", "Wendelina"),
    "name with other letters": ("Jägerstätter",),
    "number": ("MRN-4471902",),
    "birth date": ("02-AUG-1951", "1951-08-02", "02.08.1951", "19510802"),
    "sex and hand": ("left-handed female",),
    "technician": ("Brotkorb",),
    "serial number": ("SN-88213-QX",),
    "administration code": ("ADM-55102",),
    "room": ("Zimmer 12b", "Zimmer_12b"),
    "hospital": ("Sonnenhang",),
    "recording date": ("27-NOV-2003", "2003-11-27", "27.11.2003", "27.11.03", "20031127"),
    "comment": ("fell off a ladder", "fell_off_a_ladder"),
    "study": ("Studie Morgenrot",),
    "transducer": ("Kappe 7731",),
    "filter": ("Filter nach Kunz",),
}
# what the owner of a file is shown, but is never stored
ON_SCREENS = {
    "file name": ("Zwiebelfisch", "Wendelina"),
    "annotation": ("5550199",),
    "label of a column": ("Oskar",),
}


def _eeg_uV(seed: int) -> np.ndarray:
    """(5, n): noise that falls with frequency, at EEG's size."""
    rng = np.random.default_rng(seed)
    n = int(SFREQ * SECONDS)
    spectrum = rng.normal(size=(5, n // 2 + 1)) + 1j * rng.normal(size=(5, n // 2 + 1))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(n, 1 / SFREQ), 0.5))
    eeg = np.fft.irfft(spectrum, n)
    return 15 * eeg / eeg.std()


def _trigger() -> np.ndarray:
    steps = np.zeros(int(SFREQ * SECONDS))
    for i, onset_s in enumerate(LOOKS_S):
        steps[int(onset_s * SFREQ) : int(onset_s * SFREQ) + 20] = 1 + i % 2
    return steps


def _notes() -> list[tuple[float, str]]:
    looks = [(float(onset_s), f"look {('left', 'right')[i % 2]}") for i, onset_s in enumerate(LOOKS_S)]
    return [(1.0, NOTE), *looks]  # a free text is the first event


def write_edf(path: Path, seed: int) -> None:
    """EDF+ or, by its extension, BDF+."""
    kind, whole = (edfio.BdfSignal, edfio.Bdf) if path.suffix == ".bdf" else (edfio.EdfSignal, edfio.Edf)
    told = {"transducer_type": "AgAgCl Kappe 7731", "prefiltering": "Filter nach Kunz"}
    signals = [
        kind(signal, SFREQ, label=f"EEG {name}", physical_dimension="uV", **told)
        for name, signal in zip(CHANNELS, _eeg_uV(seed), strict=True)
    ]
    limits = {"physical_range": (-32768, 32767), "digital_range": (-32768, 32767)}
    signals.append(kind(_trigger(), SFREQ, label=TRIGGER, **limits))
    patient = edfio.Patient(
        code="MRN-4471902",
        sex="F",
        birthdate=date(1951, 8, 2),
        name="Wendelina_Zwiebelfisch",
        additional=["fell_off_a_ladder"],
    )
    recording = edfio.Recording(
        startdate=date(2003, 11, 27),
        hospital_administration_code="ADM-55102",
        investigator_technician_code="Brotkorb",
        equipment_code="SN-88213-QX",
        additional=["Sonnenhang", "Zimmer_12b"],
    )
    notes = [edfio.EdfAnnotation(onset_s, None, text) for onset_s, text in _notes()]
    whole(signals, patient=patient, recording=recording, starttime=time(9, 41), annotations=notes).write(path)


def write_brainvision(path: Path, seed: int) -> None:
    """`.vhdr`, `.eeg` and `.vmrk`; recorders write what they like into the comment of the header."""
    import pybv

    events = [
        {"onset": int(onset_s * SFREQ), "duration": 1, "description": text, "type": "Comment"}
        for onset_s, text in _notes()
    ]
    pybv.write_brainvision(
        data=np.vstack([_eeg_uV(seed), _trigger()]) * 1e-6,
        sfreq=SFREQ,
        ch_names=[*CHANNELS, TRIGGER],
        fname_base=path.stem,
        folder_out=str(path.parent),
        events=events,
        meas_date=datetime(2003, 11, 27, 9, 41),
    )
    words = [word for spellings in IN_HEADERS.values() for word in spellings]
    header = path.read_text(encoding="utf-8").rstrip().removesuffix("[Comment]")
    path.write_text(f"{header}[Comment]\n\n" + "\n".join(words) + "\n", encoding="utf-8")


def write_fif(path: Path, seed: int) -> None:
    import mne

    info = mne.create_info([*CHANNELS, TRIGGER], SFREQ, ["eeg"] * 5 + ["stim"])
    raw = mne.io.RawArray(np.vstack([_eeg_uV(seed) * 1e-6, _trigger()]), info, verbose="ERROR")
    info = raw.info
    info["subject_info"] = {
        "his_id": "MRN-4471902",
        "last_name": "Jägerstätter",
        "first_name": "Wendelina",
        "middle_name": "Zwiebelfisch",
        "birthday": date(1951, 8, 2),
        "sex": 2,
        "hand": 2,
    }
    info["experimenter"] = "Brotkorb"
    info["description"] = "fell off a ladder; left-handed female; Zimmer 12b; ADM-55102; 27-NOV-2003"
    info["device_info"] = {"type": "Neurofax", "model": "7731", "serial": "SN-88213-QX", "site": "Sonnenhang"}
    with info._unlock():
        info["proj_name"] = "Studie Morgenrot"
    raw.set_meas_date(datetime(2003, 11, 27, 9, 41, tzinfo=UTC))
    onsets, texts = zip(*_notes(), strict=True)
    raw.set_annotations(mne.Annotations(onsets, 0, texts, orig_time=raw.info["meas_date"]))
    raw.save(path, verbose="ERROR")


WRITERS = {"_1.edf": write_edf, "_2.bdf": write_edf, "_3.vhdr": write_brainvision, "_4_raw.fif": write_fif}


def write_recordings(folder: Path) -> list[Path]:
    """Twelve recordings, three of each format, whose files are named after the person."""
    folder.mkdir(parents=True)
    paths = []
    for seed, number in enumerate("abc"):
        for ending, write in WRITERS.items():
            paths.append(folder / f"Wendelina_Zwiebelfisch_{number}{ending}")
            write(paths[-1], 10 * seed + len(paths))
    return paths


def found_in(content: bytes, words: dict[str, tuple[str, ...]]) -> set[str]:
    """Those of the words that are in it, in any letter case and usual encoding."""
    lowered = content.lower()
    encodings = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    return {
        word
        for spellings in words.values()
        for word in spellings
        for cased in (word.lower(), word.upper())
        for encoding in encodings
        if cased.encode(encoding).lower() in lowered
    }


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder: its relative name and its bytes; what is compressed inside also unpacked."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        parts = [str(path.relative_to(folder)).encode()]
        if path.suffix == ".html":  # in megabytes of base64 any word of five letters comes up by chance
            parts += [b64decode(data) for data in EMBEDDED.findall(content)]
            content = EMBEDDED.sub(b"", content)
        parts.append(content)
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as archive:
                parts += [archive.read(name) for name in archive.namelist()]
        if path.suffix == ".png":
            with Image.open(path) as picture:
                parts.append(repr({**picture.info, **getattr(picture, "text", {})}).encode())
        yield path.relative_to(folder), b"\n".join(parts)
