"""What the objective's parts do: masked against plain documents, and how much the EEG weighs in the loss.

    python benchmarks/objective.py --tokens runs/tokens/cvep20 --samples runs/samples/cvep20 \
        --tokenizers runs/tokenizers --out runs/objective [--steps 800] [--seeds 0]

Trains one small transformer for each row of the table with the same data, order, seed and steps, by `train.py
pretrain`, and asks each of them, on the validation split:

- label: share of the windows whose own label is the likeliest answer to `eeg2label`, under their EEG and, as the
  control, under the EEG of a window with another label; and the nats of the true answer;
- filled, left to right: nats per id of the middle third of a picture, a sentence or an EEG that stands alone, where it
  is filled in behind its sentinel with both sides in sight, and where it is written after what comes before it.

A run that stopped goes on where it was when the command is given again.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from short_run import pretrain

# EEG that is an input is a target where it was cut out, and in the last three rows everywhere
TASKS = {
    "eeg2label": 3, "eeg2text": 2, "eeg2image": 2, "text2image": 0.5, "image2text": 0.5, "text2eeg": 0.5,
    "image2eeg": 0.5, "eeg": 0.5, "image": 0.5, "text": 0.5,
}  # fmt: skip
OUTPUTS, ALL = {"loss.only_outputs": "true"}, {"loss.only_outputs": "false"}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {"masking.probability": 0.0, "loss.eeg": 0.01, **OUTPUTS},
    "masked": {"masking.probability": 0.5, "loss.eeg": 0.01, **OUTPUTS},
    "plain, inputs are targets too, EEG .01": {"masking.probability": 0.0, "loss.eeg": 0.01, **ALL},
    "plain, inputs are targets too, EEG .1": {"masking.probability": 0.0, "loss.eeg": 0.1, **ALL},
    "plain, inputs are targets too, EEG 1": {"masking.probability": 0.0, "loss.eeg": 1.0, **ALL},
}
WINDOWS = 250  # of the validation split, evenly spaced
ALONE = ("image", "text", "eeg")


def train(out: Path, variant: dict[str, Any], given: argparse.Namespace, seed: int) -> Path:
    """The model of one row."""
    settings = {
        "data.tokens": f"[{given.tokens}]", "data.samples": f"[{given.samples}]", "data.tokenizers": given.tokenizers,
        "data.tasks": json.dumps(TASKS), "data.loss.image": 0.1, "seed": seed,
    }  # fmt: skip
    return pretrain(out, given.steps, settings | {f"data.{name}": value for name, value in variant.items()})


class Asked:
    """The validation windows of a set, and what one model says of them."""

    def __init__(self, tokens: Path, model: Path) -> None:
        from neuroleon.data_pipeline.loader import TokenFolder
        from neuroleon.decoding.engine import Engine
        from neuroleon.model.weights import load_model
        from neuroleon.tokenizers.vocabulary import Vocabulary

        self.vocabulary = Vocabulary.load(model / "vocabulary.json")
        self.folder = TokenFolder(tokens, "validation", self.vocabulary)
        places = np.unique(np.linspace(0, len(self.folder) - 1, WINDOWS).round().astype(int))
        self.records = [self.folder[int(i)] for i in places]
        self.model = load_model(model).eval()
        self.engine = Engine(self.model, self.vocabulary)

    def label(self) -> dict[str, float]:
        """Share of windows whose label is the likeliest, real and shuffled, and nats of the true one."""
        from neuroleon.common.seed import generator
        from neuroleon.evaluation.controls import derangement
        from neuroleon.tokenizers.document import OUTPUT, Document, prompt, render
        from neuroleon.tokenizers.tasks import TASKS as TABLE

        task = TABLE["eeg2label"]
        spans = {record.info["label"]: record.span("text", task) for record in self.records}
        rendered = [render(Document("eeg2label", None, (span,)), self.vocabulary) for span in spans.values()]
        ends = [document.ids[document.part == OUTPUT] for document in rendered]
        clusters = np.array([record.info["label"] for record in self.records])
        partner = derangement(clusters, generator("objective"))
        right: dict[str, list[bool]] = {"real": [], "shuffled": []}
        nats = []
        for i, record in enumerate(self.records):
            true = list(spans).index(record.info["label"])
            for condition, source in (("real", record), ("shuffled", self.records[partner[i]])):
                asked = prompt("eeg2label", record.question, [source.span("eeg", task)], self.vocabulary)
                scores = self.engine.score(asked, ends)
                right[condition].append(int(np.argmax(scores)) == true)
                if condition == "real":
                    nats.append(-scores[true])
        return {**{name: float(np.mean(values)) for name, values in right.items()}, "nats": float(np.mean(nats))}

    def holes(self, name: str) -> tuple[float, float]:
        """Nats per id of the middle third of what stands alone: filled in, and from left to right."""
        from neuroleon.tokenizers.document import render
        from neuroleon.tokenizers.infill import cut_out
        from neuroleon.tokenizers.tasks import TASKS as TABLE
        from neuroleon.tokenizers.vocabulary import MASK_0

        filled, plain, count = 0.0, 0.0, 0
        for record in self.records:
            whole = render(record.document(TABLE[name], self.folder.instructions[name][0]), self.vocabulary)
            body = np.flatnonzero(whole.segment == 0)
            unit = self.vocabulary.range_of(name).tokens if name == "eeg" else 1
            third = max(1, len(body) // unit // 3) * unit
            start = int(body[0]) + (len(body) - third) // 2 // unit * unit
            cut = cut_out(whole, [(start, start + third)])
            moved = int(np.flatnonzero(cut.ids == MASK_0)[1]) + 1
            filled += self._nats(cut.ids, moved, third)
            plain += self._nats(whole.ids, start, third)
            count += third
        return filled / count, plain / count

    @torch.inference_mode()
    def _nats(self, ids: np.ndarray, start: int, n: int) -> float:
        row = torch.from_numpy(ids.astype(np.int64))[None]
        log_p = self.model(row)[0, start - 1 : start - 1 + n].log_softmax(dim=-1)
        return -float(log_p.gather(1, row[0, start : start + n, None]).sum())


def row(name: str, seed: int, asked: Asked) -> str:
    label, holes = asked.label(), [asked.holes(alone) for alone in ALONE]
    cells = [name, str(seed), f"{label['real']:.2f}", f"{label['shuffled']:.2f}", f"{label['nats']:.2f}"]
    cells += [f"{filled:.2f}, {plain:.2f}" for filled, plain in holes]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", required=True, help="folder of token shards of one set with labels and pictures")
    parser.add_argument("--samples", required=True, help="the samples it was made from")
    parser.add_argument("--tokenizers", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args(argv)
    names = [f"{alone}: filled, left to right" for alone in ALONE]
    head = ["", "seed", "label", "shuffled", "nats", *names]
    print(f"| {' | '.join(head)} |\n{'| --- ' * len(head)}|", flush=True)
    for seed in given.seeds:
        for number, (name, variant) in enumerate(VARIANTS.items()):
            asked = Asked(Path(given.tokens), train(given.out / f"{number}-{seed}", variant, given, seed))
            print(row(name, seed, asked), flush=True)


if __name__ == "__main__":
    main()
