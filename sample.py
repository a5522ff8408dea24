"""Decode a recording, a picture or a sentence with a trained model: `python sample.py --task eeg2image --eeg FILE`.

Writes pictures, sentences and EEG into --out, all or nothing; `sample.json` there says how they were made.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from neuroleon.common.errors import CheckpointError, ConfigError, DataError, exit_cleanly
from neuroleon.common.files import atomic_folder, sha256_file, write_json
from neuroleon.common.pictures import load_picture
from neuroleon.data_pipeline.loader import training_memory
from neuroleon.data_pipeline.readers.mne_raw import read_recording
from neuroleon.data_pipeline.windows import STEP_S, WindowSpec, cut
from neuroleon.decoding.figures import contact_sheet, printable, result_figure, save_figure, window_figure
from neuroleon.decoding.pipeline import TEN_TWENTY, NeuroleonPipeline, Result, task_for
from neuroleon.decoding.sampling import PICTURE, Sampling
from neuroleon.decoding.verdict import verdict
from neuroleon.retrieval.memory import Memory, Retrieval
from neuroleon.signals.background import SHORTEST_S
from neuroleon.signals.columns import without_labels
from neuroleon.signals.montage import HEAD_CENTRE_M, HEAD_RADIUS_M
from neuroleon.signals.plausibility import check_recording, reject_reason
from neuroleon.signals.preprocess import Preprocess, Preprocessed
from neuroleon.signals.recording import Event, Recording
from neuroleon.signals.window import Window

DEFAULT_MODEL = "models/default"


def parser() -> ArgumentParser:
    """The command line."""
    p = ArgumentParser(prog="sample.py", description=__doc__, exit_on_error=False)
    p.add_argument("--task", type=str, required=True, help="eeg2image, eeg2text, eeg2label, text2image ...")
    p.add_argument("--eeg", type=Path | None, help="a recording: EDF, BDF, GDF, BrainVision, EEGLAB, FIF or CNT")
    p.add_argument(
        "--event", type=str | None, help="CODE or CODE:INDEX; start at this event (default: the first event)"
    )
    p.add_argument("--start", type=float | None, help="start at this second of the recording instead")
    p.add_argument("--duration", type=float | None, help="seconds, a multiple of 0.125 (default: what training used)")
    p.add_argument("--unit", type=str | None, help="uV, mV, V or nV, where the file does not say it or says it wrongly")
    p.add_argument("--subject", type=str | None, help="whose EEG, if the model knows the person by their sample shards")
    p.add_argument("--image", type=Path | None, help="a picture, for tasks that take one")
    p.add_argument("--text", type=str | None, help="a sentence, for tasks that take one")
    p.add_argument("--question", type=str | None, help="for eeg2label (default: the model's, where it has only one)")
    p.add_argument("--channels", type=list[str], default=list(TEN_TWENTY), help="electrodes of EEG that is generated")
    p.add_argument("--model", type=str, default=DEFAULT_MODEL, help="a model folder or a hub id")
    p.add_argument("--device", type=str, default="cpu", help="cpu or cuda")
    p.add_argument("--precision", type=str, default="float32", help="of the weights: float32, bfloat16 or int8 (cpu)")
    p.add_argument("--n", type=int, default=4, help="number of answers")
    p.add_argument("--best-of", type=int, default=1, help="each answer is the one, of so many, that the EEG speaks for")
    p.add_argument(
        "--memory", type=str, nargs="+", default=[], help="token folders: like training documents come first"
    )
    p.add_argument("--retrieve", type=int | None, help="how many documents of --memory (default: as in training, or 2)")
    p.add_argument("--seed", type=int, default=0, help="the same seed gives the same answers")
    p.add_argument(
        "--temperature", type=float, default=PICTURE.temperature, help="0 takes the most likely id every time"
    )
    p.add_argument("--top-k", type=int, default=0, help="0: all ids")
    p.add_argument("--top-p", type=float, default=PICTURE.top_p)
    p.add_argument(
        "--guidance", type=float | None, help=f"strength of the condition; 1: no guidance (default: {PICTURE.guidance})"
    )
    p.add_argument("--contrast-k", type=int, default=0, help="contrastive decoding with this K instead of guidance")
    p.add_argument("--no-repeat", type=int, default=0, help="no so many ids in a row come twice in a text; 0: they may")
    p.add_argument(
        "--out", type=Path, default=Path("samples"), help="folder to write; one of an earlier run is replaced"
    )
    return p


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The window that goes in. `onset_s` is the time of its event, or its own; `start_s` is where it begins."""

    window: Window
    recording: Recording
    preprocessed: Preprocessed
    start_s: float
    onset_s: float
    duration_s: float
    event: str | None
    notes: tuple[str, ...] = ()


