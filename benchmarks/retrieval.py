"""Whether documents of a memory before a prompt help: nats of a picture after its sentence, beside their control.

    python benchmarks/retrieval.py --tokens runs/tokens/{tiny_imagenet,cvep20} \\
        --samples runs/samples/{tiny_imagenet,cvep20} --tokenizers runs/tokenizers --out runs/retrieval \\
        [--task text2image] [--steps 800]

Trains two small transformers by `train.py pretrain` with the same data, order, seed and steps, one without and one with
`data.retrieval`, and gives both the records of the validation split: alone, after the nearest documents of the training
split, and, as the control, after as many that were drawn at random. Nats per id of the outputs; the interval is two
standard errors over the records of the difference to the same model without documents.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from short_run import pretrain

N_BEFORE, WINDOWS = 2, 300


def train(out: Path, documents: int, given: argparse.Namespace) -> Path:
    """The model of one row."""
    settings = {
        "data.tokens": f"[{','.join(given.tokens)}]", "data.samples": f"[{','.join(given.samples)}]",
        "data.tokenizers": given.tokenizers, "data.recipes": f'{{"{Path(given.tokens[0]).name}": 1}}',
        "data.tasks": f'{{"{given.task}": 1}}', "data.masking.probability": 0.0, "data.retrieval.documents": documents,
        "data.retrieval.limit": given.limit,
    }  # fmt: skip
    return pretrain(out, given.steps, settings)


def nats(folder: Path, given: argparse.Namespace) -> dict[str, np.ndarray]:
    """Nats per output id of each validation record: alone, after the nearest, after others at random.

    The others pass the same guard: they serve the task, and are of another recording and another picture.
    """
    from neuroleon.common.seed import generator
    from neuroleon.data_pipeline.loader import TokenFolder, training_memory
    from neuroleon.decoding.pipeline import NeuroleonPipeline
    from neuroleon.retrieval.augment import before, find, render_found
    from neuroleon.retrieval.memory import Found, Retrieval, guard_of
    from neuroleon.tokenizers.document import OUTPUT, render
    from neuroleon.tokenizers.tasks import TASKS

    pipeline, task, tokens = NeuroleonPipeline.load(folder), TASKS[given.task], Path(given.tokens[0])
    memory = training_memory([tokens], pipeline.vocabulary, pipeline.encoder)
    asked, kept = (TokenFolder(tokens, split, pipeline.vocabulary) for split in ("validation", "train"))
    retrieval, rng = Retrieval(documents=N_BEFORE, limit=given.limit), generator("retrieval", "random")
    found: dict[str, list[float]] = {"alone": [], "nearest": [], "random": []}
    for place in np.unique(np.linspace(0, len(asked) - 1, WINDOWS).round().astype(int)):
        record = asked[int(place)]
        if not record.supports(task):
            continue
        words = record.question if task.asks_question else asked.instructions[task.name][0]
        document, guard = record.document(task, words), guard_of(record, asked.name)
        rendered = render(document, pipeline.vocabulary)
        near = find(memory, document, retrieval, guard)
        far: list[Found] = []
        while len(far) < len(near):
            other = kept[int(rng.integers(len(kept)))]
            own = guard_of(other, kept.name)
            if other.supports(task) and not (own.recordings & guard.recordings or own.pictures & guard.pictures):
                far.append(Found(record=other, likeness=0.0))
        is_output = rendered.part == OUTPUT
        for name, documents in (("alone", []), ("nearest", near), ("random", far)):
            ids = before(render_found(documents, document, pipeline.vocabulary))
            prompt = np.concatenate([ids, rendered.ids[~is_output]])
            score = pipeline.engine.score(prompt, [rendered.ids[is_output]])[0]
            found[name].append(-score / is_output.sum())
    return {name: np.array(values) for name, values in found.items()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", nargs="+", required=True, help="token folders; the first is trained on and asked")
    parser.add_argument("--samples", nargs="+", required=True, help="the samples they were made from; one needs EEG")
    parser.add_argument("--tokenizers", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--task", default="text2image")
    parser.add_argument("--limit", type=float, default=1.0, help="as of data.retrieval; 1 lets the same sentence come")
    parser.add_argument("--steps", type=int, default=800)
    given = parser.parse_args(argv)
    print("| trained | alone | after the nearest | after random ones |\n| --- | --- | --- | --- |", flush=True)
    for name, documents in (("without", 0), ("with", N_BEFORE)):
        values = nats(train(given.out / str(documents), documents, given), given)
        cells = [f"{values['alone'].mean():.3f}"]
        for other in ("nearest", "random"):
            change = values[other] - values["alone"]
            spread = 2 * change.std() / np.sqrt(len(change))
            cells.append(f"{values[other].mean():.3f} ({change.mean():+.3f} ± {spread:.3f})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
