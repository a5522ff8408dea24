"""Was it right? Compares what was decoded with the answer file that lies beside a recording, where there is one.

RECORDING.answer.json: {"answers": [{"event": code, "onset_s": t, "label": "...", "text": "...", "recipe": "..."}]};
`recipe` may be left out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neuroleon.common.errors import DataError
from neuroleon.common.files import read_json
from neuroleon.decoding.labels import LabelSet
from neuroleon.decoding.pipeline import Result

NEAR_S = 0.0625  # an answer belongs to a stretch when their onsets differ by at most half a token step


def verdict(path: Path, onset_s: float, results: Sequence[Result], known: Mapping[str, LabelSet]) -> list[str]:
    """Lines for people: what was really there at `onset_s`, and which results are right; none without such a file.

    Args:
        path: the recording; the answers are in the file of its whole name + `.answer.json`.
        onset_s: of the event, or the stretch, that was decoded.
        results: what was decoded.
        known: the label sets of the model by recipe; pictures and wordings of the one that the answer names (else the
            first that has its label) tell which label a picture or a sentence means.

    Raises:
        DataError: the file is not of that form.
    """
    file = path.with_name(f"{path.name}.answer.json")
    if not file.is_file():
        return []
    try:
        entries = read_json(file)["answers"]
        answers = {float(e["onset_s"]): (str(e["label"]), str(e["text"]), e.get("recipe")) for e in entries}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: {error!r}; expected answers, each with onset_s, label and text") from None
    nearest = min(answers, key=lambda answer_s: abs(answer_s - onset_s), default=None)
    if nearest is None or abs(nearest - onset_s) > NEAR_S:
        return [f"answer      {file.name} says nothing about {onset_s:g} s"]
    label, text, recipe = answers[nearest]
    lines = [f"answer      really: {label} ({text})"]
    asked = known.values() if recipe is None else [known[recipe]] if recipe in known else []
    labels = next((found for found in asked if label in found.labels), None)
    if labels is None:
        return [*lines, "            the model was not taught this label"]
    for what, said in (
        ("pictures", [labels.nearest(r.picture) for r in results if r.picture is not None]),
        ("sentences", [labels.named(r.text) for r in results if r.text is not None]),
    ):
        if said:
            marks = ", ".join(f"{name or 'none of them'} {'(right)' if name == label else '(wrong)'}" for name in said)
            lines.append(f"            {what}: {said.count(label)} of {len(said)} right: {marks}")
    return lines