def _event(recording: Recording, wanted: str | None, path: Path) -> Event | None:
    """The event that `--event CODE[:INDEX]` names; without it the first, or None in a recording without events."""
    if wanted is None:
        return recording.events[0] if recording.events else None
    codes = [event.code for event in recording.events]
    code, _, index = (wanted, "", "0") if wanted in codes else wanted.rpartition(":")
    found = [event for event in recording.events if event.code == code]
    if not found:
        raise DataError(f"{path}: no event {wanted!r}; it has {', '.join(sorted(set(codes))) or 'no events'}")
    if not index.isdecimal() or int(index) >= len(found):
        raise DataError(f"{path}: event {code!r} has no index {index!r}; it comes {len(found)} times, 0 is the first")
    return found[int(index)]


def _taught(pipeline: NeuroleonPipeline, question: str | None) -> tuple[float, float | None]:
    """How long after its event a window of training began, and how long it lasted at most (None: not known)."""
    recipe = pipeline.recipe_of(question) if question else None
    sets = [pipeline.labels[recipe]] if recipe else list(pipeline.labels.values())
    offsets = {labels.tmin_s for labels in sets}
    durations = [labels.duration_s for labels in sets if labels.duration_s is not None]
    return (offsets.pop() if len(offsets) == 1 else 0.0), max(durations, default=None)


