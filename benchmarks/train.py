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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY, DOCUMENT = 24576, (64, 320)  # sizes of documents in ids, evenly between
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
    rng = np.random.default_rng(0)
    sizes: list[list[int]] = []
    for _ in range(rows):
        row = [0]
        while sum(row) < length:
            row.append(min(int(rng.integers(*DOCUMENT)), length - sum(row)))
        sizes.append(row[1:])
    alone = [size for row in sizes for size in row]
    in_rows = _rows([[(k, size) for k, size in enumerate(row)] for row in sizes], length, device)
    in_own = _rows([[(0, size)] for size in alone], max(alone), device)
    return in_rows, in_own, sum(size * (size + 1) / 2 for size in alone) / sum(alone)


def _rows(documents: list[list[tuple[int, int]]], length: int, device: torch.device) -> dict[str, Tensor]:
    number = torch.full((len(documents), length), -1)
    position = torch.zeros_like(number)
    for r, row in enumerate(documents):
        start = 0
        for k, size in row:
            number[r, start : start + size], position[r, start : start + size] = k, torch.arange(size)
            start += size
    ids = torch.randint(0, VOCABULARY, number.shape)
    return {name: x.to(device) for name, x in (("ids", ids), ("positions", position), ("documents", number))}


def stepper(
    logits_of: Callable[[], Tensor], targets: Tensor, module: nn.Module, precision: str
) -> Callable[[], object]:
    """A forward and backward pass of the next id's cross-entropy; targets below 0 do not count."""
    bf16 = precision == "bfloat16"

    def step() -> None:
        with torch.autocast(targets.device.type, torch.bfloat16) if bf16 else nullcontext():
            logits = logits_of()
        functional.cross_entropy(logits.flatten(0, -2).float(), targets.flatten(), ignore_index=-1).backward()
        module.zero_grad(set_to_none=True)

    return step


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
    device, heads = torch.device(given.device), given.dim // 64

    from x_transformers import Decoder, TransformerWrapper

    from neuroleon.model.config import ModelConfig
    from neuroleon.model.flops import block_parameters, train_flops_per_token
    from neuroleon.model.transformer import Neuroleon

    config = ModelConfig(
        dim=given.dim, depth=given.depth, heads=heads, kv_heads=heads, dim_head=64, ff_mult=2.75,
        max_length=given.length,
    )  # fmt: skip
    ours = Neuroleon(config, VOCABULARY, {}).to(device)
    blocks = Decoder(
        dim=given.dim, depth=given.depth, heads=heads, attn_flash=True, rotary_pos_emb=True, use_rmsnorm=True,
        ff_glu=True, ff_swish=True, ff_mult=2.75, attn_qk_rmsnorm=True,
    )  # fmt: skip
    stock = TransformerWrapper(
        num_tokens=VOCABULARY, max_seq_len=given.length, attn_layers=blocks, use_abs_pos_emb=False
    ).to(device)
    in_rows, in_own, seen = packed(given.rows, given.length, device)
    ids = in_rows["ids"]

    def step(logits_of: Callable[[], Tensor], rows: dict[str, Tensor], module: nn.Module) -> Callable[[], object]:
        targets = rows["ids"].roll(-1, dims=1).masked_fill(rows["documents"] < 0, -1)
        return stepper(logits_of, targets, module, given.precision)

    counted = in_own["documents"] >= 0
    side = 2048 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if given.precision == "bfloat16" else torch.float32
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    works: dict[str, Callable[[], object]] = {
        "a large product": lambda: left @ right,
        "ours, rows of one document": step(lambda: ours(ids), in_rows, ours),
        "ours, packed rows": step(lambda: ours(**in_rows), in_rows, ours),
        "ours, a padded row for each document": step(lambda: ours(**in_own), in_own, ours),
        "x-transformers, rows of one document": step(lambda: stock(ids), in_rows, stock),
    }
    taken = seconds(works, device)
    rate = 2 * side**3 / taken.pop("a large product")
    n_tokens = {name: int(counted.sum()) if "padded" in name else ids.numel() for name in taken}
    whole = train_flops_per_token(config, VOCABULARY, given.length)
    of_documents = train_flops_per_token(config, VOCABULARY, round(2 * seen - 1))
    n_matrices = (block_parameters(config) + given.dim * VOCABULARY) / 1e6
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
