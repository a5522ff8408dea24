"""Many ranks, one gradient: the sum over the micro-batches of a step, in an order that does not depend on the ranks.

Floating-point sums depend on their order, and all-reduce sums in an order of its own that changes with the number of
ranks. Here the micro-batches of a step are the leaves of one binary tree: neighbours are added first, then pairs, then
pairs of pairs; each rank holds a subtree, and ranks add theirs by exchange (recursive doubling; Thakur, Rabenseifner,
Gropp 2005, section 4.3). As long as ranks and micro-batches are powers of two, a run on one rank, on two and on eight
takes the same steps to the last bit, so that a run may be resumed on another number of them.

The exchange sends log2(ranks) times the gradient, a ring twice, and it begins when the backward pass ends. That is the
price. Weights that do not fit one device are split by FSDP2 instead (`shard`), which sums as it likes.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 2**24  # numbers exchanged at once: 64 MB, so that the copies stay small


def micro_batches(step_start: int, per_step: int, rank: int, ranks: int) -> range:
    """The indices of the batches of one step that a rank computes: neighbours, so that they are a subtree."""
    share = per_step // ranks
    return range(step_start + rank * share, step_start + (rank + 1) * share)


class PairwiseSum:
    """The gradients of one rank's micro-batches, summed as a tree; call `add` after each backward pass.

    Autograd itself adds the second of a pair to the first, so nothing is copied for one or two micro-batches; for 2^k
    of them, k - 1 gradients are held besides the one being computed.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._sums: list[tuple[int, list[Tensor | None]]] = []  # (height of the subtree, its sum), left to right
        self._n = 0

    def add(self) -> None:
        """Take in what the last backward pass left in `.grad`."""
        self._n += 1
        if self._n % 2 == 0:
            self._push(1, self._taken())

    def finish(self) -> None:
        """Leave the whole sum in `.grad`."""
        total = self._taken()
        while self._sums:
            total = _added(self._sums.pop()[1], total)
        for parameter, gradient in zip(self._parameters, total, strict=True):
            parameter.grad = gradient

    def _taken(self) -> list[Tensor | None]:
        gradients = [p.grad for p in self._parameters]
        for parameter in self._parameters:
            parameter.grad = None
        return gradients

    def _push(self, height: int, gradients: list[Tensor | None]) -> None:
        while self._sums and self._sums[-1][0] == height:
            gradients = _added(self._sums.pop()[1], gradients)
            height += 1
        self._sums.append((height, gradients))


def _added(left: list[Tensor | None], right: list[Tensor | None]) -> list[Tensor | None]:
    return [a if b is None else b if a is None else a.add_(b) for a, b in zip(left, right, strict=True)]


def sum_over_ranks(parameters: Sequence[nn.Parameter]) -> None:
    """Replace every `.grad` by its sum over the ranks, in the order of the tree; all ranks end with the same bits.

    A parameter that no rank used keeps no gradient, so that the optimizer leaves it alone.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=parameters[0].device)
    _sum_(used)
    chosen = [p for p, n in zip(parameters, used.tolist(), strict=True) if n > 0]
    for parameter in chosen:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for group in _chunks(chosen):
        flat = torch.cat([p.grad.reshape(-1) for p in group if p.grad is not None])
        _sum_(flat)
        for parameter, summed in zip(group, flat.split([p.numel() for p in group]), strict=True):
            assert parameter.grad is not None, "given zeros above"
            parameter.grad.copy_(summed.view_as(parameter))  # memory of its own, aligned as on one rank


def _chunks(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    group: list[nn.Parameter] = []
    for parameter in parameters:
        if group and sum(p.numel() for p in group) + parameter.numel() > CHUNK:
            yield group
            group = []
        group.append(parameter)
    if group:
        yield group


def _sum_(tensor: Tensor) -> None:
    """Sum over ranks in place: pairs of neighbours, then pairs of pairs."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    if ranks & (ranks - 1):
        dist.all_reduce(tensor)
        return
    other = torch.empty_like(tensor)
    for k in range(ranks.bit_length() - 1):
        partner = rank ^ (1 << k)
        for work in dist.batch_isend_irecv(
            [dist.P2POp(dist.isend, tensor, partner), dist.P2POp(dist.irecv, other, partner)]
        ):
            work.wait()
        tensor += other  # a + b and b + a are the same bits, so both partners hold the same


def share_buffers(module: nn.Module) -> None:
    """Give every rank the buffers of rank 0: what a codebook learned in the forward pass may differ."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def recompute(blocks: Sequence[nn.Module]) -> None:
    """Activation checkpointing: keep only the input of each block, and compute the block again in the backward pass."""
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def shard(module: nn.Module, blocks: Sequence[nn.Module], device: torch.device) -> None:
    """FSDP2: every rank keeps its part of each weight, and has a block whole only while it computes it."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def gather_only_last(module: nn.Module, is_last: bool) -> None:
    """Let a sharded module sum its gradients over ranks after the last micro-batch alone."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(is_last)


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all of its parts; every rank must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def place(value: Tensor, like: Tensor) -> Tensor:
    """`value` on the device of `like`, and split as `like` is."""
    value = value.to(like.device)
    return distribute_tensor(value, like.device_mesh, like.placements) if isinstance(like, DTensor) else value