def read_stretch(args: Namespace, pipeline: NeuroleonPipeline, question: str | None) -> Stretch:
    """Read, check and preprocess the recording as in training, and cut the window.

    Raises:
        DataError: an unreadable or implausible file, or a stretch that is not inside the recording.
        ConfigError: options that contradict each other, a duration that is no whole number of steps, or a person whom
            the model does not know.
    """
    if args.event is not None and args.start is not None:
        raise ConfigError("--event and --start both say where to begin; give one")
    pipeline.eeg.check_subject(args.subject)
    recording = read_recording(args.eeg, unit=args.unit)
    check_recording(recording, args.eeg)
    tmin_s, longest_s = _taught(pipeline, question)
    event = _event(recording, args.event, args.eeg) if args.start is None else None
    onset_s = event.onset_s if event else (args.start or 0.0)
    start_s = onset_s + tmin_s if event else onset_s
    preprocessed = Preprocess.from_json(pipeline.preprocess).apply(recording)
    duration_s = args.duration
    if duration_s is None:
        if longest_s is None:
            raise ConfigError("the model does not say how long its windows were; give --duration")
        duration_s = max(STEP_S, min(longest_s, (recording.duration_s - start_s) // STEP_S * STEP_S))
    # A stretch is a window at an event, so that the same code cuts it as in training.
    at = replace(preprocessed.recording, events=(Event(start_s, "here"),))
    found = cut(replace(preprocessed, recording=at), WindowSpec(duration_s=duration_s))
    if not found.windows:
        raise DataError(
            f"{args.eeg}: {duration_s:g} s from {start_s:g} s {' and '.join(found.skipped)}; "
            f"the recording lasts {recording.duration_s:g} s, choose another --start or --duration"
        )
    window, _, cut_at_s = found.windows[0]
    return Stretch(
        window=replace(window, subject=args.subject),
        recording=recording,
        preprocessed=preprocessed,
        start_s=cut_at_s,
        onset_s=onset_s,
        duration_s=duration_s,
        event=event.code if event else None,
        notes=(*_unlike_training(pipeline, duration_s), *_without_background(pipeline, window)),
    )


def _unlike_training(pipeline: NeuroleonPipeline, duration_s: float) -> tuple[str, ...]:
    """What to know where some set of training had windows of another length: the model is at its best at its own."""
    known = {recipe: labels.duration_s for recipe, labels in pipeline.labels.items() if labels.duration_s}
    if set(known.values()) <= {duration_s}:
        return ()
    lengths = ", ".join(f"{recipe} {seconds:g} s" for recipe, seconds in known.items())
    return (f"windows in training: {lengths}; --duration chooses",)


def _without_background(pipeline: NeuroleonPipeline, window: Window) -> tuple[str, ...]:
    """What to know where a recording does not say how strong its rhythms usually are."""
    if window.background is not None or not pipeline.eeg.tells_from_background:
        return ()
    return (f"less than {SHORTEST_S:g} s of usable EEG: what rhythms tell (flickering lights) is less reliable",)


def describe(stretch: Stretch) -> str:
    """What became of each column of the file, the unit, the rate and the stretch, for people."""
    recording, made = stretch.recording, stretch.preprocessed
    used = {raw: name for raw, name in recording.name_map.items() if name in made.recording.ch_names}
    renamed = [f"{raw} = {name}" for raw, name in used.items() if raw != name]
    matched = [name for raw, name in used.items() if raw == name]
    left_out = recording.left_out | made.bad_channels
    lines = [
        f"recording   {recording.name}: {recording.duration_s:g} s at {recording.sfreq:g} Hz, read as microvolts",
        f"            now {made.recording.sfreq:g} Hz, {made.band_hz[0]:g} to {made.band_hz[1]:g} Hz, "
        f"reference: {made.reference}, scale {made.scale_uV:.1f} µV",
        f"matched     {len(matched)}: {' '.join(matched)}",
        f"renamed     {len(renamed)}: {', '.join(renamed)}",
        f"left out    {len(left_out)}" + "".join(f"\n            {name}: {why}" for name, why in left_out.items()),
        *(f"note        {note}" for note in made.notes),
        f"stretch     {stretch.start_s:g} s to {stretch.start_s + stretch.duration_s:g} s"
        + (f", event {stretch.event} at {stretch.onset_s:g} s" if stretch.event else ""),
    ]
    if stretch.window.subject is not None:
        lines.append(f"subject     {stretch.window.subject}, known")
    lines += [f"note        {line}" for line in stretch.notes]
    if reason := reject_reason(stretch.window):
        lines.append(f"note        this stretch is {reason}; training leaves such windows out")
    return "\n".join(lines)


def _question(args: Namespace, pipeline: NeuroleonPipeline) -> str | None:
    """The question of eeg2label: the given one, or the only one that the model was taught."""
    if args.task != "eeg2label" or args.question:
        return args.question
    known = [labels.question for labels in pipeline.labels.values() if labels.question]
    if len(known) != 1:
        raise ConfigError(f"eeg2label needs --question; the model was taught: {' | '.join(known) or 'none'}")
    return known[0]


def _save_eeg(window: Window, path: Path) -> None:
    """Write generated EEG as FIF: volts, with electrode positions in mne's head frame."""
    import mne

    metres = window.positions[:, :3].astype(float) * HEAD_RADIUS_M + HEAD_CENTRE_M
    info = mne.create_info(list(window.ch_names), window.sfreq, "eeg")
    info.set_montage(mne.channels.make_dig_montage(dict(zip(window.ch_names, metres, strict=True)), coord_frame="head"))
    mne.io.RawArray(window.eeg_uV * 1e-6, info, verbose="ERROR").save(path, verbose="ERROR")


def _write_answer(result: Result, number: int, folder: Path) -> dict[str, Any]:
    """Write one answer's files; returns its entry in `sample.json`."""
    from PIL import Image

    entry: dict[str, Any] = {"ids": result.ids.tolist()}
    if result.found:
        entry["retrieved"] = [{"record": one.record.key, "likeness": one.likeness} for one in result.found]
    if result.evidence is not None:
        entry["nats_of_the_eeg"] = result.evidence
    if result.text is not None:
        entry["text"] = result.text
    if result.picture is not None:
        entry["picture"] = f"image-{number}.png"
        Image.fromarray(result.picture).save(folder / entry["picture"])
    if result.eeg is not None:
        entry["eeg"] = f"eeg-{number}_raw.fif"
        _save_eeg(result.eeg, folder / entry["eeg"])
        save_figure(window_figure(result.eeg, f"generated EEG {number}"), folder / f"eeg-{number}.png")
    return entry


def _provenance(args: Namespace, pipeline: NeuroleonPipeline, stretch: Stretch | None) -> dict[str, Any]:
    """What `sample.json` says of model and input: not a file's name, nor an event or a column that was not asked for by
    name, because these can name people."""
    source: dict[str, Any] = {"text": args.text, "image_sha256": None, "eeg": None}
    if args.image:
        source["image_sha256"] = sha256_file(args.image)
    if stretch:
        source["eeg"] = {
            "sha256": sha256_file(args.eeg),
            "start_s": stretch.start_s,
            "duration_s": stretch.duration_s,
            "onset_s": stretch.onset_s,
            "event": args.event,
            "unit": args.unit or "as the file says",
            "subject": args.subject,
            "sfreq": stretch.recording.sfreq,
            "channels": list(stretch.window.ch_names),
            "renamed": {raw: name for raw, name in stretch.recording.name_map.items() if raw != name},
            "left_out": without_labels(stretch.recording.left_out | stretch.preprocessed.bad_channels),
        }
    return {
        "model": args.model,
        "model_fingerprint": pipeline.fingerprint,
        "vocabulary_fingerprint": pipeline.vocabulary.fingerprint,
        "input": source,
    }


def write(out: Path, results: Sequence[Result], stretch: Stretch | None, content: dict[str, Any]) -> None:
    """Write the output folder, all or nothing.

    Raises:
        ConfigError: the disk or the permissions do not allow it.
    """
    from PIL import Image

    try:
        with atomic_folder(out) as folder:
            entries = [_write_answer(result, i, folder) for i, result in enumerate(results)]
            pictures = [result.picture for result in results if result.picture is not None]
            if pictures:
                Image.fromarray(contact_sheet(pictures)).save(folder / "contact-sheet.png")
            if stretch:
                title = f"{stretch.start_s:g} s to {stretch.start_s + stretch.duration_s:g} s"
                save_figure(result_figure(stretch.window, results, title, stretch.start_s), folder / "figure.png")
            write_json(folder / "sample.json", {**content, "answers": entries})
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written ({error}); give another folder") from None


def _check_out(out: Path) -> None:
    if out.exists() and not (out.is_dir() and (not any(out.iterdir()) or (out / "sample.json").is_file())):
        raise ConfigError(f"--out {out}: holds something else than samples; give a new folder")


def _arguments(argv: Sequence[str] | None) -> Namespace:
    try:
        return parser().parse_args(argv)
    except ArgumentError as error:
        raise ConfigError(f"{error}; `python sample.py --help` lists the options") from None


def _load(args: Namespace) -> NeuroleonPipeline:
    if args.model == DEFAULT_MODEL and not Path(args.model).exists():
        raise CheckpointError(
            f"{args.model}: no model here; train one (README.md), or give a folder or hub id as --model"
        )
    return NeuroleonPipeline.load(args.model, args.device, args.precision)


def _memory(args: Namespace, has_input: bool, pipeline: NeuroleonPipeline) -> tuple[Memory | None, Retrieval]:
    """The memory of `--memory`, and how it is asked: as in training, but for `--retrieve`.

    Raises:
        ConfigError: `--retrieve` below 1 or without a memory, or for a task that has no input.
    """
    wanted = args.retrieve if args.retrieve is not None else pipeline.retrieval.documents or 2
    if not args.memory and args.retrieve is not None:
        raise ConfigError(f"--retrieve {wanted} has nothing to look in; give --memory, or leave it away")
    if args.memory and (wanted < 1 or not has_input):
        raise ConfigError(
            f"--memory with --retrieve {wanted} and task {args.task}: expected 1 or more, and a task that has an input "
            "for documents to be like; leave --memory away"
        )
    retrieval = replace(pipeline.retrieval, documents=wanted)
    if not args.memory:
        return None, retrieval
    if not pipeline.retrieval.documents:
        print("note        this model was trained without documents before its prompts (data.retrieval.documents)")
    return training_memory(args.memory, pipeline.vocabulary, pipeline.encoder), retrieval


@exit_cleanly
def main(argv: Sequence[str] | None = None) -> None:
    args = _arguments(argv)
    task = task_for(args.task, {"eeg": args.eeg, "image": args.image, "text": args.text})
    if args.subject is not None and not args.eeg:
        raise ConfigError("--subject says whose --eeg it is; give a recording, or leave it away")
    guidance = args.guidance if args.guidance is not None else 1.0 if args.contrast_k else PICTURE.guidance
    settings = Sampling(
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        guidance=guidance,
        contrast_k=args.contrast_k,
        no_repeat=args.no_repeat,
    )
    _check_out(args.out)
    pipeline = _load(args)
    question = _question(args, pipeline)
    stretch = read_stretch(args, pipeline, question) if args.eeg else None
    if stretch:
        print(describe(stretch))
    memory, retrieval = _memory(args, bool(task.inputs), pipeline)
    results = pipeline.run(
        args.task,
        eeg=stretch.window if stretch else None,
        image=load_picture(args.image, pipeline.image.image_size) if args.image else None,
        text=args.text,
        question=question,
        n=args.n,
        settings=settings,
        seed=args.seed,
        duration_s=(args.duration or _taught(pipeline, None)[1]) if "eeg" in task.outputs else None,
        montage=args.channels,
        best_of=args.best_of,
        memory=memory,
        retrieval=retrieval,
    )
    recipe = pipeline.recipe_of(question) if question else None
    likelihoods = None
    if stretch and recipe:
        likelihoods = pipeline.label_likelihoods(stretch.window, recipe, memory, retrieval)
    asked = {
        "task": args.task,
        "question": question,
        "seed": args.seed,
        "n": args.n,
        "best_of": args.best_of,
        "precision": args.precision,
        "settings": asdict(settings),
        "memory": list(args.memory),
        "retrieval": asdict(retrieval) if args.memory else None,
    }
    write(args.out, results, stretch, asked | _provenance(args, pipeline, stretch) | {"likelihoods": likelihoods})
    _report(args, results, stretch, pipeline, likelihoods)


def _report(
    args: Namespace,
    results: Sequence[Result],
    stretch: Stretch | None,
    pipeline: NeuroleonPipeline,
    likelihoods: dict[str, float] | None,
) -> None:
    for label, share in sorted((likelihoods or {}).items(), key=lambda item: -item[1]):
        print(f"likelihood  {share:6.1%} {label}")
    for one in results[0].found:
        print(f"retrieved   {one.record.key}, likeness {one.likeness:.2f}")
    for i, result in enumerate(results):
        if result.text is not None:
            print(f"sentence    {i}: {printable(result.text)}")
    for line in verdict(args.eeg, stretch.onset_s, results, pipeline.labels) if stretch else ():
        print(line)
    for name in ("eeg-0_raw.fif", "eeg-0.png", "image-0.png", "contact-sheet.png", "figure.png", "sample.json"):
        if (args.out / name).exists():
            print(f"written     {args.out / name}")


if __name__ == "__main__":
    main()
