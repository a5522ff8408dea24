"""How many tokens a second a training step takes in, and the share of the machine's matrix rate that this is.

    python benchmarks/train.py [--dim 512] [--depth 8] [--length 1024] [--rows 2] [--threads 2] [--precision float32]

Forward and backward pass, no optimizer, of one model of 38 M numbers in its matrices unless told otherwise: ours on
rows of one document, ours on rows packed with documents of which none sees another, the same documents each in a padded
row of its own, and x-transformers' stock `TransformerWrapper` of the same size. The rate is that of a large matrix
product in the same precision, measured in the same run; the arithmetic of a token is `model/flops.py`'s. Medians of a
few steps that take turns, so that what else the machine does falls on all alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import torch
from decode import VOCABULARY, ours, stock
from torch import Tensor, nn
from torch.nn import functional

from neuroleon.data_pipeline.packing import Packed
from neuroleon.tokenizers.vocabulary import PAD

DOCUMENT = (64, 320)  # sizes of documents in ids, evenly between
STEPS = 5


def seconds(works: dict[str, Callable[[], object]], device: torch.device) -> dict[str, float]:
    """Median seconds of each, in turns, after one round that is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(STEPS + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[1:]) for name, found in taken.items()}


def packed(rows: int, length: int, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """Rows full of documents; the same documents alone in rows as long as the longest; the mean tokens seen by one."""
    from neuroleon.data_pipeline.packing import pack
    from neuroleon.tokenizers.document import OUTPUT, Rendered
    from neuroleon.tokenizers.vocabulary import Vocabulary

    sizes, words = np.random.default_rng(0), np.random.default_rng(1)
    vocabulary = Vocabulary.of(
        text=SimpleNamespace(size=VOCABULARY // 2, fingerprint=""),
        image=SimpleNamespace(size=VOCABULARY // 4, fingerprint="", tokens=64),
        eeg=SimpleNamespace(size=VOCABULARY // 8, fingerprint="", tokens_per_step=4),
    )
    full: list[list[Rendered]] = [[] for _ in range(rows)]
    for row in full:
        while room := length - sum(map(len, row)):
            size = min(int(sizes.integers(*DOCUMENT)), room)
            ids = words.integers(vocabulary.text.start, vocabulary.text.stop, size).astype(np.int32)
            row.append(Rendered(ids=ids, segment=np.zeros(size, np.int16), part=np.full(size, OUTPUT, np.uint8)))
    alone = [document for row in full for document in row]
    longest = max(map(len, alone))

    def tensors(parts: list[Packed]) -> dict[str, Tensor]:
        names = ("ids", "targets", "positions", "documents")
        return {n: torch.from_numpy(np.concatenate([getattr(p, n) for p in parts])).to(device) for n in names}

    seen = sum(len(document) * (len(document) + 1) / 2 for document in alone) / sum(map(len, alone))
    in_rows = tensors([pack(row, length, vocabulary) for row in full])
    return in_rows, tensors([pack([document], longest, vocabulary) for document in alone]), seen


def step(module: nn.Module, rows: dict[str, Tensor], precision: str, *, whole: bool) -> Callable[[], object]:
    """A forward and backward pass of the next id's cross-entropy; `whole` takes each row as one document."""
    ids, bf16 = rows["ids"], precision == "bfloat16"
    inside = {} if whole else {"positions": rows["positions"], "documents": rows["documents"]}

    def passes() -> None:
        with torch.autocast(ids.device.type, torch.bfloat16) if bf16 else nullcontext():
            logits = module(ids, **inside)
        functional.cross_entropy(logits.flatten(0, -2).float(), rows["targets"].flatten(), ignore_index=PAD).backward()
        module.zero_grad(set_to_none=True)

    return passes


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=512, help="width, a multiple of 64")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(argv)
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    device = torch.device(given.device)
    model = ours(given.dim, given.depth, device).train().requires_grad_(True)
    peer = stock(given.dim, given.depth).to(device)
    in_rows, in_own, seen = packed(given.rows, given.length, device)
    ids = in_rows["ids"]

    counted = in_own["documents"] > 0
    side = 2048 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if given.precision == "bfloat16" else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    works: dict[str, Callable[[], object]] = {
        "a large product": lambda: left @ right,
        "ours, rows of one document": step(model, in_rows, given.precision, whole=True),
        "ours, packed rows": step(model, in_rows, given.precision, whole=False),
        "ours, a padded row for each document": step(model, in_own, given.precision, whole=False),
        "x-transformers, rows of one document": step(peer, in_rows, given.precision, whole=True),
    }
    taken = seconds(works, device)
    rate = 2 * side**3 / taken.pop("a large product")
    from neuroleon.model.flops import block_parameters, train_flops_per_token

    n_tokens = {name: int(counted.sum()) if "padded" in name else ids.numel() for name in taken}
    whole = train_flops_per_token(model.config, VOCABULARY, given.length)
    of_documents = train_flops_per_token(model.config, VOCABULARY, round(2 * seen - 1))
    n_matrices = (block_parameters(model.config) + given.dim * VOCABULARY) / 1e6
    print(
        f"{n_matrices:.0f} M numbers in matrices, {given.rows} rows of {given.length}, {given.precision}, "
        f"{given.threads} thread(s) on {device}; a large product: {rate / 1e9:.0f} GFLOP/s; {len(in_own['ids'])} "
        f"documents of {DOCUMENT[0]} to {in_own['ids'].shape[1]} ids\n"
    )
    print("| | tokens/s | share of the rate | time a token, ours of one document = 1 |\n| --- | --- | --- | --- |")
    for name, one in taken.items():
        speed = n_tokens[name] / one
        flops = whole if "one document" in name else of_documents
        ratio = (taken["ours, rows of one document"] / ids.numel()) * speed
        print(f"| {name} | {speed:.0f} | {speed * flops / rate:.0%} | {1 / ratio:.2f} |")


if __name__ == "__main__":
    main()
