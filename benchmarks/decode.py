"""How many ids a second the transformer writes, beside its peers and the floor.

    python benchmarks/decode.py [--dim 512] [--depth 8] [--threads 1] [--contexts 128 512 1280] [--batches 1 8]

One model, 50 M parameters unless told otherwise, with random weights: what is written does not matter, how fast does.
Beside ours, on models of the same size: x-transformers' `generate` with its cache, and the Llama of HF transformers
with its dynamic and static cache. Greedy, all over the whole vocabulary; `head of an image` is what decoding under the
grammar computes. `pair` is guidance: each id costs two rows, which x-transformers merely writes. The floor is what
reading the weights and the cache once would take: their bytes over the bandwidth of a large copy, measured in the same
run. Each figure is ids per second, the median of a few stretches after the prompt is read, in wall time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

VOCABULARY, IMAGE = 24576, range(512, 1024)
STRETCHES, IDS = 3, 16


def bandwidth(device: torch.device) -> float:
    """Bytes per second that are read or written by a copy far larger than any cache."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    taken = timed(lambda: target.copy_(source), device)
    return 2 * source.numel() * source.element_size() / taken


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Median seconds of a few runs, after one that is not counted."""
    taken = []
    for _ in range(STRETCHES + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


class Ours:
    """Our stepper; `pair` guides, `head` are the ids that it chooses from."""

    def __init__(
        self, model: nn.Module, precision: str, *, pair: bool = False, head: range = range(VOCABULARY)
    ) -> None:
        from neuroleon.model.stepper import Stepper

        self._stepper, self._pair, self._head = Stepper(model, precision), pair, head

    def write(self, prompts: Tensor, n: int) -> Callable[[], object]:
        """Reads prompts (B, T); what it returns writes `n` more ids of each, `STRETCHES` and one time."""
        rows = prompts.repeat(2, 1) if self._pair else prompts
        positions = torch.arange(rows.shape[1], device=rows.device).expand_as(rows)
        hidden, context = self._stepper.read(rows, positions, torch.zeros_like(rows), n * (STRETCHES + 1))
        self._hidden = hidden

        def go_on() -> None:
            for _ in range(n):
                logits = self._stepper.logits(self._hidden, [self._head])
                if self._pair:
                    conditional, unconditional = logits.chunk(2)
                    logits = (unconditional + 3 * (conditional - unconditional)).repeat(2, 1)
                self._hidden = self._stepper.step(logits.argmax(dim=-1) + self._head.start, context)

        return go_on


class Generator:
    """A peer: `generate(prompts, n)` reads the prompts too, so what reading alone takes is subtracted."""

    def __init__(self, generate: Callable[[Tensor, int], object]) -> None:
        self._generate = generate

    def seconds(self, prompts: Tensor, n: int) -> float:
        one = timed(lambda: self._generate(prompts, 1), prompts.device)
        return (timed(lambda: self._generate(prompts, n + 1), prompts.device) - one) / n


def ours(dim: int, depth: int, device: torch.device) -> nn.Module:
    from neuroleon.model.config import ModelConfig
    from neuroleon.model.transformer import Neuroleon

    config = ModelConfig(
        dim=dim, depth=depth, heads=dim // 64, kv_heads=dim // 64, dim_head=64, ff_mult=2.75, max_length=4096
    )
    torch.manual_seed(0)
    return Neuroleon(config, VOCABULARY, {}).eval().requires_grad_(False).to(device)


def stock(dim: int, depth: int) -> nn.Module:
    """x-transformers' own decoder of the same size."""
    from x_transformers import Decoder, TransformerWrapper

    blocks = Decoder(
        dim=dim, depth=depth, heads=dim // 64, attn_flash=True, rotary_pos_emb=True, use_rmsnorm=True, ff_glu=True,
        ff_swish=True, ff_mult=2.75, attn_qk_rmsnorm=True,
    )  # fmt: skip
    return TransformerWrapper(num_tokens=VOCABULARY, max_seq_len=4096, attn_layers=blocks, use_abs_pos_emb=False)


def x_transformers(dim: int, depth: int, device: torch.device) -> Generator:
    from x_transformers import AutoregressiveWrapper

    wrapped = AutoregressiveWrapper(stock(dim, depth)).eval().requires_grad_(False).to(device)
    return Generator(lambda prompts, n: wrapped.generate(prompts, n, temperature=0.0, cache_kv=True))


def llama(dim: int, depth: int, device: torch.device, cache: str) -> Generator:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=dim, intermediate_size=round(2.75 * dim), num_hidden_layers=depth,
        num_attention_heads=dim // 64, max_position_embeddings=4096,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().requires_grad_(False).to(device)

    def generate(prompts: Tensor, n: int) -> object:
        return model.generate(
            prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=n, min_new_tokens=n, do_sample=False,
            cache_implementation=cache, pad_token_id=0,
        )  # fmt: skip

    return Generator(generate)


def floor_s(model: nn.Module, context: int, rows: int, rate: float, bytes_each: float) -> float:
    """Seconds for one id of each row: the weights of the blocks and the head once, and every row's cache."""
    weights = sum(p.numel() for name, p in model.named_parameters() if name.startswith(("blocks.", "head.")))
    config = model.config
    cache = 2 * config.depth * config.kv_heads * config.dim_head * context * rows
    return (weights * bytes_each + cache * 4) / rate


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=512, help="width, a multiple of 64")
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--contexts", type=int, nargs="+", default=[128, 512, 1280])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    model, rate = ours(given.dim, given.depth, device), bandwidth(device)
    n_parameters = sum(p.numel() for p in model.parameters())
    sizes = (given.dim, given.depth, device)
    coarse = ("bfloat16",) if device.type == "cuda" else ("bfloat16", "int8")
    made = {
        **{f"ours, {precision}": Ours(model, precision) for precision in ("float32", *coarse)},
        "ours, float32, head of an image": Ours(model, "float32", head=IMAGE),
        "ours, float32, pair": Ours(model, "float32", pair=True),
        **{f"ours, {precision}, pair": Ours(model, precision, pair=True) for precision in coarse},
    }
    peer = x_transformers(*sizes)
    peers = {
        "x-transformers": peer,
        "HF Llama, dynamic cache": llama(*sizes, "dynamic"),
        "HF Llama, static cache": llama(*sizes, "static"),
    }
    print(
        f"{n_parameters / 1e6:.0f} M parameters, {given.threads} thread(s) on {device}, a copy: {rate / 1e9:.1f} GB/s"
    )
    names = [*made, *peers, "x-transformers, pair", "floor, float32", "ours over x-transformers", "of pairs"]
    print(f"\n| batch | context | {' | '.join(names)} |\n{'| --- ' * (len(names) + 2)}|")
    for batch in given.batches:
        for context in given.contexts:
            prompts = torch.randint(1, VOCABULARY, (batch, context), device=device)
            speeds = {name: batch * IDS / timed(way.write(prompts, IDS), device) for name, way in made.items()}
            speeds |= {name: batch / way.seconds(prompts, IDS) for name, way in peers.items()}
            speeds["x-transformers, pair"] = batch / peer.seconds(prompts.repeat(2, 1), IDS)
            speeds["floor, float32"] = batch / floor_s(model, context + IDS, batch, rate, 4)
            ratios = [speeds[f"ours, float32{kind}"] / speeds[f"x-transformers{kind}"] for kind in ("", ", pair")]
            cells = [f"{speed:.0f}" for speed in speeds.values()] + [f"{ratio:.1f}" for ratio in ratios]
            print(f"| {batch} | {context} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
